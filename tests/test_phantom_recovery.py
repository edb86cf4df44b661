"""The recovery table: the planted truth itself is found wholly, noise is not, and what the shipped phantom reaches."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emosae.phantom.recovery import COLUMNS, GOALS, recovery
from emosae.phantom.truth import emotion_truth, planted_distance, word_truth

NAMES = emotion_truth()["emotion"].to_list()


def geometry(order: np.ndarray, control_p: float = 0.6) -> dict[str, pl.DataFrame]:
    """Tables of spaces that are the planted one, with the emotions' places taken by others in `order`."""
    moved = dict(zip(NAMES, [NAMES[i] for i in order], strict=True))
    pairs = {
        frozenset((a, b)): d for a, b, d in planted_distance().select("first", "second", "distance").rows()
    }
    rdms, places = [], []
    values = {row["emotion"]: row for row in emotion_truth().iter_rows(named=True)}
    for space in ("features_en", "features_zh", "residual_en"):
        for i, a in enumerate(NAMES):
            places.append(
                {
                    "space": space, "concept": a, "axis_1": values[moved[a]]["valence"],
                    "axis_2": -values[moved[a]]["arousal"], "axis_3": float(i % 2),
                }
            )  # fmt: skip
            rdms += [
                {
                    "space": space, "concept_a": a, "concept_b": b,
                    "dissimilarity": pairs[frozenset((moved[a], moved[b]))],
                }
                for b in NAMES[i + 1 :]
            ]  # fmt: skip
    spaces = ["features_en", "features_zh", "residual_en"]
    control = pl.DataFrame({"space": spaces, "p": [control_p, 0.4, 0.001]})
    return {"rdms": pl.DataFrame(rdms), "coordinates": pl.DataFrame(places), "control": control}


def ratings(noise: float, seed: int = 0, p: float = 1e-4) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    truth = word_truth().filter(pl.col("language") == "en")
    rows, pairs = [], []
    for target in ("valence", "arousal"):
        planted = truth[target].to_numpy()
        predicted = (1 - noise) * planted + noise * rng.normal(size=len(planted))
        table = truth.select("word", "language").with_columns(
            pl.lit(target).alias("target"), pl.lit("features").alias("predictor"),
            pl.Series("rating", 1 + 8 * planted), pl.Series("predicted", predicted),
        )  # fmt: skip
        rows.append(table)
        pairs.append(
            {
                "language": "en", "target": target, "a": "matched_control", "b": "emotion_space",
                "test": "corrected_t", "difference": -0.2, "p": p,
            }
        )  # fmt: skip
    return {"predictions": pl.concat(rows), "comparisons": pl.DataFrame(pairs)}


def found(table: pl.DataFrame, question: str, language: str) -> dict[str, object]:
    return table.filter((pl.col("question") == question) & (pl.col("language") == language)).row(
        0, named=True
    )


def test_the_truth_itself_is_found_wholly() -> None:
    summary = pl.DataFrame({"language": ["en"] * 27, "n_significant": [1] * 26 + [0]})
    table = recovery({"summary": summary}, geometry(np.arange(27)), ratings(0.0))
    assert dict(table.schema) == COLUMNS
    assert table["met"].all()
    assert set(table["question"]) == set(GOALS)
    assert found(table, "emotions with a feature", "en")["found"] == 26
    for question in (
        "space against planted distance",
        "axis 1 against valence",
        "axis 2 or 3 against arousal",
    ):
        for language in ("en", "zh"):
            row = found(table, question, language)
            assert row["found"] == pytest.approx(1.0)
            assert row["chance"] < 0.6
    assert found(table, "English against Chinese", "en, zh")["found"] == pytest.approx(1.0)
    assert found(table, "valence of words", "en")["found"] == pytest.approx(1.0)
    assert found(table, "emotion space over matched control, valence", "en")["found"] == pytest.approx(0.2)


@given(st.integers(0, 1000))
@settings(max_examples=8)
def test_emotions_in_each_other_s_places_are_not_taken_for_the_truth(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(27)
    table = recovery({}, geometry(order), {})
    assert not table.filter(pl.col("question") == "space against planted distance")["met"].any()
    # Both languages carry the same wrong places, and are alike.
    assert found(table, "English against Chinese", "en, zh")["met"]


def test_noise_and_a_large_p_reach_no_goal() -> None:
    table = recovery({}, {}, ratings(1.0, p=0.2))
    assert table.height == 3
    assert not table["met"].any()
    assert recovery({}, {}, {}).is_empty()


def test_control_concepts_that_lie_along_valence_are_told() -> None:
    table = recovery({}, geometry(np.arange(27), control_p=0.01), {})
    own = table.filter(pl.col("question") == "valence among concepts without feeling")
    assert own["language"].to_list() == ["en", "zh"]
    assert own["found"].to_list() == [0.01, 0.4]
    assert own["met"].to_list() == [False, True]
