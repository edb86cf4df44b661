"""Odd studies through the public functions of the stages: a right answer or a plain refusal, never a wrong number.

What each stage refuses on its own is tested beside it; here are the cases that no other file holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from emosae.errors import UserError
from emosae.geometry import Geometry, GeometryConfig, concept_matrix, study_geometry
from emosae.ratings import RatingsConfig, agreement, study_groups, study_ratings
from emosae.selection import SelectionConfig, select_features

FAST = GeometryConfig(n_permutations=200, n_bootstrap=0, n_random=0)
QUICK = RatingsConfig(folds=3, inner_folds=2, penalties=4, bootstrap=100, workers=1, group_simulations=20)
CONCEPTS = [f"emotion{i}" for i in range(12)]


@dataclass(frozen=True)
class People:
    concepts: list[str]
    raters: np.ndarray
    attributes: pl.DataFrame


def people(valence: np.ndarray, seed: int = 0) -> People:
    rng = np.random.default_rng(seed)
    gaps = np.abs(valence[:, None] - valence[None])[np.triu_indices(12, 1)]
    raters = gaps + 0.3 * rng.random((6, 66))
    attributes = pl.DataFrame({"concept": CONCEPTS, "valence": valence, "arousal": rng.normal(size=12)})
    return People(CONCEPTS, raters, attributes)


def score(found: Geometry, space: str) -> dict[str, object]:
    return found.rsa.filter(space=space, comparator=found.comparator).row(0, named=True)


def test_geometry_with_a_hundred_times_more_features_than_concepts() -> None:
    """The space that carries the judgements is found, noise of the same width is not."""
    rng = np.random.default_rng(1)
    valence = rng.normal(size=12)
    noise = rng.normal(size=(12, 1200))
    carries = noise + 3 * np.outer(valence, rng.normal(size=1200))
    found = study_geometry({"features": carries, "noise": noise}, CONCEPTS, people(valence), FAST)
    assert score(found, "features")["score"] > 0.4
    assert score(found, "features")["p"] < 0.02
    assert score(found, "noise")["p"] > 0.05


def test_geometry_where_valence_is_the_same_for_all_emotions() -> None:
    """No direction of valence can be asked for, so nothing is said about it; the likeness stands."""
    rng = np.random.default_rng(2)
    humans = people(rng.normal(size=12))
    flat = People(CONCEPTS, humans.raters, humans.attributes.with_columns(valence=pl.lit(5.0)))
    found = study_geometry({"features": rng.normal(size=(12, 8))}, CONCEPTS, flat, FAST)
    assert np.isfinite(score(found, "features")["score"])
    assert "valence" not in found.rsa["space"].to_list()
    assert found.tests.filter(test="beyond_valence").is_empty()
    said = found.notes.filter(pl.col("note") == "Left out: the same for all concepts.")
    assert any("valence" in topic for topic in said["topic"].to_list())


def test_a_word_listed_twice_counts_once_in_a_concepts_place() -> None:
    items = pl.DataFrame({"word": ["a", "b", "c"], "language": ["en"] * 3})
    values = np.array([[0.0, 3.0], [3.0, 0.0], [1.0, 1.0]])
    words = pl.DataFrame({"concept": ["x", "x", "y"], "word": ["a", "b", "c"], "language": ["en"] * 3})
    twice = pl.concat([words, words[:1]])
    once, again = (
        concept_matrix(values, items, table, language="en", concepts=("x", "y")) for table in (words, twice)
    )
    assert np.allclose(once, [[1.5, 1.5], [1.0, 1.0]])
    assert np.allclose(again, once)


def test_selection_with_a_hundred_times_more_features_than_words() -> None:
    """Thirty words and 3,000 features of noise pass nothing; one planted feature is found among them."""
    rng = np.random.default_rng(3)
    words = pl.DataFrame(
        {
            "concept": ["joy"] * 10 + ["fear"] * 10 + ["calm"] * 10,
            "word": [f"w{i}" for i in range(30)],
            "language": ["en"] * 30,
        }
    )
    dense = np.where(rng.random((30, 3000)) < 0.3, 1.0, 0.0)
    items = words.select("word", "language")
    quiet = select_features(sp.csr_array(dense), items, words, None, config=SelectionConfig())
    assert quiet.summary["n_significant"].sum() == 0
    dense[:, 7] = [1.0] * 10 + [0.0] * 20
    found = select_features(sp.csr_array(dense), items, words, None, config=SelectionConfig())
    assert found.scores.filter(significant=True).select("concept", "feature").rows() == [("joy", 7)]


@pytest.fixture(scope="module")
def rated() -> tuple[np.ndarray, pl.DataFrame]:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(150, 6))
    table = pl.DataFrame(
        {
            "word": [f"w{i}" for i in range(150)],
            "language": ["en"] * 150,
            "valence": x[:, 0] + rng.normal(size=150),
            "arousal": x[:, 1] + rng.normal(size=150),
        }
    )
    return x, table


def test_one_language_has_no_transfer(rated: tuple[np.ndarray, pl.DataFrame]) -> None:
    x, table = rated
    result = study_ratings({"residual": x}, table, config=QUICK)
    assert result.transfer.is_empty()
    assert result.scores["language"].unique().to_list() == ["en"]


def test_a_group_whose_ratings_are_constant_is_refused(rated: tuple[np.ndarray, pl.DataFrame]) -> None:
    x, table = rated
    for group, constant in (("male", False), ("female", True)):
        for target in ("valence", "arousal"):
            own = pl.lit(5.0) if constant else pl.col(target)
            table = table.with_columns(
                own.alias(f"{group}_{target}"),
                pl.lit(0.5).alias(f"{group}_{target}_sd"),
                pl.lit(10).alias(f"{group}_{target}_n"),
            )
    with pytest.raises(UserError, match="ratings must vary, got 5 for every word"):
        study_groups({"residual": x}, table, config=QUICK)
    # and what two data sets agree on asks for the reliability of either
    same = pl.lit(5.0).alias("valence"), pl.lit(0.5).alias("valence_sd"), pl.lit(10).alias("valence_n")
    between = agreement({"first": table, "second": table.with_columns(same)})
    assert between["target"].to_list() == ["arousal"]
