"""What stands beside the emotion space: random sets of features, concepts without feeling, single raters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import StandardScaler
from test_geometry_simulation import trials
from test_geometry_study import FAST, People, _row, _world

from emosae.errors import UserError
from emosae.geometry import (
    ControlSet,
    Draws,
    compare,
    compute_rdm,
    random_draws,
    study_geometry,
    valence_axis,
)
from emosae.geometry.direction import PENALTIES

affect = trials.affect


def _sparse(n: int = 14, k: int = 60, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, k)) < 0.4, rng.random((n, k)), 0.0)


# random sets ------------------------------------------------------------------------------------------------


@given(size=st.integers(3, 40), seed=st.integers(0, 99))
def test_draws_are_distinct_columns_that_fire(size: int, seed: int) -> None:
    matrix = np.hstack([_sparse(k=30), np.zeros((14, 5))])
    found = random_draws(matrix, "features", size, n_draws=4, dissimilarity="euclidean", seed=seed)
    assert found.size == min(size, 30)
    for one in found.matrices:
        places = [int(np.flatnonzero((matrix == column[:, None]).all(axis=0))[0]) for column in one.T]
        assert len(set(places)) == found.size
        assert max(places) < 30


def test_a_draw_without_an_rdm_is_drawn_again_and_a_hopeless_one_is_left_out() -> None:
    matrix = np.zeros((5, 20))
    matrix[:4] = _sparse(4, 20) + 0.1
    matrix[4, 0] = 1.0  # the last concept varies only where feature 0 is drawn
    found = random_draws(matrix, "features", 10, n_draws=6, dissimilarity="correlation")
    assert len(found.matrices) == 6
    assert all((one[4] == 1).any() for one in found.matrices)
    matrix[4] = 0
    assert not random_draws(matrix, "features", 10, n_draws=6, dissimilarity="correlation").matrices


def test_a_random_row_is_the_mean_over_its_draws() -> None:
    spaces, concepts, people = _world()
    draws = random_draws(_sparse(), "features", 30, n_draws=9, dissimilarity="correlation")
    found = study_geometry(spaces, concepts, people, FAST, draws={"draws": draws})
    row = _row(found.rsa, space="draws", comparator="spearman")
    single = [
        np.mean([stats.spearmanr(pdist(one, "correlation"), rater).statistic for rater in people.raters])
        for one in draws.matrices
    ]
    assert row["score"] == pytest.approx(np.mean(single))
    assert row["draws_sd"] == pytest.approx(np.std(single, ddof=1))
    assert (row["draws_low"], row["draws_high"]) == pytest.approx(tuple(np.quantile(single, [0.025, 0.975])))
    assert (row["role"], row["n_draws"]) == ("control", 9)
    assert row["ci_low"] < row["score"] < row["ci_high"]
    assert row["p"] > 0.01
    pooled = [
        compare(pdist(o, "correlation"), people.raters.mean(0), "spearman")[0, 0] for o in draws.matrices
    ]
    assert row["score_mean_rdm"] == pytest.approx(np.mean(pooled))
    beside = _row(found.rsa, space="features", comparator="spearman")
    assert beside["p_random"] == pytest.approx(1 / 10)  # no draw reaches the planted space
    assert beside["n_draws"] == 9
    assert _row(found.rsa, space="other", comparator="spearman")["p_random"] is None
    assert "draws" not in set(found.between["space_a"]) | set(found.rdms["space"])


def test_draws_leave_every_other_number_as_it_is() -> None:
    spaces, concepts, people = _world()
    draws = {"draws": random_draws(_sparse(), "features", 30, n_draws=5, dissimilarity="correlation")}
    without = study_geometry(spaces, concepts, people, FAST)
    with_draws = study_geometry(spaces, concepts, people, FAST, draws=draws)
    columns = [c for c in without.rsa.columns if c not in {"p_random", "n_draws"}]
    kept = with_draws.rsa.filter(pl.col("space") != "draws").select(columns)
    assert_frame_equal(kept, without.rsa.select(columns), rel_tol=1e-9)


def test_draws_that_do_not_fit_are_refused_or_noted() -> None:
    spaces, concepts, people = _world()
    wrong = Draws(of="features", matrices=[_sparse(13)], size=60)
    with pytest.raises(UserError, match=r"must have one row per concept \(14\), got \(13, 60\)"):
        study_geometry(spaces, concepts, people, FAST, draws={"draws": wrong})
    with pytest.raises(UserError, match="must have a name of their own, got 'features'"):
        study_geometry(spaces, concepts, people, FAST, draws={"features": replace(wrong, matrices=[])})
    none = study_geometry(spaces, concepts, people, FAST, draws={"draws": replace(wrong, matrices=[])})
    assert "no random set" in none.notes.filter(pl.col("topic") == "draws")["note"][0]
    assert "draws" not in set(none.rsa["space"])


# concepts without feeling -----------------------------------------------------------------------------------


def test_the_axis_is_ridge_regression_with_the_best_left_out_penalty() -> None:
    emotions, valence, control = affect(np.random.default_rng(0), 0.5)
    emotions[:, 7] = 3.0  # a feature that never varies says nothing and must not divide by zero
    found = valence_axis(emotions, valence, control, n_permutations=10)
    z, scale = emotions.copy(), StandardScaler().fit(np.delete(emotions, 7, axis=1))
    z = scale.transform(np.delete(emotions, 7, axis=1))
    errors, predictions = [], []
    for penalty in PENALTIES * (z**2).sum() / len(z):
        predictions.append(cross_val_predict(Ridge(alpha=penalty), z, valence, cv=LeaveOneOut()))
        errors.append(((predictions[-1] - valence) ** 2).sum())
    best = int(np.argmin(errors))
    np.testing.assert_allclose(found.emotions, predictions[best], atol=1e-8)
    model = Ridge(alpha=PENALTIES[best] * (z**2).sum() / len(z)).fit(z, valence)
    theirs = scale.transform(np.delete(control, 7, axis=1))
    np.testing.assert_allclose(found.control, model.predict(theirs), atol=1e-8)
    assert found.share == pytest.approx(model.predict(theirs).std() / predictions[best].std())
    unit = model.coef_ / np.linalg.norm(model.coef_)
    assert found.statistic == pytest.approx((theirs @ unit).var() / theirs.var(axis=0).sum())
    assert found.r_valence == pytest.approx(np.corrcoef(predictions[best], valence)[0, 1])


def test_control_concepts_along_valence_are_told_from_others() -> None:
    rng = np.random.default_rng(1)
    emotions, valence, control = affect(rng, 1.0)
    loaded = valence_axis(emotions, valence, control, n_permutations=499)
    assert loaded.p < 0.01
    assert loaded.statistic > 3 * loaded.expected
    assert loaded.share > 0.5
    emotions, valence, control = affect(rng, 0.0)
    free = valence_axis(emotions, valence, control, n_permutations=499)
    assert free.p > 0.05
    assert free.share < 0.5


@given(shift=st.floats(-5, 5), size=st.floats(0.1, 10))
def test_the_axis_does_not_depend_on_the_unit_of_features_or_valence(shift: float, size: float) -> None:
    emotions, valence, control = affect(np.random.default_rng(2), 0.5, k=12)
    one = valence_axis(emotions, valence, control, n_permutations=20)
    other = valence_axis(
        emotions * size + shift, valence * size + shift, control * size + shift, n_permutations=20
    )
    assert other.share == pytest.approx(one.share, rel=1e-6)
    assert other.statistic == pytest.approx(one.statistic, rel=1e-6)
    assert other.p == one.p


def test_where_valence_cannot_be_read_nothing_is_said_of_the_control() -> None:
    rng = np.random.default_rng(0)
    spaces = {"features": rng.standard_normal((27, 5))}
    people = People([f"e{i}" for i in range(27)], rng.random((3, 351)))
    valence = pl.DataFrame({"concept": people.concepts, "valence": rng.standard_normal(27)})
    control = ControlSet(concepts=["tool", "food", "fish"], matrices={"features": rng.random((3, 5))})
    assert not valence_axis(
        spaces["features"], valence["valence"].to_numpy(), control.matrices["features"], n_permutations=1
    ).learnt
    found = study_geometry(spaces, people.concepts, people, FAST, attributes=valence, control=control)
    row = _row(found.control, space="features")
    assert row["share"] is row["p"] is row["ci_low"] is None
    assert "Valence cannot be read" in " ".join(found.notes["note"])


def test_a_study_writes_the_controls_rdm_map_and_axis() -> None:
    spaces, concepts, people = _world()
    rng = np.random.default_rng(5)
    theirs = rng.standard_normal((6, 30))
    theirs[2] = 1.0  # does not vary: it has no correlation with the others
    names = ["tool", "food", "fish", "boat", "metal", "grain"]
    control = ControlSet(concepts=names, matrices={"features": theirs, "stranger": rng.random((6, 4))})
    found = study_geometry(spaces, concepts, people, FAST, control=control)
    assert found.control["space"].to_list() == ["features"]
    row = _row(found.control, space="features")
    expected = valence_axis(
        spaces["features"], people.attributes["valence"].to_numpy(), theirs, n_permutations=200
    )
    assert (row["share"], row["p"]) == pytest.approx((expected.share, expected.p))
    assert row["ci_low"] < row["share"] < row["ci_high"]
    kept = np.delete(theirs, 2, axis=0)
    np.testing.assert_allclose(found.control_rdms["dissimilarity"], pdist(kept, "correlation"))
    assert found.control_coordinates["concept"].to_list() == ["tool", "food", "boat", "metal", "grain"]
    np.testing.assert_allclose(
        found.control_coordinates["valence_predicted"], np.delete(expected.control, 2), atol=1e-9
    )
    assert "fish" in found.notes.filter(pl.col("topic") == "features")["note"][0]


def test_without_valence_the_control_still_has_a_map() -> None:
    spaces, concepts, _ = _world()
    control = ControlSet(concepts=["a", "b", "c"], matrices={"features": _sparse(3, 30)})
    found = study_geometry(spaces, concepts, config=FAST, control=control)
    assert found.control.is_empty()
    assert found.control_coordinates["valence_predicted"].null_count() == 3
    assert "No valence axis" in " ".join(found.notes["note"])


def test_too_few_emotions_or_other_coordinates_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"at least 8 emotions and 2 control concepts .* got \(5, 3\) and \(4, 3\)"
    ):
        valence_axis(np.ones((5, 3)), np.arange(5.0), np.ones((4, 3)))
    with pytest.raises(UserError, match=r"\(9, 3\) and \(4, 2\)"):
        valence_axis(np.ones((9, 3)), np.arange(9.0), np.ones((4, 2)))


# single raters ----------------------------------------------------------------------------------------------


def test_every_rater_is_compared_with_every_space() -> None:
    spaces, concepts, people = _world()
    found = study_geometry(spaces, concepts, people, FAST)
    assert found.raters.height == 6 * (3 + 3)
    for name, matrix in spaces.items():
        rows = found.raters.filter(pl.col("space") == name)
        rdm = compute_rdm(matrix)
        expected = [compare(rdm, rater, "rho-a")[0, 0] for rater in people.raters]
        np.testing.assert_allclose(rows["rho_model"], expected)
        assert rows["rho_model"].mean() == pytest.approx(
            _row(found.rsa, space=name, comparator="rho-a")["score"]
        )
    assert set(found.raters["role"]) == {"model", "attribute"}
