"""Splitting a text file into cells, one row at a time, whatever separates them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emosae.errors import MissingFileError, UserError
from emosae.norms.infer import guess_encoding

__all__ = ["UNQUOTED_NA", "open_rows"]

UNQUOTED_NA = "\x01"
"""A cell that holds NA without quotation marks: R's missing value, where it writes the word as "NA"."""


@contextmanager
def open_rows(
    path: Path, what: str, *, language: str | None, encoding: str | None = None, mark_missing: bool = False
) -> Iterator[Iterator[list[str]]]:
    """Open a table of text for reading row by row; the first row is the header.

    The sign that stands most often in the header separates the cells: comma, tab, semicolon or bar. Quotation marks
    enclose cells, but in a table separated by tabs only if they do so in the header: without, they are text.

    Args:
        path: The file.
        what: What it is, for messages.
        language: Language of its words, which helps to tell an encoding that is not UTF-8; None is not known.
        encoding: Text encoding; None means UTF-8, or a guess where it is not.
        mark_missing: Whether an NA without quotation marks becomes `UNQUOTED_NA`.

    Yields:
        The rows, each a list of cells.

    Raises:
        MissingFileError: There is no such file.
        UserError: It is no text in that encoding, or cannot be split.
    """
    if not path.is_file():
        raise MissingFileError.at(what, path, "Give the path of a CSV or TSV file.")
    found = encoding or guess_encoding(path, language)[0]
    try:
        with path.open(encoding="utf-8-sig" if found == "utf-8" else found, newline="") as file:
            yield _split(iter(file), mark_missing)
    except (UnicodeDecodeError, LookupError) as error:
        raise UserError(
            f"{path} must be text in the encoding {found!r}, and is not. Name its encoding, or save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(f"{path} cannot be split into cells ({error}). Save the table as CSV.") from error


def _split(lines: Iterator[str], mark_missing: bool) -> Iterator[list[str]]:
    first = next(lines, "")
    delimiter = max(",\t;|", key=first.count)
    quoted = '"' in first or delimiter != "\t"
    missing = re.compile(rf"(?<![^{re.escape(delimiter)}])NA(?=[{re.escape(delimiter)}\r\n]|$)")

    def marked() -> Iterator[str]:
        yield first
        for line in lines:
            yield missing.sub(UNQUOTED_NA, line) if mark_missing and "NA" in line else line

    if quoted:
        return iter(csv.reader(marked(), delimiter=delimiter))
    return iter(csv.reader(marked(), delimiter=delimiter, quoting=csv.QUOTE_NONE))
