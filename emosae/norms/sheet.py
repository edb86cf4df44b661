"""Reading any table as text cells, so that no reader's idea of a missing value can eat a word."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import Format, NormEntry

__all__ = ["Sheet", "numbers", "read_sheet", "split_cells"]

# Minus signs and dashes that typesetting programs write for the one on the keyboard.
_MINUS = "[−–‒﹣－]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A table as text.

    Attributes:
        header: Column names, as written, outer blanks removed.
        rows: Cells of each row, padded to the header's width.
        lines: Line of the file on which each row starts (from 1).
        odd: Rows with more cells than the header, left out of `rows`: (line, number of cells).
    """

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    odd: list[tuple[int, int]]

    def column(self, name: str, what: str) -> list[str]:
        """Return a column's cells by its header; see `select`."""
        return self.select({"x": name}, what)["x"]

    def select(self, names: Mapping[str, str], what: str) -> dict[str, list[str]]:
        """Return the cells of several columns.

        Args:
            names: Header of each column wanted, under the name it gets.
            what: What the table is, for messages.

        Raises:
            UserError: No column, or more than one, has a header that is asked for.
        """
        columns = [list(column) for column in zip(*self.rows, strict=True)] or [[] for _ in self.header]
        return {meaning: columns[self._place(header, what)] for meaning, header in names.items()}

    def _place(self, name: str, what: str) -> int:
        places = [i for i, header in enumerate(self.header) if header == name.strip()]
        if len(places) == 1:
            return places[0]
        there = ", ".join(repr(header) for header in self.header)
        problem = f"{len(places)} columns have" if places else "No column has"
        raise UserError(
            f"{problem} the header {name!r} in {what}. Its columns are: {there}. Name another one."
        )


def read_sheet(path: Path, entry: NormEntry, *, header: bool = True) -> Sheet:
    """Read a file as text cells, by the entry's format, encoding, delimiter and quote.

    Args:
        path: The file.
        entry: How it is written.
        header: Whether its first row names the columns; without, they are named 0, 1, 2, …

    Raises:
        UserError: The file is empty, not in that encoding, or no table.
    """
    if entry.format in {Format.parquet, Format.xlsx}:
        return _from_frame(read_frame(path, entry.format))
    delimiter = entry.delimiter or {Format.csv: ",", Format.tsv: "\t"}[entry.format]
    return split_cells(
        decode(path, entry.encoding), path, delimiter=delimiter, quote=entry.quote, header=header
    )


def decode(path: Path, encoding: str) -> str:
    """Read a text file; a UTF-8 byte order mark is dropped.

    Raises:
        UserError: The bytes are no text in that encoding.
    """
    try:
        return path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(
            f"{path} must be text in the encoding {encoding!r}, and is not ({error}). Save it as UTF-8, or "
            "name its encoding."
        ) from error


def split_cells(text: str, path: Path, *, delimiter: str, quote: str, header: bool = True) -> Sheet:
    """Split text into rows and cells; line breaks inside quoted cells stay.

    Raises:
        UserError: There is no row, or a quoted cell does not end.
    """
    style: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **style)
    rows, lines, odd, names, start = [], [], [], None, 1
    try:
        for row in reader:
            line, start = start, reader.line_num + 1
            if names is None:
                if not any(cell.strip() for cell in row):
                    continue
                names = [cell.strip() for cell in row] if header else [str(i) for i in range(len(row))]
                if header:
                    continue
            width = len(names)
            if not any(cell.strip() for cell in row):
                continue
            if any(cell.strip() for cell in row[width:]):  # an unquoted delimiter has shifted the cells
                odd.append((line, len(row)))
                continue
            rows.append(row[:width] + [""] * (width - len(row)))
            lines.append(line)
    except csv.Error as error:
        raise UserError(
            f"{path} cannot be split into cells after line {start} ({error}). If quotes are plain text in "
            "it, set quote to an empty text."
        ) from error
    if names is None:
        raise UserError(f"{path} must hold a table, and is empty. Give another file.")
    return Sheet(header=names, rows=rows, lines=lines, odd=odd)


def read_frame(path: Path, form: Format) -> pl.DataFrame:
    """Read a Parquet or Excel file (its first sheet) as text columns.

    Raises:
        UserError: The file is not in that format, or polars has no engine for it here.
    """
    if form is Format.xlsx and not zipfile.is_zipfile(path):  # each engine has an error class of its own
        raise UserError(f"{path} cannot be read as xlsx (it is no workbook). Save the table as CSV.")
    try:
        if form is Format.parquet:
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_excel(path, infer_schema_length=0, drop_empty_rows=True)
    except ModuleNotFoundError as error:
        raise UserError(
            f"Reading {path.name} needs a package that is not installed ({error.name or 'fastexcel'}). Save "
            "the sheet as CSV, or `pip install fastexcel`."
        ) from error
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as {form.value} ({reason}). Save the table as CSV."
        ) from error
    return frame.select(pl.all().cast(pl.String, strict=False).fill_null(""))


def _from_frame(frame: pl.DataFrame) -> Sheet:
    rows = [list(row) for row in frame.iter_rows()]
    return Sheet(
        header=[name.strip() for name in frame.columns],
        rows=rows,
        lines=[i + 2 for i in range(len(rows))],
        odd=[],
    )


def numbers(cells: pl.Expr, *, decimal: str = ".", missing: list[str] | None = None) -> pl.Expr:
    """Turn text cells into numbers; what is no finite number becomes null.

    Outer blanks are dropped and typeset minus signs understood. Where the decimal sign is a comma, a point is
    not taken for one.
    """
    text = cells.str.strip_chars().str.replace(_MINUS, "-")
    # `then` comes first with the cell itself: an expression is named after it.
    if missing:
        text = pl.when(text.is_in(missing).not_()).then(text)
    if decimal == ",":
        text = pl.when(text.str.contains(".", literal=True).not_()).then(text.str.replace(",", "."))
    # polars reads `nan` and `inf` as numbers; a rating is neither.
    value = text.cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)
