"""The table that `emosae select` shows: beside the selection it is made of, and on a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from test_selection_study import CONCEPTS, _planted

from emosae.artifacts import save_result
from emosae.commands import show_selection
from emosae.selection import Selection, SelectionConfig, select_features, split_half_stability
from emosae.selection.overview import overview

CONFIG = SelectionConfig(min_features=0)


@pytest.fixture(scope="module")
def selection() -> Selection:
    data = _planted(["en", "zh"])
    found = select_features(*data, config=CONFIG)
    return replace(
        found, stability=split_half_stability(*data, languages=["en", "zh"], config=CONFIG, n_splits=3)
    )


def test_a_row_for_each_emotion_of_each_language(selection: Selection) -> None:
    table = overview(selection)
    assert table.select("language", "concept").rows() == [(w, c) for w in ("en", "zh") for c in CONCEPTS]
    assert table["words"].unique().to_list() == [14]
    assert table["passing"].to_list() == [2] * 8
    for row in table.iter_rows(named=True):
        own = selection.scores.filter(
            (pl.col("language") == row["language"]) & (pl.col("concept") == row["concept"])
        ).sort("rank")
        best = own.row(0, named=True)
        assert (row["best_feature"], row["auroc"], row["q"]) == (
            best["feature"],
            best["auroc"],
            best["p_adjusted"],
        )
        assert row["word"].startswith(row["concept"])  # a planted feature fires for its own words
        assert row["agreement"] > 0.9
        assert row["agreement_chance"] < 0.05
        assert row["agreement_by_words"].startswith("2: –  4: ")
        assert row["agreement_by_words"].endswith(f"7: {row['agreement']:.2f}".replace(" 0.", " ."))


def test_agreement_of_one_emotion_is_that_of_its_own_features(selection: Selection) -> None:
    own = selection.stability.drop_nulls("concept")
    whole = selection.stability.filter(pl.col("concept").is_null())
    for language in ("en", "zh"):
        for fraction in own["fraction"].unique():
            here = (pl.col("set") == language) & (pl.col("fraction") == fraction)
            if fraction == 1:  # with fewer words some splits select nothing, and the means have other weights
                mean = own.filter(here)["jaccard"].mean()
                assert mean == pytest.approx(whole.filter(here)["jaccard_concepts"].item())
            assert own.filter(here)["n_words"].mean() == pytest.approx(whole.filter(here)["n_words"].item())
            ranks = own.filter(here)["rank_correlation"].mean()
            assert ranks == pytest.approx(whole.filter(here)["rank_correlation"].item())
            crossed = own.filter(here)["rank_mismatched"].mean()
            assert crossed == pytest.approx(whole.filter(here)["rank_mismatched"].item())


def test_an_emotion_without_features_has_a_row_all_the_same() -> None:
    csr, items, words, neutral = _planted(["en"])
    found = select_features(csr, items, words, neutral, config=SelectionConfig(min_auroc=1.0, min_support=20))
    table = overview(found)
    assert table.height == 4
    for column in ("best_feature", "auroc", "q", "word", "agreement", "agreement_by_words"):
        assert table[column].null_count() == 4
    old = replace(found, stability=pl.DataFrame({"set": ["en"], "fraction": [1.0]}))
    assert overview(old).equals(table)  # as an earlier version wrote it


def test_the_table_is_written_and_shown(
    selection: Selection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_result(
        tmp_path, "select", {"blocks.1.hook_resid_post": selection, "blocks.2.hook_resid_post": selection}
    )
    show_selection(tmp_path)
    shown = capsys.readouterr().out
    assert "Features of each emotion at blocks.2.hook_resid_post" in shown
    assert shown.count("< .001") == 16
    assert "missing" not in shown  # no word is
    for suffix, read in (("parquet", pl.read_parquet), ("csv", pl.read_csv)):
        table = read(tmp_path / "tables" / f"select_overview.{suffix}")
        assert table.height == 16
        assert table["auroc"].to_list() == pytest.approx([*overview(selection)["auroc"]] * 2)
    bare = replace(selection, stability=selection.stability.clear())
    save_result(tmp_path / "bare", "select", {"s": bare})
    show_selection(tmp_path / "bare")
    assert "by chance" not in capsys.readouterr().out
