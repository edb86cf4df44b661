"""Scores with intervals beside their baselines and ceilings, and how many features each concept has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.report.style import (
    ACCENT,
    ACCENT_SOFT,
    BASELINE,
    CONTROL,
    HUMAN,
    INK,
    MUTED,
    PAPER,
    SECOND,
    WIDTH,
    legend_columns,
    new_figure,
)
from emosae.report.text import concept_name, number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ROLE_COLOURS", "Bar", "Panel", "Role", "draw_bars", "draw_counts"]

ROLE_COLOURS = {
    "features": ACCENT,
    "subset": ACCENT_SOFT,
    "baseline": BASELINE,
    "control": CONTROL,
    "human": SECOND,
}
_ROLE_NAMES = {
    "features": "SAE features",
    "subset": "a set of SAE features",
    "baseline": "baseline without the SAE",
    "control": "control",
    "human": "ratings alone, without a model",
}
Role = str
_MARK: dict[str, Any] = {
    "marker": "D",
    "markersize": 4.2,
    "markerfacecolor": PAPER,
    "markeredgecolor": INK,
    "markeredgewidth": 1.0,
    "linestyle": "",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One score.

    Attributes:
        name: What it is the score of.
        role: What that is to the study: features, subset, baseline, control, human.
        value: The score; None where it was not computed.
        low: Lower end of its interval.
        high: Upper end.
        mark: Another value to hold it against, drawn as a diamond, for instance what chance gives.
        spread: Range of the single scores of which `value` is the mean, drawn as a pale band.
    """

    name: str
    role: Role
    value: float | None
    low: float | None = None
    high: float | None = None
    mark: float | None = None
    spread: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Scores that may be compared with each other.

    Attributes:
        title: What the panel is about.
        bars: From top to bottom.
        axis: Label of the axis, with its unit.
        ceiling: Lower and upper end of the best that any model could reach; equal ends make a line.
    """

    title: str
    bars: Sequence[Bar]
    axis: str
    ceiling: tuple[float, float] | None = None


def draw_bars(
    panels: Sequence[Panel],
    *,
    columns: int = 2,
    whisker: str = "interval",
    mark: str = "",
    spread: str = "",
    ceiling: str = "ceiling: the best that the raters' agreement allows",
    shared: bool = False,
) -> Figure:
    """Draw panels of horizontal bars with intervals; panels in one row with the same names share them.

    Args:
        panels: What is drawn.
        columns: Panels in a row at most.
        whisker: What the whiskers are, for the legend.
        mark: What the diamonds are, where there are any.
        spread: What the pale bands are, where there are any.
        ceiling: What the green line or band is.
        shared: All panels have the same axis, for scores that are compared across panels.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    tallest = max(len(panel.bars) for panel in panels)
    figure = new_figure(WIDTH if columns > 1 else 5.4, rows * (0.235 * tallest + 0.75) + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        before = panels[index - 1] if column else None
        same = before is not None and [bar.name for bar in before.bars] == [bar.name for bar in panel.bars]
        _bars(axes[row, column], panel, names=not same, tallest=tallest)
    for index in range(len(panels), rows * columns):
        axes[divmod(index, columns)].set_axis_off()
    if shared:
        limits = np.array([axes[divmod(index, columns)].get_xlim() for index in range(len(panels))])
        for index in range(len(panels)):
            axes[divmod(index, columns)].set_xlim(limits[:, 0].min(), limits[:, 1].max())
    used = list(dict.fromkeys(bar.role for panel in panels for bar in panel.bars))
    handles: list[Patch | Line2D] = [
        Patch(facecolor=ROLE_COLOURS[role], label=_ROLE_NAMES[role]) for role in ROLE_COLOURS if role in used
    ]
    if any(panel.ceiling for panel in panels):
        handles.append(Patch(facecolor=HUMAN, alpha=0.35, label=ceiling))
    drawn = [bar for panel in panels for bar in panel.bars if bar.value is not None]
    if any(bar.low is not None for bar in drawn):
        handles.append(Line2D([], [], color=INK, linewidth=1.0, label=whisker))
    if any(bar.spread for bar in drawn):
        handles.append(Patch(facecolor=MUTED, alpha=0.45, label=spread))
    if any(bar.mark is not None for bar in drawn):
        handles.append(Line2D([], [], **_MARK, label=mark))
    ncols = legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth())
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.17 * -(-len(handles) // ncols))
    figure.legend(handles=handles, loc="outside lower left", ncols=ncols, columnspacing=1.4)
    return figure


def _bars(ax: Axes, panel: Panel, *, names: bool, tallest: int) -> None:
    where = [float(row) for row in range(len(panel.bars))]
    if panel.ceiling:
        low, high = panel.ceiling
        ax.axvspan(min(low, high), max(low, high), color=HUMAN, alpha=0.22, linewidth=0, zorder=0)
        for end in dict.fromkeys(panel.ceiling):
            ax.axvline(end, color=HUMAN, linewidth=0.9, zorder=1)
    ends = [
        end
        for bar in panel.bars
        for end in (bar.value, bar.low, bar.high, bar.mark, *(bar.spread or ()))
        if end is not None
    ]
    edge, least = max([0.0, *ends, *(panel.ceiling or ())]), min([0.0, *ends])
    span = (edge - least) or 1.0
    for y, bar in zip(where, panel.bars, strict=True):
        if bar.value is None:
            ax.text(least + 0.01 * span, y, "not computed", va="center", fontsize=7, color=MUTED)
            continue
        ax.barh(y, bar.value, height=0.68, color=ROLE_COLOURS[bar.role], zorder=2, linewidth=0)
        if bar.spread:
            start, end = bar.spread
            ax.barh(y, end - start, left=start, height=0.4, color=MUTED, alpha=0.45, zorder=2.5, linewidth=0)
        if bar.low is not None and bar.high is not None:
            ax.plot([bar.low, bar.high], [y, y], color=INK, linewidth=1.0, zorder=3, solid_capstyle="butt")
        if bar.mark is not None:
            ax.plot([bar.mark], [y], zorder=4, clip_on=False, **_MARK)
        ax.text(
            1.015,
            y,
            number(bar.value),
            va="center",
            fontsize=7.5,
            transform=ax.get_yaxis_transform(),
            color=INK,
        )
    ax.axvline(0, color=MUTED, linewidth=0.7, zorder=3)
    ax.set_xlim(least - (0.04 * span if least < 0 else 0), edge + 0.04 * span)
    ax.set_ylim(tallest - 0.4, -0.6)
    ax.set_yticks(where, [shorten(bar.name, 44) if names else "" for bar in panel.bars])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    ax.set_title(shorten(panel.title, 80))
    ax.set_xlabel(panel.axis)


def draw_counts(
    concepts: Sequence[str],
    counts: Mapping[str, Sequence[tuple[int, int]]],
    best: Mapping[str, Sequence[float | None]],
) -> Figure:
    """Draw how many features each concept selects, and how well its best one tells it from the rest.

    Args:
        concepts: From top to bottom.
        counts: By language: significant and other selected features of each concept.
        best: By language: greatest AUROC among the selected features, None where there is none.
    """
    languages = list(counts)
    figure = new_figure(WIDTH, 0.175 * len(concepts) + 1.15)
    axes = figure.subplots(
        1, len(languages) + 1, sharey=True, squeeze=False, width_ratios=[1] * len(languages) + [1.15]
    )[0]
    where = np.arange(len(concepts))
    most = max((sum(pair) for rows in counts.values() for pair in rows), default=1)
    for ax, language in zip(axes, languages, strict=False):
        passed = np.array([pair[0] for pair in counts[language]])
        others = np.array([pair[1] for pair in counts[language]])
        ax.barh(where, passed, height=0.7, color=ACCENT, linewidth=0, label="significant")
        if others.any():
            bars = {"height": 0.7, "color": CONTROL, "linewidth": 0, "label": "best of the others"}
            ax.barh(where, others, left=passed, **bars)
        ax.set_xlim(0, most * 1.05 or 1)
        ax.set_title(shorten(language, 30))
        ax.set_xlabel("Selected features (number)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    ax = axes[-1]
    for index, language in enumerate(languages):
        pairs = [(value, row) for row, value in enumerate(best[language]) if value is not None]
        if pairs:
            ax.plot(
                *np.array(pairs).T,
                linestyle="",
                marker="oDs^vP"[index % 6],
                markersize=4,
                color=[INK, SECOND, HUMAN, ACCENT][index % 4],
                markerfacecolor="none" if index else INK,
                label=shorten(language, 30),
            )
    ax.axvline(0.5, color=MUTED, linewidth=0.8)
    ax.set_xlim(0.48, 1.02)
    ax.set_title("best feature")
    ax.set_xlabel("AUROC (0.5 is chance)")
    ax.grid(axis="both")
    ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(where, [concept_name(concept, 26) for concept in concepts])
    axes[0].set_ylim(len(concepts) - 0.4, -0.6)
    axes[0].tick_params(axis="y", labelsize=7.5)
    handles, names = axes[0].get_legend_handles_labels()
    if len(languages) > 1:
        more = axes[-1].get_legend_handles_labels()
        handles, names = handles + more[0], names + [f"AUROC, {name}" for name in more[1]]
    figure.legend(handles, names, loc="outside upper left", ncols=4, columnspacing=1.4)
    return figure
