"""Similarity judgements: from a file or folder and its registry entry to raters x pairs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import Kind, Layout, NormEntry, check_entry, scale_of
from emosae.norms.files import require, warn_on_mismatch
from emosae.norms.sheet import numbers, read_sheet

__all__ = ["HumanSimilarity", "load_similarity"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class HumanSimilarity:
    """How unlike people find concepts.

    Attributes:
        name: Name of the data set.
        language: Language in which the raters judged.
        concepts: The concepts, in the order of the pairs.
        raters: Dissimilarity [n_raters, n_pairs] float64 on `scale`, NaN where a rater gave none; pairs in
            the order of `scipy.spatial.distance.pdist`. One row where only the mean over raters is known.
        mean: Mean over the raters that judged the pair, [n_pairs].
        attributes: `concept` and a column for each attribute people rated (arousal, valence, …), in the unit
            of the file; only `concept` where there are none.
        scale: Low and high end of the dissimilarity scale.
        n_filled: Values in `raters` between the steps a rater could give: missing ones that the authors
            filled in.
        path: The file or folder.
        checksum_ok: Whether the files are those the entry was checked against; None where none is known.
    """

    name: str
    language: str
    concepts: tuple[str, ...]
    raters: np.ndarray
    mean: np.ndarray
    attributes: pl.DataFrame
    scale: tuple[float, float]
    n_filled: int
    path: Path
    checksum_ok: bool | None


def load_similarity(entry: NormEntry) -> HumanSimilarity:
    """Read a data set of similarity judgements.

    Args:
        entry: The registry entry, of kind `similarity`.

    Returns:
        Dissimilarities by rater and pair; similarities are turned round on their scale.

    Raises:
        MissingFileError: The files are not on this machine.
        UserError: Numbers of concepts and pairs that do not go together, a value outside the scale, an
            asymmetric matrix, a pair that nobody judged.
    """
    check_entry(entry)
    if entry.kind is not Kind.similarity:
        raise UserError(_OTHER_KIND[entry.kind].format(name=entry.name))
    path = require(entry)
    checksum_ok = warn_on_mismatch(entry, path)
    concepts, raters = {Layout.pairs: _read_pairs, Layout.square: _read_square}[entry.layout](entry, path)
    _check_concepts(entry, concepts)
    _check_values(entry, concepts, raters)
    if not entry.dissimilarity:
        raters = sum(scale_of(entry, "similarity")) - raters
    known = np.isfinite(raters)
    unjudged = np.flatnonzero(~known.any(axis=0))
    if unjudged.size:
        raise UserError(
            f"Every pair of {entry.name} must be judged by somebody, and {_pair(concepts, unjudged[0])} is "
            f"not ({unjudged.size} such pairs). Leave those concepts out of the file."
        )
    steps = raters[known] / entry.step if entry.step else np.zeros(0)
    return HumanSimilarity(
        name=entry.name,
        language=entry.language,
        concepts=tuple(concepts),
        raters=raters,
        mean=np.nanmean(raters, axis=0),
        attributes=_read_attributes(entry, path, concepts),
        scale=scale_of(entry, "similarity"),
        n_filled=int((np.abs(steps - np.round(steps)) > 1e-9).sum()),
        path=path,
        checksum_ok=checksum_ok,
    )


def _matrix(rows: list[list[str]], entry: NormEntry, width: int) -> np.ndarray:
    """Turn text cells into float64 [rows, width], NaN where a cell holds no number."""
    frame = pl.DataFrame(rows, schema=[str(i) for i in range(width)], orient="row")
    values = frame.cast(pl.String).select(numbers(pl.all(), decimal=entry.decimal, missing=entry.missing))
    return values.fill_null(float("nan")).to_numpy().astype(np.float64)


def _number_row(cells: list[str], entry: NormEntry) -> bool:
    """Tell a row of values from a row of names: most of its cells are numbers."""
    return bool(cells) and float(np.isfinite(_matrix([cells], entry, len(cells))).mean()) > 0.5


_OTHER_KIND = {
    Kind.ratings: "{name} holds word ratings, not similarity judgements. Use load_ratings.",
    Kind.associations: "{name} holds word associations, not similarity judgements. Make concepts from its file "
    "with emosae.concepts.associations, and name similarity judgements in norms.",
}


def _read_pairs(entry: NormEntry, path: Path) -> tuple[list[str], np.ndarray]:
    names = read_sheet(path / entry.parts["concepts"], entry, header=False).rows
    concepts = [row[0].strip() for row in names]
    n_pairs = len(concepts) * (len(concepts) - 1) // 2
    file = path / entry.parts["raters"]
    rows = read_sheet(file, entry, header=False).rows
    if rows and not _number_row(rows[0], entry):
        rows = rows[1:]
    width = len(rows[0]) if rows else 0
    if width == n_pairs + 1:  # a first column that names the rater
        rows, width = [row[1:] for row in rows], n_pairs
    if width != n_pairs:
        raise UserError(
            f"{file} must have a column for each of the {n_pairs} pairs of the {len(concepts)} concepts in "
            f"{entry.parts['concepts']}, and has {width}. Give files that go together."
        )
    return concepts, _matrix(rows, entry, width)


def _read_square(entry: NormEntry, path: Path) -> tuple[list[str], np.ndarray]:
    file = path / entry.parts["raters"] if entry.parts else path
    sheet = read_sheet(file, entry)
    concepts, rows = sheet.header, sheet.rows
    named = [row[0].strip() for row in rows]
    if len(concepts) == len(rows) + 1 and not _number_row(named, entry):  # a first column repeats the names
        concepts = concepts[1:]
        if concepts != named:
            raise UserError(
                f"Rows and columns of {file} must name the same concepts in the same order. Reorder them."
            )
        rows = [row[1:] for row in rows]
    if len(concepts) != len(rows):
        raise UserError(
            f"{file} must be a square matrix with a header of names, and has {len(rows)} rows for "
            f"{len(concepts)} names. Give one row per concept."
        )
    square = _matrix(rows, entry, len(concepts))
    _check_diagonal(square, entry, file)
    # Half a matrix is common: the other half is then the same by definition.
    upper, lower = np.triu_indices(len(concepts), 1), np.triu_indices(len(concepts), 1)[::-1]
    above, below = square[upper], square[lower]
    low, high = scale_of(entry, "similarity")
    unlike = np.abs(above - below) > 1e-6 * abs(high - low)
    if unlike.any():
        at = int(np.flatnonzero(unlike)[0])
        raise UserError(
            f"{file} must be symmetric, but {_pair(concepts, at)} is {above[at]:g} one way and {below[at]:g} "
            "the other. Average the two halves."
        )
    return concepts, np.where(np.isfinite(above), above, below)[None, :]


def _check_diagonal(square: np.ndarray, entry: NormEntry, file: Path) -> None:
    """Refuse similarities that are declared as dissimilarities, and the other way round."""
    own, others = np.diag(square), square[~np.eye(len(square), dtype=bool)]
    own, others = own[np.isfinite(own)], others[np.isfinite(others)]
    if (
        own.size
        and others.size
        and (own.mean() > others.mean()) == entry.dissimilarity
        and own.mean() != others.mean()
    ):
        kind, other = ("dissimilarities", "false") if entry.dissimilarity else ("similarities", "true")
        raise UserError(
            f"{file} must hold {kind}, but its diagonal says that concepts are "
            f"{'unlike' if entry.dissimilarity else 'like'} others less than themselves. Set "
            f"norms.{entry.name}.dissimilarity={other}."
        )


def _read_attributes(entry: NormEntry, path: Path, concepts: list[str]) -> pl.DataFrame:
    """Read what people said of each concept by itself; rows without names are in the concepts' order."""
    own = pl.DataFrame({"concept": concepts}, schema={"concept": pl.String})
    if "attributes" not in entry.parts:
        return own
    file = path / entry.parts["attributes"]
    sheet = read_sheet(file, entry)
    table = pl.DataFrame(sheet.rows, schema=sheet.header, orient="row")
    if "concept" in table.columns:
        table = own.join(table, on="concept", how="left", maintain_order="left").drop("concept")
    if table.height != len(concepts):
        raise UserError(
            f"{file} must have a row for each of the {len(concepts)} concepts, and has {table.height}. Give "
            "files that go together."
        )
    values = table.select(numbers(pl.all(), decimal=entry.decimal, missing=entry.missing))
    return pl.concat([own, values], how="horizontal")


def _check_concepts(entry: NormEntry, concepts: list[str]) -> None:
    if len(concepts) < 3 or len(set(concepts)) < len(concepts) or "" in concepts:
        raise UserError(
            f"{entry.name} must compare at least 3 concepts with different names, got {concepts[:30]}. "
            "Correct the names in the file."
        )


def _check_values(entry: NormEntry, concepts: list[str], raters: np.ndarray) -> None:
    low, high = sorted(scale_of(entry, "similarity"))
    slack = 1e-6 * (high - low)
    with np.errstate(invalid="ignore"):
        outside = np.argwhere((raters < low - slack) | (raters > high + slack))
    if len(outside):
        rater, pair = outside[0]
        raise UserError(
            f"Judgements of {entry.name} must lie on its scale {low:g} to {high:g}, but row {rater + 1} "
            f"gives {raters[rater, pair]:g} for {_pair(concepts, pair)} ({len(outside)} such values). "
            f"Correct the scale (norms.{entry.name}.scale_min, scale_max)."
        )


def _pair(concepts: list[str], index: int) -> str:
    first, second = (int(side[index]) for side in np.triu_indices(len(concepts), 1))
    return f"{concepts[first]}-{concepts[second]}"
