"""Exact tests of enrichment and the adjustment for testing many features at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["benjamini_hochberg", "hypergeometric_tail", "round_weights", "weighted_tail"]

WEIGHT_UNITS = 1000
"""Weights are rounded to this many units of their sum, which makes their permutation law exact."""


def hypergeometric_tail(
    support: Int[np.ndarray, " k"], active: Int[np.ndarray, " k"], *, n_positive: int, n_negative: int
) -> Float[np.ndarray, " k"]:
    """Return the one-sided exact p of drawing at least `support` members among the active words.

    The same number as Fisher's exact test with `alternative="greater"`. The law depends on a feature only
    through how many words it is active on, so it is tabulated once for each such number.

    Args:
        support: Members of the concept on which each feature is active.
        active: Members and non-members on which each feature is active.
        n_positive: Members of the concept.
        n_negative: Words that are not.

    Returns:
        p for each feature, in (0, 1].

    Source: Fisher (1935), The logic of inductive inference.

    Example:
        >>> hypergeometric_tail(np.array([2]), np.array([2]), n_positive=2, n_negative=2).round(4)
        array([0.1667])
    """
    counts, inverse = np.unique(active, return_inverse=True)
    drawn = np.arange(n_positive + 1)
    tail = _reversed_cumulative(_hypergeometric(counts, drawn, n_positive, n_negative))
    return np.minimum(tail[inverse, support], 1.0)


def weighted_tail(
    weights: Float[np.ndarray, " positive"],
    weight_sum: Float[np.ndarray, " k"],
    active: Int[np.ndarray, " k"],
    *,
    n_negative: int,
) -> Float[np.ndarray, " k"]:
    """Return the exact permutation p of the summed weight of the active members.

    The labels with their weights (zero for non-members) are permuted over the words. Given the number of
    active words the sum is that of a random subset of the weights, whose law follows from a recursion over
    the members, so nothing is sampled and p is not bounded by a number of permutations. With equal weights it
    is the hypergeometric p.

    Args:
        weights: Weight of each member, positive, rounded by `round_weights`.
        weight_sum: Sum of these weights over the members on which each feature is active.
        active: Members and non-members on which each feature is active.
        n_negative: Words that are no members.

    Returns:
        p for each feature, in (0, 1].
    """
    units = np.rint(weights).astype(np.int64)
    n_positive, total = len(units), int(units.sum())
    # law[j, s]: probability that j members drawn at random weigh s; member by member, the n-th one belongs to
    # a random j-subset of the first n with probability j/n.
    law = np.zeros((n_positive + 1, total + 1))
    law[0, 0] = 1.0
    for seen, unit in enumerate(units, start=1):
        share = np.arange(1, seen + 1)[:, None] / seen
        without = law[1 : seen + 1] * (1 - share)
        without[:, unit:] += law[:seen, : total + 1 - unit] * share
        law[1 : seen + 1] = without
    tail_given_members = _reversed_cumulative(law)
    counts, inverse = np.unique(active, return_inverse=True)
    members = _hypergeometric(counts, np.arange(n_positive + 1), n_positive, n_negative)
    result = np.empty(len(active))
    observed = np.rint(weight_sum).astype(np.int64)
    for index in range(len(counts)):
        rows = np.flatnonzero(inverse == index)
        result[rows] = members[index] @ tail_given_members[:, observed[rows]]
    return np.minimum(result, 1.0)


def round_weights(weights: Float[np.ndarray, " positive"]) -> Float[np.ndarray, " positive"]:
    """Return `weights` as whole units of about a thousandth of their sum, at least one unit each."""
    units = max(WEIGHT_UNITS, 4 * len(weights))
    return np.maximum(np.rint(weights / weights.sum() * units), 1.0)


def benjamini_hochberg(p: Float[np.ndarray, " k"], n_tests: int) -> Float[np.ndarray, " k"]:
    """Return the p-values adjusted for the false discovery rate over `n_tests` tests.

    Args:
        p: The p-values below one; tests that are not listed have p = 1 and count in `n_tests` all the same.
        n_tests: Number of tests made, at least `len(p)`.

    Returns:
        The adjusted values, in the order of `p`.

    Source: Benjamini & Hochberg (1995), procedure of section 3.1.

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.04]), n_tests=4)
        array([0.04, 0.08])
    """
    assert n_tests >= len(p)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * n_tests / np.arange(1, len(p) + 1)
    adjusted = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result


def _hypergeometric(
    counts: Int[np.ndarray, " c"], drawn: Int[np.ndarray, " j"], n_positive: int, n_negative: int
) -> Float[np.ndarray, "c j"]:
    """Probability of `drawn` members among `counts` words drawn from members and non-members."""
    rest = counts[:, None] - drawn[None, :]
    possible = (rest >= 0) & (rest <= n_negative)
    log_p = (
        _log_choose(n_positive, drawn)[None, :]
        + _log_choose(n_negative, np.where(possible, rest, 0))
        - _log_choose(n_positive + n_negative, counts)[:, None]
    )
    return np.where(possible, np.exp(log_p), 0.0)


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _reversed_cumulative(law: np.ndarray) -> np.ndarray:
    """P(at least), summed from the far end so that small tails keep their digits."""
    return np.asarray(np.cumsum(law[:, ::-1], axis=1)[:, ::-1])
