"""The operations through torch's own operators: what a CPU uses, and a GPU without Triton.

On a CPU these may look at the numbers first (that costs microseconds); on other devices they never wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from emosae.kernels import reference
from emosae.kernels.gates import ClampRows, Gate
from emosae.kernels.reference import Clamped, Compacted
from emosae.saes.decode import bag

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["clamp", "decode", "decode_csr", "encode"]

# Decoder rows that are widened at a time: small enough that they are summed from the cache, which is worth
# 2 times on long rows (measured: 16 rows of 256 slots, 24,576 x 768, bfloat16).
_WIDENED_BYTES = 2 * 2**20
_DENSE_BYTES = 64 * 2**20  # dense pre-activations at a time
_INT32_MAX = 2**31 - 1


def decode(
    indices: Int[Tensor, "n k"],
    values: Float[Tensor, "n k"],
    W_dec: Float[Tensor, "d_sae d"],
    residual: Float[Tensor, "n d"] | None = None,
    *,
    known: bool = False,
) -> Float[Tensor, "n d"]:
    """Do as `reference.decode`; `known` says that all indices have been found to be in the decoder."""
    n, k = indices.shape
    if values.device.type != "cpu":
        return reference.decode(indices, values, W_dec, residual)
    same = values.dtype == W_dec.dtype
    # Nothing to leave out, as nearly always: one call, since at one row each more costs as much as the sum.
    if same and residual is None and _all_used(indices, values, W_dec, known=known):
        return embedding_bag(indices, W_dec, per_sample_weights=values, mode="sum")
    crow = torch.arange(0, n * k + 1, k) if k else torch.zeros(n + 1, dtype=torch.int64)
    return decode_csr(crow, indices.reshape(-1), values.reshape(-1), W_dec, residual)


def _all_used(indices: Tensor, values: Tensor, W_dec: Tensor, *, known: bool) -> bool:
    """Whether every slot is used and known, and no product of index and width overflows."""
    if min(indices.numel(), W_dec.numel()) == 0 or W_dec.numel() > _INT32_MAX or not bool(values.all()):
        return False
    if known:
        return True
    low, high = torch.aminmax(indices)
    return int(low) >= 0 and int(high) < len(W_dec)


def decode_csr(
    crow: Int[Tensor, " n+1"],
    indices: Int[Tensor, " nnz"],
    values: Float[Tensor, " nnz"],
    W_dec: Float[Tensor, "d_sae d"],
    residual: Float[Tensor, "n d"] | None = None,
) -> Float[Tensor, "n d"]:
    """Do as `reference.decode_csr`."""
    if values.device.type != "cpu":
        return reference.decode_csr(crow, indices, values, W_dec, residual)
    n, width = len(crow) - 1, W_dec.shape[1]
    kind = torch.promote_types(values.dtype, W_dec.dtype)
    spoilt = _rows_with_unknown(crow, indices, len(W_dec))
    drop = values == 0
    if spoilt is not None:
        drop |= (indices < 0) | (indices >= len(W_dec))
    if bool(drop.any()):  # embedding_bag would read their rows, and 0 * NaN is NaN
        live = ~drop
        before = torch.zeros(len(live) + 1, dtype=torch.int64)
        torch.cumsum(live, 0, out=before[1:])
        crow, indices, values = before[crow], indices[live], values[live]
    first, last = (int(crow[0]), int(crow[-1])) if n else (0, 0)
    if first == last or width == 0:
        out = torch.zeros(n, width, dtype=kind)
    elif W_dec.dtype == values.dtype == kind:  # it accumulates in float32, whatever the dtype
        out = bag(indices[first:last], values[first:last], crow - first, W_dec)
    else:
        out = _widened_bags(crow, indices, values, W_dec).to(kind)
    if spoilt is not None:
        out[spoilt] = torch.nan
    if residual is None:
        return out
    return (residual.to(torch.promote_types(out.dtype, torch.float32)) + out).to(residual.dtype)


def _rows_with_unknown(crow: Tensor, indices: Tensor, n_features: int) -> Tensor | None:
    """Give the rows that hold an index outside the decoder in a slot; None if there is none."""
    if not len(indices):
        return None
    low, high = (int(bound) for bound in torch.aminmax(indices))
    if low >= 0 and high < n_features:
        return None
    slots = ((indices < 0) | (indices >= n_features)).nonzero().view(-1)
    return torch.searchsorted(crow, slots, right=True) - 1


def _widened_bags(crow: Tensor, indices: Tensor, values: Tensor, W_dec: Tensor) -> Tensor:
    """Sum in float32 where the decoder or the values are narrower, some slots at a time."""
    wide = torch.promote_types(torch.promote_types(values.dtype, W_dec.dtype), torch.float32)
    out = torch.zeros(len(crow) - 1, W_dec.shape[1], dtype=wide)
    bounds = crow.tolist()
    slots = max(1, _WIDENED_BYTES // (4 * W_dec.shape[1]))
    row = 0
    while row < len(out):
        end = row + 1
        while end < len(out) and bounds[end + 1] - bounds[row] <= slots:
            end += 1
        # A row longer than the buffer is summed part by part.
        for first in range(bounds[row], bounds[end], slots):
            last = min(first + slots, bounds[end])
            part = (crow[row : end + 1] - first).clamp(0, last - first)
            gathered = W_dec[indices[first:last]].to(wide)
            out[row:end] += bag(torch.arange(last - first), values[first:last].to(wide), part, gathered)
        row = end
    return out


def clamp(
    x: Float[Tensor, "n d_in"],
    rows: ClampRows,
    *,
    y: Float[Tensor, "n d_out"] | None = None,
    mask: Bool[Tensor, "n n_clamps"] | None = None,
    given: Float[Tensor, "n n_clamps"] | None = None,
    rule: Int[Tensor, " n"] | None = None,
) -> Clamped:
    """Do as `reference.clamp`: two thin products and operations on [n, n_clamps].

    The reference is already that, so there is nothing to add but to skip tokens outside the mask, which on
    a CPU is worth it: a long prompt is read, and few of its tokens are clamped.
    """
    if mask is None or x.device.type != "cpu":
        return reference.clamp(x, rows, y=y, mask=mask, given=given, rule=rule)
    y = x if y is None else y
    touched = mask.any(dim=1)
    if bool(touched.all()):
        return reference.clamp(x, rows, y=y, mask=mask, given=given, rule=rule)
    found = reference.clamp(
        x[touched],
        rows,
        y=y[touched],
        mask=mask[touched],
        given=None if given is None else given[touched],
        rule=None if rule is None else rule[touched],
    )
    nothing = torch.zeros(len(x), len(rows), dtype=torch.float32)
    untouched = Clamped(y.clone(), nothing, nothing.clone(), torch.ones(len(x), dtype=torch.float32))
    for out, part in zip(untouched, found, strict=True):
        out[touched] = part
    return untouched


def encode(
    x: Float[Tensor, "n d_in"], W_enc: Float[Tensor, "d_sae d_in"], gate: Gate, capacity: int
) -> Compacted:
    """Do as `reference.encode`, with a bounded dense buffer and only the active features compacted."""
    if x.device.type != "cpu":
        return reference.encode(x, W_enc, gate, capacity)
    n, d_sae = len(x), len(W_enc)
    indices = torch.zeros(n, capacity, dtype=torch.int32)
    values = torch.zeros(n, capacity)
    counts = torch.zeros(n, dtype=torch.int64)
    step = max(1, _DENSE_BYTES // (4 * max(d_sae, 1)))
    W = W_enc.to(torch.float32)
    for start in range(0, n, step):
        p = x[start : start + step].to(torch.float32) @ W.T
        # numpy finds them several times faster than torch does on a CPU
        slots = torch.from_numpy(np.flatnonzero((p + gate.gate_bias > gate.bound).numpy()))
        row = slots // d_sae
        column = slots - row * d_sae
        value = p.view(-1)[slots] * gate.gain[column] + gate.bias[column]
        active = value > 0
        row, column, value = row[active], column[active], value[active]
        count = torch.bincount(row, minlength=len(p))
        place = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
        fits = place < capacity
        indices[start + row[fits], place[fits]] = column[fits].to(torch.int32)
        values[start + row[fits], place[fits]] = value[fits]
        counts[start : start + step] = count
    return Compacted(indices, values, counts, (counts > capacity).any())
