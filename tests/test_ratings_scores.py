"""Scores and comparisons against scipy, scikit-learn, hand computation and simulation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import r2_score, root_mean_squared_error

from emosae.errors import UserError
from emosae.ratings import RatingsConfig, reliability_ceiling, study_ratings
from emosae.ratings.comparison import adjust_p, corrected_t, paired_bootstrap
from emosae.ratings.scores import (
    bootstrap_pearson,
    overlap_factor,
    pearson,
    pearson_interval,
    score_predictions,
    spearman,
    within_folds,
)


def test_scores_equal_scipy_and_sklearn() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(1, 9, 200) + 0.0  # with ties
    p = 0.5 * y + rng.standard_normal(200)
    scores = score_predictions(y, p, np.full(200, y.mean()), np.zeros(200, dtype=int))
    assert scores.r == pytest.approx(stats.pearsonr(y, p).statistic, abs=1e-12)
    assert scores.rho == pytest.approx(stats.spearmanr(y, p).statistic, abs=1e-12)
    assert scores.r2 == pytest.approx(r2_score(y, p), abs=1e-12)
    assert scores.rmse == pytest.approx(root_mean_squared_error(y, p), abs=1e-12)


def test_scores_are_taken_within_folds() -> None:
    y, p, base = (
        np.array([1.0, 3.0, 7.0, 13.0]),
        np.array([2.0, 3.0, 6.0, 2.0]),
        np.array([10.0, 10.0, 2.0, 2.0]),
    )
    scores = score_predictions(y, p, base, np.array([0, 0, 1, 1]))
    assert scores.r == pytest.approx(stats.pearsonr([-1, 1, -3, 3], [-1, 1, 1, -1]).statistic)
    assert scores.rho == pytest.approx(stats.spearmanr([-1, 1, -3, 3], [-1, 1, 1, -1]).statistic)
    assert scores.r2 == pytest.approx(1 - 123 / (81 + 49 + 25 + 121))
    assert scores.rmse == pytest.approx(np.sqrt(123 / 4))


def test_a_fold_whose_predictions_do_not_vary_counts_for_nothing() -> None:
    rng = np.random.default_rng(0)
    outer = np.repeat([0, 1], 20)
    predicted = rng.standard_normal((40, 2))
    predicted[:20, 0] = 0.1 * (1 + 1e-15 * rng.standard_normal(20))  # constant but for rounding
    scaled = within_folds(predicted, outer, scaled=True)
    assert (scaled[:20, 0] == 0).all()
    assert scaled[20:].std(axis=0) == pytest.approx([1.0, 1.0])
    assert within_folds(predicted, outer)[20:] == pytest.approx(predicted[20:] - predicted[20:].mean(axis=0))


def test_interval_of_r_is_widened_on_fishers_z() -> None:
    drawn = np.linspace(0.4, 0.8, 401)
    assert pearson_interval(0.6, drawn, 0.5, 1.0) == pytest.approx((0.5, 0.7))
    low, high = pearson_interval(0.6, drawn, 0.5, 1.5)
    assert np.arctanh(0.6) - np.arctanh(low) == pytest.approx(1.5 * (np.arctanh(0.6) - np.arctanh(0.5)))
    assert np.arctanh(high) - np.arctanh(0.6) == pytest.approx(1.5 * (np.arctanh(0.7) - np.arctanh(0.6)))
    assert np.isnan(pearson_interval(float("nan"), drawn, 0.95, 1.0)).all()
    assert np.isfinite(pearson_interval(1.0, np.ones(5), 0.95, 1.45)).all()
    assert overlap_factor(10) == pytest.approx(1.4530, abs=1e-4)


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=40), st.integers(0, 99))
def test_correlation_laws(values: list[int], seed: int) -> None:
    x = np.array(values, dtype=float)
    y = np.random.default_rng(seed).standard_normal(len(x))
    if np.ptp(x) == 0:
        assert np.isnan(pearson(x, y))
        assert np.isnan(spearman(x, y))
        return
    assert pearson(x, x) == pytest.approx(1.0)
    assert pearson(x, -x) == pytest.approx(-1.0)
    assert pearson(x, y) == pytest.approx(pearson(y, x), abs=1e-12)
    assert pearson(3 * x - 7, y) == pytest.approx(pearson(x, y), abs=1e-9)
    assert spearman(np.exp(x / 10), y) == pytest.approx(spearman(x, y), abs=1e-12)


def test_a_constant_has_no_correlation() -> None:
    assert np.isnan(pearson(np.full(30, 0.1), np.arange(30.0)))


def test_bootstrap_draws_the_same_words_for_every_predictor() -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(60)
    p = np.stack([y + rng.standard_normal(60), rng.standard_normal(60)], axis=1)
    drawn = bootstrap_pearson(y, p, n_resamples=50, seed=4)
    assert drawn.shape == (50, 2)
    # the same words, drawn and correlated one by one
    index = np.random.default_rng(4).integers(0, 60, size=(50, 60))
    for row in range(50):
        for column in range(2):
            plain = np.corrcoef(y[index[row]], p[index[row], column])[0, 1]
            assert drawn[row, column] == pytest.approx(plain, abs=1e-12)
    np.testing.assert_array_equal(drawn, bootstrap_pearson(y, p, n_resamples=50, seed=4))
    # several chunks and an offset that would cancel in a naive sum of squares
    np.testing.assert_allclose(bootstrap_pearson(y + 1e6, p, n_resamples=50, seed=4), drawn, atol=1e-8)


@pytest.mark.slow
def test_bootstrap_interval_covers() -> None:
    rng = np.random.default_rng(0)
    truth, n, trials, covered = 0.6, 300, 1000, 0
    for trial in range(trials):
        y = rng.standard_normal(n)
        p = truth * y + np.sqrt(1 - truth**2) * rng.standard_normal(n)
        low, high = np.quantile(bootstrap_pearson(y, p[:, None], n_resamples=600, seed=trial), [0.025, 0.975])
        covered += low <= truth <= high
    assert 0.93 <= covered / trials <= 0.97


def test_ceiling_by_hand() -> None:
    ratings = np.array([2.0, 4.0, 6.0])  # variance 4
    assert reliability_ceiling(ratings, np.full(3, 2.0), np.full(3, 4.0)) == pytest.approx(np.sqrt(0.75))
    # words without an SD count for the variance only
    sd = np.array([2.0, np.nan, 2.0])
    assert reliability_ceiling(ratings, sd, np.full(3, 4.0)) == pytest.approx(np.sqrt(0.75))
    assert np.isnan(reliability_ceiling(ratings, np.full(3, np.nan), np.full(3, 4.0)))
    assert np.isnan(reliability_ceiling(ratings, np.full(3, 9.0), np.full(3, 4.0)))
    with pytest.raises(UserError, match="smallest of 2 and 0"):
        reliability_ceiling(ratings, np.full(3, 2.0), np.array([4.0, 0.0, 4.0]))


def test_ceiling_is_what_the_truth_itself_reaches() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(4000)
    raters = truth[:, None] + 2.0 * rng.standard_normal((4000, 12))
    mean, sd = raters.mean(axis=1), raters.std(axis=1, ddof=1)
    ceiling = reliability_ceiling(mean, sd, np.full(4000, 12.0))
    assert ceiling == pytest.approx(np.corrcoef(truth, mean)[0, 1], abs=0.01)


def test_corrected_t_by_hand() -> None:
    d = np.array([0.02, 0.05, 0.01, 0.04, 0.03])
    result = corrected_t(d, 0.25, 0.95)
    t = 0.03 / np.sqrt((1 / 5 + 0.25) * 0.00025)
    assert result.difference == pytest.approx(0.03)
    assert result.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert result.high - result.difference == pytest.approx(0.03 / t * stats.t.ppf(0.975, 4))
    # with no overlap it is the plain t-test
    plain = stats.ttest_1samp(d, 0.0)
    assert corrected_t(d, 0.0, 0.95).p == pytest.approx(plain.pvalue)
    assert corrected_t(-d, 0.25, 0.95).p == pytest.approx(result.p)
    assert corrected_t(np.zeros(5), 0.1, 0.95).p == 1.0
    assert np.isnan(corrected_t(np.array([np.nan, 0.1]), 0.1, 0.95).p)


def test_paired_bootstrap_counts_both_tails() -> None:
    resampled = np.array([-0.01, 0.01, 0.02, 0.03, 0.02, 0.01, 0.04, 0.02, 0.03])
    result = paired_bootstrap(0.02, resampled, 0.5, 1.0)
    assert result.p == pytest.approx(2 * 2 / 10)
    assert (result.low, result.high) == pytest.approx((0.01, 0.03))
    assert paired_bootstrap(0.02, resampled[1:], 0.95, 1.0).p == pytest.approx(2 / 9)
    assert paired_bootstrap(0.02, resampled[1:], 0.95, 3.0).p == pytest.approx(2 * 3 / 9)
    assert paired_bootstrap(0.0, np.zeros(10), 0.95, 1.0).p == 1.0
    assert np.isnan(paired_bootstrap(0.1, np.full(10, np.nan), 0.95, 1.0).p)


def test_paired_bootstrap_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(1)
    ps = []
    for trial in range(400):
        y = rng.standard_normal(150)
        p = y[:, None] + 1.5 * rng.standard_normal((150, 2))
        drawn = bootstrap_pearson(y, p, n_resamples=300, seed=trial)
        ps.append(
            paired_bootstrap(
                pearson(y, p[:, 0]) - pearson(y, p[:, 1]), drawn[:, 0] - drawn[:, 1], 0.95, 1.0
            ).p
        )
    assert 0.02 < np.mean(np.array(ps) <= 0.05) < 0.09
    assert stats.kstest(ps, "uniform").pvalue > 0.001


@pytest.mark.slow
@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_cross_validated_intervals_cover_and_equal_predictors_are_called_equal(signal: float) -> None:
    trials, n, p = 300, 200, 30
    weights = np.random.default_rng(99).standard_normal(p)
    found, rejected = [], {"corrected_t": 0, "paired_bootstrap": 0}
    config = RatingsConfig(bootstrap=200, workers=1, penalty_low=1e-3, penalties=10)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        x = np.where(rng.random((n, p)) < 0.3, rng.exponential(size=(n, p)), 0.0)
        ratings = signal * (x @ weights) / np.sqrt(p / 2) + rng.standard_normal(n)
        table = pl.DataFrame({"word": [f"w{i}" for i in range(n)], "language": "en", "valence": ratings})
        # two predictors that know the same, each with noise columns of its own
        both = {name: np.concatenate([x, rng.standard_normal((n, p // 2))], axis=1) for name in "ab"}
        result = study_ratings(both, table, targets=["valence"], config=config)
        found.append(result.scores.select("r", "r_low", "r_high").row(0))
        for row in result.comparisons.iter_rows(named=True):
            rejected[row["test"]] += row["p"] <= 0.05
    r, low, high = np.array(found).T
    truth = r.mean() if signal else 0.0
    assert 0.88 <= ((low <= truth) & (truth <= high)).mean() <= 0.99
    assert max(rejected.values()) / trials <= 0.09


def test_benjamini_hochberg_leaves_out_what_is_no_test() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03])
    np.testing.assert_allclose(adjust_p(p), [0.03, np.nan, 0.04, 0.04])
    assert np.isnan(adjust_p(np.array([np.nan]))).all()
