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
from typing import Any

import numpy as np

from emosae.phantom import WEIGHTS
from emosae.phantom.classifier import NEUTRAL, after_opening, train_classifier
from emosae.phantom.measure_features import (
    Passages,
    detection,
    geometry,
    labelled,
    pooled,
    valence_spread,
)
from emosae.phantom.measure_text import going_on, neutrality, perplexity
from emosae.phantom.norms import concept_words, control_words
from emosae.phantom.passage import Layout
from emosae.phantom.recovery import N_SHUFFLES, recovery
from emosae.phantom.sae_training import load_sae
from emosae.phantom.train import load_phantom
from emosae.phantom.truth import emotion_truth
from emosae.phantom.world import Language
from emosae.report.source import read_run

__all__ = ["measure", "summary"]

_LOG = logging.getLogger(__name__)
_SPLITS = ("train", "heldout")


def measure(weights: Path, *, per_emotion: int = 40, seed: int = 0) -> dict[str, Any]:
    """Measure a phantom on the text of its world; see the model card for the meaning of the figures."""
    start = time.perf_counter()
    model, tokenizer = load_phantom(weights / "model")
    saes = {folder.name: load_sae(folder) for folder in sorted(weights.glob("sae_*"))}
    names = emotion_truth()["emotion"].to_list()
    classifier = train_classifier(tokenizer, seed=seed)
    figures: dict[str, Any] = {
        "perplexity": perplexity(model, tokenizer, seed=seed),
        "neutrality": neutrality(model, tokenizer, classifier, seed=seed),
        "classifier_accuracy": {},
        "detection": {},
        "control_valence_spread": {},
        "going_on": {},
    }
    spaces: dict[str, dict[str, np.ndarray]] = {}
    for layout in (Layout.EN, Layout.ZH):
        language = layout.value

        def read(texts: list[str]) -> dict[str, np.ndarray]:
            return pooled(model, tokenizer, saes, texts)

        train, held = (
            labelled(f"detect/{split}", layout, per_emotion, 10 * per_emotion, seed) for split in _SPLITS
        )
        chosen, other = (Passages.of(found, read([p.text for p in found])) for found in (train, held))
        figures["detection"][language] = {
            sae: detection(chosen, other, sae, names, n_shuffles=N_SHUFFLES, seed=seed) for sae in saes
        }
        for name, x in other.values.items():
            space = np.stack([x[other.silent & (other.labels == emotion)].mean(0) for emotion in names])
            spaces.setdefault(name, {})[language] = space - x[other.labels == ""].mean(0)
        told = np.array(classifier.predict([after_opening(p)[1] for p in held]))
        figures["classifier_accuracy"][language] = float(
            np.mean(np.where(other.labels == "", NEUTRAL, other.labels) == told)
        )
        emotions, control = (
            [read(words) for words in listed.values()]
            for listed in (concept_words(Language(language)), control_words(Language(language)))
        )
        figures["control_valence_spread"][language] = {
            sae: valence_spread(*(np.stack([x[sae].mean(0) for x in each]) for each in (emotions, control)))
            for sae in saes
        }
        _LOG.info("%s done, %.0f s", language, time.perf_counter() - start)
        figures["going_on"][language] = going_on(model, tokenizer, classifier, layout, seed=seed)
    figures["geometry"] = {name: geometry(space, names) for name, space in spaces.items()}
    figures["seconds"] = round(time.perf_counter() - start)
    return figures


def summary(figures: dict[str, Any]) -> str:
    """Say the figures in a few lines."""
    keys = ("perplexity", "neutrality", "classifier_accuracy", "control_valence_spread")
    lines = [f"{key} {figures[key]}" for key in keys]
    for language, by_sae in figures["detection"].items():
        for sae, found in by_sae.items():
            for key in ("auroc", "auroc_silent"):
                values = np.array([row[key] for row in found["emotions"].values()])
                low = [name for name, row in found["emotions"].items() if row[key] < 0.9]
                lines.append(
                    f"{language} {sae} {key}: {int((values >= 0.9).sum())} of 27 at .9, "
                    f"median {np.median(values):.3f} {low} shuffled {found.get('shuffled')}"
                )
    for name, found in figures["geometry"].items():
        lines.append(f"geometry {name}: " + ", ".join(f"{a} {b:.3f}" for a, b in found.items()))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m emosae.phantom.measure", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=None, help="JSON file; none is written without it")
    parser.add_argument(
        "--run", type=Path, default=None, help="a run of preset=phantom, for what it recovers"
    )
    parser.add_argument("--per-emotion", type=int, default=40)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    figures = measure(options.weights, per_emotion=options.per_emotion)
    if options.run is not None:
        figures["recovery"] = {
            site: recovery(
                stages["select"].tables, stages["geometry"].tables, stages["ratings"].tables
            ).to_dicts()
            for site, stages in read_run(options.run).stages.items()
        }
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(summary(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
