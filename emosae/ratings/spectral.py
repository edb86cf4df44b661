"""Ridge for many penalties by one eigendecomposition, exact, where words or columns are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from emosae.ratings.design import DenseDesign, Design, Predictor
from emosae.ratings.problem import Problem

__all__ = ["SpectralSolver", "dense_if_narrow", "total_gram"]


def _dense(x: Predictor) -> np.ndarray:
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def dense_if_narrow(design: Design, limit: int) -> Design:
    """Turn a sparse design of few columns into a dense one: its Gram matrix is then a plain product."""
    if isinstance(design, DenseDesign) or design.shape[1] > limit:
        return design
    dense = _dense(design.rows(np.arange(design.shape[0])))
    offset = dense.mean(axis=0)
    return DenseDesign(dense - offset, offset)


def total_gram(design: Design, limit: int) -> np.ndarray | None:
    """Return X'X of a narrow design, from which the Gram matrix of each training set is taken by subtraction."""
    if not isinstance(design, DenseDesign) or design.shape[1] > min(limit, design.shape[0]):
        return None
    return design.matrix.T @ design.matrix


class SpectralSolver:
    """Exact ridge fits of several training sets; a problem is solved when it is first asked for."""

    def __init__(
        self, design: Design, problems: Sequence[Problem], penalties: np.ndarray, gram: np.ndarray | None
    ) -> None:
        """Take the problems; nothing is computed yet.

        Args:
            design: The words x columns matrix.
            problems: One training set each.
            penalties: Absolute penalties [n_penalties].
            gram: X'X of the whole design, where columns are fewer than words (`total_gram`).
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
        assert self.gram is not None
        x = self.design.matrix
        n = len(problem.train)
        rest = np.setdiff1d(np.arange(len(x)), problem.train, assume_unique=True)
        gram = x[problem.train].T @ x[problem.train] if len(rest) > n else self.gram - x[rest].T @ x[rest]
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
        fit, new = self.design.rows(problem.train), self.design.rows(problem.test)
        if problem.scale is not None:
            fit, new = fit * problem.scale[None, :], new * problem.scale[None, :]
        kernel, cross = _dense(fit @ fit.T), _dense(new @ fit.T)
        mean = kernel.mean(axis=0)
        total = mean.mean()
        kernel = kernel - mean - mean[:, None] + total
        cross = cross - mean - cross.mean(axis=1, keepdims=True) + total
        values, vectors = np.linalg.eigh(kernel)
        right = vectors.T @ problem.targets
        path = right[None] / (np.maximum(values, 0.0)[None, :] + self.penalties[:, None])[:, :, None]
        words = vectors @ path
        return words, cross @ words

    def _solve(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._solved:
            solve = self._by_words if self.gram is None else self._by_columns
            self._solved[index] = solve(self.problems[index])
        return self._solved[index]

    def predictions(self, problem: int) -> np.ndarray:
        """Return the held-out predictions of a problem: [n_penalties, n_test, n_targets]."""
        return self.problems[problem].unscaled(self._solve(problem)[1])

    def weights(self, problem: int, chosen: np.ndarray) -> np.ndarray:
        """Return the weights on the columns of X, target t at penalty `chosen[t]`: [p, n_targets]."""
        this = self.problems[problem]
        picked = self._solve(problem)[0][chosen, :, np.arange(len(chosen))].T
        if self.gram is not None:
            return picked * this.norms
        words = np.zeros((self.design.shape[0], len(chosen)))
        words[this.train] = picked
        weights = self.design.left(words) * this.norms
        return weights if this.scale is None else weights * (this.scale**2)[:, None]
