"""Classifiers of a study by name: a Hugging Face model made from its config class, offline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from evaluation_cases import settings
from lens_cases import tiny_lens, tokenizer
from models_zoo import VOCABULARY
from transformers import BertConfig, BertForSequenceClassification

from emosae.concepts import load_concepts
from emosae.errors import UserError
from emosae.lens import Lens
from emosae.steering.evaluation.affect import AffectLexicon
from emosae.steering.evaluation.setup import first_classifier


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory) -> Lens:
    return tiny_lens(tmp_path_factory.mktemp("lens"))


def model(folder: Path, labels: list[str]) -> str:
    """Save a tiny classifier that gives a text its last label."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=64, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
    )  # fmt: skip
    made = BertForSequenceClassification(config)
    with torch.no_grad():
        made.classifier.bias[-1] += 100.0
    made.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def found(lens: Lens, name: str, emotions: list[str]) -> tuple[object, list[str]]:
    notes: list[str] = []
    config = settings(Path("none"), classifier=name)
    concepts = load_concepts("ekman6").restrict(languages="en")
    _, classify = first_classifier(config, lens, concepts, emotions, AffectLexicon.of([]), notes)
    return classify, notes


def test_labels_are_concepts_whatever_their_case(lens: Lens, tmp_path: Path) -> None:
    name = model(tmp_path / "own", ["sadness", "FEAR", "Joy"])
    classify, notes = found(lens, name, ["joy", "fear"])
    assert classify(["w20 w21", "w22"]) == ["joy", "joy"]  # type: ignore[operator]
    assert notes == []


def test_emotions_that_a_classifier_does_not_know_are_named(lens: Lens, tmp_path: Path) -> None:
    name = model(tmp_path / "own", ["fear", "joy"])
    notes = found(lens, name, ["joy", "disgust", "surprise"])[1]
    assert notes == [
        f"The classifier {name} has no label for disgust, surprise, so by it no text expresses them."
    ]
    with pytest.raises(UserError, match=r"must be names of the emotions that are steered, got fear, joy\."):
        found(lens, name, ["disgust"])
    assert found(lens, "lexicon", ["disgust"])[1] == []
