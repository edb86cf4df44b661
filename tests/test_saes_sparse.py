"""SparseFeatures: its forms agree, and what does not fit together is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emosae.errors import UserError
from emosae.saes import SparseFeatures


def three_rows(**changes: Any) -> SparseFeatures:
    """Rows {4: 1.5}, {}, {0: -2, 3: 7}."""
    parts: dict[str, Any] = {
        "crow": torch.tensor([0, 1, 1, 3]),
        "indices": torch.tensor([4, 0, 3], dtype=torch.int32),
        "values": torch.tensor([1.5, -2.0, 7.0]),
        "shape": (3, 5),
    }
    return SparseFeatures(**(parts | changes))


def test_the_dense_form_has_each_slot_in_its_place() -> None:
    dense = three_rows().to_dense()
    assert dense.tolist() == [[0, 0, 0, 0, 1.5], [0, 0, 0, 0, 0], [-2, 0, 0, 7, 0]]


def test_scipy_dense_and_rows_agree() -> None:
    f = three_rows()
    assert f.to_scipy().toarray().tolist() == f.to_dense().tolist()
    assert [(index.tolist(), value.tolist()) for index, value in f] == [
        ([4], [1.5]),
        ([], []),
        ([0, 3], [-2, 7]),
    ]
    assert (len(f), f.nnz, f.l0.tolist(), f.row_indices.tolist()) == (3, 3, [1, 0, 2], [0, 2, 2])


def test_leading_dimensions_are_kept() -> None:
    f = three_rows().reshape(1, 3)
    assert f.shape == (1, 3, 5)
    assert f.to_dense().shape == (1, 3, 5)
    assert f.l0.shape == (1, 3)
    assert f.to_scipy().shape == (3, 5)
    single = SparseFeatures.from_dense(torch.tensor([0.0, 2.0]))
    assert (single.shape, len(single), single.l0.shape) == ((2,), 1, ())


def test_two_slots_of_one_feature_add_up() -> None:
    f = three_rows(indices=torch.tensor([4, 3, 3]))
    assert f.to_dense()[2].tolist() == [0, 0, 0, 5, 0]
    assert f.to_scipy().toarray()[2].tolist() == [0, 0, 0, 5, 0]
    assert f.columns(torch.tensor([3, 3])).to_dense()[2].tolist() == [5, 5]


def test_bfloat16_values_reach_scipy() -> None:
    assert three_rows(values=torch.tensor([1.5, -2, 7], dtype=torch.bfloat16)).to_scipy().sum() == 6.5


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        three_rows().shape = (1, 2)  # type: ignore[misc]


def test_no_row_and_no_slot() -> None:
    empty = SparseFeatures.from_dense(torch.zeros(0, 4))
    assert (empty.to_dense().shape, empty.to_scipy().shape, empty.nnz) == ((0, 4), (0, 4), 0)
    assert list(empty) == []
    assert SparseFeatures.from_dense(torch.zeros(2, 3)).columns(torch.tensor([1, 1])).to_dense().shape == (
        2,
        2,
    )
    assert three_rows().columns(torch.tensor([], dtype=torch.int64)).shape == (3, 0)


def test_to_moves_every_part() -> None:
    parts = {"scale": torch.ones(3), "shift": torch.ones(3), "features": torch.arange(5)}
    f = three_rows(**parts)
    assert f.to("cpu") is f
    if torch.cuda.is_available():
        moved = f.to("cuda")
        tensors = (moved.crow, moved.indices, moved.values, moved.scale, moved.shift, moved.features)
        assert all(part is not None and part.is_cuda for part in tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indices": torch.tensor([4, 0, 5])}, r"Indices must be in 0 to 4, got 0 to 5"),
        ({"indices": torch.tensor([4, -1, 3])}, r"Indices must be in 0 to 4, got -1 to 4"),
        ({"crow": torch.tensor([0, 2, 1, 3])}, r"crow must rise"),
        (
            {"crow": torch.tensor([0, 1, 1, 2])},
            r"crow must rise from 0 to the number of slots \(3\), got 0 to 2",
        ),
        ({"crow": torch.tensor([1, 1, 1, 3])}, r"crow must rise"),
        ({"crow": torch.tensor([0, 3])}, r"one entry more than the 3 rows"),
        ({"crow": torch.tensor([0, 1, 1, 3], dtype=torch.int32)}, r"crow must be int64"),
        ({"indices": torch.tensor([4.0, 0.0, 3.0])}, r"indices int32 or int64"),
        ({"values": torch.tensor([1.0])}, r"indices and values one length"),
        ({"shape": ()}, r"shape must be leading dimensions"),
        ({"scale": torch.ones(2)}, r"scale must have one number for each of 3 rows"),
        ({"features": torch.arange(3)}, r"features must name each of the 5 columns"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        three_rows(**changes)


sparse_arrays = arrays(
    "float32",
    st.tuples(st.integers(0, 6), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, -2.5, 0.125]),
)


@given(sparse_arrays)
@settings(deadline=None, max_examples=60)
def test_dense_to_sparse_and_back_is_the_identity(dense: Any) -> None:
    f = SparseFeatures.from_dense(torch.from_numpy(dense))
    assert f.nnz == (dense != 0).sum()
    assert torch.equal(f.to_dense(), torch.from_numpy(dense))


@given(sparse_arrays, st.data())
@settings(deadline=None, max_examples=60)
def test_picking_columns_equals_dense_indexing(dense: Any, data: st.DataObject) -> None:
    columns = torch.tensor(
        data.draw(st.lists(st.integers(0, dense.shape[1] - 1), max_size=12)), dtype=torch.int64
    )
    picked = SparseFeatures.from_dense(torch.from_numpy(dense)).columns(columns)
    assert torch.equal(picked.to_dense(), torch.from_numpy(dense)[:, columns])
    assert picked.features is not None
    assert torch.equal(picked.features, columns)
