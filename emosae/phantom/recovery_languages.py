"""What was planted of the two languages apart and together, and how much of it a study's tables show.

The world has one grammar with two wordings, so that features can serve both languages, and three facts planted as
tests: a word of Chinese alone, an emotion that Chinese splits in two, and two emotions with one set of bodily signs.
A study reads words, not passages; what is planted in passages only may stay unseen, and its row then says so.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.stats import hypergeom, rankdata

from emosae.phantom.recovery import COLUMNS, chance_of, planted_ratings
from emosae.phantom.truth import emotion_truth, planted_distance
from emosae.phantom.world import Emotion, Language, load_world

__all__ = ["language_recovery"]

_Tables = Mapping[str, pl.DataFrame]
_Row = dict[str, object]
_TWO = ("en", "zh")


def language_recovery(
    features: _Tables, select: _Tables, geometry: _Tables, ratings: _Tables, seed: int = 0
) -> pl.DataFrame:
    """Compare what one site's tables show of the two languages with what was planted.

    Args:
        features: Tables of the features stage, by name; empty where the stage did not run.
        select: Tables of the selection.
        geometry: Tables of the geometry.
        ratings: Tables of the ratings.
        seed: Seed of the shuffles.

    Returns:
        A row a question and language, with the columns of `emosae.phantom.recovery.COLUMNS`: `found` is a number of
        features, a difference of cosines or a share, and counts as met above `chance`; there is no other goal.
        Empty unless the study read both languages.
    """
    rng = np.random.default_rng(seed)
    rows: list[_Row] = []
    words, sets = features.get("words"), select.get("sets")
    if words is not None and set(words["language"]) >= set(_TWO):
        if sets is not None and "summary" in features:
            rows += _universal(sets, int(features["summary"]["n_active"][0]))
        rows += _senses(words, rng)
    if "rdms" in geometry and {f"features_{each}" for each in _TWO} <= set(geometry["rdms"]["space"]):
        rows += _bodily_signs(geometry["rdms"])
    if "predictions" in ratings:
        rows += _own_word(planted_ratings(ratings["predictions"]))
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(stage: str, question: str, language: str, found: float, chance: float) -> _Row:
    return {
        "stage": stage, "question": question, "language": language, "found": found,
        "goal": None, "chance": chance, "p": None, "met": found > chance,
    }  # fmt: skip


def _members(sets: pl.DataFrame, name: str) -> set[int]:
    return set(sets.filter(pl.col("set") == name)["feature"].to_list())


def _universal(sets: pl.DataFrame, n_active: int) -> list[_Row]:
    """Features selected in both languages, beside the overlap of sets of these sizes drawn from all that fire."""
    both = len(_members(sets, "universal"))
    sizes = [len(_members(sets, language)) for language in _TWO]
    chance = float(hypergeom.ppf(0.95, n_active, *sizes)) if min(sizes) else 0.0
    return [_row("select", "features of both languages", "en, zh", float(both), chance)]


def _senses(words: pl.DataFrame, rng: np.random.Generator) -> list[_Row]:
    """Are the words of one sense of a split emotion more alike than words of different senses, in Chinese?

    Alike is the cosine of the strongest features' activations. English words of the emotion have no senses.
    """
    rows = []
    for emotion in (each for each in load_world().emotions.values() if each.situations_b):
        senses = {word.text: word.sense for word in emotion.words if word.language is Language.ZH}
        own = words.filter((pl.col("language") == "zh") & pl.col("word").is_in(list(senses)))
        second = np.array([senses[word] == "b" for word in own["word"].to_list()])
        if min(second.sum(), (~second).sum()) < 2:
            continue
        alike = _cosines(own)
        upper = np.triu_indices(len(second), 1)

        def gap(order: np.ndarray, s: np.ndarray = second, alike: np.ndarray = alike) -> float:
            same = (s[order][:, None] == s[order][None])[upper]  # noqa: B023 - called before the next emotion
            return float(alike[upper][same].mean() - alike[upper][~same].mean())  # noqa: B023

        found = gap(np.arange(len(second)))
        rows.append(
            _row("features", "two senses of one emotion", "zh", found, chance_of(gap, len(second), rng))
        )
    return rows


def _cosines(words: pl.DataFrame) -> np.ndarray:
    listed, values = words["features"].to_list(), words["activations"].to_list()
    places = {feature: at for at, feature in enumerate(sorted({f for own in listed for f in own}))}
    dense = np.zeros((len(listed), max(len(places), 1)))
    for row, (own, strength) in enumerate(zip(listed, values, strict=True)):
        dense[row, [places[feature] for feature in own]] = strength
    dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
    return np.asarray(dense @ dense.T)


def _bodily_signs(rdms: pl.DataFrame) -> list[_Row]:
    """Are two emotions with the same bodily signs more alike than their valence and arousal make them?

    `found` is the share of all pairs of emotions that exceed what planted distance predicts by less.
    """
    pairs = planted_distance()
    names = [frozenset(pair) for pair in pairs.select("first", "second").iter_rows()]
    planted = rankdata(pairs["distance"].to_numpy())
    rows = []
    for emotion in (each for each in load_world().emotions.values() if each.body_of):
        at = names.index(frozenset((emotion.name, emotion.body_of)))
        for language in _TWO:
            own = rdms.filter(pl.col("space") == f"features_{language}")
            known = {
                frozenset((a, b)): d
                for a, b, d in own.select("concept_a", "concept_b", "dissimilarity").iter_rows()
            }
            if not set(names) <= set(known):
                continue
            seen = rankdata([known[pair] for pair in names])
            left = seen - np.polyval(np.polyfit(planted, seen, 1), planted)
            # a pair drawn at random exceeds .95 in one case of twenty
            rows.append(
                _row("geometry", "shared bodily signs", language, float((left > left[at]).mean()), 0.95)
            )
    return rows


def _own_word(predictions: pl.DataFrame) -> list[_Row]:
    """Is the word that only Chinese has placed by its features on its side of the scale?

    `found` is the share of the other rated words whose held-out valence lies further to the other end than its own.
    """
    own = predictions.filter(
        (pl.col("predictor") == "features") & (pl.col("target") == "valence") & (pl.col("language") == "zh")
    )
    middle = float(emotion_truth()["valence"].to_numpy().mean())
    rows = []
    for emotion in load_world().emotions.values():
        known = _prediction(own, emotion)
        if known is None or emotion.specific_zh is None:
            continue
        others = own.filter(pl.col("word") != emotion.specific_zh.text)["predicted"].to_numpy()
        beyond = others > known if emotion.specific_zh.valence < middle else others < known
        rows.append(_row("ratings", "a word of one language", "zh", float(beyond.mean()), 0.95))
    return rows


def _prediction(predictions: pl.DataFrame, emotion: Emotion) -> float | None:
    if emotion.specific_zh is None:
        return None
    rows = predictions.filter(pl.col("word") == emotion.specific_zh.text)
    return float(rows["predicted"][0]) if rows.height else None
