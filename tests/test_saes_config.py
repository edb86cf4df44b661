"""Reading a SAELens config: known fields once, and plain words for the rest."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from saes_cases import D_IN, D_SAE, make_cfg, make_state

from emosae.errors import UserError
from emosae.saes import Architecture, Normalization, SAEConfig, SparseAutoencoder
from emosae.saes.convert import convert


def test_fields_of_the_config_and_its_metadata_are_read() -> None:
    cfg = make_cfg("jumprelu", apply_b_dec_to_input=False, normalize_activations="layer_norm")
    cfg["metadata"] |= {
        "prepend_bos": True,
        "hf_hook_name": "model.layers.1",
        "neuronpedia_id": "toy/1-res",
        "context_size": 128,
    }
    read = SAEConfig.from_saelens(cfg, release="toy-res", sae_id="layer_1", revision="abc")
    assert (read.architecture, read.normalize_activations) == (
        Architecture.JUMPRELU,
        Normalization.LAYER_NORM,
    )
    assert (read.d_in, read.d_sae, read.d_out, read.k) == (D_IN, D_SAE, D_IN, None)
    assert (read.apply_b_dec_to_input, read.prepend_bos, read.context_size) == (False, True, 128)
    assert (read.hook_name, read.hf_hook_name) == ("blocks.1.hook_resid_post", "model.layers.1")
    assert (read.model_name, read.neuronpedia_id) == ("toy", "toy/1-res")
    assert (read.release, read.sae_id, read.revision) == ("toy-res", "layer_1", "abc")
    assert read.normalizes_by_input


def test_defaults_are_saelens_own() -> None:
    read = SAEConfig.from_saelens({"architecture": "standard", "d_in": 4, "d_sae": 8})
    assert read.apply_b_dec_to_input
    assert read.normalize_activations is Normalization.NONE
    assert read.prepend_bos is None
    assert not read.center_writing_weights


def test_a_config_survives_json_and_cannot_be_changed() -> None:
    read = SAEConfig.from_saelens(make_cfg("topk", rescale_acts_by_decoder_norm=True))
    assert SAEConfig.from_fields(json.loads(json.dumps(read.to_dict()))) == read
    with pytest.raises(dataclasses.FrozenInstanceError):
        read.k = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model_name", "hook_name", "centred"),
    [
        ("gpt2-small", "blocks.8.hook_resid_pre", True),
        ("pythia-70m-deduped", "blocks.3.hook_mlp_out", True),
        (None, "blocks.8.hook_resid_pre", True),
        ("gpt2-small", "blocks.8.attn.hook_z", False),  # not in the residual stream's space
        ("gpt2-small", "blocks.8.mlp.hook_in", False),  # a norm's output
        ("gemma-2b", "blocks.6.hook_resid_post", False),  # TransformerLens leaves RMSNorm models as they are
        ("meta-llama/Llama-3.1-8B", "blocks.6.hook_resid_post", False),
    ],
)
def test_centring_applies_where_the_model_was_centred(
    model_name: str | None, hook_name: str, centred: bool
) -> None:
    cfg = make_cfg("standard")
    cfg["metadata"] = {"model_name": model_name, "hook_name": hook_name}
    cfg["metadata"]["model_from_pretrained_kwargs"] = {"center_writing_weights": True}
    assert SAEConfig.from_saelens(cfg).center_writing_weights is centred
    cfg["metadata"]["model_from_pretrained_kwargs"] = {"center_writing_weights": False}
    assert not SAEConfig.from_saelens(cfg).center_writing_weights


def test_overrides_beside_empty_metadata_count() -> None:
    cfg = make_cfg("standard", model_from_pretrained_kwargs={"center_writing_weights": True})
    cfg["metadata"]["model_from_pretrained_kwargs"] = {}
    assert SAEConfig.from_saelens(cfg).center_writing_weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "jumpreluu"}, r"no SAE architecture 'jumpreluu'\. Did you mean 'jumprelu'"),
        ({"architecture": None}, r"no SAE architecture 'None'"),
        (
            {"architecture": "temporal"},
            r"cannot use an SAE of architecture 'temporal': its features depend on",
        ),
        ({"architecture": "matching_pursuit"}, r"selects features one after the other"),
        ({"architecture": "batchtopk"}, r"training checkpoint; save it with SAELens' save_inference_model"),
        ({"normalize_activations": "layernorm"}, r"no activation normalization 'layernorm'\. Did you mean"),
        ({"normalize_activations": "covariance_whitening"}, r"fold_activation_whitening"),
        ({"d_in": None}, r"d_in must be a positive whole number, got None"),
        ({"d_sae": 0}, r"d_sae must be a positive whole number, got 0"),
        ({"d_sae": "48"}, r"d_sae must be a positive whole number, got '48'"),
        ({"apply_b_dec_to_input": "yes"}, r"apply_b_dec_to_input must be true or false, got 'yes'"),
        ({"metadata": [1]}, r"metadata must be a table of fields"),
        ({"architecture": "topk"}, r"k must be a whole number from 1 to d_sae \(48\), got None"),
        ({"architecture": "topk", "k": 49}, r"got 49"),
        ({"architecture": "transcoder"}, r"apply_b_dec_to_input must be false for a transcoder"),
    ],
)
def test_what_is_not_understood_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SAEConfig.from_saelens(make_cfg("standard") | {"apply_b_dec_to_input": True} | changes)


def state_with(**changes: Any) -> dict[str, torch.Tensor]:
    state = make_state("jumprelu") | changes
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": None}, r"but they lack threshold"),
        ({"b_gate": torch.zeros(D_SAE)}, r"but they hold b_gate too many"),
        ({"W_enc": torch.zeros(D_SAE, D_IN)}, r"W_enc must have shape \(16, 48\), got \(48, 16\)"),
        ({"W_dec": torch.zeros(D_IN, D_SAE)}, r"W_dec must have shape \(48, 16\), got \(16, 48\)"),
        ({"threshold": torch.zeros(())}, r"threshold must have shape \(48,\), got \(\)"),
        (
            {"b_dec": torch.zeros(5)},
            r"says d_in=16, d_sae=48, d_out=16, so b_dec must have shape \(16,\), got \(5,\)",
        ),
        ({"scaling_factor": torch.full((D_SAE,), 2.0)}, r"scaling_factor other than 1"),
    ],
)
def test_weights_that_contradict_the_config_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert(SAEConfig.from_saelens(make_cfg("jumprelu")), state_with(**changes))


def test_what_older_versions_wrote_beside_is_settled() -> None:
    cfg = SAEConfig.from_saelens(make_cfg("jumprelu"))
    thresholds = torch.rand(D_SAE) + 0.1
    state = state_with(threshold=None, log_threshold=thresholds.log(), scaling_factor=torch.ones(D_SAE))
    assert torch.allclose(convert(cfg, state).vectors["threshold"], thresholds)


def test_a_missing_norm_scaling_factor_is_an_error() -> None:
    cfg = make_cfg("standard", normalize_activations="expected_average_only_in")
    with pytest.raises(UserError, match=r"that number is not known.* Pass norm_scaling_factor="):
        SparseAutoencoder.from_state_dict(cfg, make_state("standard"))
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="must be a positive number"):
            SparseAutoencoder.from_state_dict(cfg, make_state("standard"), norm_scaling_factor=factor)


def test_a_norm_scaling_factor_that_is_not_wanted_is_refused() -> None:
    with pytest.raises(UserError, match=r"must be left out .* normalize_activations is 'none'"):
        SparseAutoencoder.from_state_dict(
            make_cfg("standard"), make_state("standard"), norm_scaling_factor=2.0
        )


def test_the_fingerprint_is_of_the_content() -> None:
    def identity(seed: int = 0, dtype: torch.dtype = torch.float32, **cfg: Any) -> str:
        state = {name: tensor.to(dtype) for name, tensor in make_state("standard", seed=seed).items()}
        return SparseAutoencoder.from_state_dict(make_cfg("standard", **cfg), state).fingerprint

    assert identity() == identity(metadata={"hook_name": "blocks.2.hook_resid_pre"})
    assert identity() != identity(seed=1)
    assert identity() != identity(apply_b_dec_to_input=False)
    assert identity() != identity(dtype=torch.bfloat16)
    # What a loader widened is the same SAE as what it was widened from.
    halved = {name: tensor.bfloat16() for name, tensor in make_state("standard").items()}
    widened = {name: tensor.float() for name, tensor in halved.items()}
    one, other = (
        SparseAutoencoder.from_state_dict(make_cfg("standard"), state) for state in (halved, widened)
    )
    assert one.fingerprint == other.fingerprint
    assert other.W_dec.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["W_enc", "W_dec", "b_enc", "b_dec"])
def test_the_fingerprint_sees_every_tensor(name: str) -> None:
    state = make_state("standard")
    changed = state | {name: state[name].clone()}
    changed[name].view(-1)[-1] += 1e-6
    one, other = (SparseAutoencoder.from_state_dict(make_cfg("standard"), each) for each in (state, changed))
    assert one.fingerprint != other.fingerprint


def test_sites() -> None:
    sites = pytest.importorskip("emosae.models.sites")
    sae = SparseAutoencoder.from_state_dict(make_cfg("standard"), make_state("standard"))
    assert sae.site == sae.site_out == sites.Site.parse("blocks.1.hook_resid_post")
    transcoder = SparseAutoencoder.from_state_dict(make_cfg("transcoder"), make_state("transcoder"))
    assert transcoder.site == sites.Site.parse("blocks.1.hook_mlp_in")
    assert transcoder.site_out == sites.Site.parse("blocks.1.hook_mlp_out")
    nowhere = SparseAutoencoder.from_state_dict(make_cfg("standard", metadata={}), make_state("standard"))
    with pytest.raises(UserError, match="does not say where it reads"):
        _ = nowhere.site
    by_module = make_cfg("standard", metadata={"hook_name": "odd", "hf_hook_name": "model.layers.4"})
    parsed = SparseAutoencoder.from_state_dict(by_module, make_state("standard")).site
    assert parsed == sites.Site.parse("blocks.4.hook_resid_post")
    one_end = make_cfg("transcoder")
    one_end["metadata"] |= {"hook_name_out": None, "hf_hook_name": "model.layers.4"}
    with pytest.raises(UserError, match=r"does not say where it writes\. Add metadata\.hook_name_out"):
        _ = SparseAutoencoder.from_state_dict(one_end, make_state("transcoder")).site_out
    odd = make_cfg("standard", metadata={"hook_name": "odd"})
    with pytest.raises(UserError, match="odd"):
        _ = SparseAutoencoder.from_state_dict(odd, make_state("standard")).site
    head = make_cfg("standard")
    head["metadata"]["hook_head_index"] = 3
    with pytest.raises(UserError, match="attention head 3 alone"):
        _ = SparseAutoencoder.from_state_dict(head, make_state("standard")).site
