"""Whether the model can be steered: every way side by side, and the parts that go deeper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Listing, Paragraph, Section, Table, Words
from emosae.report.sections.steering_causes import necessity_blocks, transfer_blocks
from emosae.report.sections.steering_doses import MEASURES, dose_blocks
from emosae.report.sections.steering_names import (
    METHODS,
    classifier_words,
    method_name,
    method_role,
    texts_counted,
)
from emosae.report.sections.steering_sense import sense_blocks
from emosae.report.sections.steering_texts import expressed_blocks, sample_blocks
from emosae.report.sections.wording import counted
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import interval, number, shorten

__all__ = ["steering_section"]

_ALL = "all"


def steering_section(run: Run, stage: Stage | None, canvas: Canvas, anchor: str) -> Section | None:
    """Build the section; None where the run did not steer."""
    if stage is None or stage.table("methods", "method", "language", "score").is_empty():
        return None
    blocks: list[Block] = [Paragraph(shorten(stage.values.get("verdict", ""), 400))]
    blocks += _methods(run, stage, canvas)
    notes = [shorten(note, 400) for note in stage.values.get("notes") or []]
    parts = [
        ("doses", "Doses", dose_blocks(run, stage, canvas)),
        ("expressed", "Meant and expressed", expressed_blocks(run, stage, canvas)),
        ("transfer", "Across languages", transfer_blocks(run, stage, canvas)),
        ("sense", "Sense, not words", sense_blocks(run, stage, canvas)),
        ("necessity", "Necessity", necessity_blocks(run, stage, canvas)),
        ("samples", "Samples side by side", sample_blocks(run, stage)),
    ]
    if notes:
        blocks.append(Listing(notes))
    return Section(
        anchor=anchor,
        title="Steering",
        blocks=blocks,
        sections=[
            Section(anchor=f"{anchor}-{end}", title=title, blocks=own) for end, title, own in parts if own
        ],
    )


def _methods(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    table = stage.table("methods", "method", "language", "score", "rate", "content", "fluency")
    rows = {row["method"]: row for row in table.filter(pl.col("language") == _ALL).iter_rows(named=True)}
    order = [method for method in METHODS if method in rows]
    anchor, second = finite(stage.values.get("content_anchor")), stage.values.get("second_classifier")
    panels = [
        Panel(
            title=title,
            axis=f"{'Score' if name == 'score' else title.split(':')[0]} (0 to 1)",
            bars=[
                Bar(
                    name=method_name(method),
                    role=method_role(method),
                    value=finite(rows[method][name]),
                    low=finite(rows[method].get(f"{name}_low")),
                    high=finite(rows[method].get(f"{name}_high")),
                    mark=finite(rows[method].get("second_rate")) if name == "rate" and second else None,
                )
                for method in order
            ],
            ceiling=(anchor, anchor) if name == "content" and anchor is not None else None,
        )
        for name, title in MEASURES.items()
    ]
    n = counted(rows[order[0]].get("n_emotions"), "emotion")
    figure = canvas.add(
        draw_bars(
            panels,
            whisker="95% interval over openings",
            mark=f"target rate by {shorten(second, 30)}",
            ceiling="content that unsteered texts of different openings share",
        ),
        "steering_methods",
        lead="Which way of steering turns a text to an emotion, and keeps what it says and how well it reads?",
        title="Ways of steering side by side",
        caption=(
            f"Means over {n} and all languages, {texts_counted(stage)}, the same openings and the same noise for every "
            "method; features and doses were chosen on other openings. Target rate: share of texts that "
            f"turn to the emotion that was meant, told by "
            f"{classifier_words(stage.values.get('classifier'))}. "
            "Content: cosine of mean hidden states with the "
            "unsteered text of the same opening; left of the line a text shares less with it than "
            "unsteered texts of different openings share with each other. "
            "Fluency: 1 within the bounds of perplexity, distinct pairs and repeats, else how near the worst of them "
            "is to its bound. Unsteered text has nothing to lose in content and fluency."
        ),
        alt="; ".join(
            f"{method_name(m)}: score {number(rows[m]['score'])}, rate {number(rows[m]['rate'])}"
            for m in order
        ),
    )
    return [figure, _method_table(run, stage, table, order)]


def _method_table(run: Run, stage: Stage, table: pl.DataFrame, order: Sequence[str]) -> Table:
    cells: list[list[str | Words]] = []
    marked: list[int] = []
    second = stage.values.get("second_classifier")
    for method in order:
        for row in table.filter(pl.col("method") == method).iter_rows(named=True):
            if method == stage.values.get("main"):
                marked.append(len(cells))
            cells.append(
                [
                    method_name(method),
                    "all" if row["language"] == _ALL else language_name(row["language"]),
                    number(row["score"]),
                    interval(row.get("score_low"), row.get("score_high")),
                    _difference(row) if method != stage.values.get("main") else "\u2013",
                    number(row["rate"]),
                    *([number(row.get("second_rate"))] if second else []),
                    number(row["content"]),
                    number(row.get("overlap")),
                    number(row["fluency"]),
                    number(row.get("perplexity_ratio"), 2),
                    number(row.get("distinct_2_ratio"), 2),
                    number(row.get("repeated_4")),
                    number(row.get("valence"), 2),
                    number(row.get("arousal"), 2),
                ]
            )
    columns = [Column("Method", False), Column("Language", False), Column("score"), Column("interval")]
    columns += [Column("score less the features'"), Column("target rate")]
    columns += [Column(f"rate by {shorten(second, 30)}")] if second else []
    columns += [Column("content"), Column("tokens shared"), Column("fluency"), Column("perplexity ratio")]
    columns += [
        Column("distinct pairs, ratio"),
        Column("repeated fours"),
        Column("valence"),
        Column("arousal"),
    ]
    return Table(
        caption="Every way of steering in every language, at the doses chosen on other openings. Valence and arousal "
        "are the means of the text's rated words, \u22121 to 1.",
        columns=columns,
        rows=cells,
        marked=frozenset(marked),
        folded=True,
    )


def _difference(row: Mapping[str, Any]) -> str:
    ends = finite(row.get("difference_low")), finite(row.get("difference_high"))
    text = number(row.get("difference"))
    return text if None in ends else f"{text} ({interval(*ends)})"
