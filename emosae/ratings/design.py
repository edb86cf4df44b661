"""Word x feature matrices as ridge sees them: products, and column scales, on any subset of the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp

from emosae.errors import UserError
from emosae.ratings.config import Scaling, Transform

__all__ = [
    "DenseDesign",
    "Design",
    "Predictor",
    "SparseDesign",
    "as_design",
    "column_scale",
    "transform_features",
]

Predictor: TypeAlias = np.ndarray | sp.csr_array | sp.csr_matrix
"""A words x columns matrix; sparse ones are SAE features, dense ones anything else."""

_CONSTANT = 1e-10  # a column whose variance is this share of its mean square is constant up to rounding


class Design(Protocol):
    """A words x columns matrix that is only ever multiplied."""

    @property
    def shape(self) -> tuple[int, int]:
        """Words and columns."""

    def left(self, words: np.ndarray) -> np.ndarray:
        """Return X' @ words: [n, m] -> [p, m]."""

    def right(self, columns: np.ndarray) -> np.ndarray:
        """Return X @ columns: [p, m] -> [n, m]."""

    def moments(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the columns' means, variances and rounding floors, [p, m] each.

        Args:
            weights: Of the words, [n, m]; each column sums to 1.
        """

    def rows(self, index: np.ndarray) -> Predictor:
        """Return some rows, dense or sparse as the design is."""


@dataclass(frozen=True, slots=True)
class SparseDesign:
    """A sparse design with its transpose, so that both products run along rows."""

    matrix: sp.csr_array
    transposed: sp.csr_array

    @property
    def shape(self) -> tuple[int, int]:
        """Words and columns."""
        return self.matrix.shape

    def left(self, words: np.ndarray) -> np.ndarray:
        """Return X' @ words."""
        return self.transposed @ words

    def right(self, columns: np.ndarray) -> np.ndarray:
        """Return X @ columns."""
        return self.matrix @ columns

    def moments(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the columns' means, variances and rounding floors under each weighting."""
        mean = self.transposed @ weights
        square = self.transposed.power(2) @ weights
        return mean, np.maximum(square - mean**2, 0.0), _CONSTANT * square

    def rows(self, index: np.ndarray) -> sp.csr_array:
        """Return some rows."""
        return self.matrix[index]


@dataclass(frozen=True, slots=True)
class DenseDesign:
    """A dense design, centred once on all words.

    The shift changes no ridge fit with an intercept; it only spares the digits that a large common mean, as
    the residual stream has, would cost.
    """

    matrix: np.ndarray
    offset: np.ndarray

    @classmethod
    def centred(cls, x: np.ndarray) -> DenseDesign:
        """Make the design of a plain matrix."""
        dense = np.asarray(x, dtype=np.float64)
        offset = dense.mean(axis=0)
        return cls(dense - offset, offset)

    @property
    def shape(self) -> tuple[int, int]:
        """Words and columns."""
        return self.matrix.shape[0], self.matrix.shape[1]

    def left(self, words: np.ndarray) -> np.ndarray:
        """Return X' @ words."""
        return self.matrix.T @ words

    def right(self, columns: np.ndarray) -> np.ndarray:
        """Return X @ columns."""
        return self.matrix @ columns

    def moments(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the columns' means, variances and rounding floors under each weighting."""
        mean = self.matrix.T @ weights
        square = np.zeros_like(mean)
        for start in range(0, len(self.matrix), 1024):  # no second matrix of this size
            square += (self.matrix[start : start + 1024] ** 2).T @ weights[start : start + 1024]
        floor = _CONSTANT * (square + (self.offset**2)[:, None])
        return mean, np.maximum(square - mean**2, 0.0), floor

    def rows(self, index: np.ndarray) -> np.ndarray:
        """Return some rows."""
        return self.matrix[index]


def _cells(x: Any) -> np.ndarray:
    """Return the cells of a dense matrix, or those that a sparse one stores."""
    return np.asarray(x.data if sp.issparse(x) else x)


def as_design(x: Predictor, name: str = "x") -> Design:
    """Turn a predictor into a design in float64.

    Args:
        x: Words x columns, dense or sparse, finite.
        name: What to call it in an error.

    Returns:
        The design.

    Raises:
        UserError: `x` is no matrix, has no column, or holds NaN or infinite values.
    """
    if len(x.shape) != 2 or 0 in x.shape:
        raise UserError(
            f"Predictor {name!r} must be a matrix of words x columns with at least one of each, got shape "
            f"{tuple(x.shape)}. Give it one row per word of the table."
        )
    values = _cells(x)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise UserError(
            f"Predictor {name!r} must hold finite numbers only, got {bad:,} NaN or infinite cells. "
            "Look at the activations of those words, or leave the words out."
        )
    if sp.issparse(x):
        matrix = sp.csr_array(x, dtype=np.float64)
        matrix.sum_duplicates()
        return SparseDesign(matrix, sp.csr_array(matrix.T))
    return DenseDesign.centred(x)


def column_scale(variance: np.ndarray, floor: np.ndarray, scaling: Scaling) -> np.ndarray | None:
    """Return what each column is multiplied by, or None where columns stay as they are.

    Args:
        variance: Variance of each column over the training words.
        floor: Variance below which a column counts as constant there.
        scaling: `sd` divides by the standard deviation; a column that is constant on the training words is
            dropped (multiplied by 0), since its scale is unknown.

    Returns:
        Array like `variance`, or None.
    """
    if scaling is Scaling.NONE:
        return None
    live = variance > floor
    return np.where(live, 1.0 / np.sqrt(np.where(live, variance, 1.0)), 0.0)


_TRANSFORMS: dict[Transform, Callable[[np.ndarray], np.ndarray]] = {
    Transform.SQRT: np.sqrt,
    Transform.LOG1P: np.log1p,
}


def transform_features(x: Predictor, transform: Transform, name: str = "x") -> Predictor:
    """Apply a transform that keeps zeros to every cell.

    Args:
        x: Words x columns; not negative unless the transform is `none`.
        transform: none, sqrt or log1p.
        name: What to call the predictor in an error.

    Returns:
        A new matrix, or `x` itself for `none`.

    Raises:
        UserError: A transform is asked for and `x` holds a negative value.
    """
    if transform is Transform.NONE:
        return x
    function = _TRANSFORMS[transform]
    values = _cells(x)
    if values.size and float(values.min()) < 0:
        raise UserError(
            f"Predictor {name!r} must not be negative for the transform {transform.value!r}, got a smallest "
            f"value of {float(values.min()):.4g}. Use ratings.transform=none."
        )
    if sp.issparse(x):
        matrix = sp.csr_array(x, copy=True)
        matrix.sum_duplicates()
        matrix.data = function(matrix.data)
        return matrix
    return function(values)
