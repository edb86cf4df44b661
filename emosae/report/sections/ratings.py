"""Valence and arousal of words, predicted from features and held beside people's ratings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name, order_names, readable, role
from emosae.report.page import Block, Canvas, Column, Missing, Paragraph, Section, Table
from emosae.report.scatter import Cloud, draw_scatter
from emosae.report.source import Run, Stage, part
from emosae.report.tables import finite, generic_table
from emosae.report.text import count, interval, number, shorten

__all__ = ["ratings_section"]

_SCORES = ("predictor", "target", "language", "r")
_PREDICTIONS = ("word", "language", "target", "rating", "predictor", "predicted")
_EXTREMES = 8


def ratings_section(run: Run, stage: Stage | None, canvas: Canvas, anchor: str) -> Section:
    """Build the section on ratings: scatter, bars beside baselines, tables."""
    title = "Predicting what people say of words"
    scores = stage.table("scores", *_SCORES) if stage else pl.DataFrame()
    if stage is None:
        return Section(anchor=anchor, title=title, blocks=[_absent(run)])
    if scores.is_empty():
        return Section(anchor=anchor, title=title, blocks=[Missing("The ratings stage wrote no scores.")])
    blocks: list[Block] = [
        Paragraph(
            "Can the features say how pleasant and how arousing a word is to people? Every word is "
            "predicted by a regression that saw neither the word nor its relatives, and r is the "
            "correlation of these predictions with the ratings. People differ, so even a perfect model "
            "would not reach 1: the ceiling is the square root of the ratings' reliability.",
            quiet=True,
        )
    ]
    predictions = stage.table("predictions", *_PREDICTIONS)
    if predictions.height:
        blocks.append(_scatter(run, scores, predictions, canvas))
    blocks.append(_bars(scores, canvas))
    blocks.append(_table(scores))
    blocks += _comparisons(stage) + _extremes(run, predictions) + _weights(stage)
    return Section(anchor=anchor, title=title, blocks=blocks)


def _absent(run: Run) -> Missing:
    if not any(
        "ratings" in str(part(part(run.config, "norms"), name).get("kind"))
        for name in part(run.config, "norms")
    ):
        return Missing(
            "This run names no human ratings, so nothing was predicted.", "emosae ratings norms=[…]"
        )
    return Missing("This run did not predict ratings.", "emosae ratings")


def _cells(scores: pl.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(scores.select("language", "target").iter_rows()))


def _score(scores: pl.DataFrame, language: str, target: str, predictor: str) -> Mapping[str, Any]:
    rows = scores.filter(
        (pl.col("language") == language) & (pl.col("target") == target) & (pl.col("predictor") == predictor)
    )
    return rows.row(0, named=True) if rows.height else {}


def _scale(run: Run, language: str) -> str:
    """Name the unit of the ratings, where the settings say it."""
    for name in part(run.config, "norms"):
        entry = part(part(run.config, "norms"), name)
        if "ratings" in str(entry.get("kind")) and entry.get("language") == language:
            low, high = entry.get("scale_min"), entry.get("scale_max")
            if isinstance(low, (int, float)) and isinstance(high, (int, float)):
                return f" (scale {low:g} to {high:g})".replace("-", "\u2212")
    return ""


def _main_predictor(scores: pl.DataFrame) -> str:
    return order_names(scores["predictor"].to_list())[0]


def _scatter(run: Run, scores: pl.DataFrame, predictions: pl.DataFrame, canvas: Canvas) -> Block:
    main = _main_predictor(scores)
    clouds = []
    for language, target in _cells(scores):
        own = predictions.filter(
            (pl.col("language") == language) & (pl.col("target") == target) & (pl.col("predictor") == main)
        ).filter(pl.col("rating").is_finite() & pl.col("predicted").is_finite())
        if own.is_empty():
            continue
        row = _score(scores, language, target, main)
        facts = [f"r = {number(row.get('r'))}"]
        if finite(row.get("r_low")) is not None:
            facts[0] += f" ({interval(row.get('r_low'), row.get('r_high'))})"
        if finite(row.get("ceiling")) is not None:
            facts.append(f"ceiling {number(row['ceiling'])}")
        facts.append(f"{count(own.height)} words")
        clouds.append(
            Cloud(
                title=f"{target.capitalize()}, {language_name(language)}",
                subtitle=", ".join(facts),
                rating=own["rating"].to_numpy().astype(float),
                predicted=own["predicted"].to_numpy().astype(float),
                axis=f"{target.capitalize()}{_scale(run, language)}",
                warm=target == "arousal",
            )
        )
    if not clouds:
        return Missing("The ratings stage stored no predictions of single words.")
    return canvas.add(
        draw_scatter(clouds),
        "ratings_scatter",
        title=f"Words: people's ratings and held-out predictions from {readable(main)}",
        caption=(
            "Each point is a word. On the thin diagonal prediction and rating agree. The line with dots is "
            "the mean prediction in tenths of the ratings: where it is flatter than the diagonal, "
            "predictions are drawn to the middle, as those of an uncertain model should be."
        ),
        alt="; ".join(f"{cloud.title}: {cloud.subtitle}" for cloud in clouds),
    )


def _bars(scores: pl.DataFrame, canvas: Canvas) -> Block:
    names = order_names(scores["predictor"].to_list())
    panels = []
    for language, target in _cells(scores):
        bars, ceiling = [], None
        for name in names:
            row = _score(scores, language, target, name)
            if not row:
                continue
            bars.append(
                Bar(
                    name=readable(name),
                    role=role(name),
                    value=finite(row.get("r")),
                    low=finite(row.get("r_low")),
                    high=finite(row.get("r_high")),
                )
            )
            top = finite(row.get("ceiling"))
            ceiling = (top, top) if top is not None else ceiling
        title = f"{target.capitalize()}, {language_name(language)}"
        panels.append(Panel(title=title, bars=bars, axis="Correlation r with ratings", ceiling=ceiling))
    return canvas.add(
        draw_bars(panels),
        "ratings_bars",
        title="Held-out correlation of each predictor with people's ratings",
        caption=(
            "Blue: read through the autoencoder. Grey: the same words on the same folds without it. A "
            "baseline that does as well means that the features keep what the model knows, not that they "
            "add to it."
        ),
        alt="Correlations with ratings: "
        + "; ".join(
            f"{panel.title}: " + ", ".join(f"{bar.name} {number(bar.value)}" for bar in panel.bars)
            for panel in panels
        ),
    )


def _table(scores: pl.DataFrame) -> Table:
    optional = {
        "rho": "\u03c1",
        "r2": "R\u00b2",
        "rmse": "RMSE",
        "ceiling": "ceiling",
        "r_disattenuated": "r, dis\u00adattenuated",
    }
    used = [name for name in optional if name in scores.columns]
    has_interval = {"r_low", "r_high"} <= set(scores.columns)
    order = order_names(scores["predictor"].to_list())
    rows: list[list[str]] = []
    marked = []
    for language, target in _cells(scores):
        for name in order:
            row = _score(scores, language, target, name)
            if not row:
                continue
            if role(name) == "features":
                marked.append(len(rows))
            cells = [
                readable(name),
                target,
                language_name(language),
                count(row.get("n_words")),
                number(row.get("r")),
            ]
            cells += [interval(row["r_low"], row["r_high"])] if has_interval else []
            rows.append(cells + [number(row.get(each)) for each in used])
    return Table(
        caption="Held-out prediction of ratings, each predictor on the same words and folds",
        columns=[
            Column("Predictor", False),
            Column("Rating", False),
            Column("Language", False),
            Column("words"),
            Column("r"),
            *([Column("interval of r")] if has_interval else []),
            *(Column(optional[name]) for name in used),
        ],
        rows=rows,
        marked=frozenset(marked),
    )


def _comparisons(stage: Stage) -> list[Block]:
    table = stage.table("comparisons")
    if table.is_empty():
        return []
    return [
        generic_table(
            table,
            "Predictors compared with each other on the same words",
            folded=table.height > 10,
        )
    ]


def _extremes(run: Run, predictions: pl.DataFrame) -> list[Block]:
    """List the words on which prediction and people differ most, which show what the model lacks."""
    if predictions.is_empty():
        return []
    main = _main_predictor(predictions)
    rows: list[list[str]] = []
    for language, target in _cells(predictions):
        own = (
            predictions.filter(
                (pl.col("language") == language)
                & (pl.col("target") == target)
                & (pl.col("predictor") == main)
            )
            .filter(pl.col("rating").is_finite() & pl.col("predicted").is_finite())
            .with_columns((pl.col("predicted") - pl.col("rating")).alias("difference"))
            .sort("difference", "word")
        )
        if own.height < 4 * _EXTREMES:
            continue
        for row in [
            *own.head(_EXTREMES).iter_rows(named=True),
            *own.tail(_EXTREMES)[::-1].iter_rows(named=True),
        ]:
            rows.append(
                [
                    shorten(row["word"], 40),
                    language_name(language),
                    target,
                    number(row["rating"], 2),
                    number(row["predicted"], 2),
                    number(row["difference"], 2),
                ]
            )
    if not rows:
        return []
    columns = [Column("Word", False), Column("Language", False), Column("Rating", False)]
    return [
        Table(
            caption="Words on which prediction and people differ most",
            columns=[*columns, Column("people"), Column("prediction"), Column("difference")],
            rows=rows,
            folded=True,
        )
    ]


def _weights(stage: Stage) -> list[Block]:
    table = stage.table("weights", "feature")
    weight = next((name for name in ("weight", "mean_weight", "weight_mean") if name in table.columns), None)
    if table.is_empty() or weight is None:
        return []
    keys = [name for name in ("language", "target") if name in table.columns]
    strongest = (
        table.sort(pl.col(weight).abs(), descending=True, maintain_order=True)
        .group_by(keys, maintain_order=True)
        .head(10)
        if keys
        else table.sort(pl.col(weight).abs(), descending=True, maintain_order=True).head(20)
    )
    order = ["feature", *keys, *(name for name in strongest.columns if name not in {"feature", *keys})]
    strongest = strongest.select(order).sort(keys, maintain_order=True) if keys else strongest.select(order)
    caption = "Features that carry the prediction most: a positive weight raises the predicted rating"
    return [generic_table(strongest, caption, folded=True)]
