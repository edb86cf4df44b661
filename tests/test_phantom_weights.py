"""The shipped phantom: size, form, and that it is what the recipe says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from emosae.phantom import WEIGHTS
from emosae.phantom.measure_features import detection, labelled, pooled
from emosae.phantom.measure_text import continuations, neutral_openings, perplexity
from emosae.phantom.passage import Layout
from emosae.phantom.sae_training import load_sae
from emosae.phantom.train import SHIPPED, load_phantom
from emosae.phantom.truth import emotion_truth

SAES = [sae.folder for sae in SHIPPED.saes]
MEGABYTE = 1_000_000
STORED = {
    "loss": 1.399,
    "ratio": 1.2185,
    "sae_layer_1_jumprelu": 0.5633,
    "sae_layer_2_jumprelu": 0.6235,
    "sae_layer_2_topk": 0.5926,
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
    values, labels = [], []
    for split in ("detect/train", "detect/heldout"):
        found = labelled(split, Layout.EN, 3, 30)
        values.append({name: pooled(*phantom, sae, [p.text for p in found])[name]})
        labels.append(np.array([p.emotions[0] if p.emotions else "" for p in found]))
    names = emotion_truth()["emotion"].to_list()
    table = detection(*values, names, *labels, np.ones(len(labels[1]), dtype=bool))[name]
    median = float(np.median([row["auroc"] for row in table.values()]))
    assert median == pytest.approx(STORED[name], abs=0.02)


def test_card_says_what_was_measured() -> None:
    card = (WEIGHTS / "MODEL_CARD.md").read_text(encoding="utf-8")
    figures = json.loads((WEIGHTS / "figures.json").read_text(encoding="utf-8"))
    assert f"{figures['perplexity']['ratio']:.3f}" in card
    for language in ("en", "zh"):
        assert f"{figures['neutrality'][language]:.3f}" in card
        for name in SAES:
            values = [row["auroc"] for row in figures["detection"][language][name].values()]
            line = next(line for line in card.splitlines() if "median AUROC" in line and name in line)
            assert f"{np.median(values):.2f} ({sum(v >= 0.9 for v in values)} of 27)" in line


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
