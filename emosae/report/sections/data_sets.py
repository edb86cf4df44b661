"""Data sets of ratings: which words and figures belong to which, and several of one language side by side."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name, role
from emosae.report.page import Block, Canvas, Column, FigureBlock, Paragraph, Table
from emosae.report.sections.ratings_names import cells_of, predictor_name, score_of
from emosae.report.sections.wording import bars_in_words, interval_name
from emosae.report.source import Run, Stage
from emosae.report.tables import finite, known
from emosae.report.text import count, interval, number, shorten

__all__ = ["data_set_blocks", "names_of", "scores_by_data_set", "studies_of"]

_SCORES = ("predictor", "target", "language", "r")
_BESIDE = ("residual", "embedding", "matched_control")


def studies_of(stage: Stage) -> list[tuple[list[str], Stage]]:
    """Return the studies of a ratings stage: the data sets of each, and the stage's tables of these alone.

    One study with the whole stage where the run does not say which data sets it had.
    """
    sets = stage.table("data_sets", "norms", "language", "study")
    found = []
    for (_,), own in sets.group_by("study", maintain_order=True):
        names = own["norms"].to_list()
        tables = {
            key: table.filter(pl.col("norms").is_in(names)) if "norms" in table.columns else table
            for key, table in stage.tables.items()
        }
        values = dict(stage.values)
        if "n_excluded" in own.columns:
            values["n_excluded"] = own["n_excluded"][0]
        found.append((names, Stage(tables=tables, values=values)))
    return found or [([], stage)]


def names_of(stage: Stage) -> dict[str, str]:
    """Return the data set of each language of one study; empty where the run does not say."""
    sets = stage.table("data_sets", "norms", "language")
    return {language: shorten(name, 40) for name, language in sets.select("norms", "language").iter_rows()}


def scores_by_data_set(stage: Stage | None) -> list[tuple[str, pl.DataFrame]]:
    """Return the scores of each study, with the data set's name where its language has several.

    The first study may hold several languages; its name is empty where each of them has one data set.
    """
    if stage is None:
        return []
    sets = stage.table("data_sets", "norms", "language")
    several = set(sets.filter(pl.col("language").is_duplicated())["language"].to_list())
    found: list[tuple[str, pl.DataFrame]] = []
    for _, study in studies_of(stage):
        scores = study.table("scores", *_SCORES)
        for (language,), own in scores.group_by("language", maintain_order=True):
            name = names_of(study).get(str(language), "") if language in several else ""
            found.append((name, own))
    return found


def data_set_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Set the data sets side by side: a figure, a table, and how far two of one language agree."""
    parts = scores_by_data_set(stage)
    return [_figure(run, parts, canvas), _table(parts), *_agreement(stage)]


def _title(name: str, language: str) -> str:
    return f"{name}, {language_name(language)}" if name else language_name(language)


def _figure(run: Run, parts: Sequence[tuple[str, pl.DataFrame]], canvas: Canvas) -> FigureBlock:
    panels = []
    for name, scores in parts:
        for language, target in cells_of(scores):
            rows = [(each, score_of(scores, language, target, each)) for each in ("features", *_BESIDE)]
            bars = [
                Bar(
                    name=predictor_name(each),
                    role=role(each),
                    value=finite(row.get("r")),
                    low=finite(row.get("r_low")),
                    high=finite(row.get("r_high")),
                )
                for each, row in rows
                if row
            ]
            top = next((finite(row.get("ceiling")) for _, row in rows if row), None)
            panels.append(
                Panel(
                    title=f"{target.capitalize()}, {_title(name, language)}",
                    bars=bars,
                    axis="Correlation r with ratings",
                    ceiling=None if top is None else (top, top),
                )
            )
    return canvas.add(
        draw_bars(panels, whisker=interval_name(run, "ratings", "words"), shared=True),
        "ratings_data_sets",
        lead="Does the answer depend on whose ratings are asked?",
        title=f"Held-out correlation with {run.voice.ratings}, one data set beside the other",
        caption=(
            "Every data set is a study of its own: its own words, folds and regressions, on the same readings of the "
            "words. Their words differ in number and kind, so a higher bar need not mean better ratings. 0 is what a "
            "prediction that knows nothing gives."
        ),
        alt=bars_in_words(panels),
    )


def _table(parts: Sequence[tuple[str, pl.DataFrame]]) -> Table:
    rows = []
    for name, scores in parts:
        for language, target in cells_of(scores):
            own = score_of(scores, language, target, "features")
            beside = [score_of(scores, language, target, each) for each in _BESIDE]
            rows.append(
                [
                    _title(name, language),
                    target,
                    count(own.get("n_words")),
                    number(own.get("r")),
                    interval(own.get("r_low"), own.get("r_high")),
                    *(number(row.get("r")) for row in beside),
                    known(own.get("ceiling")),
                    known(own.get("r_disattenuated")),
                ]
            )
    return Table(
        caption="Every data set beside its baselines. The ceiling is the root of the data set's own reliability, where "
        "it gives deviations and numbers of raters (\u2013 where it does not)",
        columns=[
            Column("Data set", False),
            Column("Rating", False),
            Column("words"),
            Column("r of the features"),
            Column("interval"),
            *(Column(predictor_name(each)) for each in _BESIDE),
            Column("ceiling"),
            Column("r, dis\u00adattenuated"),
        ],
        rows=rows,
    )


def _agreement(stage: Stage) -> list[Block]:
    table = stage.table("agreement", "a", "b", "language", "target", "r", "n_words")
    if table.is_empty():
        return []
    rows = [
        [
            f"{shorten(row['a'], 40)} and {shorten(row['b'], 40)}",
            language_name(row["language"]),
            row["target"],
            count(row["n_words"]),
            number(row["r"]),
            known(row.get("ceiling_a")),
            known(row.get("ceiling_b")),
        ]
        for row in table.iter_rows(named=True)
    ]
    return [
        Table(
            caption="How far two data sets agree on the words they share. This is no ceiling: their raters, years and "
            "instructions differ. \u2013: the data set gives no deviations",
            columns=[
                Column("Data sets", False),
                Column("Language", False),
                Column("Rating", False),
                Column("shared words"),
                Column("r"),
                Column("ceiling of the first"),
                Column("ceiling of the second"),
            ],
            rows=rows,
        ),
        Paragraph(
            "Two norms can agree less than each is reliable, above all on arousal; then no model can follow both.",
            quiet=True,
        ),
    ]
