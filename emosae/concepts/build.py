"""Making a concept set from free-association norms: an emotion's words are those tied to its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from emosae.concepts.associations import Associations, read_associations, word_key
from emosae.concepts.config import ConceptsConfig, LanguageWords
from emosae.concepts.files import WordRow, clean
from emosae.concepts.load import assemble
from emosae.concepts.rule import AssociationRule, Direction, Multiword, Shared
from emosae.concepts.sets import ConceptSet
from emosae.errors import UserError

__all__ = ["Built", "build_from_associations"]

CANDIDATE_SCHEMA = {
    "language": pl.String,
    "concept": pl.String,
    "word": pl.String,
    "forward": pl.Float64,
    "backward": pl.Float64,
    "strength": pl.Float64,
    "count": pl.Int64,
    "fate": pl.String,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A new concept set, and how it came about.

    Attributes:
        concepts: The set.
        candidates: A row for each word that is tied to a concept's name: language, concept, word, forward and
            backward strength (null where the direction was not measured), strength (that of the direction chosen),
            count, fate: kept, name, weak, rare, several words, other concept, or beyond max_words.
        notes: What a reader must know, in plain sentences.
    """

    concepts: ConceptSet
    candidates: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CANDIDATE_SCHEMA))
    notes: list[str] = field(default_factory=list)


def build_from_associations(
    files: Mapping[str, Path | str],
    labels: Mapping[str, Mapping[str, Sequence[str]]],
    *,
    name: str,
    rule: AssociationRule | None = None,
    encoding: str | None = None,
) -> Built:
    """Make a concept set from free-association norms.

    Args:
        files: Language to the file of its norms; see `read_associations` for the layouts.
        labels: Language to concept to the words that name it, the first of which becomes its label. With several
            names, forward strength is the mean over those that are cues, backward strength the sum.
        name: The set's name.
        rule: Which associations become words; None means the defaults.
        encoding: Encoding of the files; None means UTF-8, or a guess where they are not.

    Returns:
        The set, all words that were considered, and notes.

    Raises:
        MissingFileError: A file that is not there.
        UserError: A file that is no such norms; a name that the norms do not hold; a concept left without words, or
            with different concepts in different languages.

    Source: strength as the share of a cue's responses, De Deyne et al. (2019), Behavior Research Methods 51.
    """
    rule = rule or AssociationRule()
    rows: list[WordRow] = []
    tables, notes, sources = [], [], []
    for language, path in files.items():
        named = {concept: list(words) for concept, words in labels.get(language, {}).items()}
        if not named:
            raise UserError(
                f"The concepts need names in {language!r}, got names in {list(labels)}. Write concepts=SET for a set "
                f"that has this language, or labels.{language}.joy=WORD."
            )
        norms = read_associations(
            path,
            [word for words in named.values() for word in words],
            language=language,
            responses=rule.responses,
            encoding=encoding,
        )
        found = _candidates(norms, named, rule)
        own, lacking = _words(found, named, rule, language)
        _refuse(lacking, found, norms, named)
        rows += own
        tables.append(found)
        notes += _notes(norms, found, named)
        sources.append(f"{norms.path.name} ({language}, {norms.responses})")
    config = ConceptsConfig(
        name=name,
        title=name,
        description=f"Words tied to each concept's name in free association ({rule.direction}).",
        source=f"Built from {', '.join(sources)}.",
        languages={
            language: LanguageWords(
                labels={concept: clean(words[0]) for concept, words in labels[language].items()}
            )
            for language in files
        },
    )
    return Built(concepts=assemble(config, rows, name), candidates=pl.concat(tables), notes=notes)


def _candidates(norms: Associations, labels: Mapping[str, list[str]], rule: AssociationRule) -> pl.DataFrame:
    """Say of every word tied to a concept's name how strongly it is, and what becomes of it."""
    rows = []
    own_name: dict[str, str] = {}
    for concept, words in labels.items():
        for word in words:
            if own_name.setdefault(word_key(word), concept) != concept:
                raise UserError(
                    f"A name must stand for one concept, and {word!r} stands for {own_name[word_key(word)]!r} and "
                    f"{concept!r} in {norms.language!r}. Name one of them otherwise."
                )
    table = norms.table.with_columns(
        pl.Series("cue_key", [word_key(word) for word in norms.table["cue"]], dtype=pl.String),
        pl.Series("response_key", [word_key(word) for word in norms.table["response"]], dtype=pl.String),
    )
    for concept, words in labels.items():
        keys = list(dict.fromkeys(word_key(word) for word in words))
        n_cues = sum(key in norms.cues for key in keys)
        forward = _side(table, keys, "cue", "response", max(n_cues, 1))
        backward = _side(table, keys, "response", "cue", 1)
        for key in dict.fromkeys([*forward, *backward]):
            word, out, out_count = forward.get(key, ("", 0.0, 0))
            back_word, back, back_count = backward.get(key, ("", 0.0, 0))
            strength, counts = {
                Direction.forward: (out, [out_count]),
                Direction.backward: (back, [back_count]),
                Direction.both: ((out + back) / 2, [out_count, back_count]),
            }[rule.direction]
            count = None if None in counts else sum(each for each in counts if each is not None)
            fate = _fate(word or back_word, key in keys, strength, count, rule)
            measured = (out if n_cues else None, back if key in norms.cues else None)
            rows.append(
                (
                    norms.language,
                    concept,
                    word or back_word,
                    *measured,
                    strength,
                    count,
                    fate,
                    own_name.get(key),
                )
            )
    found = pl.DataFrame(rows, schema={**CANDIDATE_SCHEMA, "names": pl.String}, orient="row")
    found = found.sort(["strength", "word"], descending=[True, False])
    order = pl.Enum(list(labels))
    found = found.sort(pl.col("concept").cast(order), maintain_order=True)
    if rule.shared is Shared.strongest:
        found = _strongest(found)
    place = (pl.col("fate") == "kept").cum_sum().over("concept")
    names = {
        concept: len(set(map(word_key, words))) if rule.keep_label else 0 for concept, words in labels.items()
    }
    room = rule.max_words - pl.col("concept").replace_strict(names, return_dtype=pl.Int64)
    late = (pl.col("fate") == "kept") & (place.cast(pl.Int64) > pl.max_horizontal(room, 1))
    return found.with_columns(fate=pl.when(late).then(pl.lit("beyond max_words")).otherwise("fate")).drop(
        "names"
    )


def _side(
    table: pl.DataFrame, keys: list[str], here: str, there: str, share: int
) -> dict[str, tuple[str, float, int | None]]:
    """Sum the associations of a concept's names on one side: word key to word, strength and count."""
    found: dict[str, tuple[str, float, int | None]] = {}
    own = table.filter(pl.col(f"{here}_key").is_in(keys))
    for key, word, strength, count in own.select(f"{there}_key", there, "strength", "count").iter_rows():
        spelt, before, counted = found.get(key, (word, 0.0, 0))
        total = None if count is None or counted is None else counted + count
        found[key] = (spelt, before + strength / share, total)
    return found


def _fate(word: str, is_name: bool, strength: float, count: int | None, rule: AssociationRule) -> str:
    if is_name:
        return "name"
    if rule.multiword is Multiword.drop and len(word.replace(",", " ").replace(";", " ").split()) > 1:
        return "several words"
    if strength < rule.min_strength:
        return "weak"
    return "rare" if count is not None and count < rule.min_count else "kept"


def _strongest(found: pl.DataFrame) -> pl.DataFrame:
    """Give each word to one concept: the one that it names, else the one that it is tied to most strongly."""
    owner: dict[str, tuple[float, str]] = {}
    kept = found.filter(pl.col("fate") == "kept")
    for concept, word, strength, named in kept.select("concept", "word", "strength", "names").iter_rows():
        claim = (strength, named or concept)
        owner[word_key(word)] = max(owner.get(word_key(word), claim), claim, key=lambda each: each[0])
    lost = [
        fate == "kept" and owner[word_key(word)][1] != concept
        for concept, word, fate in found.select("concept", "word", "fate").iter_rows()
    ]
    return found.with_columns(
        fate=pl.when(pl.Series(lost, dtype=pl.Boolean)).then(pl.lit("other concept")).otherwise("fate")
    )


def _words(
    found: pl.DataFrame, labels: Mapping[str, list[str]], rule: AssociationRule, language: str
) -> tuple[list[WordRow], list[str]]:
    """List the words of each concept, and the concepts that have none but their names."""
    rows, lacking = [], []
    for concept, words in labels.items():
        kept = found.filter((pl.col("concept") == concept) & (pl.col("fate") == "kept"))
        if not kept.height:
            lacking.append(concept)
            continue
        strongest = float(kept["strength"][0])
        if rule.keep_label:
            names = {word_key(word): clean(word) for word in reversed(words)}
            rows += [WordRow(concept, language, word, strongest) for word in reversed(names.values())]
        pairs = kept.select("word", "strength").rows()
        rows += [WordRow(concept, language, word, strength) for word, strength in pairs]
    return rows, lacking


def _refuse(
    lacking: list[str], found: pl.DataFrame, norms: Associations, labels: Mapping[str, list[str]]
) -> None:
    """Say of the first concept without words why it has none."""
    for concept in lacking:
        own = found.filter((pl.col("concept") == concept) & (pl.col("fate") != "name"))
        names = ", ".join(repr(word) for word in labels[concept])
        if own.height:
            best = own.row(0, named=True)
            raise UserError(
                f"The concept {concept!r} ({names}) has no word in {norms.path} that passes: the strongest, "
                f"{best['word']!r}, has strength {best['strength']:.3g} and is out as: {best['fate']}. Lower "
                "min_strength or min_count, choose direction=both, or leave the concept out."
            )
        near = difflib.get_close_matches(word_key(labels[concept][0]), norms.cues, n=1)
        guess = f" The nearest cue is {near[0]!r}." if near else ""
        raise UserError(
            f"The norms of {norms.path} hold neither a cue nor a response {names} for the concept {concept!r}.{guess} "
            f"Name it otherwise (labels.{norms.language}.{concept}=WORD), or leave it out."
        )


def _notes(norms: Associations, found: pl.DataFrame, labels: Mapping[str, list[str]]) -> list[str]:
    notes = [
        f"{norms.path.name}: {norms.n_rows} rows, {norms.n_missing} cells without a response, {len(norms.cues)} cues; "
        f"{norms.responses} counted."
    ]
    if norms.n_odd:
        notes.append(
            f"{norms.path.name}: {norms.n_odd} rows have other numbers of cells than the header; left out."
        )
    unasked = [word for words in labels.values() for word in words if word_key(word) not in norms.cues]
    if unasked:
        notes.append(
            f"Not among the cues, so without forward associations ({norms.language}): {', '.join(unasked)}."
        )
    phrases = found.filter(pl.col("fate") == "several words").height
    if phrases:
        notes.append(
            f"{phrases} responses of several words left out ({norms.language}); multiword=keep keeps them."
        )
    if found.height and found["count"].null_count() == found.height:
        notes.append(f"{norms.path.name} holds strengths without counts, so min_count was not asked for.")
    return notes
