"""Reading any table as text cells, so that no reader's idea of a missing value can eat a word."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from emosae.errors import UserError
from emosae.norms.entry import Format, NormEntry

__all__ = ["Rows", "Sheet", "make_sheet", "numbers", "read_rows", "read_sheet", "split_rows"]

ExcelEngine = Literal["calamine", "openpyxl"]
Rows = list[tuple[int, list[str]]]
"""Rows of cells, each with the line of the file (or row of the sheet) on which it starts, from 1."""

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
        numbered = re.fullmatch(r"(.*) \[(\d+)\]", name.strip())
        if not places and numbered:
            places = [i for i, header in enumerate(self.header) if header == numbered[1]]
            places = places[int(numbered[2]) - 1 : int(numbered[2])]
        if len(places) == 1:
            return places[0]
        there = ", ".join(repr(header) for header in self.header)
        problem = f"{len(places)} columns have" if places else "No column has"
        pick = f", or number it: '{name} [1]'" if places else ""
        raise UserError(
            f"{problem} the header {name!r} in {what}. Its columns are: {there}. Name another one{pick}."
        )


def read_sheet(path: Path, entry: NormEntry, *, header: bool = True) -> Sheet:
    """Read a file as text cells, as the entry says it is written.

    Args:
        path: The file.
        entry: Its format, encoding, delimiter, quote, and which lines are the header.
        header: Whether there is a header at all; without, columns are named 0, 1, 2, …

    Raises:
        UserError: The file is empty, not in that encoding, or no table.
    """
    rows = read_rows(path, entry)
    return make_sheet(rows, path, skip_rows=entry.skip_rows, header_rows=entry.header_rows if header else 0)


def read_rows(path: Path, entry: NormEntry) -> Rows:
    """Read a file's rows, each with the line on which it starts; see `read_sheet`."""
    if entry.format in {Format.parquet, Format.xlsx, Format.xls}:
        return read_frame(path, entry.format, entry.sheet)
    delimiter = entry.delimiter or {Format.csv: ",", Format.tsv: "\t"}[entry.format]
    return split_rows(decode(path, entry.encoding), path, delimiter=delimiter, quote=entry.quote)


def decode(path: Path, encoding: str) -> str:
    """Read a text file; a UTF-8 byte order mark is dropped.

    Raises:
        UserError: The bytes are no text in that encoding, or the text is a web page.
    """
    try:
        text = path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(
            f"{path} must be text in the encoding {encoding!r}, and is not ({error}). Save it as UTF-8, or "
            "name its encoding."
        ) from error
    if text[:500].lstrip().lower().startswith(("<!doctype html", "<html")):
        raise UserError(
            f"{path} must be a table, and is a web page: a form or an error in its place. Open the address in a "
            "browser, and save the file itself."
        )
    return text


def split_rows(text: str, path: Path, *, delimiter: str, quote: str) -> Rows:
    """Split text into rows that are not blank; line breaks inside quoted cells stay.

    Raises:
        UserError: A quoted cell does not end.
    """
    style: dict[str, Any] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE, "quotechar": None}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **style)
    rows, start = [], 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((start, row))
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path} cannot be split into cells after line {start} ({error}). If quotes are plain text in "
            "it, set quote to an empty text."
        ) from error
    return rows


def make_sheet(rows: Rows, path: Path, *, skip_rows: int = 0, header_rows: int = 1) -> Sheet:
    """Name the columns of rows by their header.

    Args:
        rows: Rows with their lines.
        path: The file, for messages.
        skip_rows: Lines above the header.
        header_rows: Lines of the header; see `NormEntry.header_rows`.

    Raises:
        UserError: There is no row.
    """
    rows = [(line, cells) for line, cells in rows if line > skip_rows]
    if not rows:
        raise UserError(f"{path} must hold a table, and is empty. Give another file.")
    above, below = rows[:header_rows], rows[header_rows:]
    names = _join([cells for _, cells in above]) if above else [str(i) for i in range(len(rows[0][1]))]
    width, kept, lines, odd = len(names), [], [], []
    for line, cells in below:
        if any(cell.strip() for cell in cells[width:]):  # an unquoted delimiter has shifted the cells
            odd.append((line, len(cells)))
            continue
        kept.append(cells[:width] + [""] * (width - len(cells)))
        lines.append(line)
    return Sheet(header=names, rows=kept, lines=lines, odd=odd)


def _join(header: list[list[str]]) -> list[str]:
    """Read the lines of a header together: a cell of an upper line stands over those to its right."""
    width = max(map(len, header))
    lines = [[cell.strip() for cell in line] + [""] * (width - len(line)) for line in header]
    for upper, lower in itertools.pairwise(lines):
        for place in range(1, width):
            upper[place] = upper[place] or (upper[place - 1] if lower[place] else "")
    return [" ".join(cell for cell in column if cell) for column in zip(*lines, strict=True)]


_ENGINES: dict[Format, tuple[tuple[ExcelEngine, str], ...]] = {
    Format.xlsx: (("calamine", "fastexcel"), ("openpyxl", "openpyxl")),
    Format.xls: (("calamine", "fastexcel"),),
}


def read_frame(path: Path, form: Format, sheet: int = 1) -> Rows:
    """Read a Parquet or Excel file as rows of text, the names of a Parquet file's columns first.

    Raises:
        UserError: The file is not in that format, it has no such sheet, or no package here can read it.
    """
    if form is Format.xlsx and not zipfile.is_zipfile(path):  # each engine has an error class of its own
        raise UserError(f"{path} cannot be read as xlsx (it is no workbook). Save the table as CSV.")
    try:
        frame = pl.read_parquet(path) if form is Format.parquet else _read_excel(path, form, sheet)
    except (pl.exceptions.PolarsError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as {form.value} ({reason}). Save the table as CSV."
        ) from error
    text = frame.select(pl.all().cast(pl.String, strict=False).fill_null(""))
    names = [[*frame.columns]] if form is Format.parquet else []
    rows = [*names, *(list(row) for row in text.iter_rows())]
    return [(line, row) for line, row in enumerate(rows, 1) if any(cell.strip() for cell in row)]


def _read_excel(path: Path, form: Format, sheet: int) -> pl.DataFrame:
    for engine, package in _ENGINES[form]:
        if importlib.util.find_spec(package) is not None:
            # Rows and columns as they stand: polars' own header would drop titles and rename repeated names.
            return pl.read_excel(
                io.BytesIO(path.read_bytes()),  # by content, whatever the name ends in
                engine=engine,
                sheet_id=sheet,
                has_header=False,
                infer_schema_length=0,
                drop_empty_rows=False,
                drop_empty_cols=False,
            )
    raise UserError(
        f"Reading {path.name} needs a package that is not installed (fastexcel). Save the sheet as CSV, or "
        "`pip install fastexcel`."
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
