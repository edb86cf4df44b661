"""The steered texts themselves: which emotion they turn to, and samples of every method side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from emosae.report.heatmaps import draw_heatmaps
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Listing, Paragraph, Table
from emosae.report.sections.steering_names import METHODS, classifier_words, method_name, texts_counted
from emosae.report.source import Run, Stage
from emosae.report.text import NOT_COMPUTED, concept_name, number, shorten

__all__ = ["expressed_blocks", "sample_blocks"]


def expressed_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show which emotion texts turn to, for each that was meant; nothing where no text was classified."""
    table = stage.table("expressed", "method", "language", "intended", "expressed", "share")
    own = table.filter(pl.col("method") == stage.values.get("main"))
    if own.is_empty():
        return []
    rows = own["intended"].unique(maintain_order=True).to_list()
    shares = own.group_by("expressed", maintain_order=True).agg(pl.col("share").sum())
    told = shares.sort("share", descending=True, maintain_order=True)["expressed"]
    others = [name for name in told if name not in rows and name != "none"]
    columns = [*rows, *others[:8], *(["other"] if len(others) > 8 else []), "none"]
    matrices = {}
    for language in run.languages:
        part = own.filter(pl.col("language") == language)
        if part.height:
            matrix = np.zeros((len(rows), len(columns)))
            for intended, name, share in part.select("intended", "expressed", "share").rows():
                matrix[rows.index(intended), columns.index(name if name in columns else "other")] += share
            matrices[language_name(language)] = matrix
    return [
        canvas.add(
            draw_heatmaps(
                matrices,
                rows,
                columns,
                label="Share of texts (0 to 1)",
                row_label="Meant",
                column_label="Expressed",
            ),
            "steering_expressed",
            lead="When a text misses the emotion that was meant, which one does it turn to?",
            title="Emotion meant and emotion expressed",
            caption=f"{method_name(str(stage.values.get('main')))} at the chosen doses, {texts_counted(stage)}, told "
            f"by {classifier_words(stage.values.get('classifier'))}; each row sums to 1. None: no emotion.",
            alt="; ".join(
                f"{title}: on the diagonal {', '.join(number(m[i, i], 2) for i in range(len(rows)))}"
                for title, m in matrices.items()
            ),
        )
    ]


def sample_blocks(run: Run, stage: Stage) -> list[Block]:
    """Show how every method goes on from the first opening of each language."""
    needed = ("method", "emotion", "language", "dose", "prompt", "seed", "opening", "text", "label")
    texts = stage.table("texts", *needed)
    doses = stage.table("doses", "method", "emotion", "dose")
    if texts.is_empty() or doses.is_empty():
        return []
    chosen = {
        (method, emotion): dose for method, emotion, dose in doses.select("method", "emotion", "dose").rows()
    }
    firsts = texts.filter((pl.col("prompt") == 0) & (pl.col("seed") == texts["seed"].min()))
    openings = dict(firsts.select("language", "opening").rows())
    languages = [language for language in run.languages if language in openings]
    lines = [f"{language_name(language)}: {shorten(openings[language], 300)}" for language in languages]
    blocks: list[Block] = [
        Paragraph(
            "The first opening of each language, not picked, and how each method goes on from it:", True
        ),
        Listing(lines),
    ]
    emotions = [emotion for emotion in firsts["emotion"].unique(maintain_order=True) if emotion]
    for number_of, emotion in enumerate(emotions):
        rows = []
        for method in METHODS:
            dose = chosen.get((method, emotion), 0.0)
            own = firsts.filter(
                (pl.col("method") == method)
                & pl.col("emotion").is_in([emotion, ""])
                & (pl.col("dose") == dose)
            )
            found = {row["language"]: row for row in own.iter_rows(named=True)}
            if found:
                rows.append([method_name(method), *(_sample(found.get(language)) for language in languages)])
        blocks.append(
            Table(
                caption=f"Meant: {concept_name(emotion)}; in brackets what the classifier calls it",
                columns=[
                    Column("Method", False),
                    *(Column(language_name(each), False) for each in languages),
                ],
                rows=rows,
                folded=number_of > 0,
            )
        )
    return blocks


def _sample(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NOT_COMPUTED
    return f"{shorten(row['text'], 280)} [{shorten(row['label'] or 'none', 30)}]"
