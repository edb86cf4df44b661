"""Finding out how a table is written: its encoding, delimiter, header, decimal sign, and rating scale."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emosae.errors import UserError
from emosae.norms.sheet import Rows, Sheet, make_sheet, split_rows

__all__ = ["Split", "find_header", "guess_decimal", "guess_encoding", "guess_scale", "guess_split"]

_SAMPLE = 200_000  # characters, enough to tell a delimiter
_ROWS = 1_000  # rows, enough to tell a decimal sign and which columns hold numbers
_NUMBER = re.compile(r"\s*[-+−]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?\s*")

# What spreadsheets write where they do not write UTF-8, by language.
_ONE_BYTE = {
    "cp1252": {
        "en",
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "sv",
        "da",
        "no",
        "nb",
        "fi",
        "is",
        "ca",
        "eu",
        "gl",
    },
    "cp1250": {"pl", "cs", "sk", "sl", "hr", "hu", "ro", "sq"},
    "cp1251": {"ru", "uk", "bg", "sr", "be", "mk"},
    "cp1253": {"el"},
    "cp1254": {"tr"},
    "cp1255": {"he"},
    "cp1256": {"ar", "fa"},
}
_SEVERAL_BYTES = {"big5", "gb18030", "gbk", "gb2312", "cp949", "euc_kr", "cp932", "shift_jis", "euc_jp"}

# Scales that norms use; the tightest one that holds the values is taken.
_SCALES = [(0, 1), (1, 5), (1, 7), (1, 9), (0, 5), (0, 6), (0, 9), (0, 10), (0, 100), (0, 1000)]
_SIGNED_SCALES = [(-1, 1), (-2, 2), (-3, 3), (-4, 4), (-5, 5), (-10, 10), (-50, 50), (-100, 100)]


def guess_encoding(path: Path, language: str | None) -> tuple[str, bool]:
    """Find a text file's encoding.

    One-byte encodings cannot be told from each other by looking (the byte of a Spanish ñ is a Polish ń), so
    the language settles them; those of Chinese, Japanese and Korean are recognised.

    Args:
        path: The file.
        language: ISO 639 code of its words; None where it is not known.

    Returns:
        The encoding, and whether that is certain (UTF-8, or a byte order mark) rather than a guess.

    Raises:
        UserError: The file is no text, or in an encoding that only its language would tell.
    """
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", True
    if b"\0" in data:
        raise UserError(
            f"{path} must be a table of text, and is not. Give a CSV, TSV, Parquet or Excel file."
        )
    if _decodes(data, "utf-8"):
        return "utf-8", True
    family = next((name for name, codes in _ONE_BYTE.items() if language in codes), None)
    if family is None:
        from charset_normalizer import from_bytes

        best = from_bytes(data).best()
        family = best.encoding if best is not None and best.encoding in _SEVERAL_BYTES else None
        if family is not None and _decodes(data, family) and _mixed(data.decode(family)):
            family = None
    if family is None or not _decodes(data, family):
        raise UserError(
            f"{path} must be text in UTF-8, and is not. Save it as UTF-8, or say how it is written with "
            f"encoding=NAME (for example cp1252, common in Western Europe) or language=CODE."
        )
    return family, False


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _mixed(text: str) -> bool:
    """Tell text whose East Asian characters mostly stand inside Latin words: niño in a wrong encoding."""
    runs = re.findall(r"([A-Za-z]?)[\u3000-\uffff]+([A-Za-z]?)", text)
    return 2 * sum(bool(before or after) for before, after in runs) > len(runs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """How a text is split into a table: fields as in `NormEntry`, and the table."""

    sheet: Sheet
    delimiter: str
    quote: str
    skip_rows: int
    header_rows: int


def guess_split(text: str, path: Path) -> Split:
    """Find the delimiter, the header, and whether quotes enclose cells: what gives most rows its width.

    Returns:
        The split; its quote is empty where quotes are plain text.

    Raises:
        UserError: No delimiter gives two columns.
    """
    beginning = text[: text.find("\n", _SAMPLE)] if len(text) > _SAMPLE else text
    both = [(delimiter, quote) for delimiter in ",\t;|" for quote in ('"', "")]
    delimiter = _best_split(beginning, path, both).delimiter
    # A stray quote may come late, so that the whole text decides what quotes mean.
    return _best_split(text, path, [(delimiter, '"'), (delimiter, "")])


def _best_split(text: str, path: Path, styles: list[tuple[str, str]]) -> Split:
    best: tuple[float, int] = (0.0, 0)
    found = None
    for delimiter, quote in styles:
        try:
            rows = split_rows(text, path, delimiter=delimiter, quote=quote)
            skip_rows, header_rows = find_header(rows)
            sheet = make_sheet(rows, path, skip_rows=skip_rows, header_rows=header_rows)
        except UserError:
            continue
        width, n_rows = len(sheet.header), len(sheet.rows) + len(sheet.odd)
        if not n_rows:
            continue
        # Rows of one cell only speak against a split: another delimiter, or a quote that swallows.
        whole = sum(any(cell.strip() for cell in row[1:]) for row in sheet.rows)
        # A delimiter that finds no names may have cut numbers at their decimal commas.
        score = (round((1.0 if header_rows else 0.8) * whole / n_rows, 3), whole * width)
        if score > best:
            best = score
            found = Split(
                sheet=sheet,
                delimiter=delimiter,
                quote=quote,
                skip_rows=skip_rows,
                header_rows=header_rows,
            )
    if found is None:
        raise UserError(
            f"{path} must be a table of at least two columns, separated by commas, tabs, semicolons or bars, "
            "with a header. Save it as CSV."
        )
    return found


def find_header(rows: Rows) -> tuple[int, int]:
    """Find the header of a table that may stand under titles and notes.

    The header is the fullest row above the first row with numbers where the table has numbers; it has two
    lines where its names repeat and the row above it tells them apart.

    Returns:
        `skip_rows` and `header_rows`, as in `NormEntry`; no header line where the numbers start at once.

    Example:
        >>> find_header([(1, ["Norms", ""]), (3, ["word", "val"]), (4, ["love", "8.5"])])
        (2, 1)
    """
    if not rows:
        return 0, 1
    numeric = _numeric_columns(rows)
    usual = Counter(_filled(cells) for _, cells in rows[:_ROWS]).most_common(1)[0][0]
    first = next((i for i, (_, cells) in enumerate(rows) if numeric and _is_data(cells, numeric)), None)
    above = rows[: first if first is not None else 1]
    place = max(range(len(above)), key=lambda i: (_names(above[i][1]), -i), default=None)
    if place is None or (
        first is not None and (_filled(above[place][1]) < 2 or 2 * _filled(above[place][1]) < usual)
    ):
        return rows[first or 0][0] - 1, 0
    names = [cell.strip() for cell in above[place][1] if cell.strip()]
    over = place > 0 and len(set(names)) < len(names) and _filled(above[place - 1][1]) > 1
    return above[place - over][0] - 1, 1 + over


def _names(cells: list[str]) -> int:
    return _filled(cells) - sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)


def _filled(cells: list[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _numeric_columns(rows: Rows) -> list[int]:
    """Find the columns in which most cells that are not blank hold numbers."""
    numbers, filled = Counter[int](), Counter[int]()
    for _, cells in rows[:_ROWS]:
        for place, cell in enumerate(cells):
            if cell.strip():
                filled[place] += 1
                numbers[place] += bool(_NUMBER.fullmatch(cell))
    return [place for place in filled if 2 * numbers[place] >= filled[place]]


def _is_data(cells: list[str], numeric: list[int]) -> bool:
    held = sum(place < len(cells) and bool(_NUMBER.fullmatch(cells[place])) for place in numeric)
    return 2 * held > len(numeric)


def guess_decimal(sheet: Sheet) -> str:
    """Tell whether numbers have a decimal comma: more cells look like 5,4 than like 5.4."""
    cells = [cell.strip() for row in sheet.rows[:_ROWS] for cell in row]
    commas = sum(bool(re.fullmatch(r"[-−]?\d+,\d+", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-−]?\d+\.\d+", cell)) for cell in cells)
    return "," if commas > points else "."


def guess_scale(values: pl.Series) -> tuple[float, float] | None:
    """Find the tightest scale in use that holds all values; None where there is none, or no value.

    Example:
        >>> guess_scale(pl.Series([1.3, 4.0, 8.5])), guess_scale(pl.Series([-2.9, 1.0]))
        ((1.0, 9.0), (-3.0, 3.0))
    """
    known = values.drop_nulls().to_list()
    if not known:
        return None
    low, high = min(known), max(known)
    usual = _SIGNED_SCALES if low < 0 else _SCALES
    fitting = [scale for scale in usual if scale[0] <= low and high <= scale[1]]
    if not fitting:
        return None
    best = min(fitting, key=lambda scale: scale[1] - scale[0])
    return float(best[0]), float(best[1])
