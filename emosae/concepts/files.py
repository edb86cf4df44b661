"""Reading a concept set's file: a YAML in the layout of conf/concepts/, or a table with a row a word."""

from __future__ import annotations

import csv
import io
import logging
import unicodedata
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from emosae.concepts.config import ConceptKind, ConceptsConfig, LanguageWords
from emosae.errors import UserError, unknown_name

__all__ = ["WordRow", "clean", "read_table", "read_yaml"]

logger = logging.getLogger(__name__)

_COLUMNS = ("concept", "word", "language", "weight")
_NEXT = "See conf/concepts/ekman6.yaml for the layout."


class WordRow(NamedTuple):
    """One word of one concept in one language."""

    concept: str
    language: str
    word: str
    weight: float


def read_yaml(path: Path) -> ConceptsConfig:
    """Read a concept set in the layout of conf/concepts/.

    Args:
        path: The file.

    Returns:
        The set as written.

    Raises:
        UserError: A file that is no YAML or no concept set, or a word that YAML takes for something else, as
            it does with `no` and `null`.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there
    try:
        values = yaml.load(_text(path), Loader=loader)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise UserError(f"{path} must be YAML, and cannot be read as such{where}. {_NEXT}") from error
    if not isinstance(values, dict) or not isinstance(values.get("languages"), dict):
        raise UserError(f"{path} is not a concept set: it has no key 'languages' with words. {_NEXT}")
    known = [each.name for each in fields(ConceptsConfig) if each.name != "path"]
    for key, value in values.items():
        if key not in known:
            raise unknown_name(f"key of a concept set (in {path})", key, known)
        if key == "synonyms":
            _check_synonyms(value, path)
        elif key != "languages" and not isinstance(value, str | None):
            raise UserError(f"The {key} of {path} must be text, got {value!r}. Put it in quotation marks.")
    given = {key: value for key, value in values.items() if value is not None}
    kind = given.get("kind", ConceptKind.emotion)
    if kind not in ConceptKind.__members__:
        raise unknown_name(f"kind of concept set (in {path})", kind, ConceptKind.__members__)
    languages = {name: _language(name, own, path) for name, own in values["languages"].items()}
    return ConceptsConfig(**{"name": path.stem} | given | {"kind": ConceptKind(kind), "languages": languages})


def _check_synonyms(value: object, path: Path) -> None:
    """Check that each concept has a name or a list of names: YAML reads `no`, for one, as a value and not as text."""
    for concept, names in value.items() if isinstance(value, dict) else [("", value)]:
        listed = names if isinstance(names, list) else [names]
        if not concept or not all(isinstance(name, str) for name in listed):
            raise UserError(
                f"The synonyms of {path} must be names concept by concept, got {names!r}. "
                'Write, for example, synonyms: {nervousness: "anxiety"}.'
            )


def _language(language: object, own: object, path: Path) -> LanguageWords:
    """Check the words of one language: YAML reads `no`, for one, as a value and not as text."""
    if not isinstance(language, str) or not isinstance(own, dict) or not isinstance(own.get("words"), dict):
        raise UserError(
            f"{path} is not a concept set: {language!r} under 'languages' must be a language in quotation "
            f"marks, with 'words' under it. {_NEXT}"
        )
    known = [each.name for each in fields(LanguageWords)]
    for key, value in own.items():
        if key not in known:
            raise unknown_name(f"key of the language {language!r} (in {path})", key, known)
        if not isinstance(value, dict):
            raise UserError(f"The {key} of {language!r} in {path} must be given concept by concept. {_NEXT}")
    for concept, listed in own["words"].items():
        if not isinstance(concept, str) or not isinstance(listed, list | None):
            raise UserError(f"{path} is not a concept set: the words of {concept!r} must be a list. {_NEXT}")
        for word in listed or []:
            if not isinstance(word, str):
                raise UserError(
                    f"A word must be text, got {word!r} under {concept!r} in {language!r} of {path}. "
                    'YAML reads no, yes, on, off, null and numbers as values: write "no", with the marks.'
                )
    for concept, label in own.get("labels", {}).items():
        if not isinstance(label, str):
            raise UserError(
                f"A label must be text, got {label!r} for {concept!r} in {path}. Put it in quotation marks."
            )
    for concept, weights in own.get("weights", {}).items():
        if not isinstance(weights, dict):
            raise UserError(f"The weights of {concept!r} in {path} must be written as word: weight. {_NEXT}")
    return LanguageWords(
        labels=own.get("labels", {}),
        words={concept: listed or [] for concept, listed in own["words"].items()},
        weights=own.get("weights", {}),
    )


def read_table(path: Path, language: str | None = None) -> list[WordRow]:
    """Read a CSV or TSV with the columns `concept` and `word`, and, where wanted, `language` and `weight`.

    Args:
        path: The file; `.tsv` is separated by tabs, `.csv` by commas, or by the header's semicolons.
        language: Language of every word where there is no `language` column; None means English.

    Returns:
        The rows in order. Words such as `null` and `NA` are words.

    Raises:
        UserError: A missing or unknown column, an empty cell, a weight that is no number.
    """
    text = _text(path)
    header_line = text.partition("\n")[0].strip()
    separator = ";" if ";" in header_line and "," not in header_line else ","
    if path.suffix.lower() == ".tsv":
        separator = "\t"
    table = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header = [cell.strip().lower() for cell in next(table, [])]
    for column in ("concept", "word"):
        if column not in header:
            raise UserError(
                f"{path} must have the columns concept and word, and its first line is {header_line!r}. "
                "Name the columns in the first line, for example: concept,word,language"
            )
    for column in header:
        if column not in _COLUMNS or header.count(column) > 1:
            raise UserError(
                f"{path} has a column {column!r} that is unknown or stands twice. "
                f"Keep each of {', '.join(_COLUMNS)} once."
            )
    if "language" not in header and language is None:
        logger.warning("%s has no column 'language': its words are taken as English (en)", path)
    rows = []
    for cells in table:
        number = table.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UserError(
                f"Line {number} of {path} must have {len(header)} cells, got {len(cells)}. "
                "Correct it, with quotation marks around a cell that holds the separator."
            )
        row = dict(zip(header, (clean(cell) for cell in cells), strict=True))
        for column, cell in row.items():
            if not cell:
                raise UserError(
                    f"Line {number} of {path} has an empty {column}. Fill it in or remove the line."
                )
        weight = row.get("weight", "1")
        try:
            value = float(weight)
        except ValueError as error:
            raise UserError(
                f"A weight must be a number, got {weight!r} in line {number} of {path}. Correct it."
            ) from error
        rows.append(WordRow(row["concept"], row.get("language", language or "en"), row["word"], value))
    return rows


def clean(word: str) -> str:
    """Bring a word into Unicode's composed form (NFC), without spaces around it."""
    return unicodedata.normalize("NFC", word).strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} must be UTF-8 text, and is not. Save it again as UTF-8.") from error
