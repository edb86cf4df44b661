"""A few rows whose sum comes nearest to a vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import lsq_linear

from emosae.steering.pursuit import pursue


@given(arrays(float, (12, 5), elements=st.floats(-1, 1)), arrays(float, 5, elements=st.floats(-1, 1)))
def test_a_pursuit_comes_as_near_as_its_rows_allow(rows: np.ndarray, wanted: np.ndarray) -> None:
    assume(np.linalg.norm(rows, axis=1).min() > 0.1)
    left = [np.linalg.norm(wanted)]
    for n in (1, 2, 4):
        taken, weights = pursue(rows, wanted, n)
        assert len(set(taken)) == len(taken) <= n
        assert (weights > 0).all()
        left.append(np.linalg.norm(wanted - weights @ rows[taken]))
        if taken:
            best = lsq_linear(rows[taken].T, wanted, bounds=(0, np.inf)).cost  # half the squared distance
            assert left[-1] ** 2 / 2 == pytest.approx(best, abs=1e-6)
    assert (np.diff(left) <= 1e-9).all()


@given(arrays(float, (12, 5), elements=st.floats(-1, 1)), arrays(float, 5, elements=st.floats(-1, 1)))
def test_the_first_row_lies_most_along_what_is_wanted(rows: np.ndarray, wanted: np.ndarray) -> None:
    assume(np.linalg.norm(rows, axis=1).min() > 0.1)
    along = rows @ wanted / np.linalg.norm(rows, axis=1)
    taken, weights = pursue(rows, wanted, 1)
    if along.max() > 1e-6:
        assert along[taken[0]] == pytest.approx(along.max())
        assert weights @ rows[taken] @ wanted > 0
    elif along.max() <= 0:
        assert taken == []
