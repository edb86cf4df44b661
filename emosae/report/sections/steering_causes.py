"""Two causal tests: features of one language while another is written, and an emotion's features taken away."""

from __future__ import annotations

import numpy as np
import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.heatmaps import draw_heatmaps
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.steering_names import set_name
from emosae.report.sections.wording import bars_in_words
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import concept_name, interval, number

__all__ = ["necessity_blocks", "transfer_blocks"]


def transfer_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show each set of features in each language that was written; nothing where there was one language."""
    table = stage.table("transfer", "set", "emotion", "language", "rate", "score")
    own = table.filter(pl.col("emotion") == "all")
    if own.is_empty():
        return []
    panels = []
    for language in run.languages:
        shown = list(own.filter(pl.col("language") == language).iter_rows(named=True))
        bars = [
            Bar(
                name=set_name(row["set"]),
                role="control"
                if row["set"] == "control"
                else "features"
                if row["set"] == "universal"
                else "subset",
                value=finite(row["rate"]),
                low=finite(row.get("rate_low")),
                high=finite(row.get("rate_high")),
            )
            for row in shown
        ]
        panels.append(
            Panel(title=f"{language_name(language)} is written", bars=bars, axis="Target rate (0 to 1)")
        )
    figure = canvas.add(
        draw_bars(panels, whisker="95% interval over openings"),
        "steering_transfer",
        lead="Do features that were found in one language steer the other?",
        title="Transfer across languages",
        caption="Features chosen from one language alone, clamped while each language is written: the same emotions, "
        "openings and doses for every set, each set with the same push. A language alone: features that no other "
        "language chooses. Matched control: features of like density and activation that no emotion selects.",
        alt=bars_in_words(panels, 2),
    )
    rows = [
        [
            set_name(row["set"]),
            concept_name(row["emotion"]),
            language_name(row["language"]),
            number(row.get("n_features"), 1),
            number(row["rate"], 2),
            interval(row.get("rate_low"), row.get("rate_high"), 2),
            number(row.get("content"), 2),
            number(row.get("fluency"), 2),
            number(row["score"], 2),
        ]
        for row in table.iter_rows(named=True)
    ]
    titles = ("features", "target rate", "interval", "content", "fluency", "score")
    heads = [Column("Set", False), Column("Emotion", False), Column("Written", False), *map(Column, titles)]
    return [figure, Table(caption="Each set, emotion and language", columns=heads, rows=rows, folded=True)]


def necessity_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show what is lost without each emotion's features; nothing where no passages were read."""
    needed = (
        "ablated",
        "emotion",
        "language",
        "fall",
        "fall_control",
        "difference",
        "right",
        "right_ablated",
    )
    table = stage.table("necessity", *needed)
    if table.is_empty():
        return []
    emotions = table["ablated"].unique(maintain_order=True).to_list()
    columns = [name for name in emotions if name in table["emotion"].to_list()]
    matrices, said = {}, []
    for language in run.languages:
        own = table.filter(pl.col("language") == language)
        if own.is_empty():
            continue
        matrix = np.full((len(emotions), len(columns)), np.nan)
        for ablated, emotion, difference in own.select("ablated", "emotion", "difference").rows():
            matrix[emotions.index(ablated), columns.index(emotion)] = difference
        matrices[language_name(language)] = matrix
        said.append(_sentence(language_name(language), own))
    figure = canvas.add(
        draw_heatmaps(
            matrices,
            emotions,
            columns,
            label="Fall of the right word's log-probability beyond the control's (nats)",
            row_label="Features ablated",
            column_label="Emotion of the passage",
            diverging=True,
        ),
        "steering_necessity",
        lead="Does the model still know what a passage feels when an emotion's features are taken away as it reads?",
        title="What each emotion's features are needed for",
        caption="The model reads a passage and is asked for its emotion. A cell is how much further the "
        "log-probability of the passage's emotion words falls without the features of the row's emotion than without "
        "matched control features. The diagonal is an emotion's own features; features that serve one "
        "emotion alone leave the rest at 0.",
        alt="; ".join(said),
    )
    rows = [
        [
            concept_name(row["ablated"]),
            language_name(row["language"]),
            number(row.get("log_probability"), 2),
            number(row["fall"], 2),
            number(row["fall_control"], 2),
            number(row["difference"], 2),
            interval(row.get("difference_low"), row.get("difference_high"), 2),
            number(row["right"], 2),
            number(row["right_ablated"], 2),
        ]
        for row in table.filter(pl.col("ablated") == pl.col("emotion")).iter_rows(named=True)
    ]
    titles = ("log-probability", "fall", "fall, control", "difference", "interval")
    heads = [Column("Emotion", False), Column("Language", False), *map(Column, titles)]
    heads += [Column("right emotion first"), Column("right, ablated")]
    caption = "Each emotion's own features: log-probability (nats) of its words after its passages"
    return [
        figure,
        *(Paragraph(text) for text in said),
        Table(caption=caption, columns=heads, rows=rows, folded=True),
    ]


def _sentence(language: str, own: pl.DataFrame) -> str:
    same = own.filter(pl.col("ablated") == pl.col("emotion"))
    other = own.filter(pl.col("ablated") != pl.col("emotion"))
    text = (
        f"{language}: without an emotion's own features its words lose {number(same['fall'].mean(), 2)} nats in the "
        f"mean, without matched controls {number(same['fall_control'].mean(), 2)}"
    )
    if other.height:
        text += f", and without another emotion's features {number(other['fall'].mean(), 2)}"
    return text + "."
