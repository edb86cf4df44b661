"""The emotion map: concepts where the model puts them, coloured and sized by what people say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.report.labels import place_labels
from emosae.report.style import ACCENT, GRID, HALO, INK, MUTED, PAPER, WIDTH, new_figure
from emosae.report.text import concept_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Layer", "draw_emotion_map", "valence_colours"]

_MARKERS = "oDs^vP"
_AREA = (22.0, 190.0)  # square points, from the calmest to the most aroused concept
_PLAIN_AREA = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One space's concepts on the map, for example those read in one language.

    Attributes:
        name: What the legend calls it.
        positions: Coordinates of each concept on the two axes.
    """

    name: str
    positions: Mapping[str, tuple[float, float]]


def valence_colours() -> Any:
    """Make the colour scale of valence: blue for unpleasant, grey for neither, orange for pleasant."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(
        "valence", ["#1f5fa8", "#7ba7d4", "#cfd3d8", "#eba35c", "#c4550a"]
    )


def draw_emotion_map(
    layers: Sequence[Layer],
    *,
    valence: Mapping[str, float],
    arousal: Mapping[str, float],
    axis_names: tuple[str, str],
    valence_name: str = "Valence",
    arousal_name: str = "Arousal",
) -> Figure:
    """Draw the map.

    Args:
        layers: At least one; the same concept in several is joined by a line and labelled at the first.
        valence: Of each concept, any unit; 0 is grey, or the mean where all have one sign. A concept
            without one is left white; where none has one all are blue.
        arousal: Of each concept, any unit; empty for none.
        axis_names: Labels of the two axes, with their unit.
        valence_name: Title of the colour scale, with its unit.
        arousal_name: Title of the legend of sizes, with its unit.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = new_figure(WIDTH, 5.6)
    ax = figure.add_subplot()
    scale = ScalarMappable(Normalize(*_limits(list(valence.values()))), valence_colours())
    ax.axhline(0, color=GRID, linewidth=0.8, zorder=0)
    ax.axvline(0, color=GRID, linewidth=0.8, zorder=0)
    for concept in _concepts(layers):
        path = np.array([layer.positions[concept] for layer in layers if concept in layer.positions])
        if len(path) > 1:
            ax.plot(*path.T, color=MUTED, linewidth=0.6, alpha=0.6, zorder=1, solid_capstyle="round")
    for index, layer in enumerate(layers):
        names = list(layer.positions)
        x, y = np.array([layer.positions[name] for name in names]).T
        ax.scatter(
            x,
            y,
            s=[_area(arousal.get(name), arousal) for name in names],
            marker=_MARKERS[index % len(_MARKERS)],
            c=np.array([_colour(scale, valence.get(name), PAPER if valence else ACCENT) for name in names]),
            edgecolors=INK,
            linewidths=0.6,
            zorder=4 - 0.1 * index,
        )
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.09)
    ax.set_xlabel(axis_names[0])
    ax.set_ylabel(axis_names[1])
    if valence:
        bar = figure.colorbar(scale, ax=ax, fraction=0.03, aspect=32, pad=0.015)
        bar.set_label(valence_name)
        bar.outline.set_visible(False)
    _legends(figure, layers, valence, arousal, arousal_name)
    _label(figure, ax, layers, arousal)
    return figure


def _colour(scale: Any, value: float | None, bare: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgba

    return tuple(scale.to_rgba(value)) if value is not None else to_rgba(bare)


def _limits(values: list[float]) -> tuple[float, float]:
    """Return the ends of the color scale; its middle is 0, or the mean where all have one sign."""
    if not values:
        return -1.0, 1.0
    middle = 0.0 if min(values) < 0 < max(values) else sum(values) / len(values)
    most = max(abs(value - middle) for value in values) or 1.0
    return middle - most, middle + most


def _concepts(layers: Sequence[Layer]) -> list[str]:
    return list(dict.fromkeys(name for layer in layers for name in layer.positions))


def _area(value: float | None, arousal: Mapping[str, float]) -> float:
    if value is None or len(arousal) < 2:
        return _PLAIN_AREA
    low, high = min(arousal.values()), max(arousal.values())
    share = (value - low) / (high - low) if high > low else 0.5
    return _AREA[0] + share * (_AREA[1] - _AREA[0])


def _legends(
    figure: Figure,
    layers: Sequence[Layer],
    valence: Mapping[str, float],
    arousal: Mapping[str, float],
    title: str,
) -> None:
    from matplotlib.lines import Line2D

    handles = []
    if len(layers) > 1:
        for index, layer in enumerate(layers):
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker=_MARKERS[index % len(_MARKERS)],
                    markersize=6,
                    markerfacecolor=MUTED,
                    markeredgecolor=INK,
                    label=layer.name,
                )
            )
    if len(arousal) > 1 and min(arousal.values()) < max(arousal.values()):
        low, high = min(arousal.values()), max(arousal.values())
        for value in (low, (low + high) / 2, high):
            side = float(np.sqrt(_area(value, arousal)))
            label = f"{title} {value:.1f}".replace("-", "\u2212")
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker="o",
                    markersize=side,
                    markerfacecolor="none",
                    markeredgecolor=MUTED,
                    label=label,
                )
            )
    if valence and any(name not in valence for name in _concepts(layers)):
        ring = Line2D(
            [], [], linestyle="", marker="o", markersize=6, markerfacecolor=PAPER, markeredgecolor=INK
        )
        ring.set_label("not rated")
        handles.append(ring)
    if handles:
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=min(len(handles), 6),
            handletextpad=0.4,
            columnspacing=1.4,
            borderpad=0.1,
        )


def _label(figure: Figure, ax: Axes, layers: Sequence[Layer], arousal: Mapping[str, float]) -> None:
    """Write each concept's name beside its first point, measured on the laid-out figure."""
    names = _concepts(layers)
    first = [next(layer.positions[name] for layer in layers if name in layer.positions) for name in names]
    rest = [layer.positions[name] for layer in layers[1:] for name in layer.positions]
    size = 7.5 if len(names) <= 30 else 6.5
    texts = [
        ax.text(
            x,
            y,
            concept_name(name, 30),
            fontsize=size,
            ha="center",
            va="center",
            gid=f"{HALO}-{index}",
            zorder=6,
        )
        for index, (name, (x, y)) in enumerate(zip(names, first, strict=True))
    ]
    for text in texts:
        text.set_in_layout(False)
    figure.draw_without_rendering()  # fixes the layout, so that dots mean what they will mean on paper
    figure.set_layout_engine("none")
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = np.array(
        [[box.width, box.height] for box in (text.get_window_extent(renderer) for text in texts)]
    )
    dots = ax.transData.transform(np.array(first))
    per_point = figure.dpi / 72
    radii = np.array([np.sqrt(_area(arousal.get(name), arousal)) / 2 * per_point for name in names])
    frame = ax.get_window_extent(renderer)
    centres = place_labels(
        dots,
        radii,
        # capitals and descenders leave air in the box that matplotlib measures; words need some between
        boxes * np.array([1.0, 0.86]) + np.array([2.5 * per_point, 0.0]),
        (frame.x0, frame.y0, frame.x1, frame.y1),
        obstacles=ax.transData.transform(np.array(rest)) if rest else None,
        unit=per_point,
    )
    for text, centre, dot, radius, box in zip(texts, centres, dots, radii, boxes, strict=True):
        text.set_position(tuple(ax.transData.inverted().transform(centre)))
        away = np.maximum(np.abs(centre - dot) - box / 2, 0.0)
        if np.linalg.norm(away) > radius + 5 * per_point:  # a label that had to move far gets a line home
            near = np.clip(dot, centre - box / 2, centre + box / 2)
            ends = ax.transData.inverted().transform(np.array([near, dot]))
            ax.plot(*ends.T, color=MUTED, linewidth=0.4, zorder=2)
