"""The best site of several, corrected for having looked at all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from test_geometry_study import CONCEPTS, FAST, People, _row, _world

from emosae.geometry import Geometry, GeometryConfig, compare_sites, study_geometry
from emosae.geometry.permutation import label_permutations
from emosae.geometry.sites import SITES_SCHEMA, other_half


def _sites(config: GeometryConfig = FAST) -> tuple[dict[str, Geometry], People, dict[str, np.ndarray]]:
    spaces, concepts, people = _world()
    by_site = {"early": spaces["random"], "middle": spaces["features"], "late": spaces["other"]}
    roles = {"embedding": "baseline"}
    results = {
        site: study_geometry(
            {"features": matrix, "embedding": spaces["random"]}, concepts, people, config, roles=roles
        )
        for site, matrix in by_site.items()
    }
    return results, people, by_site


def test_scores_are_the_sites_own_and_p_is_that_of_the_maximum() -> None:
    results, people, by_site = _sites(replace(FAST, comparators=["pearson"]))
    config = replace(FAST, comparators=["pearson"])
    found = compare_sites(results, people, config)
    assert found.schema == pl.Schema(SITES_SCHEMA)
    assert found.height == 6
    orders = label_permutations(14, 200, 0).orders
    null = np.empty((3, 200))
    for row, matrix in enumerate(by_site.values()):
        square = squareform(pdist(matrix, "correlation"))
        for column, order in enumerate(orders):
            back = np.argsort(order)
            turned = squareform(square[np.ix_(back, back)], checks=False)
            null[row, column] = np.mean([stats.pearsonr(turned, rater).statistic for rater in people.raters])
    for row, (site, result) in enumerate(results.items()):
        one = _row(found, site=site, space="features")
        own = _row(result.rsa, space="features")
        for column in ("score", "ci_low", "ci_high", "p"):
            assert one[column] == pytest.approx(own[column]), column
        assert one["p"] == pytest.approx((1 + (null[row] >= one["score"]).sum()) / 201)
        assert one["p_max"] == pytest.approx((1 + (null.max(axis=0) >= one["score"]).sum()) / 201)
        assert one["p_max"] >= one["p"]
        assert one["n_sites"] == 3
    features = found.filter(pl.col("space") == "features")
    assert features.filter("best")["site"].to_list() == [features.sort("score", descending=True)["site"][0]]
    assert features["chosen"].sum() == pytest.approx(1.0)
    assert _row(found, site="early", space="embedding")["role"] == "baseline"


def test_a_site_that_lacks_a_concept_is_compared_on_what_all_have() -> None:
    spaces, concepts, people = _world()
    whole = study_geometry({"features": spaces["features"]}, concepts, people, FAST)
    part = spaces["other"].copy()
    part[3] = 1.0  # this concept does not vary at the second site
    results = {"a": whole, "b": study_geometry({"features": part}, concepts, people, FAST)}
    found = compare_sites(results, people, FAST)
    assert found["n_concepts"].unique().to_list() == [13]
    keep = np.delete(np.arange(14), 3)
    square = squareform(pdist(spaces["features"], "correlation"))[np.ix_(keep, keep)]
    theirs = [squareform(rater)[np.ix_(keep, keep)] for rater in people.raters]
    upper = np.triu_indices(13, 1)
    expected = np.mean([stats.spearmanr(square[upper], one[upper]).statistic for one in theirs])
    scores = compare_sites(results, people, replace(FAST, comparators=["spearman"]))
    assert _row(scores, site="a", space="features")["score"] == pytest.approx(expected)


def test_one_site_is_its_own_best_and_needs_no_correction() -> None:
    results, people, _ = _sites()
    found = compare_sites({"middle": results["middle"]}, people, FAST)
    assert found["p"].equals(found["p_max"].rename("p"))
    assert found["best"].all()


def test_with_three_concepts_there_is_nothing_to_compare() -> None:
    spaces, concepts, people = _world()
    few = study_geometry({"a": spaces["features"][:3]}, concepts[:3], config=FAST)
    assert compare_sites({"x": few}, people, FAST).is_empty()


def test_what_is_chosen_on_one_half_is_scored_on_the_other() -> None:
    spaces, _, people = _world()
    rdms = np.array([pdist(spaces["features"], "correlation"), pdist(spaces["random"], "correlation")])
    chosen, held_out = other_half(rdms, people.raters, 14, "rho-a", n_splits=30)
    assert chosen[0] > 0.9
    assert chosen.sum() == pytest.approx(1.0)
    assert held_out[0] > 0.4
    assert np.isnan(other_half(rdms[:, :21], people.raters[:, :21], 7, "rho-a")[0]).all()


def test_p_of_the_best_site_is_uniform_and_the_bare_one_is_not() -> None:
    n_trials = 30  # a thousand are stored: see test_geometry_simulation.py
    rng = np.random.default_rng(0)
    config = replace(FAST, n_permutations=99, n_bootstrap=0, comparators=["pearson"])
    corrected, bare, held_out = [], [], []
    for _ in range(n_trials):
        people = People(CONCEPTS[:9], rng.random((2, 36)))
        config = replace(config, seed=int(rng.integers(1 << 30)))
        results = {
            f"layer {i}": study_geometry(
                {"features": rng.standard_normal((9, 6))}, CONCEPTS[:9], people, config
            )
            for i in range(4)
        }
        found = compare_sites(results, people, config)
        best = found.filter("best")
        corrected.append(best["p_max"][0])
        bare.append(best["p"][0])
        held_out.append(found.select((pl.col("chosen") * pl.col("held_out")).sum()).item())
    assert stats.kstest(corrected, "uniform").pvalue > 1e-3
    assert stats.kstest(bare, "uniform").pvalue < 1e-3
    assert abs(np.mean(held_out)) < 4 * np.std(held_out) / np.sqrt(n_trials)
