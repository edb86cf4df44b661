"""Ratings against held-out predictions, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.report.style import ACCENT, INK, MUTED, SECOND, WIDTH, new_figure
from emosae.report.text import shorten

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure

__all__ = ["Cloud", "draw_scatter"]

_MANY = 400  # beyond so many words the points are one picture inside the SVG, not a shape each


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """The words of one language and rated dimension: rated and predicted.

    `axis` names the dimension with its unit, `rated` whose ratings they are.
    """

    title: str
    subtitle: str
    rating: Float[np.ndarray, " n"]
    predicted: Float[np.ndarray, " n"]
    axis: str
    rated: str
    warm: bool = False


def draw_scatter(clouds: Sequence[Cloud], *, columns: int = 2) -> Figure:
    """Draw a panel for each cloud, with the line on which prediction and rating are equal."""
    columns = min(columns, len(clouds))
    rows = -(-len(clouds) // columns)
    figure = new_figure(WIDTH if columns > 1 else 3.8, 3.45 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for index, cloud in enumerate(clouds):
        ax = axes[divmod(index, columns)]
        n = len(cloud.rating)
        low = float(min(cloud.rating.min(), cloud.predicted.min()))
        high = float(max(cloud.rating.max(), cloud.predicted.max()))
        pad = 0.03 * (high - low or 1.0)
        ax.plot([low - pad, high + pad], [low - pad, high + pad], color=MUTED, linewidth=0.8, zorder=1)
        ax.scatter(
            cloud.rating,
            cloud.predicted,
            s=float(np.clip(9000 / n, 2.2, 16)),
            alpha=float(np.clip(60 / np.sqrt(n), 0.16, 0.75)),
            color=SECOND if cloud.warm else ACCENT,
            linewidths=0,
            rasterized=n > _MANY,
            zorder=2,
        )
        _trend(ax, cloud)
        ax.set_xlim(low - pad, high + pad)
        ax.set_ylim(low - pad, high + pad)
        ax.set_aspect("equal")
        ax.set_title(shorten(cloud.title, 70), pad=18)
        ax.text(0, 1.025, shorten(cloud.subtitle, 110), transform=ax.transAxes, fontsize=7.5, color=MUTED)
        ax.set_xlabel(f"{cloud.axis}, {cloud.rated}")
        ax.set_ylabel(f"{cloud.axis}, held-out prediction")
        ax.grid()
    for index in range(len(clouds), rows * columns):
        axes[divmod(index, columns)].set_axis_off()
    return figure


def _trend(ax: object, cloud: Cloud) -> None:
    """Mark the mean prediction in tenths of the rating, which shows shrinkage that a cloud hides."""
    edges = np.quantile(cloud.rating, np.linspace(0, 1, 11))
    part = np.clip(np.searchsorted(edges, cloud.rating, side="right") - 1, 0, 9)
    used = [index for index in range(10) if (part == index).sum() >= 5]
    if len(used) < 3:
        return
    x = [cloud.rating[part == index].mean() for index in used]
    y = [cloud.predicted[part == index].mean() for index in used]
    ax.plot(x, y, color=INK, marker="o", markersize=3.2, linewidth=1.0, zorder=4)  # type: ignore[attr-defined]
