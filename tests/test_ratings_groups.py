"""Groups of raters on the same words and folds, against a simulation in which both share one truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge

from emosae.config import compose
from emosae.errors import UserError
from emosae.norms import load_ratings
from emosae.ratings import RatingsConfig, study_groups, study_ratings
from emosae.ratings.design import as_design
from emosae.ratings.groups import GROUPS, group_pairs
from emosae.ratings.simulate import correlations, refit, shared_truth
from emosae.ratings.spectral import total_gram

QUICK = RatingsConfig(folds=5, inner_folds=3, penalties=8, bootstrap=100, group_simulations=39, workers=1)
TRIALS = [pytest.param(50, id="fast"), pytest.param(1000, id="full", marks=pytest.mark.slow)]


def _world(
    rng: np.random.Generator, n: int = 300, k: int = 40, raters: tuple[int, int] = (4, 20), apart: float = 0.0
) -> tuple[np.ndarray, pl.DataFrame]:
    """Words rated by two groups; `apart` of the second group's truth is its own and has no features."""
    x = rng.standard_normal((n, k))
    truth = x @ rng.standard_normal(k) / np.sqrt(k) + 0.7 * rng.standard_normal(n)
    other = np.sqrt(1 - apart**2) * truth + apart * truth.std() * rng.standard_normal(n)
    columns: dict[str, object] = {"word": [f"w{i}x" for i in range(n)], "language": ["en"] * n}
    for group, own, count in (("a", truth, raters[0]), ("b", other, raters[1])):
        columns[f"{group}_valence"] = 5 + own + 1.5 * rng.standard_normal(n) / np.sqrt(count)
        columns[f"{group}_valence_sd"] = 1.5 * np.sqrt(rng.chisquare(count - 1, n) / (count - 1))
        columns[f"{group}_valence_n"] = [count] * n
    return x, pl.DataFrame(columns)


def _study(x: np.ndarray, table: pl.DataFrame, **changes: object) -> dict[str, float]:
    found = study_groups({"x": x}, table, targets=["valence"], config=replace(QUICK, **changes))  # type: ignore[arg-type]
    assert dict(found.schema) == {**GROUPS, "p_adjusted": pl.Float64}
    return found.row(0, named=True)


def test_each_group_is_predicted_as_by_the_ratings_study_on_the_same_folds() -> None:
    x, table = _world(np.random.default_rng(0))
    row = _study(x, table)
    for group, mark in (("a", "a"), ("b", "b")):
        own = study_ratings({"x": x}, table, targets=[f"{group}_valence"], config=QUICK).scores.row(
            0, named=True
        )
        assert row[f"r_{mark}"] == pytest.approx(own["r"], abs=1e-12)
        assert row[f"reliability_{mark}"] == pytest.approx(own["ceiling"] ** 2)
        mean, sd, n = (table[f"{group}_valence{end}"].to_numpy() for end in ("", "_sd", "_n"))
        by_hand = 1 - np.mean(sd**2 / n) / np.var(mean, ddof=1)
        assert row[f"reliability_{mark}"] == pytest.approx(by_hand)
        assert row[f"r_disattenuated_{mark}"] == pytest.approx(own["r"] / np.sqrt(by_hand))
    assert row["difference"] == pytest.approx(row["r_disattenuated_a"] - row["r_disattenuated_b"])
    assert row["beyond"] == pytest.approx(row["difference"] - row["expected"])
    assert row["low"] < row["beyond"] < row["high"]
    assert (row["n_words"], row["n_simulations"]) == (300, 39)


@pytest.mark.parametrize("wide", [False, True], ids=["eigen", "sparse"])
def test_simulated_ratings_are_fitted_as_scikit_learn_does(wide: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1200, 30)) * (rng.random((1200, 30)) < 0.5)
    ratings, outer = rng.standard_normal((1200, 4)) + x[:, :4], rng.integers(0, 3, 1200)
    penalties = np.array([[1.0, 20.0], [3.0, 3.0], [50.0, 0.5]])
    design = as_design(sp.csr_array(x) if wide else x)
    gram = None if wide else total_gram(design, 1024, "none")  # type: ignore[arg-type]
    predicted = refit(design, gram, ratings, penalties, outer, replace(QUICK, tolerance=1e-9))
    for fold in range(3):
        for column in range(4):
            model = Ridge(alpha=penalties[fold, column // 2]).fit(
                x[outer != fold], ratings[outer != fold, column]
            )
            np.testing.assert_allclose(
                predicted[outer == fold, column], model.predict(x[outer == fold]), atol=1e-6
            )


def test_a_group_with_its_own_truth_is_found() -> None:
    rng = np.random.default_rng(2)
    apart = [_study(*_world(rng, n=500, apart=0.7))["p"] for _ in range(5)]
    assert max(apart) <= 0.05
    row = _study(*_world(rng, n=500, apart=0.7))
    assert row["beyond"] > 0.1
    assert row["low"] > 0


@pytest.mark.parametrize("n_trials", TRIALS)
def test_p_is_uniform_under_one_truth_and_the_plain_difference_is_not_zero(n_trials: int) -> None:
    """Four raters against twenty. Stored (50 trials): mean difference -.04, expected -.04, 4 % at the 5 % level."""
    rng = np.random.default_rng(0)
    rows = [_study(*_world(rng)) for _ in range(n_trials)]
    p = np.array([row["p"] for row in rows]) - rng.random(n_trials) / 40  # p has steps of 1/40
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert np.mean([row["p"] <= 0.05 for row in rows]) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / n_trials)
    inside = [row["low"] <= 0 <= row["high"] for row in rows]
    assert np.mean(inside) > 0.95 - 0.03 - 4 * np.sqrt(0.05 * 0.95 / n_trials)  # 39 simulations: short tails
    difference = np.array([row["difference"] for row in rows])
    error = difference.std() / np.sqrt(n_trials)
    assert difference.mean() < -3 * error, "disattenuation alone invents a difference"
    assert abs(difference.mean() - np.mean([row["expected"] for row in rows])) < 4 * error


@given(scale=st.floats(0.2, 5), shift=st.floats(-3, 3), seed=st.integers(0, 50))
def test_the_shared_truth_does_not_depend_on_how_a_group_uses_the_scale(
    scale: float, shift: float, seed: int
) -> None:
    a, b = np.random.default_rng(seed).standard_normal((2, 40))
    truth = shared_truth(a, b, 0.4, 0.7)
    np.testing.assert_allclose(shared_truth(a * scale + shift, b, 0.4, 0.7), truth, atol=1e-9)
    np.testing.assert_allclose(shared_truth(b, a, 0.7, 0.4), truth, atol=1e-12)
    assert truth.mean() == pytest.approx(0, abs=1e-12)
    assert truth.std() == pytest.approx(1)


def test_the_more_reliable_group_weighs_more() -> None:
    rng = np.random.default_rng(3)
    truth = rng.standard_normal(4000)
    a, b = (
        truth + rng.standard_normal(4000),
        truth + 0.5 * rng.standard_normal(4000),
    )  # reliabilities .5 and .8
    found = np.corrcoef(shared_truth(a, b, 0.5, 0.8), truth)[0, 1]
    best = np.sqrt(1 - 1 / (1 + 1 + 4))  # precisions 1 and 4 beside the truth's own 1
    assert found == pytest.approx(best, abs=0.01)
    assert found > np.corrcoef(a + b, truth)[0, 1]


def test_pairs_are_found_by_their_columns() -> None:
    def columns(*groups: str) -> list[str]:
        return [f"{g}_{t}{end}" for g in groups for t in ("valence", "arousal") for end in ("", "_sd", "_n")]

    assert group_pairs(columns("male", "female", "young"), ["valence", "arousal"]) == [("male", "female")]
    assert group_pairs(columns("x", "y", "z"), ["valence"]) == [("x", "y"), ("x", "z"), ("y", "z")]
    lacking = [name for name in columns("male", "female") if name != "male_arousal_n"]
    assert group_pairs(lacking, ["valence", "arousal"]) == []
    assert group_pairs(["valence", "valence_sd", "valence_n"], ["valence"]) == []


def test_words_that_chose_the_features_or_that_one_rater_judged_are_left_out() -> None:
    x, table = _world(np.random.default_rng(4))
    table = table.with_columns(
        a_valence_n=pl.when(pl.int_range(pl.len()) < 20).then(1).otherwise("a_valence_n"),
        b_valence_sd=pl.when(pl.int_range(pl.len()) >= 290).then(None).otherwise("b_valence_sd"),
    )
    found = study_groups(
        {"x": x}, table, targets=["valence"], config=QUICK, exclude=table["word"].to_list()[100:130]
    )
    assert found["n_words"].to_list() == [300 - 20 - 10 - 30]


def test_what_cannot_be_compared_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    x, table = _world(np.random.default_rng(5))
    plain = table.select("word", "language")
    assert study_groups({"x": x}, plain, targets=["valence"], config=QUICK).is_empty()
    assert study_groups(
        {"x": x}, table, targets=["valence"], config=replace(QUICK, group_simulations=0)
    ).is_empty()
    with caplog.at_level("INFO", logger="emosae"):
        wide = sp.csr_array((300, 2000), dtype=np.float32)
        assert study_groups({"features": wide}, table, targets=["valence"], config=QUICK).is_empty()
    assert "features left out, more than 1024 columns" in caplog.text
    noisy = table.with_columns(a_valence_sd=pl.lit(50.0))
    row = _study(x, noisy)  # error exceeds the variance: nothing is claimed
    assert row["reliability_a"] is row["p"] is row["difference"] is None
    with pytest.raises(UserError, match=r"ratings.group_simulations must be at least 0, got -1"):
        RatingsConfig(group_simulations=-1)


def test_correlations_are_within_folds() -> None:
    rng = np.random.default_rng(6)
    outer = rng.integers(0, 4, 80)
    a, b = rng.standard_normal((2, 80, 3)) + outer[:, None] * 5
    b[:, 2] = 1.0
    found = correlations(a, b, outer)
    for column in range(2):
        centred = [values[:, column].copy() for values in (a, b)]
        for fold in range(4):
            for one in centred:
                one[outer == fold] -= one[outer == fold].mean()
            centred[1][outer == fold] /= centred[1][outer == fold].std()
        assert found[column] == pytest.approx(stats.pearsonr(*centred).statistic)
    assert np.isnan(found[2])


@pytest.mark.real
def test_men_and_women_of_warriner_differ_in_reliability(shared: Path) -> None:
    path = shared / "norms" / "Ratings_Warriner_et_al.csv"
    config = compose(["preset=custom", "model.name=x", "norms=[warriner]", f"norms.warriner.path={path}"])
    table = load_ratings(config.norms["warriner"]).table
    letters = "abcdefghijklmnopqrstuvwxyz"
    counts = np.array(
        [[word.lower().count(letter) for letter in letters] for word in table["word"]], dtype=float
    )
    found = study_groups({"letters": counts}, table, config=replace(QUICK, group_simulations=9))
    assert found.height == 3 * 2
    row = found.filter(pl.col("a") == "male", pl.col("target") == "arousal").row(0, named=True)
    assert row["n_words"] > 13_900
    assert row["reliability_a"] == pytest.approx(0.393, abs=0.001)
    assert row["reliability_b"] == pytest.approx(0.583, abs=0.001)
