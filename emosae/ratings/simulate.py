"""Two groups of raters that share one truth, simulated: what their correlations would differ by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emosae.ratings.config import RatingsConfig, Scaling
from emosae.ratings.design import Design
from emosae.ratings.nested import NestedRidge
from emosae.ratings.problem import make_problems
from emosae.ratings.ridge import make_solver, settle
from emosae.ratings.scores import within_folds
from emosae.ratings.spectral import Gram

__all__ = ["Side", "compare_sides", "correlations", "refit", "shared_truth", "simulate"]


@dataclass(frozen=True, slots=True)
class Side:
    """One group's ratings of one target: mean, standard error of each word, reliability."""

    mean: np.ndarray
    error: np.ndarray
    reliability: float

    @property
    def true_sd(self) -> float:
        """Standard deviation of the true ratings over words."""
        return float(np.sqrt(self.reliability * self.mean.var(ddof=1)))


def shared_truth(a: np.ndarray, b: np.ndarray, reliability_a: float, reliability_b: float) -> np.ndarray:
    """Return what two groups' ratings have in common, of mean 0 and variance 1.

    Each is standardised by the spread of its *true* ratings and weighted by one over its error variance then.

    Args:
        a: Ratings of one group [n_words].
        b: Ratings of the other.
        reliability_a: Share of the variance of `a` that is no error.
        reliability_b: Likewise.
    """
    total = np.zeros(len(a))
    for ratings, reliability in ((a, reliability_a), (b, reliability_b)):
        precision = reliability / max(1.0 - reliability, 1e-6)
        total += precision * (ratings - ratings.mean()) / (ratings.std() * np.sqrt(reliability))
    total -= total.mean()
    return total / total.std()


def correlations(ratings: np.ndarray, predicted: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Return Pearson's r of deviations within folds, column by column; NaN where a side is constant."""
    a, b = within_folds(ratings, outer), within_folds(predicted, outer, scaled=True)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.asarray((a * b).sum(axis=0) / np.where(size > 0, size, np.nan))


def simulate(
    design: Design,
    gram: Gram | None,
    fit: NestedRidge,
    columns: Sequence[int],
    sides: Sequence[Side],
    outer: np.ndarray,
    rng: np.random.Generator,
    config: RatingsConfig,
) -> np.ndarray:
    """Return r over the root of the reliability of both groups where they share one truth, [2, simulations]."""
    truth = shared_truth(sides[0].mean, sides[1].mean, sides[0].reliability, sides[1].reliability)
    n = config.group_simulations
    drawn = np.concatenate(
        [
            (side.mean.mean() + side.true_sd * truth)[:, None]
            + side.error[:, None] * rng.standard_normal((len(truth), n))
            for side in sides
        ],
        axis=1,
    )
    predicted = refit(design, gram, drawn, fit.penalties[:, columns], outer, config)
    r = correlations(drawn, predicted, outer).reshape(2, n)
    error = np.array([[(side.error**2).mean()] for side in sides])
    reliability = 1.0 - error / drawn.var(axis=0, ddof=1).reshape(2, n)
    return r / np.sqrt(np.where(reliability > 0, reliability, np.nan))


def refit(
    design: Design,
    gram: Gram | None,
    ratings: np.ndarray,
    penalties: np.ndarray,
    outer: np.ndarray,
    config: RatingsConfig,
) -> np.ndarray:
    """Predict each fold from the others, the first half of the columns at one penalty, the rest at the other."""
    predicted = np.empty_like(ratings)
    which = np.repeat([0, 1], ratings.shape[1] // 2)
    with threadpool_limits(1, user_api="blas"):
        for fold in range(len(penalties)):
            sets = [(np.flatnonzero(outer != fold), np.flatnonzero(outer == fold))]
            problems = make_problems(design, ratings, sets, Scaling(config.scaling))
            grid, place = np.unique(penalties[fold], return_inverse=True)
            chosen = place[which]
            solver = make_solver(design, problems, gram)
            wanted = np.zeros((len(grid), ratings.shape[1]), dtype=bool)
            wanted[chosen, np.arange(len(chosen))] = True
            settle(solver, [grid], config.tolerance, wanted)
            predicted[sets[0][1]] = solver.predictions(0, grid)[chosen, :, np.arange(len(chosen))].T
    return predicted


def compare_sides(
    r: np.ndarray, simulated: np.ndarray, sides: Sequence[Side], confidence: float
) -> dict[str, float | int]:
    """Test the difference of two groups against what one shared truth gives.

    Args:
        r: Correlation of each group, [2].
        simulated: Disattenuated correlations under one truth, [2, simulations].
        sides: The groups.
        confidence: Coverage of the interval.

    Returns:
        difference, expected, beyond, low, high, p, n_simulations; nothing where a correlation is undefined.
    """
    own = r / np.sqrt([side.reliability for side in sides])
    differences = simulated[0] - simulated[1]
    differences = differences[np.isfinite(differences)]
    if not len(differences) or not np.isfinite(own).all():
        return {}
    level = float(np.nanmean(simulated))
    ratio = float(np.clip(own.mean() / level, 0.0, 2.0)) if level > 0 else 1.0
    expected = float(differences.mean()) * ratio
    beyond = float(own[0] - own[1]) - expected
    around = differences - differences.mean()
    low, high = np.quantile(around, [(1 - confidence) / 2, (1 + confidence) / 2])
    reached = int((np.abs(around) >= abs(beyond)).sum())
    return {
        "difference": float(own[0] - own[1]),
        "expected": expected,
        "beyond": beyond,
        "low": beyond - float(high),
        "high": beyond - float(low),
        "p": (1 + reached) / (1 + len(differences)),
        "n_simulations": len(differences),
    }
