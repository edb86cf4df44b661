"""Small and wrong inputs of a selection: the right answer, or a plain refusal."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from emosae.concepts import coverage
from emosae.errors import CoverageError, UserError
from emosae.selection import Selection, SelectionConfig, select_features, split_half_stability
from emosae.selection.overview import overview

Words = dict[str, dict[str, list[str]]]  # language -> concept -> words
OPEN = SelectionConfig(min_support=1, min_features=1, min_auroc=0.0, max_density=1.0)


def frames(words: Words) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Table the words, and list each once as an item."""
    rows = [(c, w, word) for w, own in words.items() for c, listed in own.items() for word in listed]
    table = pl.DataFrame(rows, schema=["concept", "language", "word"], orient="row")
    return table, table.select("language", "word").unique(maintain_order=True)


def select(words: Words, fires: dict[int, list[str]], config: SelectionConfig = OPEN) -> Selection:
    """Select where feature `i` is active on the words `fires[i]`."""
    table, items = frames(words)
    dense = np.array([[float(word in fires.get(i, [])) for i in range(6)] for word in items["word"]])
    return select_features(sparse.csr_array(dense), items, table, None, config=config)


THREE: Words = {"en": {c: [f"{c}{i}" for i in range(6)] for c in ("joy", "fear", "awe")}}


def test_one_language_and_three_concepts() -> None:
    found = select(THREE, {0: THREE["en"]["joy"], 1: THREE["en"]["fear"], 2: THREE["en"]["awe"]})
    for feature, concept in enumerate(("joy", "fear", "awe")):
        assert found.features("en", concept)[0] == feature
        best = found.scores.filter((pl.col("concept") == concept) & (pl.col("rank") == 1)).row(0, named=True)
        # 6 active of 6 members beside 12 others: Fisher's exact test
        p = stats.fisher_exact([[6, 0], [0, 12]], alternative="greater").pvalue
        assert (best["auroc"], best["p"]) == (1.0, pytest.approx(p))
        assert best["p_adjusted"] == pytest.approx(p * 18 / 3)  # three equal p among 6 features x 3 concepts
    assert found.features("universal").tolist() == found.features("space").tolist()
    assert "one language" in " ".join(found.notes["note"])
    with pytest.raises(UserError, match="en_only"):
        found.features("en_only")


def test_five_words_in_all_reach_no_significance_and_say_so() -> None:
    few = SelectionConfig(min_support=2, max_density=1.0)
    words: Words = {"en": {"joy": ["glad", "gay"], "fear": ["dread", "panic", "scare"]}}
    found = select(words, {0: ["glad", "gay"], 1: ["dread", "panic", "scare"]}, few)
    best = found.scores.filter(pl.col("rank") == 1)
    assert best["p"].to_list() == pytest.approx([0.1, 0.1])  # 1 / (5 choose 2): no smaller p can be
    assert not found.scores["significant"].any()
    assert "not significant at a false discovery rate" in " ".join(found.notes["note"])
    assert overview(found)["passing"].to_list() == [0, 0]
    kept = select(
        words, {0: ["glad", "gay"]}, SelectionConfig()
    )  # joy has fewer words than the least support
    assert kept.features("space").tolist() == []
    assert "fewer than the minimum support" in kept.summary["note"][0]


def test_duplicate_words() -> None:
    fires = {0: THREE["en"]["joy"][:3]}
    twice = {"en": THREE["en"] | {"joy": [*THREE["en"]["joy"], "joy0"]}}
    once, again = select(THREE, fires), select(twice, fires)
    assert again.scores.equals(once.scores)
    assert again.summary.equals(once.summary)
    table, items = frames(THREE)
    doubled = pl.concat([items, items.head(1)])
    csr = sparse.csr_array(np.ones((doubled.height, 2)))
    with pytest.raises(UserError, match=r"one row per language, got 2 rows for 'joy0' \(en\)"):
        select_features(csr, doubled, table, None)


def test_a_concept_with_one_word() -> None:
    words = {"en": THREE["en"] | {"joy": ["joy0"]}}
    found = select(words, {0: ["joy0"], 1: ["joy0", "fear0"]})
    best = found.scores.filter((pl.col("concept") == "joy") & (pl.col("rank") == 1)).row(0, named=True)
    assert (best["feature"], best["auroc"], best["p"]) == (0, 1.0, pytest.approx(1 / 13))
    usual = select(words, {0: ["joy0"]}, SelectionConfig())
    row = usual.summary.filter(pl.col("concept") == "joy").row(0, named=True)
    assert (row["n_words"], row["n_selected"]) == (1, 0)
    assert "1 words are fewer than the minimum support of 3" in row["note"]
    table, items = frames(words)
    csr = sparse.csr_array(np.ones((items.height, 2)))
    assert split_half_stability(csr, items, table, None, languages=["en"]).is_empty()
    with pytest.raises(UserError, match=r"'joy' must have words of other concepts or neutral words"):
        select({"en": {"joy": ["joy0"]}}, {0: ["joy0"]})


def test_a_concept_that_a_language_lacks() -> None:
    words: Words = THREE | {"zh": {"joy": ["乐", "喜"], "fear": ["怕", "惧"]}}
    with pytest.raises(UserError, match=r"'awe' must have a word with features in 'zh', got none of 0"):
        select(words, {0: ["乐"]})
    table, items = frames(words)
    csr = sparse.csr_array(np.ones((items.height, 2)))
    assert split_half_stability(csr, items, table, None, languages=["en", "zh"]).is_empty()
    with pytest.raises(UserError, match=r"must include the language 'fr'"):
        select_features(csr, items, table, None, languages=["fr"])


def test_words_that_the_tokenizer_does_not_know() -> None:
    table, items = frames(THREE)
    with pytest.raises(CoverageError, match=r"at least 50% .* in 'en', and knows 0 of 18 \(0%\)"):
        coverage(table, table["word"])
    with pytest.raises(UserError, match=r"knows none of the 6 words of 'joy' in 'en'"):
        coverage(table, THREE["en"]["joy"])
    assert coverage(table, ["joy0"])["dropped"].to_list() == [1, 0, 0]
    # below the study's check: words that were dropped have no row, and are counted
    known = items.filter(~pl.col("word").is_in(["joy0", "joy1"]))
    found = select_features(sparse.csr_array(np.ones((known.height, 2))), known, table, None, config=OPEN)
    assert found.summary["n_missing"].to_list() == [2, 0, 0]
    with pytest.raises(UserError, match=r"'joy' must have a word with features in 'en', got none of 6"):
        left = items.filter(~pl.col("word").is_in(THREE["en"]["joy"]))
        select_features(sparse.csr_array(np.ones((left.height, 2))), left, table, None)
    with pytest.raises(UserError, match=r"language 'en', got words and features for \[\]"):
        select_features(sparse.csr_array((0, 2)), items.clear(), table, None)


def test_features_that_never_fire_and_features_that_always_do() -> None:
    for value, n in ((0.0, 0), (1.0, 6)):
        table, items = frames(THREE)
        csr = sparse.csr_array(np.full((items.height, 6), value))
        found = select_features(csr, items, table, None, config=OPEN)
        assert found.scores["auroc"].to_list() == [0.5] * n * 3
        assert not found.scores["significant"].any()
        usual = select_features(csr, items, table, None)
        assert usual.features("space").tolist() == []
        assert overview(usual)["best_feature"].null_count() == 3


@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    seed=st.integers(0, 999),
    shared=st.booleans(),
)
def test_small_studies_have_the_scores_of_a_second_computation(
    sizes: list[int], seed: int, shared: bool
) -> None:
    words: Words = {"en": {f"c{c}": [f"w{c}_{i}" for i in range(size)] for c, size in enumerate(sizes)}}
    if shared:
        words["en"]["c0"] = [*words["en"]["c0"], "w1_0"]
        if sizes[1] == 1:
            words["en"]["c1"] = [*words["en"]["c1"], "w1_1"]
    table, items = frames(words)
    rng = np.random.default_rng(seed)
    dense = np.round(rng.random((items.height, 5)), 1) * (rng.random((items.height, 5)) < 0.5)
    found = select_features(sparse.csr_array(dense), items, table, None, config=OPEN)
    for row in found.scores.iter_rows(named=True):
        own = items["word"].is_in(words["en"][row["concept"]]).to_numpy()
        owners = np.array([sum(word in listed for listed in words["en"].values()) for word in items["word"]])
        used = own | (owners == 1)  # a word of several concepts is nobody's negative
        column = dense[:, row["feature"]]
        assert row["auroc"] == pytest.approx(roc_auc_score(own[used], column[used]))
        active = column > 0
        square = [[(own & active & used).sum(), (own & ~active & used).sum()],
                  [(~own & active & used).sum(), (~own & ~active & used).sum()]]  # fmt: skip
        assert row["p"] == pytest.approx(stats.fisher_exact(square, alternative="greater").pvalue)
