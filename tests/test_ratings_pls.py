"""Partial least squares on sparse features: equal to scikit-learn's on dense ones, nested as ridge is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import PLSRegression

from emosae.errors import UserError
from emosae.ratings import assign_folds, inner_folds, nested_pls, pls_path
from emosae.ratings.config import Scaling


def features(n: int, p: int, density: float = 0.3, seed: int = 0) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    return sp.csr_array(np.where(rng.random((n, p)) < density, rng.exponential(size=(n, p)), 0.0))


def ratings(x: sp.csr_array, seed: int = 0, noise: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed + 1)
    signal = x @ rng.standard_normal((x.shape[1], 2))
    return 5.0 + signal / signal.std(axis=0) + noise * rng.standard_normal(signal.shape)


def worst(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("scaling", list(Scaling))
@pytest.mark.parametrize(("n", "p"), [(80, 12), (60, 200)])
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_it_equals_scikit_learn(scaling: Scaling, n: int, p: int, form: str) -> None:
    x = features(n, p)
    y = ratings(x)
    given_x = x if form == "sparse" else x.toarray() + 100.0  # a common mean, as a residual stream has
    path = pls_path(given_x, y, 8, scaling=scaling)
    dense = given_x.toarray() if sp.issparse(given_x) else np.asarray(given_x)
    for count in (1, 2, 5, 8):
        for target in range(2):
            oracle = PLSRegression(count, scale=scaling is Scaling.SD, tol=1e-12).fit(dense, y[:, target])
            found = dense @ path.weights[count - 1, :, target] + path.intercepts[count - 1, target]
            assert worst(found, oracle.predict(dense).ravel()) < 1e-6
            assert worst(path.weights[count - 1, :, target], oracle.coef_.ravel()) < 1e-6


def plain_nested(
    x: np.ndarray, y: np.ndarray, outer: np.ndarray, inner: list[np.ndarray], most: int, *, scale: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The same by loops over scikit-learn, dense."""
    predicted, chosen = np.empty_like(y), np.empty((len(inner), y.shape[1]), dtype=int)
    for fold, inside in enumerate(inner):
        train, test = np.flatnonzero(outer != fold), np.flatnonzero(outer == fold)
        for target in range(y.shape[1]):
            error = np.zeros(most)
            for part in range(inside.max() + 1):
                fit = np.flatnonzero((inside >= 0) & (inside != part))
                held = np.flatnonzero(inside == part)
                for count in range(1, most + 1):
                    model = PLSRegression(count, scale=scale).fit(x[fit], y[fit, target])
                    error[count - 1] += ((model.predict(x[held]).ravel() - y[held, target]) ** 2).sum()
            count = int(error.argmin()) + 1
            model = PLSRegression(count, scale=scale).fit(x[train], y[train, target])
            predicted[test, target], chosen[fold, target] = model.predict(x[test]).ravel(), count
    return predicted, chosen


@pytest.mark.parametrize("scale", [False, True])
def test_nested_equals_a_plain_loop_over_scikit_learn(scale: bool) -> None:
    x = features(150, 30)
    y = ratings(x, noise=0.5)
    groups = np.arange(len(y)) // 2
    outer = assign_folds(groups, 4, seed=3)
    inner = inner_folds(groups, outer, 3, seed=3)
    fit = nested_pls(x, y, outer, inner, 6, scaling=Scaling.SD if scale else Scaling.NONE, workers=2)
    predicted, chosen = plain_nested(x.toarray(), y, outer, inner, 6, scale=scale)
    np.testing.assert_array_equal(fit.components, chosen)
    assert worst(fit.predicted, predicted) < 1e-6
    assert len(np.unique(chosen)) > 1  # otherwise the choice was not tested
    assert np.isnan(fit.penalties).all()
    assert worst(fit.predict(x, outer), fit.predicted) < 1e-4  # weights are stored in single precision


def test_a_sparse_matrix_is_never_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a sparse matrix was made dense")

    x = features(200, 20_000, density=0.005)
    y = ratings(x)
    outer = assign_folds(np.arange(200), 4, 0)
    for kind in (sp.csr_array, sp.csc_array):
        monkeypatch.setattr(kind, "toarray", refuse)
        monkeypatch.setattr(kind, "todense", refuse)
    fit = nested_pls(x, y, outer, inner_folds(np.arange(200), outer, 3, 0), 5)
    assert np.isfinite(fit.predicted).all()


def test_exhausted_features_end_the_components() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    path = pls_path(x, x @ [1.0, -2.0, 0.5] + rng.standard_normal(50), 9)
    assert worst(path.weights[2:], np.broadcast_to(path.weights[2], (7, 3, 1))) < 1e-12
    exact = pls_path(x, x @ [1.0, -2.0, 0.5], 9)
    np.testing.assert_allclose(exact.weights[-1, :, 0], [1.0, -2.0, 0.5], atol=1e-9)
    silent = sp.csr_array((50, 30))
    y = rng.standard_normal(50)
    outer = assign_folds(np.arange(50), 5, 0)
    fit = nested_pls(silent, y, outer, inner_folds(np.arange(50), outer, 2, 0), 4)
    for fold in range(5):
        np.testing.assert_allclose(fit.predicted[outer == fold], y[outer != fold].mean(), rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(-50, 50), st.floats(0.01, 100), st.floats(0.01, 100))
def test_units_of_ratings_and_features_are_irrelevant(
    seed: int, shift: float, factor: float, size: float
) -> None:
    x = features(40, 60, seed=seed)
    y = ratings(x, seed=seed)
    a, b = pls_path(x, y, 4), pls_path(x * size, shift + factor * y, 4)
    found = x.toarray() @ b.weights * size + b.intercepts[:, None]
    expected = shift + factor * (x.toarray() @ a.weights + a.intercepts[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * factor)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_order_of_words_and_columns_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = features(40, 60, seed=seed)
    y = ratings(x, seed=seed)
    rows, columns = rng.permutation(40), rng.permutation(60)
    a, b = pls_path(x, y, 4).weights, pls_path(x[rows][:, columns], y[rows], 4).weights
    np.testing.assert_allclose(a[:, columns], b, rtol=1e-6, atol=1e-9)


def test_held_out_words_do_not_touch_their_own_prediction() -> None:
    x = features(120, 150)
    y = ratings(x)
    outer = assign_folds(np.arange(120), 4, 0)
    inner = inner_folds(np.arange(120), outer, 3, 0)
    changed = y.copy()
    changed[outer == 2] = np.random.default_rng(0).permutation(changed[outer == 2] * 100)
    a, b = (nested_pls(x, z, outer, inner, 4).predicted for z in (y, changed))
    np.testing.assert_array_equal(a[outer == 2], b[outer == 2])
    assert not np.array_equal(a[outer != 2], b[outer != 2])


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(UserError, match=r"n_components must be at least 1, got 0"):
        pls_path(np.eye(4), np.arange(4.0), 0)
    with pytest.raises(UserError, match=r"must vary, got 3 for every word"):
        pls_path(np.eye(4), np.full(4, 3.0), 1)
    with pytest.raises(UserError, match="finite numbers only, got 1 NaN"):
        pls_path(np.array([[1.0], [np.nan], [2.0]]), np.arange(3.0), 1)
