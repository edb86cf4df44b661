"""The tables of a study: similarity to people, similarity between spaces, axes, coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.spatial.distance import pdist

from emosae.geometry.axes import Axes, classical_mds, correlate_axes, principal_components
from emosae.geometry.bootstrap import bootstrap_scores, draw_multiplicities, fisher_interval
from emosae.geometry.ceiling import mean_rdm, mean_rdm_ceiling, noise_ceiling
from emosae.geometry.comparators import compare, mean_over_raters
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import Human, Spaces
from emosae.geometry.permutation import (
    Permutations,
    label_permutations,
    mantel_null,
    permutation_p,
    score,
    target,
)
from emosae.geometry.procrustes import align
from emosae.geometry.rdm import pair_indices
from emosae.geometry.valence import partial_rho

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["attribute_rdms", "axes_table", "between_table", "coordinates_table", "rdm_table", "rsa_table"]

RSA_SCHEMA = {
    "space": pl.String,
    "role": pl.String,
    "comparator": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p": pl.Float64,
    "p_max": pl.Float64,
    "ceiling_lower": pl.Float64,
    "ceiling_upper": pl.Float64,
    "share_of_ceiling": pl.Float64,
    "score_mean_rdm": pl.Float64,
    "ci_low_mean_rdm": pl.Float64,
    "ci_high_mean_rdm": pl.Float64,
    "p_mean_rdm": pl.Float64,
    "ceiling_mean_rdm": pl.Float64,
    "partial_rho_given_valence": pl.Float64,
    "n_concepts": pl.Int64,
    "n_raters": pl.Int64,
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


def rsa_table(spaces: Spaces, human: Human, roles: Mapping[str, str], config: GeometryConfig) -> pl.DataFrame:
    """Compare every space, and valence and arousal themselves, with the raters: like with like.

    Every number of a row is the same measure for all rows: `score` the mean over raters of the similarity to
    the single rater, `score_mean_rdm` the similarity to the mean of all raters, each beside its own ceiling.
    """
    by_attribute = attribute_rdms(human.attributes)
    names = [*spaces.rdms, *by_attribute]
    role = [*(roles.get(name, "model") for name in spaces.rdms), *("attribute" for _ in by_attribute)]
    rdms = np.array([*(rdm[human.pairs] for rdm in spaces.rdms.values()), *by_attribute.values()])
    average = mean_rdm(human.raters)[None]
    n = len(human.concepts)
    permutations = label_permutations(n, config.n_permutations, config.seed)
    counts = _counts(n, config)
    partial = [
        partial_rho(rdm, human.raters, by_attribute["valence"])
        if "valence" in by_attribute and not name.startswith("valence")
        else None
        for name, rdm in zip(names, rdms, strict=True)
    ]
    rows = []
    for comparator in config.comparators:
        low, high = noise_ceiling(human.raters, comparator)
        own = mean_over_raters(rdms, human.raters, comparator)
        pooled = compare(rdms, average, comparator)[:, 0]
        p, p_max = _permuted(rdms, human.raters, comparator, permutations, np.array(role) == "model")
        p_pooled, _ = _permuted(rdms, average, comparator, permutations, np.zeros(len(rdms), dtype=bool))
        ci_low, ci_high = _interval(own, rdms, human.raters, comparator, counts, config)
        pooled_low, pooled_high = _interval(pooled, rdms, average, comparator, counts, config)
        ceiling_mean = mean_rdm_ceiling(human.raters, comparator, seed=config.seed)
        common = {
            "comparator": str(comparator),
            "ceiling_lower": low,
            "ceiling_upper": high,
            "ceiling_mean_rdm": ceiling_mean,
            "n_concepts": n,
            "n_raters": len(human.raters),
        }
        for index, name in enumerate(names):
            rows.append(
                common
                | {
                    "space": name,
                    "role": role[index],
                    "score": own[index],
                    "ci_low": ci_low[index],
                    "ci_high": ci_high[index],
                    "p": p[index],
                    "p_max": p_max[index],
                    "share_of_ceiling": own[index] / high if high > 0 else None,
                    "score_mean_rdm": pooled[index],
                    "ci_low_mean_rdm": pooled_low[index],
                    "ci_high_mean_rdm": pooled_high[index],
                    "p_mean_rdm": p_pooled[index],
                    "partial_rho_given_valence": partial[index],
                }
            )
        for name, bound, mean_bound in (("ceiling_lower", low, None), ("ceiling_upper", high, ceiling_mean)):
            rows.append(
                common | {"space": name, "role": "ceiling", "score": bound, "score_mean_rdm": mean_bound}
            )
    table = pl.DataFrame(rows, schema=RSA_SCHEMA)
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def between_table(spaces: Spaces, config: GeometryConfig) -> pl.DataFrame:
    """Compare every two spaces by the first comparator: two languages, a space and its baseline."""
    names, rdms = list(spaces.rdms), np.array(list(spaces.rdms.values()))
    comparator = config.comparators[0]
    n = len(spaces.concepts)
    permutations = label_permutations(n, config.n_permutations, config.seed)
    counts = _counts(n, config)
    rows = []
    for index, name in enumerate(names[:-1]):
        others, one = rdms[index + 1 :], rdms[index : index + 1]
        aim = target(one, comparator)
        similarity = compare(others, one, comparator)[:, 0]
        p = permutation_p(
            score(others, aim), mantel_null(others, aim, permutations), exact=permutations.exact
        )
        low, high = _interval(similarity, others, one, comparator, counts, config)
        for at, other in enumerate(names[index + 1 :]):
            rows.append((name, other, str(comparator), similarity[at], low[at], high[at], p[at], n))
    schema = {
        "space_a": pl.String,
        "space_b": pl.String,
        "comparator": pl.String,
        "score": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "p": pl.Float64,
        "n_concepts": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


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


def _counts(n: int, config: GeometryConfig) -> np.ndarray | None:
    if not config.n_bootstrap or n < config.min_concepts_interval:
        return None
    return draw_multiplicities(n, config.n_bootstrap, config.seed)


def _permuted(
    rdms: np.ndarray, raters: np.ndarray, comparator: str, permutations: Permutations, models: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Permutation p of each RDM, and for the models p of the best of them; NaN for the others."""
    aim = target(raters, comparator)
    observed, null = score(rdms, aim), mantel_null(rdms, aim, permutations)
    p_max = np.full(len(rdms), np.nan)
    if models.any():
        best = np.fmax.reduce(null[models], axis=0)
        p_max[models] = permutation_p(
            observed[models], np.broadcast_to(best, null[models].shape), exact=permutations.exact
        )
    return permutation_p(observed, null, exact=permutations.exact), p_max


def _interval(
    estimate: np.ndarray,
    rdms: np.ndarray,
    raters: np.ndarray,
    comparator: str,
    counts: np.ndarray | None,
    config: GeometryConfig,
) -> tuple[np.ndarray, np.ndarray]:
    if counts is None:
        return np.full(len(rdms), np.nan), np.full(len(rdms), np.nan)
    samples = bootstrap_scores(rdms, raters, comparator, counts)
    return fisher_interval(estimate, samples, counts.shape[1], config.confidence)
