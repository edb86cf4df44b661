"""Ridge regression of ratings on features, at many penalties and for several targets at once.

Columns are centred and scaled implicitly, so a sparse matrix stays sparse. One solve serves all penalties and
targets: an eigendecomposition where words or columns are few (exact), block Lanczos otherwise (`krylov.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emosae.errors import UserError
from emosae.ratings.config import Scaling
from emosae.ratings.design import Design, Predictor, as_design
from emosae.ratings.krylov import KrylovSolver
from emosae.ratings.problem import PathSolver, Problem, make_problems
from emosae.ratings.spectral import Gram, SpectralSolver, dense_if_narrow, total_gram

__all__ = [
    "MAX_STEPS",
    "SPECTRAL_LIMIT",
    "Advance",
    "RidgePath",
    "advance_together",
    "checked_ratings",
    "make_solver",
    "penalty_grid",
    "ridge_path",
    "settle",
]

log = logging.getLogger(__name__)

SPECTRAL_LIMIT = 1024
"""Words or columns up to which the eigendecomposition is used: it costs about 0.2 s there."""

MAX_STEPS = 1500
"""Lanczos steps after which a fit that has not settled is given up with a warning."""


Advance: TypeAlias = Callable[[PathSolver, Sequence[int], int], None]
"""Advances some problems of a solver by some steps."""


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


def penalty_grid(low: float, high: float, count: int) -> np.ndarray:
    """Return `count` penalties, evenly spaced in the logarithm, in units of the variance of a row.

    In that unit the best penalty is about the ratio of unexplained to explainable variance of the ratings,
    whatever the number of words and the size of the activations: the posterior mean under independent weights
    of variance v and noise s has penalty s / v, and a row explains v times its variance.

    Args:
        low: Smallest.
        high: Largest.
        count: How many; one alone is the geometric mean of both.

    Returns:
        Ascending penalties [count].
    """
    return np.array([np.sqrt(low * high)]) if count == 1 else np.geomspace(low, high, count)


def checked_ratings(y: np.ndarray, n_words: int) -> np.ndarray:
    """Return ratings as [n_words, n_targets] float64; refuse other lengths, gaps and constant targets."""
    ratings = np.asarray(y, dtype=np.float64)
    ratings = ratings[:, None] if ratings.ndim == 1 else ratings
    if ratings.ndim != 2 or len(ratings) != n_words:
        raise UserError(
            f"The ratings must be words x targets with {n_words:,} rows as the features have, got shape "
            f"{ratings.shape}. Give both in the same order of words."
        )
    if not np.isfinite(ratings).all():
        bad = int((~np.isfinite(ratings)).any(axis=1).sum())
        raise UserError(
            f"The ratings must be numbers, got {bad:,} words with a missing one. Leave those words out."
        )
    spread = ratings.max(axis=0) - ratings.min(axis=0)
    if (spread == 0).any():
        where = int(np.flatnonzero(spread == 0)[0])
        raise UserError(
            f"The ratings must vary, got {ratings[0, where]:g} for every word in target {where}. "
            "Check that the right column was read."
        )
    return ratings


def make_solver(design: Design, problems: Sequence[Problem], gram: Gram | None) -> PathSolver:
    """Return the exact solver where the design's products are at hand, the iterative one otherwise."""
    if gram is None:
        return KrylovSolver(design, problems)
    return SpectralSolver(design, problems, gram)


def advance_together(solver: PathSolver, which: Sequence[int], steps: int) -> None:
    """Advance these problems in this thread."""
    solver.advance(which, steps)


def settle(
    solver: PathSolver,
    penalties: Sequence[np.ndarray],
    tolerance: float,
    wanted: np.ndarray | None = None,
    advance: Advance = advance_together,
) -> None:
    """Advance every problem until its fits are within `tolerance`.

    Args:
        solver: The problems.
        penalties: Penalties of each problem [n_penalties].
        tolerance: Largest relative residual.
        wanted: Which fits matter, [n_penalties, n_targets] bool, alike in all problems; None means all.
        advance: Advances some of the problems by some steps.
    """
    going, steps = list(range(len(penalties))), 0
    while True:
        left = {}
        for problem in going:
            residual = solver.residuals(problem, penalties[problem])
            worst = residual.max() if wanted is None else residual[wanted].max(initial=0.0)
            if worst > tolerance and not solver.exhausted(problem):
                left[problem] = float(worst)  # an exhausted space is the whole problem
        going = list(left)
        if not going:
            return
        if steps > MAX_STEPS:
            log.warning(
                "ridge stopped after %d steps at a relative residual of %.1e", steps, max(left.values())
            )
            return
        stride = max(5, steps // 6)
        advance(solver, going, stride)
        steps += stride


def ridge_path(
    x: Predictor,
    y: np.ndarray,
    penalties: Sequence[float] | np.ndarray,
    *,
    scaling: Scaling = Scaling.NONE,
    tolerance: float = 1e-8,
) -> RidgePath:
    """Fit ridge on all words, at every penalty, with an intercept that is not penalised.

    Minimises `norm(y - intercept - x @ w)^2 + penalty * norm(w / scale)^2`, scale being the columns'
    multiplier (1 without scaling, 1/sd with).

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
    ratings = checked_ratings(y, design.shape[0])
    grid = np.asarray(penalties, dtype=np.float64)
    if grid.ndim != 1 or not len(grid) or not (grid > 0).all() or not np.isfinite(grid).all():
        raise UserError(
            f"penalties must be a list of positive numbers, got {penalties!r}. Give at least one."
        )
    design = dense_if_narrow(design, SPECTRAL_LIMIT)
    everything, nothing = np.arange(design.shape[0]), np.arange(0)
    problems = make_problems(design, ratings, [(everything, nothing)], scaling)
    solver = make_solver(design, problems, total_gram(design, SPECTRAL_LIMIT, scaling))
    # Many small products: threads that wait for each other would cost more than they save.
    with threadpool_limits(1, user_api="blas"):
        settle(solver, [grid], tolerance)
    weights = np.stack([solver.weights(0, np.full(ratings.shape[1], penalty)) for penalty in grid])
    intercepts = np.stack([problems[0].intercepts(each, design) for each in weights])
    return RidgePath(
        penalties=grid, weights=weights, intercepts=intercepts, residuals=solver.residuals(0, grid)
    )
