"""Clamps and plans: what is refused in plain words, and what JSON and Neuronpedia keep."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from models_zoo import build, ids_and_mask
from steering_cases import D_SAE, make_sae

import emosae
from emosae.errors import MissingFileError, UserError
from emosae.steering import Plan, Scope, from_neuronpedia, to_neuronpedia

IDS, _ = ids_and_mask((6, 6))


def clamp(**parts: Any) -> emosae.Clamp:
    return emosae.Clamp(**({"feature": 3, "op": "set", "value": 1.0} | parts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"feature": -1}, "feature must be 0 or more, got -1"),
        ({"feature": 1.5}, "feature must be a whole number, got 1.5"),
        ({"feature": True}, "feature must be a whole number, got True"),
        ({"value": math.nan}, "must be a finite number, got nan"),
        ({"value": math.inf}, "must be a finite number, got inf"),
        ({"value": None}, "must be a finite number, got None"),
        ({"value": "8"}, "must be a finite number, got '8'"),
        ({"op": "sett"}, "no clamp operation 'sett'. Did you mean 'set'"),
        ({"op": "ablate", "value": 2.0}, "ablates must have no value, got 2.0"),
        ({"unit": "maximum"}, "no clamp unit 'maximum'"),
        ({"unit": "norm"}, "unit of a clamp that does 'set' must be one of: activation, max, got 'norm'"),
        ({"op": "scale", "unit": "max"}, "must be one of: activation, got 'max'"),
    ],
)
def test_a_clamp_that_means_nothing_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        clamp(**parts)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    made = emosae.Clamp(torch.tensor([7])[0], "set", torch.tensor(2.5))
    assert (made.feature, made.value, type(made.feature), type(made.value)) == (7, 2.5, int, float)


@pytest.mark.parametrize(
    ("clamps", "options", "message"),
    [
        ([clamp(feature=D_SAE)], {}, f"must be 0 to {D_SAE - 1} in the SAE 'jumprelu 0', got {D_SAE}"),
        ([clamp(), clamp(value=2.0)], {}, "clamped once, got feature 3 twice"),
        ([clamp(sae="other")], {}, "no SAE here called 'other'"),
        (["set"], {}, "must be all emosae.Clamp"),
        ({"joy": 1.0}, {}, "must be a list of emosae.Clamp"),
        ([clamp()], {"scope": "generate"}, "no scope 'generate'. Did you mean 'generated'"),
        ([clamp()], {"scope": []}, "must name at least one token"),
        ([clamp()], {"scope": [-1]}, "whole numbers from 0"),
        ([clamp()], {"scope": [False, False]}, "must be true somewhere"),
        ([clamp()], {"scope": [1.5]}, "must be a name, positions or a mask"),
        ([clamp()], {"scope": [True, 2]}, "must be a name, positions or a mask"),
        ([clamp()], {"scope": 3}, "must be a name, positions or a mask"),
        ([[clamp()], [clamp()]], {"scope": [[1], [2], [3]]}, "as many rows, got 2 and 3"),
        ([clamp()], {"error": "lose"}, "no choice for error= 'lose'"),
        ([clamp()], {"prompt_lengths": [2.5]}, "prompt_lengths must be whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_block(
    clamps: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        emosae.steer(build("gpt2"), make_sae(), clamps, **options)


def test_the_model_and_the_sae_must_fit() -> None:
    with pytest.raises(UserError, match="must be a decoder to be steered, got BertForMaskedLM"):
        emosae.steer(build("bert_masked_lm"), make_sae(), [clamp()])
    with pytest.raises(UserError, match="0 to 3"):
        emosae.steer(build("gpt2"), make_sae(hook="blocks.9.hook_resid_post"), [clamp()])
    with pytest.raises(UserError, match="which is 48 wide, got 32"):
        emosae.steer(build("gemma2"), make_sae(hook="blocks.1.attn.hook_z"), [clamp()])
    with pytest.raises(UserError, match="one that can be written to"):
        emosae.steer(build("gpt2"), make_sae(hook="blocks.1.ln2.hook_normalized"), [clamp()])
    with pytest.raises(UserError, match="needs a SparseAutoencoder"):
        emosae.steer(build("gpt2"), "gpt2-small-res-jb", [clamp()])
    sae = make_sae()
    with pytest.raises(UserError, match="Each SAE must be given once"):
        emosae.steer(build("gpt2"), [sae, sae], [clamp(sae=sae)])
    twins = [make_sae(), make_sae(seed=1)]
    with pytest.raises(UserError, match="must say which SAE"):
        emosae.steer(build("gpt2"), twins, [clamp()])
    with pytest.raises(UserError, match="which 2 are called"):
        emosae.steer(build("gpt2"), twins, [clamp(sae="blocks.1.hook_resid_post")])


@pytest.mark.parametrize("which", ["object", "name", "fingerprint"])
def test_a_clamp_names_its_sae(which: str) -> None:
    saes = [make_sae(), make_sae(seed=1)]
    named = {"object": saes[1], "name": saes[1].name, "fingerprint": saes[1].fingerprint}[which]
    plan = emosae.steer(build("gpt2"), saes, [clamp(sae=named)]).plan
    assert [sae.name for sae in plan.saes] == ["jumprelu 1"]


@pytest.mark.parametrize("scope", ["from_last_prompt_token", [[0, 2], [1]], [True, False, True]])
def test_a_plan_comes_back_from_json_as_it_was(tmp_path: Path, scope: Any) -> None:
    model, saes = build("gpt2"), [make_sae(), make_sae("gated", seed=1)]
    rows = [
        [clamp(sae=saes[1], op="at_most", value=0.1, only_if_active=True), clamp(sae=saes[0])],
        [clamp(sae=saes[0], op="add", value=0.25, unit="norm"), clamp(sae=saes[1], op="ablate", value=None)],
    ]
    steering = emosae.steer(model, saes, rows, scope=scope, skip_special=False, error="drop")
    steering.plan.save(tmp_path / "plan.json")
    plan = Plan.load(tmp_path / "plan.json")
    assert plan == steering.plan
    with steering:
        expected = model(input_ids=IDS).logits
    with emosae.steer(model, saes[::-1], plan):  # the plan's own order rules
        assert torch.equal(model(input_ids=IDS).logits, expected)


def test_what_is_given_beside_a_plan_replaces_its_part() -> None:
    model, sae = build("gpt2"), make_sae()
    plan = emosae.steer(model, sae, [clamp()], scope="generated").plan
    assert emosae.steer(model, sae, plan).plan == plan
    changed = emosae.steer(model, sae, plan, scope="prompt", error="drop").plan
    assert (changed.scope, changed.error) == (Scope.parse("prompt"), "drop")


def test_a_plan_for_another_sae_is_refused(tmp_path: Path) -> None:
    plan = emosae.steer(build("gpt2"), make_sae(), [clamp()]).plan
    with pytest.raises(UserError, match="the SAE it was made for, 'jumprelu 0'"):
        emosae.steer(build("gpt2"), make_sae(seed=1), plan)
    (tmp_path / "other.json").write_text(json.dumps({"format": "something"}))
    with pytest.raises(UserError, match="must say format"):
        Plan.load(tmp_path / "other.json")
    broken = plan.to_dict()
    del broken["rows"]
    with pytest.raises(UserError, match="incomplete"):
        Plan.from_dict(broken)
    with pytest.raises(MissingFileError):
        Plan.load(tmp_path / "none.json")


def neuronpedia_sae() -> emosae.SparseAutoencoder:
    sae = make_sae()
    sae.cfg = sae.cfg.replace(neuronpedia_id="gpt2-small/8-res-jb")
    return sae


def test_neuronpedias_strengths_push_as_far_here_as_there() -> None:
    sae = neuronpedia_sae()
    entries = [
        {"modelId": "gpt2-small", "layer": "8-res-jb", "index": 3, "strength": 10},
        {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "9", "strength": -4.5},
    ]
    clamps = from_neuronpedia(entries, sae)
    for made, strength in zip(clamps, (10, -4.5), strict=True):
        assert made.op == "add"
        row = sae.W_dec[made.feature]
        assert torch.allclose(made.value * row, strength * row / row.norm(), atol=1e-5)
    back = to_neuronpedia(emosae.steer(build("gpt2"), sae, clamps).plan, sae)
    assert [(e["modelId"], e["layer"], e["index"]) for e in back] == [
        ("gpt2-small", "8-res-jb", i) for i in (3, 9)
    ]
    assert [e["strength"] for e in back] == pytest.approx([10, -4.5])


def test_what_neuronpedia_cannot_mean_is_refused() -> None:
    sae = neuronpedia_sae()
    with pytest.raises(UserError, match="of the SAE 'gpt2-small/8-res-jb', got one of 'gpt2-small/9-res-jb'"):
        from_neuronpedia([{"modelId": "gpt2-small", "layer": "9-res-jb", "index": 3, "strength": 1}], sae)
    with pytest.raises(UserError, match="must have index and strength"):
        from_neuronpedia([{"index": 3}], sae)
    with pytest.raises(UserError, match=f"0 to {D_SAE - 1}"):
        from_neuronpedia([{"index": 9999, "strength": 1}], sae)
    with pytest.raises(UserError, match="must add an activation"):
        to_neuronpedia([clamp()], sae)
    with pytest.raises(UserError, match="must be on Neuronpedia"):
        to_neuronpedia([clamp(op="add")], make_sae())
