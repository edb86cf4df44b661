"""From features to activations: only the decoder rows of the slots are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from emosae.saes.encode import ENCODE_BUFFER_BYTES

if TYPE_CHECKING:
    from jaxtyping import Float

    from emosae.saes.sparse import SparseFeatures

__all__ = ["bag", "dense_product", "sparse_product"]

_INT32_MAX = 2**31 - 1


@torch.no_grad()
def sparse_product(
    f: SparseFeatures,
    W_dec: Float[Tensor, "d_sae d_out"],
    *,
    norms: Float[Tensor, " d_sae"] | None = None,
    buffer_bytes: int = ENCODE_BUFFER_BYTES,
) -> Float[Tensor, "n d_out"]:
    """Give `f @ W_dec` in float32, without a dense f.

    Args:
        f: The features.
        W_dec: Decoder rows in any floating dtype.
        norms: What activations are divided by first (rescale_acts_by_decoder_norm); None is 1.
        buffer_bytes: What the decoder rows that are widened to float32 may take at a time.
    """
    values = f.values.to(torch.float32)
    if norms is not None:
        values = values / norms[f.indices]
    if W_dec.dtype == torch.float32:
        return bag(f.indices, values, f.crow, W_dec)
    out = torch.empty(len(f), W_dec.shape[1], dtype=torch.float32, device=W_dec.device)
    slots = max(1, buffer_bytes // (4 * W_dec.shape[1]))
    start = 0
    while start < len(f):
        # As many rows as the buffer holds decoder rows for, and at least one.
        limit = torch.searchsorted(f.crow, f.crow[start] + slots, right=True) - 1
        end = min(len(f), max(start + 1, int(limit)))
        first, last = int(f.crow[start]), int(f.crow[end])
        used, position = torch.unique(f.indices[first:last], return_inverse=True)
        crow = f.crow[start : end + 1] - first
        out[start:end] = bag(position, values[first:last], crow, W_dec[used].to(torch.float32))
        start = end
    return out


@torch.no_grad()
def dense_product(
    f: Float[Tensor, "n d_sae"],
    W_dec: Float[Tensor, "d_sae d_out"],
    *,
    norms: Float[Tensor, " d_sae"] | None = None,
    buffer_bytes: int = ENCODE_BUFFER_BYTES,
) -> Float[Tensor, "n d_out"]:
    """Give `f @ W_dec` of dense features in float32; weights of another dtype are widened in parts."""
    step = len(W_dec) if W_dec.dtype == torch.float32 else max(1, buffer_bytes // (4 * W_dec.shape[1]))
    out = torch.zeros(len(f), W_dec.shape[1], dtype=torch.float32, device=W_dec.device)
    for start in range(0, len(W_dec), step):
        part = f[:, start : start + step].to(torch.float32)
        if norms is not None:  # a row of norm 0 writes nothing, whatever its feature says
            norm = norms[start : start + step]
            part = torch.where(norm > 0, part / norm, 0.0)
        out.addmm_(part, W_dec[start : start + step].to(torch.float32))
    return out


def bag(indices: Tensor, values: Tensor, crow: Tensor, W: Tensor) -> Tensor:
    """Sum `values * W[indices]` over each row's slots; values and W are of one dtype, which the sums have too."""
    if len(values) == 0:  # also what rows without any slot need, and what embedding_bag cannot take
        return torch.zeros(len(crow) - 1, W.shape[1], dtype=W.dtype, device=W.device)
    wide = max(W.numel(), len(values)) > _INT32_MAX  # so that no product of index and width overflows
    kind = torch.int64 if wide else indices.dtype
    return embedding_bag(
        indices.to(kind),
        W,
        offsets=crow.to(kind),
        per_sample_weights=values,
        mode="sum",
        include_last_offset=True,
    )
