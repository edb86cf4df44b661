"""Trained in one language, tested in another: does a prediction of ratings carry over?

The model of each outer fold, fitted and its penalty chosen in the training language alone, predicts the test
language's words of the *same* fold. Folds keep families and translations whole, so where the ratings say which
words translate each other no model has seen a test word's translation. Each pair stands beside the test
language's own value on the same words and folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from emosae.ratings.comparison import adjust_p, paired_bootstrap
from emosae.ratings.config import RatingsConfig
from emosae.ratings.design import Predictor
from emosae.ratings.fitting import LanguageFit, rows_of
from emosae.ratings.scores import (
    bootstrap_pearson,
    overlap_factor,
    pearson_interval,
    reliability_ceiling,
    score_predictions,
    within_folds,
)
from emosae.ratings.tables import errors_of

__all__ = ["TRANSFER", "transfer_table"]

TRANSFER: dict[str, type[pl.DataType]] = {
    "predictor": pl.String,
    "target": pl.String,
    "train_language": pl.String,
    "test_language": pl.String,
    "n_train": pl.Int64,
    "n_words": pl.Int64,
    "linked": pl.Float64,
    "r": pl.Float64,
    "r_low": pl.Float64,
    "r_high": pl.Float64,
    "rho": pl.Float64,
    "r2": pl.Float64,
    "rmse": pl.Float64,
    "ceiling": pl.Float64,
    "r_disattenuated": pl.Float64,
    "r_within": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
}


@dataclass(frozen=True, slots=True)
class _Column:
    """One predictor trained in one language: standardised predictions of the test language's words."""

    predictor: str
    train: LanguageFit
    predicted: np.ndarray


def transfer_table(
    studied: Sequence[LanguageFit],
    predictors: Mapping[str, Predictor],
    targets: Sequence[str],
    config: RatingsConfig,
) -> pl.DataFrame:
    """Score every predictor trained in each language on the words of each language.

    Scales differ between norms, so ratings and predictions of a language are expressed in standard deviations
    of that language's ratings from their mean; r and rho do not depend on it, R2 and RMSE are in these units. A
    transferred prediction thus knows the test language's mean and spread and nothing else of its ratings.

    Args:
        studied: The fits of each language; fold numbers must mean the same in all.
        predictors: The matrices that they were fitted on, all languages' words in one.
        targets: The targets, in the order of the fits.
        config: Resamples, confidence, transform.

    Returns:
        `TRANSFER` and p_adjusted: for each predictor that could be fitted in both languages, target and pair of
        languages r with its interval over the test words; `linked`, the share of test words with a relative
        among the training language's words (0 where the ratings give no translations); `r_within`, the test
        language's own r; and `difference` r - r_within with interval, p (paired bootstrap) and p by
        Benjamini-Hochberg. Where both languages are the same, the difference is null. Empty for one language.
    """
    rows: list[dict[str, object]] = []
    for test in studied if len(studied) > 1 else ():
        made = _predictions(studied, test, predictors, config)
        for index, target in enumerate(targets):
            rows += _rows(test, index, target, made, config)
    table = pl.DataFrame(rows, schema=TRANSFER)
    adjusted = adjust_p(table["p"].fill_null(np.nan).to_numpy())
    return table.with_columns(pl.Series("p_adjusted", adjusted, dtype=pl.Float64)).with_columns(
        pl.col("difference", "low", "high", "p", "p_adjusted").fill_nan(None)
    )


def _predictions(
    studied: Sequence[LanguageFit],
    test: LanguageFit,
    predictors: Mapping[str, Predictor],
    config: RatingsConfig,
) -> list[_Column]:
    """Predict the words of one language by the models of each: [n_words, n_targets] of each column."""
    columns = []
    for name in test.fits:
        part = None
        for train in studied:
            if name not in train.fits:
                continue
            if train is test:
                predicted = test.fits[name].predicted
            else:
                part = rows_of(predictors[name], test.rows, config, name) if part is None else part
                predicted = train.fits[name].predict(part, test.outer)
            centre, spread = train.ratings.mean(axis=0), train.ratings.std(axis=0)
            columns.append(_Column(name, train, (predicted - centre) / spread))
    return columns


def _rows(
    test: LanguageFit, index: int, target: str, made: Sequence[_Column], config: RatingsConfig
) -> list[dict[str, object]]:
    """Score all columns on the words of one language, resampled together."""
    own = test.ratings[:, index]
    ratings, nothing = (own - own.mean()) / own.std(), np.zeros(len(own))
    ceiling = reliability_ceiling(own, *errors_of(test.table, target))
    factor = overlap_factor(config.folds)
    stacked = np.stack([column.predicted[:, index] for column in made], axis=1)
    resampled = bootstrap_pearson(
        within_folds(ratings, test.outer),
        within_folds(stacked, test.outer, scaled=True),
        n_resamples=config.bootstrap,
        seed=config.seed,
    )
    scores = [score_predictions(ratings, stacked[:, i], nothing, test.outer) for i in range(len(made))]
    home = {column.predictor: i for i, column in enumerate(made) if column.train is test}
    rows: list[dict[str, object]] = []
    for i, column in enumerate(made):
        low, high = pearson_interval(scores[i].r, resampled[:, i], config.confidence, factor)
        at = home[column.predictor]
        row: dict[str, object] = {
            "predictor": column.predictor,
            "target": target,
            "train_language": column.train.language,
            "test_language": test.language,
            "n_train": len(column.train.rows),
            "n_words": len(test.rows),
            "linked": float(np.isin(test.groups, column.train.groups).mean()),
            **asdict(scores[i]),
            "r_low": low,
            "r_high": high,
            "ceiling": ceiling,
            "r_disattenuated": scores[i].r / ceiling,
            "r_within": scores[at].r,
        }
        if i != at:
            row |= asdict(
                paired_bootstrap(
                    scores[i].r - scores[at].r, resampled[:, i] - resampled[:, at], config.confidence, factor
                )
            )
        rows.append(row)
    return rows
