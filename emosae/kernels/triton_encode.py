# mypy: disable-error-code="no-untyped-def,import-untyped"
"""Encode in Triton: products tile by tile, of which only the active features are ever written.

The features are divided into segments. A program multiplies some tokens with a segment, tile after tile, and
appends what is active to the segment's own slots, so that no two programs write one place and no atomic is
needed. The counts of the segments then say where each begins, and a second kernel moves them together.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from emosae.kernels.gates import Gate
from emosae.kernels.reference import Compacted
from emosae.kernels.triton_decode import INTERPRETED, on_device

__all__ = ["encode", "encode_kernel", "join_kernel"]

_PROGRAMS = 512  # a constant, as in triton_decode
_SCRATCH_SLOTS = 2**24  # slots of all segments together that more segments must not exceed
_BLOCK_FEATURES = 64
_BLOCK_SLOTS = 128


@triton.jit(do_not_specialize=["n", "n_features", "tiles_per_segment", "room"])
def encode_kernel(
    x,  # [n, d_in]
    W,  # [n_features, d_in]
    gate_bias,
    bound,
    gain,
    bias,
    indices,  # [n, segments, room]
    values,
    counts,  # [n, segments]
    n,
    n_features,
    d_in,
    tiles_per_segment,
    room,
    stride_x_row,
    stride_x_column,
    stride_W_row,
    stride_W_column,
    WIDEN: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_FEATURES: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """Append the active features of one segment for a block of tokens. All addresses are int64."""
    tokens = tl.program_id(0).to(tl.int64) * BLOCK_TOKENS + tl.arange(0, BLOCK_TOKENS).to(tl.int64)
    segment = tl.program_id(1).to(tl.int64)
    segments = tl.num_programs(1).to(tl.int64)
    present = tokens < n
    slots = (tokens * segments + segment) * room
    found = tl.zeros([BLOCK_TOKENS], dtype=tl.int32)
    for tile in range(tiles_per_segment):
        features = (segment * tiles_per_segment + tile) * BLOCK_FEATURES
        features += tl.arange(0, BLOCK_FEATURES).to(tl.int64)
        known = features < n_features
        p = tl.zeros([BLOCK_TOKENS, BLOCK_FEATURES], dtype=tl.float32)
        for start in range(0, d_in, BLOCK_DEPTH):
            depth = start + tl.arange(0, BLOCK_DEPTH).to(tl.int64)
            inside = depth < d_in
            left = tl.load(
                x + tokens[:, None] * stride_x_row + depth[None, :] * stride_x_column,
                mask=present[:, None] & inside[None, :],
                other=0.0,
            )
            right = tl.load(
                W + features[None, :] * stride_W_row + depth[:, None] * stride_W_column,
                mask=known[None, :] & inside[:, None],
                other=0.0,
            )
            if WIDEN:  # of two dtypes, or float32: no tensor core keeps all its bits
                p = tl.dot(left.to(tl.float32), right.to(tl.float32), p, input_precision="ieee")
            else:
                p = tl.dot(left, right, p)
        gated = p + tl.load(gate_bias + features, mask=known, other=0.0)[None, :]
        is_open = gated > tl.load(bound + features, mask=known, other=0.0)[None, :]
        value = p * tl.load(gain + features, mask=known, other=0.0)[None, :]
        value += tl.load(bias + features, mask=known, other=0.0)[None, :]
        active = is_open & (value > 0.0) & known[None, :] & present[:, None]
        place = found[:, None] + tl.cumsum(active.to(tl.int32), axis=1) - 1
        fits = active & (place < room)
        goal = slots[:, None] + place.to(tl.int64)
        number = features[None, :].to(tl.int32) + tl.zeros([BLOCK_TOKENS, 1], dtype=tl.int32)
        tl.store(indices + goal, number, mask=fits)
        tl.store(values + goal, value, mask=fits)
        found += tl.sum(active.to(tl.int32), axis=1)
    tl.store(counts + tokens * segments + segment, found, mask=present)


@triton.jit(do_not_specialize=["room", "capacity"])
def join_kernel(
    indices,  # [n, segments, room]
    values,
    ends,  # [n, segments], the running sum of the counts
    counts,  # [n, segments]
    out_indices,  # [n, capacity]
    out_values,
    room,
    capacity,
    BLOCK_SLOTS: tl.constexpr,
):
    """Move one segment of one token to its place; what exceeds the capacity is left out."""
    row = tl.program_id(0).to(tl.int64)
    segments = tl.num_programs(1).to(tl.int64)
    segment = row * segments + tl.program_id(1).to(tl.int64)
    count = tl.load(counts + segment).to(tl.int64)
    begin = tl.load(ends + segment) - count
    for start in range(0, tl.minimum(count, room), BLOCK_SLOTS):
        slots = start + tl.arange(0, BLOCK_SLOTS).to(tl.int64)
        goal = begin + slots
        inside = (slots < count) & (slots < room) & (goal < capacity)
        number = tl.load(indices + segment * room + slots, mask=inside, other=0)
        value = tl.load(values + segment * room + slots, mask=inside, other=0.0)
        tl.store(out_indices + row * capacity + goal, number, mask=inside)
        tl.store(out_values + row * capacity + goal, value, mask=inside)


def block_of(n: int, widen: bool) -> tuple[int, int]:
    """Choose how many tokens a program has, and how many products it sums at a time.

    A dot needs 16 of either. Without tensor cores the operands are held in registers, and more would spill.
    """
    return (16, 16) if widen else (16 if n <= 16 else 32, 32)


def segments_of(n: int, n_features: int, capacity: int, tokens: int) -> tuple[int, int, int]:
    """Choose how the features are divided, from the sizes alone.

    Args:
        n: Tokens.
        n_features: Features.
        capacity: Slots a token.
        tokens: Tokens a program.

    Returns:
        The number of segments, tiles of features in each, and slots of each.
    """
    tiles = max(1, triton.cdiv(n_features, _BLOCK_FEATURES))
    wanted = triton.cdiv(_PROGRAMS, triton.cdiv(n, tokens))
    affordable = max(1, _SCRATCH_SLOTS // (n * capacity))
    per_segment = triton.cdiv(tiles, max(1, min(tiles, wanted, affordable)))
    return triton.cdiv(tiles, per_segment), per_segment, min(capacity, per_segment * _BLOCK_FEATURES)


def encode(x: Tensor, W_enc: Tensor, gate: Gate, capacity: int) -> Compacted:
    """Do as `reference.encode`; the arguments have been checked."""
    n, d_in = x.shape
    device = x.device
    out_indices = torch.zeros(n, capacity, dtype=torch.int32, device=device)
    out_values = torch.zeros(n, capacity, dtype=torch.float32, device=device)
    if n == 0:
        counts = torch.zeros(0, dtype=torch.int64, device=device)
        return Compacted(out_indices, out_values, counts, (counts > capacity).any())
    widen = x.dtype == torch.float32 or x.dtype != W_enc.dtype
    widen |= INTERPRETED and x.dtype == torch.bfloat16  # the interpreter would multiply the bits as integers
    tokens, depth = block_of(n, widen)
    segments, per_segment, room = segments_of(n, len(W_enc), capacity, tokens)
    indices = torch.empty(n, segments, room, dtype=torch.int32, device=device)
    values = torch.empty(n, segments, room, dtype=torch.float32, device=device)
    counts = torch.empty(n, segments, dtype=torch.int32, device=device)
    with on_device(x):
        encode_kernel[(triton.cdiv(n, tokens), segments)](
            x,
            W_enc,
            gate.gate_bias,
            gate.bound,
            gate.gain,
            gate.bias,
            indices,
            values,
            counts,
            n,
            len(W_enc),
            d_in,
            per_segment,
            room,
            *x.stride(),
            *W_enc.stride(),
            WIDEN=widen,
            BLOCK_TOKENS=tokens,
            BLOCK_FEATURES=_BLOCK_FEATURES,
            BLOCK_DEPTH=depth,
            num_warps=4,
            enable_fp_fusion=True,
        )
        ends = counts.cumsum(dim=1)  # int64
        join_kernel[(n, segments)](
            indices,
            values,
            ends,
            counts,
            out_indices,
            out_values,
            room,
            capacity,
            BLOCK_SLOTS=_BLOCK_SLOTS,
            num_warps=1,
            enable_fp_fusion=True,
        )
    return Compacted(out_indices, out_values, ends[:, -1], (ends[:, -1] > capacity).any())
