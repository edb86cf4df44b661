"""Dissimilarity matrices side by side, in one order and on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from emosae.report.style import MUTED, WIDTH, new_figure
from emosae.report.text import concept_name, shorten

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
    """Return each pair's rank as a share, 0 for the most similar pair and 1 for the least; the diagonal is "
    "NaN.
    """
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
    names = [concept_name(concepts[index], 26) for index in order]
    columns = min(len(rdms), 2)
    rows = -(-len(rdms) // columns)
    size = float(np.clip(200 / max(len(names), 1), 3.2, 8.0))
    # laid out by hand, in inches: squares of one size, room for names on the left and below
    longest = max(_width(name) for name in names) * size / 72
    margin, gap, top, bar_room = longest + 0.12, 0.22, 0.32, 0.74
    below_all = len(rdms) == rows * columns
    side = (WIDTH - margin - gap - 0.1) / 2
    width = margin + columns * side + (columns - 1) * gap + 0.1
    height = rows * (top + side + margin) + (bar_room if below_all else 0)
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    mesh = None
    for index, (title, rdm) in enumerate(rdms.items()):
        row, column = divmod(index, columns)
        left, bottom = margin + column * (side + gap), height - (row + 1) * (top + side + margin) + margin
        ax = figure.add_axes((left / width, bottom / height, side / width, side / height))
        shares = rank_scale(np.asarray(rdm))[np.ix_(order, order)]
        # one pixel a pair: the file stays small however many matrices there are, and the browser draws sharp squares
        mesh = ax.imshow(
            np.ma.masked_invalid(shares), cmap="cividis", vmin=0, vmax=1, interpolation="none", aspect="auto"
        )
        ax.set_title(shorten(title, 60))
        ax.set_yticks(np.arange(len(names)), names if column == 0 else [""] * len(names))
        ax.set_xticks(np.arange(len(names)), names, rotation=90)
        ax.tick_params(length=0, labelsize=size, pad=2)
        for spine in ax.spines.values():
            spine.set_visible(False)
    assert mesh is not None
    # the scale stands below the matrices, or in the place that an odd one leaves free
    start = margin if below_all else margin + side + gap + 0.15
    length = width - start - 0.3
    level = 0.58 if below_all else margin + 0.62 * side
    bar = figure.colorbar(
        mesh,
        cax=figure.add_axes((start / width, level / height, length / width, 0.11 / height)),
        orientation="horizontal",
    )
    bar.set_label("Rank of a pair's dissimilarity\nwithin its matrix (share of pairs)")
    bar.set_ticks([0, 0.5, 1], labels=["0, similar", "0.5", "1, unlike"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=MUTED)
    return figure


def _width(text: str) -> float:
    """Estimate a label's width in ems; Chinese and other wide characters take a whole one."""
    return sum(1.0 if ord(character) > 0x2E7F else 0.62 for character in text)
