"""Axes of the emotion space, and what people say about the concepts along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import squareform

from emosae.geometry.bootstrap import draw_multiplicities, fisher_interval
from emosae.geometry.permutation import Permutations, permutation_p

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Axes", "AxisCorrelation", "classical_mds", "correlate_axes", "principal_components"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """Coordinates of the concepts, the widest axis first.

    Attributes:
        coordinates: One column per axis; zeros for axes that the data do not have. The sign of an axis means
            nothing; its largest coordinate is positive.
        explained: Share of the variance (for MDS: of the positive eigenvalues) on each axis.
    """

    coordinates: Float[np.ndarray, "concepts axes"]
    explained: Float[np.ndarray, " axes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisCorrelation:
    """Pearson correlation of each axis with one attribute, the axis turned so that it is not negative.

    Attributes:
        r: Size of the correlation, in [0, 1].
        low: Lower end of its interval; below zero where the sign is not settled.
        high: Upper end.
        p: Two-sided permutation p.
        p_max: The same for the best of the axes: holds for whichever axis is picked.
    """

    r: Float[np.ndarray, " axes"]
    low: Float[np.ndarray, " axes"]
    high: Float[np.ndarray, " axes"]
    p: Float[np.ndarray, " axes"]
    p_max: Float[np.ndarray, " axes"]


def classical_mds(rdm: Float[np.ndarray, " pairs"], n_axes: int) -> Axes:
    """Place the concepts so that their distances come close to the dissimilarities.

    Args:
        rdm: Dissimilarities as a vector of pairs, none missing.
        n_axes: Axes to return.

    Source: Torgerson (1952); Gower (1966).

    Example:
        >>> classical_mds(np.array([1.0, 3.0, 2.0]), 1).coordinates.ravel().round(3)
        array([-1.333, -0.333,  1.667])
    """
    square = squareform(np.asarray(rdm, dtype=np.float64)) ** 2
    centring = np.eye(len(square)) - 1 / len(square)
    return _from_inner_products(-0.5 * centring @ square @ centring, n_axes)


def principal_components(matrix: Float[np.ndarray, "concepts k"], n_axes: int) -> Axes:
    """Return the principal components of the concept coordinates, features centred and not scaled.

    Args:
        matrix: One row per concept.
        n_axes: Components to return.
    """
    centred = matrix - matrix.mean(axis=0)
    return _from_inner_products(centred @ centred.T, n_axes)  # concepts are few, features many


def correlate_axes(
    coordinates: Float[np.ndarray, "concepts axes"],
    attribute: Float[np.ndarray, " concepts"],
    permutations: Permutations,
    *,
    n_bootstrap: int = 2_000,
    confidence: float = 0.95,
    seed: int | np.random.Generator = 0,
) -> AxisCorrelation:
    """Correlate each axis with an attribute such as valence.

    The interval is that of `fisher_interval`, from a bootstrap of the concepts with the axes held fixed.

    Args:
        coordinates: Axes as columns; a constant one has no correlation (NaN).
        attribute: One value per concept, none missing.
        permutations: Orders of the concepts.
        n_bootstrap: Bootstrap samples; 0 for no interval.
        confidence: Coverage of the interval.
        seed: Seed of the samples.
    """
    axes, values = _standard(coordinates), _standard(attribute[:, None])[:, 0]
    r = axes.T @ values
    null = np.abs(axes.T @ values[permutations.orders].T)
    best = np.broadcast_to(np.fmax.reduce(null, axis=0), null.shape)
    low, high = _interval(axes, values, r, n_bootstrap, confidence, seed)
    turn = np.where(r < 0, -1.0, 1.0)
    return AxisCorrelation(
        r=np.abs(r),
        low=np.where(turn > 0, low, -high),
        high=np.where(turn > 0, high, -low),
        p=permutation_p(np.abs(r), null, exact=permutations.exact),
        p_max=permutation_p(np.abs(r), best, exact=permutations.exact),
    )


def _interval(
    axes: np.ndarray,
    values: np.ndarray,
    r: np.ndarray,
    n_bootstrap: int,
    confidence: float,
    seed: int | np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    n = len(values)
    if not n_bootstrap or n < 4:
        return np.full_like(r, np.nan), np.full_like(r, np.nan)
    counts = draw_multiplicities(n, n_bootstrap, seed) / n
    mean_axes, mean_values = counts @ axes, (counts @ values)[:, None]
    covariance = counts @ (axes * values[:, None]) - mean_axes * mean_values
    variance = (counts @ axes**2 - mean_axes**2) * (counts @ values**2 - mean_values[:, 0] ** 2)[:, None]
    resampled = covariance / np.sqrt(np.where(variance > 1e-30, variance, np.nan))
    return fisher_interval(r, resampled.T, n, confidence)


def _from_inner_products(inner: np.ndarray, n_axes: int) -> Axes:
    values, vectors = np.linalg.eigh(inner)
    variance = np.maximum(values[::-1], 0.0)
    return _axes(vectors[:, ::-1] * np.sqrt(variance), variance, n_axes)


def _axes(coordinates: np.ndarray, variance: np.ndarray, n_axes: int) -> Axes:
    kept = variance > 1e-12 * max(variance.max(initial=0.0), 1e-300)
    coordinates = np.where(kept, coordinates, 0.0)
    largest = np.abs(coordinates).argmax(axis=0)
    sign = np.where(coordinates[largest, np.arange(coordinates.shape[1])] < 0, -1.0, 1.0)
    share = np.where(kept, variance, 0.0) / max(variance[kept].sum(), 1e-300)
    result = np.zeros((len(coordinates), n_axes))
    explained = np.zeros(n_axes)
    some = min(n_axes, coordinates.shape[1])
    result[:, :some] = (coordinates * sign)[:, :some]
    explained[:some] = share[:some]
    return Axes(coordinates=result, explained=explained)


def _standard(columns: np.ndarray) -> np.ndarray:
    """Columns of mean zero and unit length; NaN for constant ones."""
    centred = columns - columns.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    flat = norm <= 1e-12 * np.maximum(np.abs(columns).max(axis=0), 1e-300) * np.sqrt(len(columns))
    return np.asarray(centred / np.where(flat, np.nan, norm))
