"""Loading concept sets: the shipped ones by name, anyone's own from a YAML, CSV or TSV file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from emosae.concepts.config import ConceptKind, ConceptsConfig
from emosae.concepts.files import WordRow, clean, read_table, read_yaml
from emosae.concepts.sets import SCHEMA, ConceptSet
from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.paths import cache_root, conf_dir

__all__ = ["assemble", "available_concepts", "from_config", "load_concepts", "read_rows"]

_READERS = {".yaml": "yaml", ".yml": "yaml", ".csv": "table", ".tsv": "table"}
_PLACEHOLDER = "custom"  # conf/concepts/custom.yaml holds no words: it stands for the user's own file


def available_concepts() -> list[str]:
    """List the concept sets that have a name: the shipped ones and the user's own in the cache's conf.

    Example:
        >>> "ekman6" in available_concepts()
        True
    """
    return sorted(_named())


def _named() -> dict[str, Path]:
    folders = [cache_root() / "conf" / "concepts", conf_dir() / "concepts"]  # a shipped name stays what it is
    return {
        file.stem: file for folder in folders for file in folder.glob("*.yaml") if file.stem != _PLACEHOLDER
    }


def load_concepts(source: str | Path, *, language: str | None = None) -> ConceptSet:
    """Load a concept set by name or from a file.

    Args:
        source: A name of `available_concepts()`; or a YAML file like those in `conf/concepts/`; or a CSV or
            TSV file with the columns `concept` and `word`, and, where wanted, `language` and `weight`.
        language: Language of the words of a CSV or TSV that has no `language` column; None means English.

    Returns:
        The set.

    Raises:
        MissingFileError: A file that is not there.
        UserError: An unknown name, a file that is no concept set, an empty concept, a word twice in a
            concept, a weight that is not above 0.

    Example:
        >>> load_concepts("ekman6").concepts
        ['anger', 'disgust', 'fear', 'joy', 'sadness', 'surprise']
    """
    config, rows, origin = read_rows(source, language=language)
    _refuse_empty(config, origin)
    return assemble(config, rows, origin)


def read_rows(
    source: str | Path, *, language: str | None = None
) -> tuple[ConceptsConfig, list[WordRow], str]:
    """Read a concept set as it is written, a concept without words or a word that stands twice included.

    Args:
        source: As for `load_concepts`.
        language: As for `load_concepts`.

    Returns:
        What the file says of the set, its words in order, and the file's path.

    Raises:
        MissingFileError: A file that is not there.
        UserError: An unknown name, or a file that is no concept set.
    """
    path = Path(source)
    named = _named()
    if isinstance(source, str) and source in named:
        path = named[source]
    elif path.suffix.lower() not in _READERS and path.name == str(source):
        raise unknown_name("concept set", str(source), named, "Or give a YAML, CSV or TSV file of your own.")
    if not path.is_file():
        raise MissingFileError.at(
            "The concept set", path, f"Give a file, or one of {', '.join(sorted(named))}."
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"A concept set must be a .yaml, .csv or .tsv file, got {str(path)!r}. Save it as one of these."
        )
    if reader == "table":
        return ConceptsConfig(name=path.stem, title=path.stem), read_table(path, language), str(path)
    config = read_yaml(path)
    return config, _listed(config, str(path)), str(path)


def from_config(config: ConceptsConfig) -> ConceptSet:
    """Make the concept set that a configuration describes, from its own words or from the file it names.

    Args:
        config: The group `concepts` of a study.

    Returns:
        The set.

    Raises:
        UserError: As for `load_concepts`; words and a file both given, or neither.
    """
    if config.path is not None and not config.languages:
        return load_concepts(Path(config.path))
    if not config.languages:
        raise UserError(
            "concepts=custom needs a file of words. Write concepts.path=FILE (YAML, CSV or TSV), or choose "
            f"one of {', '.join(available_concepts())}."
        )
    if config.path is not None:
        raise UserError(
            f"concepts.path goes with concepts=custom, and here the words of {config.name!r} are given too. "
            f"Write concepts=custom concepts.path={config.path}."
        )
    _refuse_empty(config, config.name)
    return assemble(config, _listed(config, config.name), config.name)


def _listed(config: ConceptsConfig, origin: str) -> list[WordRow]:
    """List the words of a set in order, each with its weight."""
    rows = []
    for language, own in config.languages.items():
        if not own.words:
            raise UserError(
                f"The language {language!r} of {origin} has no words. Give it some, or leave it out."
            )
        for kind, keys in (("weights", own.weights), ("labels", own.labels)):
            for concept in keys:
                if concept not in own.words:
                    raise unknown_name(f"concept with {kind} in {language!r} of {origin}", concept, own.words)
        for concept, words in own.words.items():
            listed = [clean(word) for word in words]
            weights = {clean(word): weight for word, weight in own.weights.get(concept, {}).items()}
            where = f"under {concept!r} in {language!r} of {origin}"
            for word in weights:
                if word not in listed:
                    raise unknown_name(f"word with a weight {where}", word, listed)
            rows += [WordRow(concept, language, word, weights.get(word, 1.0)) for word in listed]
    return rows


def assemble(config: ConceptsConfig, rows: Iterable[WordRow], origin: str) -> ConceptSet:
    """Make a set of words, after checking what must hold of every set, wherever it comes from.

    Args:
        config: Name, labels and description.
        rows: The words, in order.
        origin: What the set was made of, for messages.

    Returns:
        The set.

    Raises:
        UserError: No words, a concept without words in a language, a word twice in a concept, a weight that is not
            above 0.
    """
    seen: set[tuple[str, str, str]] = set()
    kept = []
    for row in rows:
        where = f"under {row.concept!r} in {row.language!r} of {origin}"
        if not row.word or not row.concept or not row.language or any(mark in row.word for mark in "\r\n\t"):
            raise UserError(
                f"A word must be text on one line, got {row.word!r} {where}. Correct or remove it."
            )
        if not (isinstance(row.weight, int | float) and row.weight > 0 and math.isfinite(row.weight)):
            raise UserError(
                f"A weight must be a number above 0, got {row.weight!r} for {row.word!r} {where}. "
                "Remove the word, or give it a weight such as 0.5."
            )
        key = (row.concept, row.language, row.word)
        if key in seen:
            raise UserError(
                f"A word must stand once in a concept, and {row.word!r} stands twice {where}. Remove one."
            )
        seen.add(key)
        kept.append((*key, float(row.weight)))
    if not kept:
        raise UserError(
            f"{origin} holds no words. Give each concept some under languages, LANGUAGE, words, CONCEPT."
        )
    words = pl.DataFrame(kept, schema=SCHEMA, orient="row")
    concepts = words["concept"].unique(maintain_order=True).to_list()
    languages = words["language"].unique(maintain_order=True).to_list()
    present = {(concept, language) for concept, language, _ in seen}
    for language in languages:
        for concept in concepts:
            if (concept, language) not in present:
                raise _empty(origin, concept, language)
    synonyms = {
        concept: [names] if isinstance(names, str) else list(names)
        for concept, names in config.synonyms.items()
    }
    for concept in synonyms:
        if concept not in concepts:
            raise unknown_name(f"concept with synonyms in {origin}", concept, concepts)
    given = {language: own.labels for language, own in config.languages.items()}
    labels = {
        language: {key: given.get(language, {}).get(key) or key.replace("_", " ") for key in concepts}
        for language in languages
    }
    return ConceptSet(
        name=config.name,
        words=words,
        labels=labels,
        kind=ConceptKind(config.kind),
        title=config.title or config.name,
        description=config.description,
        source=config.source,
        synonyms=synonyms,
    )


def _refuse_empty(config: ConceptsConfig, origin: str) -> None:
    for language, own in config.languages.items():
        for concept, listed in own.words.items():
            if not listed:
                raise _empty(origin, concept, language)


def _empty(origin: str, concept: str, language: str) -> UserError:
    return UserError(
        f"The concept {concept!r} has no words in {language!r} in {origin}. Give it some, or leave the "
        "concept out of every language."
    )
