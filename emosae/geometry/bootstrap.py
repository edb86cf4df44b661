"""Bootstrap of the concepts: intervals for the similarity of RDMs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from emosae.geometry.comparators import missing_patterns
from emosae.geometry.measures import Comparator
from emosae.geometry.rdm import n_conditions, pair_indices

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["bootstrap_scores", "draw_multiplicities", "fisher_interval", "weighted_ranks"]

BLOCK_ELEMENTS = 1 << 21

Multiplicities = "Float[np.ndarray, 'pairs samples']"


def draw_multiplicities(
    n: int, n_samples: int, seed: int | np.random.Generator = 0
) -> Int[np.ndarray, "samples n"]:
    """Draw how often each of `n` concepts occurs in each bootstrap sample.

    Samples with fewer than three distinct concepts have no RDM to speak of and are drawn again.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=n_samples)
    poor = (counts > 0).sum(axis=1) < min(n, 3)
    while poor.any():
        counts[poor] = rng.multinomial(n, np.full(n, 1 / n), size=int(poor.sum()))
        poor = (counts > 0).sum(axis=1) < min(n, 3)
    return counts


def bootstrap_scores(
    rdms: Float[np.ndarray, "k pairs"],
    raters: Float[np.ndarray, "raters pairs"],
    method: str,
    counts: Int[np.ndarray, "samples n"],
) -> Float[np.ndarray, "k samples"]:
    """Return each RDM's mean similarity to the raters in each bootstrap sample of the concepts.

    A concept drawn twice makes a pair with itself, whose dissimilarity is zero for every RDM and would pass
    for agreement: such pairs are left out. The pair of two concepts drawn a and b times counts a x b times;
    ranks and moments are computed with these multiplicities, no RDM is ever resampled.

    Args:
        rdms: RDMs as vectors of pairs.
        raters: One RDM per rater, NaN where a pair was not judged.
        method: A `Comparator`.
        counts: How often each concept occurs in each sample.

    Source: Schütt et al. (2023), Statistical inference on representational geometries, bootstrap over
        conditions.
    """
    first, second = pair_indices(n_conditions(rdms.shape[1]))
    result = np.empty((len(rdms), len(counts)))
    rows = max(1, BLOCK_ELEMENTS // rdms.shape[1])
    for start in range(0, len(counts), rows):
        block = counts[start : start + rows]
        multiplicity = np.ascontiguousarray((block[:, first] * block[:, second]).T, dtype=np.float64)
        result[:, start : start + rows] = _SCORES[Comparator(method)](rdms, raters, multiplicity)
    return result


def fisher_interval(
    estimate: Float[np.ndarray, ...],
    samples: Float[np.ndarray, "... samples"],
    n: int,
    confidence: float = 0.95,
) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]:
    """Return an interval for a correlation from its bootstrap samples over the concepts.

    Fisher's z of the estimate plus and minus Student's t (n - 2 degrees of freedom) times the bootstrap
    standard error of z. In simulations with 14 and 27 concepts it covers 95 to 98 % for RDM similarities (up
    to 99 % where nothing is shared) and 92 to 96 % for single correlations, where the percentile interval
    covers 92 to 98 % and 89 to 94 %.

    Args:
        estimate: Correlation-like values in [-1, 1]; NaN has no interval.
        samples: The same in each bootstrap sample, along the last axis; NaN is left out.
        n: Number of concepts.
        confidence: Coverage of the interval.

    Source: Fisher (1921) for z; Efron & Tibshirani (1993), section 12, for the standard error.
    """
    limit = 1 - 1e-6  # a sample of two or three distinct concepts may correlate perfectly: z is kept finite
    z = np.arctanh(np.clip(samples, -limit, limit))
    some = (~np.isnan(z)).sum(axis=-1) > 1
    error = np.where(some, np.nanstd(np.where(some[..., None], z, 0.0), axis=-1), np.nan)
    reach = student.ppf((1 + confidence) / 2, max(n - 2, 1)) * error
    centre = np.arctanh(np.clip(estimate, -limit, limit))
    return np.tanh(centre - reach), np.tanh(centre + reach)


def weighted_ranks(
    values: Float[np.ndarray, " pairs"], multiplicity: Float[np.ndarray, "pairs samples"]
) -> Float[np.ndarray, "pairs samples"]:
    """Return the midrank of each value among the values repeated as often as `multiplicity` says.

    Example:
        >>> weighted_ranks(np.array([5.0, 1.0]), np.array([[1.0], [2.0]])).ravel()
        array([3. , 1.5])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    bounds = np.append(np.flatnonzero(starts), len(order))
    tie = np.cumsum(starts) - 1
    below = np.zeros((len(order) + 1, multiplicity.shape[1]))
    np.cumsum(multiplicity[order], axis=0, out=below[1:])
    at_bounds = below[bounds]
    midrank = (at_bounds[:-1] + at_bounds[1:] + 1) / 2
    place = np.empty(len(order), dtype=np.int64)
    place[order] = tie
    return np.asarray(midrank[place])


def _rho_a(values: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
    total = multiplicity.sum(axis=0)
    centred = weighted_ranks(values, multiplicity) - (total + 1) / 2
    return np.asarray(centred * np.sqrt(12 / np.maximum(total**3 - total, 1)))


def _unit(values: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
    total = np.maximum(multiplicity.sum(axis=0), 1)
    centred = values - (values * multiplicity).sum(axis=0) / total
    square = (centred**2 * multiplicity).sum(axis=0)
    scale = np.abs(values).max(axis=0) ** 2 * total
    return np.asarray(centred / np.sqrt(np.where(square > 1e-20 * scale, square, np.nan)))


def _spearman(values: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
    return _unit(weighted_ranks(values, multiplicity), multiplicity)


def _pearson(values: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
    return _unit(values[:, None], multiplicity)


def _linear(
    standardise: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    def scores(rdms: np.ndarray, raters: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
        result = np.zeros((len(rdms), multiplicity.shape[1]))
        for rows, valid in missing_patterns(raters):
            own = multiplicity[valid]
            together = np.zeros_like(own)
            for rater in raters[np.ix_(rows, valid)]:
                together += standardise(rater, own)
            together *= own
            for row, rdm in enumerate(rdms[:, valid]):
                result[row] += np.einsum("ps,ps->s", together, standardise(rdm, own))
        return result / len(raters)

    return scores


def _tau_a(rdms: np.ndarray, raters: np.ndarray, multiplicity: np.ndarray) -> np.ndarray:
    result = np.zeros((len(rdms), multiplicity.shape[1]))
    for rows, valid in missing_patterns(raters):
        own = multiplicity[valid]
        total = own.sum(axis=0)
        signs = np.zeros((len(own), len(own)))
        for rater in raters[np.ix_(rows, valid)]:
            signs += np.sign(rater[:, None] - rater[None, :])
        for row, rdm in enumerate(rdms[:, valid]):
            agreement = np.sign(rdm[:, None] - rdm[None, :]) * signs
            result[row] += np.einsum("ps,ps->s", own, agreement @ own) / np.maximum(total * (total - 1), 1)
    return result / len(raters)


_SCORES: dict[Comparator, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    Comparator.RHO_A: _linear(_rho_a),
    Comparator.SPEARMAN: _linear(_spearman),
    Comparator.TAU_A: _tau_a,
    Comparator.PEARSON: _linear(_pearson),
}
