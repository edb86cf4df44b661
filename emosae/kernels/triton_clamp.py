# mypy: disable-error-code="no-untyped-def,import-untyped"
"""The clamp in Triton: one program reads a token, encodes the clamped features and writes the edited token."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from emosae.kernels.gates import ClampRows
from emosae.kernels.reference import Clamped
from emosae.kernels.triton_decode import on_device
from emosae.saes.config import Normalization

__all__ = ["clamp", "clamp_kernel", "tile_of"]

_TILE = 4096  # elements of a tile of decoder rows: 16 registers a thread
_NORMALIZATIONS = {
    Normalization.NONE: 0,
    Normalization.EXPECTED_AVERAGE_ONLY_IN: 0,  # its scalar was folded into the weights
    Normalization.LAYER_NORM: 1,
    Normalization.CONSTANT_NORM_RESCALE: 2,
}


@triton.jit(do_not_specialize=["n_clamps"])
def clamp_kernel(
    x,  # [n, d_in]
    y,  # [n, d_out]
    out,  # [n, d_out]
    W_enc,  # [n_clamps, d_in]
    W_dec,  # [n_clamps, d_out]
    gate_bias,  # [n_clamps], as the three that follow
    bound,
    gain,
    bias,
    slope,  # [n_rules, n_clamps], as the five that follow
    shift,
    low,
    high,
    per_norm,
    only_if_active,
    mask,  # [n, n_clamps], HAS_MASK only
    given,  # [n, n_clamps], GIVEN only
    rule,  # [n], int64, BY_RULE only
    record,  # [n, 2 * n_clamps + 1], RECORD only: values, changes, scale
    n_clamps,
    d_in,
    d_out,
    stride_x_row,
    stride_x_column,
    stride_y_row,
    stride_y_column,
    stride_mask_row,
    stride_mask_clamp,
    stride_given_row,
    stride_given_clamp,
    NORMALIZATION: tl.constexpr,  # 0 none, 1 layer_norm, 2 constant_norm_rescale
    CENTER: tl.constexpr,
    SCALED: tl.constexpr,
    HAS_MASK: tl.constexpr,
    GIVEN: tl.constexpr,
    BY_RULE: tl.constexpr,
    RECORD: tl.constexpr,
    BLOCK_CLAMPS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Edit one token. All addresses are int64; the token is read from the cache after the first time."""
    row = tl.program_id(0).to(tl.int64)
    clamps = tl.arange(0, BLOCK_CLAMPS).to(tl.int64)
    block = tl.arange(0, BLOCK_COLUMNS).to(tl.int64)
    wanted = clamps < n_clamps
    if HAS_MASK:
        flags = mask + row * stride_mask_row + clamps * stride_mask_clamp
        wanted = wanted & (tl.load(flags, mask=wanted, other=0) != 0)
    coefficient = tl.zeros([BLOCK_CLAMPS], dtype=tl.float32)
    told = record + row * (2 * n_clamps + 1)
    told_scale = record + (row * (2 * n_clamps + 1) + 2 * n_clamps)
    rules = clamps
    if BY_RULE:
        rules += tl.load(rule + row) * n_clamps
    if tl.max(wanted.to(tl.int32), axis=0) > 0:
        x_row = x + row * stride_x_row
        sums = tl.zeros([BLOCK_COLUMNS], dtype=tl.float32)
        squares = tl.zeros([BLOCK_COLUMNS], dtype=tl.float32)
        for start in range(0, d_in, BLOCK_COLUMNS):
            columns = start + block
            part = tl.load(x_row + columns * stride_x_column, mask=columns < d_in, other=0.0).to(tl.float32)
            sums += part
            squares += part * part
        square = tl.sum(squares, axis=0)
        length = tl.sqrt(square)
        mean = 0.0
        if CENTER or NORMALIZATION == 1:
            # a second pass, since sum(x^2) - n mean^2 cancels where the mean is large
            mean = tl.sum(sums, axis=0) / d_in
            squares = tl.zeros([BLOCK_COLUMNS], dtype=tl.float32)
            for start in range(0, d_in, BLOCK_COLUMNS):
                columns = start + block
                part = tl.load(x_row + columns * stride_x_column, mask=columns < d_in, other=0.0)
                centred = tl.where(columns < d_in, part.to(tl.float32) - mean, 0.0)
                squares += centred * centred
            square = tl.sum(squares, axis=0)
        scale = 1.0
        factor = 1.0
        if NORMALIZATION == 1:
            scale = tl.sqrt(square / (d_in - 1))
            factor = 1.0 / (scale + 1e-5)
        if NORMALIZATION == 2:
            scale = tl.sqrt(square / d_in)
            factor = 1.0 / tl.where(scale == 0.0, float("inf"), scale)  # a zero token stays zero
        if GIVEN:
            values = given + row * stride_given_row + clamps * stride_given_clamp
            f = tl.load(values, mask=wanted, other=0.0).to(tl.float32)
        else:
            products = tl.zeros([BLOCK_CLAMPS, BLOCK_COLUMNS], dtype=tl.float32)
            for start in range(0, d_in, BLOCK_COLUMNS):
                columns = start + block
                inside = columns < d_in
                part = tl.load(x_row + columns * stride_x_column, mask=inside, other=0.0).to(tl.float32)
                normed = tl.where(inside, (part - mean) * factor, 0.0)
                weights = tl.load(
                    W_enc + clamps[:, None] * d_in + columns[None, :],
                    mask=wanted[:, None] & inside[None, :],
                    other=0.0,
                )
                products += weights.to(tl.float32) * normed[None, :]
            p = tl.sum(products, axis=1)
            magnitude = p * tl.load(gain + clamps, mask=wanted, other=0.0)
            magnitude += tl.load(bias + clamps, mask=wanted, other=0.0)
            gated = p + tl.load(gate_bias + clamps, mask=wanted, other=0.0)
            closed = gated <= tl.load(bound + clamps, mask=wanted, other=0.0)
            f = tl.where(closed | (magnitude <= 0.0), 0.0, magnitude)  # NaN stays NaN
        change = tl.load(slope + rules, mask=wanted, other=0.0) * f
        change += tl.load(shift + rules, mask=wanted, other=0.0)
        least = tl.load(low + rules, mask=wanted, other=0.0) - f
        most = tl.load(high + rules, mask=wanted, other=0.0) - f
        change = tl.where(change < least, least, change)
        change = tl.where(change > most, most, change)
        if not SCALED:
            scale = 1.0
        push = tl.load(per_norm + rules, mask=wanted, other=0.0) * length
        idle = (tl.load(only_if_active + rules, mask=wanted, other=0) != 0) & (f == 0.0)
        acts = wanted & (idle == 0)
        coefficient = tl.where(acts, change * scale + push, 0.0)
        if RECORD:
            present = clamps < n_clamps
            share = push
            if SCALED and NORMALIZATION != 0:
                share = push / tl.where(scale > 0.0, scale, float("inf"))
            tl.store(told + clamps, tl.where(wanted, f, 0.0), mask=present)
            tl.store(told + (clamps + n_clamps), tl.where(acts, change + share, 0.0), mask=present)
            tl.store(told_scale, scale)
    elif RECORD:
        tl.store(told + clamps, coefficient, mask=clamps < n_clamps)
        tl.store(told + (clamps + n_clamps), coefficient, mask=clamps < n_clamps)
        tl.store(told_scale, 1.0)
    touched = tl.max((coefficient != 0.0).to(tl.int32), axis=0) > 0
    for start in range(0, d_out, BLOCK_COLUMNS):
        columns = start + block
        inside = columns < d_out
        before = tl.load(y + row * stride_y_row + columns * stride_y_column, mask=inside, other=0.0)
        after = before
        if touched:
            rows = tl.load(
                W_dec + clamps[:, None] * d_out + columns[None, :],
                mask=(coefficient != 0.0)[:, None] & inside[None, :],
                other=0.0,
            )
            edit = tl.sum(coefficient[:, None] * rows.to(tl.float32), axis=0)
            after = (before.to(tl.float32) + edit).to(before.dtype)
        tl.store(out + row * d_out + columns, after, mask=inside)


def tile_of(n_clamps: int, width: int) -> tuple[int, int]:
    """Choose how many clamps and columns one tile has, both powers of two."""
    clamps = triton.next_power_of_2(max(n_clamps, 1))
    return clamps, max(16, min(_TILE // clamps, 1024, triton.next_power_of_2(width)))


def clamp(
    x: Tensor,
    rows: ClampRows,
    *,
    y: Tensor | None = None,
    mask: Tensor | None = None,
    given: Tensor | None = None,
    rule: Tensor | None = None,
    record: bool = True,
) -> Clamped:
    """Do as `reference.clamp`; the arguments have been checked. Without `record` only `edited` is written."""
    y = x if y is None else y
    n, d_in = x.shape
    d_out, size = y.shape[1], len(rows)
    out = torch.empty(n, d_out, dtype=y.dtype, device=y.device)
    told = torch.empty(n if record else 0, 2 * size + 1, dtype=torch.float32, device=y.device)
    result = Clamped(out, told[:, :size], told[:, size:-1], told[:, -1])
    if n == 0:
        return result
    flags = None if mask is None else mask.view(torch.uint8)
    clamps, columns = tile_of(size, max(d_in, d_out))
    gate = rows.gate
    with on_device(out):
        clamp_kernel[(n,)](
            x,
            y,
            out,
            rows.W_enc,
            rows.W_dec,
            gate.gate_bias,
            gate.bound,
            gate.gain,
            gate.bias,
            rows.slope,
            rows.shift,
            rows.low,
            rows.high,
            rows.per_norm,
            rows.only_if_active.view(torch.uint8),
            out if flags is None else flags,
            out if given is None else given,
            out if rule is None else rule,
            told,
            size,
            d_in,
            d_out,
            *x.stride(),
            *y.stride(),
            *((0, 0) if flags is None else flags.stride()),
            *((0, 0) if given is None else given.stride()),
            NORMALIZATION=_NORMALIZATIONS[rows.normalization],
            CENTER=rows.center,
            SCALED=rows.scaled,
            HAS_MASK=flags is not None,
            GIVEN=given is not None,
            BY_RULE=rule is not None,
            RECORD=record,
            BLOCK_CLAMPS=clamps,
            BLOCK_COLUMNS=columns,
            num_warps=8,
            enable_fp_fusion=True,
        )
    return result
