"""Encode and decode against SAELens itself, for every architecture and normalisation."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from saes_cases import (
    ARCHITECTURES,
    D_IN,
    D_SAE,
    TRANSCODERS,
    activations,
    make_cfg,
    make_state,
    write_folder,
)
from torch.testing import assert_close

from emosae.saes import SparseAutoencoder

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def sae_lens() -> ModuleType:
    """SAELens, whose import takes seconds."""
    import sae_lens

    return sae_lens


def saelens_sae(sae_lens: ModuleType, cfg: dict[str, Any], seed: int = 0) -> Any:
    """The oracle, with the weights of `make_state`."""
    sae = sae_lens.SAE.from_dict(cfg)
    sae.load_state_dict(make_state(cfg["architecture"], seed=seed))
    return sae.eval()


def cases() -> list[tuple[str, str, bool, bool]]:
    """Architecture, normalisation, apply_b_dec_to_input, rescale_acts_by_decoder_norm."""
    found = []
    norms = ("none", "layer_norm", "constant_norm_rescale")
    for architecture, norm, b_dec, rescale in product(ARCHITECTURES, norms, (True, False), (True, False)):
        if rescale and architecture not in ("topk", "abstopk"):
            continue
        if b_dec and architecture in TRANSCODERS:
            continue
        found.append((architecture, norm, b_dec, rescale))
    return found


@pytest.mark.parametrize(("architecture", "norm", "b_dec", "rescale"), cases())
def test_encode_and_decode_equal_saelens(
    sae_lens: ModuleType,
    tmp_path: Path,
    cache: Path,
    architecture: str,
    norm: str,
    b_dec: bool,
    rescale: bool,
) -> None:
    cfg = make_cfg(architecture, normalize_activations=norm, apply_b_dec_to_input=b_dec)
    if rescale:
        cfg["rescale_acts_by_decoder_norm"] = True
    oracle = saelens_sae(sae_lens, cfg)
    oracle.save_model(tmp_path / "sae")
    ours = SparseAutoencoder.load_from_disk(tmp_path / "sae")

    x = activations(3, 5)
    with torch.no_grad():
        expected = oracle.encode(x)
        expected_x = oracle.decode(expected)
        expected_forward = oracle(x)
    f = ours.encode(x)
    assert 0 < f.nnz < 15 * D_SAE
    assert_close(f.to_dense(), expected, **TOLERANCE)
    assert_close(ours.decode(f), expected_x, **TOLERANCE)
    assert_close(ours.reconstruct(x), expected_forward, **TOLERANCE)
    if not ours.cfg.normalizes_by_input:
        assert_close(ours.decode(expected), expected_x, **TOLERANCE)

    chosen = [40, 3, 3, 0, 17, 47]
    part = ours.encode(x, features=chosen)
    assert part.shape == (3, 5, len(chosen))
    assert_close(part.to_dense(), expected[..., chosen], **TOLERANCE)


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "topk"])
def test_folding_the_norm_scaling_factor_equals_saelens(
    sae_lens: ModuleType, tmp_path: Path, cache: Path, architecture: str
) -> None:
    cfg = make_cfg(architecture, normalize_activations="expected_average_only_in")
    oracle = saelens_sae(sae_lens, cfg)
    oracle.save_model(tmp_path / "sae")
    oracle.fold_activation_norm_scaling_factor(0.37)
    ours = SparseAutoencoder.load_from_disk(tmp_path / "sae", norm_scaling_factor=0.37)

    x = activations(7)
    with torch.no_grad():
        expected = oracle.encode(x)
        assert_close(ours.encode(x).to_dense(), expected, **TOLERANCE)
        assert_close(ours.decode(ours.encode(x)), oracle.decode(expected), **TOLERANCE)
    assert ours.cfg.norm_scaling_factor == pytest.approx(0.37)


def test_centred_writing_weights_take_the_mean_off(sae_lens: ModuleType, tmp_path: Path, cache: Path) -> None:
    cfg = make_cfg("standard")
    oracle = saelens_sae(sae_lens, cfg)
    cfg["metadata"] |= {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    ours = SparseAutoencoder.load_from_disk(write_folder(tmp_path / "sae", cfg, make_state("standard")))

    x = activations(4)
    centred = x - x.mean(dim=-1, keepdim=True)
    with torch.no_grad():
        expected = oracle.encode(centred)
        assert_close(ours.encode(x).to_dense(), expected, **TOLERANCE)
        assert_close(ours.decode(ours.encode(x)), oracle.decode(expected), **TOLERANCE)


@pytest.mark.parametrize(
    "training", ["batchtopk", "matryoshka_batchtopk", "jumprelu", "topk", "standard", "gated"]
)
def test_saved_training_saes_are_read(
    sae_lens: ModuleType, tmp_path: Path, cache: Path, training: str
) -> None:
    from sae_lens.registry import get_sae_training_class

    sae_class, cfg_class = get_sae_training_class(training)
    options: dict[str, Any] = {"d_in": D_IN, "d_sae": D_SAE}
    if "topk" in training:
        options["k"] = 4
    if training == "matryoshka_batchtopk":
        options["matryoshka_widths"] = [16, D_SAE]
    trained = sae_class(cfg_class(**options))
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if name != "log_threshold":
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
        if hasattr(trained, "topk_threshold"):
            trained.topk_threshold.fill_(0.4)
    trained.save_inference_model(tmp_path / "sae")
    oracle = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    ours = SparseAutoencoder.load_from_disk(tmp_path / "sae")

    x = activations(9)
    with torch.no_grad():
        expected = oracle.encode(x)
        assert expected.any()
        assert_close(ours.encode(x).to_dense(), expected, **TOLERANCE)
        assert_close(ours.decode(ours.encode(x)), oracle.decode(expected), **TOLERANCE)


@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_folders_of_older_versions_go_through_saelens(
    sae_lens: ModuleType, tmp_path: Path, cache: Path, architecture: str
) -> None:
    # The fields of SAELens 3 to 5: flat, under their former names, without a version of 6 or later.
    cfg = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "torch.float32",
        "device": "cpu",
        "model_name": "gpt2-small",
        "hook_point": "blocks.8.hook_resid_pre",
        "hook_point_layer": 8,
        "hook_point_head_index": None,
        "context_size": 128,
        "normalize_activations": False,
    }
    if architecture == "topk":
        cfg |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 6}}
    folder = write_folder(tmp_path / "sae", cfg, make_state(architecture))
    oracle = sae_lens.SAE.load_from_disk(folder)
    ours = SparseAutoencoder.load_from_disk(folder)
    assert (ours.cfg.hook_name, ours.cfg.prepend_bos, ours.cfg.model_name) == (
        "blocks.8.hook_resid_pre",
        True,
        "gpt2-small",
    )
    x = activations(6)
    with torch.no_grad():
        assert_close(ours.encode(x).to_dense(), oracle.encode(x), **TOLERANCE)


def test_sparsify_folders_go_through_saelens(sae_lens: ModuleType, tmp_path: Path, cache: Path) -> None:
    from sae_lens.loading.pretrained_sae_loaders import sparsify_disk_loader
    from safetensors.torch import save_file

    state = make_state("topk")
    folder = tmp_path / "repo" / "layers.3"
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text('{"d_in": 16, "num_latents": 48, "k": 4, "expansion_factor": 3}')
    rows = {
        "encoder.weight": state["W_enc"].T.contiguous(),
        "encoder.bias": state["b_enc"],
        "W_dec": state["W_dec"].T.contiguous(),  # the loader of SAELens transposes it
        "b_dec": state["b_dec"],
    }
    save_file(rows, folder / "sae.safetensors")
    oracle = sae_lens.SAE.load_from_disk(folder, dtype="float32", converter=sparsify_disk_loader)
    assert oracle.W_dec.stride() == (1, D_SAE)  # the transposed view that conversion makes contiguous
    ours = SparseAutoencoder.load_from_disk(folder)
    assert ours.W_dec.is_contiguous()
    x = activations(6)
    with torch.no_grad():
        expected = oracle.encode(x)
        assert_close(ours.encode(x).to_dense(), expected, **TOLERANCE)
        assert_close(ours.decode(ours.encode(x)), oracle.decode(expected), **TOLERANCE)


@pytest.mark.real
def test_the_real_sae_equals_saelens(sae_lens: ModuleType, shared: Path, cache: Path) -> None:
    folder = shared / "real" / "minilm_l3_jumprelu"
    if not folder.is_dir():
        pytest.skip(f"needs the real SAE at {folder}")
    oracle = sae_lens.SAE.load_from_disk(folder)
    ours = SparseAutoencoder.load_from_disk(folder)
    x = oracle.b_dec.detach() + torch.randn(64, 384, generator=torch.Generator().manual_seed(0)) * 0.5
    with torch.no_grad():
        expected = oracle.encode(x)
        f = ours.encode(x)
        assert f.nnz > 100
        assert_close(f.to_dense(), expected, **TOLERANCE)
        assert_close(ours.decode(f), oracle.decode(expected), **TOLERANCE)
