"""The study of the emotion space: its tables, what is left out and said, what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf
from scipy.spatial.distance import pdist, squareform

from emosae.errors import UserError
from emosae.geometry import Comparator, Geometry, GeometryConfig, compare, compute_rdm, study_geometry
from emosae.geometry.ceiling import mean_rdm, mean_rdm_ceiling, noise_ceiling
from emosae.geometry.hypotheses import TEST_SCHEMA
from emosae.geometry.rdm import pair_numbers
from emosae.geometry.rsa import RSA_SCHEMA

CONCEPTS = [f"emotion{i}" for i in range(14)]
FAST = GeometryConfig(n_permutations=200, n_bootstrap=100, n_rater_simulations=0)


@dataclass(frozen=True)
class People:
    concepts: list[str]
    raters: np.ndarray
    attributes: pl.DataFrame = field(default_factory=pl.DataFrame)
    language: str = "en"


def _world(n: int = 14, seed: int = 0) -> tuple[dict[str, np.ndarray], list[str], People]:
    """Raters see valence and arousal; `features` share both, `other` turns them, `random` shares nothing."""
    rng = np.random.default_rng(seed)
    plane = rng.standard_normal((n, 2)) * [2.0, 1.0]
    raters = pdist(plane) + rng.normal(0, 0.5, (6, n * (n - 1) // 2))
    spaces = {
        "features": plane @ rng.standard_normal((2, 30)) + 0.5 * rng.standard_normal((n, 30)),
        "other": plane @ rng.standard_normal((2, 20)) + 0.5 * rng.standard_normal((n, 20)),
        "random": rng.standard_normal((n, 25)),
    }
    concepts = CONCEPTS[:n]
    attributes = pl.DataFrame({"concept": concepts, "valence": plane[:, 0], "arousal": plane[:, 1]})
    return spaces, concepts, People(concepts, raters, attributes)


@pytest.fixture(scope="module")
def result() -> Geometry:
    spaces, concepts, people = _world()
    config = replace(FAST, comparators=["spearman", "pearson"])
    return study_geometry(spaces, concepts, people, config, roles={"random": "baseline"})


def _row(table: pl.DataFrame, **where: str) -> dict[str, Any]:
    rows = table.filter(*(pl.col(name) == value for name, value in where.items()))
    assert rows.height == 1
    return rows.row(0, named=True)


def test_every_row_is_the_mean_over_raters_beside_the_same_ceiling(result: Geometry) -> None:
    spaces, _, people = _world()
    assert result.rsa.schema == pl.Schema(RSA_SCHEMA)
    valence, arousal = (people.attributes[name].to_numpy() for name in ("valence", "arousal"))
    rdms = {name: compute_rdm(matrix) for name, matrix in spaces.items()} | {
        "valence": pdist(valence[:, None]),
        "arousal": pdist(arousal[:, None]),
        "valence_arousal": pdist(np.column_stack([valence, arousal])),
    }
    for comparator in ("spearman", "pearson"):
        ceiling = noise_ceiling(people.raters, comparator)
        for name, rdm in rdms.items():
            row = _row(result.rsa, space=name, comparator=comparator)
            assert row["score"] == pytest.approx(compare(rdm, people.raters, comparator).mean())
            assert row["score_mean_rdm"] == pytest.approx(
                compare(rdm, people.raters.mean(axis=0), comparator)[0, 0]
            )
            assert (row["ceiling_lower"], row["ceiling_upper"]) == pytest.approx(ceiling)
            assert row["share_of_ceiling"] == pytest.approx(row["score"] / ceiling[1])
            assert row["ceiling_mean_rdm"] == pytest.approx(mean_rdm_ceiling(people.raters, comparator))
            assert row["ci_low"] < row["score"] < row["ci_high"]
            assert row["ci_low_mean_rdm"] < row["score_mean_rdm"] < row["ci_high_mean_rdm"]
        upper = _row(result.rsa, space="ceiling_upper", comparator=comparator)
        assert (upper["role"], upper["score"]) == ("ceiling", pytest.approx(ceiling[1]))
        assert _row(result.rsa, space="ceiling_lower", comparator=comparator)["score"] == pytest.approx(
            ceiling[0]
        )


def test_p_values_tell_the_shared_space_from_the_random_one(result: Geometry) -> None:
    assert _row(result.rsa, space="features", comparator="spearman")["p"] == pytest.approx(1 / 201)
    assert _row(result.rsa, space="random", comparator="spearman")["p"] > 0.05
    assert _row(result.rsa, space="random", comparator="spearman")["p_max"] is None, (
        "a baseline is not picked"
    )
    model = _row(result.rsa, space="features", comparator="spearman")
    assert model["p_max"] >= model["p"]
    assert model["role"] == "model"
    assert _row(result.rsa, space="valence", comparator="spearman")["role"] == "attribute"


def test_partial_rho_is_for_everything_but_valence_itself(result: Geometry) -> None:
    assert _row(result.rsa, space="features", comparator="spearman")["partial_rho_given_valence"] > 0.2
    assert _row(result.rsa, space="valence", comparator="spearman")["partial_rho_given_valence"] is None
    assert (
        _row(result.rsa, space="valence_arousal", comparator="spearman")["partial_rho_given_valence"] is None
    )


def test_every_two_spaces_are_compared(result: Geometry) -> None:
    spaces, _, _ = _world()
    assert result.between.height == 3
    row = _row(result.between, space_a="features", space_b="other")
    expected = compare(compute_rdm(spaces["features"]), compute_rdm(spaces["other"]), "spearman")[0, 0]
    assert row["score"] == pytest.approx(expected)
    assert row["p"] < 0.01
    assert row["ci_low"] < row["score"] < row["ci_high"]
    assert _row(result.between, space_a="other", space_b="random")["p"] > 0.05


def test_rdms_are_written_pair_by_pair(result: Geometry) -> None:
    spaces, concepts, people = _world()
    rows = result.rdms.filter(pl.col("space") == "features")
    square = squareform(compute_rdm(spaces["features"]))
    for a, b, value in rows.select("concept_a", "concept_b", "dissimilarity").iter_rows():
        assert value == pytest.approx(square[concepts.index(a), concepts.index(b)])
    assert rows.height == 91
    human = result.rdms.filter(pl.col("space") == "human")["dissimilarity"]
    np.testing.assert_allclose(human, people.raters.mean(axis=0))
    assert set(result.rdms["space"]) >= {"valence", "arousal", "valence_arousal"}


def test_the_map_is_turned_onto_people_and_pleasant_is_right(result: Geometry) -> None:
    assert result.reference == "human"
    human = result.coordinates.filter(pl.col("space") == "human")
    _, _, people = _world()
    assert np.corrcoef(human["axis_1"], people.attributes["valence"])[0, 1] > 0.9
    assert np.corrcoef(human["axis_2"], people.attributes["arousal"])[0, 1] > 0.7
    np.testing.assert_allclose(human["aligned_1"], human["axis_1"], atol=1e-9)
    for space in ("features", "other"):
        aligned = result.coordinates.filter(pl.col("space") == space)
        assert np.corrcoef(aligned["aligned_1"], human["aligned_1"])[0, 1] > 0.8
        assert np.corrcoef(aligned["aligned_2"], human["aligned_2"])[0, 1] > 0.3


def test_axes_are_related_to_valence_and_arousal(result: Geometry) -> None:
    rows = result.axes.filter((pl.col("space") == "human") & (pl.col("attribute") == "valence"))
    assert rows["axis"].to_list() == [1, 2, 3]
    assert rows["r"][0] > 0.9
    assert rows["ci_low"][0] < rows["r"][0] < rows["ci_high"][0]
    assert rows["p"][0] == pytest.approx(1 / 201)
    assert set(result.axes["method"]) == {"mds", "pca"}
    assert result.axes.height == (3 * 2 + 1) * 2 * 3


def test_tests_hold_beyond_valence_and_every_alignment(result: Geometry) -> None:
    assert result.tests.schema == pl.Schema(TEST_SCHEMA)
    beyond = result.tests.filter(pl.col("test") == "beyond_valence")
    assert beyond["space"].to_list() == ["features", "other", "random"]
    row = _row(result.tests, test="procrustes", space="features", other="human")
    assert row["statistic"] > 0.8
    assert row["p"] == pytest.approx(1 / 201)
    assert result.tests.filter(pl.col("test") == "procrustes").height == 6


def test_without_human_data_spaces_are_compared_with_each_other_only() -> None:
    spaces, concepts, people = _world()
    found = study_geometry(spaces, concepts, config=FAST)
    assert found.rsa.is_empty()
    assert found.rsa.schema == pl.Schema(RSA_SCHEMA)
    assert found.axes.is_empty()
    assert found.between.height == 3
    assert found.reference == "features"
    assert "No human similarity data" in " ".join(found.notes["note"])
    given = study_geometry(spaces, concepts, config=FAST, attributes=people.attributes)
    assert set(given.axes["attribute"]) == {"valence", "arousal"}
    own = found.coordinates.filter(pl.col("space") == "features")
    np.testing.assert_allclose(own["aligned_1"], own["axis_1"], atol=1e-9)


def test_human_data_in_another_order_and_on_other_concepts_are_matched_by_name() -> None:
    spaces, concepts, people = _world()
    order = np.random.default_rng(1).permutation(14)[:9]
    theirs = [concepts[i] for i in order] + ["stranger"]
    square = np.array([squareform(rater) for rater in people.raters])
    raters = np.full((6, 10, 10), 5.0)
    raters[:, :9, :9] = square[:, order][:, :, order]
    vectors = np.array([r[np.triu_indices(10, 1)] for r in raters])
    found = study_geometry(spaces, concepts, People(theirs, vectors, people.attributes), FAST)
    shared = np.sort(order)
    pairs = pair_numbers(14)[shared[np.triu_indices(9, 1)[0]], shared[np.triu_indices(9, 1)[1]]]
    row = _row(found.rsa, space="features", comparator="rho-a")
    assert row["n_concepts"] == 9
    expected = compare(compute_rdm(spaces["features"])[pairs], people.raters[:, pairs]).mean()
    assert row["score"] == pytest.approx(expected)
    assert found.between["n_concepts"].unique().to_list() == [14]
    assert found.coordinates.filter(pl.col("space") == "features").height == 14
    assert found.coordinates.filter(pl.col("space") == "human")["concept"].to_list() == [
        concepts[i] for i in shared
    ]
    notes = " ".join(found.notes["note"])
    assert "Compared on 9 concepts" in notes
    assert "12 are needed" in notes, "no test beyond valence with so few"


def test_missing_judgements_and_useless_raters_are_said() -> None:
    spaces, concepts, people = _world()
    raters = np.vstack([people.raters, np.full((1, 91), 4.0), np.full((1, 91), np.nan)])
    raters[0, 10:30] = np.nan
    found = study_geometry(spaces, concepts, People(concepts, raters, people.attributes), FAST)
    row = _row(found.rsa, space="features", comparator="spearman")
    judged = [np.flatnonzero(~np.isnan(rater)) for rater in raters[:6]]
    rdm = compute_rdm(spaces["features"])
    expected = np.mean(
        [compare(rdm[j], rater[j], "spearman")[0, 0] for j, rater in zip(judged, raters, strict=False)]
    )
    assert row["score"] == pytest.approx(expected)
    assert row["n_raters"] == 6
    assert row["p"] < 0.02
    notes = " ".join(found.notes["note"])
    assert "2 of 8 raters left out" in notes
    assert "20 of 546 judgements are missing" in notes


def test_a_mean_alone_has_no_ceiling() -> None:
    spaces, concepts, people = _world()
    mean = mean_rdm(people.raters)[None]
    found = study_geometry(spaces, concepts, People(concepts, mean, people.attributes), FAST)
    row = _row(found.rsa, space="features", comparator="rho-a")
    assert row["score"] == pytest.approx(row["score_mean_rdm"])
    assert row["ceiling_lower"] is row["ceiling_mean_rdm"] is row["share_of_ceiling"] is None
    assert "no noise ceiling" in " ".join(found.notes["note"])


def test_pairs_that_nobody_judged_cost_the_map_and_nothing_else() -> None:
    spaces, concepts, people = _world()
    raters = people.raters.copy()
    raters[:, 5] = np.nan
    found = study_geometry(spaces, concepts, People(concepts, raters, people.attributes), FAST)
    assert "human" not in set(found.coordinates["space"])
    assert found.reference == "features"
    assert found.rdms.filter(pl.col("space") == "human")["dissimilarity"].null_count() == 1
    assert _row(found.rsa, space="features", comparator="rho-a")["score_mean_rdm"] > 0.5


@pytest.mark.parametrize("n", [3, 4, 5])
def test_few_concepts_give_exact_p_and_no_interval(n: int) -> None:
    spaces, concepts, people = _world(n)
    human = people if n >= 4 else None
    found = study_geometry(spaces, concepts, human, GeometryConfig(), attributes=people.attributes)
    assert found.between["ci_low"].null_count() == 3
    orders = {3: 6, 4: 24, 5: 120}[n]
    multiple = found.between["p"].to_numpy() * orders
    np.testing.assert_allclose(multiple, np.round(multiple), atol=1e-9)
    assert "too few for a bootstrap" in " ".join(found.notes["note"])
    procrustes = found.tests.filter(pl.col("test") == "procrustes")
    assert procrustes["exact"].all()
    assert procrustes["n_permutations"].unique().to_list() == [orders]


def test_a_concept_without_variation_is_left_out_of_all_spaces() -> None:
    spaces, concepts, people = _world()
    spaces["other"][3] = 0.25
    found = study_geometry(spaces, concepts, people, FAST)
    assert concepts[3] not in found.coordinates["concept"].to_list()
    assert _row(found.rsa, space="features", comparator="rho-a")["n_concepts"] == 13
    note = found.notes.filter(pl.col("topic") == concepts[3])["note"][0]
    assert "does not vary in other" in note


def test_a_space_that_is_mostly_empty_is_left_out_itself() -> None:
    spaces, concepts, people = _world()
    spaces["random"][:5] = 0
    found = study_geometry(spaces, concepts, people, FAST)
    assert "random" not in set(found.rsa["space"])
    assert _row(found.rsa, space="features", comparator="rho-a")["n_concepts"] == 14
    assert "5 of 14 concepts" in found.notes.filter(pl.col("topic") == "random")["note"][0]
    with pytest.raises(UserError, match="for most concepts"):
        study_geometry({"random": spaces["random"]}, concepts, people, FAST)


@pytest.mark.parametrize("attribute", ["valence", "arousal"])
def test_attributes_known_for_some_concepts_are_left_out_and_said(attribute: str) -> None:
    spaces, concepts, people = _world()
    holes = people.attributes.with_columns(
        pl.when(pl.col("concept") == concepts[0]).then(None).otherwise(pl.col(attribute)).alias(attribute)
    )
    found = study_geometry(spaces, concepts, replace(people, attributes=holes), FAST)
    assert attribute not in set(found.rsa["space"])
    assert "valence_arousal" not in set(found.rsa["space"])
    assert concepts[0] in found.notes.filter(pl.col("topic") == attribute)["note"][0]
    level = people.attributes.with_columns(pl.lit(1.0).alias(attribute))
    again = study_geometry(spaces, concepts, replace(people, attributes=level), FAST)
    assert "same for all" in again.notes.filter(pl.col("topic") == attribute)["note"][0]


def test_the_language_of_the_raters_is_said(result: Geometry) -> None:
    assert "'en'" in result.notes.filter(pl.col("topic") == "human")["note"][0]


def test_the_same_seed_gives_the_same_tables() -> None:
    spaces, concepts, people = _world()
    one, two = (study_geometry(spaces, concepts, people, FAST) for _ in range(2))
    for table in ("rsa", "between", "axes", "coordinates", "tests"):
        assert getattr(one, table).equals(getattr(two, table), null_equal=True)


def test_without_bootstrap_there_are_no_intervals() -> None:
    spaces, concepts, people = _world()
    found = study_geometry(spaces, concepts, people, GeometryConfig(n_permutations=50, n_bootstrap=0))
    for table in (found.rsa, found.between, found.axes):
        assert table["ci_low"].null_count() == table.height


def _wrong() -> dict[str, tuple[dict[str, Any], str]]:
    spaces, concepts, people = _world()
    good: dict[str, Any] = {"concept_matrices": spaces, "concepts": concepts, "human": people, "config": FAST}
    broken = {"features": np.where(np.arange(30) == 3, np.nan, spaces["features"])}
    strangers = People(["a", "b", "c", *concepts[:3]], np.ones((2, 15)), people.attributes)
    return {
        "none": (good | {"concept_matrices": {}}, "at least one space"),
        "rows": (good | {"concepts": concepts[:-1]}, "one row per concept (13), got (14, 30)"),
        "twice": (good | {"concepts": [*concepts[:-1], concepts[0]]}, "'emotion0'"),
        "name": (good | {"concept_matrices": {"valence": spaces["features"]}}, "'valence'"),
        "nan": (good | {"concept_matrices": broken}, "NaN or infinity for 'emotion0'"),
        "two": (
            {"concept_matrices": {"a": spaces["features"][:2]}, "concepts": concepts[:2]},
            "at least 3 concepts",
        ),
        "shared": (good | {"human": strangers}, "at least 4 concepts, got 3"),
        "pairs": (
            good | {"human": People(concepts, people.raters[:, :78])},
            "91 pairs of 14 concepts, got 78",
        ),
        "equal": (good | {"human": People(concepts, np.ones((3, 91)))}, "whom none does"),
    }


@pytest.mark.parametrize("case", list(_wrong()))
def test_wrong_input_is_refused_in_plain_words(case: str) -> None:
    arguments, words = _wrong()[case]
    with pytest.raises(UserError, match=re.escape(words)):
        study_geometry(**arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dissimilarity": "corelation"}, "Did you mean 'correlation'"),
        ({"comparators": ["rho"]}, "Did you mean 'rho-a'"),
        ({"comparators": []}, "at least one"),
        ({"residuals": "turn"}, "rotation"),
        ({"confidence": 95.0}, "geometry.confidence"),
        ({"n_permutations": 0}, "geometry.n_permutations"),
    ],
)
def test_wrong_settings_are_refused_in_plain_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        GeometryConfig(**change)


def test_settings_go_through_omegaconf() -> None:
    text = "comparators: [tau-a, rho-a]\ndissimilarity: euclidean\nresiduals: rotation"
    config = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(GeometryConfig), OmegaConf.create(text))
    )
    assert isinstance(config, GeometryConfig)
    assert config.comparators == [Comparator.TAU_A, Comparator.RHO_A]
    assert (config.dissimilarity, config.residuals) == ("euclidean", "rotation")
