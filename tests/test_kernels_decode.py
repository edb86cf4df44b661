"""Sparse decode on a CPU: the reference and torch's path against float64, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

import emosae
from emosae.errors import UserError
from emosae.kernels import sparse_decode, sparse_decode_csr, torch_paths
from emosae.saes import SparseFeatures

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}  # of the largest value
BACKENDS = ["reference", "torch"]
N_FEATURES = 37


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def choose_slots(seed: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, N_FEATURES, shape, generator=generator).to(dtype)


def product(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """The dense product in float64."""
    dense = torch.zeros(len(indices), len(W), dtype=torch.float64)
    return dense.scatter_add_(1, indices.long(), values.double()) @ W.double()


def check(ours: Tensor, exact: Tensor) -> None:
    bound = TOLERANCE[ours.dtype] * max(1.0, float(exact.abs().max())) if exact.numel() else 0.0
    assert_close(ours.double(), exact, atol=bound, rtol=0.0)


def test_by_hand() -> None:
    W = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    ours = emosae.sparse_decode(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[3.0, 0.5], [1.0, 2.0]]), W)
    assert ours.tolist() == [[8.0, 16.0], [300.0, 600.0]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values_dtype", [None, torch.float32])
@pytest.mark.parametrize("k", [0, 1, 32, 100])
@pytest.mark.parametrize(("n", "width"), [(0, 5), (1, 70), (7, 1), (5, 0)])
def test_it_equals_the_dense_product(
    backend: str, dtype: torch.dtype, values_dtype: torch.dtype | None, k: int, n: int, width: int
) -> None:
    W = draw(0, N_FEATURES, width, dtype=dtype)
    indices = choose_slots(1, n, k, dtype=torch.int32 if k % 2 else torch.int64)
    values = draw(2, n, k, dtype=values_dtype or dtype)
    residual = draw(3, n, width, dtype=dtype)
    ours = sparse_decode(indices, values, W, backend=backend)
    assert ours.dtype == (values_dtype or dtype)
    check(ours, product(indices, values, W))
    ours = sparse_decode(indices, values, W, residual=residual, backend=backend)
    assert ours.dtype == dtype
    check(ours, product(indices, values, W) + residual.double())


@pytest.mark.parametrize("backend", BACKENDS)
def test_leading_dimensions_and_the_last_index(backend: str) -> None:
    W = draw(0, N_FEATURES, 5)
    indices, values = choose_slots(1, 2, 3, 4), draw(2, 2, 3, 4)
    indices[1, 2, 3] = N_FEATURES - 1
    ours = sparse_decode(indices, values, W, backend=backend)
    check(ours.view(6, 5), product(indices.view(6, 4), values.view(6, 4), W))
    one = sparse_decode(indices[1, 2], values[1, 2], W, backend=backend)
    assert one.shape == (5,)
    assert_close(one, ours[1, 2], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strided_inputs(backend: str, dtype: torch.dtype) -> None:
    W = draw(0, 70, 2 * N_FEATURES, dtype=dtype)[::2, ::2].T
    indices, values = choose_slots(1, 6, 20)[::2, ::2], draw(2, 20, 6).T[::2, ::2]
    ours = sparse_decode(indices, values, W, residual=draw(3, 35, 3).T, backend=backend)
    check(ours, product(indices, values, W) + draw(3, 35, 3).T.double())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unused_rows_are_not_read(backend: str, dtype: torch.dtype) -> None:
    W = draw(0, N_FEATURES, 7, dtype=dtype)
    W[[0, 36]] = torch.nan
    indices, values = torch.tensor([[1, 36, 35, 0]]), torch.tensor([[1.0, 0.0, 2.0, -0.0]])
    check(sparse_decode(indices, values, W, backend=backend), (W[1].double() + 2 * W[35].double())[None])


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_and_infinity_of_used_slots_come_through(backend: str) -> None:
    W, values = torch.ones(2, 3), torch.tensor([[1.0, torch.nan], [1.0, torch.inf], [1.0, 2.0]])
    ours = sparse_decode(torch.tensor([[0, 1]] * 3), values, W, backend=backend)
    assert_close(ours[:, 0], torch.tensor([torch.nan, torch.inf, 3.0]), equal_nan=True)


slots = st.lists(st.tuples(st.integers(0, N_FEATURES - 1), st.floats(-4, 4, width=16)), max_size=24)


def one_row(backend: str, some: list[tuple[int, float]], W: Tensor) -> Tensor:
    indices = torch.tensor([slot[0] for slot in some], dtype=torch.int64)
    return sparse_decode(indices, torch.tensor([slot[1] for slot in some]), W, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@given(slots, slots, st.randoms(use_true_random=False))
def test_the_laws(backend: str, some: list, others: list, random: Any) -> None:
    W = draw(0, N_FEATURES, 6)
    near = {"atol": 1e-4, "rtol": 1e-5}
    ours = one_row(backend, some, W)
    assert_close(one_row(backend, random.sample(some, len(some)), W), ours, **near)  # the order of slots
    assert_close(one_row(backend, [(i, -2 * v) for i, v in some], W), -2 * ours, **near)  # linear
    assert_close(one_row(backend, some + others, W), ours + one_row(backend, others, W), **near)
    assert_close(one_row(backend, [*some, (3, 0.0)], W), ours, **near)  # a zero is no slot
    summed = {index: sum(v for i, v in some if i == index) for index, _ in some}
    assert_close(one_row(backend, list(summed.items()), W), ours, **near)  # duplicates add


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(
    rows=st.lists(
        st.lists(st.tuples(st.integers(0, N_FEATURES - 1), st.floats(-4, 4, width=16)), max_size=7),
        max_size=6,
    )
)
def test_csr_equals_the_dense_product(backend: str, dtype: torch.dtype, rows: list) -> None:
    W = draw(0, N_FEATURES, 6, dtype=dtype)
    flat = [slot for row in rows for slot in row]
    f = SparseFeatures(
        crow=torch.tensor([0] + [len(row) for row in rows]).cumsum(0),
        indices=torch.tensor([slot[0] for slot in flat], dtype=torch.int32),
        values=torch.tensor([slot[1] for slot in flat], dtype=torch.float32),
        shape=(len(rows), N_FEATURES),
    )
    residual = draw(3, len(rows), 6)
    ours = sparse_decode_csr(f.crow, f.indices, f.values, W, residual=residual, backend=backend)
    exact = f.to_dense().double() @ W.double() + residual.double()
    assert_close(ours.double(), exact, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("parts", [1, 3, 10_000])
def test_rows_are_widened_in_parts_of_any_size(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    W, indices, values = draw(0, N_FEATURES, 6, dtype=torch.bfloat16), choose_slots(1, 5, 9), draw(2, 5, 9)
    monkeypatch.setattr(torch_paths, "_WIDENED_BYTES", parts * 4 * 6)
    check(sparse_decode(indices, values, W), product(indices, values, W))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unchecked_index_outside_poisons_its_row_alone(backend: str) -> None:
    W, indices, values = draw(0, N_FEATURES, 6), choose_slots(1, 3, 9), draw(2, 3, 9)
    indices[0, 3], indices[2, 8] = -1, N_FEATURES
    ours = sparse_decode(indices, values, W, check=False, backend=backend)
    assert ours.isnan().all(1).tolist() == [True, False, True]
    check(ours[1:2], product(indices[1:2], values[1:2], W))


def test_offsets_beyond_2_to_the_31() -> None:
    width = 4096
    n_features = 2**31 // width + 2  # the last row begins beyond 2**31 elements
    W = torch.empty(n_features, width, dtype=torch.bfloat16)  # pages that are not touched take no memory
    W[-1], W[0] = 3.0, 1.0
    for kind in (torch.int32, torch.int64):
        indices = torch.tensor([[n_features - 1, 0]], dtype=kind)
        assert torch.equal(sparse_decode(indices, torch.tensor([[1.0, 0.5]]), W), torch.full((1, width), 3.5))
        narrow = torch.tensor([[1.0, 0.5]], dtype=torch.bfloat16)
        assert torch.equal(sparse_decode(indices, narrow, W).float(), torch.full((1, width), 3.5))


def test_the_same_bits_twice() -> None:
    W, indices, values = draw(0, N_FEATURES, 70), choose_slots(1, 4, 100), draw(2, 4, 100)
    assert torch.equal(sparse_decode(indices, values, W), sparse_decode(indices, values, W))


SLOTS, ONES, W3 = torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3), torch.ones(4, 5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("wrong", "value"), [(4, 1.0), (-1, 1.0), (4, 0.0)])
def test_a_bad_index_is_refused(backend: str, wrong: int, value: float) -> None:
    indices, values = SLOTS.clone(), ONES.clone()
    indices[1, 2], values[1, 2] = wrong, value
    with pytest.raises(UserError, match=f"indices must be in 0 to 3, got {wrong}"):
        sparse_decode(indices, values, W3, backend=backend)
    with pytest.raises(UserError, match=f"indices must be in 0 to 3, got {wrong}"):
        sparse_decode_csr(torch.tensor([0, 6]), indices.view(-1), values.view(-1), W3, backend=backend)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SLOTS.float(), ONES, W3), "indices must be int32 or int64"),
        ((SLOTS, ONES.long(), W3), "values and W_dec must be floating-point"),
        ((SLOTS, ONES[:1], W3), "must have one shape"),
        ((SLOTS, ONES, W3[0]), "W_dec must be"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sparse_decode(*arguments)


def test_a_residual_or_crow_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="residual must be"):
        sparse_decode(SLOTS, ONES, W3, residual=torch.ones(2, 4))
    for crow in ([0, 5], [1, 6], [0, 4, 2, 6]):
        with pytest.raises(UserError, match="crow must rise"):
            sparse_decode_csr(torch.tensor(crow), SLOTS.view(-1), ONES.view(-1), W3)
    with pytest.raises(UserError, match="crow must be int64"):
        sparse_decode_csr(torch.tensor([0, 6], dtype=torch.int32), SLOTS.view(-1), ONES.view(-1), W3)
