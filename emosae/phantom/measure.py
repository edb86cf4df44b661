"""How much of what was planted can be found again: the figures of the model card.

`python -m emosae.phantom.measure --weights DIR --out FILE` measures a phantom and writes the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import numpy as np

from emosae.phantom import WEIGHTS
from emosae.phantom.classifier import NEUTRAL, after_opening, train_classifier
from emosae.phantom.measure_features import detection, geometry, labelled, pooled, rating_prediction
from emosae.phantom.measure_text import neutrality, perplexity
from emosae.phantom.norms import ratings
from emosae.phantom.passage import Layout
from emosae.phantom.sae_training import load_sae
from emosae.phantom.train import load_phantom
from emosae.phantom.truth import emotion_truth, word_truth

__all__ = ["measure", "summary"]

_LOG = logging.getLogger(__name__)
_LANGUAGES = (Layout.EN, Layout.ZH)


def measure(weights: Path, *, per_emotion: int = 40, seed: int = 0) -> dict[str, object]:
    """Measure a phantom; see the model card for the meaning of the figures."""
    start = time.perf_counter()
    model, tokenizer = load_phantom(weights / "model")
    saes = {folder.name: load_sae(folder) for folder in sorted(weights.glob("sae_*"))}
    figures: dict[str, object] = {"perplexity": perplexity(model, tokenizer, seed=seed)}
    _LOG.info("%s", figures)
    classifier = train_classifier(tokenizer, seed=seed)
    names = emotion_truth()["emotion"].to_list()
    truth = {(row["language"], row["word"]): row for row in word_truth().iter_rows(named=True)}
    figures["neutrality"] = neutrality(model, tokenizer, classifier, seed=seed)
    _LOG.info("neutrality %s", figures["neutrality"])
    spaces: dict[str, dict[str, np.ndarray]] = {}
    found, accuracy, predicted = {}, {}, {}
    rated = ratings(seed)
    for layout in _LANGUAGES:
        language = layout.value
        train = labelled("detect/train", layout, per_emotion, 10 * per_emotion, seed)
        held = labelled("detect/heldout", layout, per_emotion, 10 * per_emotion, seed)
        train_x = pooled(model, tokenizer, saes, [p.text for p in train])
        held_x = pooled(model, tokenizer, saes, [p.text for p in held])
        train_y = np.array([p.emotions[0] if p.emotions else "" for p in train])
        held_y = np.array([p.emotions[0] if p.emotions else "" for p in held])
        silent = np.array([not any(span.named for span in p.spans) for p in held])
        keep = list(saes)
        found[language] = detection(
            {k: train_x[k] for k in keep}, {k: held_x[k] for k in keep}, names, train_y, held_y, silent
        )
        for name, x in held_x.items():
            space = np.stack([x[silent & (held_y == emotion)].mean(0) for emotion in names])
            spaces.setdefault(name, {})[language] = space - x[held_y == ""].mean(0)
        labels = classifier.predict([after_opening(p)[1] for p in held])
        accuracy[language] = float(np.mean(np.where(held_y == "", NEUTRAL, held_y) == np.array(labels)))
        words = list(rated.filter(rated["language"] == language).iter_rows(named=True))
        word_x = pooled(model, tokenizer, saes, [row["word"] for row in words])
        free = np.array([truth[language, row["word"]]["kind"] != "emotion" for row in words])
        for target in ("valence", "arousal"):
            y = np.array([row[target] for row in words])
            planted = np.array([truth[language, row["word"]][target] for row in words])
            for chosen, which in ((np.ones(len(words), bool), "all"), (free, "no_emotion_words")):
                entry = {name: rating_prediction(x[chosen], y[chosen]) for name, x in word_x.items()}
                entry["planted"] = float(np.corrcoef(planted[chosen], y[chosen])[0, 1])
                predicted[f"{language}/{target}/{which}"] = entry
        _LOG.info("%s done, %.0f s", language, time.perf_counter() - start)
    figures["classifier_accuracy"] = accuracy
    figures["detection"] = found
    figures["geometry"] = {name: geometry(space, names) for name, space in spaces.items()}
    figures["ratings"] = predicted
    figures["seconds"] = round(time.perf_counter() - start)
    return figures


def summary(figures: dict[str, object]) -> str:
    """Say the figures in a few lines."""
    lines = [f"perplexity {figures['perplexity']}", f"neutrality {figures['neutrality']}"]
    lines.append(f"classifier accuracy {figures['classifier_accuracy']}")
    detected = figures["detection"]
    assert isinstance(detected, dict)
    for language, by_sae in detected.items():
        for sae, table in by_sae.items():
            for key in ("auroc", "auroc_silent"):
                values = np.array([row[key] for row in table.values()])
                low = [name for name, row in table.items() if row[key] < 0.9]
                lines.append(
                    f"{language} {sae} {key}: {int((values >= 0.9).sum())} of 27 at .9, "
                    f"median {np.median(values):.3f} {low}"
                )
    for section in ("geometry", "ratings"):
        table = figures[section]
        assert isinstance(table, dict)
        lines += [
            f"{section} {k}: " + ", ".join(f"{a} {b:.3f}" for a, b in v.items()) for k, v in table.items()
        ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m emosae.phantom.measure", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=None, help="JSON file; none is written without it")
    parser.add_argument("--per-emotion", type=int, default=40)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    figures = measure(options.weights, per_emotion=options.per_emotion)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(summary(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
