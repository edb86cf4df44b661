"""Values with intervals, a row for each thing and a colour for each series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.report.style import ACCENT, HUMAN, INK, MUTED, PAPER, SECOND, legend_columns, new_figure
from emosae.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_intervals"]

_SERIES = ((SECOND, "o"), (ACCENT, "D"), (HUMAN, "s"), (MUTED, "^"))
Cell = tuple[float | None, float | None, float | None]


def draw_intervals(
    groups: Mapping[str, Mapping[str, Cell]],
    *,
    axis: str,
    expected: Mapping[str, Mapping[str, float | None]] | None = None,
    expected_name: str = "",
    upper: float | None = 1.02,
    row_height: float = 0.44,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw values with intervals around zero, a row for each group, a colour for each series.

    Args:
        groups: By row, then by series: value, low and high end; None where not computed.
        axis: Label of the axis, with its unit.
        expected: By row, then by series, what chance or the null hypothesis gives: a hollow mark beside the value.
        expected_name: What that is, for the legend.
        upper: Right end of the axis; None ends it behind the greatest value.
        row_height: Height of a row, inches.
        colours: Colour of a series; None gives them colours in turn.
    """
    from matplotlib.ticker import MaxNLocator

    expected = expected or {}
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    figure = new_figure(5.4, row_height * len(groups) + 1.25)
    ax = figure.add_subplot()
    ax.axvline(0, color=MUTED, linewidth=0.8)
    offsets = np.linspace(-0.2, 0.2, len(series)) if len(series) > 1 else np.zeros(1)
    for place, name in enumerate(series):
        rows = [(row + offsets[place], group.get(name)) for row, group in enumerate(groups.values())]
        look = (colours or {}).get(name, _SERIES[place % len(_SERIES)][0]), _SERIES[place % len(_SERIES)][1]
        _series(ax, rows, name, look)
        nulls = [
            (value, row + offsets[place])
            for row, key in enumerate(groups)
            if (value := expected.get(key, {}).get(name)) is not None
        ]
        if nulls:
            ax.plot(*np.array(nulls).T, **_hollow(*look), zorder=2)
    if expected_name and any(expected.values()):
        ax.plot([], [], **_hollow(INK, "o"), label=expected_name)
    ax.set_yticks(range(len(groups)), [shorten(name, 40) for name in groups])
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ends = [end for group in groups.values() for cell in group.values() for end in cell if end is not None]
    ends += [value for row in expected.values() for value in row.values() if value is not None]
    least, most = min(ends, default=0.0), max(ends, default=0.0)
    pad = 0.04 if upper else 0.05 * (max(most, 0.0) - min(least, 0.0) or 1.0)
    ax.set_xlim(min(least - pad, -0.02 if upper else -pad), upper or max(most, 0.0) + pad)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.set_xlabel(axis)
    ncols = legend_columns(ax.get_legend_handles_labels()[1], figure.get_figwidth())
    figure.legend(loc="outside upper left", ncols=ncols, columnspacing=1.4)
    return figure


def _series(ax: Axes, rows: list[tuple[float, Cell | None]], name: str, look: tuple[str, str]) -> None:
    colour, marker = look
    label: str | None = name
    for y, cell in rows:
        value, low, high = cell or (None, None, None)
        if value is None:
            continue
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
        ax.plot([value], [y], marker=marker, markersize=5, color=colour, linestyle="", label=label, zorder=4)
        label = None


def _hollow(colour: str, marker: str) -> dict[str, Any]:
    """Style a mark of what is expected like the series it belongs to."""
    return {
        "linestyle": "",
        "marker": marker,
        "markersize": 5,
        "markerfacecolor": PAPER,
        "markeredgecolor": colour,
        "markeredgewidth": 1.0,
    }
