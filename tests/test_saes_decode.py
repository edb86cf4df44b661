"""Decoding: the laws of a sparse product."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from saes_cases import D_SAE, activations, make_cfg, make_state
from torch import Tensor
from torch.testing import assert_close

from emosae.saes import SparseAutoencoder, SparseFeatures, decode
from emosae.saes.decode import dense_product, sparse_product

D_OUT = 6
slots = st.lists(
    st.lists(st.tuples(st.integers(0, D_SAE - 1), st.floats(-4, 4, width=16)), max_size=8), max_size=6
)


def decoder(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(D_SAE, D_OUT, generator=torch.Generator().manual_seed(5)).to(dtype)


def features(rows: list[list[tuple[int, float]]], *, wide: bool = False) -> SparseFeatures:
    flat = [slot for row in rows for slot in row]
    counts = torch.tensor([0] + [len(row) for row in rows])
    return SparseFeatures(
        crow=counts.cumsum(0),
        indices=torch.tensor([slot[0] for slot in flat], dtype=torch.int64 if wide else torch.int32),
        values=torch.tensor([slot[1] for slot in flat], dtype=torch.float32),
        shape=(len(rows), D_SAE),
    )


@given(slots, st.sampled_from([torch.float32, torch.bfloat16, torch.float16]), st.booleans())
@settings(deadline=None, max_examples=40)
def test_it_equals_the_dense_product(rows: list, dtype: torch.dtype, wide: bool) -> None:
    f, W = features(rows, wide=wide), decoder(dtype)
    expected = f.to_dense().double() @ W.double()
    assert_close(sparse_product(f, W).double(), expected, atol=1e-4, rtol=1e-5)
    assert_close(dense_product(f.to_dense(), W).double(), expected, atol=1e-4, rtol=1e-5)


@given(slots, st.integers(0, 400))
@settings(deadline=None, max_examples=40)
def test_parts_of_any_size_give_the_same(rows: list, buffer_bytes: int) -> None:
    f, W = features(rows), decoder(torch.bfloat16)
    assert_close(sparse_product(f, W, buffer_bytes=buffer_bytes), sparse_product(f, W), atol=1e-4, rtol=1e-5)
    dense = f.to_dense()
    assert_close(
        dense_product(dense, W, buffer_bytes=buffer_bytes), dense_product(dense, W), atol=1e-4, rtol=1e-5
    )


def test_widened_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    widened: list[int] = []
    plain = decode.bag

    def counted(indices: Tensor, values: Tensor, crow: Tensor, W: Tensor) -> Tensor:
        widened.append(len(W))
        return plain(indices, values, crow, W)

    monkeypatch.setattr(decode, "bag", counted)
    rows = [[(feature, 1.0) for feature in range(start, start + 4)] for start in range(0, 40, 4)]
    sparse_product(features(rows), decoder(torch.bfloat16), buffer_bytes=4 * D_OUT * 9)
    assert widened == [8] * 5  # two rows of four slots in a buffer for nine decoder rows


@given(slots, st.floats(-3, 3, width=16))
@settings(deadline=None, max_examples=40)
def test_it_is_linear_in_the_values(rows: list, factor: float) -> None:
    f, W = features(rows), decoder()
    scaled = replace(f, values=f.values * factor)
    assert_close(sparse_product(scaled, W), factor * sparse_product(f, W), atol=1e-4, rtol=1e-4)
    shifted = replace(f, values=f.values + 1)
    ones = replace(f, values=torch.ones_like(f.values))
    together = sparse_product(f, W) + sparse_product(ones, W)
    assert_close(sparse_product(shifted, W), together, atol=1e-4, rtol=1e-4)


@given(slots, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_the_order_of_slots_changes_nothing(rows: list, random: object) -> None:
    shuffled = [list(row) for row in rows]
    for row in shuffled:
        random.shuffle(row)  # type: ignore[attr-defined]
    W = decoder()
    assert_close(
        sparse_product(features(shuffled), W), sparse_product(features(rows), W), atol=1e-4, rtol=1e-5
    )


@given(slots, st.integers(0, D_SAE - 1))
@settings(deadline=None, max_examples=40)
def test_a_zero_is_a_missing_slot(rows: list, feature: int) -> None:
    W = decoder()
    with_zeros = [[*row, (feature, 0.0)] for row in rows]
    assert_close(sparse_product(features(with_zeros), W), sparse_product(features(rows), W), atol=0, rtol=0)


@given(slots)
@settings(deadline=None, max_examples=40)
def test_duplicates_add(rows: list) -> None:
    W = decoder()
    twice = [row + row for row in rows]
    assert_close(
        sparse_product(features(twice), W), 2 * sparse_product(features(rows), W), atol=1e-4, rtol=1e-5
    )


def test_unused_rows_are_not_touched() -> None:
    W = decoder()
    W[7] = float("nan")
    assert torch.isfinite(sparse_product(features([[(6, 1.0), (8, 2.0)], []]), W)).all()
    assert torch.isfinite(sparse_product(features([[(6, 1.0), (8, 2.0)], []]), W.bfloat16())).all()


def test_decoder_norms_divide_the_values() -> None:
    sae = SparseAutoencoder.from_state_dict(
        make_cfg("topk", rescale_acts_by_decoder_norm=True), make_state("topk")
    )
    assert_close(sae.decoder_norm, sae.W_dec.norm(dim=-1))
    f = sae.encode(activations(4))
    expected = (f.to_dense() / sae.W_dec.norm(dim=-1)) @ sae.W_dec + sae.b_dec
    assert_close(sae.decode(f), expected)
    assert_close(sae.decode(f.to_dense()), expected)


def test_a_decoder_row_of_zeros_writes_nothing() -> None:
    state = make_state("topk")
    state["W_dec"][3] = 0
    sae = SparseAutoencoder.from_state_dict(
        make_cfg("topk", k=D_SAE, rescale_acts_by_decoder_norm=True), state
    )
    f = sae.encode(activations(4))
    assert 3 not in f.indices.tolist()
    assert torch.isfinite(sae.decode(f)).all()
    assert torch.isfinite(sae.decode(f.to_dense())).all()


@pytest.mark.parametrize("lead", [(), (1,), (2, 3)])
def test_the_leading_shape_is_kept(lead: tuple[int, ...]) -> None:
    sae = SparseAutoencoder.from_state_dict(make_cfg("transcoder"), make_state("transcoder"))
    f = sae.encode(activations(*lead))
    assert sae.decode(f).shape == (*lead, 12)
    assert sae.decode(f.to_dense()).shape == (*lead, 12)
