"""Would other words have selected the same features? Halves, agreement, chance."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import jaccard_score, roc_auc_score
from test_selection_study import CONCEPTS, _planted

from emosae.errors import UserError
from emosae.selection import SelectionConfig, select_features, split_half_stability
from emosae.selection.agreement import chance_jaccard, jaccard, on_and_off, rank_agreement
from emosae.selection.membership import read_membership
from emosae.selection.scores import score_features
from emosae.selection.stability import FRACTIONS, STABILITY_SCHEMA, split_words

SIGNIFICANT = SelectionConfig(min_features=0)


@pytest.fixture(scope="module")
def planted() -> pl.DataFrame:
    return split_half_stability(
        *_planted(["en", "zh"]), languages=["en", "zh"], config=SIGNIFICANT, n_splits=6
    )


def _at(table: pl.DataFrame, name: str, fraction: float = 1.0) -> dict[str, float]:
    own = (pl.col("set") == name) & (pl.col("fraction") == fraction) & pl.col("concept").is_null()
    (row,) = table.filter(own).rows(named=True)
    return row


def test_planted_features_are_found_again_with_other_words(planted: pl.DataFrame) -> None:
    assert planted.schema == pl.Schema(STABILITY_SCHEMA)
    assert set(planted["set"]) == {"en", "zh", "en_only", "zh_only", "universal", "space"}
    assert planted.height == (6 + 2 * len(CONCEPTS)) * len(FRACTIONS)
    for name, size in (("en", 8), ("universal", 4), ("en_only", 4), ("space", 12)):
        whole = _at(planted, name)
        assert whole["jaccard"] > 0.9
        assert whole["n_features"] == pytest.approx(size, abs=0.5)
        assert whole["jaccard_chance"] < 0.05
        assert (whole["n_words"], whole["n_splits"]) == (7, 6)
        assert whole["jaccard_concepts"] > 0.9
        assert whole["jaccard_mismatched"] < 0.05  # each planted feature belongs to one concept
    agreement = [_at(planted, "space", fraction)["jaccard"] for fraction in FRACTIONS]
    assert agreement[0] is None  # two words are fewer than the minimum support
    assert agreement[1] < agreement[2] <= agreement[3] + 0.05


def test_noise_agrees_no_more_than_chance() -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.3)
    rng = np.random.default_rng(1)
    dense = rng.random(csr.shape) * (rng.random(csr.shape) < 0.3)
    found = split_half_stability(
        sparse.csr_array(dense), items, words, neutral, languages=["en"], n_splits=12,
        config=SelectionConfig(min_features=10),
    )  # fmt: skip
    whole = _at(found, "en")
    assert whole["jaccard"] == pytest.approx(whole["jaccard_chance"], abs=0.06)
    assert abs(whole["rank_correlation"]) < 0.08
    assert set(found["set"]) == {"en", "universal", "space"}
    assert whole["jaccard_concepts"] == pytest.approx(whole["jaccard_mismatched"], abs=0.06)
    assert whole["rank_correlation"] == pytest.approx(whole["rank_mismatched"], abs=0.06)


def test_a_half_selects_what_a_study_of_its_words_selects() -> None:
    csr, items, words, neutral = _planted(["en"])
    seed, n = 5, 1
    found = split_half_stability(
        csr, items, words, neutral, languages=["en"], config=SIGNIFICANT, n_splits=n, seed=seed
    )
    known = words.select("language", "concept", "word").unique()
    lists, aside = split_words(known, neutral, items, "en", np.random.default_rng(seed))
    chosen = []
    for half in (0, 1):
        own = [word for concept in lists[half] for word in concept] + aside[half]
        rows = np.flatnonzero(items["word"].is_in(own).to_numpy())
        part = words.filter(pl.col("word").is_in(own))
        study = select_features(csr[rows], items[rows], part, neutral, config=SIGNIFICANT)
        chosen.append(study.features("en"))
    universe = np.arange(csr.shape[1])
    expected = jaccard_score(np.isin(universe, chosen[0]), np.isin(universe, chosen[1]))
    assert _at(found, "en")["jaccard"] == pytest.approx(expected)
    assert _at(found, "en")["n_features"] == np.mean([len(one) for one in chosen])


@given(
    sizes=st.lists(st.integers(2, 15), min_size=1, max_size=6),
    n_aside=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_halves_share_no_word_and_lose_none(sizes: list[int], n_aside: int, seed: int) -> None:
    words = [(f"c{c}", "en", f"w{c}_{i}") for c, size in enumerate(sizes) for i in range(size)]
    words += [("c0", "en", "both"), (f"c{len(sizes) - 1}", "en", "both")]  # a word of two concepts
    known = pl.DataFrame(words, schema=["concept", "language", "word"], orient="row").unique()
    aside = pl.DataFrame({"language": ["en"] * n_aside, "word": [f"n{i}" for i in range(n_aside)]},
                         schema={"language": pl.String, "word": pl.String})  # fmt: skip
    items = pl.concat([known.select("language", "word"), aside])
    lists, other = split_words(known, aside, items, "en", np.random.default_rng(seed))
    flat = [{word for concept in lists[half] for word in concept} | set(other[half]) for half in (0, 1)]
    assert not flat[0] & flat[1]
    assert flat[0] | flat[1] == set(items["word"])
    assert abs(len(other[0]) - len(other[1])) <= 1
    for concept in range(len(sizes)):
        assert abs(len(lists[0][concept]) - len(lists[1][concept])) <= 1


def test_rank_agreement_is_spearmans_rho_of_the_aurocs() -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.02)
    rng = np.random.default_rng(0)
    first = rng.random(items.height) < 0.5
    scored, areas = [], []
    for mask in (first, ~first):
        rows = np.flatnonzero(mask)
        own = items[rows]
        member = read_membership(own, words.filter(pl.col("word").is_in(own["word"].to_list())), neutral,
                                 language="en", concepts=CONCEPTS)  # fmt: skip
        scored.append(score_features(csr[rows][member.rows], member.weights, member.neutral))
        dense = csr[rows].toarray()[member.rows]
        areas.append([[roc_auc_score(w > 0, column) for column in dense.T] for w in member.weights.T])
    live = np.union1d(scored[0].features, scored[1].features)
    expected = np.mean(
        [
            stats.spearmanr(np.round(a, 9)[live], np.round(b, 9)[live]).statistic
            for a, b in zip(*areas, strict=True)
        ]
    )
    rho = rank_agreement(*scored)
    assert rho is not None
    assert on_and_off(rho)[0] == pytest.approx(expected)
    other = [
        stats.spearmanr(np.round(a, 9)[live], np.round(b, 9)[live]).statistic
        for i, a in enumerate(areas[0])
        for j, b in enumerate(areas[1])
        if i != j
    ]
    assert on_and_off(rho)[1] == pytest.approx(np.mean(other))


@given(a=st.sets(st.integers(0, 20)), b=st.sets(st.integers(0, 20)))
def test_jaccard_is_symmetric_and_one_for_equal_sets(a: set[int], b: set[int]) -> None:
    left, right = (np.array(sorted(one), dtype=np.int64) for one in (a, b))
    value = jaccard(left, right)
    if not a | b:
        assert np.isnan(value)
        return
    assert value == jaccard(right, left) == len(a & b) / len(a | b)
    assert (value == 1) == (a == b)


def test_chance_is_near_the_mean_of_random_sets() -> None:
    rng = np.random.default_rng(0)
    drawn = [jaccard(rng.choice(80, 20, False), rng.choice(80, 12, False)) for _ in range(4000)]
    assert chance_jaccard(20, 12, 80) == pytest.approx(np.mean(drawn), abs=0.01)
    assert chance_jaccard(5, 0, 80) == 0
    assert np.isnan(chance_jaccard(0, 0, 80))


def test_too_few_words_give_an_empty_table_and_a_study_of_them_still_stands() -> None:
    csr, items, words, neutral = _planted(["en"])
    few = words.filter((pl.col("concept") != "joy") | (pl.col("word") == "joy0_en"))
    assert split_half_stability(csr, items, few, neutral, languages=["en"]).is_empty()
    alone = words.filter(pl.col("concept") == "joy")
    assert split_half_stability(csr, items, alone, None, languages=["en"]).is_empty()
    one = split_half_stability(csr, items, alone, neutral, languages=["en"], config=SIGNIFICANT, n_splits=2)
    assert _at(one, "en")["jaccard"] > 0.9
    with pytest.raises(UserError, match=r"selection.stability_splits must be at least 0, got -1"):
        SelectionConfig(stability_splits=-1)


def test_the_same_seed_gives_the_same_table() -> None:
    data = _planted(["en"])
    once, again = (
        split_half_stability(*data, languages=["en"], n_splits=2, seed=3, config=SIGNIFICANT)
        for _ in range(2)
    )
    assert once.equals(again)
