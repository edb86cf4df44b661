"""The specification: each operation in the shortest torch that says what it means, accumulated in float32.

Nothing here is meant to be fast, and everything else in this package is tested against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from emosae.kernels.gates import ClampRows, Gate
from emosae.saes.config import Normalization

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["Clamped", "Compacted", "clamp", "decode", "decode_csr", "encode"]

_LAYER_NORM_EPS = 1e-5  # SAELens adds it to the std on the way in, and not on the way out


class Compacted(NamedTuple):
    """Active features in a fixed number of slots a row, as `sparse_decode` takes them.

    Attributes:
        indices: The features in rising order, int32 [n, capacity]; 0 in an unused slot.
        values: Their activations, float32 [n, capacity]; 0 in an unused slot.
        counts: How many features are active in each row, int64 [n]; may exceed the capacity.
        overflow: Whether a row had more than fit, bool []. It stays on the device: read it once, at the end.
    """

    indices: Int[Tensor, "n capacity"]
    values: Float[Tensor, "n capacity"]
    counts: Int[Tensor, " n"]
    overflow: Bool[Tensor, ""]


class Clamped(NamedTuple):
    """Edited activations, and what was done to each token.

    Attributes:
        edited: The activations, [n, d_out].
        activation: The clamped features' values as they were, float32 [n, n_clamps]; 0 outside the mask.
        difference: What was added to each, float32 [n, n_clamps]; 0 outside the mask.
        scale: What the sum was multiplied with, float32 [n]; 1 outside the mask.
    """

    edited: Float[Tensor, "n d_out"]
    activation: Float[Tensor, "n n_clamps"]
    difference: Float[Tensor, "n n_clamps"]
    scale: Float[Tensor, " n"]


def decode(
    indices: Int[Tensor, "n k"],
    values: Float[Tensor, "n k"],
    W_dec: Float[Tensor, "d_sae d"],
    residual: Float[Tensor, "n d"] | None = None,
) -> Float[Tensor, "n d"]:
    """Give `residual + sum_j values[:, j] * W_dec[indices[:, j]]`.

    A slot of value 0 is no slot: its decoder row is not read, whatever it holds. A slot whose index is
    outside the decoder makes its row NaN.

    Example: with W_dec = [[1, 2], [10, 20]], the slots (0: 3) and (1: 0.5) give [3 + 5, 6 + 10].
    """
    wide = torch.promote_types(torch.promote_types(values.dtype, W_dec.dtype), torch.float32)
    known = (indices >= 0) & (indices < len(W_dec))
    rows = W_dec[torch.where(known & (values != 0), indices, 0)].to(wide) if len(W_dec) else 0.0
    weights = torch.where(known, values.to(wide), torch.nan)[..., None]
    out = torch.where(values[..., None] == 0, 0.0, weights * rows).sum(dim=1)
    out = out.expand(len(values), W_dec.shape[1])
    if residual is not None:
        return (residual.to(wide) + out).to(residual.dtype)
    return out.to(torch.promote_types(values.dtype, W_dec.dtype))


def decode_csr(
    crow: Int[Tensor, " n+1"],
    indices: Int[Tensor, " nnz"],
    values: Float[Tensor, " nnz"],
    W_dec: Float[Tensor, "d_sae d"],
    residual: Float[Tensor, "n d"] | None = None,
) -> Float[Tensor, "n d"]:
    """Do as `decode`, where row r holds the slots `crow[r]` to `crow[r + 1]`.

    Example: crow = [0, 2, 2, 3] are rows of two slots, none and one.
    """
    longest = int(crow.diff().max()) if len(crow) > 1 else 0
    place = crow[:-1, None] + torch.arange(longest, device=crow.device)
    inside = place < crow[1:, None]
    place = torch.where(inside, place, 0)
    return decode(
        torch.where(inside, indices[place], 0), torch.where(inside, values[place], 0), W_dec, residual
    )


def clamp(
    x: Float[Tensor, "n d_in"],
    rows: ClampRows,
    *,
    y: Float[Tensor, "n d_out"] | None = None,
    mask: Bool[Tensor, "n n_clamps"] | None = None,
    given: Float[Tensor, "n n_clamps"] | None = None,
    rule: Int[Tensor, " n"] | None = None,
) -> Clamped:
    """Give `y + scale(x) * sum_i (t_i - f_i) * W_dec[i]`, bit-identical to y where nothing is clamped.

    Example: x = [3, 0] with encoder and decoder row [1, 0] has f = 3; set to 5 gives [5, 0].
    """
    y = x if y is None else y
    rows = rows if rule is None else rows.each_rule(lambda parts: parts[0][rule])
    wide = x.to(torch.float32)
    length = wide.norm(dim=1, keepdim=True)
    scale = torch.ones_like(length)
    if rows.center:
        wide = wide - wide.mean(dim=1, keepdim=True)
    if rows.normalization is Normalization.LAYER_NORM:
        wide = wide - wide.mean(dim=1, keepdim=True)
        scale = wide.std(dim=1, keepdim=True)
        wide = wide / (scale + _LAYER_NORM_EPS)
    elif rows.normalization is Normalization.CONSTANT_NORM_RESCALE:
        scale = wide.norm(dim=1, keepdim=True) / x.shape[1] ** 0.5
        wide = torch.where(scale == 0, 0.0, wide / scale)
    f = activate(wide @ rows.W_enc.float().T, rows.gate) if given is None else given.float()
    if not rows.scaled:
        scale = torch.ones_like(length)
    change = rows.slope * f + rows.shift
    change = torch.minimum(torch.maximum(change, rows.low - f), rows.high - f)
    acts = ~(rows.only_if_active & (f == 0))
    if mask is not None:
        acts, f = acts & mask, torch.where(mask, f, 0.0)
        scale = torch.where(mask.any(dim=1, keepdim=True), scale, 1.0)
    coefficient = torch.where(acts, change * scale + rows.per_norm * length, 0.0)
    difference = change + rows.per_norm * torch.where(scale > 0, length / scale, 0.0)
    edited = y.to(torch.float32) + coefficient @ rows.W_dec.to(torch.float32)
    edited = torch.where((coefficient != 0).any(dim=1, keepdim=True), edited.to(y.dtype), y)
    return Clamped(edited, f, torch.where(acts, difference, 0.0), scale[:, 0])


def activate(p: Float[Tensor, "n n_features"], gate: Gate) -> Float[Tensor, "n n_features"]:
    """Give feature activations from the products of the input and the encoder rows; NaN stays NaN."""
    return torch.where(p + gate.gate_bias <= gate.bound, 0.0, torch.relu(p * gate.gain + gate.bias))


def encode(
    x: Float[Tensor, "n d_in"],
    W_enc: Float[Tensor, "d_sae d_in"],
    gate: Gate,
    capacity: int,
) -> Compacted:
    """Give the active features of each row, those of the lowest numbers if there are more than fit.

    Example: activations [0, 2, 0, 1] with capacity 3 are indices [1, 3, 0], values [2, 1, 0], count 2.
    """
    f = activate(x.to(torch.float32) @ W_enc.to(torch.float32).T, gate)
    active = f > 0
    slot = torch.where(active, active.cumsum(dim=1) - 1, capacity).clamp(max=capacity)
    number = torch.arange(f.shape[1], dtype=torch.int32, device=x.device).expand_as(slot)
    indices = torch.zeros(len(x), capacity + 1, dtype=torch.int32, device=x.device).scatter_(1, slot, number)
    values = torch.zeros(len(x), capacity + 1, device=x.device).scatter_(1, slot, f)
    counts = active.sum(dim=1)
    return Compacted(
        indices[:, :capacity].contiguous(),
        values[:, :capacity].contiguous(),
        counts,
        (counts > capacity).any(),
    )
