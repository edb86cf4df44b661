"""Prediction of ratings at several sites of one model, over depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from emosae.report.curves import Curve, CurvePanel, draw_curves
from emosae.report.names import language_name, role
from emosae.report.page import Block, Canvas
from emosae.report.sections.data_sets import scores_by_data_set
from emosae.report.sections.likeness import ROLE_ORDER
from emosae.report.sections.ratings_names import cells_of, predictor_name, score_of
from emosae.report.sections.space import FEATURES
from emosae.report.sections.wording import curves_in_words, interval_name, range_of
from emosae.report.source import Run
from emosae.report.tables import finite

__all__ = ["rating_curves"]

_PREDICTORS = (
    "features",
    "emotion_space",
    "residual",
    "embedding",
    "reconstruction",
    "error",
    "matched_control",
)


def rating_curves(
    run: Run, canvas: Canvas, place: Mapping[str, float], axis: str, ticks: Sequence[tuple[float, str]]
) -> list[Block]:
    """Draw how well each predictor tells ratings at each site; nothing where fewer than two sites have ratings.

    Args:
        run: The run.
        canvas: Takes the figure.
        place: Where each site stands on the axis.
        axis: Name of the axis.
        ticks: Places and names of the sites.
    """
    scores: dict[str, dict[str, pl.DataFrame]] = {}  # by data set and language, then by site
    for site in sorted(place, key=place.__getitem__):
        for name, own in scores_by_data_set(run.stages[site].get("ratings")):
            language = language_name(own["language"][0])
            scores.setdefault(f"{language} ({name})" if name else language, {})[site] = own
    scores = {name: sites for name, sites in scores.items() if len(sites) > 1}
    if not scores:
        return []
    panels, words = [], []
    for label, sites in scores.items():
        for language, target in cells_of(next(iter(sites.values()))):
            rows = {
                name: {site: score_of(own, language, target, name) for site, own in sites.items()}
                for name in _PREDICTORS
            }
            words += [row["n_words"] for each in rows.values() for row in each.values() if row.get("n_words")]
            curves = [
                _rating_curve(name, found, place)
                for name, found in rows.items()
                if any(finite(row.get("r")) is not None for row in found.values())
            ]
            top = next((finite(row.get("ceiling")) for row in rows[FEATURES].values() if row), None)
            panels.append(
                CurvePanel(
                    title=f"{target.capitalize()}, {label}",
                    curves=sorted(curves, key=lambda curve: ROLE_ORDER.index(curve.role)),
                    axis="Correlation r with ratings",
                    ceiling=None if top is None else (top, top),
                )
            )
    n = range_of(words, "word")
    return [
        canvas.add(
            draw_curves(panels, axis=axis, ticks=ticks, band=interval_name(run, "ratings", "words")),
            "depth_ratings",
            lead="Where in the model can one read how pleasant and how arousing a word is?",
            title=f"Held-out correlation with {run.voice.ratings} over the depth of the model",
            caption=(
                f"{n + '; ' if n else ''}every predictor on the same words and folds. 0 is what a prediction that "
                "knows nothing gives. The static embedding is the same at every site. No correction was made for "
                "choosing a site here, so do not report the highest as if it had been the only one."
            ),
            alt=curves_in_words(panels),
        )
    ]


def _rating_curve(name: str, rows: Mapping[str, Mapping[str, Any]], place: Mapping[str, float]) -> Curve:
    own = name == FEATURES
    return Curve(
        name=predictor_name(name),
        role=role(name),
        x=[place[site] for site in rows],
        y=[finite(row.get("r")) for row in rows.values()],
        low=[finite(row.get("r_low")) for row in rows.values()] if own else (),
        high=[finite(row.get("r_high")) for row in rows.values()] if own else (),
    )
