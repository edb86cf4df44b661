"""How much push it takes: dose and response of the SAE's features and of the other ways, and stable ranges."""

from __future__ import annotations

import polars as pl

from emosae.report.curves import Curve, CurvePanel, draw_curves
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Table
from emosae.report.sections.steering_names import METHODS, method_name, method_role, texts_counted
from emosae.report.sections.wording import counted
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import concept_name, interval, number

__all__ = ["MEASURES", "dose_blocks"]

MEASURES = {
    "score": "Harmonic mean of the three",
    "rate": "Concept: target rate",
    "content": "Content kept",
    "fluency": "Fluency",
}
"""The scores of a text, in the order of the figures."""

_ALL = "all"
_AXIS = "Dose (1 pushes by half of the residual's norm)"


def dose_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show scores by dose; nothing where no dose was tried."""
    main = str(stage.values.get("main"))
    scores = stage.table("scores", "part", "method", "emotion", "language", "dose", "rate", "score")
    own = scores.filter((pl.col("part") == "report") & (pl.col("method") == main))
    if own.is_empty():
        return []
    n = own["emotion"].n_unique()
    plain = scores.filter((pl.col("part") == "report") & (pl.col("method") == "unsteered"))
    mean = _means(pl.concat([plain, own], how="diagonal_relaxed"), ["language"], n)
    languages = [_ALL, *(each for each in run.languages if each in mean["language"].to_list())]
    anchor = finite(stage.values.get("content_anchor"))
    panels = [
        CurvePanel(
            title=MEASURES[name],
            axis="0 to 1",
            ceiling=(anchor, anchor) if name == "content" and anchor is not None else None,
            curves=[
                Curve(
                    name="all languages" if language == _ALL else language_name(language),
                    role="features" if language == _ALL else "baseline",
                    x=part["dose"].to_list(),
                    y=[finite(value) for value in part[name]],
                )
                for language in languages
                for part in [mean.filter(pl.col("language") == language)]
            ],
        )
        for name in ("rate", "content", "fluency", "score")
    ]
    doses = mean["dose"].unique().sort().to_list()
    figure = canvas.add(
        draw_curves(
            panels,
            axis=_AXIS,
            ticks=[(dose, f"{dose:g}") for dose in doses],
            ceiling="content that unsteered texts of different openings share",
        ),
        "steering_doses",
        lead="How much does it take, and when does the text break?",
        title="Dose and response of the SAE's features",
        caption=f"{method_name(main)}, means over {counted(n, 'emotion')}, {texts_counted(stage)}; dose 0 is "
        "unsteered text. Doses that were chosen for one emotion alone are not drawn.",
        alt="; ".join(
            f"{panel.title}: {', '.join(number(y, 2) for y in panel.curves[0].y)}" for panel in panels
        ),
    )
    return [figure, _dose_table(run, stage, own), *_tried(scores, main, canvas)]


def _tried(scores: pl.DataFrame, main: str, canvas: Canvas) -> list[Block]:
    """Show what each method reaches at every dose, on the openings that doses were chosen on."""
    part = scores.filter((pl.col("part") == "choose") & (pl.col("language") == _ALL))
    if part.is_empty() or part["dose"].n_unique() < 2:
        return []
    n = part["emotion"].n_unique()
    mean = _means(part, ["method"], n)
    shown = [method for method in METHODS if method in mean["method"].to_list()]
    panels = [
        CurvePanel(
            title=MEASURES[name],
            axis="0 to 1",
            curves=[
                Curve(
                    name=method_name(method),
                    role="subset"
                    if method_role(method) == "features" and method != main
                    else method_role(method),
                    x=own["dose"].to_list(),
                    y=[finite(value) for value in own[name]],
                )
                for method in shown
                for own in [mean.filter(pl.col("method") == method)]
            ],
        )
        for name in ("score", "rate")
    ]
    doses = mean["dose"].unique().sort().to_list()
    return [
        canvas.add(
            draw_curves(panels, axis=_AXIS, ticks=[(dose, f"{dose:g}") for dose in doses]),
            "steering_tried",
            lead="Would another dose have served another way better?",
            title="Every dose that was tried of every way that has one",
            caption=f"Means over {counted(n, 'emotion')} and all languages, on the openings that doses were chosen on: "
            "the best of several looks better than it is, so nothing of this is a result. Dose 1 is the same "
            "push for each.",
            alt="; ".join(
                f"{curve.name}: {', '.join(number(y, 2) for y in curve.y)}" for curve in panels[0].curves
            ),
        )
    ]


def _means(scores: pl.DataFrame, by: list[str], n_emotions: int) -> pl.DataFrame:
    """Average scores over emotions at the doses that all of them have."""
    mean = scores.group_by(*by, "dose", maintain_order=True).agg(
        pl.col(*MEASURES).cast(pl.Float64).mean(), pl.col("emotion").n_unique().alias("n")
    )
    return mean.filter(pl.col("n") == n_emotions).sort("dose")


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "none"
    return f"{low:g} only" if low == high else f"{low:g} to {high:g}"


def _dose_table(run: Run, stage: Stage, own: pl.DataFrame) -> Table:
    doses = stage.table("doses", "method", "emotion", "dose", "stable_low", "stable_high")
    rows = []
    for row in doses.filter(pl.col("method") == stage.values.get("main")).iter_rows(named=True):
        at = own.filter((pl.col("emotion") == row["emotion"]) & (pl.col("dose") == row["dose"]))
        by_language = {each["language"]: each for each in at.iter_rows(named=True)}
        low, high = finite(row["stable_low"]), finite(row["stable_high"])
        rows.append(
            [
                concept_name(row["emotion"]),
                f"{row['dose']:g}",
                _range(low, high),
                *(number(by_language.get(each, {}).get("rate"), 2) for each in run.languages),
                *(number(by_language.get(_ALL, {}).get(each), 2) for each in ("content", "fluency", "score")),
                interval(
                    by_language.get(_ALL, {}).get("score_low"), by_language.get(_ALL, {}).get("score_high"), 2
                ),
            ]
        )
    return Table(
        caption="Each emotion at the dose chosen for it on other openings. The stable range is the run of doses around "
        "the best of those reported, in which the target rate is more than 0.8 of its greatest and every bound of "
        "fluency holds; none: they do not all hold at the best.",
        columns=[
            Column("Emotion", False),
            Column("dose"),
            Column("stable range"),
            *(Column(f"target rate, {language_name(each)}") for each in run.languages),
            *(Column(each) for each in ("content", "fluency", "score", "interval")),
        ],
        rows=rows,
    )
