"""The tables of a study: similarity to people, similarity between spaces, axes, coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.spatial.distance import pdist

from emosae.geometry.axes import Axes, classical_mds, correlate_axes, principal_components
from emosae.geometry.bootstrap import bootstrap_scores, draw_multiplicities, fisher_interval
from emosae.geometry.comparators import compare
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import Spaces
from emosae.geometry.permutation import (
    label_permutations,
    mantel_null,
    permutation_p,
    score,
    target,
)
from emosae.geometry.procrustes import align
from emosae.geometry.rdm import pair_indices

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "BETWEEN_SCHEMA",
    "Pairwise",
    "attribute_rdms",
    "axes_table",
    "between_table",
    "compare_pairwise",
    "coordinates_table",
    "interval",
    "multiplicities",
    "rdm_table",
    "space_axes",
]

BETWEEN_SCHEMA = {
    "space_a": pl.String,
    "space_b": pl.String,
    "comparator": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p": pl.Float64,
    "n_concepts": pl.Int64,
}


def attribute_rdms(attributes: Mapping[str, np.ndarray]) -> dict[str, Float[np.ndarray, " pairs"]]:
    """Return the RDMs that valence alone, arousal alone and both make.

    Valence and arousal are absolute differences; `valence_arousal` is the distance in the plane of both, in
    the scale of the ratings.
    """
    rdms = {name: pdist(values[:, None]) for name, values in attributes.items()}
    if len(attributes) == 2:
        rdms["valence_arousal"] = pdist(np.column_stack(list(attributes.values())))
    return rdms


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairwise:
    """One RDM beside several others: similarity, its interval over the concepts, p of permuted labels."""

    score: Float[np.ndarray, " others"]
    low: Float[np.ndarray, " others"]
    high: Float[np.ndarray, " others"]
    p: Float[np.ndarray, " others"]

    def row(self, index: int) -> dict[str, float]:
        """Return the columns of one of the others."""
        return {
            "score": float(self.score[index]),
            "ci_low": float(self.low[index]),
            "ci_high": float(self.high[index]),
            "p": float(self.p[index]),
        }


def compare_pairwise(
    one: Float[np.ndarray, " pairs"],
    others: Float[np.ndarray, "others pairs"],
    n: int,
    config: GeometryConfig,
) -> Pairwise:
    """Compare an RDM with others on the same concepts by the first comparator.

    Args:
        one: The RDM.
        others: Those that it is compared with.
        n: Number of concepts.
        config: Comparator, numbers of permutations and samples, seed.
    """
    comparator = config.comparators[0]
    permutations = label_permutations(n, config.n_permutations, config.seed)
    aim = target(one[None], comparator)
    similarity = compare(others, one[None], comparator)[:, 0]
    p = permutation_p(score(others, aim), mantel_null(others, aim, permutations), exact=permutations.exact)
    low, high = interval(similarity, others, one[None], comparator, multiplicities(n, config), config)
    return Pairwise(score=similarity, low=low, high=high, p=p)


def between_table(spaces: Spaces, config: GeometryConfig) -> pl.DataFrame:
    """Compare every two spaces by the first comparator: two languages, a space and its baseline."""
    names, rdms = list(spaces.rdms), np.array(list(spaces.rdms.values()))
    n = len(spaces.concepts)
    rows = []
    for index, name in enumerate(names[:-1]):
        found = compare_pairwise(rdms[index], rdms[index + 1 :], n, config)
        for at, other in enumerate(names[index + 1 :]):
            who = {
                "space_a": name,
                "space_b": other,
                "comparator": str(config.comparators[0]),
                "n_concepts": n,
            }
            rows.append(who | found.row(at))
    return pl.DataFrame(rows, schema=BETWEEN_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def rdm_table(concepts: list[str], rdms: Mapping[str, np.ndarray]) -> pl.DataFrame:
    """Write RDMs as one row per space and pair."""
    first, second = pair_indices(len(concepts))
    return pl.concat(
        pl.DataFrame(
            {
                "space": [name] * len(rdm),
                "concept_a": [concepts[i] for i in first],
                "concept_b": [concepts[j] for j in second],
                "dissimilarity": rdm,
            }
        )
        for name, rdm in rdms.items()
    ).with_columns(pl.col("dissimilarity").fill_nan(None))


def axes_table(
    maps: Mapping[tuple[str, str], tuple[Axes, np.ndarray]],
    attributes: Mapping[str, np.ndarray],
    config: GeometryConfig,
) -> pl.DataFrame:
    """Relate the axes of every space to valence and arousal.

    Args:
        maps: By space and method, the axes and which of their rows the attributes speak of.
        attributes: Values of these concepts.
        config: Numbers of permutations and samples.
    """
    rows = []
    for (space, method), (axes, known) in maps.items():
        for attribute, values in attributes.items():
            permutations = label_permutations(len(values), config.n_permutations, config.seed)
            many = len(values) >= config.min_concepts_interval
            found = correlate_axes(
                axes.coordinates[known],
                values,
                permutations,
                n_bootstrap=config.n_bootstrap if many else 0,
                confidence=config.confidence,
                seed=config.seed,
            )
            for axis in range(axes.coordinates.shape[1]):
                rows.append(
                    (
                        space,
                        method,
                        axis + 1,
                        axes.explained[axis],
                        attribute,
                        found.r[axis],
                        found.low[axis],
                        found.high[axis],
                        found.p[axis],
                        found.p_max[axis],
                        len(values),
                    )
                )
    schema = {
        "space": pl.String,
        "method": pl.String,
        "axis": pl.Int64,
        "explained": pl.Float64,
        "attribute": pl.String,
        "r": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "p": pl.Float64,
        "p_max": pl.Float64,
        "n_concepts": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


def coordinates_table(maps: Mapping[str, tuple[list[str], Axes]], config: GeometryConfig) -> pl.DataFrame:
    """Write the MDS coordinates of every space, and the leading ones aligned to the last space given.

    Args:
        maps: By space its concepts and axes; the last one is the map that the others are turned onto.
        config: Numbers of axes.
    """
    k = min(config.n_aligned, config.n_axes)
    names, fixed = list(maps.values())[-1]
    tables = []
    for space, (concepts, axes) in maps.items():
        shared = [concept for concept in concepts if concept in set(names)]
        mine = [concepts.index(concept) for concept in shared]
        theirs = [names.index(concept) for concept in shared]
        moved = align(axes.coordinates[mine, :k], fixed.coordinates[theirs, :k]).apply(
            axes.coordinates[:, :k]
        )
        columns: dict[str, object] = {"space": [space] * len(concepts), "concept": concepts}
        columns |= {
            f"axis_{axis + 1}": axes.coordinates[:, axis] for axis in range(axes.coordinates.shape[1])
        }
        columns |= {f"aligned_{axis + 1}": moved[:, axis] for axis in range(k)}
        tables.append(pl.DataFrame(columns))
    return pl.concat(tables)


def space_axes(spaces: Spaces, n_axes: int) -> dict[tuple[str, str], Axes]:
    """Return MDS and PCA axes of every space."""
    axes = {}
    for name, rdm in spaces.rdms.items():
        axes[name, "mds"] = classical_mds(rdm, n_axes)
        axes[name, "pca"] = principal_components(spaces.matrices[name], n_axes)
    return axes


def multiplicities(n: int, config: GeometryConfig) -> np.ndarray | None:
    """Draw the bootstrap samples of `n` concepts, or None where no interval is wanted or they are too few."""
    if not config.n_bootstrap or n < config.min_concepts_interval:
        return None
    return draw_multiplicities(n, config.n_bootstrap, config.seed)


def interval(
    estimate: np.ndarray,
    rdms: np.ndarray,
    raters: np.ndarray,
    comparator: str,
    counts: np.ndarray | None,
    config: GeometryConfig,
    merged: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval of each row's similarity over the concepts; NaN without samples.

    Args:
        estimate: Similarity of each row.
        rdms: RDMs of the rows; more than rows where `merged` averages some of them.
        raters: One RDM per rater.
        comparator: A `Comparator`.
        counts: Bootstrap samples, from `multiplicities`.
        config: Coverage.
        merged: Turns values of the RDMs into values of the rows.
    """
    if counts is None:
        return np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    samples = merged(bootstrap_scores(rdms, raters, comparator, counts))
    return fisher_interval(estimate, samples, counts.shape[1], config.confidence)
