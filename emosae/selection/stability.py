"""Would other words have selected the same features? Split-half agreement of the sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import sparse

from emosae.selection.agreement import (
    chance_jaccard,
    concept_agreement,
    jaccard,
    on_and_off,
    rank_agreement,
)
from emosae.selection.config import SelectionConfig
from emosae.selection.membership import check_features, read_membership
from emosae.selection.scores import FeatureScores, score_features
from emosae.selection.sets import feature_sets
from emosae.selection.tables import column_statistics, score_tables

__all__ = ["FRACTIONS", "STABILITY_SCHEMA", "split_half_stability", "split_words"]

logger = logging.getLogger(__name__)

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
"""Shares of each half's words that are used, so that the table shows what more words would bring."""

STABILITY_SCHEMA = {
    "set": pl.String,
    "concept": pl.String,
    "fraction": pl.Float64,
    "n_words": pl.Float64,
    "n_features": pl.Float64,
    "jaccard": pl.Float64,
    "jaccard_sd": pl.Float64,
    "jaccard_chance": pl.Float64,
    "jaccard_concepts": pl.Float64,
    "jaccard_mismatched": pl.Float64,
    "rank_correlation": pl.Float64,
    "rank_correlation_sd": pl.Float64,
    "rank_mismatched": pl.Float64,
    "n_splits": pl.Int64,
}


def split_half_stability(
    csr: sparse.csr_array,
    items: pl.DataFrame,
    words: pl.DataFrame,
    neutral: pl.DataFrame | None,
    *,
    languages: Sequence[str],
    config: SelectionConfig | None = None,
    n_splits: int = 5,
    seed: int = 0,
) -> pl.DataFrame:
    """Select from two halves of the words and compare what they select, for several numbers of words.

    The words of each concept and the neutral words are split at random; a word of several concepts falls into
    one half for all of them. Each half is a study of its own: its scores, tests, densities and sets come from
    its own words. The agreement at `fraction` 1 is that of two studies with half of the words each: the whole
    study's own agreement with a new one of its size is higher.

    Args:
        csr: Words x features, as for `select_features`.
        items: Columns word and language.
        words: Columns concept, language, word and, if weighted, weight.
        neutral: Columns language and word; None for none.
        languages: Languages to select in.
        config: Thresholds and sizes; None for the defaults.
        n_splits: Random halves.
        seed: Seed of the halves.

    Returns:
        A row for each set (see `feature_sets`) and fraction, in which `concept` is null: n_words (mean number of
        words of a concept in a half), n_features (mean size of the set), jaccard (features in both halves' sets
        over features in either) with its standard deviation over splits, jaccard_chance (that of random sets of
        these sizes among the features that fire), jaccard_concepts (the mean over concepts of the agreement of
        their own features) beside jaccard_mismatched (that of one concept in one half with another concept in the other
        half: what features that fire for many concepts bring), and for the sets of one language
        rank_correlation (Spearman's rho of the AUROC of all features that fire in either half, mean over
        concepts) with its standard deviation, beside rank_mismatched (likewise of different concepts; above
        zero because AUROC follows a feature's density too); n_splits. Null
        where nothing was selected. Below them a row for each language, concept and fraction: the same numbers of that
        one concept's words and features, `set` the language; rank_mismatched is then with the other concepts, and
        jaccard_concepts is null. Empty where a concept has fewer than two words with features, or
        where there is one concept and no neutral words to tell it from.
    """
    config = config or SelectionConfig()
    csr = check_features(csr, items)
    concepts = list(dict.fromkeys(words["concept"]))
    have = items.select("language", "word").unique()
    known = words.join(have, on=["language", "word"]).select("language", "concept", "word").unique()
    aside = 0 if neutral is None else neutral.join(have, on=["language", "word"]).height
    lonely = len(concepts) == 1 and aside < 2 * len(languages)  # nothing to tell its words from
    counts = known.filter(pl.col("language").is_in(list(languages))).group_by("language", "concept").len()
    if counts.height < len(languages) * len(concepts) or (counts["len"] < 2).any() or lonely:
        logger.info("no split-half agreement: there are too few words to halve")
        return pl.DataFrame(schema=STABILITY_SCHEMA)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for _ in range(n_splits):
        orders = {language: split_words(known, neutral, items, language, rng) for language in languages}
        for fraction in FRACTIONS:
            halves = [_Half(csr, items, words, neutral, orders, half, fraction, config) for half in (0, 1)]
            rows += _agreement(halves[0], halves[1], concepts, list(languages), fraction)
    return _summary(rows)


def split_words(
    known: pl.DataFrame,
    neutral: pl.DataFrame | None,
    items: pl.DataFrame,
    language: str,
    rng: np.random.Generator,
) -> tuple[list[list[list[str]]], list[list[str]]]:
    """Split the words of one language into halves, each concept's words as evenly as can be.

    Args:
        known: Distinct language, concept, word that have features.
        neutral: Columns language and word; None for none.
        items: Words that have features.
        language: The language.
        rng: Where the order comes from.

    Returns:
        For each half each concept's words in random order, and each half's neutral words.
    """
    own = known.filter(pl.col("language") == language).sort("concept", "word")
    half_of: dict[str, int] = {}
    lists: list[list[list[str]]] = [[], []]
    for (_,), rows in own.group_by("concept", maintain_order=True):
        listed = [rows["word"][int(at)] for at in rng.permutation(rows.height)]
        placed = [0, 0]
        for word in listed:  # words that an earlier concept placed count first, the rest evens out
            if word in half_of:
                placed[half_of[word]] += 1
        for word in listed:
            if word not in half_of:
                half = int(placed[1] < placed[0] or (placed[0] == placed[1] and rng.random() < 0.5))
                half_of[word] = half
                placed[half] += 1
        for half in (0, 1):
            lists[half].append([word for word in listed if half_of[word] == half])
    aside: list[str] = []
    if neutral is not None:
        there = set(items.filter(pl.col("language") == language)["word"])
        listed_aside = neutral.filter(pl.col("language") == language)["word"].unique().sort()
        aside = [word for word in listed_aside if word in there and word not in half_of]
    order = rng.permutation(len(aside))
    return lists, [[aside[int(at)] for at in order[half::2]] for half in (0, 1)]


class _Half:
    """What one half of the words selects, in every language."""

    def __init__(
        self,
        csr: sparse.csr_array,
        items: pl.DataFrame,
        words: pl.DataFrame,
        neutral: pl.DataFrame | None,
        orders: dict[str, tuple[list[list[list[str]]], list[list[str]]]],
        half: int,
        fraction: float,
        config: SelectionConfig,
    ) -> None:
        self.scores: dict[str, FeatureScores] = {}
        self.live: dict[str, np.ndarray] = {}
        self.n_words: dict[str, float] = {}
        self.n_members: dict[str, dict[str, int]] = {}
        tables = []
        concepts = list(dict.fromkeys(words["concept"]))
        for language, (lists, aside) in orders.items():
            taken = {word for one in lists[half] for word in one[: max(1, round(fraction * len(one)))]}
            plain = aside[half][: max(1, round(fraction * len(aside[half])))]
            rows = np.flatnonzero(
                ((items["language"] == language) & items["word"].is_in([*taken, *plain])).to_numpy()
            )
            part, own = csr[rows], items[rows]
            listed = words.filter((pl.col("language") == language) & pl.col("word").is_in(list(taken)))
            present = [concept for concept in concepts if concept in set(listed["concept"])]
            beside = pl.DataFrame({"language": [language] * len(plain), "word": plain}) if plain else None
            membership = read_membership(own, listed, beside, language=language, concepts=present)
            scored = score_features(part[membership.rows], membership.weights, membership.neutral)
            density, _ = column_statistics(part, np.arange(len(rows)))
            table, _ = score_tables(scored, density, membership, config)
            tables.append(table.filter("selected"))
            self.scores[language] = scored
            self.live[language] = scored.features
            members = (membership.weights > 0).sum(axis=0)
            self.n_words[language] = float(members.mean())
            self.n_members[language] = dict(zip(present, members.tolist(), strict=True))
        self.sets = feature_sets(pl.concat(tables), list(orders))


def _agreement(
    one: _Half, other: _Half, concepts: list[str], languages: list[str], fraction: float
) -> list[dict[str, object]]:
    live = np.unique(np.concatenate([*one.live.values(), *other.live.values()]))
    rows: list[dict[str, object]] = []
    only = [f"{language}_only" for language in languages] if len(languages) > 1 else []
    for name in [*languages, *only, "universal", "space"]:
        a, b = (half.sets.filter(pl.col("set") == name) for half in (one, other))
        language = name if name in languages else None
        own = np.union1d(one.live[language], other.live[language]) if language else live
        left, right = (np.unique(side["feature"].to_numpy()) for side in (a, b))
        square = concept_agreement(a, b, concepts)
        matched, mismatched = on_and_off(square)
        rho = rank_agreement(one.scores[language], other.scores[language]) if language else None
        rank, rank_other = (float("nan"), float("nan")) if rho is None else on_and_off(rho)
        rows.append(
            {
                "set": name,
                "concept": None,
                "fraction": fraction,
                "n_words": float(np.mean([half.n_words[w] for half in (one, other) for w in languages]))
                if language is None
                else (one.n_words[language] + other.n_words[language]) / 2,
                "n_features": (len(left) + len(right)) / 2,
                "jaccard": jaccard(left, right),
                "jaccard_chance": chance_jaccard(len(left), len(right), len(own)),
                "jaccard_concepts": matched,
                "jaccard_mismatched": mismatched,
                "rank_correlation": rank,
                "rank_mismatched": rank_other,
            }
        )
        if language:
            rows += _by_concept((one, other), (a, b), (square, rho), concepts, language, fraction, len(own))
    return rows


def _by_concept(
    halves: tuple[_Half, _Half],
    sides: tuple[pl.DataFrame, pl.DataFrame],
    squares: tuple[np.ndarray, np.ndarray | None],
    concepts: list[str],
    language: str,
    fraction: float,
    n_live: int,
) -> list[dict[str, object]]:
    """Give the agreement of each concept's own features and scores in one language."""
    rows: list[dict[str, object]] = []
    square, rho = squares
    for at, concept in enumerate(concepts):
        left, right = (side.filter(pl.col("concept") == concept).height for side in sides)
        rest = np.arange(len(concepts)) != at
        crossed = np.concatenate([square[at, rest], square[rest, at]])
        ranks = np.empty(0) if rho is None else np.concatenate([rho[at, rest], rho[rest, at]])
        rows.append(
            {
                "set": language,
                "concept": concept,
                "fraction": fraction,
                "n_words": sum(half.n_members[language].get(concept, 0) for half in halves) / 2,
                "n_features": (left + right) / 2,
                "jaccard": float(square[at, at]),
                "jaccard_chance": chance_jaccard(left, right, n_live),
                "jaccard_concepts": float("nan"),
                "jaccard_mismatched": _mean(crossed),
                "rank_correlation": float("nan") if rho is None else float(rho[at, at]),
                "rank_mismatched": _mean(ranks),
            }
        )
    return rows


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _summary(rows: list[dict[str, object]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col(pl.Float64).fill_nan(None))
    mean = [name for name in table.columns if name not in {"set", "concept", "fraction"}]
    return (
        table.group_by("set", "concept", "fraction", maintain_order=True)
        .agg(
            *(pl.col(name).mean() for name in mean),
            pl.col("jaccard").std().alias("jaccard_sd"),
            pl.col("rank_correlation").std().alias("rank_correlation_sd"),
            pl.len().cast(pl.Int64).alias("n_splits"),
        )
        .select(*STABILITY_SCHEMA)
        .sort(pl.col("concept").is_not_null(), maintain_order=True)
        .cast(STABILITY_SCHEMA)  # type: ignore[arg-type]
    )
