"""What the SAEs' features know of the planted truth: detection, geometry, ratings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata, spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emosae.phantom.corpus import passages
from emosae.phantom.passage import Kind, Layout, Passage
from emosae.phantom.recovery import chance_of
from emosae.phantom.sae_training import SAEWeights
from emosae.phantom.truth import emotion_truth, planted_distance

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = [
    "Passages",
    "auroc",
    "auroc_of_ranks",
    "detection",
    "geometry",
    "labelled",
    "pooled",
    "valence_spread",
]


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


@dataclass(frozen=True, slots=True)
class Passages:
    """Pooled features of passages with their labels, "" where neutral; `silent` ones never name an emotion."""

    values: dict[str, np.ndarray]
    labels: np.ndarray
    silent: np.ndarray

    @classmethod
    def of(cls, found: list[Passage], values: dict[str, np.ndarray]) -> Passages:
        """Take the labels from the passages."""
        labels = np.array([p.emotions[0] if p.emotions else "" for p in found])
        return cls(values, labels, np.array([not any(span.named for span in p.spans) for p in found]))


def detection(
    train: Passages, held: Passages, sae: str, names: list[str], *, n_shuffles: int = 0, seed: int = 0
) -> dict[str, Any]:
    """Score each emotion's feature that is best on training passages by its AUROC on held-out passages.

    Args:
        train: Passages that choose the features.
        held: Other passages.
        sae: Which of the SAEs.
        names: The emotions.
        n_shuffles: How often the training labels are shuffled among the passages, for what chance gives.
        seed: Seed of the shuffles.

    Returns:
        Under "emotions" emotion -> feature, auroc, auroc_silent (positives that never name the emotion); under
        "shuffled", where asked for, the 95th percentiles of the number of emotions at .9 and of the median.
    """
    own = np.stack([train.labels == name for name in names])
    ranks = rankdata(train.values[sae], axis=0)
    held_ranks = rankdata(held.values[sae], axis=0)
    scores = np.stack([auroc_of_ranks(held_ranks, held.labels == name) for name in names])
    best = _areas(ranks, own).argmax(1)
    table = {}
    for name, feature in zip(names, best, strict=True):
        quiet = held.silent | (held.labels != name)
        column = held.values[sae][quiet, feature : feature + 1]
        table[name] = {
            "feature": int(feature),
            "auroc": float(scores[names.index(name), feature]),
            "auroc_silent": _area(column, held.labels[quiet] == name),
        }
    result: dict[str, Any] = {"emotions": table}
    if n_shuffles:
        rng = np.random.default_rng(seed)
        shuffled = []
        for _ in range(n_shuffles):
            chosen = _areas(ranks, own[:, rng.permutation(own.shape[1])]).argmax(1)
            shuffled.append(scores[np.arange(len(names)), chosen])
        result["shuffled"] = {
            "n_at_0.9": float(np.quantile([(s >= 0.9).sum() for s in shuffled], 0.95)),
            "median": float(np.quantile(np.median(shuffled, axis=1), 0.95)),
        }
    return result


def _area(column: np.ndarray, positive: np.ndarray) -> float:
    """AUROC of one column [n, 1]; NaN where nothing is positive."""
    return float(auroc(column, positive)[0]) if positive.any() else float("nan")


def _areas(ranks: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """AUROC of every column for each row of `positive`, from the columns' midranks."""
    n = positive.sum(1, keepdims=True)
    return (positive.astype(float) @ ranks - n * (n + 1) / 2) / (n * (positive.shape[1] - n))


def valence_spread(emotions: np.ndarray, control: np.ndarray) -> float:
    """Tell how far control concepts lie apart along the emotions' valence, as a share of the emotions' own spread.

    The direction is ridge regression's of planted valence on the concepts' features; each emotion's own place on
    it is predicted without that emotion.

    Args:
        emotions: Concept by feature, the emotions in the order of the truth.
        control: Concepts without feeling by the same features.

    Returns:
        Standard deviation of the control concepts' predicted valence over that of the emotions'.
    """
    valence = emotion_truth()["valence"].to_numpy()
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 5, 11)))
    own = cross_val_predict(model, emotions, valence, cv=LeaveOneOut())
    return float(model.fit(emotions, valence).predict(control).std() / own.std())


def geometry(matrices: dict[str, np.ndarray], names: list[str], seed: int = 0) -> dict[str, float]:
    """Compare emotion spaces, language -> [27, n_features], with what was planted and with each other.

    Beside each figure stands `chance_...`, its 95th percentile over shuffles of the emotions.
    """
    truth = emotion_truth()
    assert names == truth["emotion"].to_list()
    planted = squareform(planted_distance()["distance"].to_numpy())
    upper, rng = np.triu_indices(len(names), 1), np.random.default_rng(seed)
    figures: dict[str, float] = {}

    def tell(name: str, score: Callable[[np.ndarray], float]) -> None:
        figures[name] = score(np.arange(len(names)))
        figures[f"chance_{name}"] = chance_of(score, len(names), rng)

    def alike(one: np.ndarray, other: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda order: float(spearmanr(one, other[np.ix_(order, order)][upper]).statistic)

    def along(axes: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda order: float(max(abs(np.corrcoef(axis, values[order])[0, 1]) for axis in axes))

    rdms = {language: pdist(matrix, "correlation") for language, matrix in matrices.items()}
    for language, matrix in matrices.items():
        z = matrix - matrix.mean(0)
        axes = PCA(3).fit_transform(z / np.linalg.norm(z, axis=1, keepdims=True)).T
        tell(f"planted_{language}", alike(rdms[language], planted))
        tell(f"axis1_valence_{language}", along(axes[:1], truth["valence"].to_numpy()))
        tell(f"axis23_arousal_{language}", along(axes[1:], truth["arousal"].to_numpy()))
    tell("en_zh", alike(rdms["en"], squareform(rdms["zh"])))
    return figures
