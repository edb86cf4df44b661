"""Ridge for many penalties by one eigendecomposition, exact, where words or columns are few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from emosae.ratings.config import Scaling
from emosae.ratings.design import DenseDesign, Design
from emosae.ratings.problem import Problem

__all__ = ["Gram", "SpectralSolver", "dense_if_narrow", "total_gram"]


def _dense(x: Any) -> np.ndarray:
    return x.toarray() if sp.issparse(x) else np.asarray(x)


@dataclass(frozen=True, slots=True)
class Gram:
    """Products of a design with itself, of which each training set takes its part.

    Attributes:
        matrix: X'X [p, p] where `by_columns`, else XX' [n, n].
        by_columns: Which of the two it is.
    """

    matrix: np.ndarray
    by_columns: bool


def total_gram(design: Design, limit: int, scaling: Scaling) -> Gram | None:
    """Return the products of a design that has few columns, or few words and unscaled columns.

    Args:
        design: The words x columns matrix; dense where it has few columns (`dense_if_narrow`).
        limit: Most columns, or words, to be decomposed.
        scaling: Scaled columns differ between training sets, and with them the words' products.

    Returns:
        The smaller of both products, or None where it is too large or differs between training sets.
    """
    n, p = design.shape
    if isinstance(design, DenseDesign) and p <= min(limit, n):
        return Gram(design.matrix.T @ design.matrix, by_columns=True)
    if n <= limit and scaling is Scaling.NONE:
        rows = design.rows(np.arange(n))
        return Gram(_dense(rows @ rows.T), by_columns=False)
    return None


def dense_if_narrow(design: Design, limit: int) -> Design:
    """Turn a sparse design with no more columns than `limit`, and than words, into a dense one."""
    if isinstance(design, DenseDesign) or design.shape[1] > min(limit, design.shape[0]):
        return design
    return DenseDesign.centred(_dense(design.rows(np.arange(design.shape[0]))))


class SpectralSolver:
    """Exact ridge fits of several training sets; a problem is solved when it is first asked for."""

    def __init__(
        self, design: Design, problems: Sequence[Problem], penalties: np.ndarray, gram: Gram
    ) -> None:
        """Take the problems; nothing is computed yet.

        Args:
            design: The words x columns matrix.
            problems: One training set each.
            penalties: Absolute penalties [n_penalties].
            gram: Products of the whole design (`total_gram`).
        """
        self.design = design
        self.problems = problems
        self.penalties = penalties
        self.gram = gram
        self._solved: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def keep(self, which: Sequence[int]) -> None:
        """Do nothing: what is not asked for is not computed."""

    def advance(self, steps: int) -> bool:
        """Return False: the solution is exact."""
        return False

    def residuals(self, problem: int) -> np.ndarray:
        """Return zeros: [n_penalties, n_targets]."""
        return np.zeros((len(self.penalties), self.problems[problem].targets.shape[1]))

    def _by_columns(self, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        """Weights on the scaled columns and held-out products, from the p x p Gram matrix."""
        assert isinstance(self.design, DenseDesign)
        x = self.design.matrix
        n = len(problem.train)
        rest = np.setdiff1d(np.arange(len(x)), problem.train, assume_unique=True)
        gram = (
            x[problem.train].T @ x[problem.train] if len(rest) > n else self.gram.matrix - x[rest].T @ x[rest]
        )
        gram -= n * np.outer(problem.mean, problem.mean)
        scale = np.ones(x.shape[1]) if problem.scale is None else problem.scale
        gram *= scale[:, None] * scale
        values, vectors = np.linalg.eigh(gram)
        padded = np.zeros((len(x), problem.targets.shape[1]))
        padded[problem.train] = problem.targets
        right = vectors.T @ (scale[:, None] * (x.T @ padded))
        path = right[None] / (np.maximum(values, 0.0)[None, :] + self.penalties[:, None])[:, :, None]
        weights = scale[None, :, None] * (vectors @ path)
        return weights, (x[problem.test] - problem.mean) @ weights

    def _by_words(self, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
        """Weights in the space of words and held-out products, from the n x n kernel."""
        kernel = self.gram.matrix[np.ix_(problem.train, problem.train)]
        cross = self.gram.matrix[np.ix_(problem.test, problem.train)]
        mean = kernel.mean(axis=0)
        total = mean.mean()
        kernel = kernel - mean - mean[:, None] + total
        cross = cross - mean  # the new words' own mean would meet weights that sum to 0
        values, vectors = np.linalg.eigh(kernel)
        right = vectors.T @ problem.targets
        path = right[None] / (np.maximum(values, 0.0)[None, :] + self.penalties[:, None])[:, :, None]
        words = vectors @ path
        return words, cross @ words

    def _solve(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._solved:
            solve = self._by_columns if self.gram.by_columns else self._by_words
            self._solved[index] = solve(self.problems[index])
        return self._solved[index]

    def predictions(self, problem: int) -> np.ndarray:
        """Return the held-out predictions of a problem: [n_penalties, n_test, n_targets]."""
        return self.problems[problem].unscaled(self._solve(problem)[1])

    def weights(self, problem: int, chosen: np.ndarray) -> np.ndarray:
        """Return the weights on the columns of X, target t at penalty `chosen[t]`: [p, n_targets]."""
        this = self.problems[problem]
        picked = self._solve(problem)[0][chosen, :, np.arange(len(chosen))].T
        if self.gram.by_columns:
            return picked * this.norms
        words = np.zeros((self.design.shape[0], len(chosen)))
        words[this.train] = picked
        return self.design.left(words) * this.norms  # columns are unscaled here
