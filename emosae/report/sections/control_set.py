"""Concepts without feeling, such as tools and animals: do they lie along the model's valence as emotions do?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import readable, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.likeness import headline_rows, in_order, space_role
from emosae.report.sections.space import FEATURES
from emosae.report.sections.wording import counted, interval_name
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import concept_name, count, interval, number, p_value

__all__ = ["control_blocks"]

_NEEDED = ("space", "r_valence", "share", "statistic", "expected", "p")
_ENDS = 4  # control concepts named at either end of the direction


def control_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show the control set beside the emotions; nothing where the study read none."""
    table = stage.table("control", *_NEEDED)
    if table.is_empty():
        return []
    roles = {row["space"]: row.get("role") for row in headline_rows(stage).iter_rows(named=True)}
    rows = in_order(({**row, "role": roles.get(row["space"])} for row in table.iter_rows(named=True)), run)
    blocks: list[Block] = []
    if any(finite(row["share"]) is not None for row in rows):
        blocks.append(_figure(run, rows, canvas))
    blocks.append(_table(run, rows))
    return blocks + _extremes(run, stage)


def _figure(run: Run, rows: list[Mapping[str, Any]], canvas: Canvas) -> Block:
    names = [readable(row["space"], run.languages) for row in rows]
    pairs = [(name, space_role(row, run.languages), row) for name, row in zip(names, rows, strict=True)]
    spread = [
        Bar(
            name=name,
            role=role,
            value=finite(row["share"]),
            low=finite(row.get("ci_low")) if finite(row["share"]) is not None else None,
            high=finite(row.get("ci_high")),
        )
        for name, role, row in pairs
    ]
    held = [
        Bar(name=name, role=role, value=finite(row["statistic"]), mark=finite(row["expected"]))
        for name, role, row in pairs
    ]
    n = counted(rows[0].get("n_control"), "control concept")
    size = f"{n} and {counted(rows[0].get('n_concepts'), 'emotion')}. " if n else ""
    return canvas.add(
        draw_bars(
            [
                Panel(
                    title="Spread along valence", bars=spread, axis="Spread over the emotions' own (ratio)"
                ),
                Panel(title="What valence holds of them", bars=held, axis="Share of their variance (0 to 1)"),
            ],
            whisker=interval_name(run, "geometry", "concepts"),
            mark="expected for shuffled valence",
        ),
        "control_set",
        lead=(
            "Would concepts without feeling, such as tools and animals, look pleasant or unpleasant to the same "
            "features? They should not."
        ),
        title="The control set on the emotions' direction of valence",
        caption=(
            f"{size}Left: how far the control concepts spread along the direction that the emotions' valence takes in "
            "each space; 1 would be as far as the emotions, 0 not at all. Right: how much of all that tells them apart "
            "lies on that direction; the diamond is the null, directions learnt from shuffled valence. A bar that "
            "reaches no further than its diamond gives no sign of valence, which is no proof that there is none: read "
            "the left panel beside it."
            + (
                " Not computed: the emotions show no direction of valence in that space."
                if any(bar.value is None for bar in (*spread, *held))
                else ""
            )
        ),
        alt="; ".join(
            f"{bar.name}: spread {number(bar.value)}, share {number(other.value)}, expected {number(other.mark)}"
            for bar, other in zip(spread, held, strict=True)
        ),
    )


def _table(run: Run, rows: list[Mapping[str, Any]]) -> Table:
    cells = [
        [
            readable(row["space"], run.languages),
            number(row["r_valence"]),
            number(row["share"]),
            interval(row.get("ci_low"), row.get("ci_high")),
            number(row["statistic"]),
            number(row["expected"]),
            p_value(row["p"]),
            count(row.get("n_control")),
        ]
        for row in rows
    ]
    own = [split_language(row["space"], run.languages)[0] == FEATURES for row in rows]
    return Table(
        caption="Concepts without feeling along the emotions' valence. A small p says that they do lie along it.",
        columns=[
            Column("Space", False),
            Column("emotions' valence predicted, r"),
            Column("spread, emotions = 1"),
            Column("interval"),
            Column("share of variance"),
            Column("expected by chance"),
            Column("p"),
            Column("control concepts"),
        ],
        rows=cells,
        marked=frozenset(index for index, mine in enumerate(own) if mine),
        folded=True,
    )


def _extremes(run: Run, stage: Stage) -> list[Block]:
    """Name the control concepts that lie furthest either way in the feature spaces."""
    places = stage.table("control_coordinates", "space", "concept", "valence_predicted")
    texts: list[Block] = []
    for (space,), own in places.group_by("space", maintain_order=True):
        known = own.filter(pl.col("valence_predicted").cast(pl.Float64, strict=False).is_finite())
        if split_language(str(space), run.languages)[0] != FEATURES or known.height < 2 * _ENDS:
            continue
        order = [concept_name(name) for name in known.sort("valence_predicted", "concept")["concept"]]
        texts.append(
            Paragraph(
                f"{readable(str(space), run.languages)}: furthest to the unpleasant side lie "
                f"{', '.join(order[:_ENDS])}, to the pleasant side {', '.join(order[: -_ENDS - 1 : -1])}.",
                quiet=True,
            )
        )
    return texts
