"""Whose emotions? Every rater beside the space, and whether the space is closer to some than to others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.names import language_name, readable, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.rater_clouds import RaterCloud, draw_rater_clouds
from emosae.report.sections.likeness import in_order
from emosae.report.sections.space import FEATURES
from emosae.report.sections.wording import counted
from emosae.report.source import Run, Stage
from emosae.report.tables import finite, known
from emosae.report.text import count, interval, number, p_value

__all__ = ["raters_blocks"]

_EACH = ("space", "comparator", "rho_model", "rho_others")
_SUMMARY = ("space", "rho_model", "disattenuated", "reliability_others", "spread")
_RESIDUAL = "residual"

Row = Mapping[str, Any]


def raters_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show the raters one by one; nothing where fewer than three judged."""
    each, summary = stage.table("raters", *_EACH), stage.table("raters_summary", *_SUMMARY)
    if summary.is_empty() or (summary["n_raters"].max() if "n_raters" in summary.columns else 0) < 3:  # type: ignore[operator]
        return []
    rows = in_order(summary.iter_rows(named=True), run)
    own = [row for row in rows if split_language(row["space"], run.languages)[0] == FEATURES]
    blocks: list[Block] = []
    if own and each.height:
        blocks.append(_figure(run, each, own, rows, canvas))
    blocks += [Paragraph(text) for text in (_in_words(run, row) for row in own) if text]
    return [*blocks, _table(run, rows)]


def _cloud(run: Run, each: pl.DataFrame, row: Row) -> RaterCloud:
    points = each.filter(pl.col("space") == row["space"]).drop_nulls(["rho_model", "rho_others"])
    x, y = points["rho_others"].to_numpy(), points["rho_model"].to_numpy()
    square = float((x**2).sum())
    return RaterCloud(
        title=readable(row["space"], run.languages),
        agreement=x,
        likeness=y,
        slope=float((x * y).sum()) / square if square > 0 else 0.0,
        spread=finite(row.get("spread_expected")),
    )


def _figure(run: Run, each: pl.DataFrame, own: list[Row], rows: list[Row], canvas: Canvas) -> Block:
    clouds = []
    for row in own:
        language = split_language(row["space"], run.languages)[1]
        beside = [
            other for other in rows if split_language(other["space"], run.languages) == (_RESIDUAL, language)
        ]
        clouds += [_cloud(run, each, one) for one in (row, *beside)]
    comparator = str(each["comparator"][0])
    simulations = counted(own[0].get("n_simulations"), "simulation")
    return canvas.add(
        draw_rater_clouds(clouds, comparator=comparator),
        "raters",
        lead="Is the model nearer to some of the raters than to others?",
        title="Each rater beside the model and beside the other raters",
        caption=(
            f"{counted(own[0].get('n_raters'), 'rater')}, a point each. A rater who agrees little with the others "
            "agrees little with any model, so likeness to the model rises with agreement. If all shared one truth, "
            "they would lie along the line"
            + (
                f", within about the band (one standard deviation, from {simulations})."
                if simulations
                else ", but for noise."
            )
            + " A rater far above it shares something with the model beyond what all raters share. The raw residual is "
            "the baseline without the autoencoder."
        ),
        alt="; ".join(
            f"{cloud.title}: {len(cloud.agreement)} raters, likeness to the model {number(cloud.likeness.min())} to "
            f"{number(cloud.likeness.max())}, slope {number(cloud.slope)}"
            for cloud in clouds
            if len(cloud.agreement)
        ),
    )


def _in_words(run: Run, row: Row) -> str:
    language = split_language(row["space"], run.languages)[1]
    where = f"In {language_name(language)}, the" if language else "The"
    shared = finite(row.get("disattenuated"))
    text = ""
    if shared is not None:
        text = f"{where} features agree by {number(shared)} with what a rater shares with the others "
        text += f"(disattenuated; {number(row['rho_model'])} with single raters). "
    p, expected = finite(row.get("p")), finite(row.get("spread_expected"))
    if p is None or expected is None:
        return text
    text += "They are closer to some raters than one shared truth explains" if p < 0.05 else (
        "There is no sign that they are closer to some raters than to others"
    )  # fmt: skip
    text += (
        f": raters spread by {number(row['spread'])} about the line, where one truth gives {number(expected)}"
    )
    return text + f" ({interval(row.get('spread_low'), row.get('spread_high'))}; p = {p_value(p)})."


def _table(run: Run, rows: list[Row]) -> Table:
    return Table(
        caption="Each space and the raters. Disattenuated: likeness to what a rater shares with the others. Spread: of "
        "the raters about the line of one truth; beyond: the standard deviation of the disattenuated likeness that one "
        "truth does not explain; p: simulations of one truth that spread as far.",
        columns=[
            Column("Space", False),
            Column("by raters"),
            Column("dis\u00adattenuated"),
            Column("spread"),
            Column("one truth gives"),
            Column("range"),
            Column("beyond"),
            Column("p"),
            Column("raters"),
        ],
        rows=[
            [
                readable(row["space"], run.languages),
                number(row["rho_model"]),
                known(row["disattenuated"]),
                number(row["spread"]),
                known(row.get("spread_expected")),
                interval(row.get("spread_low"), row.get("spread_high"))
                if finite(row.get("spread_low")) is not None
                else "\u2013",
                known(row.get("spread_beyond")),
                p_value(row["p"]) if finite(row.get("p")) is not None else "\u2013",
                count(row.get("n_raters")),
            ]
            for row in rows
        ],
        marked=frozenset(
            at for at, row in enumerate(rows) if split_language(row["space"], run.languages)[0] == FEATURES
        ),
        folded=True,
    )
