"""Nested cross-validation of ridge: the penalty is chosen inside each outer fold."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emosae.ratings.config import Scaling
from emosae.ratings.design import Design, Predictor, as_design
from emosae.ratings.problem import PathSolver, Problem, make_problems
from emosae.ratings.ridge import MAX_STEPS, SPECTRAL_LIMIT, checked_ratings, make_solver, settle
from emosae.ratings.spectral import Gram, dense_if_narrow, total_gram

__all__ = ["NestedRidge", "nested_ridge"]

log = logging.getLogger(__name__)

_INNER_TOLERANCE = 1e-3  # of the ratings' sd; a choice between penalties does not turn on less


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


def _choose(solver: PathSolver, ratings: np.ndarray, problems: Sequence[Problem]) -> np.ndarray:
    """Choose the penalty of each target by the error on the inner held-out words.

    The solver advances until the choice is certain: the penalty with the least error and the next smaller one
    have settled in each inner fold. A still smaller penalty needs more steps; before it settles its fit is
    that of a larger penalty, roughly, so its error is on its way up the curve that already rises. Its present
    error is a lower bound in practice, and it can only be chosen once it has settled.

    Returns:
        Index of the penalty, [n_targets].
    """
    inner = range(len(problems))
    solver.keep(list(inner))
    steps, stride = 0, 6
    while True:
        grown = solver.advance(stride)
        steps += stride
        error = sum(((solver.predictions(i) - ratings[problems[i].test]) ** 2).sum(axis=1) for i in inner)
        assert isinstance(error, np.ndarray)
        residual = np.max([solver.residuals(i) for i in inner], axis=0)
        settled = residual <= _INNER_TOLERANCE
        best = error.argmin(axis=0)
        targets = np.arange(len(best))
        certain = settled[best, targets] & settled[np.maximum(best - 1, 0), targets]
        if not grown or certain.all():
            return best
        if steps > MAX_STEPS:
            log.warning(
                "the choice of the penalty stopped after %d steps; the smallest ones had not settled", steps
            )
            return np.where(settled, error, np.inf).argmin(axis=0)
        stride = max(3, steps // 6)


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
    gram: Gram | None,
) -> _Outer:
    """Choose the penalties on the inner folds, fit on all their words, and predict the test words."""
    sets = [
        (np.flatnonzero((inner >= 0) & (inner != fold)), np.flatnonzero(inner == fold))
        for fold in range(int(inner.max()) + 1)
    ]
    sets.append((np.flatnonzero(inner >= 0), test))
    problems = make_problems(design, ratings, sets, scaling)
    unit = problems[-1].variance or 1.0  # columns that are all constant predict the mean at any penalty
    solver = make_solver(design, problems, grid * unit, gram)
    best = _choose(solver, ratings, problems[:-1])
    wanted = np.zeros((len(grid), len(best)), dtype=bool)
    wanted[best, np.arange(len(best))] = True
    final = len(problems) - 1
    settle(solver, final, wanted, tolerance)
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

    In each outer fold every target's penalty is the one with the least squared error over the inner folds;
    the fit on all training words at that penalty predicts the words left out. Centring and scaling are
    measured on the training words of each inner and outer fold alone.

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
    ratings = checked_ratings(y, design.shape[0])
    design = dense_if_narrow(design, SPECTRAL_LIMIT)
    gram = total_gram(design, SPECTRAL_LIMIT, scaling)

    def fit(fold: int) -> _Outer:
        test = np.flatnonzero(outer == fold)
        return _fit_outer(design, ratings, test, inner[fold], grid, scaling, tolerance, gram)

    n_folds = len(inner)
    count = min(workers or min(os.cpu_count() or 1, 4), n_folds)
    # One BLAS thread in each worker: faster than threads that wait for each other, and the same sums in the
    # same order, so the same bits, for any number of workers.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(count) as pool:
        fits = list(pool.map(fit, range(n_folds)))
    at_edge = int(np.sum([(one.relative == grid[0]).any() for one in fits]))
    if at_edge and len(grid) > 1:
        log.warning(
            "%s: the smallest penalty was best in %d of %d folds; lower ratings.penalty_low",
            name,
            at_edge,
            n_folds,
        )
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
