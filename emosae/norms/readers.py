"""Word ratings: from a file and its registry entry to one table, with what was lost on the way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emosae.errors import UserError, unknown_name
from emosae.norms.combine import MULTIWORD, combine, finish, rescale
from emosae.norms.entry import (
    DIMENSIONS,
    Kind,
    Multiword,
    NormEntry,
    check_entry,
    dimension_of,
    group_of,
    scale_of,
)
from emosae.norms.files import require, warn_on_mismatch
from emosae.norms.sheet import Sheet, numbers, read_sheet

__all__ = ["Ratings", "load_ratings", "merge"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratings:
    """Ratings of words, one row per word and language.

    Attributes:
        name: Name of the data set; joined with `+` after `merge`.
        language: Its language; joined with `+` after `merge` of several.
        table: Columns `word`, `language`, `multiword` (entry of several words, or with a gloss in brackets), each
            rated dimension in the file's own unit, its `_sd` and `_n` (number of raters) where given, and
            `_scaled` in [-1, 1]; `concepticon_id`, `frequency`, and GROUP_valence, GROUP_valence_sd, … where given.
        scales: Low and high end of each dimension's scale.
        dropped: Rows left out: `line` of the file, `word`, `reason`.
        duplicated: Words that occurred more than once and were averaged: `word`, `rows`.
        unread: Cells of optional columns that hold no number and became null: `column`, `cells`, `example`.
        n_rows: Rows of the file.
        path: The file; None after `merge`.
        checksum_ok: Whether it is the file the entry was checked against; None where no checksum is known.
    """

    name: str
    language: str
    table: pl.DataFrame
    scales: dict[str, tuple[float, float]]
    dropped: pl.DataFrame
    duplicated: pl.DataFrame
    unread: pl.DataFrame
    n_rows: int
    path: Path | None
    checksum_ok: bool | None

    def __len__(self) -> int:
        return self.table.height

    @property
    def dimensions(self) -> list[str]:
        """The rated dimensions that are there, in the order valence, arousal, dominance."""
        return [dimension for dimension in DIMENSIONS if dimension in self.table.columns]

    @property
    def groups(self) -> list[str]:
        """The groups of raters whose means are given apart, e.g. `male`."""
        return list(dict.fromkeys(g for column in self.table.columns if (g := group_of(column)) is not None))

    def group(self, name: str) -> pl.DataFrame:
        """Return one group's ratings as a table of its own.

        Returns:
            `word`, `language` and the group's columns without the group's name: `valence`, `valence_sd`, …

        Raises:
            UserError: No group of that name.
        """
        if name not in self.groups:
            raise unknown_name(f"group of raters in {self.name}", name, self.groups)
        own = {column: column[len(name) + 1 :] for column in self.table.columns if group_of(column) == name}
        return self.table.select("word", "language", *own).rename(own)

    def summary(self) -> str:
        """Say in one line what was read and what was lost."""
        lost = f"{self.dropped.height} rows dropped" if self.dropped.height else "no row dropped"
        twice = (
            f"{self.duplicated.height} repeated words averaged"
            if self.duplicated.height
            else "no word repeated"
        )
        other = "; not the file that was checked" if self.checksum_ok is False else ""
        return f"{self.name}: {len(self):,} words ({self.language}) from {self.n_rows:,} rows, {lost}, {twice}{other}"


def load_ratings(entry: NormEntry) -> Ratings:
    """Read a data set of word ratings.

    A word is any text: `NA`, `null` and `TRUE` are words. Outer blanks go, capitals stay, and a word counts as
    repeated when it is the same string; repeated words are averaged (standard deviations as root mean square,
    raters summed). A row without a word, or with no number for valence or arousal, is dropped and recorded.

    Args:
        entry: The registry entry, of kind `ratings`.

    Returns:
        The ratings, in the order in which words first occur in the file.

    Raises:
        MissingFileError: The file is not on this machine.
        UserError: A column is not there, more than half of the rows are lost, a rating lies outside the scale.

    Example:
        >>> load_ratings(find("warriner")).table.filter(pl.col("word") == "love")["valence"].item()  # doctest: +SKIP
        8.0
    """
    check_entry(entry)
    if entry.kind is not Kind.ratings:
        raise UserError(
            f"{entry.name} holds {entry.kind.value} judgements, not word ratings. Use load_similarity."
        )
    path = require(entry)
    checksum_ok = warn_on_mismatch(entry, path)
    sheet = read_sheet(path, entry)
    raw = _text_columns(sheet, entry, path)
    rows = raw.with_columns(
        numbers(pl.col(column), decimal=entry.decimal, missing=entry.missing) for column in _numeric(entry)
    ).with_columns(pl.col("word").str.strip_chars())
    reasons = _reasons(entry, raw)
    judged = rows.with_columns(reason=reasons)
    dropped = pl.concat([_odd_rows(sheet), judged.filter(pl.col("reason").is_not_null()).select(_DROPPED)])
    kept = judged.filter(pl.col("reason").is_null()).drop("reason")
    if entry.multiword is Multiword.drop:
        several = kept.filter(MULTIWORD).select("line", "word", reason=pl.lit("several words"))
        kept = kept.filter(~MULTIWORD)
    else:
        several = pl.DataFrame(schema=_DROPPED)
    _check_losses(entry, path, sheet, raw, dropped)
    _check_scale(entry, path, kept)
    scales = {d: scale_of(entry, d) for d in DIMENSIONS if d in map(dimension_of, entry.columns)}
    table = combine(kept.drop("line").with_columns(language=pl.lit(entry.language)))
    ratings = Ratings(
        name=entry.name,
        language=entry.language,
        table=finish(table, scales),
        scales=scales,
        dropped=pl.concat([dropped, several]).sort("line"),
        duplicated=kept.group_by("word", maintain_order=True).agg(rows=pl.len()).filter(pl.col("rows") > 1),
        unread=_unread(entry, raw, rows, judged["reason"].is_null()),
        n_rows=len(sheet.rows) + len(sheet.odd),
        path=path,
        checksum_ok=checksum_ok,
    )
    log.info("%s", ratings.summary())
    return ratings


def merge(ratings: Sequence[Ratings]) -> Ratings:
    """Put several data sets into one, on the common scale [-1, 1].

    A word that several sets of its language rate gets the mean of their rescaled ratings. Its standard deviation
    and number of raters are kept only where every set that rates the word gives them, so that a reliability
    computed from them is that of the mean.

    Args:
        ratings: At least one data set; a single one is returned as it is.

    Returns:
        The merged ratings: every rating, deviation and scale in units of [-1, 1], with a column `sources`.

    Raises:
        UserError: There is none, or two have the same name.
    """
    names = [one.name for one in ratings]
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"The data sets to merge must be different ones, at least one, got {names}. Name each once."
        )
    if len(ratings) == 1:
        return ratings[0]
    derived = pl.selectors.ends_with("_scaled") | pl.selectors.by_name("multiword")
    tables = [
        rescale(one.table.drop(derived), one.scales).with_columns(sources=pl.lit(one.name)) for one in ratings
    ]
    table = combine(pl.concat(tables, how="diagonal"))
    common = {d: (-1.0, 1.0) for one in ratings for d in one.scales}
    return Ratings(
        name="+".join(names),
        language="+".join(dict.fromkeys(one.language for one in ratings)),
        table=finish(table, common),
        scales=common,
        dropped=pl.concat([one.dropped for one in ratings]),
        duplicated=pl.concat([one.duplicated for one in ratings]),
        unread=pl.concat([one.unread for one in ratings]),
        n_rows=sum(one.n_rows for one in ratings),
        path=None,
        checksum_ok=_all_ok([one.checksum_ok for one in ratings]),
    )


_DROPPED = {"line": pl.Int64, "word": pl.String, "reason": pl.String}


def _numeric(entry: NormEntry) -> list[str]:
    return [column for column in entry.columns if column not in {"word", "concepticon_id"}]


def _needed(entry: NormEntry) -> list[str]:
    return [dimension for dimension in ("valence", "arousal") if dimension in entry.columns]


def _text_columns(sheet: Sheet, entry: NormEntry, path: Path) -> pl.DataFrame:
    cells = {
        meaning: sheet.column(header, f"{path} ({entry.name})") for meaning, header in entry.columns.items()
    }
    return pl.DataFrame(
        {"line": sheet.lines, **cells}, schema={"line": pl.Int64, **dict.fromkeys(cells, pl.String)}
    )


def _odd_rows(sheet: Sheet) -> pl.DataFrame:
    width = len(sheet.header)
    return pl.DataFrame(
        {
            "line": [line for line, _ in sheet.odd],
            "word": ["" for _ in sheet.odd],
            "reason": [f"{n} cells instead of {width}" for _, n in sheet.odd],
        },
        schema=_DROPPED,
    )


def _reasons(entry: NormEntry, raw: pl.DataFrame) -> pl.Series:
    """Say for each row why it cannot be used; null where it can."""
    reason = pl.when(pl.col("word").str.strip_chars() == "").then(pl.lit("no word"))
    for column in _needed(entry):
        text = pl.col(column).str.strip_chars()
        no_number = numbers(pl.col(column), decimal=entry.decimal, missing=entry.missing).is_null()
        reason = reason.when(no_number & (text == "")).then(pl.lit(f"{column} is blank"))
        reason = reason.when(no_number).then(pl.format(f"{column} is '{{}}', not a number", text))
    return raw.select(reason=reason.otherwise(None))["reason"].cast(pl.String)


def _unread(entry: NormEntry, raw: pl.DataFrame, rows: pl.DataFrame, usable: pl.Series) -> pl.DataFrame:
    """Count, for each optional column, the usable rows whose cell became null."""
    found = []
    for column in _numeric(entry):
        lost = raw[column].filter(rows[column].is_null() & usable)
        if column not in _needed(entry) and len(lost):
            found.append((column, len(lost), lost[0]))
    return pl.DataFrame(
        found, schema={"column": pl.String, "cells": pl.Int64, "example": pl.String}, orient="row"
    )


def _check_losses(
    entry: NormEntry, path: Path, sheet: Sheet, raw: pl.DataFrame, dropped: pl.DataFrame
) -> None:
    n_rows = len(sheet.rows) + len(sheet.odd)
    if 2 * dropped.height <= n_rows and n_rows:
        return
    if not n_rows:
        raise UserError(f"{path} must hold rated words, and has only a header. Give another file.")
    first = dropped.sort("line").row(0, named=True)
    commas = raw.select(
        pl.any_horizontal(pl.col(c).str.contains(r"^\s*-?\d+,\d+\s*$").any() for c in _needed(entry))
    )
    if entry.decimal == "." and commas.item():
        advice = f"The numbers have decimal commas: set norms.{entry.name}.decimal=','."
    else:
        advice = "Check that columns, delimiter, quote and decimal describe this file."
    raise UserError(
        f"At least half of the rows of {path} must be usable as {entry.name}, but {dropped.height} of "
        f"{n_rows} are "
        f"not; the first is line {first['line']}: {first['reason']}. {advice}"
    )


def _check_scale(entry: NormEntry, path: Path, kept: pl.DataFrame) -> None:
    """Refuse means outside the declared scale: the scale is wrong, or the column is another one."""
    for column in kept.columns:
        dimension = dimension_of(column)
        if dimension is None or column.endswith(("_sd", "_n")):
            continue
        low, high = sorted(scale_of(entry, dimension))
        slack = 1e-6 * (high - low)
        outside = kept.filter((pl.col(column) < low - slack) | (pl.col(column) > high + slack))
        if outside.height:
            row = outside.row(0, named=True)
            raise UserError(
                f"Ratings of {entry.name} must lie on its scale {low:g} to {high:g}, but line {row['line']} "
                f"of {path} "
                f"gives {column} {row[column]:g} for {row['word']!r} ({outside.height} such rows). Correct "
                "the scale "
                f"(norms.{entry.name}.scale_min, scale_max), or list codes for `no value` in "
                f"norms.{entry.name}.missing."
            )


def _all_ok(flags: list[bool | None]) -> bool | None:
    if False in flags:
        return False
    return None if None in flags else True
