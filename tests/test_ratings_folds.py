"""Folds: word families and translations stay whole, sizes are even, the seed decides."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emosae.errors import UserError
from emosae.ratings import assign_folds, group_words, inner_folds, stem
from emosae.ratings.folds import exclude_words
from emosae.ratings.inner import inner_blocks


def test_stems() -> None:
    assert stem("Happiness", "en") == stem("happy", "en") == "happi"
    assert stem("Freunde", "de") == stem("Freund", "de-AT") == "freund"
    assert stem("快樂", "zh") == "快樂"
    assert stem("Ice creams ", "en") == "ice cream"
    assert stem("null", "en") == "null"
    assert stem("apples (fruit)", "en") == stem("Apple", "en")
    assert stem("책장(책의 낱장)", "ko") == "책장"
    assert stem("(sic)", "en") == "(sic)"  # nothing is left without the brackets


def test_words_of_one_stem_and_words_of_one_concept_share_a_group() -> None:
    words = ["happy", "happiness", "sad", "Happy", "heureux", "triste", "happy", "mesa", "table"]
    languages = ["en", "en", "en", "en", "fr", "fr", "fr", "es", "en"]
    concepts = [1495, None, 2, None, 1495, "", None, 3, 3]
    groups = group_words(words, languages, concepts)
    # "happy" in French is no kin of the English one; "mesa" and "table" share a concept
    assert groups.tolist() == [0, 0, 1, 0, 0, 2, 3, 4, 4]
    assert group_words(words, languages).tolist() == [0, 0, 1, 0, 2, 3, 4, 5, 6]


def test_groups_that_share_a_word_are_one() -> None:
    # run ~ running by stem, running ~ courir by concept, courir ~ course by concept
    groups = group_words(["run", "running", "courir", "course"], ["en", "en", "fr", "fr"], [None, 7, 7, 7])
    assert groups.tolist() == [0, 0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=60, max_size=120), st.integers(2, 5), st.integers(0, 99))
def test_folds_keep_groups_whole_and_sizes_even(groups: list[int], n_folds: int, seed: int) -> None:
    members = np.array(groups)
    if len(np.unique(members)) < 5 * n_folds:
        return
    folds = assign_folds(members, n_folds, seed)
    assert all(len(np.unique(folds[members == group])) == 1 for group in np.unique(members))
    sizes = np.bincount(folds, minlength=n_folds)
    largest = np.bincount(members).max()
    assert sizes.max() - sizes.min() <= largest
    np.testing.assert_array_equal(folds, assign_folds(members, n_folds, seed))


def test_the_seed_decides_the_folds() -> None:
    groups = np.arange(500)
    one, two = assign_folds(groups, 10, 0), assign_folds(groups, 10, 1)
    assert (one == two).mean() < 0.2
    assert np.bincount(one).tolist() == [50] * 10


def test_each_language_is_balanced_too() -> None:
    rng = np.random.default_rng(0)
    languages = np.array(["en"] * 400 + ["zh"] * 60)
    groups = np.concatenate([np.arange(400), rng.choice(400, 60, replace=False)])
    folds = assign_folds(groups, 10, 0, list(languages))
    assert set(np.bincount(folds[languages == "zh"], minlength=10)) <= {5, 6, 7}
    english = np.bincount(folds[languages == "en"], minlength=10)
    assert english.max() - english.min() <= 2
    for group in np.unique(groups[400:]):
        assert len(np.unique(folds[groups == group])) == 1


def test_inner_folds_split_the_training_words_only() -> None:
    groups = np.arange(300) // 2
    outer = assign_folds(groups, 5, 0)
    inner = inner_folds(groups, outer, 3, 0)
    assert len(inner) == 5
    for fold, inside in enumerate(inner):
        np.testing.assert_array_equal(inside == -1, outer == fold)
        assert sorted(np.bincount(inside[inside >= 0]).tolist()) == [60, 60, 120]  # whole outer folds
        assert all(len(np.unique(inside[groups == group])) == 1 for group in range(150))


def test_outer_folds_share_inner_training_sets() -> None:
    groups = np.arange(1000)
    outer = assign_folds(groups, 10, 0)
    inner = inner_folds(groups, outer, 5, 0)
    for fold, inside in enumerate(inner):
        assert set(inside[outer == fold]) == {-1}  # a fold has no part in its own choice
        assert set(inside[outer != fold]) == set(range(5))
        assert np.bincount(inside[inside >= 0]).max() <= 200
    trained = {((inside >= 0) & (inside != part)).tobytes() for inside in inner for part in range(5)}
    assert len(trained) == 20


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 14), st.integers(2, 8))
def test_blocks_divide_the_other_folds_into_the_number_that_is_wanted(n_outer: int, n_inner: int) -> None:
    blocks = inner_blocks(n_outer, n_inner)
    if n_inner > n_outer - 1:
        assert blocks is None
        return
    assert blocks is not None
    assert len(blocks) == n_outer
    for fold, own in enumerate(blocks):
        assert len(own) == n_inner
        assert sorted(other for block in own for other in block) == [i for i in range(n_outer) if i != fold]
        assert min(map(len, own)) >= 1


def test_more_inner_folds_than_other_outer_ones_cut_through_them() -> None:
    groups = np.arange(300) // 2
    outer = assign_folds(groups, 3, 0)
    inner = inner_folds(groups, outer, 5, 0)
    for fold, inside in enumerate(inner):
        np.testing.assert_array_equal(inside == -1, outer == fold)
        assert np.bincount(inside[inside >= 0]).tolist() == [40] * 5
        assert all(len(np.unique(inside[groups == group])) == 1 for group in range(150))
    assert not np.array_equal(inner[0], inner_folds(groups, outer, 5, 1)[0])


def test_too_few_families_are_refused_with_both_numbers() -> None:
    groups = np.arange(90) // 2
    with pytest.raises(
        UserError, match=r"10 folds must have at least 5 word families each, got 45 families in 90"
    ):
        assign_folds(groups, 10, 0)


def test_a_giant_family_is_said(caplog: pytest.LogCaptureFixture) -> None:
    groups = np.concatenate([np.zeros(100, dtype=int), np.arange(1, 101)])
    assign_folds(groups, 5, 0)
    assert "one word family holds 100 of 200 words" in caplog.text


def test_excluded_words_leave_with_their_family() -> None:
    table = pl.DataFrame({"word": ["joy", "Joyful", "table", "joy"], "language": ["en", "en", "en", "fr"]})
    groups = group_words(table["word"].to_list(), table["language"].to_list())
    assert exclude_words(table, groups, ()).tolist() == [True] * 4
    assert exclude_words(table, groups, ["JOY"]).tolist() == [False, False, True, False]
    chosen = pl.DataFrame({"word": ["joy"], "language": ["en"], "concept": ["joy"]})
    assert exclude_words(table, groups, chosen).tolist() == [False, False, True, True]
    assert exclude_words(table, groups, chosen.select("word")).tolist() == [False, False, True, False]
    with pytest.raises(UserError, match="must have a column 'word'"):
        exclude_words(table, groups, pl.DataFrame({"token": ["joy"]}))
