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


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """A problem's eigenvalues, eigenvectors and the targets in them."""

    values: np.ndarray
    vectors: np.ndarray
    right: np.ndarray

    def path(self, penalties: np.ndarray) -> np.ndarray:
        """Return the solution at each penalty: [n_penalties, n, n_targets]."""
        shifted = self.values[None, :] + penalties[:, None]
        return np.asarray(self.vectors @ (self.right[None] / shifted[:, :, None]))


class SpectralSolver:
    """Exact ridge fits of several training sets; a problem is decomposed when it is first asked for."""

    def __init__(self, design: Design, problems: Sequence[Problem], gram: Gram) -> None:
        """Take the problems; nothing is computed yet.

        Args:
            design: The words x columns matrix.
            problems: One training set each.
            gram: Products of the whole design (`total_gram`).
        """
        self.design = design
        self.problems = problems
        self.gram = gram
        self._spectra: dict[int, _Spectrum] = {}

    def advance(self, which: Sequence[int], steps: int) -> None:
        """Decompose these problems."""
        for problem in which:
            self._spectrum(problem)

    def exhausted(self, problem: int) -> bool:
        """Tell whether the problem is decomposed."""
        return problem in self._spectra

    def residuals(self, problem: int, penalties: np.ndarray) -> np.ndarray:
        """Return zeros: [n_penalties, n_targets]."""
        return np.zeros((len(penalties), self.problems[problem].targets.shape[1]))

    def _by_columns(self, problem: Problem) -> _Spectrum:
        """Decompose the p x p Gram matrix of the scaled columns."""
        assert isinstance(self.design, DenseDesign)
        x = self.design.matrix
        n = len(problem.train)
        rest = np.setdiff1d(np.arange(len(x)), problem.train, assume_unique=True)
        gram = (
            x[problem.train].T @ x[problem.train] if len(rest) > n else self.gram.matrix - x[rest].T @ x[rest]
        )
        gram -= n * np.outer(problem.mean, problem.mean)
        scale = self._scale(problem)
        gram *= scale[:, None] * scale
        values, vectors = np.linalg.eigh(gram)
        padded = np.zeros((len(x), problem.targets.shape[1]))
        padded[problem.train] = problem.targets
        return _Spectrum(np.maximum(values, 0.0), vectors, vectors.T @ (scale[:, None] * (x.T @ padded)))

    def _by_words(self, problem: Problem) -> _Spectrum:
        """Decompose the n x n kernel of the training words."""
        kernel = self.gram.matrix[np.ix_(problem.train, problem.train)]
        mean = kernel.mean(axis=0)
        kernel = kernel - mean - mean[:, None] + mean.mean()
        values, vectors = np.linalg.eigh(kernel)
        return _Spectrum(np.maximum(values, 0.0), vectors, vectors.T @ problem.targets)

    def _scale(self, problem: Problem) -> np.ndarray:
        return np.ones(self.design.shape[1]) if problem.scale is None else problem.scale

    def _spectrum(self, index: int) -> _Spectrum:
        if index not in self._spectra:
            decompose = self._by_columns if self.gram.by_columns else self._by_words
            self._spectra[index] = decompose(self.problems[index])
        return self._spectra[index]

    def predictions(
        self, problem: int, penalties: np.ndarray, rows: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return the predictions of some of a problem's held-out words: [n_penalties, n_rows, n_targets]."""
        this, path = self.problems[problem], self._spectrum(problem).path(penalties)
        test = this.test[rows]
        if self.gram.by_columns:
            assert isinstance(self.design, DenseDesign)
            weights = self._scale(this)[None, :, None] * path
            return this.unscaled((self.design.matrix[test] - this.mean) @ weights)
        cross = self.gram.matrix[np.ix_(test, this.train)]
        # the new words' own mean would meet weights that sum to 0
        mean = self.gram.matrix[np.ix_(this.train, this.train)].mean(axis=0)
        return this.unscaled((cross - mean) @ path)

    def weights(self, problem: int, penalties: np.ndarray) -> np.ndarray:
        """Return the weights on the columns of X, target t at `penalties[t]`: [p, n_targets]."""
        this, targets = self.problems[problem], np.arange(len(penalties))
        picked = self._spectrum(problem).path(penalties)[targets, :, targets].T
        if self.gram.by_columns:
            return self._scale(this)[:, None] * picked * this.norms
        words = np.zeros((self.design.shape[0], len(penalties)))
        words[this.train] = picked
        return self.design.left(words) * this.norms  # columns are unscaled here
