"""Ridge regression of ratings on features, with the penalty chosen inside each outer fold.

Columns are centred and scaled implicitly, so a sparse matrix stays sparse. One solve serves all penalties and
targets: an eigendecomposition where words or columns are few (exact), block Lanczos otherwise (`krylov.py`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from emosae.errors import UserError
from emosae.ratings.config import Scaling
from emosae.ratings.design import Design, Predictor, as_design
from emosae.ratings.krylov import KrylovSolver
from emosae.ratings.problem import PathSolver, Problem, make_problems
from emosae.ratings.spectral import SpectralSolver, dense_if_narrow, total_gram

__all__ = ["NestedRidge", "RidgePath", "nested_ridge", "penalty_grid", "ridge_path"]

log = logging.getLogger(__name__)

SPECTRAL_LIMIT = 1024
"""Words or columns up to which the eigendecomposition is used: it costs about 0.2 s there."""

MAX_STEPS = 1500
"""Lanczos steps after which a fit that has not settled is given up with a warning."""

_INNER_TOLERANCE = 1e-3  # of the ratings' sd; a choice between penalties does not turn on less


@dataclass(frozen=True, kw_only=True, slots=True)
class RidgePath:
    """Ridge fits on all words at several penalties.

    Attributes:
        penalties: Absolute penalties [n_penalties].
        weights: [n_penalties, n_columns, n_targets], on the columns as they were given.
        intercepts: [n_penalties, n_targets].
        residuals: norm of the normal equations' residual relative to the ratings', [n_penalties, n_targets].
    """

    penalties: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    residuals: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class NestedRidge:
    """Held-out predictions of nested cross-validation, and the models that made them.

    Attributes:
        predicted: [n_words, n_targets]; each word by the model of the fold that left it out.
        penalties: Penalty chosen in each outer fold, absolute, [n_folds, n_targets].
        relative: The same in units of the variance of a row, [n_folds, n_targets].
        weights: [n_folds, n_columns, n_targets] float32, on the columns as they were given.
        spread: Standard deviation of each column over all words, [n_columns] float32.
    """

    predicted: np.ndarray
    penalties: np.ndarray
    relative: np.ndarray
    weights: np.ndarray
    spread: np.ndarray


def penalty_grid(low: float, high: float, count: int) -> np.ndarray:
    """Return `count` penalties, evenly spaced in the logarithm, in units of the variance of a row.

    In that unit the best penalty is about the ratio of unexplained to explainable variance of the ratings,
    whatever the number of words and the size of the activations: the posterior mean under independent weights of
    variance v and noise s has penalty s / v, and a row explains v times its variance.

    Args:
        low: Smallest.
        high: Largest.
        count: How many; one alone is the geometric mean of both.

    Returns:
        Ascending penalties [count].
    """
    return np.array([np.sqrt(low * high)]) if count == 1 else np.geomspace(low, high, count)


def _as_ratings(y: np.ndarray, n_words: int) -> np.ndarray:
    ratings = np.asarray(y, dtype=np.float64)
    ratings = ratings[:, None] if ratings.ndim == 1 else ratings
    if ratings.ndim != 2 or len(ratings) != n_words:
        raise UserError(
            f"The ratings must be words x targets with {n_words:,} rows as the features have, got shape "
            f"{ratings.shape}. Give both in the same order of words."
        )
    if not np.isfinite(ratings).all():
        bad = int((~np.isfinite(ratings)).any(axis=1).sum())
        raise UserError(f"The ratings must be numbers, got {bad:,} words with a missing one. Leave those words out.")
    spread = ratings.max(axis=0) - ratings.min(axis=0)
    if (spread == 0).any():
        where = int(np.flatnonzero(spread == 0)[0])
        raise UserError(
            f"The ratings must vary, got {ratings[0, where]:g} for every word in target {where}. "
            "Check that the right column was read."
        )
    return ratings


def _solver(
    design: Design, problems: Sequence[Problem], penalties: np.ndarray, gram: np.ndarray | None
) -> PathSolver:
    few_words = max(len(problem.train) for problem in problems) <= SPECTRAL_LIMIT
    if gram is not None or few_words:
        return SpectralSolver(design, problems, penalties, gram)
    return KrylovSolver(design, problems, penalties)


def _settle(solver: PathSolver, problem: int, wanted: np.ndarray, tolerance: float) -> None:
    """Advance until the wanted penalties [n_penalties, n_targets] bool of a problem are within `tolerance`."""
    solver.keep([problem])
    steps = 0
    while (solver.residuals(problem)[wanted] > tolerance).any():
        stride = max(5, steps // 6)
        if not solver.advance(stride):
            return  # the space is exhausted: the projected problem is the problem
        steps += stride
        if steps > MAX_STEPS:
            left = float(solver.residuals(problem)[wanted].max())
            log.warning("ridge stopped after %d steps at a relative residual of %.1e", steps, left)
            return


def _choose(solver: PathSolver, ratings: np.ndarray, problems: Sequence[Problem]) -> np.ndarray:
    """Choose the penalty of each target by the error on the inner held-out words.

    The solver advances until the choice is certain: the penalty with the least error and the next smaller one
    have settled in each inner fold. A still smaller penalty needs more steps; before it settles its fit is that
    of a larger penalty, roughly, so its error is on its way up the curve that already rises. Its present error
    is a lower bound in practice, and it can only be chosen once it has settled.

    Returns:
        Index of the penalty, [n_targets].
    """
    inner = range(len(problems))
    solver.keep(list(inner))
    steps, stride = 0, 6
    while True:
        grown = solver.advance(stride)
        steps += stride
        error = sum(
            ((solver.predictions(i) - ratings[problems[i].test]) ** 2).sum(axis=1) for i in inner
        )
        assert isinstance(error, np.ndarray)
        residual = np.max([solver.residuals(i) for i in inner], axis=0)
        settled = residual <= _INNER_TOLERANCE
        best = error.argmin(axis=0)
        targets = np.arange(len(best))
        certain = settled[best, targets] & settled[np.maximum(best - 1, 0), targets]
        if not grown or certain.all():
            return best
        if steps > MAX_STEPS:
            log.warning("the choice of the penalty stopped after %d steps; the smallest ones had not settled", steps)
            return np.where(settled, error, np.inf).argmin(axis=0)
        stride = max(3, steps // 6)


def ridge_path(
    x: Predictor,
    y: np.ndarray,
    penalties: Sequence[float] | np.ndarray,
    *,
    scaling: Scaling = Scaling.NONE,
    tolerance: float = 1e-8,
) -> RidgePath:
    """Fit ridge on all words, at every penalty, with an intercept that is not penalised.

    Minimises `norm(y - intercept - x @ w)^2 + penalty * norm(w / scale)^2`, scale being the columns' multiplier
    (1 without scaling, 1/sd with).

    Args:
        x: Words x columns, dense or sparse.
        y: Ratings [n_words] or [n_words, n_targets].
        penalties: Absolute penalties above 0, as scikit-learn's `alpha`.
        scaling: What the columns are divided by.
        tolerance: Largest relative residual of any fit.

    Returns:
        The fits.

    Raises:
        UserError: Features or ratings are not finite, shapes differ, or a target is constant.

    Example:
        >>> import numpy as np
        >>> path = ridge_path(np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 2.0]), [2.0])
        >>> float(path.weights[0, 0, 0]), float(path.intercepts[0, 0])
        (0.5, 0.5)
    """
    design = as_design(x)
    ratings = _as_ratings(y, design.shape[0])
    grid = np.asarray(penalties, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or not (grid > 0).all() or not np.isfinite(grid).all():
        raise UserError(f"penalties must be a list of positive numbers, got {penalties!r}. Give at least one.")
    design = dense_if_narrow(design, min(SPECTRAL_LIMIT, design.shape[0]))
    everything, nothing = np.arange(design.shape[0]), np.arange(0)
    problems = make_problems(design, ratings, [(everything, nothing)], scaling)
    solver = _solver(design, problems, grid, total_gram(design, SPECTRAL_LIMIT))
    _settle(solver, 0, np.ones((len(grid), ratings.shape[1]), dtype=bool), tolerance)
    weights = np.stack([solver.weights(0, np.full(ratings.shape[1], i)) for i in range(len(grid))])
    mean = problems[0].mean + (design.offset if hasattr(design, "offset") else 0.0)
    intercepts = problems[0].means - np.einsum("p,lpt->lt", mean, weights)
    return RidgePath(penalties=grid, weights=weights, intercepts=intercepts, residuals=solver.residuals(0))


@dataclass(frozen=True, slots=True)
class _Outer:
    test: np.ndarray
    predicted: np.ndarray
    penalties: np.ndarray
    relative: np.ndarray
    weights: np.ndarray


def _fit_outer(
    design: Design,
    ratings: np.ndarray,
    test: np.ndarray,
    inner: np.ndarray,
    grid: np.ndarray,
    scaling: Scaling,
    tolerance: float,
    gram: np.ndarray | None,
) -> _Outer:
    """Choose the penalties on the inner folds (-1 marks the outer test words), fit, and predict the test words."""
    sets = [
        (np.flatnonzero((inner >= 0) & (inner != fold)), np.flatnonzero(inner == fold))
        for fold in range(int(inner.max()) + 1)
    ]
    sets.append((np.flatnonzero(inner >= 0), test))
    problems = make_problems(design, ratings, sets, scaling)
    unit = problems[-1].variance or 1.0  # columns that are all constant predict the mean at any penalty
    solver = _solver(design, problems, grid * unit, gram)
    best = _choose(solver, ratings, problems[:-1])
    wanted = np.zeros((len(grid), len(best)), dtype=bool)
    wanted[best, np.arange(len(best))] = True
    final = len(problems) - 1
    _settle(solver, final, wanted, tolerance)
    predicted = solver.predictions(final)[best, :, np.arange(len(best))].T
    weights = solver.weights(final, best).astype(np.float32)
    return _Outer(test, predicted, grid[best] * unit, grid[best], weights)


def nested_ridge(
    x: Predictor,
    y: np.ndarray,
    outer: np.ndarray,
    inner: Sequence[np.ndarray],
    grid: np.ndarray,
    *,
    scaling: Scaling = Scaling.NONE,
    tolerance: float = 1e-6,
    workers: int | None = None,
    name: str = "x",
) -> NestedRidge:
    """Predict each word's ratings from a ridge fit on the words of the other outer folds.

    In each outer fold every target's penalty is the one with the least squared error over the inner folds; the
    fit on all training words at that penalty predicts the words left out. Centring and scaling are measured on
    the training words of each inner and outer fold alone.

    Args:
        x: Words x columns, dense or sparse.
        y: Ratings [n_words] or [n_words, n_targets].
        outer: Outer fold of each word, 0 .. n_folds - 1, [n_words].
        inner: For each outer fold the inner fold of each word, -1 for the words that it leaves out.
        grid: Penalties in units of the variance of a row (`penalty_grid`).
        scaling: What the columns are divided by.
        tolerance: Relative residual of the final fits.
        workers: Outer folds solved at once; None means one for each processor, at most 4.
        name: What to call `x` in an error.

    Returns:
        Predictions, penalties and weights.

    Raises:
        UserError: Features or ratings are not finite, shapes differ, or a target is constant.
    """
    design = as_design(x, name)
    ratings = _as_ratings(y, design.shape[0])
    design = dense_if_narrow(design, min(SPECTRAL_LIMIT, design.shape[0]))
    gram = total_gram(design, SPECTRAL_LIMIT)

    def fit(fold: int) -> _Outer:
        test = np.flatnonzero(outer == fold)
        return _fit_outer(design, ratings, test, inner[fold], grid, scaling, tolerance, gram)

    n_folds = len(inner)
    count = min(workers or min(os.cpu_count() or 1, 4), n_folds)
    # One BLAS thread in each worker: faster than threads that wait for each other, and the same sums, so the same
    # bits, for any number of workers.
    with threadpool_limits(1), ThreadPoolExecutor(count) as pool:
        fits = list(pool.map(fit, range(n_folds)))
    predicted = np.empty_like(ratings)
    for one in fits:
        predicted[one.test] = one.predicted
    everything = np.full((design.shape[0], 1), 1.0 / design.shape[0])
    _, variance, floor = design.moments(everything)
    spread = np.sqrt(np.where(variance > floor, variance, 0.0))[:, 0].astype(np.float32)
    return NestedRidge(
        predicted=predicted,
        penalties=np.stack([one.penalties for one in fits]),
        relative=np.stack([one.relative for one in fits]),
        weights=np.stack([one.weights for one in fits]),
        spread=spread,
    )
