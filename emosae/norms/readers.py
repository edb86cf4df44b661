"""Reading word ratings: from a file and its registry entry to one table, with what was lost on the way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import (
    DIMENSIONS,
    Kind,
    Multiword,
    NormEntry,
    check_entry,
    dimension_of,
    scale_of,
)
from emosae.norms.files import require, warn_on_mismatch
from emosae.norms.look import complete
from emosae.norms.ratings import MULTIWORD, Ratings, combine, finish
from emosae.norms.sheet import Sheet, numbers, read_sheet

__all__ = ["load_ratings"]

log = logging.getLogger(__name__)


def load_ratings(entry: NormEntry) -> Ratings:
    """Read a data set of word ratings.

    A word is any text: `NA`, `null` and `TRUE` are words. Outer blanks go, capitals stay, and a word counts
    as repeated when it is the same string; repeated words are averaged (standard deviations as root mean
    square, raters summed). A row without a word, or with no number for valence or arousal, is dropped and
    recorded. Where the entry names no columns the file is looked at, and what was found is logged as a warning.

    Args:
        entry: The registry entry, of kind `ratings`.

    Returns:
        The ratings, in the order in which words first occur in the file.

    Raises:
        MissingFileError: The file is not on this machine.
        UserError: A column is not there (or not found by looking, where the entry names none), more than half of
            the rows are lost, a rating is outside its scale.

    Example:
        >>> load_ratings(find("warriner")).table["word", "valence"].row(0)  # doctest: +SKIP
        ('aardvark', 6.26)
    """
    check_entry(entry)
    if entry.kind is not Kind.ratings:
        raise UserError(_OTHER_KIND[entry.kind].format(name=entry.name))
    path = require(entry)
    checksum_ok = warn_on_mismatch(entry, path)
    entry, found = complete(entry, path)
    if found:
        log.warning(
            "%s was never checked against its file, which was looked at: %s", entry.name, " ".join(found)
        )
    sheet = read_sheet(path, entry)
    raw = _text_columns(sheet, entry, path)
    rows = raw.with_columns(
        numbers(pl.col(column), decimal=entry.decimal, missing=entry.missing) for column in _numeric(entry)
    ).with_columns(pl.col("word").str.strip_chars())
    reasons = _reasons(entry, raw)
    judged = rows.with_columns(reason=reasons)
    dropped = pl.concat([_odd_rows(sheet), judged.filter(pl.col("reason").is_not_null()).select(*_DROPPED)])
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


_OTHER_KIND = {
    Kind.similarity: "{name} holds similarity judgements, not word ratings. Use load_similarity.",
    Kind.associations: "{name} holds word associations, not word ratings. Make concepts from its file with "
    "emosae.concepts.associations, and name word ratings in norms.",
}

_DROPPED = {"line": pl.Int64, "word": pl.String, "reason": pl.String}


def _numeric(entry: NormEntry) -> list[str]:
    return [column for column in entry.columns if column not in {"word", "concepticon_id"}]


def _needed(entry: NormEntry) -> list[str]:
    return [dimension for dimension in ("valence", "arousal") if dimension in entry.columns]


def _text_columns(sheet: Sheet, entry: NormEntry, path: Path) -> pl.DataFrame:
    cells = sheet.select(entry.columns, f"{path} ({entry.name})")
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
    reason: Any = pl.when(pl.col("word").str.strip_chars() == "").then(pl.lit("no word"))
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
        f"{n_rows} are not; the first is line {first['line']}: {first['reason']}. {advice}"
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
                f"of {path} gives {column} {row[column]:g} for {row['word']!r} ({outside.height} such rows). "
                f"Correct the scale (norms.{entry.name}.scale_min, scale_max), or list codes for `no value` "
                f"in norms.{entry.name}.missing."
            )
