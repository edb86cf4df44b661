"""Raters as points: how like the model each is, against how like the other raters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.report.style import ACCENT, HUMAN, INK, MUTED, WIDTH, new_figure
from emosae.report.text import shorten

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure

__all__ = ["RaterCloud", "draw_rater_clouds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RaterCloud:
    """The raters beside one space.

    Attributes:
        title: The space.
        agreement: Likeness of each rater to the mean of the others.
        likeness: Likeness of each rater to the space.
        slope: Of the line through zero on which raters of one truth lie.
        spread: Standard deviation about the line that one truth gives; None where it was not simulated.
    """

    title: str
    agreement: Float[np.ndarray, " raters"]
    likeness: Float[np.ndarray, " raters"]
    slope: float
    spread: float | None = None


def draw_rater_clouds(clouds: Sequence[RaterCloud], *, comparator: str) -> Figure:
    """Draw the clouds, two in a row, on one scale.

    Args:
        clouds: At least one.
        comparator: The measure of likeness, for the axes.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    columns = min(2, len(clouds))
    rows = -(-len(clouds) // columns)
    figure = new_figure(WIDTH if columns > 1 else 4.4, 2.75 * rows + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    ends = np.concatenate([cloud.agreement for cloud in clouds] + [np.zeros(1)])
    span = np.array([min(ends.min(), 0.0), max(ends.max(), 0.1) * 1.04])
    for index, cloud in enumerate(clouds):
        ax = axes[divmod(index, columns)]
        ax.axhline(0, color=MUTED, linewidth=0.7, zorder=1)
        ax.plot(span, cloud.slope * span, color=HUMAN, linewidth=1.2, zorder=2)
        if cloud.spread is not None:
            line = cloud.slope * span
            ax.fill_between(
                span, line - cloud.spread, line + cloud.spread, color=HUMAN, alpha=0.2, linewidth=0, zorder=1
            )
        ax.scatter(cloud.agreement, cloud.likeness, s=20, color=ACCENT, alpha=0.8, linewidths=0, zorder=3)
        ax.set_xlim(*span)
        ax.set_title(shorten(cloud.title, 60))
        ax.set_xlabel(f"Likeness to the other raters ({comparator})")
        ax.set_ylabel(f"Likeness to the space ({comparator})")
        ax.grid()
        ax.tick_params(labelbottom=True, labelleft=True)
    for index in range(len(clouds), rows * columns):
        axes[divmod(index, columns)].set_axis_off()
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=ACCENT, marker="o", markersize=4.5, linestyle="", label="a rater"),
        Line2D([], [], color=HUMAN, label="raters of one truth"),
    ]
    if any(cloud.spread is not None for cloud in clouds):
        handles.append(Patch(facecolor=HUMAN, alpha=0.3, label="their noise, 1 SD"))
    figure.legend(handles=handles, loc="outside lower left", ncols=3, columnspacing=1.4, labelcolor=INK)
    return figure
