"""Selection from words to sets: planted features are found, noise is not, wrong input is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy import sparse, stats

from emosae.errors import UserError
from emosae.selection import RankBy, Selection, SelectionConfig, select_features
from emosae.selection.sets import match_control

CONCEPTS = ["joy", "fear", "anger", "love"]
N_FEATURES, PER_CONCEPT, N_NEUTRAL = 200, 14, 60


def _frames(languages: list[str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    words = pl.DataFrame(
        [
            (concept, language, f"{concept}{i}_{language}")
            for language in languages
            for concept in CONCEPTS
            for i in range(PER_CONCEPT)
        ],
        schema=["concept", "language", "word"],
        orient="row",
    )
    neutral = pl.DataFrame(
        [(language, f"thing{i}_{language}") for language in languages for i in range(N_NEUTRAL)],
        schema=["language", "word"],
        orient="row",
    )
    items = pl.concat([words.select("word", "language"), neutral.select("word", "language")])
    return items, words, neutral


def _planted(
    languages: list[str], seed: int = 0, noise: float = 0.05
) -> tuple[sparse.csr_array, pl.DataFrame, Any, Any]:
    """Feature c fires for concept c, 10 + c in the first language only, 20 + c in the second only."""
    rng = np.random.default_rng(seed)
    items, words, neutral = _frames(languages)
    dense = rng.random((items.height, N_FEATURES)) * (rng.random((items.height, N_FEATURES)) < noise)
    concept = dict(zip(words["word"], words["concept"], strict=True))
    for row, (word, language) in enumerate(items.select("word", "language").iter_rows()):
        if word in concept:
            c = CONCEPTS.index(concept[word])
            dense[row, c] = 1 + rng.random()
            dense[row, 10 * (languages.index(language) + 1) + c] = 1 + rng.random()
    return sparse.csr_array(dense.astype(np.float32)), items, words, neutral


@pytest.fixture(scope="module")
def bilingual() -> Selection:
    return select_features(*_planted(["en", "zh"]), config=SelectionConfig(min_features=0))


def test_planted_features_are_found_and_nothing_else_is_significant(bilingual: Selection) -> None:
    for n, language in enumerate(["en", "zh"]):
        for c, concept in enumerate(CONCEPTS):
            assert bilingual.features(language, concept).tolist() == [c, 10 * (n + 1) + c]
    selected = bilingual.scores.filter("selected")
    assert selected["significant"].all()
    assert selected["rank"].unique().sort().to_list() == [1, 2]


def test_sets_are_intersection_union_and_difference(bilingual: Selection) -> None:
    assert bilingual.features("universal").tolist() == [0, 1, 2, 3]
    assert bilingual.features("universal", "fear").tolist() == [1]
    assert bilingual.features("en_only").tolist() == [10, 11, 12, 13]
    assert bilingual.features("zh_only", "joy").tolist() == [20]
    assert bilingual.features("space").tolist() == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]


def test_control_is_outside_the_space_and_as_large(bilingual: Selection) -> None:
    control, space = bilingual.features("control"), bilingual.features("space")
    assert len(control) == len(space) == bilingual.matching.height
    assert not set(control) & set(space)
    assert sorted(bilingual.matching["feature"]) == space.tolist()


def test_a_feature_shared_for_different_concepts_is_universal_without_a_concept() -> None:
    csr, items, words, neutral = _planted(["en", "zh"])
    dense = csr.toarray()
    chinese_love = items["word"].str.starts_with("love").to_numpy() & (items["language"] == "zh").to_numpy()
    dense[chinese_love, 10] = 2.0  # joy in English, love in Chinese
    found = select_features(
        sparse.csr_array(dense), items, words, neutral, config=SelectionConfig(min_features=0)
    )
    rows = found.sets.filter((pl.col("set") == "universal") & (pl.col("feature") == 10))
    assert rows["concept"].to_list() == [None]
    assert 10 not in found.features("en_only")
    assert 10 not in found.features("universal", "joy")


def test_one_language_is_its_own_universal_set_and_says_so() -> None:
    found = select_features(*_planted(["en"]))
    assert found.features("universal").tolist() == found.features("en").tolist()
    assert "en_only" not in found.sets["set"].unique()
    assert "one language" in found.notes.filter(pl.col("topic") == "universal")["note"][0]


def test_words_of_several_concepts_are_nobodys_negatives() -> None:
    """Anger's words made fear's as well: they are positive for fear, and joy is no longer told from them."""
    csr, items, words, neutral = _planted(["en"])
    both = words.filter(pl.col("concept") == "anger").with_columns(pl.lit("fear").alias("concept"))
    found = select_features(csr, items, pl.concat([words, both]), neutral)
    summary = {row["concept"]: row for row in found.summary.iter_rows(named=True)}
    assert summary["joy"]["n_negatives"] == 2 * PER_CONCEPT + N_NEUTRAL
    assert summary["fear"]["n_words"] == 2 * PER_CONCEPT
    assert summary["fear"]["n_shared"] == summary["anger"]["n_shared"] == PER_CONCEPT
    assert (
        summary["anger"]["n_negatives"] == 3 * PER_CONCEPT + N_NEUTRAL
    )  # fear's own words are still told from


def test_words_that_fire_a_feature_are_its_strongest_and_say_where_they_belong() -> None:
    csr, items, words, neutral = _planted(["en", "zh"])
    found = select_features(csr, items, words, neutral, config=SelectionConfig(min_features=0, n_words=16))
    rows = found.words.filter(
        (pl.col("language") == "en") & (pl.col("concept") == "joy") & (pl.col("feature") == 10)
    )
    column = csr.toarray()[:, 10] * (items["language"] == "en").to_numpy()
    strongest = np.argsort(-column, kind="stable")[: rows.height]
    assert rows["word"].to_list() == items["word"].gather(strongest).to_list()
    assert rows["activation"].to_list() == pytest.approx(column[strongest].tolist())
    assert rows["in_concept"].to_list() == [word.startswith("joy") for word in rows["word"]]
    assert rows.height == 16, "the concept's fourteen and two of the noise"


def test_items_beyond_the_study_count_for_density_and_words_only() -> None:
    csr, items, words, neutral = _planted(["en"])
    more = pl.DataFrame({"word": [f"rated{i}" for i in range(300)], "language": ["en"] * 300})
    extra = np.zeros((300, N_FEATURES), dtype=np.float32)
    extra[:, 0] = 9.0
    both = sparse.csr_array(np.vstack([csr.toarray(), extra]))
    alone = select_features(csr, items, words, neutral)
    with_more = select_features(
        both, pl.concat([items, more]), words, neutral, config=SelectionConfig(max_density=1)
    )
    key = ["concept", "feature", "auroc", "p"]
    joint = alone.scores.select(key).join(with_more.scores.select(key), on=key[:2])
    np.testing.assert_allclose(joint["auroc"], joint["auroc_right"])
    np.testing.assert_allclose(joint["p"], joint["p_right"])
    assert with_more.scores.filter(pl.col("feature") == 0)["density"].min() > 0.7
    assert with_more.words.filter(pl.col("feature") == 0)["word"][0].startswith("rated")
    filtered = select_features(both, pl.concat([items, more]), words, neutral)
    assert 0 not in filtered.scores["feature"].to_list(), "too dense to be a candidate"


def test_a_set_that_is_not_significant_is_filled_up_and_marked() -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.3)
    dense = csr.toarray()
    dense[:, [0, 10]] = 0  # nothing is planted for joy any more
    config = SelectionConfig(min_features=3, min_auroc=0.5)
    found = select_features(sparse.csr_array(dense), items, words, neutral, config=config)
    joy = found.scores.filter(pl.col("selected") & (pl.col("concept") == "joy"))
    assert joy.height == 3
    assert not joy["significant"].any()
    assert "not significant" in found.summary.filter(pl.col("concept") == "joy")["note"][0]
    assert any("not significant" in note for note in found.notes["note"])
    assert not set(found.features("control")) & set(found.features("space")), (
        "nor do fillers serve as control"
    )
    fear = found.scores.filter(pl.col("selected") & (pl.col("concept") == "fear"))
    assert fear["significant"].to_list() == [True, True, False], "significant ones come first"
    strict = select_features(
        sparse.csr_array(dense), items, words, neutral, config=SelectionConfig(min_features=0, min_auroc=0.5)
    )
    assert not strict.scores.filter(pl.col("selected") & (pl.col("concept") == "joy")).height
    assert "joy (en)" in " ".join(strict.notes["note"])


def test_candidates_pass_every_filter() -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.4)
    config = SelectionConfig(min_support=6, max_density=0.4, min_auroc=0.55, n_candidates=200)
    scores = select_features(csr, items, words, neutral, config=config).scores
    assert scores["support"].min() >= 6
    assert scores["density"].max() <= 0.4
    assert scores["auroc"].min() >= 0.55
    config = SelectionConfig(max_features=7, min_features=7, n_candidates=9)
    found = select_features(csr, items, words, neutral, config=config)
    assert found.scores.group_by("concept").len()["len"].max() <= 9
    assert found.summary["n_selected"].max() == 7
    assert found.summary["n_candidates"].min() > 9, "of which nine are kept"


def test_a_significant_feature_comes_before_one_of_greater_auroc() -> None:
    csr, items, words, neutral = _planted(["en"])
    dense = csr.toarray()
    dense[:, :30] = 0
    joy = items["word"].str.starts_with("joy").to_numpy()
    dense[:8, 0] = 1.0  # on eight of joy's words and on no other: enriched
    dense[:, 1] = 1.0 + joy  # on every word, on joy's most: never enriched
    config = SelectionConfig(max_density=1.0)
    found = select_features(sparse.csr_array(dense), items, words, neutral, config=config).scores
    first, second = found.filter(pl.col("concept") == "joy").sort("rank").head(2).iter_rows(named=True)
    assert (first["feature"], first["significant"]) == (0, True)
    assert (second["feature"], second["significant"], second["p"]) == (1, False, 1.0)
    assert second["auroc"] > first["auroc"]


@pytest.mark.parametrize("rank_by", list(RankBy))
def test_candidates_are_ordered_by_the_score_that_was_asked_for(rank_by: RankBy) -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.4)
    found = select_features(
        csr, items, words, neutral, config=SelectionConfig(rank_by=rank_by, min_auroc=0.5)
    )
    for (_, _), rows in found.scores.group_by("concept", "significant"):
        values = rows.sort("rank")[rank_by.value].to_numpy()
        assert (np.diff(values if rank_by is RankBy.P else -values) >= 0).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_selection_does_not_depend_on_the_order_of_the_items(seed: int) -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.3)
    order = np.random.default_rng(seed).permutation(items.height)
    one = select_features(csr, items, words, neutral)
    shuffled = words.sample(fraction=1.0, shuffle=True, seed=seed)
    other = select_features(csr[order], items[order], shuffled, neutral)
    key = ["language", "concept", "feature"]
    assert (
        one.scores.sort(key)
        .drop("auroc", "mean_difference", "mutual_information", "p", "p_adjusted")
        .equals(
            other.scores.sort(key).drop("auroc", "mean_difference", "mutual_information", "p", "p_adjusted")
        )
    )
    assert one.sets.sort("set", "concept", "feature").equals(other.sets.sort("set", "concept", "feature"))


def test_noise_selects_none_or_one_where_the_rank_test_finds_many() -> None:
    """The fact of methods.md, section 5: 4,000 null features, 27 concepts of 15 words."""
    rng = np.random.default_rng(11)
    n_words, n_features = 27 * 15 + 150, 4000
    rate = rng.beta(0.5, 8, n_features)
    dense = rng.exponential(1, (n_words, n_features)) * (rng.random((n_words, n_features)) < rate)
    items = pl.DataFrame({"word": [f"w{i}" for i in range(n_words)], "language": ["en"] * n_words})
    words = items[: 27 * 15].with_columns((pl.int_range(27 * 15) // 15).cast(pl.String).alias("concept"))
    found = select_features(sparse.csr_array(dense), items, words, items[27 * 15 :])
    assert found.summary["n_significant"].sum() <= 1
    ranks = stats.rankdata(dense, axis=0)
    n, n_rest = 15, n_words - 15
    u = np.array([ranks[c * n : (c + 1) * n].sum(axis=0) for c in range(27)]) - n * (n + 1) / 2
    variance = n * n_rest / n_words * ranks.var(axis=0, ddof=1)  # of a sum of ranks, ties included
    z = (u - n * n_rest / 2) / np.sqrt(np.where(variance > 0, variance, np.inf))
    adjusted = stats.false_discovery_control(stats.norm.sf(z).ravel())
    assert (adjusted <= 0.05).sum() >= 5, "the asymptotic test is what this guards against"


def test_unequal_weights_use_the_weight_of_active_words() -> None:
    """Three heavy words active: certain to matter by weight, nothing by number."""
    csr, items, words, neutral = _planted(["en"])
    dense = csr.toarray()
    dense[:, 50] = 0
    dense[:3, 50] = 1.0  # three of joy's fourteen words
    weighted = words.with_columns(pl.lit(1.0).alias("weight"))
    heavy = weighted.with_columns(
        pl.when(pl.col("word").is_in(items["word"][:3].to_list())).then(20.0).otherwise(1.0).alias("weight")
    )
    config = SelectionConfig(min_auroc=0.5)
    p = {}
    for name, table in (("equal", weighted), ("heavy", heavy)):
        scores = select_features(sparse.csr_array(dense), items, table, neutral, config=config).scores
        p[name] = scores.filter((pl.col("concept") == "joy") & (pl.col("feature") == 50)).row(0, named=True)
    n = 4 * PER_CONCEPT + N_NEUTRAL
    assert p["equal"]["p"] == pytest.approx(stats.hypergeom(n, PER_CONCEPT, 3).sf(2))
    # all three active words are among the heaviest: one of the n-choose-3 ways
    assert p["heavy"]["p"] == pytest.approx(6 / (n * (n - 1) * (n - 2)), rel=1e-6)
    assert p["heavy"]["auroc"] > p["equal"]["auroc"]


def test_missing_words_are_counted_and_neutral_members_count_as_members() -> None:
    csr, items, words, neutral = _planted(["en"])
    kept = ~items["word"].is_in(["joy0_en", "joy1_en"])
    also = pl.concat([neutral, pl.DataFrame({"language": ["en"], "word": ["fear0_en"]})])
    found = select_features(csr[kept.to_numpy()], items.filter(kept), words, also)
    joy = found.summary.filter(pl.col("concept") == "joy").row(0, named=True)
    assert (joy["n_words"], joy["n_missing"]) == (PER_CONCEPT - 2, 2)
    fear = found.summary.filter(pl.col("concept") == "fear").row(0, named=True)
    assert fear["n_words"] == PER_CONCEPT
    assert any("1 neutral words" in note for note in found.notes["note"])


def test_a_word_listed_twice_counts_once() -> None:
    csr, items, words, neutral = _planted(["en"])
    one = select_features(csr, items, words, neutral)
    twice = select_features(csr, items, pl.concat([words, words.head(3)]), neutral)
    assert one.scores.equals(twice.scores)


def test_control_matches_density_and_activation() -> None:
    csr, items, words, neutral = _planted(["en"], noise=0.3)
    dense = csr.toarray()
    rng = np.random.default_rng(1)
    twin = rng.permutation(items.height)
    dense[:, 100:110] = dense[twin][:, [0, 1, 2, 3, 10, 11, 12, 13, 30, 31]]  # same values on other words
    config = SelectionConfig(min_features=0)
    found = select_features(sparse.csr_array(dense), items, words, neutral, config=config)
    pairs = dict(found.matching.select("feature", "control").iter_rows())
    assert {f: pairs[f] for f in (0, 1, 2, 3)} == {0: 100, 1: 101, 2: 102, 3: 103}
    assert found.matching["control"].n_unique() == found.matching.height
    row = found.matching.filter(pl.col("feature") == 0).row(0, named=True)
    assert row["density"] == row["control_density"]
    assert row["mean_activation"] == pytest.approx(row["control_mean_activation"])


def test_the_feature_with_the_least_choice_is_matched_first() -> None:
    density = np.exp(
        [-10.0, -5.0, -9.0, -20.0]
    )  # both of the space are nearest to feature 2, the second from afar
    space, control = match_control(
        np.array([0, 1]), np.array([False, False, True, True]), density, np.ones(4)
    )
    assert (space.tolist(), control.tolist()) == ([0, 1], [3, 2])


def test_too_few_controls_are_said() -> None:
    csr, items, words, neutral = _planted(["en"])
    found = select_features(csr[:, :15], items, words, neutral, config=SelectionConfig(min_features=0))
    assert found.matching.height < len(found.features("space"))
    assert any("have a matched control" in note for note in found.notes["note"])


def test_a_concept_of_too_few_words_selects_nothing_and_says_so() -> None:
    csr, items, words, neutral = _planted(["en"])
    two = words.filter((pl.col("concept") != "joy") | pl.col("word").is_in(["joy0_en", "joy1_en"]))
    found = select_features(csr, items, two, neutral)
    joy = found.summary.filter(pl.col("concept") == "joy").row(0, named=True)
    assert joy["n_selected"] == 0
    assert "fewer than the minimum support" in joy["note"]


def _changed(**change: Any) -> dict[str, Any]:
    csr, items, words, neutral = _planted(["en"])
    return {"csr": csr, "items": items, "words": words, "neutral": neutral} | change


def _wrong() -> dict[str, tuple[dict[str, Any], str]]:
    csr, items, words, _ = _planted(["en"])
    negative = csr.copy()
    negative.data[0] = -1.0
    absent = words.filter(pl.col("concept") == "joy").with_columns(
        pl.lit("shame").alias("concept"), pl.lit("x").alias("word")
    )
    return {
        "rows": (_changed(csr=csr[:-1]), "one row per item"),
        "columns": (_changed(items=items.drop("language")), "columns word and language"),
        "twice": (_changed(items=items.with_columns(pl.lit("same").alias("word"))), "Average the readings"),
        "negative": (_changed(csr=negative), "not negative"),
        "language": (_changed(languages=["en", "xx"]), "include the language 'xx'"),
        "concept": (_changed(words=pl.concat([words, absent])), "'shame'"),
        "weight": (_changed(words=words.with_columns(pl.lit(0.0).alias("weight"))), "above 0"),
        "alone": (_changed(words=words.filter(pl.col("concept") == "joy"), neutral=None), "to be told from"),
        "empty": (_changed(words=words.clear()), "at least one word"),
    }


@pytest.mark.parametrize("case", list(_wrong()))
def test_wrong_input_is_refused_in_plain_words(case: str) -> None:
    arguments, words = _wrong()[case]
    with pytest.raises(UserError, match=re.escape(words)):
        select_features(**arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"alpha": 1.5}, "selection.alpha"),
        ({"max_features": 0}, "selection.max_features"),
        ({"min_features": 30}, "at most selection.max_features"),
        ({"rank_by": "aurok"}, "'auroc'"),
    ],
)
def test_wrong_settings_are_refused_in_plain_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        SelectionConfig(**change)


def test_unknown_sets_and_concepts_name_the_nearest(bilingual: Selection) -> None:
    with pytest.raises(UserError, match="Did you mean 'universal'"):
        bilingual.features("univeral")
    with pytest.raises(UserError, match="Did you mean 'anger'"):
        bilingual.features("en", "angr")


def test_an_empty_set_is_an_empty_array() -> None:
    csr, items, words, neutral = _planted(["en", "zh"])
    dense = csr.toarray()
    dense[:, :4] = 0  # nothing is shared any more
    found = select_features(
        sparse.csr_array(dense), items, words, neutral, config=SelectionConfig(min_features=0)
    )
    assert found.features("universal").tolist() == []
    assert any("set is empty" in note for note in found.notes["note"])


def test_settings_go_through_omegaconf() -> None:
    merged = OmegaConf.merge(
        OmegaConf.structured(SelectionConfig), OmegaConf.create("rank_by: p\nalpha: 0.1")
    )
    config = OmegaConf.to_object(merged)
    assert isinstance(config, SelectionConfig)
    assert (config.rank_by, config.alpha) == (RankBy.P, 0.1)
