"""Single raters beside the space: disattenuation, and whether the space is closer to some than to others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from test_geometry_study import CONCEPTS, FAST, People, _row, _world

from emosae.errors import UserError
from emosae.geometry import compute_rdm, study_geometry
from emosae.geometry.ceiling import noise_ceiling, others_agreement, others_reliability
from emosae.geometry.one_truth import simulate_one_truth
from emosae.geometry.raters import RATERS_SCHEMA, RATERS_SUMMARY_SCHEMA, rater_spread

QUICK = replace(FAST, comparators=["spearman"], n_permutations=20, n_bootstrap=0, n_rater_simulations=99)


def _raters(
    rng: np.random.Generator, n: int, n_raters: int, own: float = 0.0, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """A space and raters who see its first two dimensions; `own` is how far they differ in how much of it."""
    points, other = rng.standard_normal((2, n, 2))
    space = pdist(points)
    truth = (space - space.mean()) / space.std()
    apart = pdist(other)
    apart = (apart - apart.mean()) / apart.std()
    rows = []
    for rater in range(n_raters):
        share = np.clip(0.6 + own * (1 if rater % 2 else -1), -1, 1)
        view = share * truth + np.sqrt(1 - share**2) * apart
        # noise of a kind that raters have: a concept seen otherwise in all of its pairs
        shifts = pdist(rng.standard_normal((n, 2)))
        rows.append(view + noise * (shifts - shifts.mean()) / shifts.std())
    return space, np.round(np.array(rows) * 2)


def test_each_rater_stands_beside_the_mean_of_the_others() -> None:
    spaces, concepts, people = _world()
    found = study_geometry(spaces, concepts, people, QUICK)
    assert found.raters.schema == pl.Schema(RATERS_SCHEMA)
    rdm = compute_rdm(spaces["features"])
    ranks = stats.rankdata(people.raters, axis=1)
    between = [
        stats.spearmanr(people.raters[i], people.raters[j]).statistic for i in range(6) for j in range(i)
    ]
    reliability = 5 * np.mean(between) / (1 + 4 * np.mean(between))
    for row in found.raters.filter(space="features").iter_rows(named=True):
        rater = people.raters[row["rater"]]
        model = stats.spearmanr(rdm, rater).statistic
        others = stats.spearmanr(np.delete(ranks, row["rater"], axis=0).mean(axis=0), rater).statistic
        assert (row["rho_model"], row["rho_others"]) == pytest.approx((model, others))
        assert row["disattenuated"] == pytest.approx(model / others * np.sqrt(reliability))
        assert row["n_pairs"] == 91
    one = _row(found.raters_summary, space="features")
    own = found.raters.filter(space="features")
    slope = np.dot(own["rho_model"], own["rho_others"]) / np.dot(own["rho_others"], own["rho_others"])
    about = own["rho_model"].to_numpy() - slope * own["rho_others"].to_numpy()
    assert found.raters_summary.schema == pl.Schema(RATERS_SUMMARY_SCHEMA)
    assert one["spread"] == pytest.approx(np.sqrt((about**2).sum() / 5))
    assert one["disattenuated"] == pytest.approx(slope * np.sqrt(reliability))
    assert one["reliability_others"] == pytest.approx(reliability)
    assert one["spread_low"] < one["spread_expected"] < one["spread_high"]
    assert (one["n_raters"], one["n_simulations"]) == (6, 99)
    assert found.raters_summary["space"].to_list() == [*spaces, "valence", "arousal", "valence_arousal"]
    assert noise_ceiling(people.raters, "spearman")[0] == pytest.approx(own["rho_others"].mean())


def test_disattenuation_finds_the_similarity_to_the_truth_behind_noisy_raters() -> None:
    rng = np.random.default_rng(0)
    truth = pdist(rng.standard_normal((40, 3)))
    model = truth + rng.normal(0, 0.7, truth.shape)
    raters = truth + rng.normal(0, 1, (30, len(truth))) * rng.uniform(0.5, 3, (30, 1))
    agreement = others_agreement(raters, "pearson")
    scores = np.array([np.corrcoef(model, rater)[0, 1] for rater in raters])
    slope, _ = rater_spread(scores, agreement)
    assert slope * np.sqrt(others_reliability(raters, "pearson")) == pytest.approx(
        np.corrcoef(model, truth)[0, 1], abs=0.02
    )
    exact = np.corrcoef(truth, stats.zscore(raters[1:], axis=1).mean(axis=0))[0, 1] ** 2
    assert others_reliability(raters, "pearson") == pytest.approx(exact, abs=0.03)


@given(seed=st.integers(0, 99), slope=st.floats(-1, 1), scale=st.floats(0.1, 5))
def test_spread_is_zero_on_a_line_through_zero_and_in_the_scores_unit(
    seed: int, slope: float, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    agreement = rng.uniform(0.1, 0.9, 8)
    assert rater_spread(slope * agreement, agreement)[1] == pytest.approx(0, abs=1e-12)
    scores = rng.random(8)
    one, many = rater_spread(scores, agreement), rater_spread(scale * scores, agreement)
    assert many[0] == pytest.approx(scale * one[0])
    assert many[1] == pytest.approx(scale * one[1])


@pytest.mark.parametrize("method", ["rho-a", "spearman", "pearson"])
def test_simulated_raters_agree_with_the_others_as_the_real_ones_do(method: str) -> None:
    rng = np.random.default_rng(1)
    space, raters = _raters(rng, 16, 12)
    raters[3, 5:40] = np.nan
    scores, agreement = simulate_one_truth(space[None], raters, method, n_simulations=60)
    assert scores.shape == (1, 60, 12)
    assert agreement.mean() == pytest.approx(others_agreement(raters, method).mean(), abs=0.03)
    assert np.abs(agreement).max() <= 1
    plain = [stats.spearmanr(space[~np.isnan(r)], r[~np.isnan(r)]).statistic for r in raters]
    assert scores.mean() == pytest.approx(np.mean(plain), abs=0.06)


def test_raters_who_follow_the_space_more_than_others_are_found() -> None:
    rng = np.random.default_rng(2)
    space, raters = _raters(rng, 14, 20, own=0.35, noise=0.7)
    people = People(CONCEPTS, raters)
    matrix = np.linalg.cholesky(_gram(space) + 1e-6 * np.eye(14))  # points with these distances
    found = study_geometry({"features": matrix}, CONCEPTS, people, replace(QUICK, dissimilarity="euclidean"))
    row = _row(found.raters_summary, space="features")
    assert row["p"] == pytest.approx(0.01)
    assert row["spread"] > row["spread_high"]
    assert row["spread_beyond"] > 0.1


def _gram(distance: np.ndarray) -> np.ndarray:
    square = squareform(distance) ** 2
    centring = np.eye(len(square)) - 1 / len(square)
    return -0.5 * centring @ square @ centring


def test_p_is_not_small_where_all_raters_share_one_truth() -> None:
    rng, p = np.random.default_rng(3), []
    for _ in range(40):
        space, raters = _raters(rng, 12, 8)
        scores, agreement = simulate_one_truth(space[None], raters, "spearman", n_simulations=39, seed=rng)
        null = rater_spread(scores, agreement[None])[1][0]
        own = np.array([stats.spearmanr(space, rater).statistic for rater in raters])
        p.append((1 + (null >= rater_spread(own, others_agreement(raters, "spearman"))[1]).sum()) / 40)
    assert stats.kstest(np.array(p) - rng.random(40) / 40, "uniform").pvalue > 1e-3


def test_raters_with_gaps_count_what_they_judged() -> None:
    spaces, concepts, people = _world()
    raters = people.raters.copy()
    raters[0, 10:60] = np.nan
    found = study_geometry(spaces, concepts, People(concepts, raters, people.attributes), QUICK)
    row = _row(found.raters, space="features", rater=0)  # type: ignore[arg-type]
    judged = ~np.isnan(raters[0])
    rdm = compute_rdm(spaces["features"])[judged]
    assert row["rho_model"] == pytest.approx(stats.spearmanr(rdm, raters[0, judged]).statistic)
    assert row["n_pairs"] == 41
    assert _row(found.raters_summary, space="features")["p"] is not None


def test_what_cannot_be_said_of_raters_is_left_out_and_said() -> None:
    spaces, concepts, people = _world()
    alone = study_geometry(spaces, concepts, People(concepts, people.raters[:1]), QUICK)
    row = _row(alone.raters, space="features")
    assert row["rho_others"] is row["disattenuated"] is None
    two = study_geometry(spaces, concepts, People(concepts, people.raters[:2]), QUICK)
    assert _row(two.raters_summary, space="features")["p"] is None
    assert "it needs 3 raters, got 2" in " ".join(two.notes["note"])
    tau = study_geometry(spaces, concepts, people, replace(QUICK, comparators=["tau-a"]))
    assert tau.raters["disattenuated"].null_count() == tau.raters.height
    assert tau.raters["rho_others"].null_count() == 0
    assert "tau-a is no correlation" in " ".join(tau.notes["note"])
    none = study_geometry(spaces, concepts, people, replace(QUICK, n_rater_simulations=0))
    assert none.raters_summary["p"].null_count() == none.raters_summary.height
    against = people.raters.copy()
    against[0] = -against[0]  # agrees with nobody: dividing by it would say anything
    strange = study_geometry(spaces, concepts, People(concepts, against), QUICK)
    assert _row(strange.raters, space="features", rater=0)["disattenuated"] is None  # type: ignore[arg-type]


def test_constant_raters_are_left_out_in_plain_words_and_refused_where_there_are_no_others() -> None:
    spaces, concepts, people = _world()
    level = np.vstack([people.raters, np.full((1, 91), 3.0)])
    found = study_geometry(spaces, concepts, People(concepts, level), QUICK)
    assert "1 of 7 raters left out: all their judgements are equal" in " ".join(found.notes["note"])
    assert found.raters["rater"].max() == 5
    with pytest.raises(
        UserError, match="must judge some shared pairs as less alike than others, got 2 raters"
    ):
        study_geometry(spaces, concepts, People(concepts, np.full((2, 91), 3.0)), QUICK)
