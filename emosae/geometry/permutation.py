"""Label permutation (Mantel) tests of RDMs: all orders of few concepts, a random sample of many."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.geometry.comparators import missing_patterns, standardise
from emosae.geometry.measures import Comparator
from emosae.geometry.rdm import n_conditions, pair_indices, pair_numbers

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = [
    "MantelResult",
    "Permutations",
    "Target",
    "label_permutations",
    "mantel_null",
    "mantel_test",
    "pair_orders",
    "permutation_p",
    "score",
    "target",
]

BLOCK_ELEMENTS = 1 << 22
"""Numbers held at once while permutations are worked through: 32 MiB in double precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Permutations:
    """Orders of the concepts.

    Attributes:
        orders: One order per row.
        exact: Whether these are all orders there are, the given one included.
    """

    orders: Int[np.ndarray, "permutations n"]
    exact: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What RDMs are compared with, in a form in which the mean over raters is one product.

    Attributes:
        comparator: The measure.
        values: For rho-a, spearman and pearson the mean of the raters' standardised vectors [pairs]; for
            tau-a the mean of their signed comparisons [pairs, pairs].
    """

    comparator: Comparator
    values: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class MantelResult:
    """Similarity and p of each RDM.

    Attributes:
        score: The similarity, averaged over the raters.
        p: One-sided: the share of label permutations that do as well or better.
        p_max: The same for the best of all RDMs given: holds for whichever one is picked.
        n_permutations: Orders that were tried.
        exact: Whether these were all there are.
    """

    score: Float[np.ndarray, " k"]
    p: Float[np.ndarray, " k"]
    p_max: Float[np.ndarray, " k"]
    n_permutations: int
    exact: bool


def label_permutations(n: int, count: int, seed: int | np.random.Generator = 0) -> Permutations:
    """Return `count` random orders of `n` concepts, or all orders where they are no more than that."""
    if n <= 12 and math.factorial(n) <= count:
        return Permutations(orders=np.array(list(itertools.permutations(range(n)))), exact=True)
    rng = np.random.default_rng(seed)
    return Permutations(orders=rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1), exact=False)


def permutation_p(
    observed: Float[np.ndarray, ...], null: Float[np.ndarray, "... permutations"], *, exact: bool
) -> Float[np.ndarray, ...]:
    """Return the share of permuted values that reach the observed one.

    Random orders leave the given one out, so it is counted in: (1 + b) / (1 + n), never zero.

    Args:
        observed: The statistic as it is; larger is stronger.
        null: The statistic under each order, along the last axis.
        exact: Whether `null` holds all orders, the given one included.

    Source: Phipson & Smyth (2010), Permutation p-values should never be zero.

    Example:
        >>> float(permutation_p(np.array(3.0), np.array([1.0, 2.0, 3.0]), exact=False))
        0.5
    """
    observed = np.asarray(observed, dtype=np.float64)
    # Equal statistics may differ by rounding, according to the order of the sum.
    bar = observed - 1e-10 * np.maximum(1.0, np.abs(observed))
    reached = (~(null < bar[..., None])).sum(axis=-1)  # a statistic that is undefined counts as reached
    p = reached / null.shape[-1] if exact else (reached + 1) / (null.shape[-1] + 1)
    return np.where(np.isnan(observed), np.nan, p)


def pair_orders(orders: Int[np.ndarray, "permutations n"]) -> Int[np.ndarray, "permutations pairs"]:
    """Return, for each order of the concepts, which pair comes to stand in the place of each pair."""
    n = orders.shape[1]
    first, second = pair_indices(n)
    return np.asarray(pair_numbers(n).astype(np.int32)[orders[:, first], orders[:, second]])


def target(raters: Float[np.ndarray, "raters pairs"], method: str) -> Target:
    """Make the target that stands for the mean similarity to these raters.

    A rater's missing pairs count for nothing. The ranks of an RDM are then taken over all pairs rather than
    over those the rater judged, which changes the statistic a little and leaves its p-value valid, since the
    same statistic is computed under every order.
    """
    comparator = Comparator(method)
    n_pairs = raters.shape[1]
    shape = (n_pairs, n_pairs) if comparator is Comparator.TAU_A else (n_pairs,)
    values = np.zeros(shape)
    for rows, valid in missing_patterns(raters):
        judged = np.flatnonzero(valid)
        if len(judged) < 2:
            continue
        if comparator is Comparator.TAU_A:
            for rater in raters[np.ix_(rows, judged)]:
                signs = np.sign(rater[:, None] - rater[None, :])
                values[np.ix_(judged, judged)] += signs / (len(judged) * (len(judged) - 1))
        else:
            values[judged] += standardise(raters[np.ix_(rows, judged)], comparator).sum(axis=0)
    return Target(comparator=comparator, values=values / len(raters))


def score(rdms: Float[np.ndarray, "k pairs"], aim: Target) -> Float[np.ndarray, " k"]:
    """Return the similarity of each RDM to the target."""
    if aim.comparator is Comparator.TAU_A:
        return np.array([np.sum(np.sign(one[:, None] - one[None, :]) * aim.values) for one in rdms])
    return np.asarray(standardise(rdms, aim.comparator) @ aim.values)


def mantel_null(
    rdms: Float[np.ndarray, "k pairs"], aim: Target, permutations: Permutations
) -> Float[np.ndarray, "k permutations"]:
    """Return the similarity of each RDM to the target with its concepts in each order.

    Permuting the concepts only permutes the pairs of the target, so ranks are taken once and all orders of a
    block, for all RDMs, are one matrix product.
    """
    null = np.empty((len(rdms), len(permutations.orders)))
    tau = aim.comparator is Comparator.TAU_A
    if tau:
        signs = np.sign(rdms[:, :, None] - rdms[:, None, :]).reshape(len(rdms), -1)
        for index, pairs in enumerate(_pair_order_rows(permutations.orders)):
            null[:, index] = signs @ aim.values[np.ix_(pairs, pairs)].ravel()
        return null
    vectors = standardise(rdms, aim.comparator)
    for start, pairs in _pair_order_blocks(permutations.orders):
        null[:, start : start + len(pairs)] = vectors @ aim.values[pairs].T
    return null


def mantel_test(
    rdms: Float[np.ndarray, "k pairs"],
    raters: Float[np.ndarray, "raters pairs"],
    method: str = Comparator.RHO_A,
    *,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> MantelResult:
    """Test whether RDMs are more like the raters than they are with their concepts in another order.

    Args:
        rdms: RDMs as vectors of pairs.
        raters: One RDM per rater, or a single RDM to compare with.
        method: A `Comparator`.
        n_permutations: Random orders; all orders where they are no more than that.
        seed: Seed of the orders.

    Source: Mantel (1967), The detection of disease clustering and a generalized regression approach.
    """
    rdms, raters = np.atleast_2d(rdms), np.atleast_2d(raters)
    permutations = label_permutations(n_conditions(rdms.shape[1]), n_permutations, seed)
    aim = target(raters, method)
    observed = score(rdms, aim)
    null = mantel_null(rdms, aim, permutations)
    return MantelResult(
        score=observed,
        p=permutation_p(observed, null, exact=permutations.exact),
        p_max=permutation_p(
            observed, np.broadcast_to(np.fmax.reduce(null, axis=0), null.shape), exact=permutations.exact
        ),
        n_permutations=len(permutations.orders),
        exact=permutations.exact,
    )


def _pair_order_blocks(orders: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    n_pairs = orders.shape[1] * (orders.shape[1] - 1) // 2
    rows = max(1, BLOCK_ELEMENTS // n_pairs)
    for start in range(0, len(orders), rows):
        yield start, pair_orders(orders[start : start + rows])


def _pair_order_rows(orders: np.ndarray) -> Iterator[np.ndarray]:
    for _, block in _pair_order_blocks(orders):
        yield from block
