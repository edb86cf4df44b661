"""Directions: vectors that go through the same hooks, scopes and plans as clamps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models_zoo import blocks, build
from steering_cases import LAYER, editing_output, make_sae

import emosae
from emosae.errors import UserError
from emosae.steering import Clamp, Plan, decoder_sum, diff_mean, directions, random_direction

SITE = f"blocks.{LAYER}.hook_resid_post"
IDS = torch.tensor([[2, 11, 12, 13], [2, 14, 15, 16]])


def vector(width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(width)


@pytest.fixture
def model() -> torch.nn.Module:
    return build("llama")


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def test_a_direction_adds_exactly_its_amount_where_the_scope_says(model: torch.nn.Module) -> None:
    width = model.config.hidden_size
    found = directions({"joy": 7 * vector(width)}, SITE)
    push = torch.tensor(3.0 * vector(width) / np.linalg.norm(vector(width)), dtype=torch.float32)

    def edit(x: torch.Tensor) -> torch.Tensor:
        return x + push * torch.tensor([0.0, 0.0, 1.0, 1.0])[None, :, None]

    with editing_output(blocks("llama", model)[LAYER], edit):
        expected = logits(model)
    with emosae.steer(model, found.sae, [found.clamp("joy", 3.0)], [2, 3]) as applied:
        steered = logits(model)
    torch.testing.assert_close(steered, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(steered, logits(model), atol=1e-3)
    assert applied.trace["push"].to_list() == pytest.approx([3.0] * 4, rel=1e-5)


def test_rows_of_a_batch_may_mix_features_and_directions(model: torch.nn.Module) -> None:
    sae, found = make_sae(), directions({"a": vector(model.config.hidden_size, 3)}, SITE)
    feature, direction = Clamp(5, "set", 4.0, sae=sae.fingerprint), found.clamp("a", 6.0)
    alone = []
    for own, clamp in ((sae, feature), (found.sae, direction)):
        with emosae.steer(model, own, [clamp]):
            alone.append(logits(model))
    with emosae.steer(model, [sae, found.sae], [[feature], [direction]]):
        both = logits(model)
    torch.testing.assert_close(both[0], alone[0][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both[1], alone[1][1], atol=1e-5, rtol=1e-5)


def test_the_unit_norm_counts_in_the_activations_own_norm(model: torch.nn.Module) -> None:
    unit = torch.tensor(vector(model.config.hidden_size), dtype=torch.float32)
    unit = unit / unit.norm()
    found = directions({"a": unit.numpy()}, SITE)
    with editing_output(
        blocks("llama", model)[LAYER], lambda x: x + 0.5 * x.norm(dim=-1, keepdim=True) * unit
    ):
        expected = logits(model)
    with emosae.steer(model, found.sae, [found.clamp("a", 0.5, "norm")], skip_special=False):
        torch.testing.assert_close(logits(model), expected, atol=1e-4, rtol=1e-4)


def test_a_plan_of_directions_is_saved_and_read(model: torch.nn.Module, tmp_path: object) -> None:
    found = directions(
        {"a": vector(model.config.hidden_size), "b": vector(model.config.hidden_size, 1)}, SITE
    )
    block = emosae.steer(model, found.sae, [found.clamp("b", -2.0)], "prompt")
    path = f"{tmp_path}/plan.json"
    block.plan.save(path)
    with emosae.steer(model, found.sae, Plan.load(path)):
        again = logits(model)
    with block:
        assert torch.equal(logits(model), again)


def test_the_vectors_are_what_they_say() -> None:
    positive, other = np.array([[2.0, 0.0], [4.0, 2.0]]), np.array([[1.0, 1.0], [1.0, 3.0]])
    assert diff_mean(positive, other).tolist() == [2.0, -1.0]
    sae = make_sae()
    np.testing.assert_allclose(decoder_sum(sae, [3, 9]), (sae.W_dec[3] + sae.W_dec[9]).numpy(), rtol=1e-5)
    drawn = [random_direction(8, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    assert np.linalg.norm(drawn[2]) == pytest.approx(1.0)


def test_vectors_that_mean_nothing_are_refused() -> None:
    for wrong in ({}, {"a": [0.0, 0.0]}, {"a": [1.0, float("nan")]}, {"a": [1.0], "b": [1.0, 2.0]}):
        with pytest.raises(UserError, match="Directions must be finite vectors of one width"):
            directions(wrong, SITE)
    with pytest.raises(UserError, match=r"no direction 'jo'\. Did you mean 'joy'"):
        directions({"joy": [1.0, 0.0]}, SITE).clamp("jo", 1.0)
    with pytest.raises(UserError, match="with and without the concept, got 2 and 0"):
        diff_mean(np.ones((2, 3)), np.ones((0, 3)))
    with pytest.raises(UserError, match="at least one feature"):
        decoder_sum(make_sae(), [])
