"""How alike two RDMs are: rank and product-moment comparators, with missing pairs dropped rater by rater."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from emosae.errors import UserError
from emosae.geometry.measures import Comparator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["compare", "mean_over_raters", "missing_patterns", "standardise"]


def compare(
    a: Float[np.ndarray, "k pairs"] | Float[np.ndarray, " pairs"],
    b: Float[np.ndarray, "m pairs"] | Float[np.ndarray, " pairs"],
    method: str = Comparator.RHO_A,
) -> Float[np.ndarray, "k m"]:
    """Compare every RDM in `a` with every RDM in `b`.

    A pair that is NaN in either of two RDMs is dropped from that comparison alone.

    Args:
        a: RDMs as vectors of pairs.
        b: RDMs over the same pairs.
        method: A `Comparator`.

    Returns:
        Similarities in [-1, 1]; NaN where fewer than two pairs are left, or where spearman or pearson meets
        an RDM without variation.

    Source: Schütt, Kipnis, Diedrichsen & Kriegeskorte (2023), Statistical inference on representational
        geometries, for rho-a; Nili et al. (2014), A toolbox for RSA, for tau-a.

    Example:
        >>> compare(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0]), "rho-a")
        array([[1.]])
    """
    a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (a, b))
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"Two RDMs must be over the same pairs, got {a.shape[1]} and {b.shape[1]} pairs. "
            "Take the concepts that both have."
        )
    result = np.full((len(a), len(b)), np.nan)
    similarity = _SIMILARITY[Comparator(method)]
    for rows_a, valid_a in missing_patterns(a):
        for rows_b, valid_b in missing_patterns(b):
            valid = valid_a & valid_b
            if valid.sum() >= 2:
                result[np.ix_(rows_a, rows_b)] = similarity(
                    a[np.ix_(rows_a, valid)], b[np.ix_(rows_b, valid)]
                )
    return result


def mean_over_raters(
    rdms: Float[np.ndarray, "k pairs"],
    raters: Float[np.ndarray, "raters pairs"],
    method: str = Comparator.RHO_A,
) -> Float[np.ndarray, " k"]:
    """Return each RDM's similarity to the single raters, averaged: the score of methods.md, section 6.

    Args:
        rdms: RDMs as vectors of pairs.
        raters: One RDM per rater; NaN where a rater did not judge a pair.
        method: A `Comparator`.
    """
    return np.asarray(compare(rdms, raters, method).mean(axis=1))


def missing_patterns(rdms: Float[np.ndarray, "k pairs"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the groups of rows that miss the same pairs: the rows, and which pairs they have."""
    judged = ~np.isnan(rdms)
    if judged.all():
        return [(np.arange(len(rdms)), np.ones(rdms.shape[1], dtype=bool))]
    groups: dict[bytes, list[int]] = {}
    for row, pattern in enumerate(np.packbits(judged, axis=1)):
        groups.setdefault(pattern.tobytes(), []).append(row)
    return [(np.array(rows), judged[rows[0]]) for rows in groups.values()]


def standardise(rdms: Float[np.ndarray, "k pairs"], method: str) -> Float[np.ndarray, "k pairs"]:
    """Return vectors whose inner products are the comparator's similarities; not for tau-a.

    Args:
        rdms: RDMs without missing pairs.
        method: rho-a, spearman or pearson.
    """
    return _STANDARDISE[Comparator(method)](rdms)


def _rho_a_vectors(rdms: np.ndarray) -> np.ndarray:
    n = rdms.shape[-1]
    ranks = rankdata(rdms, axis=-1)
    return np.asarray((ranks - (n + 1) / 2) * np.sqrt(12 / (n**3 - n)))


def _unit_vectors(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=-1, keepdims=True)
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    # A vector without variation has no direction: NaN, not a division by rounding error.
    flat = norm <= 1e-12 * np.abs(values).max(axis=-1, keepdims=True) * np.sqrt(values.shape[-1])
    return np.asarray(centred / np.where(flat, np.nan, norm))


_STANDARDISE: dict[Comparator, Callable[[np.ndarray], np.ndarray]] = {
    Comparator.RHO_A: _rho_a_vectors,
    Comparator.SPEARMAN: lambda rdms: _unit_vectors(rankdata(rdms, axis=-1)),
    Comparator.PEARSON: _unit_vectors,
}


def _tau_a(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    n = a.shape[1]
    agreement = np.zeros((len(a), len(b)))
    for pair in range(1, n):  # one pair of concepts against all before it: memory of one row, not of a square
        agreement += np.sign(a[:, pair, None] - a[:, :pair]) @ np.sign(b[:, pair, None] - b[:, :pair]).T
    return agreement / (n * (n - 1) / 2)


def _inner(method: Comparator) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(standardise(a, method) @ standardise(b, method).T, -1.0, 1.0))

    return similarity


_SIMILARITY: dict[Comparator, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    Comparator.RHO_A: _inner(Comparator.RHO_A),
    Comparator.SPEARMAN: _inner(Comparator.SPEARMAN),
    Comparator.TAU_A: _tau_a,
    Comparator.PEARSON: _inner(Comparator.PEARSON),
}
