"""What `emosae concepts` does, as tables under headings: building, checking and aligning concept sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from emosae.concepts.align import align_names, align_words, shared_labels
from emosae.concepts.associations import Responses
from emosae.concepts.build import Built, build_from_associations
from emosae.concepts.check import ConceptCheck, check_words
from emosae.concepts.load import available_concepts, load_concepts, read_rows
from emosae.concepts.rule import AssociationRule, Direction, Multiword, Shared
from emosae.concepts.save import place_for, save_concepts
from emosae.concepts.table import build_from_table
from emosae.errors import UserError, unknown_name

__all__ = ["Part", "align", "build", "check", "list_sets"]

_ENUMS: dict[str, type[StrEnum]] = {
    "responses": Responses,
    "direction": Direction,
    "multiword": Multiword,
    "shared": Shared,
}
_SWITCH = {"true": True, "false": False}
_COLUMNS = ("concept", "word", "language", "weight")
_SHOWN = 12  # rows of a long table on a terminal


class Part(NamedTuple):
    """One heading of the answer, with a table or a sentence under it."""

    heading: str
    table: pl.DataFrame | None = None


def list_sets() -> pl.DataFrame:
    """List the concept sets that have a name: name, kind, concepts, languages, title."""
    rows = []
    for name in available_concepts():
        concepts = load_concepts(name)
        rows.append(
            (name, concepts.kind.value, len(concepts.concepts), ", ".join(concepts.languages), concepts.title)
        )
    return pl.DataFrame(rows, schema=["name", "kind", "concepts", "languages", "title"], orient="row")


def build(words: Sequence[str]) -> list[Part]:
    """Build a concept set from the words of a command line.

    Args:
        words: `LANGUAGE=FILE` for each file of associations, or one file of words alone; then settings:
            `name`, `output`, `overwrite`, `encoding`; for associations `concepts` (a set whose labels are the names),
            `labels.CONCEPT=WORD,WORD` or `labels.LANGUAGE.CONCEPT=…`, and the fields of `AssociationRule`; for a
            table `language` and the header of `concept`, `word`, `language`, `weight` as `columns.MEANING`.

    Returns:
        What was built, with the file that holds it.

    Raises:
        UserError: As for `build_from_associations` and `build_from_table`, or a setting that is none.
    """
    files = [word for word in words if "=" not in word]
    left = dict(_pair(word) for word in words if "=" in word)
    norms = {key: left.pop(key) for key in list(left) if _is_language(key)}
    if len(files) > 1 or bool(files) == bool(norms):
        raise UserError(
            "`emosae concepts build` needs one table of words, or files of associations by language. Write "
            "`emosae concepts build en=SWOW-EN.R100.csv concepts=ekman6 name=mine`."
        )
    source = Path(files[0]) if files else Path(next(iter(norms.values())))
    name = left.pop("name", source.stem.replace(".", "_").replace(" ", "_"))
    path = place_for(
        name, left.pop("output", None), overwrite=_switch("overwrite", left.pop("overwrite", "false"))
    )
    encoding = left.pop("encoding", None)
    if files:
        columns = {
            meaning: left.pop(f"columns.{meaning}") for meaning in _COLUMNS if f"columns.{meaning}" in left
        }
        language = left.pop("language", None)
        _all_used(
            left, ["name", "output", "overwrite", "encoding", "language", *(f"columns.{m}" for m in _COLUMNS)]
        )
        built = build_from_table(source, name=name, language=language, columns=columns, encoding=encoding)
    else:
        labels = _labels(left, list(norms))
        rule = _rule(left)
        built = build_from_associations(norms, labels, name=name, rule=rule, encoding=encoding)
    save_concepts(built.concepts, path)
    return [*_built(built), Part(f"{name}: {path}"), Part(f"Look at it with `emosae concepts check {path}`.")]


def _built(built: Built) -> list[Part]:
    counts = built.concepts.words.group_by("language", "concept", maintain_order=True).agg(
        pl.len().alias("words"),
        pl.col("word").head(8).str.join(", ").alias("strongest" if built.candidates.height else "first"),
    )
    parts = [Part("Words", counts)]
    if built.candidates.height:
        fates = built.candidates.group_by("language", "fate", maintain_order=True).len("responses and cues")
        parts.append(Part("What became of everything tied to a name", fates))
    return parts + [Part(note) for note in built.notes]


def check(words: Sequence[str]) -> tuple[list[Part], ConceptCheck]:
    """Check a concept set: `NAME|FILE [neutral=NAME|none] [language=CODE] [frequency.LANGUAGE=FILE]`.

    Returns:
        The tables that hold something, and the whole check.

    Raises:
        UserError: No such set, or a setting that is none.
    """
    source, left = _one(words, "check", "emosae concepts check ekman6")
    config, rows, _ = read_rows(source, language=left.pop("language", None))
    listed = {key.partition(".")[2]: left.pop(key) for key in list(left) if key.startswith("frequency.")}
    beside = left.pop("neutral", config.neutral or "none")
    _all_used(left, ["neutral", "language", "frequency.LANGUAGE"])
    neutral = None if beside == "none" else load_concepts(beside).words
    found = check_words(
        rows,
        labels={language: own.labels for language, own in config.languages.items()},
        neutral=neutral,
        frequencies={language: _frequencies(Path(file)) for language, file in listed.items()},
        expected=[concept for own in config.languages.values() for concept in own.words],
    )
    return _checked(found), found


def _checked(found: ConceptCheck) -> list[Part]:
    wide = found.counts.pivot("language", index="concept", values="words")
    parts = [Part("Words by concept and language", wide)]
    for heading, table in (
        ("Concepts without words in a language", found.missing),
        ("Words of several concepts (nobody's negative in selection)", found.shared),
        ("Different words of one stem in different concepts", found.families),
        ("Names of a concept among the words of another", found.names),
        ("Words of several words", found.spaces),
        ("Words that stand more than once in a concept, capitals ignored", found.duplicates),
    ):
        if table.height:
            more = f" ({table.height}, the first {_SHOWN})" if table.height > _SHOWN else f" ({table.height})"
            parts.append(Part(heading + more, table.head(_SHOWN)))
        else:
            parts.append(Part(f"{heading}: none"))
    whole = pl.col("group").is_in(["all words", "neutral words"])
    parts.append(Part("Length in characters", _rounded(found.lengths.filter(whole))))
    apart = found.lengths.filter(~whole & (pl.col("cohens_d").abs() >= 0.8)).sort("cohens_d")
    if apart.height:
        many = f" ({apart.height})"
        parts.append(
            Part(f"Concepts much longer or shorter than neutral words{many}", _rounded(apart.head(_SHOWN)))
        )
    if found.frequency.height:
        parts.append(Part("Frequency (log10)", _rounded(found.frequency.filter(whole))))
    return parts


def align(words: Sequence[str]) -> list[Part]:
    """Align a set with human data: `NAME DATA [synonyms.CONCEPT=NAME,NAME]`.

    Returns:
        What matches, by which rule, and what does not.

    Raises:
        UserError: No such set or data set, or data that are not here.
    """
    from emosae import norms

    places = [word for word in words if "=" not in word]
    left = dict(_pair(word) for word in words if "=" in word)
    if len(places) != 2:
        raise UserError(
            "`emosae concepts align` needs a set and human data, for example `emosae concepts align cowen27 human27`."
        )
    synonyms = {
        key.removeprefix("synonyms."): left.pop(key).split(",")
        for key in list(left)
        if key.startswith("synonyms.")
    }
    _all_used(left, ["synonyms.CONCEPT"])
    concepts, entry = load_concepts(places[0]), norms.find(places[1])
    twice = shared_labels(concepts)
    parts = [Part("Labels that name several concepts", twice)] if twice.height else []
    if entry.kind is norms.Kind.similarity:
        found = align_names(concepts, norms.load_similarity(entry).concepts, synonyms=synonyms)
        return [*parts, Part(f"{places[0]} beside {places[1]}", found.table), Part(found.summary())]
    rated = norms.load_ratings(entry)
    table = align_words(concepts, rated.table)
    if not table.height:
        raise UserError(
            f"{places[1]} rates {entry.language} words, and {places[0]} has none. Choose another set."
        )
    return [*parts, Part(f"{places[0]} among the words of {places[1]}", table)]


def _pair(word: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    return key, value


def _is_language(key: str) -> bool:
    return re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", key) is not None


def _one(words: Sequence[str], verb: str, example: str) -> tuple[str, dict[str, str]]:
    places = [word for word in words if "=" not in word]
    if len(places) != 1:
        raise UserError(f"`emosae concepts {verb}` needs one set, got {places}. Write `{example}`.")
    return places[0], dict(_pair(word) for word in words if "=" in word)


def _all_used(left: Mapping[str, str], known: Sequence[str]) -> None:
    for key in left:
        raise unknown_name("setting of `emosae concepts`", key, known)


def _switch(name: str, value: str) -> bool:
    if value not in _SWITCH:
        raise UserError(f"{name} must be true or false, got {value!r}. Write {name}=true.")
    return _SWITCH[value]


def _labels(left: dict[str, str], languages: list[str]) -> dict[str, dict[str, list[str]]]:
    """Take the names of the concepts: a set's labels, then those that are written out."""
    labels: dict[str, dict[str, list[str]]] = {language: {} for language in languages}
    if "concepts" in left:
        known = load_concepts(left.pop("concepts")).restrict(languages=languages)
        labels = {
            language: {concept: [label] for concept, label in known.labels[language].items()}
            for language in languages
        }
    for key in [key for key in left if key.startswith("labels.")]:
        first, _, rest = key.removeprefix("labels.").partition(".")
        if not rest and len(languages) > 1:
            raise UserError(
                f"A name must be given for a language where there are several, got {key!r}. "
                f"Write labels.en.{first}=WORD."
            )
        language, concept = (first, rest) if rest else (languages[0], first)
        if language not in labels:
            raise unknown_name("language of the associations", language, languages)
        labels[language][concept] = [word for word in left.pop(key).split(",") if word.strip()]
        if not labels[language][concept]:
            raise UserError(f"A name must be a word, got none for {key!r}. Write {key}=WORD.")
    return labels


def _rule(left: dict[str, str]) -> AssociationRule:
    values: dict[str, Any] = {}
    known = [each.name for each in fields(AssociationRule)]
    for key, text in left.items():
        if key not in known:
            others = ("name", "output", "overwrite", "encoding", "concepts", "labels.CONCEPT")
            raise unknown_name("setting of `emosae concepts build`", key, [*known, *others])
        if key in _ENUMS:
            if text not in list(_ENUMS[key]):
                raise unknown_name(key, text, list(_ENUMS[key]))
            values[key] = _ENUMS[key](text)
        elif key == "keep_label":
            values[key] = _switch(key, text)
        else:
            try:
                values[key] = float(text) if key == "min_strength" else int(text)
            except ValueError as error:
                raise UserError(f"{key} must be a number, got {text!r}. Correct it.") from error
    return AssociationRule(**values)


def _frequencies(path: Path) -> dict[str, float]:
    """Read a list of words with how often each is used: the first column of words, the first of numbers."""
    from emosae.concepts.cells import open_rows

    found: dict[str, float] = {}
    with open_rows(path.expanduser(), "The list of frequencies", language=None) as rows:
        for row in list(rows):
            numbers = [cell for cell in row[1:] if cell.replace(".", "", 1).strip().isdigit()]
            if row and numbers:
                found[row[0]] = float(numbers[0])
    if not found:
        raise UserError(f"{path} must hold a word and a number in each row, and has none. Give another file.")
    return found


def _rounded(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col(pl.Float64).round(2))
