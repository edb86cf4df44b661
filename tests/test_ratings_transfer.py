"""Trained in one language, tested in another: against plain loops, planted worlds, and leaks through translations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge

from emosae.ratings import RatingsConfig, study_ratings
from emosae.ratings.fitting import linked_concepts
from emosae.ratings.folds import group_words
from emosae.ratings.transfer import TRANSFER

QUICK = RatingsConfig(folds=4, inner_folds=3, penalties=6, bootstrap=200, workers=1)


def language(
    name: str, n: int, weights: list[float], seed: int, noise: float = 1.0
) -> tuple[np.ndarray, pl.DataFrame]:
    """Words with 30 features, of which the first carry valence with these weights."""
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n, 30)) < 0.3, rng.exponential(size=(n, 30)), 0.0)
    valence = 5 + x[:, : len(weights)] @ weights + noise * rng.standard_normal(n)
    table = pl.DataFrame(
        {
            "word": [f"{name}qx{i:04d}" for i in range(n)],
            "language": [name] * n,
            "valence": valence,
            "valence_sd": np.full(n, 1.0),
            "valence_n": np.full(n, 20),
        }
    )
    return x, table


def world(
    second: list[float], scale: float = 1.0, shift: float = 0.0, **changes: object
) -> tuple[sp.csr_array, pl.DataFrame]:
    x, english = language("en", 220, [2.0, -2.0, 1.5, -1.5], seed=0)
    z, chinese = language("zh", 160, second, seed=1)
    chinese = chinese.with_columns(pl.col("valence") * scale + shift, pl.col("valence_sd") * scale)
    table = pl.concat([english, chinese]).with_columns(**{k: pl.Series(v) for k, v in changes.items()})  # type: ignore[arg-type]
    return sp.csr_array(np.vstack([x, z]).astype(np.float32)), table


SAME, OPPOSITE, OTHER = [2.0, -2.0, 1.5, -1.5], [-2.0, 2.0, -1.5, 1.5], [0.0] * 8 + [2.0, -2.0, 1.5, -1.5]


def cell(table: pl.DataFrame, train: str, test: str, predictor: str = "features") -> dict[str, object]:
    return table.filter(predictor=predictor, train_language=train, test_language=test).row(0, named=True)


def test_it_equals_a_plain_loop_over_scikit_learn() -> None:
    x, table = world(SAME)
    config = replace(QUICK, penalties=1, penalty_low=1e-2, penalty_high=1.0)
    result = study_ratings({"features": x}, table, targets=["valence"], config=config)
    folds = dict(result.predictions.select("word", "fold").iter_rows())
    outer = np.array([folds[word] for word in table["word"]])
    english = (table["language"] == "en").to_numpy()
    dense, y = x.toarray().astype(float), table["valence"].to_numpy()
    predicted, rated = [], []
    for fold in range(4):
        train, test = english & (outer != fold), ~english & (outer == fold)
        model = Ridge(alpha=0.1 * dense[train].var(axis=0).sum()).fit(dense[train], y[train])
        own = model.predict(dense[test])
        predicted.append((own - own.mean()) / own.std())  # folds shrink unlike; each counts alike
        rated.append(y[test] - y[test].mean())
    row = cell(result.transfer, "en", "zh")
    expected = stats.pearsonr(np.concatenate(rated), np.concatenate(predicted)).statistic
    assert row["r"] == pytest.approx(expected, abs=1e-6)
    assert row["rho"] == pytest.approx(
        stats.spearmanr(np.concatenate(rated), np.concatenate(predicted)).statistic, abs=1e-4
    )


def test_the_diagonal_is_the_study_itself() -> None:
    x, table = world(SAME)
    noise = np.random.default_rng(5).standard_normal((table.height, 6))
    result = study_ratings({"features": x, "noise": noise}, table, targets=["valence"], config=QUICK)
    assert dict(result.transfer.schema) == {**TRANSFER, "p_adjusted": pl.Float64}
    assert result.transfer.height == 2 * 2 * 2
    for row in result.scores.iter_rows(named=True):
        own = cell(result.transfer, row["language"], row["language"], row["predictor"])
        for name in ("r", "r_low", "r_high", "rho", "ceiling", "r_disattenuated"):
            assert own[name] == pytest.approx(row[name], abs=1e-9), name
        assert own["difference"] is None
        assert own["p"] is None
        for other in result.transfer.filter(
            predictor=row["predictor"], test_language=row["language"]
        ).iter_rows(named=True):
            assert other["r_within"] == own["r"]
    apart = result.transfer.filter(pl.col("p").is_not_null())
    assert apart.height == 4
    np.testing.assert_allclose(
        apart["p_adjusted"], stats.false_discovery_control(apart["p"].to_numpy()), rtol=1e-12
    )
    np.testing.assert_allclose(apart["difference"], apart["r"] - apart["r_within"], rtol=1e-12)


def test_what_languages_share_carries_over_and_what_they_do_not_share_does_not() -> None:
    found = {}
    for name, second in (("same", SAME), ("opposite", OPPOSITE), ("other", OTHER)):
        x, table = world(second)
        result = study_ratings({"features": x}, table, targets=["valence"], config=QUICK)
        found[name] = cell(result.transfer, "en", "zh")
    assert found["same"]["r"] > 0.8
    assert abs(found["same"]["difference"]) < 0.05
    assert found["same"]["p"] > 0.01
    assert found["opposite"]["r"] < -0.8
    assert abs(found["other"]["r"]) < 0.3
    assert found["other"]["r_within"] > 0.7
    assert found["other"]["p"] < 0.02
    assert found["other"]["high"] < 0


def test_the_scale_of_a_languages_ratings_does_not_matter() -> None:
    one, two = (
        study_ratings(
            {"features": x}, table, targets=["valence"], config=replace(QUICK, bootstrap=100)
        ).transfer
        for x, table in (world(SAME), world(SAME, scale=0.25, shift=-1.25))
    )
    for name in ("r", "rho", "r2", "rmse", "r_low", "difference"):
        np.testing.assert_allclose(
            one[name].fill_null(0), two[name].fill_null(0), rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("column", ["concepticon_id", "translation"])
def test_no_model_sees_a_test_words_translation(column: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((150, 300))
    valence = rng.standard_normal(150)  # noise: only a word's own twin tells its rating
    table = pl.DataFrame(
        {
            "word": [*(f"en{i:03d}q" for i in range(150)), *(f"zh{i:03d}q" for i in range(150))],
            "language": ["en"] * 150 + ["zh"] * 150,
            "valence": np.concatenate([valence, valence]),
            column: [f"{i}" for i in range(150)] * 2,
        }
    )
    config = replace(QUICK, penalty_low=1e-4, penalty_high=1e-3, penalties=2)
    twice = {"dense": np.vstack([x, x])}
    linked = study_ratings(twice, table, targets=["valence"], config=config).transfer
    apart = study_ratings(twice, table.drop(column), targets=["valence"], config=config).transfer
    assert cell(linked, "en", "zh", "dense")["linked"] == 1.0
    assert cell(apart, "en", "zh", "dense")["linked"] == 0.0
    assert abs(cell(linked, "en", "zh", "dense")["r"]) < 0.25
    assert cell(apart, "en", "zh", "dense")["r"] > 0.6  # three quarters of the twins were seen


def test_a_set_that_one_language_lacks_has_no_row_there() -> None:
    x, table = world(SAME)
    frequency = np.full((table.height, 1), np.nan)
    frequency[:220, 0] = np.arange(220)
    result = study_ratings({"features": x, "frequency": frequency}, table, targets=["valence"], config=QUICK)
    rows = result.transfer.filter(predictor="frequency")
    assert rows.select("train_language", "test_language").rows() == [("en", "en")]


def test_one_language_has_no_matrix() -> None:
    x, table = language("en", 120, SAME, seed=0)
    result = study_ratings({"features": sp.csr_array(x)}, table, targets=["valence"], config=QUICK)
    assert result.transfer.is_empty()
    assert dict(result.transfer.schema) == {**TRANSFER, "p_adjusted": pl.Float64}


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_languages_changes_nothing(seed: int) -> None:
    x, table = world(SAME)
    order = np.random.default_rng(seed).permutation(table.height)
    config = replace(QUICK, penalties=1)
    a = study_ratings({"features": x}, table, targets=["valence"], config=config).transfer
    b = study_ratings({"features": x[order]}, table[order], targets=["valence"], config=config).transfer
    assert set(a.select("train_language", "test_language").rows()) == set(
        b.select("train_language", "test_language").rows()
    )
    # other folds, the same finding
    for train, test in (("en", "zh"), ("zh", "en")):
        assert cell(a, train, test)["r"] == pytest.approx(cell(b, train, test)["r"], abs=0.03)


def test_marks_of_translations_are_read_from_either_column() -> None:
    table = pl.DataFrame(
        {
            "word": ["joy", "喜", "sea", "海", "tree"],
            "language": ["en", "zh", "en", "zh", "en"],
            "concepticon_id": ["7", "7", "", None, "nan"],
            "translation": [None, None, "7", "7", None],
        }
    )
    groups = group_words(table["word"].to_list(), table["language"].to_list(), linked_concepts(table))
    assert groups.tolist() == [0, 0, 1, 1, 2]
    assert linked_concepts(table.drop("concepticon_id", "translation")) is None
    numbers = table.with_columns(pl.Series("concepticon_id", [7, 7, None, None, None]))
    groups = group_words(table["word"].to_list(), table["language"].to_list(), linked_concepts(numbers))
    assert groups.tolist() == [0, 0, 1, 1, 2]
