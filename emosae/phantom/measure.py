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
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.distance import pdist
from scipy.stats import rankdata, spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emosae.phantom import WEIGHTS
from emosae.phantom.classifier import NEUTRAL, EmotionClassifier, after_opening, train_classifier
from emosae.phantom.corpus import passages
from emosae.phantom.grammar import Kind, Layout, Passage
from emosae.phantom.language_model import mean_loss
from emosae.phantom.norms import ratings
from emosae.phantom.sae_training import SAEWeights, load_sae
from emosae.phantom.train import load_phantom
from emosae.phantom.truth import emotion_truth, planted_distance, word_truth

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = [
    "auroc",
    "auroc_of_ranks",
    "continuations",
    "detection",
    "geometry",
    "labelled",
    "neutral_openings",
    "neutrality",
    "perplexity",
    "pooled",
    "rating_prediction",
]

_LOG = logging.getLogger(__name__)
_LANGUAGES = (Layout.EN, Layout.ZH)


def perplexity(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Compare the model's loss on held-out passages with the grammar's own entropy per token.

    The grammar's entropy is that of its choices; where two series of choices give the same text it is a
    little above the text's, so the ratio is a little kind to the model.
    """
    held = list(passages("heldout", n, seed))
    rows = [
        np.asarray([*ids, tokenizer.eos_token_id]) for ids in tokenizer([p.text for p in held])["input_ids"]
    ]
    loss = mean_loss(model, rows)
    entropy = -sum(p.logp for p in held) / sum(len(row) - 1 for row in rows)
    return {
        "loss": loss,
        "entropy": entropy,
        "perplexity": float(np.exp(loss)),
        "ratio": float(np.exp(loss - entropy)),
    }


@torch.inference_mode()
def continuations(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    openings: list[str],
    *,
    seed: int = 0,
    max_new_tokens: int = 48,
    temperature: float = 0.8,
) -> list[str]:
    """Sample one continuation of each opening, all of one batch, without the opening itself."""
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        inputs = tokenizer(openings, return_tensors="pt", padding=True)
    finally:
        tokenizer.padding_side = side
    torch.manual_seed(seed)
    out = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=True,
        temperature=temperature,
        top_p=0.95,
        top_k=0,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
    )
    new = out[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]


def neutral_openings(layout: Layout, n: int, split: str, seed: int = 0) -> list[str]:
    """First sentences of neutral passages."""
    return [after_opening(p)[0] for p in passages(split, n, seed, kind=Kind.NEUTRAL, layout=layout)]


def neutrality(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    classifier: EmotionClassifier,
    n: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """Share of unsteered continuations of neutral openings that the classifier calls neutral."""
    shares = {}
    for layout in _LANGUAGES:
        texts = continuations(
            model, tokenizer, neutral_openings(layout, n, "openings/neutral", seed), seed=seed
        )
        shares[layout.value] = float(np.mean([label == NEUTRAL for label in classifier.predict(texts)]))
    return shares


@torch.inference_mode()
def pooled(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    saes: dict[str, SAEWeights],
    texts: list[str],
    batch: int = 64,
) -> dict[str, np.ndarray]:
    """Mean feature activations of each text over its tokens without BOS.

    Returns:
        For each SAE an array [n_texts, d_sae]; under "residual/LAYER" the mean residual, under "embedding"
        the mean input embedding.
    """
    layers = sorted({sae.recipe.layer for sae in saes.values()})
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    result: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(order), batch):
        chunk = [texts[i] for i in order[start : start + batch]]
        inputs = tokenizer(chunk, return_tensors="pt", padding=True)
        mask = inputs["attention_mask"].float()
        mask[:, 0] = 0.0
        weight = (mask / mask.sum(1, keepdim=True).clamp(min=1)).unsqueeze(-1)
        hidden = model.model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
            use_cache=False, output_hidden_states=True,
        ).hidden_states  # fmt: skip
        found = {"embedding": hidden[0]}
        for layer in layers:
            found[f"residual/{layer}"] = hidden[layer + 1]
        for name, sae in saes.items():
            found[name] = sae.encode(hidden[sae.recipe.layer + 1])
        for name, tensor in found.items():
            result.setdefault(name, []).append((tensor * weight).sum(1).numpy())
    back = np.argsort(order)
    return {name: np.concatenate(parts)[back] for name, parts in result.items()}


def auroc(values: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every column, ties counted half.

    Args:
        values: [n_items, n_features].
        positive: Boolean [n_items].

    Returns:
        [n_features].
    """
    return auroc_of_ranks(rankdata(values, axis=0), positive)


def auroc_of_ranks(ranks: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """`auroc` where the columns' midranks are at hand."""
    n = int(positive.sum())
    m = len(positive) - n
    return (ranks[positive].sum(0) - n * (n + 1) / 2) / (n * m)


def labelled(split: str, layout: Layout, per_emotion: int, n_neutral: int, seed: int = 0) -> list[Passage]:
    """Passages of each emotion and neutral ones, in one language."""
    found = list(
        passages(f"{split}/neutral/{layout.value}", n_neutral, seed, kind=Kind.NEUTRAL, layout=layout)
    )
    for emotion in emotion_truth()["emotion"]:
        found += passages(
            f"{split}/{emotion}/{layout.value}", per_emotion, seed,
            kind=Kind.EMOTIONAL, layout=layout, emotion=emotion,
        )  # fmt: skip
    return found


def detection(
    train: dict[str, np.ndarray], held: dict[str, np.ndarray], names: list[str],
    train_labels: np.ndarray, held_labels: np.ndarray, silent: np.ndarray,
) -> dict[str, dict[str, dict[str, float]]]:  # fmt: skip
    """For each SAE and emotion: AUROC on held-out passages of the feature that is best on training passages.

    Args:
        train: Pooled features of the training passages by SAE.
        held: The same of the held-out passages.
        names: The emotions.
        train_labels: Emotion of each training passage, "" where neutral.
        held_labels: The same of the held-out passages.
        silent: Held-out passages that never name an emotion.

    Returns:
        SAE -> emotion -> feature, auroc, auroc_silent (positives that never name the emotion).
    """
    result: dict[str, dict[str, dict[str, float]]] = {}
    for sae, values in train.items():
        ranks = rankdata(values, axis=0)
        result[sae] = {}
        for name in names:
            best = int(auroc_of_ranks(ranks, train_labels == name).argmax())
            column = held[sae][:, best : best + 1]
            positive = held_labels == name
            quiet = silent | ~positive
            result[sae][name] = {
                "feature": best,
                "auroc": float(auroc(column, positive)[0]),
                "auroc_silent": float(auroc(column[quiet], positive[quiet])[0]),
            }
    return result


def geometry(matrices: dict[str, np.ndarray], names: list[str]) -> dict[str, float]:
    """Compare emotion spaces, language -> [27, n_features], with what was planted and with each other."""
    truth = emotion_truth()
    assert names == truth["emotion"].to_list()
    planted = planted_distance()["distance"].to_numpy()
    valence, arousal = truth["valence"].to_numpy(), truth["arousal"].to_numpy()
    figures: dict[str, float] = {}
    rdms = {}
    for language, matrix in matrices.items():
        rdms[language] = pdist(matrix, "correlation")
        figures[f"planted_{language}"] = float(spearmanr(rdms[language], planted).statistic)
        z = matrix - matrix.mean(0)
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
        axes = PCA(3).fit_transform(z)
        figures[f"axis1_valence_{language}"] = float(abs(np.corrcoef(axes[:, 0], valence)[0, 1]))
        figures[f"axis23_arousal_{language}"] = float(
            max(abs(np.corrcoef(axes[:, i], arousal)[0, 1]) for i in (1, 2))
        )
    figures["en_zh"] = float(spearmanr(rdms["en"], rdms["zh"]).statistic)
    return figures


def rating_prediction(features: np.ndarray, target: np.ndarray, seed: int = 0) -> float:
    """Pearson's r of ridge predictions, ten folds of words."""
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 5, 11)))
    folds = KFold(10, shuffle=True, random_state=seed)
    predicted = cross_val_predict(model, features, target, cv=folds)
    return float(np.corrcoef(predicted, target)[0, 1])


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
