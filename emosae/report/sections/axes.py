"""What lies behind the likeness: more than valence, the meaning of the axes, the spaces among each other."""

from __future__ import annotations

import polars as pl

from emosae.report.bars import draw_intervals
from emosae.report.names import language_name, readable, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.space import FEATURES, HUMAN_MAP
from emosae.report.source import Run, Stage
from emosae.report.tables import finite, generic_table
from emosae.report.text import count, interval, number, p_value, shorten

__all__ = ["axes_blocks", "between_blocks", "beyond_blocks"]


def beyond_blocks(run: Run, stage: Stage) -> list[Block]:
    """Tell whether the likeness goes beyond valence, and how well the maps fit."""
    tests = stage.table("tests", "test", "space", "statistic", "p")
    if tests.is_empty():
        return []
    beyond = tests.filter(pl.col("test") == "beyond_valence")
    blocks: list[Block] = []
    if beyond.height:
        rows = [
            [
                readable(row["space"], run.languages),
                number(row["statistic"]),
                number(row.get("expected")),
                p_value(row["p"]),
                count(row.get("n_permutations")),
            ]
            for row in beyond.iter_rows(named=True)
        ]
        blocks += [
            Paragraph(
                "Is there more than pleasant against unpleasant? What valence explains is taken out of "
                "the model's space, what is left is shuffled over the emotions, and the likeness to "
                f"{run.voice.who} computed again. A small p says that the model shares more with "
                f"{run.voice.who} than valence.",
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
                marked=_features(run, beyond),
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


def _features(run: Run, table: pl.DataFrame) -> frozenset[int]:
    names = [split_language(name, run.languages)[0] for name in table["space"].to_list()]
    return frozenset(index for index, name in enumerate(names) if name == FEATURES)


def axes_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Tell how the axes of each map follow valence and arousal."""
    axes = stage.table("axes", "space", "method", "axis", "attribute", "r")
    if axes.is_empty():
        return []
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
                title="What the axes of each map mean",
                caption=(
                    "How strongly the emotions' places on each axis follow their valence and their "
                    f"arousal in {run.voice.ratings}. The share in brackets is what the axis holds of the "
                    "map. The sign of an axis is arbitrary, so sizes are shown; an interval that reaches "
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
