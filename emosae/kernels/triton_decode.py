# mypy: disable-error-code="no-untyped-def,import-untyped"
"""Sparse decode in Triton: for each row, a sum over the decoder rows of its slots.

One program sums a block of columns of one row over a stretch of its slots; where rows are few, the slots are
divided among several programs and a second kernel adds their sums, in order, so that a single row fills the
GPU and each run gives the same bits.
"""

from __future__ import annotations

import contextlib

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["INTERPRETED", "decode", "decode_csr", "finish_kernel", "on_device", "sum_slots_kernel"]

# Enough programs to fill any present GPU a few times over. A constant, so that the order of summation, and
# with it the last bit, does not depend on the device.
_PROGRAMS = 512
_MAX_SPLITS = 16
_BLOCK_SLOTS = 16
_COLUMNS = (256, 128, 64)


@triton.jit(do_not_specialize=["k", "n_features", "splits"])
def sum_slots_kernel(
    indices,  # [n, k] or [nnz]
    values,
    crow,  # [n + 1], CSR only
    W,  # [n_features, width]
    residual,  # [n, width], HAS_RESIDUAL only
    out,  # [splits, n, width]
    k,
    n_features,
    width,
    splits,
    stride_index_row,
    stride_index_slot,
    stride_value_row,
    stride_value_slot,
    stride_W_row,
    stride_W_column,
    stride_residual_row,
    stride_residual_column,
    CSR: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK_SLOTS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Sum a stretch of one row's slots over a block of columns. All addresses are int64."""
    row = tl.program_id(0).to(tl.int64)
    split = tl.program_id(2).to(tl.int64)
    columns = tl.program_id(1).to(tl.int64) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS).to(tl.int64)
    in_width = columns < width
    if CSR:
        first = tl.load(crow + row)
        last = tl.load(crow + (row + 1))
    else:
        first = row * 0
        last = first + k
        indices += row * stride_index_row
        values += row * stride_value_row
    share = tl.cdiv(last - first, splits)
    first += split * share
    last = tl.minimum(first + share, last)
    total = tl.zeros([BLOCK_COLUMNS], dtype=tl.float32)
    for start in range(first, last, BLOCK_SLOTS):
        slots = start + tl.arange(0, BLOCK_SLOTS).to(tl.int64)
        inside = slots < last
        index = tl.load(indices + slots * stride_index_slot, mask=inside, other=0).to(tl.int64)
        value = tl.load(values + slots * stride_value_slot, mask=inside, other=0.0).to(tl.float32)
        live = inside & (value != 0.0)  # the row of a zero is not read: it may hold NaN
        known = (index >= 0) & (index < n_features)
        rows = tl.load(
            W + index[:, None] * stride_W_row + columns[None, :] * stride_W_column,
            mask=(live & known)[:, None] & in_width[None, :],
            other=0.0,
        ).to(tl.float32)
        weight = tl.where(live, tl.where(known, value, float("nan")), 0.0)
        total += tl.sum(weight[:, None] * rows, axis=0)
    if HAS_RESIDUAL:
        total += tl.load(
            residual + row * stride_residual_row + columns * stride_residual_column, mask=in_width, other=0.0
        ).to(tl.float32)
    n_rows = tl.num_programs(0).to(tl.int64)
    place = (split * n_rows + row) * width + columns
    tl.store(out + place, total.to(out.dtype.element_ty), mask=in_width)


@triton.jit(do_not_specialize=["splits"])
def finish_kernel(
    parts,  # [splits, n, width], float32
    residual,
    out,  # [n, width]
    width,
    splits,
    stride_residual_row,
    stride_residual_column,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    """Add the sums of the stretches, always in the same order, and the residual."""
    row = tl.program_id(0).to(tl.int64)
    n_rows = tl.num_programs(0).to(tl.int64)
    columns = tl.program_id(1).to(tl.int64) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS).to(tl.int64)
    in_width = columns < width
    total = tl.zeros([BLOCK_COLUMNS], dtype=tl.float32)
    for split in range(splits):
        total += tl.load(parts + (split * n_rows + row) * width + columns, mask=in_width, other=0.0)
    if HAS_RESIDUAL:
        total += tl.load(
            residual + row * stride_residual_row + columns * stride_residual_column, mask=in_width, other=0.0
        ).to(tl.float32)
    tl.store(out + row * width + columns, total.to(out.dtype.element_ty), mask=in_width)


# A kernel knows what it was made for; the environment may have changed since.
INTERPRETED = not isinstance(sum_slots_kernel, triton.runtime.JITFunction)


def decode(indices: Tensor, values: Tensor, W_dec: Tensor, residual: Tensor | None = None) -> Tensor:
    """Do as `reference.decode`; the arguments have been checked."""
    n, k = indices.shape
    strides = (*indices.stride(), *values.stride())
    return _launch(indices, values, None, W_dec, residual, n=n, k=k, slots=k, strides=strides)


def decode_csr(
    crow: Tensor, indices: Tensor, values: Tensor, W_dec: Tensor, residual: Tensor | None = None
) -> Tensor:
    """Do as `reference.decode_csr`; the arguments have been checked."""
    n = len(crow) - 1
    strides = (0, indices.stride(0), 0, values.stride(0))
    mean = -(-len(indices) // max(n, 1))  # known without waiting for the device
    return _launch(indices, values, crow.contiguous(), W_dec, residual, n=n, k=0, slots=mean, strides=strides)


def shape_of_grid(n: int, width: int, slots: int) -> tuple[int, int]:
    """Choose columns a program and stretches of slots from the sizes alone.

    Args:
        n: Rows.
        width: Columns of the decoder.
        slots: Slots a row, about.

    Returns:
        Columns a program, and the number of stretches.
    """
    columns = next((c for c in _COLUMNS if n * triton.cdiv(width, c) >= _PROGRAMS), _COLUMNS[-1])
    programs = n * triton.cdiv(width, columns)
    wanted = triton.cdiv(_PROGRAMS, max(programs, 1))
    return columns, max(1, min(wanted, _MAX_SPLITS, slots // _BLOCK_SLOTS))


def _launch(
    indices: Tensor,
    values: Tensor,
    crow: Tensor | None,
    W_dec: Tensor,
    residual: Tensor | None,
    *,
    n: int,
    k: int,
    slots: int,
    strides: tuple[int, ...],
) -> Tensor:
    n_features, width = W_dec.shape
    kind = torch.promote_types(values.dtype, W_dec.dtype) if residual is None else residual.dtype
    out = torch.empty(n, width, dtype=kind, device=values.device)
    if n == 0 or width == 0:
        return out
    columns, splits = shape_of_grid(n, width, slots)
    blocks = triton.cdiv(width, columns)
    parts = out if splits == 1 else torch.empty(splits, n, width, dtype=torch.float32, device=out.device)
    beside = (0, 0) if residual is None else residual.stride()
    with on_device(out):
        sum_slots_kernel[(n, blocks, splits)](
            indices,
            values,
            indices if crow is None else crow,
            W_dec,
            out if residual is None else residual,
            parts,
            k,
            n_features,
            width,
            splits,
            *strides,
            *W_dec.stride(),
            *beside,
            CSR=crow is not None,
            HAS_RESIDUAL=residual is not None and splits == 1,
            BLOCK_SLOTS=_BLOCK_SLOTS,
            BLOCK_COLUMNS=columns,
            num_warps=4,
            enable_fp_fusion=True,
        )
        if splits > 1:
            finish_kernel[(n, blocks)](
                parts,
                out if residual is None else residual,
                out,
                width,
                splits,
                *beside,
                HAS_RESIDUAL=residual is not None,
                BLOCK_COLUMNS=columns,
                num_warps=4,
                enable_fp_fusion=True,
            )
    return out


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Make a tensor's GPU the current one: Triton launches there, not where the tensors are."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
