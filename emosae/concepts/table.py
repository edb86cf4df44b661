"""Making a concept set from any table with a row a word: columns found by name, delimiter and encoding by looking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from emosae.concepts.build import Built
from emosae.concepts.cells import open_rows
from emosae.concepts.config import ConceptsConfig
from emosae.concepts.files import WordRow, clean
from emosae.concepts.load import assemble
from emosae.errors import UserError, unknown_name
from emosae.norms.headers import LANGUAGE_NAMES, header_tokens

__all__ = ["build_from_table"]

_NAMES = {
    "concept": ("concept", "emotion", "category", "label", "情绪", "情感", "类别", "情緒", "類別", "感情"),
    "word": (
        "word",
        "words",
        "term",
        "lemma",
        "token",
        "wort",
        "mot",
        "palabra",
        "词",
        "词语",
        "單詞",
        "詞",
        "単語",
        "語",
    ),
    "language": ("language", "lang", "locale", "语言", "語言", "言語"),
    "weight": ("weight", "strength", "score", "intensity", "权重", "权值", "重み"),
}
_NEEDED = ("concept", "word")


def build_from_table(
    path: Path | str,
    *,
    name: str,
    language: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> Built:
    """Make a concept set from a CSV or TSV with a row a word.

    Args:
        path: The file; commas, tabs, semicolons or bars separate its cells.
        name: The set's name.
        language: Language of the words where no column gives it (ISO 639-1).
        columns: Header of the columns that cannot be found by name: concept, word, language, weight.
        encoding: Text encoding; None means UTF-8, or a guess where it is not.

    Returns:
        The set; a word that stands twice in a concept counts once, with its larger weight. The notes say what was
        found and what was left out.

    Raises:
        MissingFileError: There is no such file.
        UserError: A column that is missing or that several headers could be, no language, a weight that is no
            number above 0, a concept without words in one of the languages.
    """
    path = Path(path).expanduser()
    with open_rows(path, "The table of words", language=language, encoding=encoding) as rows:
        header = [cell.strip() for cell in next(rows, [])]
        used = _columns(header, dict(columns or {}), path)
        lines = [row for row in rows if any(cell.strip() for cell in row)]
    if "language" not in used and language is None:
        raise UserError(
            f"{path} has no column of languages. Say which language its words are in: language=en, for example."
        )
    words: dict[tuple[str, str, str], float] = {}
    blank = twice = odd = 0
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            odd += 1
            continue
        row = {meaning: clean(line[header.index(name)]) for meaning, name in used.items()}
        if not row["concept"] or not row["word"]:
            blank += 1
            continue
        tongue = _language(row.get("language", language or ""), number, path)
        key = (row["concept"], tongue, row["word"])
        twice += key in words
        words[key] = max(words.get(key, 0.0), _weight(row.get("weight", "1"), number, path))
    notes = [f"Columns used: {', '.join(f'{name!r} as {meaning}' for meaning, name in used.items())}."]
    unused = [name for name in header if name not in used.values()]
    notes += [f"Columns not used: {', '.join(map(repr, unused))}."] if unused else []
    notes += [f"{blank} rows without a concept or a word left out."] if blank else []
    notes += [f"{twice} rows repeat a word of a concept; the larger weight counts."] if twice else []
    notes += [f"{odd} rows have other numbers of cells than the header; left out."] if odd else []
    made = [WordRow(*key, weight) for key, weight in words.items()]
    config = ConceptsConfig(name=name, title=name, source=f"Built from {path.name}.")
    return Built(concepts=assemble(config, made, str(path)), notes=notes)


def _columns(header: list[str], given: dict[str, str], path: Path) -> dict[str, str]:
    """Find the column of each meaning; what the caller names is taken as it is."""
    for meaning, name in given.items():
        if header.count(name) != 1:
            raise unknown_name(f"single column for the {meaning} in {path}", name, header)
    used = dict(given)
    for meaning, names in _NAMES.items():
        if meaning in used:
            continue
        free = [name for name in header if name not in used.values()]
        found = [name for name in free if name.casefold() in names]
        found = found or [name for name in free if set(header_tokens(name)) & set(names)]
        if len(found) == 1:
            used[meaning] = found[0]
        elif found or meaning in _NEEDED:
            there = ", ".join(map(repr, found or header)) or "none"
            problem = "several columns that could be" if found else "no column that is named like"
            raise UserError(
                f"{path} has {problem} the {meaning} ({there}). Say which it is: columns.{meaning}=HEADER."
            )
    return used


def _language(cell: str, number: int, path: Path) -> str:
    code = LANGUAGE_NAMES.get(cell.casefold(), cell)
    if not code:
        raise UserError(f"Row {number} of {path} has no language. Fill it in or remove the row.")
    return code


def _weight(cell: str, number: int, path: Path) -> float:
    comma = cell.count(",") == 1 and "." not in cell
    try:
        return float(cell.replace(",", ".") if comma else cell)
    except ValueError as error:
        raise UserError(
            f"A weight must be a number, got {cell!r} in row {number} of {path}. Correct it."
        ) from error
