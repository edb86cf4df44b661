"""The Triton kernels against float64: on a GPU, or through the interpreter that test_kernels_interpreter starts."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from emosae.kernels import (
    Backend,
    ClampRows,
    Gate,
    clamp_features,
    clamp_features_recorded,
    encode_features,
    last_backend,
    reference,
    sparse_decode,
    sparse_decode_csr,
)
from emosae.saes.config import Normalization

GPU = torch.cuda.is_available()
if not GPU and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "needs a GPU, or the interpreter, in which test_kernels_interpreter.py runs these tests",
        allow_module_level=True,
    )
pytest.importorskip("triton", reason="needs the package triton")

DEVICE = "cuda" if GPU else "cpu"
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}  # of the largest value


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def choose_slots(seed: int, n: int, k: int, n_features: int, dtype: torch.dtype = torch.int64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, n_features, (n, k), generator=generator).to(DEVICE, dtype)


def check(ours: Tensor, exact: Tensor) -> None:
    """Compare with float64 by the table of tolerances."""
    bound = TOLERANCE[ours.dtype] * max(1.0, float(exact.abs().max())) if exact.numel() else 0.0
    assert_close(ours.double(), exact, atol=bound, rtol=0.0)


def product(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """The dense product in float64."""
    dense = torch.zeros(len(indices), len(W), dtype=torch.float64, device=DEVICE)
    dense.scatter_add_(1, indices.long(), values.double())
    return dense @ W.double()


# --- sparse decode ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [0, 1, 32, 100])
@pytest.mark.parametrize(("n", "width"), [(0, 5), (1, 70), (3, 1), (2, 129)])
def test_decode_equals_the_dense_product(dtype: torch.dtype, k: int, n: int, width: int) -> None:
    W = draw(0, 37, width, dtype=dtype)
    indices, values = (
        choose_slots(1, n, k, 37, torch.int32 if k % 2 else torch.int64),
        draw(2, n, k, dtype=dtype),
    )
    residual = draw(3, n, width, dtype=dtype)
    check(sparse_decode(indices, values, W, backend="triton"), product(indices, values, W))
    ours = sparse_decode(indices, values, W, residual=residual, backend="triton")
    check(ours, product(indices, values, W) + residual.double())
    assert ours.dtype == dtype
    assert last_backend("sparse_decode") is Backend.TRITON


def test_the_residual_is_added_before_rounding() -> None:
    # float16, since the interpreter cuts bfloat16 off where a GPU rounds it
    W, residual = torch.full((1, 4), 1.0, device=DEVICE), draw(3, 1, 4, dtype=torch.float16)
    indices, values = (
        torch.zeros(1, 1, dtype=torch.int64, device=DEVICE),
        torch.full((1, 1), 1e-2, device=DEVICE),
    )
    ours = sparse_decode(indices, values, W, residual=residual, backend="triton")
    assert torch.equal(ours, (residual.float() + 1e-2).half())


@pytest.mark.parametrize("residual", [False, True])
def test_csr_rows_of_any_length(residual: bool) -> None:
    W = draw(0, 37, 70)
    crow = torch.tensor([0, 5, 5, 6, 106, 139], device=DEVICE)
    indices, values = choose_slots(1, 1, 139, 37)[0], draw(2, 139)
    beside = draw(3, 5, 70) if residual else None
    ours = sparse_decode_csr(crow, indices, values, W, residual=beside, backend="triton")
    for row in range(5):
        part = slice(int(crow[row]), int(crow[row + 1]))
        exact = product(indices[None, part], values[None, part], W)[0]
        check(ours[row], exact if beside is None else exact + beside[row].double())
    assert last_backend("sparse_decode_csr") is Backend.TRITON


def test_csr_without_rows_or_slots() -> None:
    W, none = draw(0, 4, 5), torch.zeros(0, dtype=torch.int64, device=DEVICE)
    crow = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    ours = sparse_decode_csr(crow, none, none.float(), W, backend="triton")
    assert torch.equal(ours, torch.zeros(2, 5, device=DEVICE))
    assert sparse_decode_csr(crow[:1], none, none.float(), W, backend="triton").shape == (0, 5)


def test_strided_inputs() -> None:
    W = draw(0, 70, 74)[::2, 1::2].T  # [37, 35], no stride is 1
    indices, values = choose_slots(1, 6, 20, 37)[::2, ::2], draw(2, 20, 6).T[::2, ::2]
    residual = draw(3, 35, 3).T
    assert not any(each.is_contiguous() for each in (W, indices, values))
    ours = sparse_decode(indices, values, W, residual=residual, backend="triton")
    check(ours, product(indices, values, W) + residual.double())


def test_unused_rows_are_not_read() -> None:
    W = draw(0, 37, 70)
    W[[0, 36]] = torch.nan
    indices = torch.tensor([[1, 36, 35, 0]], device=DEVICE)
    values = torch.tensor([[1.0, 0.0, 2.0, -0.0]], device=DEVICE)
    ours = sparse_decode(indices, values, W, backend="triton")
    check(ours, (W[1] + 2 * W[35]).double()[None])


@pytest.mark.parametrize("wrong", [-1, 37, 2**31 - 1, 2**40, -(2**40)])
def test_an_unchecked_index_outside_poisons_its_row_alone(wrong: int) -> None:
    W, values = draw(0, 37, 70), draw(2, 2, 40)
    indices = choose_slots(1, 2, 40, 37)
    indices[0, 3] = wrong
    ours = sparse_decode(indices, values, W, check=False, backend="triton")
    assert bool(ours[0].isnan().all())
    check(ours[1:], product(indices[1:], values[1:], W))


@pytest.mark.parametrize("residual", [False, True])
def test_decode_gives_the_same_bits_twice(residual: bool) -> None:
    W, indices, values = draw(0, 37, 70), choose_slots(1, 2, 100, 37), draw(2, 2, 100)
    beside = draw(3, 2, 70) if residual else None
    first, second = (sparse_decode(indices, values, W, residual=beside, backend="triton") for _ in range(2))
    assert torch.equal(first, second)


def test_offsets_beyond_2_to_the_31() -> None:
    width = 4096
    n_features = 2**31 // width + 2  # the last row begins beyond 2**31 elements
    W = torch.empty(n_features, width, dtype=torch.float16, device=DEVICE)  # untouched pages take no memory
    W[-1, :64] = 3.0
    W[0, :64] = 1.0
    for kind in (torch.int32, torch.int64):
        indices = torch.tensor([[n_features - 1, 0]], dtype=kind, device=DEVICE)
        values = torch.tensor([[1.0, 0.5]], device=DEVICE)
        ours = sparse_decode(indices, values, W[:, :64], backend="triton")
        assert torch.equal(ours, torch.full((1, 64), 3.5, device=DEVICE))


def test_slots_beyond_2_to_the_31() -> None:
    far = 2**31 // 2 + 1  # rows of slots that lie so far apart in memory
    store = torch.empty(2 * far + 4, dtype=torch.int32, device=DEVICE)
    indices = store.as_strided((3, 2), (far, 1))
    indices.copy_(torch.tensor([[0, 1], [2, 3], [4, 5]]))
    ours = sparse_decode(
        indices, torch.ones(3, 2, device=DEVICE), torch.eye(6, device=DEVICE), backend="triton"
    )
    assert torch.equal(ours, torch.eye(6, device=DEVICE).view(3, 2, 6).sum(1))


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.floats(-4, 4, width=16)), max_size=24),
    st.randoms(use_true_random=False),
)
def test_the_laws_of_decode(slots: list, random: object) -> None:
    def kernel(some: list) -> Tensor:
        indices = torch.tensor([[slot[0] for slot in some]], dtype=torch.int64, device=DEVICE)
        values = torch.tensor([[slot[1] for slot in some]], dtype=torch.float32, device=DEVICE)
        return sparse_decode(indices.view(1, -1), values.view(1, -1), W, backend="triton")

    W = draw(0, 9, 11)
    ours = kernel(slots)
    shuffled = random.sample(slots, len(slots))  # type: ignore[attr-defined]
    assert_close(kernel(shuffled), ours, atol=1e-4, rtol=1e-5)  # the order of slots
    assert_close(kernel([(i, -2 * v) for i, v in slots]), -2 * ours, atol=1e-4, rtol=1e-5)  # linear
    assert_close(kernel([*slots, (3, 0.0)]), ours, atol=1e-4, rtol=1e-5)  # a zero is no slot
    assert_close(kernel(slots + slots), 2 * ours, atol=1e-4, rtol=1e-5)  # duplicates add


# --- clamp ---


def make_rows(
    n_clamps: int, d_in: int, d_out: int, normalization: Normalization, **changes: object
) -> ClampRows:
    gate = Gate(
        gate_bias=draw(10, n_clamps),
        bound=draw(11, n_clamps).abs() / 4,
        gain=draw(12, n_clamps).abs() + 0.5,
        bias=draw(13, n_clamps),
    )
    infinite = torch.full((n_clamps,), torch.inf, device=DEVICE)
    odd = torch.arange(n_clamps, device=DEVICE) % 2 == 1
    parts: dict = {
        "W_enc": draw(14, n_clamps, d_in) / d_in**0.5,
        "W_dec": draw(15, n_clamps, d_out),
        "gate": gate,
        "slope": draw(16, n_clamps),
        "shift": draw(17, n_clamps),
        "low": torch.where(odd, draw(18, n_clamps), -infinite),
        "high": torch.where(odd, draw(18, n_clamps) + 1, infinite),
        "per_norm": draw(19, n_clamps) / 10,
        "only_if_active": torch.arange(n_clamps, device=DEVICE) % 3 == 1,
        "normalization": normalization,
        "center": False,
        "scaled": True,
        "partial": True,
    }
    return ClampRows(**(parts | changes))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", Normalization)
@pytest.mark.parametrize(("n_clamps", "d_in"), [(1, 33), (5, 70), (16, 1025)])
def test_clamp_equals_the_reference(
    dtype: torch.dtype, normalization: Normalization, n_clamps: int, d_in: int
) -> None:
    rows = make_rows(n_clamps, d_in, d_in, normalization, center=n_clamps == 5)
    x = draw(20, 3, d_in, dtype=dtype) + 2
    ours = clamp_features(x, rows, backend="triton")
    # the formula in float32 on the same numbers; rounded once, at the end
    exact = reference.clamp(x.float(), rows, y=x.float()).edited.double()
    assert ours.dtype == dtype
    check(ours, exact)
    assert last_backend("clamp_features") is Backend.TRITON
    assert not torch.equal(ours, x)


@pytest.mark.parametrize("scaled", [False, True])
def test_clamp_of_a_transcoder(scaled: bool) -> None:
    rows = make_rows(3, 33, 50, Normalization.LAYER_NORM, scaled=scaled)
    x, y = draw(20, 2, 66)[:, ::2], draw(21, 2, 50, dtype=torch.bfloat16)
    ours = clamp_features(x, rows, y=y, backend="triton")
    check(ours, reference.clamp(x, rows, y=y.float()).edited.double())
    assert ours.dtype == torch.bfloat16


@pytest.mark.parametrize("per_clamp", [False, True])
def test_clamp_under_a_mask(per_clamp: bool) -> None:
    rows = make_rows(
        4, 33, 33, Normalization.NONE, only_if_active=torch.zeros(4, dtype=torch.bool, device=DEVICE)
    )
    x = draw(20, 2, 3, 33)
    x[0, 1, 5], x[1, 2, 6] = torch.nan, -0.0
    mask = torch.tensor([[True, False, True], [False, True, False]], device=DEVICE)
    if per_clamp:
        mask = mask[..., None] & torch.tensor([True, False, False, True], device=DEVICE)
    ours = clamp_features(x, rows, mask=mask, backend="triton")
    expected = clamp_features(x, rows, mask=mask, backend="reference")
    assert_close(ours, expected, atol=1e-5, rtol=1e-5, equal_nan=True)
    kept = ~(mask.any(-1) if per_clamp else mask)
    assert torch.equal(ours[kept].view(torch.int32), x[kept].view(torch.int32))  # the bits, NaN and -0 too
    assert bool((ours[~kept] != x[~kept]).any(-1).all())


@pytest.mark.parametrize("normalization", Normalization)
@pytest.mark.parametrize("rules", [1, 3])
def test_clamp_by_rule_says_what_it_did(normalization: Normalization, rules: int) -> None:
    x, rows = draw(24, 9, 70), make_rows(5, 70, 70, normalization)
    x[4] = 0.0
    mask = torch.arange(9, device=DEVICE)[:, None] % 4 != torch.arange(5, device=DEVICE) % 2
    mask[7] = False
    rule = None
    if rules > 1:
        others = [replace(rows, slope=draw(30 + at, 5), shift=draw(40 + at, 5)) for at in range(1, rules)]
        rows, rule = rows.each_rule(torch.stack, *others), torch.arange(9, device=DEVICE) % rules
    found = clamp_features_recorded(x, rows, mask=mask, rule=rule, backend="triton")
    expected = reference.clamp(x, rows, mask=mask, rule=rule)
    for ours, exact in zip(found, expected, strict=True):
        check(ours, exact.double())
    assert torch.equal(found.edited[7], x[7])
    assert torch.equal(clamp_features(x, rows, mask=mask, rule=rule, backend="triton"), found.edited)


def test_clamp_of_given_values() -> None:
    rows = make_rows(4, 33, 33, Normalization.CONSTANT_NORM_RESCALE, partial=False)
    x, given_values = draw(20, 3, 33), draw(22, 3, 4).relu()
    ours = clamp_features(x, rows, given=given_values, backend="triton")
    check(ours, reference.clamp(x, rows, given=given_values).edited.double())
    x[1] = 0  # no direction, so no scale
    check(
        clamp_features(x, rows, given=given_values, backend="triton"),
        reference.clamp(x, rows, given=given_values).edited.double(),
    )


def test_clamp_without_tokens_or_clamps() -> None:
    x = draw(20, 2, 33)
    none = make_rows(0, 33, 33, Normalization.NONE)
    assert torch.equal(clamp_features(x, none, backend="triton"), x)
    assert clamp_features(x[:0], make_rows(2, 33, 33, Normalization.NONE), backend="triton").shape == (0, 33)


def test_clamp_gives_the_same_bits_twice_and_spares_its_input() -> None:
    rows, x = make_rows(4, 70, 70, Normalization.LAYER_NORM), draw(20, 3, 70)
    before = x.clone()
    first, second = (clamp_features(x, rows, backend="triton") for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(x, before)


# --- encode ---


def make_gate(n: int, bound: float) -> Gate:
    ones = torch.ones(n, device=DEVICE)
    return Gate(gate_bias=draw(10, n) / 4, bound=bound * ones, gain=draw(12, n).abs() + 0.5, bias=draw(13, n))


@pytest.mark.parametrize(("x_kind", "W_kind"), [(d, d) for d in DTYPES] + [(torch.float32, torch.bfloat16)])
@pytest.mark.parametrize(("n", "d_in", "d_sae"), [(1, 33, 200), (3, 16, 1), (18, 40, 130)])
def test_encode_equals_the_reference(
    x_kind: torch.dtype, W_kind: torch.dtype, n: int, d_in: int, d_sae: int
) -> None:
    x, W, gate = draw(20, n, d_in, dtype=x_kind), draw(21, d_sae, d_in, dtype=W_kind), make_gate(d_sae, 4.0)
    p = x.double() @ W.double().T
    f = ((p + gate.gate_bias > gate.bound) * (p * gate.gain + gate.bias).relu()).float()
    ours = encode_features(x, W, gate, capacity=64, backend="triton")
    rebuilt = torch.zeros(n, d_sae, device=DEVICE).scatter_add_(1, ours.indices.long(), ours.values)
    assert_close(rebuilt, f, atol=1e-4, rtol=1e-4)
    assert torch.equal(ours.counts, (f > 0).sum(1))
    assert (d_sae == 1) or (f > 0).any()
    assert not bool(ours.overflow)
    for row in range(n):  # in rising order, then zeros
        used = ours.indices[row, : int(ours.counts[row])].tolist()
        assert used == f[row].nonzero()[:, 0].tolist()
    assert not bool(ours.values[torch.arange(64, device=DEVICE) >= ours.counts[:, None]].any())
    assert last_backend("encode_features") is Backend.TRITON


@pytest.mark.parametrize("capacity", [1, 7, 100])
def test_encode_says_when_more_are_active_than_fit(capacity: int) -> None:
    x, W, gate = draw(20, 5, 33), draw(21, 200, 33), make_gate(200, 6.0)
    ours = encode_features(x, W, gate, capacity=capacity, backend="triton")
    expected = reference.encode(x, W, gate, capacity)
    assert torch.equal(ours.indices, expected.indices)
    assert torch.equal(ours.counts, expected.counts)
    assert_close(ours.values, expected.values, atol=1e-4, rtol=1e-5)
    assert bool(ours.overflow) == (int(expected.counts.max()) > capacity) == (capacity < 100)


def test_encode_without_tokens() -> None:
    ours = encode_features(draw(20, 0, 33), draw(21, 9, 33), make_gate(9, 0.0), capacity=3, backend="triton")
    assert ours.indices.shape == (0, 3)
    assert not bool(ours.overflow)


def test_what_is_encoded_can_be_decoded() -> None:
    x, W, W_dec = draw(20, 3, 33), draw(21, 200, 33), draw(22, 200, 17)
    W_dec[0] = torch.nan  # an unused slot says 0, and its row is not read
    gate = make_gate(200, 6.0)
    gate.bound[0] = torch.inf
    found = encode_features(x, W, gate, capacity=128, backend="triton")
    ours = sparse_decode(found.indices, found.values, W_dec, check=False, backend="triton")
    dense = reference.activate(x @ W.T, gate)[:, 1:]
    check(ours, dense.double() @ W_dec[1:].double())


# --- on a GPU alone ---


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_a_cuda_graph_replays_all_three() -> None:
    x, W, W_dec, gate = draw(20, 4, 64), draw(21, 256, 64), draw(22, 256, 64), make_gate(256, 6.0)
    rows = make_rows(4, 64, 64, Normalization.LAYER_NORM)

    def work() -> Tensor:
        found = encode_features(x, W, gate, capacity=64)
        return clamp_features(
            sparse_decode(found.indices, found.values, W_dec, check=False, residual=x), rows
        )

    expected = work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = work()
    graph.replay()
    assert torch.equal(captured, expected)
    x.copy_(draw(23, 4, 64))
    graph.replay()
    assert torch.equal(captured, work())


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_a_gpu_uses_triton_unasked() -> None:
    assert sparse_decode(choose_slots(1, 2, 3, 9), draw(2, 2, 3), draw(0, 9, 4)).is_cuda
    assert last_backend("sparse_decode") is Backend.TRITON
