"""CEBRA latents: with the real package where it is installed, else with a stand-in of its documented interface."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import pdist
from test_geometry_study import FAST, People, _row, _world

from emosae.errors import UserError
from emosae.geometry import Words, study_geometry
from emosae.geometry.latents import CEBRA_SCHEMA, fit_latent

QUICK = replace(
    FAST,
    comparators=["spearman"],
    n_permutations=9,
    n_bootstrap=0,
    cebra=True,
    cebra_shuffles=3,
    cebra_iterations=20,
)


class StandIn:
    """What CEBRA does with labels, by least squares: the latent is the part of the items that the labels explain.

    Its constructor takes CEBRA's documented arguments and refuses others; `fit` takes items and one index,
    integers in one dimension or numbers in two.
    """

    fitted: list[dict[str, Any]]

    def __init__(
        self,
        model_architecture: str,
        device: str,
        conditional: str | None,
        batch_size: int,
        learning_rate: float,
        max_iterations: int,
        output_dimension: int,
        num_hidden_units: int,
        verbose: bool,
        delta: float | None = None,
    ) -> None:
        self.settings = dict(locals())
        self.output_dimension, self.max_iterations = output_dimension, max_iterations

    def fit(self, items: np.ndarray, index: np.ndarray) -> StandIn:
        import torch

        assert items.dtype == np.float32
        assert index.dtype == (np.int64 if index.ndim == 1 else np.float32)
        design = np.eye(index.max() + 1)[index] if index.ndim == 1 else index
        centred = design - design.mean(axis=0)
        self.weights, *_ = np.linalg.lstsq(items, centred, rcond=1e-3)
        self.weights = self.weights @ np.linalg.svd(items @ self.weights, full_matrices=False)[2].T
        left = ((centred - items @ np.linalg.lstsq(items, centred, rcond=1e-3)[0]) ** 2).sum()
        self.state_dict_ = {"loss": torch.tensor([9.0] + [float(left)] * (self.max_iterations - 1))}
        StandIn.fitted.append(
            {"items": items, "index": index, "latent": self.transform(items)} | self.settings
        )
        return self

    def transform(self, items: np.ndarray) -> np.ndarray:
        latent = (items @ self.weights)[:, : self.output_dimension]
        latent = np.pad(latent, ((0, 0), (0, self.output_dimension - latent.shape[1])))
        return latent / np.linalg.norm(latent, axis=1, keepdims=True)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    StandIn.fitted = []
    module = types.ModuleType("cebra")
    module.CEBRA = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cebra", module)
    return StandIn


def test_without_the_package_the_next_step_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cebra", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    spaces, concepts, people = _world()
    with pytest.raises(UserError, match=r"not installed. Install it with `pip install 'emosae\[cebra\]'`"):
        study_geometry(spaces, concepts, people, QUICK)
    off = study_geometry(spaces, concepts, people, replace(QUICK, cebra=False))
    assert off.cebra.is_empty()
    assert off.cebra_coordinates.is_empty()


def test_latents_of_the_models_space_stand_beside_shuffled_labels(stand_in: type[StandIn]) -> None:
    spaces, concepts, people = _world()
    roles = {"random": "baseline", "other": "baseline"}
    found = study_geometry(spaces, concepts, people, QUICK, roles=roles)
    assert found.cebra.schema == pl.Schema(CEBRA_SCHEMA)
    assert found.cebra["space"].to_list() == ["features"], "baselines have none"
    row = _row(found.cebra, space="features")
    assert (row["labels"], row["n_shuffles"], row["n_items"]) == ("valence and arousal", 3, 14)
    assert len(stand_in.fitted) == 4
    first, *others = stand_in.fitted
    assert first["conditional"] == "delta_normal"
    values = people.attributes.select("valence", "arousal").to_numpy()
    np.testing.assert_allclose(first["index"], (values - values.mean(0)) / values.std(0), rtol=1e-5)
    for other in others:  # the same labels, at other items
        assert (other["index"] != first["index"]).any()
        np.testing.assert_allclose(np.sort(other["index"], axis=0), np.sort(first["index"], axis=0))
        np.testing.assert_array_equal(other["items"], first["items"])
    true = found.cebra_coordinates.filter(labels="true")
    latent = true.select("latent_1", "latent_2", "latent_3").to_numpy()
    assert true["concept"].to_list() == concepts
    expected = np.mean([stats.spearmanr(pdist(latent, "cosine"), r).statistic for r in people.raters])
    assert row["score"] == pytest.approx(expected)
    assert row["loss"] < row["loss_shuffled"]
    assert row["p"] >= 1 / 4
    assert set(found.cebra_coordinates["labels"]) == {"true", "shuffled"}


def test_p_of_the_loss_is_the_share_of_shuffles_that_fit_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from emosae.geometry import latents

    losses = iter([1.0, 2.0, 3.0, 0.5])  # the true labels, and three shuffles of which one fits better
    monkeypatch.setattr(latents, "fit_latent", lambda items, labels, **_: (items, next(losses)))
    row, _ = latents._beside_shuffles(np.eye(4), np.arange(4), np.arange(4), None, QUICK)
    assert (row["loss"], row["loss_shuffled"]) == (1.0, pytest.approx(5.5 / 3))
    assert row["p_loss"] == 2 / 4


def test_words_are_labelled_by_their_concept_and_a_concept_is_the_mean_of_its_words(
    stand_in: type[StandIn],
) -> None:
    spaces, concepts, people = _world()
    rng = np.random.default_rng(0)
    matrix = np.repeat(spaces["features"], 3, axis=0) + 0.1 * rng.standard_normal((42, 30))
    owners = [concept for concept in concepts for _ in range(3)]
    words = {"features": Words(matrix=np.vstack([matrix, matrix[:1]]), concepts=[*owners, "stranger"])}
    roles = {"random": "baseline", "other": "baseline"}
    found = study_geometry(spaces, concepts, people, QUICK, roles=roles, words=words)
    row = _row(found.cebra, space="features")
    assert (row["labels"], row["n_items"], row["n_features"]) == ("concept", 42, 30)
    assert stand_in.fitted[0]["conditional"] is None
    np.testing.assert_array_equal(stand_in.fitted[0]["index"], np.repeat(np.arange(14), 3))
    true = found.cebra_coordinates.filter(labels="true").select("latent_1", "latent_2", "latent_3").to_numpy()
    expected = stand_in.fitted[0]["latent"].reshape(14, 3, 3).mean(axis=1)
    np.testing.assert_allclose(true, expected, atol=1e-6)


def test_without_words_or_attributes_there_is_nothing_to_label_by(stand_in: type[StandIn]) -> None:
    spaces, concepts, people = _world()
    found = study_geometry(spaces, concepts, People(concepts, people.raters), QUICK)
    assert found.cebra.is_empty()
    assert "no words and no valence or arousal" in " ".join(found.notes["note"])
    assert not stand_in.fitted


@pytest.mark.skipif(importlib.util.find_spec("cebra") is None, reason="needs the extra cebra")
@pytest.mark.parametrize("kind", ["concept", "attributes"])
def test_the_real_package_learns_labels_and_repeats_itself(kind: str) -> None:
    rng = np.random.default_rng(0)
    axis = rng.standard_normal((30, 2))
    items = axis @ rng.standard_normal((2, 12)) + 0.3 * rng.standard_normal((30, 12))
    labels = (axis[:, 0] > 0).astype(int) if kind == "concept" else axis
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latent, loss = fit_latent(items, labels, iterations=150)
        again, _ = fit_latent(items, labels, iterations=150)
        _, shuffled = fit_latent(items, labels[rng.permutation(30)], iterations=150)
    assert latent.shape == (30, 3)
    np.testing.assert_allclose(np.linalg.norm(latent, axis=1), 1, atol=1e-5)
    if kind == "concept":  # with numbers for labels CEBRA seeds its sampler from the clock
        np.testing.assert_allclose(latent, again, atol=1e-5)
    assert loss < shuffled
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
