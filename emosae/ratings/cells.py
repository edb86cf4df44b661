"""One language and target of a ratings study, and its rows in the tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from emosae.ratings.comparison import Difference, corrected_t, paired_bootstrap
from emosae.ratings.config import RatingsConfig
from emosae.ratings.nested import NestedRidge
from emosae.ratings.scores import (
    bootstrap_pearson,
    overlap_factor,
    pearson,
    pearson_interval,
    score_predictions,
    within_folds,
)
from emosae.ratings.tables import PREDICTIONS

__all__ = ["Cell", "absent_rows", "comparison_rows", "prediction_table", "score_rows"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One language and target: its words, folds and every predictor's held-out predictions.

    Attributes:
        language: Language of the words.
        target: Name of the ratings' column.
        words: The words.
        ratings: [n_words].
        outer: Outer fold of each word.
        predicted: For each predictor the held-out predictions [n_words].
        ceiling: Square root of the ratings' reliability.
    """

    language: str
    target: str
    words: list[str]
    ratings: np.ndarray
    outer: np.ndarray
    predicted: dict[str, np.ndarray]
    ceiling: float

    @property
    def baseline(self) -> np.ndarray:
        """For each word the mean rating of the other folds' words, [n_words]."""
        means = [self.ratings[self.outer != fold].mean() for fold in range(int(self.outer.max()) + 1)]
        return np.array(means)[self.outer]

    def resample(self, n_resamples: int, seed: int) -> np.ndarray:
        """Return every predictor's r on resampled words, [n_resamples, n_predictors]."""
        predicted = within_folds(np.stack(list(self.predicted.values()), axis=1), self.outer, scaled=True)
        ratings = within_folds(self.ratings, self.outer)
        return bootstrap_pearson(ratings, predicted, n_resamples=n_resamples, seed=seed)

    def fold_r(self, predictor: str) -> np.ndarray:
        """Return Pearson's r inside each outer fold, [n_folds]."""
        return np.array(
            [
                pearson(self.ratings[self.outer == fold], self.predicted[predictor][self.outer == fold])
                for fold in range(int(self.outer.max()) + 1)
            ]
        )


def prediction_table(cell: Cell) -> pl.DataFrame:
    """Return the rows of `predictions` of one cell."""
    return pl.concat(
        pl.DataFrame(
            {
                "word": cell.words,
                "language": [cell.language] * len(cell.words),
                "target": [cell.target] * len(cell.words),
                "rating": cell.ratings,
                "predictor": [name] * len(cell.words),
                "predicted": predicted,
                "fold": cell.outer,
            },
            schema=PREDICTIONS,
        )
        for name, predicted in cell.predicted.items()
    )


def score_rows(
    cell: Cell, fits: Mapping[str, NestedRidge], index: int, resampled: np.ndarray, confidence: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of `scores` and of `folds` of one cell; `index` is the target's place in the fits."""
    baseline = cell.baseline
    factor = overlap_factor(int(cell.outer.max()) + 1)
    rows, fold_rows = [], []
    for column, (name, predicted) in enumerate(cell.predicted.items()):
        fit = fits[name]
        scores = score_predictions(cell.ratings, predicted, baseline, cell.outer)
        low, high = pearson_interval(scores.r, resampled[:, column], confidence, factor)
        fold_r = cell.fold_r(name)
        head = {"predictor": name, "target": cell.target, "language": cell.language}
        rows.append(
            {
                **head,
                "n_words": len(cell.words),
                "n_features": fit.weights.shape[1],
                **asdict(scores),
                "r_low": low,
                "r_high": high,
                "r_folds": float(np.nanmean(fold_r)) if np.isfinite(fold_r).any() else float("nan"),
                "penalty": float(np.median(fit.penalties[:, index])),
                "penalty_relative": float(np.median(fit.relative[:, index])),
                "components": float(np.median(fit.components[:, index])) or None,  # ridge has none
                "ceiling": cell.ceiling,
                "r_disattenuated": scores.r / cell.ceiling,
                "note": None if np.isfinite(scores.r) else "its predictions do not vary",
            }
        )
        for fold in range(len(fold_r)):
            inside = cell.outer == fold
            inside_scores = score_predictions(
                cell.ratings[inside], predicted[inside], baseline[inside], cell.outer[inside]
            )
            fold_rows.append(
                {
                    **head,
                    "fold": fold,
                    "n_words": int(inside.sum()),
                    **asdict(inside_scores),
                    "penalty": float(fit.penalties[fold, index]),
                    "components": float(fit.components[fold, index]) or None,
                }
            )
    return rows, fold_rows


def absent_rows(cell: Cell, absent: Mapping[str, str], widths: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the rows of `scores` of predictors that could not be fitted: a note in place of numbers."""
    return [
        {
            "predictor": name,
            "target": cell.target,
            "language": cell.language,
            "n_words": len(cell.words),
            "n_features": widths[name],
            "ceiling": cell.ceiling,
            "note": note,
        }
        for name, note in absent.items()
    ]


def comparison_rows(cell: Cell, resampled: np.ndarray, config: RatingsConfig) -> list[dict[str, Any]]:
    """Compare every pair of predictors of a cell by both tests."""
    rows = []
    names = list(cell.predicted)
    ratings = within_folds(cell.ratings, cell.outer)
    pooled = {
        name: pearson(ratings, within_folds(cell.predicted[name], cell.outer, scaled=True)) for name in names
    }
    factor = overlap_factor(config.folds)
    fold_r = {name: cell.fold_r(name) for name in names}
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        tests: dict[str, Difference] = {
            "corrected_t": corrected_t(fold_r[a] - fold_r[b], 1.0 / (config.folds - 1), config.confidence),
            "paired_bootstrap": paired_bootstrap(
                pooled[a] - pooled[b], resampled[:, i] - resampled[:, j], config.confidence, factor
            ),
        }
        for test, difference in tests.items():
            rows.append(
                {
                    "language": cell.language,
                    "target": cell.target,
                    "a": a,
                    "b": b,
                    "test": test,
                    **asdict(difference),
                }
            )
    return rows
