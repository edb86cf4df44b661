"""What lies behind the likeness: more than valence, the meaning of the axes, the spaces among each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.intervals import draw_intervals
from emosae.report.names import language_name, readable, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.likeness import headline_rows, in_order, space_role
from emosae.report.sections.space import FEATURES, HUMAN_MAP
from emosae.report.sections.wording import counted, interval_name, range_of
from emosae.report.source import Run, Stage
from emosae.report.tables import finite, generic_table
from emosae.report.text import count, interval, number, p_value, shorten

__all__ = ["axes_blocks", "between_blocks", "beyond_blocks"]


def beyond_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Tell whether the likeness goes beyond valence, and how well the maps fit."""
    tests = stage.table("tests", "test", "space", "statistic", "p")
    if tests.is_empty():
        return []
    beyond = tests.filter(pl.col("test") == "beyond_valence")
    blocks: list[Block] = []
    if beyond.height:
        roles = {row["space"]: row.get("role") for row in headline_rows(stage).iter_rows(named=True)}
        listed = in_order(
            ({**row, "role": roles.get(row["space"])} for row in beyond.iter_rows(named=True)), run
        )
        rows = [
            [
                readable(row["space"], run.languages),
                number(row["statistic"]),
                number(row.get("expected")),
                p_value(row["p"]),
                count(row.get("n_permutations")),
            ]
            for row in listed
        ]
        own = [split_language(row["space"], run.languages)[0] == FEATURES for row in listed]
        blocks += [
            _beyond_figure(run, stage, listed, canvas),
            Paragraph(
                "What valence explains is taken out of the model's space, what is left is shuffled over the "
                f"emotions, and the likeness to {run.voice.who} computed again. A small p says that the model "
                f"shares more with {run.voice.who} than valence.",
                quiet=True,
            ),
            Table(
                caption="Likeness beyond valence",
                columns=[
                    Column("Space", False),
                    Column("likeness"),
                    Column("expected from valence alone"),
                    Column("p"),
                    Column("permutations"),
                ],
                rows=rows,
                marked=frozenset(index for index, mine in enumerate(own) if mine),
                folded=True,
            ),
        ]
    turned = (
        tests.filter((pl.col("test") == "procrustes") & (pl.col("other") == HUMAN_MAP))
        if "other" in tests.columns
        else tests.head(0)
    )
    if turned.height:
        rows = [
            [readable(row["space"], run.languages), number(row["statistic"]), p_value(row["p"])]
            for row in turned.iter_rows(named=True)
        ]
        blocks.append(
            Table(
                caption=f"How well each map fits {run.voice.map} when turned onto it (Procrustes, leading axes)",
                columns=[Column("Space", False), Column("correlation"), Column("p")],
                rows=rows,
                marked=_features(run, turned),
                folded=True,
            )
        )
    return blocks


def _beyond_figure(run: Run, stage: Stage, rows: list[Mapping[str, Any]], canvas: Canvas) -> Block:
    bars = [
        Bar(
            name=f"{readable(row['space'], run.languages)}, p = {p_value(row['p'])}",
            role=space_role(row, run.languages),
            value=finite(row["statistic"]),
            mark=finite(row.get("expected")),
        )
        for row in rows
    ]
    comparator = str(rows[0].get("comparator") or stage.values.get("comparator") or "likeness")
    panel = Panel(title="Likeness and its valence part", bars=bars, axis=f"Likeness ({comparator})")
    size = counted(rows[0].get("n_concepts"), "emotion")
    return canvas.add(
        draw_bars([panel], mark="expected where valence is all that is shared"),
        "beyond_valence",
        lead="Is there more in the model's emotions than pleasant against unpleasant?",
        title="Likeness beyond valence",
        caption=(
            f"{size + '. ' if size else ''}The diamond is the null: the mean likeness when everything but valence is "
            "shuffled. A bar that ends well to the right of its diamond shares more than valence; p is the share of "
            f"{count(rows[0].get('n_permutations'))} shuffles that reach the bar."
        ),
        alt="; ".join(f"{bar.name}: {number(bar.value)}, expected {number(bar.mark)}" for bar in bars),
    )


def _features(run: Run, table: pl.DataFrame) -> frozenset[int]:
    names = [split_language(name, run.languages)[0] for name in table["space"].to_list()]
    return frozenset(index for index, name in enumerate(names) if name == FEATURES)


def axes_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Tell how the axes of each map follow valence and arousal."""
    axes = stage.table("axes", "space", "method", "axis", "attribute", "r")
    if axes.is_empty():
        return []
    size = range_of(axes["n_concepts"].to_list(), "emotion") if "n_concepts" in axes.columns else ""
    over = f", over {size}" if size else ""
    groups: dict[str, dict[str, tuple[float | None, float | None, float | None]]] = {}
    shown = axes.filter(pl.col("method") == "mds")
    for row in shown.iter_rows(named=True):
        base = split_language(row["space"], run.languages)[0]
        if base not in {FEATURES, HUMAN_MAP}:
            continue
        share = finite(row.get("explained"))
        name = f"{_named(run, row['space'])}, axis {row['axis']}" + (
            f" ({share:.0%})" if share is not None else ""
        )
        groups.setdefault(name, {})[row["attribute"]] = (
            finite(row["r"]),
            finite(row.get("ci_low")),
            finite(row.get("ci_high")),
        )
    blocks: list[Block] = []
    if groups:
        blocks.append(
            canvas.add(
                draw_intervals(groups, axis=f"Correlation of the axis with {run.voice.ratings} (size of r)"),
                "axes",
                lead=(
                    "Does the map's main direction run from unpleasant to pleasant, and the next from calm to excited?"
                ),
                title="What the axes of each map mean",
                caption=(
                    "How strongly the emotions' places on each axis follow their valence and their "
                    f"arousal in {run.voice.ratings}{over}; lines are the "
                    f"{interval_name(run, 'geometry', 'emotions')}. The share in brackets is what the axis holds of "
                    "the map. The sign of an axis is arbitrary, so sizes are shown; an interval that reaches "
                    "below zero means that the sign is not settled."
                ),
                alt="; ".join(
                    f"{name}: " + ", ".join(f"{key} {number(value[0])}" for key, value in group.items())
                    for name, group in groups.items()
                ),
            )
        )
    named = axes.with_columns(
        pl.col("space").map_elements(lambda name: _named(run, name), return_dtype=pl.String)
    )
    blocks.append(
        generic_table(
            named, f"Axes of every space and their correlation with {run.voice.ratings}", folded=True
        )
    )
    return blocks


def between_blocks(run: Run, stage: Stage) -> list[Block]:
    """Tell how like the spaces are to each other, languages first."""
    between = stage.table("between", "space_a", "space_b", "score")
    if between.is_empty():
        return []
    blocks: list[Block] = []
    for row in between.iter_rows(named=True):
        (a, one), (b, other) = (split_language(row[side], run.languages) for side in ("space_a", "space_b"))
        if a == b == FEATURES and one and other:
            text = f"The feature spaces of {language_name(one)} and {language_name(other)} are alike by "
            text += f"{number(row['score'])} ({shorten(row.get('comparator', ''), 20)}"
            if finite(row.get("ci_low")) is not None:
                text += f", interval {interval(row['ci_low'], row.get('ci_high'))}"
            text += f", p = {p_value(row['p'])})." if finite(row.get("p")) is not None else ")."
            blocks.append(Paragraph(text))
    named = between.with_columns(
        pl.col("space_a", "space_b").map_elements(
            lambda name: readable(name, run.languages), return_dtype=pl.String
        )
    )
    caption = "Likeness of every two spaces to each other"
    return [*blocks, generic_table(named, caption, folded=True)]


def _named(run: Run, space: str) -> str:
    return run.voice.who if space == HUMAN_MAP else readable(space, run.languages)
