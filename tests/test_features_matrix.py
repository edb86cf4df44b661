"""FeatureMatrix and pooling, against numbers worked out by hand and dense loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from emosae.errors import MissingFileError, UserError
from emosae.features.matrix import FeatureMatrix
from emosae.features.pooling import Pooling, pool_dense, pool_sparse


def matrix(rows: list[list[float]], words: list[str | None]) -> FeatureMatrix:
    items = pl.DataFrame({"text": [f"text {i}" for i in range(len(rows))], "word": words})
    return FeatureMatrix(
        csr=sp.csr_array(np.array(rows, dtype=np.float32)), items=items, site="blocks.0.hook_resid_post"
    )


def test_aggregate_averages_the_readings_of_a_word() -> None:
    words = matrix([[2, 0, 1], [0, 0, 5], [4, 0, 0], [0, 8, 0]], ["joy", "grief", "joy", None]).aggregate(
        ["word"]
    )
    assert words.items["word"].to_list() == ["joy", "grief", None]
    assert words.items["n_readings"].to_list() == [2, 1, 1]
    np.testing.assert_array_equal(words.csr.toarray(), [[3, 0, 0.5], [0, 0, 5], [0, 8, 0]])


def test_aggregate_names_the_missing_column() -> None:
    with pytest.raises(UserError, match=r"no column 'language'.*They have: text, word"):
        matrix([[1.0]], ["joy"]).aggregate(["language"])


def test_rows_must_fit_items() -> None:
    with pytest.raises(UserError, match="got 2 rows and 1 items"):
        FeatureMatrix(csr=sp.csr_array(np.eye(2)), items=pl.DataFrame({"text": ["a"]}))


@pytest.mark.parametrize("bad", ["joy", "nowhere"])
def test_load_of_nothing(tmp_path: Path, bad: str) -> None:
    with pytest.raises(MissingFileError, match="feature matrix"):
        FeatureMatrix.load(tmp_path / bad)


@given(
    st.lists(st.lists(st.floats(0, 8, width=32), min_size=4, max_size=4), min_size=1, max_size=6),
    st.text(max_size=20).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)),
)
def test_save_then_load_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], text: str
) -> None:
    folder = tmp_path_factory.mktemp("matrix") / "m"
    before = matrix(rows, [text] * len(rows))
    before.save(folder)
    before.save(folder)  # an existing one is replaced
    after = FeatureMatrix.load(folder)
    np.testing.assert_array_equal(after.csr.toarray(), before.csr.toarray())
    assert after.items.equals(before.items)
    assert (after.site, after.metadata) == (before.site, before.metadata)
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_take_keeps_rows_and_items_together() -> None:
    some = matrix([[1, 0], [2, 0], [3, 0]], ["a", "b", "c"]).take(np.array([True, False, True]))
    assert some.items["word"].to_list() == ["a", "c"]
    assert some.csr.toarray()[:, 0].tolist() == [1, 3]


token_rows = st.integers(0, 12).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.25]), min_size=5, max_size=5),
            min_size=n,
            max_size=n,
        ),
        st.lists(st.integers(0, 5), min_size=n, max_size=n).map(sorted),
    )
)


@given(token_rows, st.sampled_from(list(Pooling)))
def test_pooling_equals_a_loop_over_items(
    drawn: tuple[list[list[float]], list[int]], pooling: Pooling
) -> None:
    rows, item = np.array(drawn[0], dtype=np.float32).reshape(-1, 5), np.array(drawn[1], dtype=np.int64)
    expected = np.zeros((6, 5), dtype=np.float32)
    for i in range(6):
        own = rows[item == i]
        if len(own):
            expected[i] = {"mean": own.mean(0), "max": own.max(0), "last": own[-1]}[pooling.value]
    sparse = pool_sparse(sp.csr_array(rows), item, 6, pooling)
    np.testing.assert_allclose(sparse.toarray(), expected, rtol=1e-6)
    np.testing.assert_allclose(pool_dense(rows, item, 6, pooling), expected, rtol=1e-6)


def test_dense_maximum_keeps_negative_values() -> None:
    pooled = pool_dense(np.array([[-3.0], [-1.0]], dtype=np.float32), np.array([0, 0]), 1, Pooling.MAX)
    assert pooled.tolist() == [[-1.0]]


def test_unknown_pooling_lists_the_options() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'mean'.*There are: last, max, mean"):
        Pooling.parse("means")
