"""Steering by a plain hook: how often a clamp of a few features turns neutral openings to an emotion."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emosae.phantom import WEIGHTS
from emosae.phantom.classifier import EmotionClassifier, train_classifier
from emosae.phantom.measure_features import labelled
from emosae.phantom.measure_text import continuations, neutral_openings
from emosae.phantom.passage import Layout, Passage, Role
from emosae.phantom.recovery import N_SHUFFLES
from emosae.phantom.sae_training import SAEWeights, load_sae
from emosae.phantom.train import load_phantom
from emosae.phantom.truth import emotion_truth

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["Clamp", "clamp_hook", "emotion_features", "fluency", "random_like", "steered"]

_LOG = logging.getLogger(__name__)
DOSES = (1.0, 1.5, 2.0, 2.5)
_LANGUAGES = (Layout.EN, Layout.ZH)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clamp:
    """Features to hold at `targets` (in activation units at dose 1)."""

    features: tuple[int, ...]
    targets: tuple[float, ...]


def emotion_features(
    values: dict[Layout, np.ndarray],
    labels: dict[Layout, np.ndarray],
    names: list[str],
    sae: SAEWeights,
    residual_norm: float,
    n_features: int,
) -> dict[str, Clamp]:
    """Choose for each emotion the features that make up most of its state, and their targets.

    An emotion's state is what its text adds to the mean residual of neutral text, as the SAE rebuilds it: the sum
    over features of how much more they fire times their decoder rows. A feature's share is its part of that sum,
    along the sum. Targets are in proportion to how much more a feature fires, together scaled so that dose 1 pushes
    by half the median residual norm.

    Args:
        values: Pooled features of training passages by language, [n_passages, d_sae].
        labels: Emotion of each passage, "" where neutral.
        names: The emotions.
        sae: The SAE.
        residual_norm: Median norm of the residual at the SAE's site.
        n_features: Size of each set.

    Returns:
        Emotion -> clamp.
    """
    decoder = sae.W_dec.numpy()
    clamps = {}
    for name in names:
        inside, neutral = (
            np.mean([x[labels[lang] == label].mean(0) for lang, x in values.items()], axis=0)
            for label in (name, "")
        )
        more = inside - neutral
        share = np.maximum(more, 0.0) * (decoder @ (more @ decoder))
        best = np.argsort(-share, kind="stable")[:n_features]
        weight = np.maximum(more[best], 1e-6)
        targets = weight * (0.5 * residual_norm / np.linalg.norm(weight @ decoder[best]))
        clamps[name] = Clamp(features=tuple(map(int, best)), targets=tuple(map(float, targets)))
    return clamps


@torch.inference_mode()
def from_the_turn(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, sae: SAEWeights, found: list[Passage]
) -> tuple[np.ndarray, float]:
    """Mean features of each passage over its tokens, from the turn on where there is one.

    Returns:
        Features [n_passages, d_sae], and the median norm of the residual there.
    """
    rows, norms = [], []
    for passage in found:
        encoded = tokenizer(passage.text, return_offsets_mapping=True)
        spans = [span for span in passage.spans if span.role is not Role.HEADING]
        turn = next((span for span in spans if span.role is Role.SITUATION), spans[0])
        at = [
            i for i, (start, end) in enumerate(encoded["offset_mapping"]) if start < end and end > turn.start
        ]
        hidden = model.model(
            input_ids=torch.tensor([encoded["input_ids"]]), use_cache=False, output_hidden_states=True
        ).hidden_states[sae.recipe.layer + 1][0, at]
        rows.append(sae.encode(hidden).mean(0).numpy())
        norms += hidden.norm(dim=1).tolist()
    return np.stack(rows), float(np.median(norms))


def random_like(clamps: dict[str, Clamp], sae: SAEWeights, live: np.ndarray, seed: int) -> dict[str, Clamp]:
    """Random live features for each clamp, as many and with the same push."""
    rng = np.random.default_rng(seed)
    result = {}
    for name, clamp in clamps.items():
        features = rng.choice(live, size=len(clamp.features), replace=False)
        targets = np.asarray(clamp.targets)
        want = np.linalg.norm(targets @ sae.W_dec[list(clamp.features)].numpy())
        have = np.linalg.norm(targets @ sae.W_dec[features].numpy())
        result[name] = Clamp(
            features=tuple(map(int, features)), targets=tuple(map(float, targets * want / have))
        )
    return result


def clamp_hook(sae: SAEWeights, clamps: list[Clamp], dose: float):  # type: ignore[no-untyped-def]
    """Build a forward hook that clamps row r of the batch by `clamps[r]`, from the last prompt token on."""
    index = torch.tensor([clamp.features for clamp in clamps])
    target = dose * torch.tensor([clamp.targets for clamp in clamps])
    encoder, decoder, bias = sae.W_enc.T[index], sae.W_dec[index], sae.b_enc[index]
    threshold = sae.threshold[index] if sae.threshold is not None else torch.zeros_like(bias)

    def hook(_module: object, _args: object, output: Tensor | tuple[Tensor, ...]) -> object:
        x = output if isinstance(output, Tensor) else output[0]
        last = x[:, -1]
        h = torch.einsum("rfd,rd->rf", encoder, last - sae.b_dec) + bias
        f = torch.relu(h) * (h > threshold)
        edited = x.clone()
        edited[:, -1] = last + torch.einsum("rf,rfd->rd", target - f, decoder)
        return edited if isinstance(output, Tensor) else (edited, *output[1:])

    return hook


def steered(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    sae: SAEWeights,
    clamps: dict[str, Clamp],
    openings: list[str],
    dose: float,
    seed: int,
) -> dict[str, list[str]]:
    """Continue every opening under every clamp."""
    names = list(clamps)
    rows = [clamps[name] for name in names for _ in openings]
    handle = model.model.layers[sae.recipe.layer].register_forward_hook(clamp_hook(sae, rows, dose))
    try:
        texts = continuations(model, tokenizer, openings * len(names), seed=seed)
    finally:
        handle.remove()
    n = len(openings)
    return {name: texts[i * n : (i + 1) * n] for i, name in enumerate(names)}


@torch.inference_mode()
def fluency(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, openings: list[str], texts: list[str]
) -> dict[str, float]:
    """Perplexity of continuations given their openings, distinct pairs, and repeated runs of four."""
    total, count, pairs, fours, repeated = 0.0, 0, [], 0, 0
    for opening, text in zip(openings, texts, strict=True):
        if not text:
            continue
        space = " " if opening.isascii() else ""
        ids = tokenizer(opening + space + text, return_tensors="pt")["input_ids"]
        at = len(tokenizer(opening)["input_ids"])
        logits = model(input_ids=ids, use_cache=False).logits[0, at - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, at:], reduction="sum"))
        new = ids[0, at:].tolist()
        count += len(new)
        pairs += list(itertools.pairwise(new))
        runs = [tuple(new[i : i + 4]) for i in range(len(new) - 3)]
        fours += len(runs)
        repeated += len(runs) - len(set(runs))
    return {
        "perplexity": float(np.exp(total / max(1, count))),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "repeated_4": repeated / max(1, fours),
        "tokens": count / max(1, len(texts)),
    }


def _expressed(classifier: EmotionClassifier, texts: dict[str, list[str]]) -> np.ndarray:
    """Intended by expressed: for each clamp the share of texts in each class of the classifier, [27, 28]."""
    rows = [classifier.predict(each) for each in texts.values()]
    return np.array([[row.count(label) / len(row) for label in classifier.classes] for row in rows])


def _rates(classifier: EmotionClassifier, texts: dict[str, list[str]]) -> dict[str, float]:
    """Share of each clamp's texts that the classifier calls what was intended."""
    told = _expressed(classifier, texts)
    return {name: float(told[i, classifier.classes.index(name)]) for i, name in enumerate(texts)}


def _fluent(flow: dict[str, float], base: dict[str, float]) -> bool:
    """Whether steered text keeps the bounds of fluency against unsteered text of the same openings."""
    return (
        0.67 <= flow["perplexity"] / base["perplexity"] <= 1.5
        and flow["distinct_2"] >= 0.8 * base["distinct_2"]
        and flow["repeated_4"] <= max(1.2 * base["repeated_4"], 0.02)
    )


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
    n_choose: int = 5,
    n: int = 10,
    doses: tuple[float, ...] = DOSES,
    seed: int = 0,
) -> dict[str, Any]:
    """Choose features and dose on some passages and openings, report on others."""
    model, tokenizer = load_phantom(weights / "model")
    sae = load_sae(weights / sae_name)
    classifier = train_classifier(tokenizer, seed=seed)
    names = emotion_truth()["emotion"].to_list()
    values, labels = {}, {}
    norms = []
    for layout in _LANGUAGES:
        train = labelled("detect/train", layout, per_emotion, 10 * per_emotion, seed)
        values[layout], norm = from_the_turn(model, tokenizer, sae, train)
        labels[layout] = np.array([p.emotions[0] if p.emotions else "" for p in train])
        norms.append(norm)
    clamps = emotion_features(values, labels, names, sae, float(np.mean(norms)), n_features)
    live = np.flatnonzero(sum((x > 0).mean(0) for x in values.values()) > 0.01)
    figures: dict[str, Any] = {"sae": sae_name, "n_features": n_features}
    by_dose: dict[float, dict[Layout, dict[str, float]]] = {}
    for dose in doses:
        by_dose[dose] = {}
        for layout in _LANGUAGES:
            openings = neutral_openings(layout, n_choose, "openings/choose", seed)
            texts = steered(model, tokenizer, sae, clamps, openings, dose, seed)
            by_dose[dose][layout] = _rates(classifier, texts)
        means = {
            layout.value: round(float(np.mean(list(r.values()))), 3) for layout, r in by_dose[dose].items()
        }
        _LOG.info("dose %.2f rate %s", dose, means)
    # The smallest dose that comes within .05 of an emotion's best: more push than needed costs fluency.
    chosen = {}
    for name in names:
        rate = {d: min(by_dose[d][layout][name] for layout in _LANGUAGES) for d in doses}
        top = max(rate.values())
        chosen[name] = next(d for d in doses if rate[d] >= top - 0.05)
    scaled = {
        name: Clamp(features=c.features, targets=tuple(chosen[name] * t for t in c.targets))
        for name, c in clamps.items()
    }
    figures["dose"] = chosen
    figures["clamps"] = {name: asdict(clamp) for name, clamp in scaled.items()}
    for layout in _LANGUAGES:
        openings = neutral_openings(layout, n, "openings/report", seed)
        plain = continuations(model, tokenizer, openings, seed=seed + 1)
        texts = steered(model, tokenizer, sae, scaled, openings, 1.0, seed + 1)
        control = steered(
            model, tokenizer, sae, random_like(scaled, sae, live, seed), openings, 1.0, seed + 1
        )
        base = fluency(model, tokenizer, openings, plain)
        flow = {name: fluency(model, tokenizer, openings, t) for name, t in texts.items()}
        told = _expressed(classifier, texts)
        figures[layout.value] = {
            "rate": _rates(classifier, texts),
            "random_rate": _rates(classifier, control),
            "shuffled_n_at_0.8": _shuffled_count(told, names, classifier.classes, seed),
            "unsteered_fluency": base,
            "perplexity_ratio": {k: v["perplexity"] / base["perplexity"] for k, v in flow.items()},
            "distinct_2_ratio": {k: v["distinct_2"] / base["distinct_2"] for k, v in flow.items()},
            "repeated_4": {k: v["repeated_4"] for k, v in flow.items()},
            "fluent": {k: _fluent(v, base) for k, v in flow.items()},
            "expressed": {
                n: dict(zip(classifier.classes, r, strict=True))
                for n, r in zip(names, told.tolist(), strict=True)
            },
            "samples": {
                name: [f"{openings[0]} {t[0]}", f"{openings[1]} {t[1]}"] for name, t in texts.items()
            },
        }
    return figures


def summary(figures: dict[str, Any]) -> str:
    """Say the figures in a few lines."""
    lines = [f"{figures['sae']}, {figures['n_features']} features, doses {figures['dose']}"]
    parts = [figures[layout.value] for layout in _LANGUAGES]
    both = [
        name
        for name in figures["dose"]
        if all(part["rate"][name] >= 0.8 and part["fluent"][name] for part in parts)
    ]
    lines.append(f"rate >= .8 and fluent in both languages: {len(both)} of 27")
    for layout, part in zip(_LANGUAGES, parts, strict=True):
        rate = part["rate"]
        lines.append(
            f"{layout.value}: rate >= .8 for {sum(v >= 0.8 for v in rate.values())} of 27 (shuffled "
            f"{part['shuffled_n_at_0.8']:.0f}), mean {np.mean(list(rate.values())):.3f}, "
            f"random {np.mean(list(part['random_rate'].values())):.3f}, fluent {sum(part['fluent'].values())} of 27, "
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
    parser.add_argument("--openings", type=int, default=10)
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
