"""Matrices of numbers side by side on one scale, each cell with its number where there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.report.style import INK, MUTED, PAPER, WIDTH, new_figure
from emosae.report.text import concept_name, number, shorten

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.figure import Figure

__all__ = ["draw_heatmaps"]

_MOST_NUMBERED = 12  # columns up to which cells are wide enough for a number


def draw_heatmaps(
    matrices: Mapping[str, Float[np.ndarray, "rows columns"]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str,
    row_label: str,
    column_label: str,
    diverging: bool = False,
) -> Figure:
    """Draw matrices over the same rows and columns, two side by side.

    Args:
        matrices: By title; NaN is left empty.
        rows: Names of the rows.
        columns: Names of the columns.
        label: What the numbers are, with their unit.
        row_label: What the rows are.
        column_label: What the columns are.
        diverging: Colour around zero, for numbers of both signs; otherwise from 0 up.
    """
    across = min(len(matrices), 2)
    down = -(-len(matrices) // across)
    width = WIDTH if across > 1 else 4.6
    figure = new_figure(width, down * (0.22 * len(rows) + 1.25) + 0.35)
    axes = figure.subplots(down, across, squeeze=False)
    values = np.concatenate([matrix[np.isfinite(matrix)] for matrix in matrices.values()])
    most = float(np.abs(values).max()) if len(values) and np.abs(values).max() > 0 else 1.0
    scale: dict[str, Any] = (
        {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        if diverging
        else {"cmap": "Blues", "vmin": 0, "vmax": most}
    )
    size = float(np.clip(100 / max(len(rows), 1), 4.5, 8.0))
    mesh = None
    for index, (title, matrix) in enumerate(matrices.items()):
        place = divmod(index, across)
        ax = axes[place]
        mesh = ax.imshow(np.ma.masked_invalid(matrix), aspect="auto", interpolation="none", **scale)
        ax.set_title(shorten(title, 60))
        ax.set_yticks(
            range(len(rows)), [concept_name(name, 26) for name in rows] if not place[1] else [""] * len(rows)
        )
        ax.set_xticks(
            range(len(columns)), [concept_name(name, 26) for name in columns], rotation=60, ha="right"
        )
        ax.tick_params(length=0, labelsize=size)
        ax.set_xlabel(column_label)
        if not place[1]:
            ax.set_ylabel(row_label)
        for spine in ax.spines.values():
            spine.set_visible(False)
        if len(columns) <= _MOST_NUMBERED:
            for (row, column), value in np.ndenumerate(matrix):
                if np.isfinite(value):
                    dark = abs(value) > 0.6 * most
                    ax.text(
                        column, row, number(value, 2), ha="center", va="center", fontsize=6.5,
                        color=PAPER if dark else INK,
                    )  # fmt: skip
    for index in range(len(matrices), down * across):
        axes[divmod(index, across)].set_axis_off()
    assert mesh is not None
    bar = figure.colorbar(
        mesh, ax=axes.ravel().tolist(), orientation="horizontal", shrink=0.5, aspect=45, pad=0.04
    )
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=MUTED)
    return figure
