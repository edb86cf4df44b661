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
from emosae.report.tables import finite
from emosae.report.text import concept_name, count, interval, number, p_value, shorten, words_of

__all__ = ["ratings_section"]

_SCORES = ("predictor", "target", "language", "r")
_PREDICTIONS = ("word", "language", "target", "rating", "predictor", "predicted")
_EXTREMES = 8
_STRONGEST = 10
_SHORT = 8  # rows; a longer table is folded


def ratings_section(
    run: Run, stage: Stage | None, canvas: Canvas, anchor: str, *, select: Stage | None = None
) -> Section:
    """Build the section on ratings: scatter, bars beside baselines, tables.

    `select` tells which emotions selected the features that carry the prediction.
    """
    title = f"Predicting {run.voice.ratings} of words"
    scores = stage.table("scores", *_SCORES) if stage else pl.DataFrame()
    if stage is None:
        return Section(anchor=anchor, title=title, blocks=[_absent(run)])
    if scores.is_empty():
        return Section(anchor=anchor, title=title, blocks=[Missing("The ratings stage wrote no scores.")])
    blocks: list[Block] = [
        Paragraph(
            "Can the features say how pleasant and how arousing a word is? Every word is predicted by a "
            "regression that saw neither the word nor its relatives, and r is the correlation of these "
            "predictions with the ratings. Raters differ, so even a perfect model would not reach 1: the "
            "ceiling is the square root of the ratings' reliability.",
            quiet=True,
        )
    ]
    predictions = stage.table("predictions", *_PREDICTIONS)
    if predictions.height:
        blocks.append(_scatter(run, scores, predictions, canvas))
    blocks.append(_bars(run, scores, canvas))
    blocks.append(_table(scores))
    excluded = stage.values.get("n_excluded")
    if excluded:
        blocks.append(
            Paragraph(
                f"{count(excluded)} rated words left beforehand: they, or words of their families, chose "
                "the features."
            )
        )
    blocks += _comparisons(stage) + _extremes(predictions) + _weights(stage, select)
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
                rated=run.voice.ratings,
                warm=target == "arousal",
            )
        )
    if not clouds:
        return Missing("The ratings stage stored no predictions of single words.")
    return canvas.add(
        draw_scatter(clouds),
        "ratings_scatter",
        title=f"Words: {run.voice.ratings} and held-out predictions from {readable(main)}",
        caption=(
            "Each point is a word. On the thin diagonal prediction and rating agree. The line with dots "
            "is the mean prediction in tenths of the ratings: where it is flatter than the diagonal, "
            "predictions are drawn to the middle, as those of an uncertain model should be."
        ),
        alt="; ".join(f"{cloud.title}: {cloud.subtitle}" for cloud in clouds),
    )


def _bars(run: Run, scores: pl.DataFrame, canvas: Canvas) -> Block:
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
        title=f"Held-out correlation of each predictor with {run.voice.ratings}",
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
    table = stage.table("comparisons", "a", "b", "difference")
    if table.is_empty():
        return []
    tests = {"corrected_t": "corrected t, by fold", "paired_bootstrap": "paired bootstrap, by word"}
    rows = [
        [
            f"{readable(row['a'])} \u2212 {readable(row['b'])}",
            str(row.get("target", "")),
            language_name(str(row.get("language", ""))),
            tests.get(row.get("test", ""), words_of(row.get("test", ""))),
            number(row["difference"]),
            interval(row.get("low"), row.get("high")),
            p_value(row.get("p_adjusted", row.get("p"))),
        ]
        for row in table.iter_rows(named=True)
    ]
    return [
        Table(
            caption="Predictors compared with each other on the same words and folds: difference of r",
            columns=[
                Column("Compared", False),
                Column("Rating", False),
                Column("Language", False),
                Column("Test", False),
                Column("difference"),
                Column("interval"),
                Column("adjusted p" if "p_adjusted" in table.columns else "p"),
            ],
            rows=rows,
            folded=len(rows) > _SHORT,
        )
    ]


def _extremes(predictions: pl.DataFrame) -> list[Block]:
    """List the words on which prediction and rating differ most, which show what the model lacks."""
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
            caption="Words on which prediction and rating differ most",
            columns=[*columns, Column("rated"), Column("predicted"), Column("difference")],
            rows=rows,
            folded=True,
        )
    ]


def _weights(stage: Stage, select: Stage | None) -> list[Block]:
    """List the features that carry the prediction most, with the emotions that selected them."""
    table = stage.table("weights", "feature", "weight", "language", "target")
    if table.is_empty():
        return []
    if "predictor" in table.columns:
        table = table.filter(pl.col("predictor") == order_names(table["predictor"].to_list())[0])
    size = "importance" if "importance" in table.columns else "weight"
    chosen: dict[int, list[str]] = {}
    if select is not None:
        space = select.table("sets", "set", "concept", "feature").filter(pl.col("set") == "space")
        for feature, concept in space.select("feature", "concept").drop_nulls().iter_rows():
            chosen.setdefault(feature, []).append(concept_name(concept))
    rows = []
    for language, target in _cells(table):
        own = table.filter((pl.col("language") == language) & (pl.col("target") == target))
        strongest = own.sort(pl.col(size).abs(), "feature", descending=[True, False]).head(_STRONGEST)
        for row in strongest.iter_rows(named=True):
            rows.append(
                [
                    str(row["feature"]),
                    language_name(language),
                    target,
                    number(row["weight"]),
                    number(row["importance"]) if size == "importance" else "",
                    number(row["stability"], 2) if row.get("stability") is not None else "",
                    ", ".join(chosen.get(row["feature"], [])) or "\u2013",
                ]
            )
    return [
        Table(
            caption=f"The {_STRONGEST} features that carry each prediction most. A positive weight raises "
            "the predicted rating; importance is the weight times how much the feature varies over words; "
            "stability the share of folds that agree on its sign.",
            columns=[
                Column("Feature"),
                Column("Language", False),
                Column("Rating", False),
                Column("weight"),
                Column("importance"),
                Column("stability"),
                Column("Selected for", False),
            ],
            rows=rows,
            folded=True,
        )
    ]
