"""Small maps side by side, points coloured by valence: a space beside its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.report.emotion_map import valence_colours
from emosae.report.labels import place_labels
from emosae.report.style import ACCENT, HALO, INK, PAPER, WIDTH, new_figure
from emosae.report.text import concept_name, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Points", "draw_points"]

_SIZE = 34.0  # of a point, square points


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """One map.

    Attributes:
        title: What the map shows.
        positions: Coordinates of each concept.
    """

    title: str
    positions: Mapping[str, tuple[float, float]]


def draw_points(panels: Sequence[Points], *, valence: Mapping[str, float], valence_name: str) -> Figure:
    """Draw maps, two in a row, each in a frame of its own; the axes have one unit and no direction.

    Args:
        panels: At least one.
        valence: Of each concept, any unit; a concept without one is left white, without any all are blue.
        valence_name: Title of the colour scale, with its unit.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(WIDTH if columns > 1 else 4.0, 3.35 * rows + 0.55)
    axes = figure.subplots(rows, columns, squeeze=False)
    values = np.array(list(valence.values()) or [0.0])
    middle = 0.0 if values.min() < 0 < values.max() else values.mean()
    reach = float(np.abs(values - middle).max()) or 1.0
    scale: Any = ScalarMappable(Normalize(middle - reach, middle + reach), valence_colours())
    bare = PAPER if valence else ACCENT
    for index, panel in enumerate(panels):
        ax = axes[divmod(index, columns)]
        x, y = np.array(list(panel.positions.values())).T
        colours = [scale.to_rgba(valence[name]) if name in valence else bare for name in panel.positions]
        ax.scatter(x, y, s=_SIZE, c=colours, edgecolors=INK, linewidths=0.6, zorder=4)
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.16)
        ax.set_title(shorten(panel.title, 60))
        ax.set_xlabel("Direction of most spread (unit sphere)")
        ax.set_ylabel("Direction of second most")
        ax.grid()
    for index in range(len(panels), rows * columns):
        axes[divmod(index, columns)].set_axis_off()
    if valence:
        bar = figure.colorbar(
            scale, ax=axes.ravel().tolist(), orientation="horizontal", shrink=0.5, aspect=45, pad=0.03
        )
        bar.set_label(valence_name)
        bar.outline.set_visible(False)
    _label(figure, [axes[divmod(index, columns)] for index in range(len(panels))], panels)
    return figure


def _label(figure: Figure, axes: Sequence[Axes], panels: Sequence[Points]) -> None:
    """Write each concept's name beside its point, measured on the laid-out figure."""
    most = max(len(panel.positions) for panel in panels)
    texts = [
        [
            ax.text(
                *place, concept_name(name, 26), fontsize=6.5 if most > 12 else 7.5, ha="center", va="center",
                gid=f"{HALO}-{number}-{row}", zorder=6,
            )
            for row, (name, place) in enumerate(panel.positions.items())
        ]
        for number, (ax, panel) in enumerate(zip(axes, panels, strict=True))
    ]  # fmt: skip
    for text in (text for own in texts for text in own):
        text.set_in_layout(False)
    figure.draw_without_rendering()  # fixes the layout, so that dots mean what they will mean on paper
    figure.set_layout_engine("none")
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    per_point = figure.dpi / 72
    for ax, panel, own in zip(axes, panels, texts, strict=True):
        boxes = np.array(
            [[box.width, box.height] for box in (text.get_window_extent(renderer) for text in own)]
        )
        frame = ax.get_window_extent(renderer)
        centres = place_labels(
            ax.transData.transform(np.array(list(panel.positions.values()))),
            np.full(len(own), np.sqrt(_SIZE) / 2 * per_point),
            # capitals and descenders leave air in the box that matplotlib measures; words need some between
            boxes * np.array([1.0, 0.86]) + np.array([2.5 * per_point, 0.0]),
            (frame.x0, frame.y0, frame.x1, frame.y1),
            unit=per_point,
        )
        for text, centre in zip(own, centres, strict=True):
            text.set_position(tuple(ax.transData.inverted().transform(centre)))
