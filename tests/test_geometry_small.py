"""Three and four concepts, raters with gaps, one language: a right answer or a plain refusal, never a crash."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from emosae.errors import UserError
from emosae.geometry import Geometry, GeometryConfig, study_geometry

FAST = GeometryConfig(
    n_permutations=99, n_bootstrap=30, n_random=5, n_rater_simulations=20, comparators=["spearman"]
)  # type: ignore[list-item]


def spaces(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], list[str]]:
    rng = np.random.default_rng(seed)
    found = {name: rng.random((n, 12)) for name in ("features", "residual")}
    return found, [f"emotion{i}" for i in range(n)]


def people(concepts: list[str], raters: np.ndarray) -> SimpleNamespace:
    rng = np.random.default_rng(1)
    attributes = pl.DataFrame(
        {"concept": concepts, "valence": rng.random(len(concepts)), "arousal": rng.random(len(concepts))}
    )
    return SimpleNamespace(concepts=concepts, language="en", raters=raters, attributes=attributes)


def row(found: Geometry, name: str) -> dict[str, object]:
    return found.rsa.filter(space=name).row(0, named=True)


def test_three_concepts_without_raters_are_a_map_and_no_test() -> None:
    made, concepts = spaces(3)
    found = study_geometry(made, concepts, None, FAST)
    assert found.rsa.is_empty()
    own = found.rdms.filter(space="features")["dissimilarity"].to_numpy()
    np.testing.assert_allclose(own, pdist(made["features"], "correlation"), atol=1e-12)
    pair = found.between.row(0, named=True)
    assert -1 <= pair["score"] <= 1
    assert pair["p"] is None or pair["p"] >= 1 / 6  # three concepts have six orders


def test_three_concepts_with_raters_are_refused() -> None:
    made, concepts = spaces(3)
    with pytest.raises(UserError, match=r"must share at least 4 concepts, got 3"):
        study_geometry(made, concepts, people(concepts, np.random.default_rng(0).random((5, 3))), FAST)


def test_four_concepts_and_a_rater_with_gaps_count_what_was_judged() -> None:
    made, concepts = spaces(4)
    raters = np.random.default_rng(0).random((5, 6))
    raters[0, [0, 4]] = np.nan
    found = study_geometry(made, concepts, people(concepts, raters), FAST)
    rdm = pdist(made["features"], "correlation")
    known = [~np.isnan(rater) for rater in raters]
    expected = np.mean(
        [stats.spearmanr(rdm[k], rater[k]).statistic for k, rater in zip(known, raters, strict=True)]
    )
    assert row(found, "features")["score"] == pytest.approx(expected, abs=1e-9)
    assert row(found, "features")["p"] >= 1 / 24  # four concepts have twenty-four orders
    assert "2 of 30 judgements are missing" in " ".join(found.notes["note"])


def test_a_rater_who_judged_one_pair_is_left_out_and_said() -> None:
    made, concepts = spaces(5)
    raters = np.random.default_rng(0).random((4, 10))
    raters[3, 1:] = np.nan
    found = study_geometry(made, concepts, people(concepts, raters), FAST)
    assert row(found, "features")["n_raters"] == 3
    assert "1 of 4 raters left out" in " ".join(found.notes["note"])
    with_three = study_geometry(made, concepts, people(concepts, raters[:3]), FAST)
    assert row(found, "features")["score"] == pytest.approx(row(with_three, "features")["score"])


def test_one_space_of_one_language_has_nothing_to_stand_beside() -> None:
    made, concepts = spaces(6)
    found = study_geometry({"features": made["features"]}, concepts, None, FAST)
    assert found.rsa.is_empty()
    assert found.between.is_empty()
    assert set(found.coordinates["space"]) == {"features"}
