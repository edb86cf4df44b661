"""Is there more in the space than valence? The residual-permutation test, and the partial rho beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.errors import UserError
from emosae.geometry.comparators import compare
from emosae.geometry.measures import Comparator, Dissimilarity, ResidualNull
from emosae.geometry.permutation import permutation_p, score, target
from emosae.geometry.rdm import pair_indices, undefined_rows

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = [
    "MIN_CONCEPTS",
    "BeyondValence",
    "beyond_valence",
    "partial_rho",
    "piecewise_linear_basis",
]

MIN_CONCEPTS = 12
"""The basis has six columns; with fewer concepts the residuals it leaves are too few to permute."""

BLOCK_ELEMENTS = 1 << 21


@dataclass(frozen=True, kw_only=True, slots=True)
class BeyondValence:
    """The outcome of the residual-permutation test.

    Attributes:
        score: Mean similarity of the space's RDM to the raters.
        expected: Its mean when what valence does not explain is assigned to the concepts at random.
        p: Share of such assignments that do as well or better.
        n_permutations: Assignments that were tried.
    """

    score: float
    expected: float
    p: float
    n_permutations: int


def piecewise_linear_basis(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n columns"]:
    """Return a constant, the values, and the values above each of their inner quintiles.

    Least squares on these columns fits any function that is linear between the quintiles.

    Args:
        values: Valence of each concept.
    """
    knots = np.unique(np.quantile(values, [0.2, 0.4, 0.6, 0.8]))
    knots = knots[(knots > values.min()) & (knots < values.max())]
    hinges = [np.maximum(values - knot, 0.0) for knot in knots]
    return np.column_stack([np.ones(len(values)), values, *hinges])


def beyond_valence(
    matrix: Float[np.ndarray, "concepts k"],
    valence: Float[np.ndarray, " concepts"],
    raters: Float[np.ndarray, "raters pairs"],
    *,
    dissimilarity: str = Dissimilarity.CORRELATION,
    method: str = Comparator.RHO_A,
    residuals: str = ResidualNull.PERMUTATION,
    n_permutations: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> BeyondValence:
    """Test whether the space agrees with the raters in more than valence.

    The coordinates are regressed on a piecewise-linear basis of valence; the residuals, whole rows of them,
    are permuted over the concepts and added to the fit; the RDM is rebuilt and compared. Whatever the space
    shares with the raters through valence is in every permuted space too. A partial Mantel test is no
    substitute: it rejects far too often when valence is all that is shared.

    Only inner products of fit and residuals enter the RDM, so a permutation costs nothing that grows with the
    number of features.

    Args:
        matrix: Concept coordinates, such as mean activations on the emotion space.
        valence: Valence of each concept.
        raters: One RDM per rater, NaN where a pair was not judged.
        dissimilarity: How the space's RDM is made.
        method: A `Comparator`.
        residuals: A `ResidualNull`.
        n_permutations: Random orders or rotations of the residuals.
        seed: Seed of them.

    Raises:
        UserError: Fewer than `MIN_CONCEPTS` concepts, one without valence, or one that does not vary.

    Source: methods.md, section 6; Freedman & Lane (1983) for permuting residuals; Langsrud (2005), Rotation
        tests, for turning them; Guillot & Rousset (2013) for the partial Mantel test's failure.
    """
    n = len(matrix)
    if n < MIN_CONCEPTS:
        raise UserError(
            f"The test beyond valence must have at least {MIN_CONCEPTS} concepts, got {n!r}. "
            "Use a larger concept set."
        )
    if not np.isfinite(valence).all():
        raise UserError("Valence must be known for every concept, got NaN. Leave those concepts out.")
    kind = Dissimilarity(dissimilarity)
    if undefined_rows(matrix, kind).any():
        raise UserError(
            f"Every concept must vary for the {kind.value} dissimilarity, got no variation in rows "
            f"{np.flatnonzero(undefined_rows(matrix, kind)).tolist()!r}. Leave these concepts out."
        )
    coordinates = _directions(np.asarray(matrix, dtype=np.float64), kind)
    basis = piecewise_linear_basis(np.asarray(valence, dtype=np.float64))
    fit = basis @ np.linalg.lstsq(basis, coordinates, rcond=None)[0]
    residual = coordinates - fit
    rng = np.random.default_rng(seed)
    aim = target(raters, method)
    products = (fit @ fit.T, fit @ residual.T, residual @ residual.T)
    null = np.empty(n_permutations)
    rows = max(1, BLOCK_ELEMENTS // (n * n))
    for start in range(0, n_permutations, rows):
        count = min(rows, n_permutations - start)
        grams = _GRAMS[ResidualNull(residuals)](products, basis, count, rng)
        null[start : start + count] = score(_rdms(grams, kind), aim)
    fitted, mixed, rest = products
    observed = score(_rdms((fitted + mixed + mixed.T + rest)[None], kind), aim)
    return BeyondValence(
        score=float(observed[0]),
        expected=float(null.mean()),
        p=float(permutation_p(observed, null[None], exact=False)[0]),
        n_permutations=n_permutations,
    )


def _directions(coordinates: np.ndarray, kind: Dissimilarity) -> np.ndarray:
    """Rows of unit length where only directions count: else the longest rows would decide the regression."""
    if kind is Dissimilarity.EUCLIDEAN:
        return coordinates
    if kind is Dissimilarity.CORRELATION:
        coordinates = coordinates - coordinates.mean(axis=1, keepdims=True)
    return coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)


def partial_rho(
    rdm: Float[np.ndarray, " pairs"],
    raters: Float[np.ndarray, "raters pairs"],
    given: Float[np.ndarray, " pairs"],
) -> float:
    """Return the mean over raters of Spearman's rho with the linear share of `given` ranks taken out of both.

    A description only: no test of it is valid, see `beyond_valence`.

    Args:
        rdm: The RDM of the space.
        raters: One RDM per rater, NaN where a pair was not judged.
        given: The RDM that is held constant, such as the difference in valence.
    """
    partial = []
    for rater in raters:
        judged = ~np.isnan(rater)
        both = np.vstack([rdm, given])[:, judged]
        with_rater = compare(both, rater[judged], Comparator.SPEARMAN)[:, 0]
        between = compare(both[0], both[1], Comparator.SPEARMAN)[0, 0]
        left = (1 - with_rater[1] ** 2) * (1 - between**2)
        partial.append((with_rater[0] - with_rater[1] * between) / np.sqrt(left) if left > 1e-12 else np.nan)
    return float(np.mean(partial))


Products = tuple[np.ndarray, np.ndarray, np.ndarray]


def _permuted_grams(
    products: Products, basis: np.ndarray, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "count n n"]:
    """Inner products of the rows of fit + residuals in random orders."""
    fit, mixed, residual = products
    orders = rng.permuted(np.tile(np.arange(len(basis)), (count, 1)), axis=1)
    across = mixed[:, orders].swapaxes(0, 1)  # of the fit of i with the residual that comes to j
    return np.asarray(fit + across + across.swapaxes(1, 2) + residual[orders[:, :, None], orders[:, None, :]])


def _rotated_grams(
    products: Products, basis: np.ndarray, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "count n n"]:
    """Inner products of the rows of fit + residuals turned inside the complement of the basis."""
    fit, mixed, residual = products
    left, spread, _ = np.linalg.svd(basis)
    rank = int((spread > spread[0] * 1e-10).sum())
    free = left[:, rank:]
    draw, upper = np.linalg.qr(rng.standard_normal((count, free.shape[1], free.shape[1])))
    draw *= np.sign(np.einsum("oii->oi", upper))[
        :, None, :
    ]  # signs that make the rotation uniform (Mezzadri 2007)
    turn = free @ draw @ free.T
    across = mixed @ turn.swapaxes(1, 2)
    return np.asarray(fit + across + across.swapaxes(1, 2) + turn @ residual @ turn.swapaxes(1, 2))


_GRAMS: dict[ResidualNull, Callable[[Products, np.ndarray, int, np.random.Generator], np.ndarray]] = {
    ResidualNull.PERMUTATION: _permuted_grams,
    ResidualNull.ROTATION: _rotated_grams,
}


def _rdms(grams: np.ndarray, kind: Dissimilarity) -> Float[np.ndarray, "count pairs"]:
    first, second = pair_indices(grams.shape[1])
    return _FROM_GRAM[kind](grams[:, first, second], np.einsum("oii->oi", grams), first, second)


def _angle(
    inner: np.ndarray, square: np.ndarray, first: Int[np.ndarray, " p"], second: np.ndarray
) -> np.ndarray:
    norm = np.sqrt(np.maximum(square, 0.0))
    product = norm[:, first] * norm[:, second]
    # A row that a permutation leaves at zero points nowhere: as far from all others as unrelated ones are.
    return 1 - np.divide(inner, product, out=np.zeros_like(inner), where=product > 0)


def _distance(inner: np.ndarray, square: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(square[:, first] + square[:, second] - 2 * inner, 0.0)))


_FROM_GRAM: dict[Dissimilarity, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    Dissimilarity.CORRELATION: _angle,
    Dissimilarity.COSINE: _angle,
    Dissimilarity.EUCLIDEAN: _distance,
}
