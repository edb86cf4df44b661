"""Scores along something that is counted, such as layers or words, beside their baselines and ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.report.bars import Role
from emosae.report.style import (
    ACCENT,
    ACCENT_SOFT,
    BASELINE,
    HUMAN,
    INK,
    MUTED,
    PAPER,
    SECOND,
    WIDTH,
    legend_columns,
    new_figure,
)
from emosae.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "CurvePanel", "draw_curves"]

_COLOURS = {
    "features": ACCENT,
    "subset": ACCENT_SOFT,
    "baseline": MUTED,
    "control": BASELINE,
    "human": SECOND,
}
# lines of one colour are told apart by mark and dash, which also serves those who see no colour
_MARKS = {"features": "o", "subset": "sP", "baseline": "^vD<>", "control": "xX+", "human": "*"}
_DASHES = {"features": "-", "subset": "-", "baseline": "--", "control": ":", "human": "-."}


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line.

    Attributes:
        name: Its name; the same name looks the same in every panel.
        role: What it is to the study: features, subset, baseline, control, human.
        x: Where its points are.
        y: Their heights; None where not computed, which leaves a gap.
        low: Lower ends of the points' intervals, empty for none.
        high: Upper ends.
        ringed: Points that stand out, by number, such as the best of several.
    """

    name: str
    role: Role
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    ringed: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePanel:
    """Lines that may be compared with each other.

    Attributes:
        title: What the panel is about.
        curves: The lines, the study's own first.
        axis: Label of the upright axis, with its unit.
        ceiling: Lower and upper end of the best that any model could reach; equal ends make a line.
    """

    title: str
    curves: Sequence[Curve]
    axis: str
    ceiling: tuple[float, float] | None = None


def draw_curves(
    panels: Sequence[CurvePanel],
    *,
    axis: str,
    ticks: Sequence[tuple[float, str]] = (),
    columns: int = 2,
    band: str = "interval",
    ring: str = "",
    ceiling: str = "ceiling: the best that the raters' agreement allows",
) -> Figure:
    """Draw panels of lines with bands for intervals.

    Args:
        panels: What is drawn.
        axis: Label of the axes that run to the right, with its unit.
        ticks: Their places and labels; empty leaves them to the numbers.
        columns: Panels in a row at most.
        band: What the coloured bands are, for the legend.
        ring: What a ringed point is.
        ceiling: What the green line or band is.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    styles = _styles(panels)
    figure = new_figure(WIDTH if columns > 1 else 5.4, 2.55 * rows + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False)
    for index, panel in enumerate(panels):
        ax = axes[divmod(index, columns)]
        _panel(ax, panel, styles)
        ax.set_xlabel(axis)
        if ticks:
            ax.set_xticks([place for place, _ in ticks], [label for _, label in ticks])
            ax.set_xlim(ticks[0][0] - 0.35, ticks[-1][0] + 0.35)
    for index in range(len(panels), rows * columns):
        axes[divmod(index, columns)].set_axis_off()
    handles: list[Patch | Line2D] = [
        Line2D([], [], label=shorten(name, 44), **_look(style))  # type: ignore[arg-type]
        for name, style in styles.items()
    ]
    curves = [curve for panel in panels for curve in panel.curves]
    if any(_known(curve.low) for curve in curves):
        handles.append(Patch(facecolor=ACCENT, alpha=0.2, label=band))
    if any(panel.ceiling for panel in panels):
        handles.append(Patch(facecolor=HUMAN, alpha=0.35, label=ceiling))
    if any(curve.ringed for curve in curves):
        look = {"markerfacecolor": "none", "markeredgecolor": INK, "markersize": 9, "linestyle": ""}
        handles.append(Line2D([], [], marker="o", label=ring, **look))  # type: ignore[arg-type]
    ncols = legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth())
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.17 * -(-len(handles) // ncols))
    figure.legend(handles=handles, loc="outside lower left", ncols=ncols, columnspacing=1.4)
    return figure


def _look(style: tuple[str, str, str]) -> dict[str, object]:
    colour, dash, mark = style
    return {
        "color": colour,
        "linestyle": dash,
        "marker": mark,
        "markersize": 4.5,
        "markerfacecolor": PAPER if mark in "sD" else colour,
    }


def _styles(panels: Sequence[CurvePanel]) -> dict[str, tuple[str, str, str]]:
    """Give each name its colour, dash and mark, alike in all panels."""
    found: dict[str, tuple[str, str, str]] = {}
    used = dict.fromkeys(_MARKS, 0)
    for panel in panels:
        for curve in panel.curves:
            if curve.name not in found:
                marks = _MARKS[curve.role]
                mark = marks[used[curve.role] % len(marks)]
                found[curve.name] = (_COLOURS[curve.role], _DASHES[curve.role], mark)
                used[curve.role] += 1
    return found


def _known(values: Sequence[float | None]) -> bool:
    return any(value is not None for value in values)


def _panel(ax: Axes, panel: CurvePanel, styles: dict[str, tuple[str, str, str]]) -> None:
    if panel.ceiling:
        low, high = panel.ceiling
        ax.axhspan(low, high, color=HUMAN, alpha=0.22, linewidth=0, zorder=0)
        for end in dict.fromkeys(panel.ceiling):
            ax.axhline(end, color=HUMAN, linewidth=0.9, zorder=1)
    ax.axhline(0, color=MUTED, linewidth=0.7, zorder=1)
    for order, curve in enumerate(reversed(panel.curves)):  # the study's own lines on top
        colour = styles[curve.name][0]
        x, y = np.asarray(curve.x, dtype=float), _numbers(curve.y)
        if _known(curve.low) and _known(curve.high):
            ends = _numbers(curve.low), _numbers(curve.high)
            if len(x) > 1:
                ax.fill_between(x, *ends, color=colour, alpha=0.2, linewidth=0, zorder=2)
            else:
                ax.vlines(x, *ends, color=colour, linewidth=1.2, zorder=2)
        ax.plot(
            x,
            y,
            **_look(styles[curve.name]),  # type: ignore[arg-type]
            linewidth=1.8 if curve.role == "features" else 1.1,
            zorder=3 + 0.01 * order,
        )
        if curve.ringed:
            where = list(curve.ringed)
            ring = {"facecolors": "none", "edgecolors": INK, "linewidths": 1.0}
            ax.scatter(x[where], y[where], s=75, zorder=4, **ring)  # type: ignore[arg-type]
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -0.02), max(high, 0.05))
    ax.set_title(shorten(panel.title, 80))
    ax.set_ylabel(panel.axis)
    ax.grid(axis="y")


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)
