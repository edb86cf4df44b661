"""Valence and arousal of words, predicted from features and held beside people's ratings."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name, order_names, role
from emosae.report.page import Block, Canvas, Missing, Paragraph, Section
from emosae.report.scatter import Cloud, draw_scatter
from emosae.report.sections.data_sets import data_set_blocks, names_of, studies_of
from emosae.report.sections.ratings_groups import group_blocks
from emosae.report.sections.ratings_names import cells_of, main_predictor, predictor_name, score_of
from emosae.report.sections.ratings_tables import (
    comparison_table,
    extreme_words,
    score_table,
    strongest_features,
)
from emosae.report.sections.ratings_transfer import transfer_blocks
from emosae.report.sections.wording import bars_in_words, interval_name, range_of
from emosae.report.source import Run, Stage, part
from emosae.report.tables import finite
from emosae.report.text import count, interval, number, shorten

__all__ = ["ratings_section"]

_SCORES = ("predictor", "target", "language", "r")
_PREDICTIONS = ("word", "language", "target", "rating", "predictor", "predicted")


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
    intro = Paragraph(
        "Can the features say how pleasant and how arousing a word is? Every word is predicted by a "
        "regression that saw neither the word nor its relatives, and r is the correlation of these "
        "predictions with the ratings. Raters differ, so even a perfect model would not reach 1: the "
        "ceiling is the square root of the ratings' reliability." + _model(run),
        quiet=True,
    )
    studies = studies_of(stage)
    if len(studies) == 1:
        blocks = [intro, *_study(run, studies[0][1], canvas, select)]
        return Section(anchor=anchor, title=title, blocks=blocks)
    blocks = [intro, *data_set_blocks(run, stage, canvas)]
    prefix, inner = canvas.prefix, []
    for place, (names, own) in enumerate(studies, start=1):
        canvas.prefix = f"{prefix}{'-'.join(names)}-"
        inner.append(
            Section(
                anchor=f"{anchor}-{place}",
                title=f"Ratings of {' and '.join(shorten(name, 40) for name in names)}",
                blocks=_study(run, own, canvas, select),
            )
        )
    canvas.prefix = prefix
    return Section(anchor=anchor, title=title, blocks=blocks, sections=inner)


def _study(run: Run, stage: Stage, canvas: Canvas, select: Stage | None) -> list[Block]:
    """Show one study: a data set, or one of each language."""
    scores, predictions = stage.table("scores", *_SCORES), stage.table("predictions", *_PREDICTIONS)
    names = names_of(stage)
    blocks: list[Block] = []
    if predictions.height:
        blocks.append(_scatter(run, scores, predictions, canvas, names))
    blocks.append(_bars(run, scores, canvas, names))
    blocks += score_table(scores)
    excluded = stage.values.get("n_excluded")
    if excluded:
        blocks.append(
            Paragraph(
                f"{count(excluded)} rated words left beforehand: they, or words of their families, chose "
                "the features."
            )
        )
    blocks += transfer_blocks(run, stage, canvas) + comparison_table(stage)
    blocks += group_blocks(run, stage, canvas)
    return blocks + extreme_words(predictions) + strongest_features(stage, select)


def _whose(run: Run, names: Mapping[str, str]) -> str:
    """Name the ratings with their data sets, where the run says which."""
    return f"{run.voice.ratings} ({' and '.join(names.values())})" if names else run.voice.ratings


def _model(run: Run) -> str:
    chosen = part(run.config, "ratings").get("model")
    return " The regression is partial least squares." if chosen == "pls" else ""


def _absent(run: Run) -> Missing:
    if not any(
        "ratings" in str(part(part(run.config, "norms"), name).get("kind"))
        for name in part(run.config, "norms")
    ):
        return Missing(
            "This run names no human ratings, so nothing was predicted.", "emosae ratings norms=[…]"
        )
    return Missing("This run did not predict ratings.", "emosae ratings")


def _scale(run: Run, language: str, norms: str) -> str:
    """Name the unit of the ratings, where the settings say it; `norms` is the data set, empty where not known."""
    for name in part(run.config, "norms"):
        entry = part(part(run.config, "norms"), name)
        if norms not in {"", name}:
            continue
        if "ratings" in str(entry.get("kind")) and entry.get("language") == language:
            low, high = entry.get("scale_min"), entry.get("scale_max")
            if isinstance(low, (int, float)) and isinstance(high, (int, float)):
                return f" (scale {low:g} to {high:g})".replace("-", "\u2212")
    return ""


def _scatter(
    run: Run, scores: pl.DataFrame, predictions: pl.DataFrame, canvas: Canvas, names: Mapping[str, str]
) -> Block:
    main = main_predictor(scores)
    clouds = []
    for language, target in cells_of(scores):
        own = predictions.filter(
            (pl.col("language") == language) & (pl.col("target") == target) & (pl.col("predictor") == main)
        ).filter(pl.col("rating").is_finite() & pl.col("predicted").is_finite())
        if own.is_empty():
            continue
        row = score_of(scores, language, target, main)
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
                axis=f"{target.capitalize()}{_scale(run, language, names.get(language, ''))}",
                rated=run.voice.ratings,
                warm=target == "arousal",
            )
        )
    if not clouds:
        return Missing("The ratings stage stored no predictions of single words.")
    return canvas.add(
        draw_scatter(clouds),
        "ratings_scatter",
        lead="How near does the model come to what "
        + ("was planted" if run.is_phantom else "people say")
        + " about each word?",
        title=f"Words: {_whose(run, names)} and held-out predictions from {predictor_name(main)}",
        caption=(
            "Each point is a word. On the thin diagonal prediction and rating agree. The line with dots "
            "is the mean prediction in tenths of the ratings: where it is flatter than the diagonal, "
            "predictions are drawn to the middle, as those of an uncertain model should be."
        ),
        alt="; ".join(f"{cloud.title}: {cloud.subtitle}" for cloud in clouds),
    )


def _bars(run: Run, scores: pl.DataFrame, canvas: Canvas, data_sets: Mapping[str, str]) -> Block:
    names = order_names(scores["predictor"].to_list())
    n = range_of(scores["n_words"].drop_nulls().to_list(), "word") if "n_words" in scores.columns else ""
    panels = []
    for language, target in cells_of(scores):
        bars, ceiling = [], None
        for name in names:
            row = score_of(scores, language, target, name)
            if not row:
                continue
            bars.append(
                Bar(
                    name=predictor_name(name),
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
        draw_bars(panels, whisker=interval_name(run, "ratings", "words")),
        "ratings_bars",
        lead=(
            "How much of each word's pleasantness and arousal do the features know, and how much is known without them?"
        ),
        title=f"Held-out correlation of each predictor with {_whose(run, data_sets)}",
        caption=(
            f"{n + '. ' if n else ''}Blue: read through the autoencoder. Grey: the same words on the same folds "
            "without it. A baseline that does as well means that the features keep what the model knows, not that they "
            "add to it. 0 is what a prediction that knows nothing gives; the matched control is as many features from "
            "outside the emotion space."
        ),
        alt="Correlations with ratings: " + bars_in_words(panels),
    )
