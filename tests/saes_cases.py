"""Small random SAEs in SAELens' terms, for the tests of emosae.saes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

D_IN, D_SAE, D_OUT = 16, 48, 12

TRANSCODERS = ("transcoder", "jumprelu_transcoder", "skip_transcoder", "jumprelu_skip_transcoder")
ARCHITECTURES = ("standard", "jumprelu", "topk", "abstopk", "gated", *TRANSCODERS)


def make_cfg(architecture: str, **changes: Any) -> dict[str, Any]:
    """A cfg.json of SAELens 6."""
    cfg: dict[str, Any] = {
        "architecture": architecture,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": architecture not in TRANSCODERS,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12",
            "model_name": "toy",
            "hook_name": "blocks.1.hook_resid_post",
        },
    }
    if architecture in ("topk", "abstopk"):
        cfg |= {"k": 5, "rescale_acts_by_decoder_norm": False}
    if architecture in TRANSCODERS:
        cfg |= {"d_out": D_OUT}
        cfg["metadata"] |= {"hook_name": "blocks.1.hook_mlp_in", "hook_name_out": "blocks.1.hook_mlp_out"}
    return cfg | changes


def make_state(
    architecture: str, *, seed: int = 0, d_in: int = D_IN, d_sae: int = D_SAE
) -> dict[str, Tensor]:
    """Weights of that architecture in which every term matters: no zero bias, no unit norm."""
    noise = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise)

    d_out = D_OUT if architecture in TRANSCODERS else d_in
    state = {
        "W_enc": normal(d_in, d_sae),
        "W_dec": normal(d_sae, d_out) * (0.2 + torch.rand(d_sae, 1, generator=noise)),
        "b_dec": normal(d_out),
    }
    if architecture == "gated":
        return state | {"b_gate": normal(d_sae), "b_mag": normal(d_sae), "r_mag": 0.3 * normal(d_sae)}
    state["b_enc"] = normal(d_sae)
    if "jumprelu" in architecture:
        state["threshold"] = 1.0 + torch.rand(d_sae, generator=noise)
        state["threshold"][::7] = -0.5  # a threshold below zero leaves the relu to decide
    if "skip" in architecture:
        state["W_skip"] = normal(d_out, d_in)
    return state


def write_folder(folder: Path, cfg: dict[str, Any], state: dict[str, Tensor]) -> Path:
    """Write what SAELens' save_model writes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / "sae_weights.safetensors"
    )
    return folder


def activations(*lead: int, seed: int = 1, d_in: int = D_IN) -> Tensor:
    """Activations with a mean and a norm of their own."""
    noise = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(*lead, d_in, generator=noise) + 0.7
