"""Ridge against scikit-learn, and nested cross-validation against a plain loop over it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from emosae.errors import UserError
from emosae.ratings import (
    Scaling,
    Transform,
    assign_folds,
    inner_folds,
    nested_ridge,
    penalty_grid,
    ridge_path,
)
from emosae.ratings import nested as nested_module
from emosae.ratings import ridge as ridge_module
from emosae.ratings.design import as_design, transform_features
from emosae.ratings.krylov import KrylovSolver
from emosae.ratings.problem import make_problems
from emosae.ratings.spectral import SpectralSolver

SOLVERS = {"spectral": 10**9, "krylov": 0}


@pytest.fixture(params=sorted(SOLVERS))
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one solver; a test that takes this runs with both."""
    for module in (ridge_module, nested_module):
        monkeypatch.setattr(module, "SPECTRAL_LIMIT", SOLVERS[request.param])
    return request.param


def features(n: int, p: int, density: float = 0.1, seed: int = 0) -> sp.csr_array:
    """SAE-like features: sparse, not negative, uneven."""
    rng = np.random.default_rng(seed)
    cells = rng.random((n, p)) < density * 2 * rng.random(p)
    return sp.csr_array(np.where(cells, rng.exponential(size=(n, p)), 0.0).astype(np.float32))


def ratings(x: sp.csr_array, n_targets: int = 2, noise: float = 1.0, seed: int = 1) -> np.ndarray:
    """Ratings that half of the features carry, beside noise."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((x.shape[1], n_targets)) * (rng.random((x.shape[1], 1)) < 0.5)
    signal = x @ weights
    return 5 + signal / signal.std(axis=0) + noise * rng.standard_normal(signal.shape)


def worst(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("shape", [(60, 15), (60, 300), (40, 40)])
@pytest.mark.parametrize("dense", [False, True])
def test_path_equals_sklearn(solver: str, shape: tuple[int, int], dense: bool) -> None:
    x = features(*shape, density=0.3)
    y = ratings(x)
    given_x = x.toarray() if dense else x
    penalties = [0.01, 1.0, 30.0]
    path = ridge_path(given_x, y, penalties, tolerance=1e-10)
    for index, penalty in enumerate(penalties):
        exact = Ridge(alpha=penalty, solver="svd").fit(x.toarray().astype(float), y)
        assert worst(path.weights[index], exact.coef_.T) < 1e-7
        assert worst(path.intercepts[index], exact.intercept_) < 1e-7
    assert path.residuals.max() <= 1e-10


def test_path_equals_sklearn_on_2000_words() -> None:
    x = features(2000, 3000, density=0.02)
    y = ratings(x)
    variance = float(x.toarray().var(axis=0).sum())
    penalties = penalty_grid(1e-2, 1e4, 5) * variance
    path = ridge_path(x, y, penalties, tolerance=1e-6)
    full = x.toarray().astype(float)
    for index in range(5):
        exact = Ridge(alpha=penalties[index], solver="cholesky").fit(full, y)
        fitted = full @ path.weights[index] + path.intercepts[index]
        assert worst(fitted, exact.predict(full)) < 1e-4
        assert worst(path.weights[index], exact.coef_.T) < 1e-4


def test_path_scales_columns_as_standard_scaler_does(solver: str) -> None:
    x = features(80, 30, density=0.4)
    y = ratings(x)
    path = ridge_path(x, y, [2.0], scaling=Scaling.SD, tolerance=1e-10)
    scaler = StandardScaler().fit(x.toarray())
    exact = Ridge(alpha=2.0).fit(scaler.transform(x.toarray()), y)
    assert worst(path.weights[0], (exact.coef_ / scaler.scale_).T) < 1e-6


def test_krylov_is_used_where_words_and_columns_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(ridge_module, "KrylovSolver", lambda *a: used.append("krylov") or KrylovSolver(*a))
    monkeypatch.setattr(
        ridge_module, "SpectralSolver", lambda *a: used.append("spectral") or SpectralSolver(*a)
    )
    for shape in ((1100, 1100), (1100, 20), (60, 1100)):
        x = features(*shape, density=0.02)
        ridge_path(x, ratings(x), [100.0])
    assert used == ["krylov", "spectral", "spectral"]


def test_krylov_keeps_its_basis_to_the_end_of_the_space() -> None:
    # The space is run until it holds every direction: rounding has every chance to spoil it, and a trace of the
    # mean in the basis once did.
    x = features(300, 500, density=0.05)
    y = ratings(x)
    rows = np.arange(300)
    problems = make_problems(as_design(x), y, [(rows, rows[:0])], Scaling.NONE)
    solver = KrylovSolver(as_design(x), problems)
    while not solver.exhausted(0):
        solver.advance([0], 10)
    space = solver.spaces[0]
    basis = space.basis[: space.size]
    assert space.size == np.linalg.matrix_rank(x.toarray() - x.toarray().mean(axis=0))
    np.testing.assert_allclose(basis @ basis.T, np.eye(space.size), atol=1e-12)
    exact = Ridge(alpha=1e-3, solver="svd").fit(x.toarray().astype(float), y)
    assert worst(solver.weights(0, np.array([1e-3, 1e-3])), exact.coef_.T) < 1e-8


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_targets_that_coincide_or_differ_in_size_are_no_trouble(solver: str, scale: float) -> None:
    x = features(90, 200)
    y = ratings(x, 1)
    both = np.concatenate([y, -scale * y, y], axis=1)
    path = ridge_path(x, both, [3.0], tolerance=1e-10)
    exact = Ridge(alpha=3.0, solver="svd").fit(x.toarray().astype(float), y[:, 0]).coef_
    assert worst(path.weights[0, :, 0], exact) < 1e-8
    assert worst(path.weights[0, :, 1], -scale * exact) < 1e-8
    assert worst(path.weights[0, :, 2], exact) < 1e-8


def test_a_large_common_offset_costs_no_digits(solver: str) -> None:
    x = np.random.default_rng(0).standard_normal((120, 30))
    y = x[:, :1] + np.random.default_rng(1).standard_normal((120, 1))
    plain = ridge_path(x, y, [5.0]).weights
    assert worst(ridge_path(x + 1e5, y, [5.0]).weights, plain) < 1e-6


def test_columns_that_are_empty_or_constant_get_no_weight(solver: str) -> None:
    x = features(70, 20, density=0.5).toarray()
    x[:, 3], x[:, 7] = 0.0, 2.5
    y = ratings(sp.csr_array(x))
    for scaling in Scaling:
        weights = ridge_path(sp.csr_array(x), y, [1.0], scaling=scaling).weights[0]
        assert np.abs(weights[[3, 7]]).max() < 1e-9
        assert np.isfinite(weights).all()


def plain_nested(
    x: np.ndarray,
    y: np.ndarray,
    outer: np.ndarray,
    inner: list[np.ndarray],
    grid: np.ndarray,
    scaling: Scaling,
) -> tuple[np.ndarray, np.ndarray]:
    """The same procedure, spelt out with scikit-learn and no shortcut."""
    predicted = np.empty_like(y)
    chosen = np.empty((len(inner), y.shape[1]))

    def standard(train: np.ndarray) -> np.ndarray:
        if scaling is Scaling.NONE:
            return np.ones(x.shape[1])
        sd = x[train].std(axis=0)
        return np.where(sd > 1e-9, 1 / np.where(sd > 1e-9, sd, 1), 0.0)

    for fold, inside in enumerate(inner):
        train, test = np.flatnonzero(outer != fold), np.flatnonzero(outer == fold)
        alphas = grid * (x[train] * standard(train)).var(axis=0).sum()
        error = np.zeros((len(grid), y.shape[1]))
        for part in range(inside.max() + 1):
            fit = np.flatnonzero((inside >= 0) & (inside != part))
            held = np.flatnonzero(inside == part)
            for index, alpha in enumerate(alphas):
                model = Ridge(alpha=alpha, solver="svd").fit(x[fit] * standard(fit), y[fit])
                error[index] += ((model.predict(x[held] * standard(fit)) - y[held]) ** 2).sum(axis=0)
        for target, best in enumerate(error.argmin(axis=0)):
            model = Ridge(alpha=alphas[best], solver="svd").fit(x[train] * standard(train), y[train, target])
            predicted[test, target] = model.predict(x[test] * standard(train))
            chosen[fold, target] = grid[best]
    return predicted, chosen


@pytest.mark.parametrize("scaling", list(Scaling))
@pytest.mark.parametrize("shape", [(160, 25), (160, 260)])
def test_nested_equals_a_plain_loop_over_sklearn(
    solver: str, scaling: Scaling, shape: tuple[int, int]
) -> None:
    x = features(*shape, density=0.2)
    y = ratings(x)
    groups = np.arange(len(y)) // 2
    outer = assign_folds(groups, 4, seed=3)
    inner = inner_folds(groups, outer, 3, seed=3)
    grid = penalty_grid(1e-2, 1e2, 7)
    fit = nested_ridge(x, y, outer, inner, grid, scaling=scaling, workers=2)
    predicted, chosen = plain_nested(x.toarray().astype(float), y, outer, inner, grid, scaling)
    np.testing.assert_array_equal(fit.relative, chosen)
    assert worst(fit.predicted, predicted) < 1e-6
    np.testing.assert_allclose(fit.spread, x.toarray().std(axis=0), rtol=1e-5)


def test_nested_is_the_same_for_any_number_of_workers(solver: str) -> None:
    x = features(200, 300)
    y = ratings(x)
    outer = assign_folds(np.arange(200), 5, 0)
    inner = inner_folds(np.arange(200), outer, 3, 0)
    one, three = (nested_ridge(x, y, outer, inner, penalty_grid(0.01, 100, 8), workers=w) for w in (1, 3))
    np.testing.assert_array_equal(one.predicted, three.predicted)
    np.testing.assert_array_equal(one.weights, three.weights)


def test_held_out_words_do_not_touch_their_own_prediction(solver: str) -> None:
    x = features(150, 200)
    y = ratings(x)
    outer = assign_folds(np.arange(150), 5, 0)
    inner = inner_folds(np.arange(150), outer, 3, 0)
    changed = y.copy()
    changed[outer == 2] = np.random.default_rng(0).permutation(changed[outer == 2] * 100)
    a, b = (nested_ridge(x, z, outer, inner, penalty_grid(0.1, 100, 5)).predicted for z in (y, changed))
    np.testing.assert_array_equal(a[outer == 2], b[outer == 2])
    assert not np.array_equal(a[outer != 2], b[outer != 2])


def test_scaling_is_measured_on_the_training_words_alone(solver: str) -> None:
    x = features(150, 40, density=0.4).toarray().astype(float)
    y = ratings(sp.csr_array(x))
    outer = assign_folds(np.arange(150), 5, 0)
    inner = inner_folds(np.arange(150), outer, 3, 0)
    grid = penalty_grid(0.1, 100, 5)
    x[outer == 1, 0] = 0.0
    plain = nested_ridge(sp.csr_array(x), y, outer, inner, grid, scaling=Scaling.SD)
    one = int(np.flatnonzero(outer == 1)[0])
    x[one, 0] = 1e4  # in fold 1's own fit this word is held out, so it must not change the others there
    changed = nested_ridge(sp.csr_array(x), y, outer, inner, grid, scaling=Scaling.SD)
    others = (outer == 1) & (np.arange(150) != one)
    np.testing.assert_allclose(changed.predicted[others], plain.predicted[others], rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_noise_predicts_nothing_and_takes_a_large_penalty(solver: str, seed: int) -> None:
    x = features(500, 700, seed=seed)
    y = np.random.default_rng(seed).standard_normal((500, 2))
    outer = assign_folds(np.arange(500), 10, seed)
    fit = nested_ridge(x, y, outer, inner_folds(np.arange(500), outer, 5, seed), penalty_grid(1e-4, 1e4, 20))
    for fold in range(10):
        assert np.abs(fit.predicted[outer == fold] - y[outer != fold].mean(axis=0)).mean() < 0.25
    assert np.median(fit.relative) > 10


def test_a_hundred_times_more_columns_than_words() -> None:
    x = features(100, 10_000, density=0.01)
    y = ratings(x, noise=0.2)
    outer = assign_folds(np.arange(100), 5, 0)
    fit = nested_ridge(x, y, outer, inner_folds(np.arange(100), outer, 3, 0), penalty_grid(1e-4, 1e4, 20))
    assert np.isfinite(fit.predicted).all()
    assert np.abs(fit.predicted - 5).max() < 10


def test_features_that_never_fire_predict_the_training_mean(solver: str) -> None:
    x = sp.csr_array((100, 30))
    y = np.random.default_rng(0).standard_normal((100, 1))
    outer = assign_folds(np.arange(100), 5, 0)
    fit = nested_ridge(x, y, outer, inner_folds(np.arange(100), outer, 3, 0), penalty_grid(0.1, 10, 3))
    for fold in range(5):
        np.testing.assert_allclose(fit.predicted[outer == fold], y[outer != fold].mean(), rtol=1e-12)


def test_an_answer_at_the_edge_of_the_grid_is_said(caplog: pytest.LogCaptureFixture) -> None:
    x = features(300, 20, density=0.5)
    y = ratings(x, noise=0.0)
    outer = assign_folds(np.arange(300), 5, 0)
    nested_ridge(
        x, y, outer, inner_folds(np.arange(300), outer, 3, 0), penalty_grid(1, 100, 5), name="features"
    )
    assert "features: the smallest penalty was best in 5 of 5 folds" in caplog.text


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(-50, 50), st.floats(0.01, 100))
def test_ratings_on_another_scale_give_the_same_prediction_on_it(
    seed: int, shift: float, factor: float
) -> None:
    x = features(60, 80, density=0.2, seed=seed)
    y = ratings(x, seed=seed)
    outer = assign_folds(np.arange(60), 3, seed)
    inner = inner_folds(np.arange(60), outer, 2, seed)
    grid = penalty_grid(0.1, 100, 4)
    a = nested_ridge(x, y, outer, inner, grid, workers=1)
    b = nested_ridge(x, shift + factor * y, outer, inner, grid, workers=1)
    np.testing.assert_array_equal(a.relative, b.relative)
    np.testing.assert_allclose(b.predicted, shift + factor * a.predicted, rtol=1e-6, atol=1e-6 * factor)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.001, 1000))
def test_the_unit_of_the_penalties_makes_the_size_of_features_irrelevant(seed: int, factor: float) -> None:
    x = features(60, 80, density=0.2, seed=seed)
    y = ratings(x, seed=seed)
    outer = assign_folds(np.arange(60), 3, seed)
    inner = inner_folds(np.arange(60), outer, 2, seed)
    grid = penalty_grid(0.1, 100, 4)
    a = nested_ridge(x.toarray(), y, outer, inner, grid, workers=1)
    b = nested_ridge(factor * x.toarray(), y, outer, inner, grid, workers=1)
    np.testing.assert_array_equal(a.relative, b.relative)
    np.testing.assert_allclose(a.predicted, b.predicted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(a.weights, b.weights * factor, rtol=1e-2, atol=1e-3 * np.abs(a.weights).max())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_order_of_words_and_columns_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = features(60, 90, density=0.2, seed=seed)
    y = ratings(x, seed=seed)
    rows, columns = rng.permutation(60), rng.permutation(90)
    a = ridge_path(x, y, [2.0]).weights[0]
    b = ridge_path(x[rows][:, columns], y[rows], [2.0]).weights[0]
    np.testing.assert_allclose(a[columns], b, rtol=1e-6, atol=1e-9)


def test_transforms_act_on_the_stored_cells() -> None:
    x = sp.csr_array(np.array([[0.0, 4.0], [9.0, 0.0]]))
    np.testing.assert_allclose(transform_features(x, Transform.SQRT).toarray(), [[0, 2], [3, 0]])
    np.testing.assert_allclose(transform_features(x, Transform.LOG1P).toarray(), np.log1p(x.toarray()))
    np.testing.assert_allclose(transform_features(x.toarray(), Transform.SQRT), [[0, 2], [3, 0]])
    assert transform_features(x, Transform.NONE) is x
    assert x.toarray().max() == 9.0
    with pytest.raises(UserError, match=r"'res' must not be negative .* smallest value of -1\. Use ratings"):
        transform_features(-x / 9, Transform.SQRT, "res")


def test_the_grid_is_even_in_the_logarithm() -> None:
    np.testing.assert_allclose(penalty_grid(0.1, 1000, 5), [0.1, 1, 10, 100, 1000])
    np.testing.assert_allclose(penalty_grid(0.1, 10, 1), [1.0])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((5, 2)), np.arange(4.0), r"with 5 rows as the features have, got shape \(4, 1\)"),
        (np.eye(5), np.array([1, 2, np.nan, 4, 5]), "got 1 words with a missing one"),
        (np.eye(5), np.full(5, 3.5), r"must vary, got 3\.5 for every word in target 0"),
        (np.array([[1.0], [np.nan], [np.inf]]), np.arange(3.0), "finite numbers only, got 2 NaN"),
        (np.zeros((5, 0)), np.arange(5.0), r"at least one of each, got shape \(5, 0\)"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ridge_path(x, y, [1.0])


@pytest.mark.parametrize("penalties", [[], [0.0], [-1.0], [np.inf]])
def test_penalties_must_be_positive(penalties: list[float]) -> None:
    with pytest.raises(UserError, match="list of positive numbers"):
        ridge_path(np.eye(3), np.arange(3.0), penalties)


def test_a_rating_that_varies_only_among_the_words_left_out_is_predicted_by_its_constant(solver: str) -> None:
    x = features(100, 150)
    y = np.full((100, 2), 0.1)
    y[:, 1] = ratings(x)[:, 1]
    outer = assign_folds(np.arange(100), 5, 0)
    y[np.flatnonzero(outer == 3)[0], 0] = 7.0
    fit = nested_ridge(x, y, outer, inner_folds(np.arange(100), outer, 3, 0), penalty_grid(0.1, 10, 3))
    np.testing.assert_allclose(fit.predicted[outer == 3, 0], 0.1, rtol=1e-12)
    assert np.isfinite(fit.predicted).all()
