"""How well any model could do, given how much the raters differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from emosae.geometry.comparators import compare, missing_patterns, standardise
from emosae.geometry.measures import Comparator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["mean_rdm", "mean_rdm_ceiling", "noise_ceiling", "pool"]


def mean_rdm(raters: Float[np.ndarray, "raters pairs"]) -> Float[np.ndarray, " pairs"]:
    """Return the mean dissimilarity of each pair over the raters who judged it; NaN where none did."""
    judged = ~np.isnan(raters)
    return _ratio(np.where(judged, raters, 0.0).sum(axis=0), judged.sum(axis=0))


def pool(raters: Float[np.ndarray, "raters pairs"], method: str) -> Float[np.ndarray, " pairs"]:
    """Return the RDM that agrees best with the raters: their mean rank, for pearson their mean z-score.

    Ranks are taken over the pairs that a rater judged, stretched to the number of all pairs. For tau-a the
    mean rank is an approximation, as in rsatoolbox.
    """
    return mean_rdm(_scaled(raters, method))


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
    scaled = _scaled(raters, method)
    judged = ~np.isnan(scaled)
    total, count = np.where(judged, scaled, 0.0).sum(axis=0), judged.sum(axis=0)
    upper = compare(_ratio(total, count), raters, method)[0]
    others = _ratio(total - np.where(judged, scaled, 0.0), count - judged)
    lower = [compare(others[row], raters[row], method)[0, 0] for row in range(len(raters))]
    return float(np.mean(lower)), float(np.mean(upper))


def _scaled(raters: np.ndarray, method: str) -> np.ndarray:
    scaled = np.full(raters.shape, np.nan)
    for rows, judged in missing_patterns(raters):
        values = raters[np.ix_(rows, judged)]
        if Comparator(method) is Comparator.PEARSON:
            scaled[np.ix_(rows, judged)] = standardise(values, method) * np.sqrt(judged.sum())
        else:
            scaled[np.ix_(rows, judged)] = rankdata(values, axis=1) * (raters.shape[1] / judged.sum())
    return scaled


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
