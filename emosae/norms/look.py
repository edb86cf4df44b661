"""Looking at a table of ratings: how it is written, what its columns mean, which scale it uses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import DIMENSIONS, Format, NormEntry, is_mapped
from emosae.norms.headers import guess_columns
from emosae.norms.infer import find_header, guess_decimal, guess_encoding, guess_scale, guess_split
from emosae.norms.sheet import Sheet, decode, make_sheet, numbers, read_rows

__all__ = ["complete", "format_of", "look_at", "say_columns", "with_scale"]

_SUFFIXES = {".parquet": Format.parquet, ".xlsx": Format.xlsx, ".xls": Format.xls}
_BEGINNINGS = {b"PAR1": Format.parquet, b"PK\x03\x04": Format.xlsx, b"\xd0\xcf\x11\xe0": Format.xls}


def format_of(path: Path) -> Format | None:
    """Tell a file's format by how it begins, else by its name; None for text."""
    with path.open("rb") as file:
        beginning = file.read(4)
    return _BEGINNINGS.get(beginning) or _SUFFIXES.get(path.suffix.lower())


def look_at(
    path: Path, encoding: str | None = None, language: str | None = None, sheet: int = 1
) -> tuple[NormEntry, Sheet, list[str]]:
    """Find out how a file is written.

    Args:
        path: The file.
        encoding: Text encoding; None means UTF-8, or a guess where it is not.
        language: ISO 639 code of its words; None where it is not known.
        sheet: Of an Excel workbook: which sheet, from 1.

    Returns:
        An entry that says how to read the file, its table, and a sentence for each thing that was found out.

    Raises:
        UserError: The file is no table, or in an encoding that only its language would tell.
    """
    form = format_of(path)
    if form is not None:
        entry = NormEntry(format=form, sheet=sheet)
        rows = read_rows(path, entry)
        skip_rows, header_rows = (0, 1) if form is Format.parquet else find_header(rows)
        table = make_sheet(rows, path, skip_rows=skip_rows, header_rows=header_rows)
        entry = replace(entry, decimal=guess_decimal(table), skip_rows=skip_rows, header_rows=header_rows)
        return entry, table, [f"Read as {form.value}{_say_header(skip_rows, header_rows)}."]
    certain = True
    if encoding is None:
        encoding, certain = guess_encoding(path, language)
    split = guess_split(decode(path, encoding), path)
    decimal = guess_decimal(split.sheet)
    called = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}[split.delimiter]
    comma = ", decimal commas" if decimal == "," else ""
    guess = " (a guess: set encoding=NAME if words look wrong)" if not certain else ""
    entry = NormEntry(
        format=Format.tsv if split.delimiter == "\t" else Format.csv,
        delimiter=split.delimiter if split.delimiter in ";|" else "",
        quote=split.quote,
        encoding=encoding,
        decimal=decimal,
        skip_rows=split.skip_rows,
        header_rows=split.header_rows,
    )
    header = _say_header(split.skip_rows, split.header_rows)
    return entry, split.sheet, [f"Read as {encoding}{guess}, cells separated by {called}{comma}{header}."]


def complete(entry: NormEntry, path: Path) -> tuple[NormEntry, list[str]]:
    """Fill in what a registry entry leaves open, by looking at its file.

    Args:
        entry: The entry. One that names its columns comes back as it is, unless the file is a workbook where
            it says text, or the other way round: then how it is written is looked at, and the columns stay.
        path: Its file.

    Returns:
        The entry with columns, scale and the way the file is written, and a sentence for each thing found out.

    Raises:
        UserError: Something cannot be found out; the message says how to say it.
    """
    binary = entry.format if entry.format in _BEGINNINGS.values() else None
    if entry.verified or (is_mapped(entry) and format_of(path) == binary):
        return entry, []
    encoding = entry.encoding if entry.encoding != "utf-8" else None
    try:
        looked, table, found = look_at(path, encoding, entry.language or None, entry.sheet)
        columns = dict(entry.columns) or guess_columns(table, looked.decimal, {}, path, entry.language)
        found.append(say_columns(columns))
        filled = replace(
            entry,
            columns=columns,
            **{part: getattr(looked, part) for part in _WRITTEN},
        )
        if filled.scale_min is None or filled.scale_max is None:
            filled = with_scale(filled, table, None, path, found)
    except UserError as error:
        own = f"my_{entry.name}"
        raise UserError(
            f"{error} Or make an entry of your own that says so: `emosae norms add {path} name={own} "
            f"language={entry.language} word=HEADER valence=HEADER arousal=HEADER scale=MIN..MAX`, then "
            f"norms={own}."
        ) from error
    return filled, found


_WRITTEN = ("format", "delimiter", "quote", "encoding", "decimal", "sheet", "skip_rows", "header_rows")


def say_columns(columns: dict[str, str]) -> str:
    """Say what columns were taken for what."""
    return "Columns: " + ", ".join(f"{meaning} = {header!r}" for meaning, header in columns.items()) + "."


def with_scale(
    entry: NormEntry, sheet: Sheet, scale: tuple[float, float] | None, path: Path, found: list[str]
) -> NormEntry:
    """Set an entry's scale: the one given, or the tightest usual one that holds the values.

    Args:
        entry: The entry, with its columns.
        sheet: Its table.
        scale: Low and high end; None means by the values.
        path: The file, for messages.
        found: Gets a sentence for each dimension whose scale was found out.

    Raises:
        UserError: No usual scale holds the values.
    """
    if scale is not None:
        return replace(entry, scale_min=float(scale[0]), scale_max=float(scale[1]))
    values = {d: _values(entry, sheet, d, path) for d in DIMENSIONS if d in entry.columns}
    everything = pl.concat(list(values.values()))
    signed = {d: bool((v < 0).any()) for d, v in values.items()}
    # One scale for all dimensions, unless only some of them go below zero: those have another.
    together = len(set(signed.values())) == 1
    scales = {d: guess_scale(everything if together else v) for d, v in values.items()}
    if None in scales.values():
        seen = everything.drop_nulls().to_list()
        span = f"run from {min(seen):g} to {max(seen):g}" if seen else "are no numbers"
        raise UserError(
            f"The rating scale of {path} is not a usual one: its values {span}. Say which it is: "
            "scale=MIN..MAX."
        )
    known = {d: s for d, s in scales.items() if s is not None}
    for d, (low, high) in known.items():
        seen = values[d].drop_nulls().to_list()
        found.append(f"Scale of {d} taken to be {low:g} to {high:g}: values {min(seen):g} to {max(seen):g}.")
    low, high = known.get("valence") or next(iter(known.values()))
    own = {d: s for d, s in known.items() if d != "valence" and s != (low, high)}
    ends = {f"{d}_{end}": s[i] for d, s in own.items() for i, end in enumerate(("min", "max"))}
    return replace(entry, scale_min=low, scale_max=high, **ends)  # type: ignore[arg-type]


def _values(entry: NormEntry, sheet: Sheet, meaning: str, path: Path) -> pl.Series:
    cells = pl.DataFrame({"x": sheet.column(entry.columns[meaning], str(path))}, schema={"x": pl.String})
    return cells.select(numbers(pl.col("x"), decimal=entry.decimal))["x"]


def _say_header(skip_rows: int, header_rows: int) -> str:
    if header_rows == 0:
        return f", no header{f' above line {skip_rows + 1}' if skip_rows else ''}"
    lines = f"lines {skip_rows + 1} and {skip_rows + 2}" if header_rows == 2 else f"line {skip_rows + 1}"
    return f", header in {lines}" if skip_rows or header_rows == 2 else ""
