"""How much two selections agree: shared features beside chance, and the order of their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.stats import rankdata

from emosae.selection.scores import FeatureScores

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["chance_jaccard", "concept_agreement", "jaccard", "on_and_off", "rank_agreement"]


def jaccard(a: Int[np.ndarray, " n"], b: Int[np.ndarray, " m"]) -> float:
    """Return the share of the features in either set that are in both; NaN where both are empty.

    Example:
        >>> jaccard(np.array([1, 2, 3]), np.array([2, 3, 4, 5]))
        0.4
    """
    both, either = len(np.intersect1d(a, b)), len(np.union1d(a, b))
    return both / either if either else float("nan")


def chance_jaccard(a: int, b: int, n: int) -> float:
    """Return the Jaccard index of two random sets of these sizes among `n` features, at their mean overlap.

    The mean overlap of a hypergeometric draw is a b / n; the index at that overlap differs from the mean of the
    index by less than a hundredth for sets of ten or more.

    Example:
        >>> chance_jaccard(10, 10, 100)
        0.05263157894736842
    """
    if not a or not b or not n:
        return 0.0 if a or b else float("nan")
    overlap = a * b / n
    return overlap / (a + b - overlap)


def rank_agreement(one: FeatureScores, other: FeatureScores) -> Float[np.ndarray, "concepts concepts"] | None:
    """Return Spearman's rho of two halves' AUROC over the features that fire in either.

    Returns:
        One half's concepts x the other's; None where the halves have different numbers of concepts or fewer than
        three features fire.
    """
    features = np.union1d(one.features, other.features)
    if len(features) < 3 or len(one.auroc) != len(other.auroc):
        return None
    ranks = []
    for scored in (one, other):
        values = np.full((len(scored.auroc), len(features)), 0.5)  # a feature that never fires tells nothing
        values[:, np.searchsorted(features, scored.features)] = scored.auroc
        ranks.append(_standard(rankdata(values.round(9), axis=1)))  # equal AUROCs differ by rounding
    return np.asarray(ranks[0] @ ranks[1].T)


def concept_agreement(
    a: pl.DataFrame, b: pl.DataFrame, concepts: list[str]
) -> Float[np.ndarray, "concepts concepts"]:
    """Return the Jaccard index of each concept's features in one half with each concept's in the other.

    Args:
        a: Columns concept and feature of one half; rows without a concept do not count.
        b: Those of the other half.
        concepts: Order of rows and columns.

    Returns:
        One half's concepts x the other's; NaN where neither selected anything.
    """
    features = np.union1d(a["feature"].to_numpy(), b["feature"].to_numpy())
    place = {concept: row for row, concept in enumerate(concepts)}
    inside = []
    for side in (a, b):
        one = np.zeros((len(concepts), len(features)))
        own = side.drop_nulls("concept")
        rows = [place[concept] for concept in own["concept"]]
        one[rows, np.searchsorted(features, own["feature"].to_numpy())] = 1.0
        inside.append(one)
    both = inside[0] @ inside[1].T
    either = inside[0].sum(axis=1)[:, None] + inside[1].sum(axis=1) - both
    return np.asarray(both / np.where(either > 0, either, np.nan))


def on_and_off(square: Float[np.ndarray, "n n"]) -> tuple[float, float]:
    """Return the mean of the diagonal and of what is off it, undefined cells left out."""
    diagonal = np.eye(len(square), dtype=bool)
    parts = [square[where][np.isfinite(square[where])] for where in (diagonal, ~diagonal)]
    on, off = (float(part.mean()) if len(part) else float("nan") for part in parts)
    return on, off


def _standard(ranks: Float[np.ndarray, "concepts k"]) -> Float[np.ndarray, "concepts k"]:
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, np.nan))
