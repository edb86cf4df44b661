"""What the SAEs' features know of the planted truth: detection, geometry, ratings."""

from __future__ import annotations

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

from emosae.phantom.corpus import passages
from emosae.phantom.passage import Kind, Layout, Passage
from emosae.phantom.sae_training import SAEWeights
from emosae.phantom.truth import emotion_truth, planted_distance

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = [
    "auroc",
    "auroc_of_ranks",
    "detection",
    "geometry",
    "labelled",
    "pooled",
    "rating_prediction",
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
