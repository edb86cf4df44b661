"""Emotions with doses on a tiny lens, against clamps worked out by hand and plain hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lens_cases import RESIDUAL_NORM, SELECTED, stats, tiny_lens
from models_zoo import blocks
from steering_cases import LAYER, editing_output, make_sae, reference
from torch import Tensor

import emosae
from emosae.errors import MissingFileError, UserError
from emosae.lens import Lens
from emosae.steering import Plan

IDS = torch.tensor([[2, 8, 20, 21, 22], [2, 30, 31, 32, 33], [2, 40, 41, 42, 43]])
FREE: dict[str, Any] = {"output_score": False, "scope": "all", "skip_special": False}


@pytest.fixture
def lens(tmp_path: Path) -> Lens:
    return tiny_lens(tmp_path)


def targets(lens: Lens, features: list[int], dose: float) -> dict[int, float]:
    """Section 4 of the methods, by hand."""
    (sae,) = lens.saes.values()
    quartile = torch.from_numpy(stats().quantile(0.75)[features])
    factor = 0.5 * RESIDUAL_NORM / float((quartile @ sae.W_dec[features]).norm())
    return {feature: dose * factor * float(value) for feature, value in zip(features, quartile, strict=True)}


def edited(lens: Lens, rows: list[dict[int, float]], ids: Tensor = IDS) -> Tensor:
    """Logits with the layer's output edited row by row, by the SAE's own encode and decode."""
    (sae,) = lens.saes.values()

    def edit(x: Tensor) -> Tensor:
        return torch.cat([reference(x[at : at + 1], sae, row) for at, row in enumerate(rows)])

    with editing_output(blocks("llama", lens.model)[LAYER], edit), torch.no_grad():
        return lens.model(input_ids=ids).logits


def logits(lens: Lens, emotions: Any, **options: Any) -> Tensor:
    with lens.steer(emotions, **(FREE | options)), torch.no_grad():
        return lens.model(input_ids=IDS).logits


def near(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_one_emotion_is_its_features_at_their_targets(lens: Lens) -> None:
    wanted = targets(lens, SELECTED["joy"], 0.7)
    assert near(logits(lens, {"joy": 0.7}), edited(lens, [wanted] * 3))
    assert not near(logits(lens, {"joy": 0.7}), logits(lens, {"joy": 0.9}))
    with lens.steer({"joy": 0.7}, **FREE) as applied:
        pass
    clamps = {clamp.feature: clamp.value for clamp in applied.plan.rows[0]}
    assert clamps == pytest.approx(wanted)
    chosen = applied.chosen
    assert chosen.features["feature"].to_list() == SELECTED["joy"]
    assert dict(chosen.features.select("feature", "target").rows()) == pytest.approx(wanted)
    assert chosen.doses["push"].to_list() == pytest.approx([0.7 * RESIDUAL_NORM / 2])
    assert (chosen.site, chosen.language, chosen.languages, chosen.op, chosen.scope, chosen.corpus) == (
        "blocks.1.hook_resid_post", "universal", ("en",), "set", "all", "toy",
    )  # fmt: skip
    assert "joy at dose 0.7, 0.35 residual norms: 3=" in str(chosen)


def test_several_emotions_add_up_where_they_share_a_feature(lens: Lens) -> None:
    wanted = targets(lens, SELECTED["joy"], 0.5)
    for feature, value in targets(lens, SELECTED["fear"], 1.0).items():
        wanted[feature] = wanted.get(feature, 0.0) + value
    assert near(logits(lens, {"joy": 0.5, "fear": 1.0}), edited(lens, [wanted] * 3))


def test_rows_of_a_batch_go_their_own_ways(lens: Lens) -> None:
    rows = [{"joy": 1.0}, None, {"fear": 0.5}]
    joy, fear = targets(lens, SELECTED["joy"], 1.0), targets(lens, SELECTED["fear"], 0.5)
    found = logits(lens, rows)
    assert near(found, edited(lens, [joy, {}, fear]))
    assert torch.equal(found[1], lens.model(input_ids=IDS).logits[1])
    assert lens.steer(rows, **FREE).chosen.doses["row"].to_list() == [0, 2]


def test_given_features_and_targets_replace_a_plain_hook(lens: Lens) -> None:
    """What a measure does by hand: row r holds its own features from the last prompt token on."""
    (sae,) = lens.saes.values()
    held = {"a": {3: 4.0, 17: 2.0}, "b": {40: 6.0}, "c": {5: 3.0, 63: 1.0}}

    def hook(x: Tensor) -> Tensor:
        new = x.clone()
        for row, wanted in enumerate(held.values()):
            new[row, -1:] = reference(x[row, -1:], sae, {f: 1.5 * target for f, target in wanted.items()})
        return new

    options = {
        "max_new_tokens": 8,
        "do_sample": False,
        "attention_mask": torch.ones_like(IDS),
        "pad_token_id": 1,
    }
    with editing_output(blocks("llama", lens.model)[LAYER], hook):
        wanted = lens.model.generate(input_ids=IDS, **options)
    rows = [{name: 1.5} for name in held]
    with lens.steer(rows, features=held, scope="from_last_prompt_token", skip_special=False) as applied:
        found = lens.model.generate(input_ids=IDS, **options)
    assert torch.equal(found, wanted)
    assert not torch.equal(found, lens.model.generate(input_ids=IDS, **options))
    assert applied.chosen.language == "given"
    assert [clamp.value for clamp in applied.plan.rows[0]] == [6.0, 3.0]


def test_targets_of_ones_own_need_no_statistics(tmp_path: Path) -> None:
    bare = tiny_lens(tmp_path, with_stats=False)
    with bare.steer({"calm": 1.0}, features={"calm": {3: 4.0}}, scope="all") as applied:
        assert applied.plan.rows[0][0].value == 4.0
    assert "calm at dose 1: 3=4" in str(applied.chosen)
    with pytest.raises(MissingFileError, match="emosae stats model=toy"):
        bare.steer({"joy": 1.0}, output_score=False)


@pytest.mark.parametrize("op", ["add", "at_least", "at_most", "ablate"])
def test_other_operations(lens: Lens, op: str) -> None:
    (sae,) = lens.saes.values()
    wanted = targets(lens, SELECTED["fear"], 1.0)
    clamps = [emosae.Clamp(f, op, None if op == "ablate" else value) for f, value in wanted.items()]
    with emosae.steer(lens.model, sae, clamps, scope="all", skip_special=False):
        by_clamps = lens.model(input_ids=IDS).logits
    assert torch.equal(logits(lens, {"fear": 1.0}, op=op), by_clamps)


def test_a_plan_is_saved_in_absolute_values_and_loaded(lens: Lens, tmp_path: Path) -> None:
    block = lens.steer({"joy": 1.0, "fear": 0.5}, **FREE)
    wanted = logits(lens, {"joy": 1.0, "fear": 0.5})
    block.plan.save(tmp_path / "plan.json")
    again = tiny_lens(
        tmp_path / "other", with_stats=False
    )  # neither statistics nor words are asked for again
    for plan in (tmp_path / "plan.json", str(tmp_path / "plan.json"), Plan.load(tmp_path / "plan.json")):
        with again.steer(plan) as applied, torch.no_grad():
            assert torch.equal(again.model(input_ids=IDS).logits, wanted)
    assert applied.plan.scope.kind == "all"
    assert applied.chosen is None


def test_clamps_pass_as_they_are(lens: Lens) -> None:
    clamps = [emosae.Clamp(3, "set", 4.0), emosae.Clamp(17, "add", 0.5, unit="max")]
    with lens.steer(clamps, scope="all") as applied:
        pass
    assert applied.plan.rows[0][1].value == pytest.approx(0.5 * float(stats().maximum[17]))


def test_the_output_score_takes_part(lens: Lens) -> None:
    lens.memory["output scores", next(iter(lens.saes))] = {3: 0.001, 17: 0.4, 40: 0.02}
    block = lens.steer({"joy": 1.0})
    assert block.chosen.features["feature"].to_list() == [17, 40]
    assert "2 with an output score of 0.01 or more" in block.chosen.doses["how"][0]
    assert lens.steer({"joy": 1.0}, n_features=1).chosen.features["feature"].to_list() == [17]


@pytest.mark.parametrize(
    ("emotions", "options", "message"),
    [
        ({"joi": 1.0}, {}, "no concept 'joi'. Did you mean 'joy'.*set 'ekman6'"),
        ({"joy": 0}, {}, "dose of 'joy' must be above 0, got 0"),
        ({"joy": -2.0}, {}, "dose of 'joy' must be above 0, got -2.0"),
        ({"joy": float("nan")}, {}, "dose of 'joy' must be a finite number, got nan"),
        ({"joy": "much"}, {}, "dose of 'joy' must be a finite number, got 'much'"),
        ({"joy": 1.0}, {"language": "tlh"}, "no language or feature set 'tlh'"),
        ({"joy": 1.0}, {"op": "scale"}, "no operation for emotions 'scale'"),
        ({"joy": 1.0}, {"scope": "generatd"}, "no scope 'generatd'. Did you mean 'generated'"),
        ({"joy": 1.0}, {"site": "blocks.0.hook_resid_post"}, "No SAE of this lens reads blocks.0"),
        ({"joy": 1.0}, {"n_features": 0}, "n_features must be a whole number from 1, got 0"),
        ({"joy": 1.0}, {"corpus": "other"}, "no statistics of 'other'"),
        ({"surprise": 1.0}, {}, "must be selected for 'surprise'"),
        ({"joy": 1.0}, {"features": {"joy": [64]}}, "features of 'joy' must be numbers from 0 to 63"),
        ({"joy": 1.0}, {"features": {"joy": [3, 3]}}, "each once"),
        ({"joy": 1.0}, {"features": {"joy": []}}, "features of 'joy' must be numbers"),
        ({"joy": 1.0}, {"features": {"joy": {3: float("nan")}}}, "feature 3' must be a finite number"),
        ({"joy": "calibrated"}, {}, r"not calibrated for these features at .* Call lens.calibrate\('joy'"),
        ("joy", {}, "not calibrated"),
        ({}, {}, "must be a mapping of names to doses, got {}"),
        ([], {}, "at least one row, got an empty list"),
        (3.0, {}, "must be a mapping of names to doses, got 3.0"),
        ([{"joy": 1.0}, 2], {}, "must be a mapping of names to doses, got 2"),
        ("nowhere.json", {}, "nowhere.json"),
    ],
)
def test_wrong_input_is_refused(
    lens: Lens, cache: Path, emotions: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        lens.steer(emotions, **({"output_score": False} | options))


def test_an_encoder_and_several_sites_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="on a decoder to be steered, got BertModel"):
        tiny_lens(tmp_path, "bert").steer({"joy": 1.0})
    first, second = make_sae(), make_sae(seed=1)
    two = tiny_lens(tmp_path, saes={first.site: first, emosae.Site.parse("blocks.2.hook_resid_post"): second})
    with pytest.raises(UserError, match="reads 2 sites, so say which"):
        two.steer({"joy": 1.0})
