"""The layer question: which site is most like people, corrected for having looked at all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.geometry.bootstrap import bootstrap_scores, draw_multiplicities, fisher_interval
from emosae.geometry.comparators import mean_over_raters
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import MIN_SHARED, HumanData, read_human
from emosae.geometry.permutation import label_permutations, mantel_null, permutation_p, score, target
from emosae.geometry.rdm import pair_numbers

if TYPE_CHECKING:
    from emosae.geometry.result import Geometry

__all__ = ["SITES_SCHEMA", "compare_sites", "other_half", "shared_concepts", "site_rdm"]

N_SPLITS = 100
MIN_SPLIT = 8
"""Half of fewer concepts has too few pairs to choose a site by."""

SITES_SCHEMA = {
    "site": pl.String,
    "space": pl.String,
    "role": pl.String,
    "comparator": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p": pl.Float64,
    "p_max": pl.Float64,
    "best": pl.Boolean,
    "chosen": pl.Float64,
    "held_out": pl.Float64,
    "n_concepts": pl.Int64,
    "n_sites": pl.Int64,
}


def compare_sites(
    results: Mapping[str, Geometry], human: HumanData, config: GeometryConfig | None = None
) -> pl.DataFrame:
    """Compare each space over the sites of one study, with p-values that hold for the best of them.

    The same orders of the concepts are used at every site, and the greatest score of each order is what the
    best site must beat. The concepts are those that every site has.

    Args:
        results: The geometry of each site, on the same concepts.
        human: Similarity judgements.
        config: Comparator, permutations, samples; None for the defaults.

    Returns:
        A row for each site and space: site, space, role, comparator (the first), score, ci_low, ci_high, p,
        p_max (corrected over the sites of that space), best, chosen (share of splits of the concepts in
        which this site is the best on one half), held_out (its mean score on the other half then: what a
        chosen site is worth; null where it was never chosen), n_concepts, n_sites. Empty where fewer than
        four concepts are shared.

    Source: methods.md, section 6; Nichols & Holmes (2002) for the maximum statistic.
    """
    config = config or GeometryConfig()
    concepts = shared_concepts(results)
    if len(set(concepts) & set(human.concepts)) < MIN_SHARED:
        return pl.DataFrame(schema=SITES_SCHEMA)
    people = read_human(human, concepts, None, [])
    comparator = config.comparators[0]
    n = len(people.concepts)
    permutations = label_permutations(n, config.n_permutations, config.seed)
    counts = (
        draw_multiplicities(n, config.n_bootstrap, config.seed)
        if config.n_bootstrap and n >= config.min_concepts_interval
        else None
    )
    aim = target(people.raters, comparator)
    rows = []
    for space, role in _spaces(results).items():
        rdms = {
            site: rdm[people.pairs]
            for site, result in results.items()
            if (rdm := site_rdm(result, space, concepts)) is not None
        }
        stacked = np.array(list(rdms.values()))
        observed, null = score(stacked, aim), mantel_null(stacked, aim, permutations)
        best_null = np.broadcast_to(np.fmax.reduce(null, axis=0), null.shape)
        own = mean_over_raters(stacked, people.raters, comparator)
        p = permutation_p(observed, null, exact=permutations.exact)
        p_max = permutation_p(observed, best_null, exact=permutations.exact)
        low = high = np.full(len(rdms), np.nan)
        if counts is not None:
            samples = bootstrap_scores(stacked, people.raters, comparator, counts)
            low, high = fisher_interval(own, samples, n, config.confidence)
        chosen, held_out = other_half(stacked, people.raters, n, comparator, seed=config.seed)
        for row, site in enumerate(rdms):
            rows.append(
                {
                    "site": site,
                    "space": space,
                    "role": role,
                    "comparator": str(comparator),
                    "score": own[row],
                    "ci_low": low[row],
                    "ci_high": high[row],
                    "p": p[row],
                    "p_max": p_max[row],
                    "best": bool(row == np.argmax(own)),
                    "chosen": chosen[row],
                    "held_out": held_out[row],
                    "n_concepts": n,
                    "n_sites": len(rdms),
                }
            )
    return pl.DataFrame(rows, schema=SITES_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def other_half(
    rdms: np.ndarray, raters: np.ndarray, n: int, comparator: str, *, n_splits: int = N_SPLITS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the best RDM on one half of the concepts and score it on the other half, many times.

    Args:
        rdms: One RDM per site.
        raters: One RDM per rater.
        n: Number of concepts.
        comparator: A `Comparator`.
        n_splits: Random halves; each half chooses once.
        seed: Seed of the halves.

    Returns:
        For each RDM the share of choices that fell on it, and its mean score on the other half then; NaN
        with fewer than eight concepts.
    """
    chosen, total = np.zeros(len(rdms)), np.zeros(len(rdms))
    if n < MIN_SPLIT:
        return np.full(len(rdms), np.nan), np.full(len(rdms), np.nan)
    number, rng = pair_numbers(n), np.random.default_rng(seed)
    for _ in range(n_splits):
        order = rng.permutation(n)
        scores = []
        for half in (np.sort(order[: n // 2]), np.sort(order[n // 2 :])):
            pairs = number[np.ix_(half, half)][np.triu_indices(len(half), 1)]
            judged = raters[:, pairs]
            some = (~np.isnan(judged)).sum(axis=1) >= 2
            scores.append(mean_over_raters(rdms[:, pairs], judged[some], comparator))
        for own, other in (scores, scores[::-1]):
            if np.isnan(own).all():
                continue
            best = int(np.nanargmax(own))
            chosen[best] += 1
            total[best] += other[best]
    with np.errstate(invalid="ignore", divide="ignore"):
        return chosen / max(chosen.sum(), 1), np.where(chosen > 0, total / chosen, np.nan)


def shared_concepts(results: Mapping[str, Geometry]) -> list[str]:
    """Return the concepts that every site has, in the order of the first."""
    lists = [
        list(dict.fromkeys(one.coordinates.filter(pl.col("space") != "human")["concept"]))
        for one in results.values()
    ]
    return [concept for concept in lists[0] if all(concept in other for other in lists[1:])] if lists else []


def _spaces(results: Mapping[str, Geometry]) -> dict[str, str]:
    """The spaces that have an RDM at some site, with their roles."""
    found: dict[str, str] = {}
    for one in results.values():
        have = set(one.rdms["space"])
        for space, role in one.rsa.select("space", "role").unique(maintain_order=True).iter_rows():
            if role not in {"attribute", "ceiling"} and space in have:
                found.setdefault(space, role)
    return found


def site_rdm(result: Geometry, space: str, concepts: list[str]) -> np.ndarray | None:
    """The space's RDM on these concepts, in their order; None where the site does not have it."""
    rows = result.rdms.filter(pl.col("space") == space)
    if not rows.height:
        return None
    values = {
        frozenset((a, b)): value
        for a, b, value in rows.select("concept_a", "concept_b", "dissimilarity").iter_rows()
    }
    first, second = np.triu_indices(len(concepts), 1)
    return np.array(
        [values[frozenset((concepts[i], concepts[j]))] for i, j in zip(first, second, strict=True)]
    )
