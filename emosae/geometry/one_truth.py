"""Raters who share one truth, simulated: each with the reliability and the kind of noise that the rater has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from emosae.geometry.ceiling import others_agreement, others_reliability, pool, scaled
from emosae.geometry.comparators import missing_patterns, standardise
from emosae.geometry.measures import Comparator
from emosae.geometry.permutation import pair_orders
from emosae.geometry.rdm import n_conditions

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["simulate_one_truth"]

BLOCK_ELEMENTS = 1 << 21
PILOT = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """What raters are simulated from.

    Attributes:
        judged: Which pairs each rater judged.
        truth: What they share, of unit length [pairs].
        shares: How much of it each rater has [raters], a correlation.
        noise: What each rater has beside it, rows of unit length [raters, pairs].
        for_score: Each rater's values as the comparator takes them, sorted; the last ones of those who did not
            judge all pairs hold nothing.
        for_pool: The same as they are averaged over raters.
    """

    judged: np.ndarray
    truth: np.ndarray
    shares: np.ndarray
    noise: np.ndarray
    for_score: np.ndarray
    for_pool: np.ndarray


def simulate_one_truth(
    rdms: Float[np.ndarray, "k pairs"],
    raters: Float[np.ndarray, "raters pairs"],
    method: str = Comparator.RHO_A,
    *,
    n_simulations: int = 1_000,
    seed: int | np.random.Generator = 0,
) -> tuple[Float[np.ndarray, "k simulations raters"], Float[np.ndarray, "simulations raters"]]:
    """Return similarities of RDMs and of the other raters to raters who all share one truth.

    The truth is the raters' pooled RDM. A simulated rater is the truth, as much of it as the rater's agreement
    with the others says, plus what the rater has beside it with the concepts in random order: noise of the
    rater's own kind, in which a concept may be seen otherwise in all its pairs, and without a tie to any model.
    The values are put into the rater's own ones, rank by rank, so that scales and ties are those of the rater;
    pairs that the rater did not judge are missing in the simulation too.

    Args:
        rdms: RDMs as vectors of pairs.
        raters: One RDM per rater, three at least, NaN where a pair was not judged.
        method: rho-a, spearman or pearson.
        n_simulations: Groups of raters that are simulated.
        seed: Seed of the noise.
    """
    rng = np.random.default_rng(seed)
    comparator = Comparator(method)
    group = _parts(raters, comparator, rng)
    observed = others_agreement(raters, comparator).mean()
    pilot = np.nanmean(_simulate(group, rdms[:0], comparator, min(PILOT, n_simulations), rng)[1])
    if pilot > 0:  # ranks of a sum are a little less like its parts: the share is raised by as much
        shares = np.clip(group.shares * max(observed, 0.0) / pilot, 0.0, 0.999)
        group = replace(group, shares=shares)
    size = max(1, BLOCK_ELEMENTS // raters.size)
    parts = [
        _simulate(group, rdms, comparator, min(size, n_simulations - start), rng)
        for start in range(0, n_simulations, size)
    ]
    return np.concatenate([one[0] for one in parts], axis=1), np.concatenate([one[1] for one in parts])


def _simulate(
    group: _Group, rdms: np.ndarray, comparator: Comparator, count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "k count raters"], Float[np.ndarray, "count raters"]]:
    """Draw some groups of raters, and compare the RDMs and the other raters with each of them."""
    n_raters, n_pairs = group.judged.shape
    orders = rng.permuted(np.tile(np.arange(n_conditions(n_pairs)), (count * n_raters, 1)), axis=1)
    turned = pair_orders(orders).reshape(count, n_raters, n_pairs)
    drawn = np.take_along_axis(group.noise[None], turned, axis=2)
    drawn *= np.sqrt(1 - group.shares**2)[:, None]
    drawn += group.shares[:, None] * group.truth
    drawn[:, ~group.judged] = np.inf  # last in order, where the sorted values hold nothing
    order = np.argsort(drawn, axis=2)
    values, pooled = np.empty_like(drawn), np.empty_like(drawn)
    np.put_along_axis(values, order, np.broadcast_to(group.for_score, drawn.shape), axis=2)
    np.put_along_axis(pooled, order, np.broadcast_to(group.for_pool, drawn.shape), axis=2)
    values[:, ~group.judged] = pooled[:, ~group.judged] = 0.0
    counts = group.judged.sum(axis=0)
    others = (pooled.sum(axis=1, keepdims=True) - pooled) / np.maximum(counts - group.judged, 1)
    scores, agreement = np.empty((len(rdms), count, n_raters)), np.empty((count, n_raters))
    for rows, valid in missing_patterns(np.where(group.judged, 0.0, np.nan)):
        known = values[:, rows][:, :, valid]
        shared = counts[valid] > 1  # pairs of which the others say something
        theirs = others[:, rows][:, :, valid][:, :, shared]
        beside = standardise(theirs.reshape(-1, theirs.shape[2]), comparator).reshape(theirs.shape)
        agreement[:, rows] = (beside * known[:, :, shared]).sum(axis=2)
        if len(rdms):
            scores[:, :, rows] = np.moveaxis(known @ standardise(rdms[:, valid], comparator).T, 2, 0)
    return scores, agreement


def _parts(raters: np.ndarray, comparator: Comparator, rng: np.random.Generator) -> _Group:
    """Split the raters into a truth, each rater's share of it, and the noise beside it."""
    values = scaled(raters, comparator)
    judged = ~np.isnan(values)
    for_score = np.zeros(raters.shape)
    for rows, valid in missing_patterns(raters):
        standard = np.sort(standardise(raters[np.ix_(rows, valid)], comparator), axis=1)
        for_score[np.ix_(rows, np.arange(valid.sum()))] = standard
    total, count = np.where(judged, values, 0.0).sum(axis=0), judged.sum(axis=0)
    reliability = others_reliability(raters, comparator)
    pooled = pool(raters, comparator)
    truth = _unit(np.where(np.isnan(pooled), np.nanmean(pooled), pooled))
    shares, noise = np.zeros(len(raters)), np.zeros(raters.shape)
    for row, valid in enumerate(judged):
        both = valid & (count > 1)
        mine = _unit(values[row, both])
        theirs = _unit((total - np.where(valid, values[row], 0.0))[both] / (count - 1)[both])
        agrees = float(mine @ theirs)
        # what agrees with the others' mean agrees more with the truth, of which that mean is a noisy reading
        shares[row] = np.clip(agrees / np.sqrt(reliability), 0.0, 0.999) if reliability > 0 else 0.0
        rest = mine - agrees * theirs
        noise[row, both] = rest
        noise[row, ~both] = rng.choice(rest, size=int((~both).sum()))
        noise[row] = _unit(noise[row])
    return _Group(
        judged=judged,
        truth=truth,
        shares=shares,
        noise=noise,
        for_score=for_score,
        for_pool=np.sort(values, axis=1),
    )


def _unit(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return np.asarray(centred / max(np.linalg.norm(centred), 1e-300))
