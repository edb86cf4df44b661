"""How often a clamp of a few features turns neutral openings to an emotion, and how well the text still reads."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.phantom import WEIGHTS
from emosae.phantom.card import steered_well
from emosae.phantom.classifier import EmotionClassifier, train_classifier
from emosae.phantom.measure_features import labelled
from emosae.phantom.measure_text import continuations, neutral_openings
from emosae.phantom.recovery import N_SHUFFLES
from emosae.phantom.states import LANGUAGES
from emosae.phantom.steering_sets import FeatureSet, from_the_turn, random_like, state_features, steered
from emosae.phantom.train import load_phantom
from emosae.phantom.truth import emotion_truth
from emosae.saes import SparseAutoencoder
from emosae.steering.scores import Flow, flow_of, fluency, harmonic_mean, mean_losses

if TYPE_CHECKING:
    from jaxtyping import Float
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["dose_scores", "flow", "lasting", "measure_steering", "summary"]

_LOG = logging.getLogger(__name__)
DOSES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75)
"""The first and the last are not offered: they show what holds beside those that are."""
N_RANDOM = 5
"""Draws of random features: one alone may happen to carry an emotion."""
SHARED = (1.0, 0.75, 0.5)
"""How much of what all emotions share the sets that are offered keep."""


def flow(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, openings: list[str], texts: list[str]
) -> Flow:
    """Count what the fluency of continuations is told by."""
    prompts, answers = [], []
    for opening, text in zip(openings, texts, strict=True):
        prompt = tokenizer(opening)["input_ids"]
        whole = tokenizer(opening + (" " if opening.isascii() else "") + text)["input_ids"]
        prompts.append(prompt)
        answers.append(whole[len(prompt) :])
    return flow_of(list(mean_losses(model, prompts, answers)), answers)


def _expressed(classifier: EmotionClassifier, texts: dict[str, list[str]]) -> np.ndarray:
    """Intended by expressed: for each set the share of texts in each class of the classifier, [27, 28]."""
    rows = [classifier.predict(each) for each in texts.values()]
    return np.array([[row.count(label) / len(row) for label in classifier.classes] for row in rows])


def _rates(classifier: EmotionClassifier, texts: dict[str, list[str]]) -> dict[str, float]:
    """Share of each set's texts that the classifier calls what was intended."""
    told = _expressed(classifier, texts)
    return {name: float(told[i, classifier.classes.index(name)]) for i, name in enumerate(texts)}


def dose_scores(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    sae: SparseAutoencoder,
    classifier: EmotionClassifier,
    sets: dict[str, FeatureSet],
    n: int,
    doses: tuple[float, ...] = DOSES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Score each emotion at each dose but the first and last, [n_doses - 2]: `lasting` of rates and fluency."""
    rate = np.ones((len(LANGUAGES), len(sets), len(doses)))
    fluent = np.ones_like(rate)
    for i, layout in enumerate(LANGUAGES):
        openings = neutral_openings(layout, n, "openings/choose", seed)
        plain = flow(model, tokenizer, openings, continuations(model, tokenizer, openings, seed=seed))
        for k, dose in enumerate(doses):
            texts = steered(model, tokenizer, sae, sets, openings, dose, seed)
            rates = _rates(classifier, texts)
            rate[i, :, k] = list(rates.values())
            fluent[i, :, k] = [
                fluency(flow(model, tokenizer, openings, own), plain) for own in texts.values()
            ]
            _LOG.info("%s dose %.2f rate %.3f", layout.value, dose, rate[i, :, k].mean())
    return dict(zip(sets, lasting(rate, fluent), strict=True))


def lasting(
    rate: Float[np.ndarray, "languages emotions doses"], fluent: Float[np.ndarray, "languages emotions doses"]
) -> Float[np.ndarray, "emotions offered"]:
    """Score doses by what holds around them: text breaks off sharply where a dose is too large.

    A dose's score is the harmonic mean of the mean rate of itself and its two neighbours and the least fluency of the
    three, each in the language where it is worse. The first and last dose have no score.
    """
    mean, least = (
        reduce(np.lib.stride_tricks.sliding_window_view(part, 3, axis=-1), axis=-1).min(0)
        for part, reduce in ((rate, np.mean), (fluent, np.min))
    )
    return np.vectorize(harmonic_mean)(mean, least)


def _shuffled_count(told: np.ndarray, names: list[str], classes: list[str], seed: int) -> float:
    """95th percentile, over shuffled intentions, of the number of emotions that reach 80 %."""
    rng = np.random.default_rng(seed)
    columns = np.array([classes.index(name) for name in names])
    counts = [(told[np.arange(len(names)), rng.permutation(columns)] >= 0.8).sum() for _ in range(N_SHUFFLES)]
    return float(np.quantile(counts, 0.95))


def measure_steering(
    weights: Path,
    sae_name: str,
    *,
    n_features: int = 8,
    per_emotion: int = 20,
    n_choose: int = 40,
    n: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """Choose features and dose on some passages and openings, report on others."""
    model, tokenizer = load_phantom(weights / "model")
    sae = SparseAutoencoder.load_from_disk(weights / sae_name)
    decoder = sae.W_dec.numpy()
    classifier = train_classifier(tokenizer, seed=seed)
    names = emotion_truth()["emotion"].to_list()
    values, labels = {}, {}
    for layout in LANGUAGES:
        train = labelled("detect/train", layout, per_emotion, 10 * per_emotion, seed)
        values[layout] = from_the_turn(model, tokenizer, sae, train)
        labels[layout] = np.array([p.emotions[0] if p.emotions else "" for p in train])
    offered = [state_features(values, labels, names, decoder, n_features, shared) for shared in SHARED]
    live = np.flatnonzero(sum((x > 0).mean(0) for x in values.values()) > 0.01)
    scores = [dose_scores(model, tokenizer, sae, classifier, sets, n_choose, seed=seed) for sets in offered]
    offered_doses = DOSES[1:-1]
    best = {
        name: np.unravel_index(np.argmax([s[name] for s in scores]), (len(SHARED), len(offered_doses)))
        for name in names
    }
    dose = {name: offered_doses[k] for name, (_, k) in best.items()}
    sets = {name: offered[i][name].times(offered_doses[k]) for name, (i, k) in best.items()}
    random = [random_like(sets, decoder, live, seed + draw) for draw in range(N_RANDOM)]
    figures: dict[str, Any] = {
        "sae": sae_name, "n_features": n_features, "n_openings": n, "dose": dose,
        "shared": {name: SHARED[i] for name, (i, _) in best.items()},
        "sets": {name: asdict(own) for name, own in sets.items()},
    }  # fmt: skip
    for layout in LANGUAGES:
        openings = neutral_openings(layout, n, "openings/report", seed)
        plain = flow(model, tokenizer, openings, continuations(model, tokenizer, openings, seed=seed + 1))
        texts = steered(model, tokenizer, sae, sets, openings, 1.0, seed + 1)
        controls = [
            _rates(classifier, steered(model, tokenizer, sae, drawn, openings, 1.0, seed + 1))
            for drawn in random
        ]
        of_draws = {name: [each[name] for each in controls] for name in names}
        flows = {name: flow(model, tokenizer, openings, own) for name, own in texts.items()}
        told = _expressed(classifier, texts)
        figures[layout.value] = {
            "rate": _rates(classifier, texts),
            "random_rate": {name: float(np.mean(each)) for name, each in of_draws.items()},
            "random_draws": of_draws,
            "shuffled_n_at_0.8": _shuffled_count(told, names, classifier.classes, seed),
            "unsteered": asdict(plain),
            "perplexity_ratio": {k: v.perplexity / plain.perplexity for k, v in flows.items()},
            "distinct_2_ratio": {k: v.distinct_2 / plain.distinct_2 for k, v in flows.items()},
            "repeated_4": {k: v.repeated_4 for k, v in flows.items()},
            "fluent": {k: fluency(v, plain) == 1.0 for k, v in flows.items()},
            "expressed": {
                n: dict(zip(classifier.classes, r, strict=True))
                for n, r in zip(names, told.tolist(), strict=True)
            },
            "samples": {
                name: [f"{opening} || {text}" for opening, text in zip(openings[:2], own[:2], strict=True)]
                for name, own in texts.items()
            },
        }
    return figures


def summary(figures: dict[str, Any]) -> str:
    """Say the figures in a few lines."""
    lines = [f"{figures['sae']}, {figures['n_features']} features, doses {figures['dose']}"]
    parts = [figures[layout.value] for layout in LANGUAGES]
    lines.append(f"rate >= .8 and fluent in both languages: {len(steered_well(figures))} of 27")
    for layout, part in zip(LANGUAGES, parts, strict=True):
        rate = part["rate"]
        lines.append(
            f"{layout.value}: rate >= .8 for {sum(v >= 0.8 for v in rate.values())} of 27 (shuffled "
            f"{part['shuffled_n_at_0.8']:.0f}), mean {np.mean(list(rate.values())):.3f}, "
            f"random {np.mean(list(part['random_rate'].values())):.3f} (largest "
            f"{max(part['random_rate'].values()):.2f}), fluent {sum(part['fluent'].values())} of 27, "
            f"perplexity ratio median {np.median(list(part['perplexity_ratio'].values())):.2f}, "
            f"distinct-2 ratio median {np.median(list(part['distinct_2_ratio'].values())):.2f}"
        )
        lines.append("  low: " + ", ".join(f"{k} {v:.2f}" for k, v in rate.items() if v < 0.8))
        lines.append("  not fluent: " + ", ".join(k for k, v in part["fluent"].items() if not v))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m emosae.phantom.measure_steering", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--sae", default="sae_layer_1_jumprelu")
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--openings", type=int, default=50)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    figures = measure_steering(options.weights, options.sae, n_features=options.features, n=options.openings)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(summary(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
