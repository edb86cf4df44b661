"""Is one predictor better than another on the same words and folds?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Difference", "adjust_p", "corrected_t", "paired_bootstrap"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A difference between two predictors, with its interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def corrected_t(differences: np.ndarray, test_share: float, confidence: float) -> Difference:
    """Test the mean of per-fold differences, allowing for training sets that overlap.

    The folds' scores come from models that share most of their words, so the plain t-test is too sure. The
    variance is multiplied by `1/J + n_test/n_train` instead of `1/J`. It stays an approximation: no unbiased
    estimate exists from one cross-validation (Bengio & Grandvalet 2004).

    Source: Nadeau & Bengio, Inference for the generalization error, Machine Learning 52 (2003), section 3.

    Args:
        differences: Score of a minus score of b in each fold, [n_folds].
        test_share: Words tested over words trained on, in a fold: 1 / (n_folds - 1).
        confidence: Coverage of the interval.

    Returns:
        Mean difference, interval and p; p is 1 where all folds agree that there is no difference.
    """
    known = differences[np.isfinite(differences)]
    n = len(known)
    if n < 2:
        return Difference(difference=float("nan"), low=float("nan"), high=float("nan"), p=float("nan"))
    mean = float(known.mean())
    error = float(np.sqrt((1.0 / n + test_share) * known.var(ddof=1)))
    if error == 0.0:
        return Difference(difference=mean, low=mean, high=mean, p=1.0 if mean == 0.0 else 0.0)
    reach = error * float(stats.t.ppf(0.5 + confidence / 2, n - 1))
    p = float(2.0 * stats.t.sf(abs(mean) / error, n - 1))
    return Difference(difference=mean, low=mean - reach, high=mean + reach, p=p)


def paired_bootstrap(observed: float, resampled: np.ndarray, confidence: float, factor: float) -> Difference:
    """Test a difference of two scores by resampled words.

    Args:
        observed: The difference on all words.
        resampled: The difference in each resample of the words, both scores on the same words, [n_resamples].
        confidence: Coverage of the percentile interval.
        factor: What deviations of the resamples from the observed difference are multiplied by
            (`emosae.ratings.scores.overlap_factor`); 1 for the plain bootstrap.

    Returns:
        The difference, its interval, and twice the smaller share of resamples on either side of 0, counting
        the observed sample on both sides so that p is never 0.
    """
    known = observed + factor * (resampled[np.isfinite(resampled)] - observed)
    if not len(known) or not np.isfinite(observed):
        return Difference(difference=observed, low=float("nan"), high=float("nan"), p=float("nan"))
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(known, [tail, 1.0 - tail])
    below, above = int((known <= 0).sum()), int((known >= 0).sum())
    p = min(1.0, 2.0 * (min(below, above) + 1) / (len(known) + 1))
    return Difference(difference=observed, low=float(low), high=float(high), p=p)


def adjust_p(p: np.ndarray) -> np.ndarray:
    """Adjust p-values by Benjamini & Hochberg (1995); NaN stays NaN and is no test."""
    adjusted = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        adjusted[known] = stats.false_discovery_control(p[known], method="bh")
    return adjusted
