"""Laws that every clamp keeps, and the formula of the edit for every operation and unit."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_zoo import build, ids_and_mask
from saes_cases import activations
from steering_cases import D_SAE, block, editing_output, fitting, make_sae
from torch import Tensor

import emosae
from emosae.saes import FeatureStats, SparseAutoencoder
from emosae.saes.stats import stats_path
from emosae.steering import ErrorTerm
from emosae.steering.clamp import absolute
from emosae.steering.edit import Editor

CASES = [
    (architecture, norm)
    for architecture in ("standard", "jumprelu", "topk", "abstopk", "gated")
    for norm in ("none", "layer_norm", "constant_norm_rescale")
]
IDS, _ = ids_and_mask((6, 6))
CPU = torch.device("cpu")
cached = cache(make_sae)


def edit(sae: SparseAutoencoder, x: Tensor, clamps: list[emosae.Clamp]) -> Tensor:
    """The edit of all tokens, without a model."""
    editor = Editor(sae, [[absolute(clamp, sae) for clamp in clamps]], ErrorTerm.KEEP, CPU)
    return editor.write(x, editor.change(x, None))


def current(sae: SparseAutoencoder, x: Tensor, feature: int) -> Tensor:
    return sae.encode(x).to_dense()[:, feature]


def row(sae: SparseAutoencoder, feature: int) -> Tensor:
    W = sae.W_dec[feature]
    return W / W.norm() if sae.cfg.rescale_acts_by_decoder_norm else W


def scale_of(sae: SparseAutoencoder, x: Tensor) -> Tensor:
    """`scale(x)` as methods.md has it."""
    return {
        "none": lambda: torch.ones(len(x)),
        "layer_norm": lambda: x.std(dim=-1),
        "constant_norm_rescale": lambda: x.norm(dim=-1) / math.sqrt(x.shape[-1]),
    }[sae.cfg.normalize_activations.value]()


@pytest.mark.parametrize(("architecture", "norm"), CASES)
@given(feature=st.integers(0, D_SAE - 1), seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_setting_a_feature_to_what_it_is_changes_nothing(
    architecture: str, norm: str, feature: int, seed: int
) -> None:
    sae, x = cached(architecture, normalize_activations=norm), activations(1, seed=seed, d_in=32)
    value = float(current(sae, x, feature))
    assert (edit(sae, x, [emosae.Clamp(feature, "set", value)]) - x).abs().max() < 1e-5 * x.abs().max()


@pytest.mark.parametrize(("architecture", "norm"), CASES)
@given(
    op=st.sampled_from(["set", "add", "scale", "ablate", "at_least", "at_most"]),
    value=st.floats(-20, 20, width=32),
    only=st.booleans(),
    feature=st.integers(0, D_SAE - 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30)
def test_the_edit_is_the_formula(
    architecture: str, norm: str, op: str, value: float, only: bool, feature: int, seed: int
) -> None:
    sae, x = cached(architecture, normalize_activations=norm), activations(5, seed=seed, d_in=32)
    f = current(sae, x, feature)
    v = torch.full_like(f, value)
    target = {
        "set": v,
        "add": f + v,
        "scale": f * v,
        "ablate": 0 * v,
        "at_least": torch.maximum(f, v),
        "at_most": torch.minimum(f, v),
    }[op]
    if only:
        target = torch.where(f != 0, target, f)
    expected = x + (scale_of(sae, x) * (target - f))[:, None] * row(sae, feature)
    clamp = emosae.Clamp(feature, op, None if op == "ablate" else value, only_if_active=only)
    found = edit(sae, x, [clamp])
    assert (found - expected).abs().max() < 2e-5 * (1 + expected.abs().max())


@pytest.mark.parametrize(("architecture", "norm"), CASES)
@given(value=st.floats(-3, 3, width=32), feature=st.integers(0, D_SAE - 1), seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_in_norms_the_push_is_that_multiple_of_the_activations_norm(
    architecture: str, norm: str, value: float, feature: int, seed: int
) -> None:
    sae, x = cached(architecture, normalize_activations=norm), activations(4, seed=seed, d_in=32)
    push = edit(sae, x, [emosae.Clamp(feature, "add", value, "norm")]) - x
    expected = value * x.norm(dim=-1, keepdim=True) * row(sae, feature) / row(sae, feature).norm()
    assert (push - expected).abs().max() < 1e-4 * (1 + expected.abs().max())


@given(
    clamps=st.lists(
        st.tuples(st.integers(0, D_SAE - 1), st.floats(-9, 9, width=32)),
        min_size=1,
        max_size=9,
        unique_by=lambda c: c[0],
    ),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_clamps_of_one_plan_add_up_and_their_order_is_nothing(
    clamps: list[tuple[int, float]], seed: int
) -> None:
    sae, x = cached("jumprelu"), activations(3, seed=seed, d_in=32)
    made = [emosae.Clamp(feature, "set", value) for feature, value in clamps]
    together = edit(sae, x, made) - x
    alone = sum(edit(sae, x, [clamp]) - x for clamp in made)
    assert isinstance(alone, Tensor)
    assert (together - alone).abs().max() < 1e-4 * (1 + together.abs().max())
    assert torch.equal(edit(sae, x, made[::-1]) - x, together)


@given(values=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_rows_of_a_plan_are_as_if_alone(values: list[float], seed: int) -> None:
    sae, x = cached("gated"), activations(len(values), seed=seed, d_in=32)
    rows = [[absolute(emosae.Clamp(at, "add", value), sae)] for at, value in enumerate(values)]
    editor = Editor(sae, rows, ErrorTerm.KEEP, CPU)
    together = editor.write(x, editor.change(x, torch.arange(len(values))))
    for at, value in enumerate(values):
        alone = edit(sae, x[at : at + 1], [emosae.Clamp(at, "add", value)])
        assert (together[at] - alone[0]).abs().max() < 1e-4


@pytest.mark.parametrize("empty", [[], [[], None], emosae.steering.Plan(saes=(), rows=((),))])
def test_the_empty_plan_is_the_identity(empty: Any) -> None:
    model, sae = build("gpt2"), cached("jumprelu")
    plain = model(input_ids=IDS).logits
    with emosae.steer(model, sae, empty) as applied:
        assert torch.equal(model(input_ids=IDS).logits, plain)
    assert applied.trace.is_empty()
    assert applied.clamps.is_empty()


def test_the_trace_can_be_read_as_it_grows() -> None:
    model, sae = build("gpt2"), make_sae("jumprelu")
    with emosae.steer(model, sae, [emosae.Clamp(7, "set", 2.0)]) as applied:
        model(input_ids=IDS)
        first = applied.trace
        assert applied.trace is first
        model(input_ids=IDS)
    assert applied.trace["forward"].to_list() == [0] * len(first) + [1] * len(first)
    assert applied.trace.head(len(first)).equals(first)


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "transcoder"])
def test_the_trace_says_what_was_added(architecture: str) -> None:
    model, sae = build("gpt2"), make_sae(architecture, normalize_activations="layer_norm")
    kept: dict[str, Tensor] = {}
    where = block() if architecture != "transcoder" else block().mlp
    clamps = [emosae.Clamp(40, "set", 6.0), emosae.Clamp(7, "add", 3.0, only_if_active=True)]
    with editing_output(where, lambda x: kept.setdefault("plain", x)):
        model(input_ids=IDS)
    with (
        emosae.steer(model, sae, clamps, scope=[1, 4]) as applied,
        editing_output(where, lambda x: kept.setdefault("steered", x)),
    ):
        model(input_ids=IDS)
    trace = applied.trace
    assert trace["feature"].to_list() == [7, 40] * 4
    assert trace["position"].to_list() == [1, 1, 4, 4] * 2
    assert trace["token"].to_list() == [int(IDS[r, p]) for r in (0, 1) for p in (1, 1, 4, 4)]
    assert set(trace.filter(trace["feature"] == 40)["target"].to_list()) == {6.0}
    for at in range(4):
        r, p = divmod(at, 2)
        place = (r, (1, 4)[p])
        f, t, push = (
            trace[name].to_numpy()[2 * at : 2 * at + 2] for name in ("activation", "target", "push")
        )
        x = kept["plain"][place]
        scale = 1.0 if architecture == "transcoder" else float(x.std())
        added = kept["steered"][place] - x
        expected = scale * sum(float(t[i] - f[i]) * sae.W_dec[(7, 40)[i]] for i in (0, 1))
        assert (added - expected).abs().max() < 1e-4 * (1 + added.abs().max())
        norms = [abs(float(t[i] - f[i])) * float(sae.W_dec[(7, 40)[i]].norm()) * scale for i in (0, 1)]
        np.testing.assert_allclose(push, norms, rtol=1e-4, atol=1e-5)


def test_the_trace_can_be_left_out() -> None:
    model = build("gpt2")
    with emosae.steer(model, cached("jumprelu"), [emosae.Clamp(3, "set", 5.0)], trace=False) as applied:
        model(input_ids=IDS)
    assert applied.trace.is_empty()
    assert applied.untraced == 1


def test_the_unit_max_is_of_the_features_maximum_on_running_text(tmp_path: Path) -> None:
    sae = make_sae("jumprelu")
    sae.homes = (tmp_path,)
    maximum = np.zeros(D_SAE, dtype=np.float32)
    maximum[3] = 2.5
    FeatureStats(
        corpus="toy",
        n_tokens=9,
        density=maximum,
        maximum=maximum,
        quantiles=np.zeros((5, D_SAE), dtype=np.float32),
        residual_norm=1.0,
    ).save(stats_path(tmp_path, "toy"))
    steering = emosae.steer(build("gpt2"), sae, [emosae.Clamp(3, "set", 2.0, "max")])
    (clamp,) = steering.plan.rows[0]
    assert (clamp.value, clamp.unit) == (5.0, "activation")
    with pytest.raises(emosae.UserError, match="must have fired in 'toy'"):
        emosae.steer(build("gpt2"), sae, [emosae.Clamp(4, "set", 2.0, "max")])
    sae.homes = ()
    with pytest.raises(emosae.MissingFileError, match="no statistics"):
        emosae.steer(build("gpt2"), sae, [emosae.Clamp(3, "set", 2.0, "max")])


def test_steering_reads_no_row_but_the_clamped_features(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, state = fitting("jumprelu")
    sae = SparseAutoencoder.from_state_dict(cfg, state)
    monkeypatch.setattr(SparseAutoencoder, "_matrix", lambda *_: pytest.fail("a whole matrix was read"))
    model = build("gpt2")
    with emosae.steer(model, sae, [emosae.Clamp(3, "set", 5.0), emosae.Clamp(9, "ablate")]):
        model(input_ids=IDS)
