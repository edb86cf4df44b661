"""Finding out how a table is written: its encoding, its delimiter, its decimal sign, and its rating scale."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from emosae.errors import UserError
from emosae.norms.sheet import Sheet, split_cells

__all__ = ["guess_decimal", "guess_encoding", "guess_scale", "guess_split"]

_SAMPLE = 200_000  # characters, enough to tell a delimiter
_ROWS = 1_000  # rows, enough to tell a decimal sign

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


def guess_split(text: str, path: Path) -> tuple[Sheet, str, str]:
    """Find the delimiter and whether quotes enclose cells: the split whose rows best have the header's width.

    Returns:
        The table, its delimiter and its quote character (empty where quotes are plain text).

    Raises:
        UserError: No delimiter gives two columns.
    """
    beginning = text[: text.find("\n", _SAMPLE)] if len(text) > _SAMPLE else text
    _, delimiter, _ = _best_split(beginning, path, [(one, quote) for one in ",\t;|" for quote in ('"', "")])
    # A stray quote may come late, so that the whole text decides what quotes mean.
    return _best_split(text, path, [(delimiter, '"'), (delimiter, "")])


def _best_split(text: str, path: Path, styles: list[tuple[str, str]]) -> tuple[Sheet, str, str]:
    best: tuple[float, int] = (0.0, 0)
    found = None
    for delimiter, quote in styles:
        try:
            sheet = split_cells(text, path, delimiter=delimiter, quote=quote)
        except UserError:
            continue
        width, n_rows = len(sheet.header), len(sheet.rows) + len(sheet.odd)
        if not n_rows:
            continue
        # Rows of one cell only speak against a split: another delimiter, or a quote that swallows.
        whole = sum(any(cell.strip() for cell in row[1:]) for row in sheet.rows)
        score = (round(whole / n_rows, 3), whole * width)
        if score > best:
            best, found = score, (sheet, delimiter, quote)
    if found is None:
        raise UserError(
            f"{path} must be a table of at least two columns, separated by commas, tabs, semicolons or bars, "
            "with a header. Save it as CSV."
        )
    return found


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
