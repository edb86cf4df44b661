"""The table of tests: more than valence, and maps that fit each other."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from emosae.geometry.axes import Axes
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import Human, Notes, Spaces
from emosae.geometry.permutation import label_permutations
from emosae.geometry.procrustes import procrustes_test
from emosae.geometry.valence import MIN_CONCEPTS, beyond_valence

__all__ = ["TEST_SCHEMA", "beyond_rows", "procrustes_rows"]

TEST_SCHEMA = {
    "test": pl.String,
    "space": pl.String,
    "other": pl.String,
    "comparator": pl.String,
    "statistic": pl.Float64,
    "expected": pl.Float64,
    "p": pl.Float64,
    "n_permutations": pl.Int64,
    "exact": pl.Boolean,
    "n_concepts": pl.Int64,
}


def beyond_rows(
    spaces: Spaces, people: Human | None, config: GeometryConfig, notes: Notes
) -> list[tuple[object, ...]]:
    """Test in every space whether it agrees with people in more than valence."""
    if people is None or "valence" not in people.attributes:
        return []
    if len(people.concepts) < MIN_CONCEPTS:
        notes.append(
            ("beyond_valence", f"Left out: {len(people.concepts)} concepts, {MIN_CONCEPTS} are needed.")
        )
        return []
    rows: list[tuple[object, ...]] = []
    for name, matrix in spaces.matrices.items():
        found = beyond_valence(
            matrix[people.rows],
            people.attributes["valence"],
            people.raters,
            dissimilarity=config.dissimilarity,
            method=config.comparators[0],
            residuals=config.residuals,
            n_permutations=config.n_permutations,
            seed=config.seed,
        )
        rows.append(
            (
                "beyond_valence",
                name,
                "human",
                str(config.comparators[0]),
                found.score,
                found.expected,
                found.p,
                found.n_permutations,
                False,
                len(people.concepts),
            )
        )
    return rows


def procrustes_rows(
    maps: Mapping[str, tuple[list[str], Axes]], config: GeometryConfig
) -> list[tuple[object, ...]]:
    """Align every two maps and test whether they fit."""
    k = min(config.n_aligned, config.n_axes)
    rows: list[tuple[object, ...]] = []
    names = list(maps)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            (concepts, axes), (others, other_axes) = maps[name], maps[other]
            shared = [concept for concept in concepts if concept in set(others)]
            permutations = label_permutations(len(shared), config.n_permutations, config.seed)
            correlation, p = procrustes_test(
                axes.coordinates[[concepts.index(c) for c in shared], :k],
                other_axes.coordinates[[others.index(c) for c in shared], :k],
                permutations,
            )
            rows.append(
                (
                    "procrustes",
                    name,
                    other,
                    None,
                    correlation,
                    None,
                    p,
                    len(permutations.orders),
                    permutations.exact,
                    len(shared),
                )
            )
    return rows
