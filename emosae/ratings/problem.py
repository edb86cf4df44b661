"""One training set of a ridge fit: its words, its centred targets and the scale of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emosae.ratings.config import Scaling
from emosae.ratings.design import Design, column_scale

__all__ = ["OuterFit", "PathSolver", "Problem", "make_problems"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A training set.

    Attributes:
        train: Rows of the words to fit, [n_train] int.
        test: Rows of the words to predict, [n_test] int.
        targets: Ratings of the training words, centred and of unit length, [n_train, n_targets]; a target
            that is constant on the training words is all zeros.
        norms: Length of the centred ratings, [n_targets].
        means: Mean rating of the training words, [n_targets].
        scale: What each column is multiplied by, [p], or None.
        mean: Mean of each column over the training words, [p], in the design's units.
        variance: Sum over the columns of their variance over the training words, after scaling: the unit of
            the penalties.
    """

    train: np.ndarray
    test: np.ndarray
    targets: np.ndarray
    norms: np.ndarray
    means: np.ndarray
    scale: np.ndarray | None
    mean: np.ndarray
    variance: float

    def intercepts(self, weights: np.ndarray, design: Design) -> np.ndarray:
        """Return the intercepts that go with weights on the columns as they were given, [n_targets]."""
        mean = self.mean + getattr(design, "offset", 0.0)  # a dense design holds deviations from it
        return np.asarray(self.means - mean @ weights.astype(np.float64))

    def unscaled(self, fitted: np.ndarray) -> np.ndarray:
        """Turn predictions of the unit-length targets into ratings."""
        return fitted * self.norms + self.means


@dataclass(frozen=True, kw_only=True, slots=True)
class OuterFit:
    """What one outer fold gives.

    Attributes:
        test: Rows of the words left out.
        predicted: Their predictions [n_test, n_targets].
        penalties: Absolute penalty of each target; NaN where the regression has none.
        relative: The same in units of the variance of a row.
        components: Number of components of each target; 0 where the regression has none.
        weights: On the columns as they were given, [n_columns, n_targets] float32.
        intercepts: [n_targets]; they go with these weights.
    """

    test: np.ndarray
    predicted: np.ndarray
    penalties: np.ndarray
    relative: np.ndarray
    components: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray


class PathSolver(Protocol):
    """Ridge fits of several training sets at any penalties, exact or approached.

    Different problems may be advanced at the same time by different threads.
    """

    def advance(self, which: Sequence[int], steps: int) -> None:
        """Come nearer to the solution of these problems."""

    def exhausted(self, problem: int) -> bool:
        """Tell whether a problem is solved at every penalty, so that it cannot be advanced."""

    def residuals(self, problem: int, penalties: np.ndarray) -> np.ndarray:
        """Return the relative residual of each penalty and target: [n_penalties, n_targets]."""

    def predictions(
        self, problem: int, penalties: np.ndarray, rows: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return the predictions of some of the held-out words: [n_penalties, n_rows, n_targets]."""

    def weights(self, problem: int, penalties: np.ndarray) -> np.ndarray:
        """Return the weights, target t at `penalties[t]`: [p, n_targets]."""


def make_problems(
    design: Design, ratings: np.ndarray, sets: Sequence[tuple[np.ndarray, np.ndarray]], scaling: Scaling
) -> list[Problem]:
    """Centre and scale each training set on its own words.

    Args:
        design: The words x columns matrix.
        ratings: [n_words, n_targets].
        sets: For each problem the rows to fit and the rows to predict.
        scaling: What the columns are divided by.

    Returns:
        One problem for each set.
    """
    weights = np.zeros((design.shape[0], len(sets)))
    for column, (train, _) in enumerate(sets):
        weights[train, column] = 1.0 / len(train)
    mean, variance, floor = design.moments(weights)
    problems = []
    for column, (train, test) in enumerate(sets):
        scale = column_scale(variance[:, column], floor[:, column], scaling)
        spread = variance[:, column] if scale is None else variance[:, column] * scale**2
        means = ratings[train].mean(axis=0)
        centred = ratings[train] - means
        norms = np.linalg.norm(centred, axis=0)
        # rounding of the mean leaves a constant target a trace of length
        norms = np.where(norms > 1e-12 * np.sqrt(len(train)) * np.abs(means), norms, 0.0)
        targets = np.where(norms > 0, centred / np.where(norms > 0, norms, 1.0), 0.0)
        problems.append(
            Problem(
                train=train,
                test=test,
                targets=targets,
                norms=norms,
                means=means,
                scale=scale,
                mean=mean[:, column],
                variance=float(spread.sum()),
            )
        )
    return problems
