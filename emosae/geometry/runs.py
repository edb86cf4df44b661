"""Other models: the spaces of this study beside those of earlier runs, read from the RDMs that these wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.artifacts import read_json
from emosae.errors import MissingFileError, UserError
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import MIN_SHARED, RESERVED, Notes, Spaces
from emosae.geometry.rdm import pair_indices, pair_numbers
from emosae.geometry.tables import Pairwise, compare_pairwise

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["RUNS_SCHEMA", "StoredSpaces", "check_runs", "compare_runs", "read_run", "space_kind"]

RUNS_SCHEMA = {
    "run": pl.String,
    "model": pl.String,
    "other_site": pl.String,
    "space": pl.String,
    "other_space": pl.String,
    "kind": pl.String,
    "comparator": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p": pl.Float64,
    "n_concepts": pl.Int64,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSpaces:
    """The spaces that an earlier run wrote.

    Attributes:
        run: The run's folder, as it was named.
        model: The name of its model.
        concepts: By site, its concepts.
        rdms: By site and space, dissimilarities in the order of `pdist`.
        dissimilarity: How they were made.
    """

    run: str
    model: str
    concepts: dict[str, list[str]]
    rdms: dict[tuple[str, str], Float[np.ndarray, " pairs"]]
    dissimilarity: str


def check_runs(runs: Sequence[str], dissimilarity: str) -> list[StoredSpaces]:
    """Read the runs that a study is compared with.

    Args:
        runs: Their folders.
        dissimilarity: How the study makes its RDMs; those of another kind are not compared.

    Raises:
        MissingFileError: A folder without the table of RDMs.
        UserError: A folder named twice, or RDMs made in another way.
    """
    twice = {run for run in runs if list(runs).count(run) > 1}
    if twice:
        raise UserError(f"geometry.compare must name each run once, got {sorted(twice)[0]!r} twice.")
    stored = [read_run(run) for run in runs]
    for one in stored:
        if one.dissimilarity != dissimilarity:
            raise UserError(
                f"The run {one.run!r} must have RDMs of the same kind ({dissimilarity}), got "
                f"{one.dissimilarity!r}. Use geometry.dissimilarity={one.dissimilarity}, or run it again."
            )
    return stored


def read_run(run: str) -> StoredSpaces:
    """Read the spaces of an earlier run from its folder.

    Raises:
        MissingFileError: The folder has no geometry.
    """
    folder = Path(run)
    path, values = folder / "tables" / "geometry_rdms.parquet", folder / "tables" / "geometry.json"
    for file in (path, values):
        if not file.is_file():
            raise MissingFileError.at(
                f"The emotion space of the run {run!r}",
                file,
                "Name the folder of a finished `emosae geometry`.",
            )
    table = pl.read_parquet(path).filter(~pl.col("space").is_in(RESERVED))
    concepts: dict[str, list[str]] = {}
    rdms = {}
    for (site, space), rows in table.group_by("site", "space", maintain_order=True):
        names = list(dict.fromkeys([*rows["concept_a"], *rows["concept_b"]]))
        place = {name: row for row, name in enumerate(names)}
        rdm = np.full(len(names) * (len(names) - 1) // 2, np.nan)
        number = pair_numbers(len(names))
        at = [number[place[a], place[b]] for a, b in rows.select("concept_a", "concept_b").iter_rows()]
        rdm[at] = rows["dissimilarity"].to_numpy()
        concepts[str(site)] = names
        rdms[str(site), str(space)] = rdm
    manifest = read_json(folder / "manifest.json") if (folder / "manifest.json").is_file() else {}
    named = manifest.get("inputs", {}).get("name")
    return StoredSpaces(
        run=run,
        model=str(named or folder.name),
        concepts=concepts,
        rdms=rdms,
        dissimilarity=str(next(iter(read_json(values).values()))["dissimilarity"]),
    )


def space_kind(name: str) -> str:
    """Return a space's name without its language, by which spaces of two runs are put side by side.

    Example:
        >>> space_kind("features_en"), space_kind("matched_control")
        ('features', 'matched_control')
    """
    return re.sub(r"_[a-z]{2,3}$", "", name)


def compare_runs(spaces: Spaces, config: GeometryConfig, notes: Notes) -> pl.DataFrame:
    """Compare every space with those of the same kind in earlier runs, at each of their sites.

    Features stand beside features, the raw residual beside the raw residual, static embeddings beside static
    embeddings, so that what two models share in their features is read beside what their baselines share.
    Languages are crossed: a study of English and a run of Chinese have one row for each pair.

    Args:
        spaces: The spaces of this study.
        config: The runs, comparator, numbers.
        notes: Takes the concepts that only one side has.

    Returns:
        A row for each run, site of it and pair of spaces, with the interval over concepts and the p of permuted
        labels, as in `between`.

    Raises:
        UserError: A run shares fewer than four concepts with the study.
    """
    rows = []
    for stored in check_runs(config.compare, config.dissimilarity):
        for site, theirs in stored.concepts.items():
            shared = [concept for concept in spaces.concepts if concept in set(theirs)]
            if len(shared) < MIN_SHARED:
                raise UserError(
                    f"The study and the run {stored.run!r} must share at least {MIN_SHARED} concepts, "
                    f"got {len(shared)}: {shared!r}. Compare runs of one concept set."
                )
            apart = sorted(set(spaces.concepts) ^ set(theirs))
            if apart:
                notes.append(
                    (
                        "runs",
                        f"Compared with {stored.run} on {len(shared)} concepts; not in both: {', '.join(apart)}.",
                    )
                )
            mine = {name: _on(rdm, spaces.concepts, shared) for name, rdm in spaces.rdms.items()}
            their = {
                name: _on(rdm, theirs, shared) for (where, name), rdm in stored.rdms.items() if where == site
            }
            for name, rdm in mine.items():
                alike = {
                    other: rdms for other, rdms in their.items() if space_kind(other) == space_kind(name)
                }
                if not alike:
                    continue
                found: Pairwise = compare_pairwise(rdm, np.array(list(alike.values())), len(shared), config)
                for row, other in enumerate(alike):
                    rows.append(
                        {
                            "run": stored.run,
                            "model": stored.model,
                            "other_site": site,
                            "space": name,
                            "other_space": other,
                            "kind": space_kind(name),
                            "comparator": str(config.comparators[0]),
                            "n_concepts": len(shared),
                        }
                        | found.row(row)
                    )
    return pl.DataFrame(rows, schema=RUNS_SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _on(rdm: np.ndarray, concepts: Sequence[str], wanted: Sequence[str]) -> Float[np.ndarray, " pairs"]:
    """Take an RDM's pairs of some of its concepts, in their order."""
    place = np.array([list(concepts).index(concept) for concept in wanted])
    first, second = pair_indices(len(wanted))
    return np.asarray(rdm[pair_numbers(len(concepts))[place[first], place[second]]])
