"""Encode into a fixed number of slots a token, without ever writing the dense activations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.kernels import reference, torch_paths
from emosae.kernels.dispatch import Backend, choose, run
from emosae.kernels.gates import Gate
from emosae.kernels.reference import Compacted

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["encode_features"]


@torch.no_grad()
def encode_features(
    x: Float[Tensor, "*lead d_in"],
    W_enc: Float[Tensor, "d_sae d_in"],
    gate: Gate,
    *,
    capacity: int,
    backend: Backend | str | None = None,
) -> Compacted:
    """Compute feature activations and keep the active ones, in rising order of features.

    Nothing waits for the device: where more features are active than fit, the first ones are kept, `counts`
    still says how many there were, and `overflow` is raised, to be read at the end.

    Args:
        x: The encoder's input, normalised and centred as the SAE asks (`SparseAutoencoder.normalize`), in
            float32, bfloat16 or float16. Products are accumulated in float32.
        W_enc: Encoder rows, feature-major.
        gate: Their activation function, from `gate_of`.
        capacity: Slots a token, at least 1.
        backend: `reference`, `torch` or `triton`; None chooses: Triton on a GPU, torch elsewhere.

    Returns:
        Indices and values [*lead, capacity], as `sparse_decode` takes them; counts [*lead]; overflow.

    Raises:
        UserError: Shapes, dtypes or devices that do not fit, or a backend that cannot do this call.
    """
    if x.ndim == 0 or W_enc.ndim != 2 or x.shape[-1] != W_enc.shape[1]:
        raise UserError(
            f"x must be [..., d_in] and W_enc [d_sae, d_in], got {tuple(x.shape)} and {tuple(W_enc.shape)}. "
            "The encoder is feature-major here: transpose SAELens' W_enc."
        )
    if not x.is_floating_point() or not W_enc.is_floating_point():
        raise UserError(f"x and W_enc must be floating-point, got {x.dtype} and {W_enc.dtype}. Convert them.")
    if capacity < 1:
        raise UserError(f"capacity must be at least 1, got {capacity}. Give the most slots a token may need.")
    if gate.bias.shape != W_enc.shape[:1]:
        raise UserError(
            f"The gate must have one entry for each of {len(W_enc)} features, got {len(gate.bias)}. "
            "Make it from the same encoder."
        )
    chosen = choose("encode_features", backend, (x, W_enc, gate.bias))
    lead = x.shape[:-1]
    flat = (x.reshape(math.prod(lead), x.shape[-1]), W_enc, gate, capacity)

    def triton() -> Compacted:
        from emosae.kernels import triton_encode

        return triton_encode.encode(*flat)

    found = run(
        "encode_features",
        chosen,
        {
            Backend.REFERENCE: lambda: reference.encode(*flat),
            Backend.TORCH: lambda: torch_paths.encode(*flat),
            Backend.TRITON: triton,
        },
    )
    return Compacted(
        found.indices.reshape(*lead, capacity),
        found.values.reshape(*lead, capacity),
        found.counts.reshape(lead),
        found.overflow,
    )
