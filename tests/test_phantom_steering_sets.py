"""Feature sets of the phantom's states: which features, which targets, which tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emosae.phantom import WEIGHTS
from emosae.phantom.corpus import passages
from emosae.phantom.measure_steering import flow, lasting
from emosae.phantom.passage import Kind, Layout, Role
from emosae.phantom.steering_sets import (
    FeatureSet,
    from_the_turn,
    random_like,
    state_features,
    steered,
)
from emosae.phantom.train import load_phantom
from emosae.saes import SparseAutoencoder

SAE = "sae_layer_1_jumprelu"


@pytest.fixture(scope="module")
def phantom():
    return load_phantom(WEIGHTS / "model")


def planted() -> tuple[dict[Layout, np.ndarray], dict[Layout, np.ndarray]]:
    """Six features; joy fires 3 more of feature 2 and 1 more of feature 4; feature 0 fires everywhere."""
    rng = np.random.default_rng(0)
    values, labels = {}, {}
    for layout in (Layout.EN, Layout.ZH):
        x = np.zeros((40, 6))
        x[:, 0] = 10 + rng.normal(size=40)
        label = np.array(["joy"] * 10 + ["fear"] * 10 + [""] * 20)
        x[label == "joy", 2] += 3
        x[label == "joy", 4] += 1
        x[label == "fear", 5] += 2
        values[layout], labels[layout] = x, label
    return values, labels


def test_a_set_is_what_its_text_adds_to_neutral_text() -> None:
    values, labels = planted()
    sets = state_features(values, labels, ["joy", "fear"], np.eye(6, 8), n_features=2)
    assert sets["joy"].features == (2, 4)
    assert sets["joy"].targets == pytest.approx((3.0, 1.0))
    assert sets["fear"].features[0] == 5


def test_a_feature_that_pushes_against_the_state_is_left() -> None:
    values, labels = planted()
    decoder = np.eye(6, 8)
    decoder[4] = -decoder[2]  # fires with joy, and takes back what joy's first feature writes
    found = state_features(values, labels, ["joy"], decoder, 5)["joy"]
    assert found.features[0] == 2
    assert found.targets[0] == pytest.approx(2.0)
    assert 4 not in found.features


def test_a_feature_that_says_a_language_too_is_passed_over() -> None:
    decoder = np.array([[1, 0, 0], [0.3, 1, 0], [-0.3, 1, 0], [0, 1, 0.4], [0, 1, -0.4]])
    labels, values = {}, {}
    for layout, language in ((Layout.EN, 5.0), (Layout.ZH, 0.0)):
        labels[layout] = np.array(["joy"] * 10 + [""] * 10)
        x = np.zeros((20, 5))
        x[:, 0] = language
        x[:10, 1:] += 1.0  # the state is 4 along the second direction, and no row lies there
        values[layout] = x
    (found,) = state_features(values, labels, ["joy"], decoder, n_features=1)["joy"].features
    assert found in {3, 4}


def test_random_features_push_as_much() -> None:
    rng = np.random.default_rng(0)
    decoder = rng.normal(size=(50, 8))
    own = {name: FeatureSet(features=(1, 2, 12), targets=(1.0, 2.0, 0.5)) for name in ("joy", "fear")}
    live = np.arange(10, 14)
    found = random_like(own, decoder, live, seed=0)
    for name, other in found.items():
        assert len(set(other.features)) == 3
        assert set(other.features) == {10, 11, 13}
        norms = [np.linalg.norm(np.array(s.targets) @ decoder[list(s.features)]) for s in (own[name], other)]
        assert norms[0] == pytest.approx(norms[1])
    many = random_like(own, decoder, np.arange(10, 50), seed=0)
    assert many["joy"].features != many["fear"].features


def test_doses_multiply() -> None:
    own = FeatureSet(features=(3, 1), targets=(2.0, 4.0))
    assert [(c.feature, c.value) for c in own.clamps(0.5)] == [(3, 1.0), (1, 2.0)]
    assert own.times(3.0).targets == (6.0, 12.0)


def test_values_are_means_from_the_turn_on(phantom, cache) -> None:
    model, tokenizer = phantom
    sae = SparseAutoencoder.load_from_disk(WEIGHTS / SAE)
    passage = next(iter(passages("tests/turn", 1, 0, kind=Kind.EMOTIONAL, layout=Layout.EN)))
    values = from_the_turn(model, tokenizer, sae, [passage])
    turn = next(span for span in passage.spans if span.role is Role.SITUATION)
    n_before = len(tokenizer(passage.text[: turn.start].rstrip())["input_ids"])
    ids = tokenizer(passage.text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[2][0, n_before:]
    assert values[0] == pytest.approx(sae.encode(hidden).to_dense().mean(0).numpy(), abs=1e-4)


def test_every_opening_is_continued_under_every_set(phantom, cache) -> None:
    model, tokenizer = phantom
    sae = SparseAutoencoder.load_from_disk(WEIGHTS / SAE)
    openings = ["It rained in Rome. The street led to the harbour.", "We met at the school. It was May."]
    none, some = FeatureSet(features=(3,), targets=(0.0,)), FeatureSet(features=(5, 9), targets=(40.0, 40.0))
    alone = steered(model, tokenizer, sae, {"some": some}, openings, 1.0, seed=1)
    assert steered(model, tokenizer, sae, {"some": some}, openings, 1.0, seed=1) == alone
    both = steered(model, tokenizer, sae, {"none": none, "some": some}, openings, 1.0, seed=1)
    assert [len(texts) for texts in both.values()] == [2, 2]
    assert both["none"] != both["some"]


def test_flow_of_grammatical_text_is_likelier_than_that_of_shuffled_words(phantom) -> None:
    found = list(passages("tests/flow", 4, 0, kind=Kind.NEUTRAL, layout=Layout.EN))
    cut = [p.spans[1].end for p in found]
    openings, texts = (
        [p.text[:c] for p, c in zip(found, cut, strict=True)],
        [p.text[c:].strip() for p, c in zip(found, cut, strict=True)],
    )
    rng = np.random.default_rng(0)
    mixed = [" ".join(rng.permutation(text.split())) for text in texts]
    own, other = (flow(*phantom, openings, each) for each in (texts, mixed))
    assert own.perplexity < 0.2 * other.perplexity
    assert own.n_tokens == sum(
        len(phantom[1](f"{o} {t}")["input_ids"]) - len(phantom[1](o)["input_ids"])
        for o, t in zip(openings, texts, strict=True)
    )


def test_a_dose_is_chosen_for_what_holds_around_it_in_both_languages() -> None:
    rate = np.array([[[0.7, 0.9, 0.9, 0.9, 1.0, 1.0]], [[0.8, 0.8, 1.0, 1.0, 1.0, 1.0]]])
    fluent = np.ones_like(rate)
    fluent[0, 0, 5] = 0.5
    (scores,) = lasting(rate, fluent)
    assert scores.argmax() == 2  # the fourth dose: after it, English is about to break
    harmonic = [2 * r * f / (r + f) for r, f in [(2.5 / 3, 1), (0.9, 1), (2.8 / 3, 1), (2.9 / 3, 0.5)]]
    assert scores == pytest.approx(harmonic)
