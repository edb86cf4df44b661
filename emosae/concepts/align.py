"""Which concept of a set is which name elsewhere: in another language, in human data, in another set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from emosae.concepts.associations import word_key
from emosae.concepts.sets import ConceptSet
from emosae.errors import UserError, unknown_name

__all__ = ["Alignment", "Match", "align_names", "align_words", "shared_labels"]

SCHEMA = pl.Schema(
    {"concept": pl.String(), "name": pl.String(), "match": pl.String(), "candidates": pl.List(pl.String)}
)

_RATED = pl.Schema(
    {
        "language": pl.String(),
        "concept": pl.String(),
        "label": pl.String(),
        "rated_label": pl.String(),
        "words": pl.Int64(),
        "found": pl.Int64(),
    }
)


class Match(StrEnum):
    """How a concept and a name were brought together, in the order in which it is tried."""

    synonym = "synonym"
    """The caller said so."""
    key = "key"
    """The name is the concept's key, capitals aside, blanks and hyphens taken for underscores."""
    label = "label"
    """The name is the concept's label in one of the languages."""
    ambiguous = "ambiguous"
    """Several names fit the concept, or several concepts the name: none is taken."""
    missing = "missing"
    """Nothing fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """Concepts beside the names of something else.

    Attributes:
        table: A row for each concept: concept, name (null where none is taken), match (see `Match`), candidates
            (all names that fit by the rule that found some).
        unused: Names that no concept took.
    """

    table: pl.DataFrame
    unused: list[str]

    @property
    def pairs(self) -> dict[str, str]:
        """Concept to name, of those that match."""
        return dict(self.table.drop_nulls("name").select("concept", "name").iter_rows())

    def summary(self) -> str:
        """Say in a sentence what matched and what did not."""
        parts = [f"{len(self.pairs)} of {self.table.height} concepts match"]
        for kind in (Match.ambiguous, Match.missing):
            own = self.table.filter(pl.col("match") == kind)["concept"].to_list()
            parts += [f"{kind}: {', '.join(own)}"] if own else []
        parts += [f"names without a concept: {', '.join(self.unused)}"] if self.unused else []
        return "; ".join(parts) + "."


def align_names(
    concepts: ConceptSet,
    names: Sequence[str],
    *,
    languages: Sequence[str] | None = None,
    synonyms: Mapping[str, str | Sequence[str]] | None = None,
) -> Alignment:
    """Say which concept of a set is which of some names, such as the emotions of human similarity data.

    Stated synonyms come first, then keys, then labels; nothing else is tried, so *nervousness* is not *anxiety*
    unless the caller says so. A pair is taken only where one name fits one concept.

    Args:
        concepts: The set.
        names: The names, each once.
        languages: Languages whose labels count; None means all of the set.
        synonyms: Concept to the name, or names, that stand for it; a name that is not among `names` is skipped, so
            that one list serves several data sets.

    Returns:
        The alignment.

    Raises:
        UserError: A name that stands twice, or a synonym for a concept or language that the set does not have.

    Example:
        >>> from emosae.concepts import load_concepts
        >>> align_names(load_concepts("ekman6").restrict(concepts=["joy", "fear"]), ["Joy", "恐惧"]).pairs
        {'joy': 'Joy', 'fear': '恐惧'}
    """
    twice = {name for name in names if sum(_plain(name) == _plain(other) for other in names) > 1}
    if twice:
        raise UserError(f"A name must stand once, got {sorted(twice)} several times. Leave the others out.")
    for concept in synonyms or {}:
        if concept not in concepts.concepts:
            raise unknown_name("concept with synonyms", concept, concepts.concepts)
    chosen = concepts.languages if languages is None else list(languages)
    for language in chosen:
        if language not in concepts.languages:
            raise unknown_name("language of the concept set", language, concepts.languages)
    stated = {
        concept: [other] if isinstance(other, str) else list(other)
        for concept, other in (synonyms or {}).items()
    }
    forms = {_plain(name): name for name in names}
    fits: dict[str, tuple[Match, list[str]]] = {}
    for concept in concepts.concepts:
        rules = (
            (Match.synonym, stated.get(concept, [])),
            (Match.key, [concept]),
            (Match.label, [concepts.labels[language][concept] for language in chosen]),
        )
        fits[concept] = (Match.missing, [])
        for rule, wanted in rules:
            found = list(dict.fromkeys(forms[_plain(word)] for word in wanted if _plain(word) in forms))
            if found:
                fits[concept] = (rule, found)
                break
    return _settle(fits, names)


def _settle(fits: Mapping[str, tuple[Match, list[str]]], names: Sequence[str]) -> Alignment:
    """Take the pairs of which both sides are sure: a rule that is tried earlier outdoes a later one."""
    order = list(Match)
    claims: dict[str, list[tuple[int, str]]] = {}
    for concept, (rule, found) in fits.items():
        for name in found:
            claims.setdefault(name, []).append((order.index(rule), concept))
    rows = []
    for concept, (rule, found) in fits.items():
        sure = len(found) == 1
        if sure:
            best = min(claims[found[0]])[0]
            sure = [each for each in claims[found[0]] if each[0] == best] == [(order.index(rule), concept)]
        match = rule if sure or not found else Match.ambiguous
        rows.append((concept, found[0] if sure else None, match.value, found))
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    taken = set(table["name"].drop_nulls())
    return Alignment(table=table, unused=[name for name in names if name not in taken])


def align_words(concepts: ConceptSet, words: pl.DataFrame) -> pl.DataFrame:
    """Say which labels and words of a set stand in a table of words, such as human ratings.

    Args:
        concepts: The set.
        words: Columns language and word.

    Returns:
        A row for each concept in each language that both have: language, concept, label, rated_label (the label as
        it stands in the table, null where it does not), words, found (words of the concept that stand in the table).
    """
    there: dict[str, dict[str, str]] = {}
    for language, word in words.select("language", "word").unique(maintain_order=True).iter_rows():
        there.setdefault(language, {}).setdefault(word_key(word), word)
    rows = []
    for language in (each for each in concepts.languages if each in there):
        for concept in concepts.concepts:
            own = concepts.words.filter((pl.col("language") == language) & (pl.col("concept") == concept))[
                "word"
            ]
            label = concepts.labels[language][concept]
            found = sum(word_key(word) in there[language] for word in own)
            rows.append((language, concept, label, there[language].get(word_key(label)), len(own), found))
    return pl.DataFrame(rows, schema=_RATED, orient="row")


def shared_labels(concepts: ConceptSet) -> pl.DataFrame:
    """List the labels that name several concepts in one language: language, label, concepts."""
    rows = [
        (language, label, concept)
        for language, named in concepts.labels.items()
        for concept, label in named.items()
    ]
    table = pl.DataFrame(rows, schema=["language", "label", "concept"], orient="row")
    keyed = table.with_columns(pl.Series("key", [_plain(label) for label in table["label"]]))
    return (
        keyed.group_by("language", "key", maintain_order=True)
        .agg(pl.col("label").first(), pl.col("concept").alias("concepts"))
        .filter(pl.col("concepts").list.len() > 1)
        .drop("key")
    )


def _plain(name: str) -> str:
    """Bring a name into the form in which names are compared."""
    return "_".join(word_key(name).replace("-", " ").replace("_", " ").split())
