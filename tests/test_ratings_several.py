"""Several data sets of one language: each a study of its own, told apart in every table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from emosae.ratings import (
    RatingsConfig,
    RatingsResult,
    agreement,
    join_studies,
    reliability_ceiling,
    split_studies,
    study_groups,
    study_ratings,
)

QUICK = RatingsConfig(folds=3, inner_folds=2, penalties=4, bootstrap=100, workers=1, group_simulations=0)
TABLES = ("scores", "folds", "predictions", "comparisons", "weights", "groups")


def make_words(n: int, language: str, seed: int) -> tuple[sp.csr_array, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n, 12)) < 0.3, rng.exponential(size=(n, 12)), 0.0)
    table = pl.DataFrame(
        {
            "word": [f"{language}w{i:04d}" for i in range(n)],
            "language": [language] * n,
            "valence": x[:, 0] - x[:, 1] + 0.3 * rng.standard_normal(n),
            "arousal": x[:, 2] + 0.3 * rng.standard_normal(n),
        }
    )
    return sp.csr_array(x.astype(np.float32)), table


def study(*parts: tuple[sp.csr_array, pl.DataFrame]) -> RatingsResult:
    x, table = sp.csr_array(sp.vstack([part[0] for part in parts])), pl.concat([part[1] for part in parts])
    predictors = {"features": x, "few": x[:, :3]}
    groups = study_groups(predictors, table, config=QUICK)
    return replace(study_ratings(predictors, table, config=QUICK), groups=groups)


@pytest.fixture(scope="module")
def studies() -> list[tuple[dict[str, str], RatingsResult]]:
    """One English and one Chinese data set together, and a second English one."""
    both = study(make_words(120, "en", 0), make_words(130, "zh", 1))
    return [({"en": "first", "zh": "only"}, both), ({"en": "second"}, study(make_words(110, "en", 2)))]


def test_the_first_data_set_of_each_language_is_studied_with_the_others() -> None:
    named = {"a": "en", "b": "en", "c": "zh", "d": "en", "e": "zh"}
    assert split_studies(named) == [["a", "c"], ["b"], ["d"], ["e"]]
    assert split_studies({"c": "zh", "a": "en"}) == [["c", "a"]]
    assert split_studies({}) == []


@given(st.dictionaries(st.text("abcdef", min_size=1), st.sampled_from(["en", "zh", "de"]), max_size=8))
def test_every_data_set_is_in_one_study_and_no_study_has_a_language_twice(languages: dict[str, str]) -> None:
    plan = split_studies(languages)
    assert sorted(name for names in plan for name in names) == sorted(languages)
    for names in plan:
        assert len({languages[name] for name in names}) == len(names)
    # naming one more data set of a language that is there changes no other study
    if languages:
        more = split_studies(languages | {"zzz": next(iter(languages.values()))})
        assert [names for names in more if names != ["zzz"]] == plan


def test_each_data_set_keeps_the_numbers_it_has_alone(
    studies: list[tuple[dict[str, str], RatingsResult]],
) -> None:
    joined = join_studies(studies)
    for names, alone in studies:
        for key in TABLES:
            table = getattr(joined, key).filter(pl.col("norms").is_in(list(names.values())))
            assert table.drop("norms").equals(getattr(alone, key)), key
    pairs = joined.scores.select("norms", "language").unique(maintain_order=True).rows()
    assert pairs == [("first", "en"), ("only", "zh"), ("second", "en")]
    assert joined.data_sets.rows() == [
        ("first", "en", 0, 120, 0),
        ("only", "zh", 0, 130, 0),
        ("second", "en", 1, 110, 0),
    ]


def test_transfer_names_the_ratings_learnt_from_and_those_predicted(
    studies: list[tuple[dict[str, str], RatingsResult]],
) -> None:
    transfer = join_studies(studies).transfer
    assert set(
        transfer.select("train_norms", "train_language", "norms", "test_language").unique().rows()
    ) == {
        (train, a, test, b)
        for train, a in (("first", "en"), ("only", "zh"))
        for test, b in (("first", "en"), ("only", "zh"))
    }


def test_words_that_left_are_counted_for_each_study() -> None:
    x, table = make_words(120, "en", 0)
    gone = study_ratings({"features": x}, table, config=QUICK, exclude=table["word"][:7])
    stayed = study_ratings({"features": x}, table, config=QUICK)
    joined = join_studies([({"en": "a"}, gone), ({"en": "b"}, stayed)])
    assert joined.n_excluded == 7
    assert joined.data_sets.select("norms", "n_words", "n_excluded").rows() == [("a", 113, 7), ("b", 120, 0)]


def test_agreement_is_the_correlation_over_shared_words_beside_both_ceilings() -> None:
    rng = np.random.default_rng(3)
    _, first = make_words(60, "en", 0)
    first = first.with_columns(valence_sd=pl.lit(0.5), valence_n=pl.lit(20))
    second = first[20:].reverse().drop("valence_sd", "valence_n")
    second = second.with_columns(valence=pl.col("valence") + rng.standard_normal(40))
    _, other = make_words(60, "zh", 1)
    found = agreement({"first": first, "second": second, "other": other})
    assert found.select("a", "b", "language", "target", "n_words").rows() == [
        ("first", "second", "en", "valence", 40),
        ("first", "second", "en", "arousal", 40),
    ]
    by_hand = dict(first.select("word", "valence").rows()), dict(second.select("word", "valence").rows())
    pairs = np.array([(by_hand[0][word], by_hand[1][word]) for word in by_hand[1]])
    row = found.row(0, named=True)
    assert row["r"] == pytest.approx(np.corrcoef(pairs.T)[0, 1])
    sd, n = np.full(60, 0.5), np.full(60, 20.0)
    assert row["ceiling_a"] == pytest.approx(reliability_ceiling(first["valence"].to_numpy(), sd, n))
    assert row["ceiling_b"] is None
    assert found["r"][1] == pytest.approx(1.0)


def test_agreement_on_next_to_nothing_is_not_given() -> None:
    _, first = make_words(60, "en", 0)
    assert agreement({"a": first, "b": first[:2]}).is_empty()
    assert agreement({"a": first, "b": first.with_columns(valence=pl.lit(5.0))})["target"].to_list() == [
        "arousal"
    ]
    assert agreement({"a": first}).is_empty()
