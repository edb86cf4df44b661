"""Dissimilarity matrices side by side, in one order and on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from emosae.report.style import MUTED, WIDTH, new_figure
from emosae.report.text import shorten

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from matplotlib.figure import Figure

__all__ = ["draw_rdms", "leaf_order", "rank_scale"]


def leaf_order(rdm: Float[np.ndarray, "n n"]) -> Int[np.ndarray, " n"]:
    """Order concepts so that similar ones stand together.

    Average linkage on the dissimilarities, leaves in the order with the least distance between neighbours.

    Args:
        rdm: Symmetric, zero diagonal; at least one concept. NaN counts as the mean dissimilarity.
    """
    n = len(rdm)
    if n < 3:
        return np.arange(n)
    pairs = squareform(rdm, checks=False).astype(float)
    pairs = np.where(np.isfinite(pairs), pairs, np.nanmean(pairs) if np.isfinite(pairs).any() else 1.0)
    pairs = np.maximum(pairs, 0.0)
    return np.asarray(leaves_list(optimal_leaf_ordering(linkage(pairs, "average"), pairs)))


def rank_scale(rdm: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Return each pair's rank as a share, 0 for the most similar pair and 1 for the least; the diagonal is NaN."""
    pairs = squareform(rdm, checks=False).astype(float)
    judged = np.isfinite(pairs)
    ranks = np.full(len(pairs), np.nan)
    if judged.any():
        ranks[judged] = (rankdata(pairs[judged]) - 1) / max(judged.sum() - 1, 1)
    square = squareform(ranks, checks=False)
    np.fill_diagonal(square, np.nan)
    return np.asarray(square)


def draw_rdms(
    rdms: Mapping[str, Float[np.ndarray, "n n"]], concepts: Sequence[str], order: Int[np.ndarray, " n"]
) -> Figure:
    """Draw the matrices, two in a row.

    Args:
        rdms: By title; all over `concepts` in their order.
        concepts: The concepts' names.
        order: In which the concepts are drawn.
    """
    names = [shorten(concepts[index], 24) for index in order]
    columns = min(len(rdms), 2)
    rows = -(-len(rdms) // columns)
    label_size = float(np.clip(200 / max(len(names), 1), 3.2, 8.0))
    figure = new_figure(WIDTH if columns > 1 else 4.6, 3.95 * rows + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False)
    mesh = None
    edges = np.arange(len(names) + 1)
    for index, (title, rdm) in enumerate(rdms.items()):
        ax = axes[divmod(index, columns)]
        shares = rank_scale(np.asarray(rdm))[np.ix_(order, order)]
        mesh = ax.pcolormesh(
            edges, edges, np.ma.masked_invalid(shares), cmap="cividis", vmin=0, vmax=1, edgecolors="face", linewidth=0.15
        )
        ax.set_title(shorten(title, 60))
        ax.set_aspect("equal")
        ax.invert_yaxis()
        ax.set_yticks(np.arange(len(names)) + 0.5, names if index % columns == 0 else [""] * len(names))
        ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90)
        ax.tick_params(length=0, labelsize=label_size, pad=2)
        for spine in ax.spines.values():
            spine.set_visible(False)
    for index in range(len(rdms), rows * columns):
        axes[divmod(index, columns)].set_axis_off()
    assert mesh is not None
    bar = figure.colorbar(mesh, ax=axes, orientation="horizontal", fraction=0.03, aspect=46, pad=0.01)
    bar.set_label("Rank of the pair's dissimilarity within each matrix (share of pairs; blank: the concept itself, or not judged)")
    bar.set_ticks([0, 0.5, 1], labels=["0, most similar", "0.5", "1, least similar"])
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(color=MUTED)
    return figure
