"""How the emotion space changes over depth: the likeness of every two sites' spaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from emosae.report.heatmaps import draw_heatmaps
from emosae.report.names import order_names, readable, role, split_language
from emosae.report.page import Block, Canvas, Column, Table
from emosae.report.sections.likeness import LIKENESS_COLUMNS, likeness_cells
from emosae.report.sections.space import FEATURES
from emosae.report.sections.wording import range_of
from emosae.report.source import Run
from emosae.report.tables import finite
from emosae.report.text import number, shorten

__all__ = ["layer_blocks"]

_NEEDED = ("site_a", "site_b", "space", "comparator", "score")
_DRAWN = (FEATURES, "residual")  # the features, and what they must be held against


def layer_blocks(run: Run, canvas: Canvas, place: Mapping[str, float]) -> list[Block]:
    """Show how like the spaces of the sites are to each other; nothing where that was not computed.

    Args:
        run: The run.
        canvas: Takes the figure.
        place: Where each site stands on the axis of depth.
    """
    stages = (stages["geometry"] for stages in run.stages.values() if "geometry" in stages)
    table = next((stage.table("layers", *_NEEDED) for stage in stages), pl.DataFrame())
    if table.is_empty():
        return []
    order = sorted(place, key=place.__getitem__)
    spaces = order_names(table["space"].to_list(), run.languages)
    drawn = [name for name in spaces if split_language(name, run.languages)[0] in _DRAWN]
    blocks: list[Block] = []
    if len(order) > 2 and drawn:  # of two sites the table says it all
        blocks.append(_figure(run, table, drawn, order, canvas))
    return [*blocks, _table(run, table, spaces, order)]


def _figure(run: Run, table: pl.DataFrame, drawn: list[str], order: list[str], canvas: Canvas) -> Block:
    at = {site: row for row, site in enumerate(order)}
    matrices: dict[str, np.ndarray] = {}
    for space in drawn:
        matrix = np.full((len(order), len(order)), np.nan)
        for row in table.filter(pl.col("space") == space).iter_rows(named=True):
            score = finite(row["score"])
            if score is not None and {row["site_a"], row["site_b"]} <= set(at):
                a, b = at[row["site_a"]], at[row["site_b"]]
                matrix[a, b] = matrix[b, a] = score
        matrices[readable(space, run.languages)] = matrix
    names = [shorten(site.removeprefix("blocks.").replace(".hook_", " "), 26) for site in order]
    known = [value for matrix in matrices.values() for value in matrix[np.isfinite(matrix)]]
    n = range_of(table["n_concepts"].to_list(), "emotion") if "n_concepts" in table.columns else ""
    return canvas.add(
        draw_heatmaps(
            matrices,
            names,
            names,
            label=f"Likeness of the RDMs of two sites ({table['comparator'][0]})",
            row_label="Site",
            column_label="Site",
            diverging=min(known, default=0.0) < 0,
        ),
        "depth_layers",
        lead="Does the model keep one map of the emotions from layer to layer, or draw it anew?",
        title="Likeness of the emotion spaces of every two sites",
        caption=(
            f"{n + '. ' if n else ''}Each cell compares the emotion space of one site with that of another; the "
            "diagonal is a site with itself and is left empty. The raw residual is the baseline: where its matrix "
            "looks the same, what depth keeps is kept without the autoencoder. 0 is what emotions in random order give "
            "on average."
        ),
        alt="; ".join(
            f"{name}: likeness of two sites {number(np.nanmin(matrix))} to {number(np.nanmax(matrix))}"
            for name, matrix in matrices.items()
            if np.isfinite(matrix).any()
        )
        + f"; {len(order)} sites. The table below has every pair.",
    )


def _table(run: Run, table: pl.DataFrame, spaces: list[str], order: list[str]) -> Table:
    at = {site: row for row, site in enumerate(order)}
    cells: list[list[str]] = []
    marked = []
    for space in spaces:
        own = table.filter(pl.col("space") == space).iter_rows(named=True)
        for row in sorted(own, key=lambda row: sorted((at.get(row["site_a"], 0), at.get(row["site_b"], 0)))):
            if role(split_language(space, run.languages)[0]) == "features":
                marked.append(len(cells))
            cells.append(
                [
                    readable(space, run.languages),
                    shorten(row["site_a"], 50),
                    shorten(row["site_b"], 50),
                    *likeness_cells(row),
                ]
            )
    return Table(
        caption="Every space at every two sites. p is that of permuted emotions, one pair at a time.",
        columns=[
            Column("Space", False),
            Column("Site", False),
            Column("Other site", False),
            *LIKENESS_COLUMNS,
        ],
        rows=cells,
        marked=frozenset(marked),
        folded=True,
    )
