"""Several data sets as one, and one row per word."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from emosae.errors import UserError
from emosae.norms import NormEntry, load_ratings, merge
from emosae.norms.ratings import combine, to_unit


def load(folder: Path, name: str, text: str, **fields):
    path = folder / f"{name}.csv"
    path.write_text(text, encoding="utf-8")
    columns = {header: header for header in text.splitlines()[0].split(",")}
    return load_ratings(NormEntry(name=name, path=str(path), columns=columns, **{"language": "en", **fields}))


def test_sets_meet_on_the_common_scale(tmp_path):
    nine = load(tmp_path, "nine", "word,valence,valence_sd,valence_n\nlove,9,2,10\nsea,5,1,10\n")
    three = load(
        tmp_path, "three", "word,valence,valence_sd,valence_n\nlove,0,3,30\n", scale_min=-3, scale_max=3
    )
    merged = merge([nine, three])
    assert merged.table.rows(named=True) == [
        {
            "word": "love",
            "language": "en",
            "multiword": False,
            "valence": 0.5,
            "valence_scaled": 0.5,
            "valence_sd": pytest.approx(np.sqrt((0.5**2 + 1**2) / 2)),
            "valence_n": 40,
            "sources": "nine+three",
        },
        {
            "word": "sea",
            "language": "en",
            "multiword": False,
            "valence": 0,
            "valence_scaled": 0,
            "valence_sd": 0.25,
            "valence_n": 10,
            "sources": "nine",
        },
    ]
    assert (merged.name, merged.scales, merged.n_rows) == ("nine+three", {"valence": (-1, 1)}, 3)


def test_languages_stay_apart(tmp_path):
    en = load(tmp_path, "en", "word,valence,arousal\ngift,8,5\n")
    de = load(tmp_path, "de", "word,valence,arousal\ngift,2,7\n", language="de")
    merged = merge([en, de])
    assert merged.table.select("word", "language", "valence").rows() == [
        ("gift", "en", 0.75),
        ("gift", "de", -0.75),
    ]
    assert merged.language == "en+de"


def test_deviation_goes_where_only_one_set_gives_it(tmp_path):
    with_sd = load(tmp_path, "a", "word,valence,valence_sd\nlove,8,2\nsea,5,2\n")
    without = load(tmp_path, "b", "word,valence\nlove,8\n")
    merged = merge([with_sd, without])
    assert merged.table.select("word", "valence_sd").rows() == [("love", None), ("sea", 0.5)]


def test_groups_and_reversed_scales_are_rescaled(tmp_path):
    a = load(
        tmp_path, "a", "word,valence,male_arousal,male_arousal_sd\nx,5,9,4\n", arousal_min=9, arousal_max=1
    )
    b = load(tmp_path, "b", "word,valence\ny,5\n")
    assert merge([a, b]).table.select("male_arousal", "male_arousal_sd").rows() == [(-1, 1), (None, None)]


def test_one_set_comes_back_as_it_is_and_none_or_two_of_a_name_are_refused(tmp_path):
    one = load(tmp_path, "a", "word,valence\nx,5\n")
    assert merge([one]) is one
    with pytest.raises(UserError, match="at least one, got \\[\\]"):
        merge([])
    with pytest.raises(UserError, match="Name each once"):
        merge([one, one])


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.floats(1, 9), st.floats(0, 3)), min_size=1, max_size=20)
)
def test_combine_equals_averaging_by_hand(rows):
    table = pl.DataFrame(rows, schema=["word", "valence", "valence_sd"], orient="row").with_columns(
        language=pl.lit("en")
    )
    result = combine(table)
    assert result["word"].to_list() == list(dict.fromkeys(word for word, _, _ in rows))
    for word, valence, sd in result.select("word", "valence", "valence_sd").rows():
        mine = [row for row in rows if row[0] == word]
        assert valence == pytest.approx(np.mean([row[1] for row in mine]), rel=1e-12)
        assert sd == pytest.approx(np.sqrt(np.mean([row[2] ** 2 for row in mine])), rel=1e-9, abs=1e-12)


@given(st.floats(-100, 100), st.floats(0.5, 100), st.floats(0, 1), st.floats(0, 1))
def test_rescaling_keeps_order_and_stays_inside(low, width, one, other):
    values = pl.DataFrame({"x": [low + one * width, low + other * width]})
    first, second = values.select(to_unit(pl.col("x"), (low, low + width)))["x"]
    assert -1 <= first <= 1
    assert -1 <= second <= 1
    assert (one - other) * (first - second) >= 0
