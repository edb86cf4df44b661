"""Sense, not words: how well an emotion's features tell passages that do not name it."""

from __future__ import annotations

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Table
from emosae.report.sections.steering_names import METHODS, method_name, set_name
from emosae.report.sections.wording import bars_in_words, range_of
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import concept_name, count, interval, number

__all__ = ["sense_blocks"]


def sense_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show how well features tell passages; nothing where no passages were read."""
    table = stage.table("sense", "set", "emotion", "language", "n_passages", "n_naming", "auroc")
    if table.is_empty():
        return []
    sets = [name for name in [*METHODS, "control"] if name in table["set"].to_list()]
    panels = []
    for language in run.languages:
        own = table.filter(pl.col("language") == language)
        if own.is_empty():
            continue
        bars = []
        for name in sets:
            areas = [
                value for value in own.filter(pl.col("set") == name)["auroc"] if finite(value) is not None
            ]
            bars.append(
                Bar(
                    name=_name(name),
                    role="control" if name == "control" else "features",
                    value=sum(areas) / len(areas) if areas else None,
                    spread=(min(areas), max(areas)) if areas else None,
                )
            )
        panels.append(
            Panel(
                title=language_name(language),
                bars=bars,
                axis="Area under the ROC curve (0.5 is chance)",
                ceiling=(0.5, 0.5),
            )
        )
    if not panels:
        return []
    n, left = range_of(table["n_passages"].to_list(), "passage"), int(table["n_naming"].max() or 0)  # type: ignore[arg-type]
    figure = canvas.add(
        draw_bars(panels, spread="least to greatest of the emotions", ceiling="chance"),
        "steering_sense",
        lead="Do the features know the emotion, or only its words?",
        title="Passages that carry an emotion and do not name it",
        caption=f"Passages that chose nothing, {n} of an emotion and language, told from those of the other emotions "
        "by the emotion's features alone: the sum of their mean activations, each times its target. Means over "
        "emotions. A passage in which a word of its emotion stands is left out"
        + (f" (at most {count(left)} of one emotion)" if left else "")
        + ". Matched control: features of like density and activation that no emotion selects.",
        alt=bars_in_words(panels, 2),
    )
    rows = [
        [
            _name(row["set"]),
            concept_name(row["emotion"]),
            language_name(row["language"]),
            count(row["n_passages"]),
            count(row.get("n_others")),
            count(row["n_naming"]),
            number(row["auroc"], 2),
            interval(row.get("auroc_low"), row.get("auroc_high"), 2),
        ]
        for row in table.iter_rows(named=True)
    ]
    titles = ("passages", "of other emotions", "left out for a word", "AUROC", "interval")
    heads = [
        Column("Features", False),
        Column("Emotion", False),
        Column("Language", False),
        *map(Column, titles),
    ]
    caption = "Each emotion's passages told from the others', with 95 % intervals over passages"
    return [figure, Table(caption=caption, columns=heads, rows=rows, folded=True)]


def _name(name: str) -> str:
    return set_name(name) if name == "control" else method_name(name)
