"""Other layers and other models: their spaces beside this one's; names of human data matched to concepts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from test_geometry_study import FAST, _row, _world

from emosae.artifacts import load_result, save_result, write_json
from emosae.concepts import load_concepts
from emosae.errors import MissingFileError, UserError
from emosae.geometry import Geometry, GeometryConfig, compare_layers, study_geometry
from emosae.geometry.layers import LAYERS_SCHEMA
from emosae.geometry.permutation import label_permutations
from emosae.geometry.runs import RUNS_SCHEMA, read_run, space_kind
from emosae.norms import HumanSimilarity
from emosae.pipeline.inputs import match_concepts

QUICK = replace(FAST, comparators=["spearman"], n_permutations=99, n_bootstrap=50)


def _study(first: str, concepts: list[str], people: Any, config: GeometryConfig = QUICK) -> Geometry:
    spaces, all_concepts, _ = _world()
    rows = [all_concepts.index(concept) for concept in concepts]
    matrices = {"features": spaces[first][rows], "embedding": spaces["random"][rows]}
    return study_geometry(matrices, concepts, people, config, roles={"embedding": "baseline"})


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An earlier run of another model with two sites, its concepts in another order, one of them unknown here."""
    _, concepts, people = _world()
    theirs = concepts[:0:-1]
    run = tmp_path_factory.mktemp("outputs") / "other"
    results = {"blocks.1.hook_resid_post": _study("other", theirs, people)}
    results["blocks.2.hook_resid_post"] = _study("random", theirs, people)
    save_result(run, "geometry", results)
    write_json(run / "manifest.json", {"inputs": {"name": "another model"}})
    return run


def _by_hand(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.spearmanr(pdist(a, "correlation"), pdist(b, "correlation")).statistic)


def test_layers_are_compared_space_by_space_with_the_p_of_permuted_labels() -> None:
    spaces, concepts, people = _world()
    sites = {"early": "random", "middle": "features", "late": "other"}
    results = {site: _study(name, concepts, people) for site, name in sites.items()}
    found = compare_layers(results, QUICK)
    assert found.schema == pl.Schema(LAYERS_SCHEMA)
    assert found.select("site_a", "site_b", "space").rows() == [
        ("early", "middle", "features"),
        ("early", "late", "features"),
        ("middle", "late", "features"),
    ], "the embedding is the same at all sites"
    row = _row(found, site_a="middle", site_b="late")
    assert row["score"] == pytest.approx(_by_hand(spaces["features"], spaces["other"]))
    square = squareform(pdist(spaces["other"], "correlation"))
    mine = pdist(spaces["features"], "correlation")
    null = []
    for order in label_permutations(14, 99, 0).orders:
        back = np.argsort(order)
        turned = squareform(square[np.ix_(back, back)], checks=False)
        null.append(stats.spearmanr(turned, mine).statistic)
    assert row["p"] == pytest.approx((1 + (np.array(null) >= row["score"]).sum()) / 100)
    assert row["ci_low"] < row["score"] < row["ci_high"]
    assert (row["role"], row["n_concepts"]) == ("model", 14)
    assert _row(found, site_a="early", site_b="late")["p"] > 0.05


def test_one_layer_or_few_concepts_have_no_pairs_of_layers() -> None:
    _, concepts, people = _world()
    assert compare_layers({"one": _study("features", concepts, people)}, QUICK).is_empty()
    few = {site: _study(site, concepts[:3], None) for site in ("features", "other")}
    assert compare_layers(few, QUICK).is_empty()


def test_without_people_layers_are_compared_all_the_same() -> None:
    spaces, concepts, _ = _world()
    results = {site: _study(site, concepts, None) for site in ("features", "other")}
    found = compare_layers(results, QUICK, roles={"features": "model"})
    assert found["score"].to_list() == pytest.approx([_by_hand(spaces["features"], spaces["other"])])


def test_another_models_spaces_stand_beside_those_of_the_same_kind(stored: Path) -> None:
    spaces, concepts, people = _world()
    found = _study("features", concepts, people, replace(QUICK, compare=[str(stored)]))
    assert found.runs.schema == pl.Schema(RUNS_SCHEMA)
    assert found.runs.height == 4, "two sites, features and embedding"
    shared = slice(1, None)
    row = _row(found.runs, kind="features", other_site="blocks.1.hook_resid_post")
    assert row["score"] == pytest.approx(_by_hand(spaces["features"][shared], spaces["other"][shared]))
    assert (row["model"], row["n_concepts"], row["run"]) == ("another model", 13, str(stored))
    assert row["p"] == pytest.approx(0.01)
    assert row["ci_low"] < row["score"] < row["ci_high"]
    same = _row(found.runs, kind="embedding", other_site="blocks.2.hook_resid_post")
    assert same["score"] == pytest.approx(1.0), "both models have the same static embedding here"
    assert "emotion0" in found.notes.filter(topic="runs")["note"][0]
    assert not {"human", "valence"} & set(found.runs["space"])


def test_what_an_earlier_run_wrote_is_read_as_it_was(stored: Path) -> None:
    again = read_run(str(stored))
    spaces, concepts, _ = _world()
    names = again.concepts["blocks.1.hook_resid_post"]
    rows = [concepts.index(name) for name in names]
    rdm = again.rdms["blocks.1.hook_resid_post", "features"]
    np.testing.assert_allclose(rdm, pdist(spaces["other"][rows], "correlation"))
    results = load_result(stored, "geometry", Geometry)
    assert results["blocks.1.hook_resid_post"].raters_summary.height
    assert results["blocks.1.hook_resid_post"].runs.is_empty()


def test_spaces_of_two_languages_are_one_kind() -> None:
    assert {space_kind(name) for name in ("features", "features_en", "features_zh")} == {"features"}
    assert space_kind("matched_control_en") == space_kind("matched_control") == "matched_control"


def test_runs_that_do_not_fit_are_refused_in_plain_words(stored: Path, tmp_path: Path) -> None:
    _, concepts, people = _world()
    with pytest.raises(MissingFileError, match="emosae geometry"):
        _study("features", concepts, people, replace(QUICK, compare=[str(tmp_path / "nothing")]))
    with pytest.raises(UserError, match="must name each run once"):
        _study("features", concepts, people, replace(QUICK, compare=[str(stored)] * 2))
    with pytest.raises(UserError, match="must have RDMs of the same kind \\(cosine\\), got 'correlation'"):
        _study("features", concepts, people, replace(QUICK, compare=[str(stored)], dissimilarity="cosine"))
    spaces, _, _ = _world()
    strangers = [f"other{i}" for i in range(14)]
    with pytest.raises(UserError, match="must share at least 4 concepts, got 0"):
        study_geometry(
            {"features": spaces["features"]}, strangers, config=replace(QUICK, compare=[str(stored)])
        )


def _human(names: list[str]) -> HumanSimilarity:
    n_pairs = len(names) * (len(names) - 1) // 2
    return HumanSimilarity(
        name="people",
        language="en",
        concepts=tuple(names),
        raters=np.arange(1.0, 1 + n_pairs)[None],
        mean=np.arange(1.0, 1 + n_pairs),
        attributes=pl.DataFrame({"concept": names, "valence": np.arange(float(len(names)))}),
        scale=(1.0, 9.0),
        n_filled=0,
        path=Path("people.csv"),
        checksum_ok=None,
    )


def test_names_of_human_data_become_the_concepts_keys_where_that_is_sure() -> None:
    concepts = load_concepts("ekman6")
    human, found = match_concepts(concepts, _human(["Joy", "Furcht", "Anger", "sadness", "Bliss"]))
    assert human.concepts[0] == "joy"
    assert human.concepts[2:] == ("anger", "sadness", "Bliss")
    assert human.attributes["concept"].to_list() == list(human.concepts)
    assert human.attributes["valence"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert "Bliss" in found.summary()
    stated = replace(concepts, synonyms={"surprise": ["Bliss"]})
    assert match_concepts(stated, _human(["joy", "Bliss"]))[0].concepts == ("joy", "surprise")


def test_a_name_that_several_concepts_claim_is_not_taken_for_one_of_them() -> None:
    concepts = replace(load_concepts("ekman6"), synonyms={"joy": ["fear"], "anger": ["fear"]})
    human, found = match_concepts(concepts, _human(["joy", "fear", "sadness"]))
    assert found.pairs == {"sadness": "sadness"}
    assert human.concepts == ("joy (not matched)", "fear (not matched)", "sadness")


def test_synonyms_are_read_from_a_sets_file_and_follow_its_concepts(tmp_path: Path) -> None:
    text = "name: own\nsynonyms: {joy: bliss, fear: [dread, terror]}\nlanguages:\n  en:\n    words:\n"
    words = "      joy: [glad]\n      fear: [afraid]\n"
    path = tmp_path / "own.yaml"
    path.write_text(text + words)
    concepts = load_concepts(path)
    assert concepts.synonyms == {"joy": ["bliss"], "fear": ["dread", "terror"]}
    assert concepts.restrict(concepts=["fear"]).synonyms == {"fear": ["dread", "terror"]}
    path.write_text(text.replace("bliss", "no") + words)
    with pytest.raises(UserError, match=r"synonyms of .* must be names concept by concept, got False"):
        load_concepts(path)
    path.write_text(text.replace("joy: bliss", "jot: bliss") + words)
    with pytest.raises(UserError, match="Did you mean 'joy'"):
        load_concepts(path)


def test_one_language_and_constant_attributes_give_tables_and_notes() -> None:
    spaces, concepts, people = _world()
    level = SimpleNamespace(
        concepts=concepts,
        raters=people.raters,
        attributes=pl.DataFrame({"concept": concepts, "valence": [1.0] * 14, "arousal": [2.0] * 14}),
    )
    found = study_geometry({"features": spaces["features"]}, concepts, level, QUICK)
    assert found.rsa.filter(role="attribute").is_empty()
    assert found.between.is_empty()
    assert "same for all" in " ".join(found.notes["note"])
