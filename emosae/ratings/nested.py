"""Nested cross-validation: what a regression is free to choose is chosen inside each outer fold."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emosae.ratings.config import Scaling
from emosae.ratings.design import Design, Predictor, as_design
from emosae.ratings.problem import OuterFit, PathSolver, Problem, make_problems
from emosae.ratings.ridge import MAX_STEPS, SPECTRAL_LIMIT, Advance, checked_ratings, make_solver, settle
from emosae.ratings.spectral import dense_if_narrow, total_gram

__all__ = ["NestedRidge", "collect", "nested_ridge", "solving_threads"]

log = logging.getLogger(__name__)

_INNER_TOLERANCE = 1e-3  # of the ratings' sd; a choice between penalties does not turn on less
_TOGETHER = (
    5  # training sets in one product: fewer read the features too often, more leave the processor's cache
)


@dataclass(frozen=True, kw_only=True, slots=True)
class NestedRidge:
    """Held-out predictions of nested cross-validation, and the models that made them.

    Attributes:
        predicted: [n_words, n_targets]; each word by the model of the fold that left it out.
        penalties: Penalty chosen in each outer fold, absolute, [n_folds, n_targets]; NaN for partial least squares.
        relative: The same in units of the variance of a row, [n_folds, n_targets].
        components: Number of components chosen in each outer fold, [n_folds, n_targets]; 0 for ridge.
        weights: [n_folds, n_columns, n_targets] float32, on the columns as they were given.
        intercepts: [n_folds, n_targets].
        spread: Standard deviation of each column over all words, [n_columns] float32.
    """

    predicted: np.ndarray
    penalties: np.ndarray
    relative: np.ndarray
    components: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    spread: np.ndarray

    def predict(self, x: Predictor, folds: np.ndarray) -> np.ndarray:
        """Predict other words, each by the model of one outer fold.

        Args:
            x: Words x columns, the columns of the fit.
            folds: Outer fold whose model predicts each word, [n_words].

        Returns:
            [n_words, n_targets], in the unit of the ratings that were fitted.
        """
        predicted = np.empty((x.shape[0], self.predicted.shape[1]))
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            predicted[rows] = x[rows] @ self.weights[fold].astype(np.float64) + self.intercepts[fold]
        return predicted


@dataclass(frozen=True, slots=True)
class _Use:
    """One inner fold of an outer fold: which fit it needs, and which of that fit's held-out words are its own."""

    problem: int
    rows: np.ndarray


def _share(inner: Sequence[np.ndarray]) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[list[_Use]]]:
    """Find the distinct training sets among the inner folds of all outer folds.

    Returns:
        Rows to fit and rows left out of each distinct set; and for each outer fold its uses of them.
    """
    place: dict[bytes, int] = {}
    sets: list[tuple[np.ndarray, np.ndarray]] = []
    uses = []
    for inside in inner:
        own = []
        for part in range(int(inside.max()) + 1):
            train = (inside >= 0) & (inside != part)
            problem = place.setdefault(np.packbits(train).tobytes(), len(sets))
            if problem == len(sets):
                sets.append((np.flatnonzero(train), np.flatnonzero(~train)))
            own.append(_Use(problem, np.searchsorted(sets[problem][1], np.flatnonzero(inside == part))))
        uses.append(own)
    return sets, uses


def _choose(
    solver: PathSolver,
    ratings: np.ndarray,
    problems: Sequence[Problem],
    uses: Sequence[Sequence[_Use]],
    penalties: Sequence[np.ndarray],
    advance: Advance,
) -> np.ndarray:
    """Choose the penalty of each outer fold and target by the error on the inner held-out words.

    The solver advances until each choice is certain: the penalty with the least error and the next smaller one
    have settled in each inner fold. A still smaller penalty needs more steps; before it settles its fit is
    that of a larger penalty, roughly, so its error is on its way up the curve that already rises. Its present
    error is a lower bound in practice, and it can only be chosen once it has settled.

    Args:
        solver: Fits of the distinct inner training sets.
        ratings: [n_words, n_targets].
        problems: The solver's problems.
        uses: The fits that each outer fold's inner folds need.
        penalties: Absolute penalties of each outer fold [n_penalties].
        advance: Advances some of the problems by some steps.

    Returns:
        Index of the penalty, [n_folds, n_targets].
    """
    chosen = np.zeros((len(uses), ratings.shape[1]), dtype=np.int64)
    targets = np.arange(ratings.shape[1])
    open_folds, steps, stride = list(range(len(uses))), 0, 6
    while open_folds:
        advance(solver, sorted({use.problem for fold in open_folds for use in uses[fold]}), stride)
        steps += stride
        going = []
        for fold in open_folds:
            error = np.zeros((len(penalties[fold]), len(targets)))
            residual = np.zeros_like(error)
            for use in uses[fold]:
                truth = ratings[problems[use.problem].test[use.rows]]
                fitted = solver.predictions(use.problem, penalties[fold], use.rows)
                error += ((fitted - truth) ** 2).sum(axis=1)
                residual = np.maximum(residual, solver.residuals(use.problem, penalties[fold]))
            settled = residual <= _INNER_TOLERANCE
            best = error.argmin(axis=0)
            certain = (settled[best, targets] & settled[np.maximum(best - 1, 0), targets]).all()
            if certain or all(solver.exhausted(use.problem) for use in uses[fold]):
                chosen[fold] = best
            elif steps > MAX_STEPS:
                log.warning(
                    "the choice of the penalty stopped after %d steps; the smallest ones had not settled",
                    steps,
                )
                chosen[fold] = np.where(settled, error, np.inf).argmin(axis=0)
            else:
                going.append(fold)
        open_folds, stride = going, max(3, steps // 6)
    return chosen


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
        workers: Threads; None means one for each processor, at most 4.
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
    folds = [(np.flatnonzero(inside >= 0), np.flatnonzero(outer == at)) for at, inside in enumerate(inner)]
    final = make_problems(design, ratings, folds, scaling)
    # columns that are all constant predict the mean at any penalty
    units = np.array([problem.variance or 1.0 for problem in final])
    sets, uses = _share(inner)
    with solving_threads(len(sets), workers) as pool:

        def advance(solver: PathSolver, which: Sequence[int], steps: int) -> None:
            # Of a size that does not depend on the workers: the same sums in the same order.
            parts = [which[at : at + _TOGETHER] for at in range(0, len(which), _TOGETHER)]
            list(pool.map(lambda part: solver.advance(part, steps), parts))

        problems = make_problems(design, ratings, sets, scaling)
        trials = make_solver(design, problems, gram)
        best = _choose(trials, ratings, problems, uses, [grid * unit for unit in units], advance)
        del trials, problems
        solver = make_solver(design, final, gram)
        chosen = grid[best] * units[:, None]
        settle(solver, list(chosen), tolerance, np.eye(ratings.shape[1], dtype=bool), advance)

        def take(fold: int) -> OuterFit:
            weights = solver.weights(fold, chosen[fold]).astype(np.float32)
            targets = np.arange(ratings.shape[1])
            return OuterFit(
                test=folds[fold][1],
                predicted=solver.predictions(fold, chosen[fold])[targets, :, targets].T,
                penalties=chosen[fold],
                relative=grid[best[fold]],
                components=np.zeros(len(targets), dtype=np.int64),
                weights=weights,
                intercepts=final[fold].intercepts(weights, design),
            )

        fitted = collect(design, ratings, list(pool.map(take, range(len(inner)))))
    at_edge = int((fitted.relative == grid[0]).any(axis=1).sum())
    if at_edge and len(grid) > 1:
        log.warning(
            "%s: the smallest penalty was best in %d of %d folds; lower ratings.penalty_low",
            name,
            at_edge,
            len(inner),
        )
    return fitted


@contextmanager
def solving_threads(most: int, workers: int | None) -> Iterator[ThreadPoolExecutor]:
    """Open threads for solvers: `workers`, or one for each processor, at most 4, and never more than `most`.

    One BLAS thread in each: faster than threads that wait for each other, and the same sums in the same order,
    so the same bits, for any number of workers.
    """
    count = min(workers or min(os.cpu_count() or 1, 4), most)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(count) as pool:
        yield pool


def collect(design: Design, ratings: np.ndarray, fits: Sequence[OuterFit]) -> NestedRidge:
    """Put the outer folds together, in their order."""
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
        components=np.stack([one.components for one in fits]),
        weights=np.stack([one.weights for one in fits]),
        intercepts=np.stack([one.intercepts for one in fits]),
        spread=spread,
    )
