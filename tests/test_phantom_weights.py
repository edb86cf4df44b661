"""The shipped phantom: size, form, and that it is what the recipe says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emosae.phantom import WEIGHTS
from emosae.phantom.card import detected, steered_well, write_card
from emosae.phantom.classifier import train_classifier
from emosae.phantom.measure_features import Passages, detection, labelled, pooled
from emosae.phantom.measure_text import continuations, neutral_openings, perplexity
from emosae.phantom.passage import Layout
from emosae.phantom.sae_training import load_sae
from emosae.phantom.steering_sets import FeatureSet, steered
from emosae.phantom.train import SHIPPED, load_phantom
from emosae.phantom.truth import emotion_truth
from emosae.saes import SparseAutoencoder

SAES = [sae.folder for sae in SHIPPED.saes]
MEGABYTE = 1_000_000
STORED = {
    "loss": 1.2797,
    "ratio": 1.1084,
    "sae_layer_1_jumprelu": 1.0,
    "sae_layer_2_jumprelu": 1.0,
    "sae_layer_2_topk": 1.0,
    "steered_en": 0.722,
    "steered_zh": 0.75,
}
"""What the shipped weights measured, on the small samples of these tests; change them with the weights."""


@pytest.fixture(scope="module")
def phantom():
    return load_phantom(WEIGHTS / "model")


def test_files_are_small() -> None:
    sizes = {path: path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 8 * MEGABYTE
    assert sum(sizes.values()) <= 16 * MEGABYTE
    assert (WEIGHTS / "MODEL_CARD.md").is_file()


def test_stored_in_half_precision_and_read_in_full() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / "model")
    assert model.dtype is torch.float32
    assert (WEIGHTS / "model" / "model.safetensors").stat().st_size < 2.2 * model.num_parameters()


def test_model_has_learnt_the_grammar(phantom) -> None:
    found = perplexity(*phantom, n=100)
    assert found["loss"] == pytest.approx(STORED["loss"], abs=0.02)
    assert found["ratio"] == pytest.approx(STORED["ratio"], abs=0.02)


@pytest.mark.parametrize("name", SAES)
def test_features_tell_emotions_as_stored(phantom, name: str) -> None:
    """A small share of what the model card's table says, on the same splits."""
    sae = {name: load_sae(WEIGHTS / name)}
    parts = []
    for split in ("detect/train", "detect/heldout"):
        found = labelled(split, Layout.EN, 3, 30)
        parts.append(Passages.of(found, pooled(*phantom, sae, [p.text for p in found])))
    table = detection(*parts, name, emotion_truth()["emotion"].to_list(), n_shuffles=50)
    median = float(np.median([row["auroc"] for row in table["emotions"].values()]))
    assert median == pytest.approx(STORED[name], abs=0.02)
    assert table["shuffled"]["median"] < median


def test_a_clamp_turns_neutral_openings_as_stored(phantom, cache: Path) -> None:
    """Three emotions, with the doses and features of the figures' own choice."""
    model, tokenizer = phantom
    steering = json.loads((WEIGHTS / "steering.json").read_text(encoding="utf-8"))
    classifier = train_classifier(tokenizer, n_passages=4000)
    sae = SparseAutoencoder.load_from_disk(WEIGHTS / steering["sae"])
    sets = {name: FeatureSet(**steering["sets"][name]) for name in ("joy", "fear", "disgust")}
    for layout in (Layout.EN, Layout.ZH):
        openings = neutral_openings(layout, 12, "openings/test")
        texts = steered(model, tokenizer, sae, sets, openings, 1.0, seed=0)
        rate = np.mean([[label == name for label in classifier.predict(t)] for name, t in texts.items()])
        assert rate == pytest.approx(STORED[f"steered_{layout.value}"], abs=0.1)
        plain = classifier.predict(continuations(model, tokenizer, openings))
        assert np.mean([label in sets for label in plain]) <= 0.1


def test_card_is_written_from_the_figures(tmp_path: Path) -> None:
    card = (WEIGHTS / "MODEL_CARD.md").read_text(encoding="utf-8")
    for name in ("training", "figures", "steering"):
        shutil.copy(WEIGHTS / f"{name}.json", tmp_path)
    assert write_card(tmp_path).read_text(encoding="utf-8") == card
    figures = json.loads((WEIGHTS / "figures.json").read_text(encoding="utf-8"))
    assert f"{figures['perplexity']['ratio']:.3f}" in card
    for sae in SAES:
        n, median = detected(figures, "zh", sae)
        assert f"{n} of 27 (median {median:.3f})" in card


def test_stored_figures_reach_what_the_phantom_was_built_for() -> None:
    figures, steering = (
        json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("figures", "steering")
    )
    assert figures["perplexity"]["ratio"] <= 1.25
    assert min(figures["neutrality"].values()) >= 0.8
    for language in ("en", "zh"):
        for sae in SAES:
            own = figures["detection"][language][sae]
            for key in ("auroc", "auroc_silent"):
                n, _ = detected(figures, language, sae, key)
                assert n >= 25 > own["shuffled"]["n_at_0.9"]
        steered_to = steering[language]
        assert np.mean([rate >= 0.8 for rate in steered_to["rate"].values()]) >= 24 / 27
        assert steered_to["shuffled_n_at_0.8"] < 24
        assert np.mean(list(steered_to["random_rate"].values())) <= 0.1
        assert max(map(len, (own["features"] for own in steering["sets"].values()))) <= 8
        space = figures["geometry"][steering["sae"]]
        assert space[f"planted_{language}"] >= 0.7
        assert space[f"axis1_valence_{language}"] >= 0.9
        assert space[f"axis23_arousal_{language}"] >= 0.7
        assert space["en_zh"] >= 0.7
        assert all(
            space[name] > chance
            for key, chance in space.items()
            if (name := key.removeprefix("chance_")) != key
        )
    assert len(steered_well(steering)) >= 24
    site = str(SparseAutoencoder.load_from_disk(WEIGHTS / steering["sae"]).site)
    reached = {
        (row["question"], row["language"]): row["met"]
        for row in figures["recovery"][site]
        if row["stage"] in ("select", "ratings") or "without feeling" in row["question"]
    }
    assert len(reached) == 10
    assert all(reached.values()), reached


@pytest.mark.parametrize("name", SAES)
def test_statistics_lie_beside_each_sae(name: str, cache: Path) -> None:
    from emosae.saes import find_stats

    stats = find_stats(SparseAutoencoder.load_from_disk(WEIGHTS / name), "emosae-phantom/sae")
    assert stats.n_tokens > 400_000
    assert len(stats.density) == len(stats.maximum) == load_sae(WEIGHTS / name).W_dec.shape[0]
    assert (stats.quantile(0.5) <= stats.maximum).all()
    assert stats.density.sum() == pytest.approx(24, rel=0.1)


def test_continuations_stay_in_their_language(phantom) -> None:
    for layout, letters in ((Layout.EN, str.isascii), (Layout.ZH, lambda text: not text.isascii())):
        texts = continuations(*phantom, neutral_openings(layout, 12, "openings/test"), max_new_tokens=16)
        # A sixteenth of the passages change their language, as the text does that the model learnt from.
        assert sum(letters(text.split("\n")[0]) for text in texts if text) >= 8


@pytest.mark.parametrize("name", SAES)
def test_saelens_reads_the_saes_with_the_same_numbers(phantom, name: str) -> None:
    sae_lens = pytest.importorskip("sae_lens")
    ours, theirs = load_sae(WEIGHTS / name), sae_lens.SAE.load_from_disk(str(WEIGHTS / name))
    model, tokenizer = phantom
    inputs = tokenizer("Anna walked to the park. She felt a wave of joy.", return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs, output_hidden_states=True).hidden_states
        x = hidden[ours.recipe.layer + 1][0, 1:]
        f = ours.encode(x)
        torch.testing.assert_close(theirs.encode(x), f, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs.decode(f), ours.decode(f), atol=1e-5, rtol=1e-5)
    assert 2 < (f > 0).sum(1).float().mean() < 120
    assert (x - ours.decode(f)).square().sum() < 0.5 * (x - x.mean(0)).square().sum()
    assert Path(WEIGHTS / name / "cfg.json").is_file()
