"""Concepts without feeling through the same pipeline: their map, and whether they lie along valence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.geometry.axes import classical_mds
from emosae.geometry.config import GeometryConfig
from emosae.geometry.direction import MIN_EMOTIONS, spread_interval, valence_axis
from emosae.geometry.inputs import Notes, Spaces
from emosae.geometry.rdm import compute_rdm, undefined_rows
from emosae.geometry.tables import rdm_table

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = [
    "CONTROL_MAP_SCHEMA",
    "CONTROL_RDM_SCHEMA",
    "CONTROL_SCHEMA",
    "ControlSet",
    "control_coordinates",
    "control_rdms",
    "control_table",
]

CONTROL_SCHEMA = {
    "space": pl.String,
    "r_valence": pl.Float64,
    "share": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "statistic": pl.Float64,
    "expected": pl.Float64,
    "p": pl.Float64,
    "n_concepts": pl.Int64,
    "n_control": pl.Int64,
    "n_permutations": pl.Int64,
}
CONTROL_RDM_SCHEMA = {
    "space": pl.String,
    "concept_a": pl.String,
    "concept_b": pl.String,
    "dissimilarity": pl.Float64,
}
CONTROL_MAP_SCHEMA = {"space": pl.String, "concept": pl.String, "valence_predicted": pl.Float64}


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlSet:
    """Concepts without feeling, in the coordinates of the study's spaces.

    Attributes:
        concepts: The rows.
        matrices: Control concepts x coordinates, for spaces of the study by their names.
    """

    concepts: Sequence[str]
    matrices: Mapping[str, Float[np.ndarray, "control k"]]


def control_table(
    spaces: Spaces,
    known: Mapping[str, np.ndarray],
    rows: Int[np.ndarray, " known"],
    control: ControlSet,
    config: GeometryConfig,
    notes: Notes,
) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """Test every space for a valence axis of the control concepts.

    Args:
        spaces: The emotions' spaces.
        known: Valence of those emotions for which it is known, among other attributes.
        rows: Their rows in the spaces.
        control: The control concepts.
        config: Number of shuffles, coverage, seed.
        notes: Takes what is left out.

    Returns:
        The rows of `CONTROL_SCHEMA`, and by space where each control concept lies on the valence axis.
    """
    if "valence" not in known or len(rows) < MIN_EMOTIONS or len(control.concepts) < 2:
        notes.append(
            ("control", f"No valence axis: it needs the valence of {MIN_EMOTIONS} emotions at least.")
        )
        return pl.DataFrame(schema=CONTROL_SCHEMA), {}
    found, projected = [], {}
    for name, matrix in control.matrices.items():
        if name not in spaces.matrices:
            continue
        axis = valence_axis(
            spaces.matrices[name][rows],
            known["valence"],
            matrix,
            n_permutations=config.n_permutations,
            seed=config.seed,
        )
        low, high = float("nan"), float("nan")
        if axis.learnt:
            low, high = spread_interval(axis.emotions, axis.control, config.confidence)
        else:
            notes.append(
                (name, "Valence cannot be read from it, so it has no axis to hold the control against.")
            )
        projected[name] = axis.control
        found.append(
            {
                "space": name,
                "r_valence": axis.r_valence,
                "share": axis.share,
                "ci_low": low,
                "ci_high": high,
                "statistic": axis.statistic,
                "expected": axis.expected,
                "p": axis.p,
                "n_concepts": len(rows),
                "n_control": len(matrix),
                "n_permutations": axis.n_permutations,
            }
        )
    table = pl.DataFrame(found, schema=CONTROL_SCHEMA)
    return table.with_columns(pl.col(pl.Float64).fill_nan(None)), projected


def control_rdms(
    control: ControlSet, names: Sequence[str], dissimilarity: str, notes: Notes
) -> dict[str, tuple[list[str], np.ndarray]]:
    """Return the RDM of the control concepts in each space, with the concepts that it holds.

    A concept that does not vary in a space is left out of that space alone, and noted: the spaces of the
    control set are looked at one by one.
    """
    result = {}
    for name in names:
        matrix = control.matrices[name]
        undefined = undefined_rows(matrix, dissimilarity)
        kept = [concept for concept, gone in zip(control.concepts, undefined, strict=True) if not gone]
        if undefined.any():
            gone = ", ".join(sorted(set(control.concepts) - set(kept)))
            notes.append((name, f"Control concepts that do not vary in it: {gone}."))
        if len(kept) >= 3:
            result[name] = (kept, compute_rdm(matrix[~undefined], dissimilarity))
    return result


def control_coordinates(
    control: ControlSet,
    rdms: Mapping[str, tuple[list[str], np.ndarray]],
    projected: Mapping[str, np.ndarray],
    config: GeometryConfig,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write the control concepts' RDMs pair by pair, and their MDS axes with the valence predicted for each."""
    tables, pairs = [], []
    place = {concept: row for row, concept in enumerate(control.concepts)}
    for name, (concepts, rdm) in rdms.items():
        axes = classical_mds(rdm, config.n_axes)
        columns: dict[str, object] = {"space": [name] * len(concepts), "concept": concepts}
        columns |= {f"axis_{axis + 1}": axes.coordinates[:, axis] for axis in range(config.n_axes)}
        columns |= {
            f"explained_{axis + 1}": [axes.explained[axis]] * len(concepts) for axis in range(config.n_axes)
        }
        own = projected.get(name)
        columns["valence_predicted"] = pl.Series(
            [None if own is None else float(own[place[concept]]) for concept in concepts], dtype=pl.Float64
        )
        tables.append(pl.DataFrame(columns))
        pairs.append(rdm_table(concepts, {name: rdm}))
    return pl.concat(pairs), pl.concat(tables)
