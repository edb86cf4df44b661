"""Facts about the human similarity of 27 emotions that emosae must reproduce."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from emosae.geometry import Geometry, GeometryConfig, study_geometry
from emosae.norms import HumanSimilarity, find, load_similarity

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class People:
    concepts: list[str]
    raters: np.ndarray
    attributes: pl.DataFrame


@pytest.fixture(scope="module", params=["read plainly", "read by emosae"])
def result(shared: Path, request: pytest.FixtureRequest) -> Geometry:
    """The attributes stand in for a model's space."""
    if request.param == "read by emosae":
        human = load_similarity(replace(find("human27"), path=str(shared / "human27")))
        return study(human.attributes.drop("concept").to_numpy(), list(human.concepts), human)
    folder = shared / "human27"
    concepts = (folder / "reordered_emotions.csv").read_text().split()
    raters = np.genfromtxt(folder / "ind_dist_subjective_comparison.csv", delimiter=",", skip_header=1)
    scores = pl.read_csv(folder / "score_emotional_PCs.csv")
    people = People(concepts, raters, scores.with_columns(pl.Series("concept", concepts)))
    return study(scores.to_numpy(), concepts, people)


def study(attributes: np.ndarray, concepts: list[str], people: People | HumanSimilarity) -> Geometry:
    config = GeometryConfig(comparators=["spearman", "rho-a"], n_permutations=500, n_bootstrap=200)
    return study_geometry({"attributes": attributes}, concepts, people, config)


def _row(result: Geometry, space: str, comparator: str = "spearman") -> dict[str, Any]:
    rows = result.rsa.filter((pl.col("space") == space) & (pl.col("comparator") == comparator))
    return rows.row(0, named=True)


def test_noise_ceiling_by_raters(result: Geometry) -> None:
    row = _row(result, "valence")
    assert (row["n_raters"], row["n_concepts"]) == (61, 27)
    assert row["ceiling_lower"] == pytest.approx(0.740, abs=5e-4)
    assert row["ceiling_upper"] == pytest.approx(0.749, abs=5e-4)


def test_ceiling_of_the_mean_rdm(result: Geometry) -> None:
    assert _row(result, "valence")["ceiling_mean_rdm"] == pytest.approx(0.993, abs=1e-3)


def test_valence_alone(result: Geometry) -> None:
    row = _row(result, "valence")
    assert row["score"] == pytest.approx(0.614, abs=5e-4)
    assert row["share_of_ceiling"] == pytest.approx(0.82, abs=5e-3)
    assert row["score_mean_rdm"] == pytest.approx(0.806, abs=5e-4)
    assert row["p"] < 0.01


def test_arousal_alone(result: Geometry) -> None:
    row = _row(result, "arousal")
    assert row["score"] == pytest.approx(0.0, abs=5e-3)
    assert row["score_mean_rdm"] == pytest.approx(-0.003, abs=5e-4)
    assert row["p"] > 0.2


def test_axes_of_the_mean_rdm(result: Geometry) -> None:
    axes = {
        (axis, attribute): r
        for space, method, axis, attribute, r in result.axes.select(
            "space", "method", "axis", "attribute", "r"
        ).iter_rows()
        if space == "human" and method == "mds"
    }
    assert axes[1, "valence"] == pytest.approx(0.975, abs=5e-4)
    assert axes[2, "arousal"] == pytest.approx(0.613, abs=5e-4)
