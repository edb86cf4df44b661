"""What a concept set's words have in common that they should not: overlap, word families, names, lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import polars as pl

from emosae.concepts.associations import word_key
from emosae.concepts.files import WordRow
from emosae.concepts.sets import SCHEMA, ConceptSet
from emosae.errors import UserError

__all__ = ["ConceptCheck", "check_concepts", "check_words"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptCheck:
    """What to know of a concept set's words before a model reads them.

    Attributes:
        counts: A row for each language and concept, those without words included: language, concept, label, words
            (distinct), shared (of them with other concepts), weighted (whether weights differ).
        missing: language, concept: concepts that have words in some language and not in this one.
        shared: language, word, concepts: words of several concepts; selection takes them as nobody's negative.
        families: language, stem, concept, word, other_concept, other_word: different words of different concepts
            with one stem (Snowball), so that a feature of the one is likely to be a feature of the other. Empty
            for languages without a stemmer.
        names: language, word, concept, names: words of a concept that are the label of another one.
        spaces: language, concept, word: words of several words.
        duplicates: language, concept, word, times: words that stand more than once in a concept, capitals and
            composition ignored.
        lengths: language, group, n, mean, sd, least, most, and against the neutral words difference (of means, in
            characters) and cohens_d (over the pooled standard deviation); null without neutral words.
        frequency: language, group, n, known (words that the list holds), mean_log (of log10 frequency), difference
            and cohens_d likewise; empty unless a list was given.
    """

    counts: pl.DataFrame
    missing: pl.DataFrame
    shared: pl.DataFrame
    families: pl.DataFrame
    names: pl.DataFrame
    spaces: pl.DataFrame
    duplicates: pl.DataFrame
    lengths: pl.DataFrame
    frequency: pl.DataFrame = field(default_factory=pl.DataFrame)


def check_concepts(
    concepts: ConceptSet,
    neutral: ConceptSet | None = None,
    frequencies: Mapping[str, Mapping[str, float]] | None = None,
) -> ConceptCheck:
    """Check a concept set; see `check_words`."""
    rows = [
        WordRow(*row) for row in concepts.words.select("concept", "language", "word", "weight").iter_rows()
    ]
    return check_words(
        rows,
        labels=concepts.labels,
        neutral=None if neutral is None else neutral.words,
        frequencies=frequencies,
    )


def check_words(
    rows: Sequence[WordRow],
    *,
    labels: Mapping[str, Mapping[str, str]] | None = None,
    neutral: pl.DataFrame | None = None,
    frequencies: Mapping[str, Mapping[str, float]] | None = None,
    expected: Sequence[str] = (),
) -> ConceptCheck:
    """Check the words of a concept set as they are written, whether or not they make a set that loads.

    Args:
        rows: The words.
        labels: Language to concept to its name; a concept left out is called by its key, underscores as spaces.
        neutral: Neutral words, columns language and word; None compares lengths with nothing.
        frequencies: Language to word to how often it is used, above 0, on any scale; None leaves frequency out.
        expected: Concepts that the set means to have, whether or not they have a word.

    Returns:
        The tables, in the order of the rows.

    Raises:
        UserError: There are no words.
    """
    if not rows:
        raise UserError("A concept set must hold words to be checked, got none. Give each concept some.")
    words = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(
        pl.Series("key", [word_key(row.word) for row in rows])
    )
    named = _labels(words, labels or {}, expected)
    once = words.unique(["language", "concept", "key"], keep="first", maintain_order=True)
    shared = (
        once.group_by("language", "key", maintain_order=True)
        .agg(pl.col("word").first(), pl.col("concept").alias("concepts"))
        .filter(pl.col("concepts").list.len() > 1)
        .drop("key")
    )
    counts = _counts(words, once, named)
    groups = {"all words": once.unique(["language", "key"], keep="first", maintain_order=True)}
    if neutral is not None:
        beside = neutral.filter(pl.col("language").is_in(words["language"].unique().to_list()))
        groups["neutral words"] = beside.select("language", "word").unique(maintain_order=True)
    per_concept = {concept: own for (concept,), own in once.group_by("concept", maintain_order=True)}
    groups |= {str(concept): own for concept, own in per_concept.items()}
    return ConceptCheck(
        counts=counts,
        missing=counts.filter(pl.col("words") == 0).select("language", "concept"),
        shared=shared,
        families=_families(once),
        names=_names(once, named),
        spaces=once.filter(pl.col("word").str.contains(r"\s")).select("language", "concept", "word"),
        duplicates=words.group_by("language", "concept", "key", maintain_order=True)
        .agg(pl.col("word").first(), pl.len().cast(pl.Int64).alias("times"))
        .filter(pl.col("times") > 1)
        .drop("key"),
        lengths=_compared(groups, lambda language, word: float(len(word)), "mean", _LENGTH),
        frequency=_frequency(groups, frequencies) if frequencies else pl.DataFrame(),
    )


def _labels(
    words: pl.DataFrame, labels: Mapping[str, Mapping[str, str]], expected: Sequence[str]
) -> pl.DataFrame:
    """List the label of every concept in every language."""
    languages = words["language"].unique(maintain_order=True)
    concepts = dict.fromkeys([*words["concept"], *expected])
    rows = [
        (language, concept, labels.get(language, {}).get(concept) or concept.replace("_", " "))
        for language in languages
        for concept in concepts
    ]
    return pl.DataFrame(rows, schema=["language", "concept", "label"], orient="row")


def _counts(words: pl.DataFrame, once: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    n_owners = once.with_columns(pl.len().over("language", "key").alias("owners"))
    counted = n_owners.group_by("language", "concept").agg(
        pl.len().cast(pl.Int64).alias("words"),
        (pl.col("owners") > 1).sum().cast(pl.Int64).alias("shared"),
        (pl.col("weight").n_unique() > 1).alias("weighted"),
    )
    return named.join(counted, on=["language", "concept"], how="left", maintain_order="left").with_columns(
        pl.col("words").fill_null(0), pl.col("shared").fill_null(0), pl.col("weighted").fill_null(False)
    )


def _families(once: pl.DataFrame) -> pl.DataFrame:
    from emosae.ratings.folds import stem

    schema = ["language", "stem", "concept", "word", "other_concept", "other_word"]
    stems = once.with_columns(
        pl.Series(
            "stem", [stem(word, language) for language, word in once.select("language", "word").iter_rows()]
        )
    )
    rows = []
    for (language, root), own in stems.group_by("language", "stem", maintain_order=True):
        members = own.select("concept", "word", "key").rows()
        for (concept, word, key), (other, second, other_key) in combinations(members, 2):
            if concept != other and key != other_key:
                rows.append((language, root, concept, word, other, second))
    return pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row")


def _names(once: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    keyed = named.select(
        "language",
        pl.col("concept").alias("names"),
        pl.Series("key", [word_key(label) for label in named["label"]]),
    )
    return (
        once.join(keyed, on=["language", "key"], how="inner", maintain_order="left")
        .filter(pl.col("names") != pl.col("concept"))
        .select("language", "word", "concept", "names")
    )


_LENGTH = ("n", "mean", "sd", "least", "most", "difference", "cohens_d")


def _compared(
    groups: Mapping[str, pl.DataFrame],
    measure: Callable[[str, str], float],
    mean: str,
    columns: Sequence[str],
) -> pl.DataFrame:
    """Summarise a measure of words by group and language, beside that of the neutral words; NaN is unknown."""
    values: dict[tuple[str, str], np.ndarray] = {}
    totals: dict[tuple[str, str], int] = {}
    for group, table in groups.items():
        for (language,), own in table.group_by("language", maintain_order=True):
            measured = np.array([measure(str(language), word) for word in own["word"]])
            totals[str(language), group] = len(measured)
            values[str(language), group] = measured[np.isfinite(measured)]
    rows = []
    for (language, group), own_values in sorted(values.items(), key=lambda item: item[0][0]):
        own_sd = float(own_values.std(ddof=1)) if len(own_values) > 1 else None
        beside = values.get((language, "neutral words"))
        difference, d = (None, None) if group == "neutral words" else _effect(own_values, beside)
        row = {
            "n": totals[language, group],
            "known": len(own_values),
            mean: float(own_values.mean()) if len(own_values) else None,
            "sd": own_sd,
            "least": float(own_values.min()) if len(own_values) else None,
            "most": float(own_values.max()) if len(own_values) else None,
            "difference": difference,
            "cohens_d": d,
        }
        rows.append((language, group, *(row[name] for name in columns)))
    whole = {"n": pl.Int64, "known": pl.Int64}
    schema = {"language": pl.String, "group": pl.String} | {
        name: whole.get(name, pl.Float64) for name in columns
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _effect(own: np.ndarray, beside: np.ndarray | None) -> tuple[float | None, float | None]:
    """Give the difference of means and Cohen's d, with the pooled standard deviation."""
    if beside is None or not len(beside) or not len(own):
        return None, None
    difference = float(own.mean() - beside.mean())
    freedom = len(own) + len(beside) - 2
    squares = float(((own - own.mean()) ** 2).sum() + ((beside - beside.mean()) ** 2).sum())
    if freedom < 1 or squares == 0:
        return difference, None
    return difference, difference / math.sqrt(squares / freedom)


def _frequency(
    groups: Mapping[str, pl.DataFrame], frequencies: Mapping[str, Mapping[str, float]]
) -> pl.DataFrame:
    keyed = {
        language: {word_key(word): value for word, value in listed.items() if value > 0}
        for language, listed in frequencies.items()
    }

    def log_frequency(language: str, word: str) -> float:
        value = keyed.get(language, {}).get(word_key(word))
        return math.log10(value) if value else math.nan

    return _compared(
        groups, log_frequency, "mean_log", ("n", "known", "mean_log", "sd", "difference", "cohens_d")
    )
