"""How well any model could do, given how much the raters differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from emosae.geometry.comparators import compare, missing_patterns, standardise
from emosae.geometry.measures import Comparator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "mean_rdm",
    "mean_rdm_ceiling",
    "noise_ceiling",
    "others_agreement",
    "others_reliability",
    "pool",
    "scaled",
]


def mean_rdm(raters: Float[np.ndarray, "raters pairs"]) -> Float[np.ndarray, " pairs"]:
    """Return the mean dissimilarity of each pair over the raters who judged it; NaN where none did."""
    judged = ~np.isnan(raters)
    return _ratio(np.where(judged, raters, 0.0).sum(axis=0), judged.sum(axis=0))


def pool(raters: Float[np.ndarray, "raters pairs"], method: str) -> Float[np.ndarray, " pairs"]:
    """Return the RDM that agrees best with the raters: their mean rank, for pearson their mean z-score.

    Ranks are taken over the pairs that a rater judged, stretched to the number of all pairs. For tau-a the
    mean rank is an approximation, as in rsatoolbox.
    """
    return mean_rdm(scaled(raters, method))


def noise_ceiling(
    raters: Float[np.ndarray, "raters pairs"], method: str = Comparator.RHO_A
) -> tuple[float, float]:
    """Return the lower and upper bound of the mean over raters of a perfect model's similarity.

    Upper: the pooled raters against each rater, who is part of the pool. Lower: each rater against the pool
    of the others.

    Args:
        raters: One RDM per rater, NaN where a pair was not judged.
        method: A `Comparator`.

    Returns:
        Lower and upper bound; NaN with fewer than two raters.

    Source: Nili et al. (2014), A toolbox for RSA, section on the noise ceiling.
    """
    if len(raters) < 2:
        return float("nan"), float("nan")
    upper = compare(pool(raters, method), raters, method)[0]
    return float(np.mean(others_agreement(raters, method))), float(np.mean(upper))


def others_agreement(
    raters: Float[np.ndarray, "raters pairs"], method: str = Comparator.RHO_A
) -> Float[np.ndarray, " raters"]:
    """Return the similarity of each rater to the pool of the others; NaN for a single rater."""
    if len(raters) < 2:
        return np.full(len(raters), np.nan)
    values = scaled(raters, method)
    judged = ~np.isnan(values)
    total, count = np.where(judged, values, 0.0).sum(axis=0), judged.sum(axis=0)
    others = _ratio(total - np.where(judged, values, 0.0), count - judged)
    return np.array([compare(others[row], raters[row], method)[0, 0] for row in range(len(raters))])


def others_reliability(raters: Float[np.ndarray, "raters pairs"], method: str = Comparator.RHO_A) -> float:
    """Return the reliability of the mean of all raters but one: its squared correlation with the truth.

    Stepped up with the Spearman-Brown formula from the mean correlation of two raters, for rho-a Spearman's,
    since ties of a rater's scale are no noise of the mean. NaN for a single rater, 0 where raters do not agree.

    Source: Spearman (1910); Brown (1910).
    """
    if len(raters) < 2:
        return float("nan")
    measure = Comparator.SPEARMAN if Comparator(method) is Comparator.RHO_A else Comparator(method)
    first, second = np.triu_indices(len(raters), 1)
    alike = float(np.nanmean(compare(raters, raters, measure)[first, second]))
    return float(max((len(raters) - 1) * alike / (1 + (len(raters) - 2) * alike), 0.0))


def scaled(raters: Float[np.ndarray, "raters pairs"], method: str) -> Float[np.ndarray, "raters pairs"]:
    """Return what is averaged over raters: midranks over the pairs judged, for pearson z-scores; NaN stays."""
    values = np.full(raters.shape, np.nan)
    for rows, judged in missing_patterns(raters):
        own = raters[np.ix_(rows, judged)]
        if Comparator(method) is Comparator.PEARSON:
            values[np.ix_(rows, judged)] = standardise(own, method) * np.sqrt(judged.sum())
        else:
            values[np.ix_(rows, judged)] = rankdata(own, axis=1) * (raters.shape[1] / judged.sum())
    return values


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_rdm_ceiling(
    raters: Float[np.ndarray, "raters pairs"],
    method: str = Comparator.RHO_A,
    *,
    n_splits: int = 200,
    seed: int = 0,
) -> float:
    """Return the greatest similarity to the mean RDM that its reliability allows.

    The raters are split into random halves, the similarity of the two mean RDMs is stepped up to the whole
    group with the Spearman-Brown formula, and its square root taken: a perfect model correlates with an
    error-laden mean as the root of the mean's reliability.

    Args:
        raters: One RDM per rater, NaN where a pair was not judged.
        method: A `Comparator`.
        n_splits: Random halves that are averaged.
        seed: Seed of the halves.

    Returns:
        The ceiling, 0 where the halves do not agree; NaN with fewer than two raters.

    Source: Spearman (1910); Brown (1910).
    """
    if len(raters) < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    agreement = []
    for _ in range(n_splits if Comparator(method) is not Comparator.TAU_A else min(n_splits, 20)):
        order = rng.permutation(len(raters))
        half = len(raters) // 2
        first, second = mean_rdm(raters[order[:half]]), mean_rdm(raters[order[half:]])
        agreement.append(compare(first, second, method)[0, 0])
    reliability = max(2 * np.mean(agreement) / (1 + np.mean(agreement)), 0.0)
    return float(np.sqrt(reliability))
