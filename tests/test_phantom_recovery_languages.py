"""What was planted of the two languages: tables that hold it show it, and tables of chance do not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import hypergeom

from emosae.phantom.recovery import COLUMNS
from emosae.phantom.recovery_languages import language_recovery
from emosae.phantom.truth import emotion_truth, planted_distance
from emosae.phantom.world import Language, load_world

WORDS = [
    (word, emotion.name)
    for emotion in load_world().emotions.values()
    for word in emotion.words
    if word.language is Language.ZH
]


def features(split: bool) -> dict[str, pl.DataFrame]:
    """One feature an emotion; with `split` a second sense fires another one. English has a word to be there."""
    names = emotion_truth()["emotion"].to_list()
    rows = [
        {
            "language": "zh",
            "word": word.text,
            "features": [names.index(name) + (100 if split and word.sense == "b" else 0), 500],
            "activations": [2.0, 1.0],
        }
        for word, name in WORDS
    ]
    rows.append({"language": "en", "word": "joy", "features": [0, 500], "activations": [2.0, 1.0]})
    return {"words": pl.DataFrame(rows), "summary": pl.DataFrame({"n_active": [400]})}


def select(shared: int) -> dict[str, pl.DataFrame]:
    """Forty features a language, `shared` of them the same."""
    members = {
        "en": range(40),
        "zh": range(40 - shared, 80 - shared),
        "universal": range(40 - shared, 40),
    }
    rows = [{"set": name, "concept": "joy", "feature": f} for name, own in members.items() for f in own]
    return {"sets": pl.DataFrame(rows)}


def geometry(shift: float) -> dict[str, pl.DataFrame]:
    """Planted distances in both languages, in Chinese with excitement and fear moved together by `shift`."""
    rows = [
        {
            "space": f"features_{language}",
            "concept_a": a,
            "concept_b": b,
            "dissimilarity": d - (shift if language == "zh" and {a, b} == {"excitement", "fear"} else 0.0),
        }
        for language in ("en", "zh")
        for a, b, d in planted_distance().select("first", "second", "distance").iter_rows()
    ]
    return {"rdms": pl.DataFrame(rows)}


def ratings(predicted: float, norms: str = "phantom_zh") -> dict[str, pl.DataFrame]:
    rows = [
        {"norms": norms, "word": word, "predicted": value}
        for word, value in [("委屈", predicted), *((f"w{i}", float(i)) for i in range(1, 9))]
    ]
    same = {"language": "zh", "target": "valence", "predictor": "features"}
    return {"predictions": pl.DataFrame([row | same for row in rows])}


def row(table: pl.DataFrame, question: str, language: str = "zh") -> dict[str, object]:
    return table.filter(question=question, language=language).row(0, named=True)


def test_what_was_planted_is_seen_where_the_tables_hold_it() -> None:
    table = language_recovery(features(split=True), select(30), geometry(2.0), ratings(0.5))
    assert dict(table.schema) == COLUMNS
    both = row(table, "features of both languages", "en, zh")
    assert (both["found"], both["chance"], both["met"]) == (30.0, hypergeom.ppf(0.95, 400, 40, 40), True)
    # words of one sense fire the same two features; of the two senses only the weaker one is common: 1 against 1/5
    senses = row(table, "two senses of one emotion")
    assert senses["found"] == pytest.approx(0.8)
    assert senses["met"]
    assert row(table, "shared bodily signs")["found"] > 0.99
    assert not row(table, "shared bodily signs", "en")["met"]
    assert row(table, "a word of one language")["found"] == 1.0


def test_what_is_not_there_is_not_seen() -> None:
    table = language_recovery(features(split=False), select(4), geometry(0.0), ratings(5.5))
    assert not table["met"].any()
    assert row(table, "two senses of one emotion")["found"] == pytest.approx(0.0)
    assert row(table, "a word of one language")["found"] == 0.375  # 6, 7 and 8 of eight words


def test_neither_one_language_nor_another_data_set_is_held_against_the_plan() -> None:
    only = features(split=True)["words"].filter(language="zh")
    assert language_recovery({"words": only}, select(30), {}, {}).is_empty()
    assert language_recovery({}, {}, {}, ratings(0.5, norms="cvaw3")).is_empty()
    assert language_recovery({}, {}, {}, {}).is_empty()


@pytest.mark.parametrize("seed", range(3))
def test_random_words_share_no_more_within_a_sense(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = features(split=True)
    n = found["words"].height
    noise = [rng.choice(50, 5, replace=False).tolist() for _ in range(n)]
    words = found["words"].with_columns(
        pl.Series("features", noise), pl.Series("activations", rng.random((n, 5)).tolist())
    )
    senses = row(language_recovery(found | {"words": words}, {}, {}, {}), "two senses of one emotion")
    assert abs(senses["found"]) < 3 * senses["chance"]
