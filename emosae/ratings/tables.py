"""The tables of a ratings study: what goes in is checked here, and what comes out has these columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from emosae.errors import UserError, unknown_name
from emosae.ratings.nested import NestedRidge

__all__ = [
    "AGREEMENT",
    "COMPARISONS",
    "DATA_SETS",
    "FOLDS",
    "PREDICTIONS",
    "SCORES",
    "WEIGHTS",
    "check_table",
    "errors_of",
    "weight_table",
]

log = logging.getLogger(__name__)

SCORES: dict[str, type[pl.DataType]] = {
    "predictor": pl.String,
    "target": pl.String,
    "language": pl.String,
    "n_words": pl.Int64,
    "n_features": pl.Int64,
    "r": pl.Float64,
    "r_low": pl.Float64,
    "r_high": pl.Float64,
    "rho": pl.Float64,
    "r2": pl.Float64,
    "rmse": pl.Float64,
    "r_folds": pl.Float64,
    "penalty": pl.Float64,
    "penalty_relative": pl.Float64,
    "components": pl.Float64,
    "ceiling": pl.Float64,
    "r_disattenuated": pl.Float64,
    "note": pl.String,
}
FOLDS: dict[str, type[pl.DataType]] = {
    "predictor": pl.String,
    "target": pl.String,
    "language": pl.String,
    "fold": pl.Int64,
    "n_words": pl.Int64,
    "r": pl.Float64,
    "rho": pl.Float64,
    "r2": pl.Float64,
    "rmse": pl.Float64,
    "penalty": pl.Float64,
    "components": pl.Float64,
}
PREDICTIONS: dict[str, type[pl.DataType]] = {
    "word": pl.String,
    "language": pl.String,
    "target": pl.String,
    "rating": pl.Float64,
    "predictor": pl.String,
    "predicted": pl.Float64,
    "fold": pl.Int64,
}
COMPARISONS: dict[str, type[pl.DataType]] = {
    "language": pl.String,
    "target": pl.String,
    "a": pl.String,
    "b": pl.String,
    "test": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
}
WEIGHTS: dict[str, type[pl.DataType]] = {
    "predictor": pl.String,
    "language": pl.String,
    "target": pl.String,
    "feature": pl.Int64,
    "weight": pl.Float64,
    "spread": pl.Float64,
    "stability": pl.Float64,
    "importance": pl.Float64,
    "rank": pl.Int64,
}


DATA_SETS: dict[str, type[pl.DataType]] = {
    "norms": pl.String,
    "language": pl.String,
    "study": pl.Int64,
    "n_words": pl.Int64,
    "n_excluded": pl.Int64,
}
AGREEMENT: dict[str, type[pl.DataType]] = {
    "language": pl.String,
    "target": pl.String,
    "a": pl.String,
    "b": pl.String,
    "n_words": pl.Int64,
    "r": pl.Float64,
    "ceiling_a": pl.Float64,
    "ceiling_b": pl.Float64,
}


def _some(words: Sequence[object], count: int = 5) -> str:
    shown = ", ".join(repr(word) for word in words[:count])
    return shown + (", …" if len(words) > count else "")


def check_table(table: pl.DataFrame, targets: Sequence[str]) -> None:
    """Refuse a table of rated words that no honest number can come from.

    Args:
        table: Rated words.
        targets: Columns to predict.

    Raises:
        UserError: A column is missing or not numeric, a word or rating is missing, or no target is named.
    """
    if not targets:
        raise UserError(
            "targets must name at least one column of ratings, got none. Name valence or arousal."
        )
    for name in ("word", "language", *targets):
        if name not in table.columns:
            raise unknown_name(
                "column", name, table.columns, "The table needs word, language and each target."
            )
    if table.height == 0:
        raise UserError("The table of ratings must hold words, got 0 rows. Check language and coverage.")
    for name in ("word", "language"):
        if table[name].dtype != pl.String or table[name].null_count():
            raise UserError(
                f"Column {name!r} must hold text in every row, got {table[name].dtype} with "
                f"{table[name].null_count()} empty cells. Read the file with that column as text."
            )
    for name in targets:
        column = table[name]
        if not column.dtype.is_numeric():
            raise UserError(
                f"Column {name!r} must be numeric, got {column.dtype} such as "
                f"{column.drop_nulls().head(1).to_list()}. "
                "Turn blanks and remarks into missing values and leave those words out."
            )
        missing = (~column.cast(pl.Float64).is_finite()).fill_null(True)
        if missing.any():
            words = table.filter(missing)["word"].to_list()
            raise UserError(
                f"Column {name!r} must hold a number for every word, got {len(words):,} without one "
                f"({_some(words)}). Leave those words out first."
            )
    doubles = table.select("language", "word").is_duplicated()
    if doubles.any():
        words = table.filter(doubles)["word"].unique(maintain_order=True).to_list()
        log.warning("%d words occur more than once (%s); each row counts as a word", len(words), _some(words))


def errors_of(table: pl.DataFrame, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the SD over raters and the number of raters of each word, NaN where not given."""
    columns = []
    for name in (f"{target}_sd", f"{target}_n"):
        if name in table.columns:
            columns.append(table[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())
        else:
            columns.append(np.full(table.height, np.nan))
    return columns[0], columns[1]


def weight_table(
    fit: NestedRidge, features: np.ndarray, *, predictor: str, language: str, targets: Sequence[str]
) -> pl.DataFrame:
    """Summarise the weights of the outer folds, features that carry most of the prediction first.

    Args:
        fit: The nested fits.
        features: Number of the feature in each column, [n_columns].
        predictor: Name of the predictor.
        language: Language of the words.
        targets: Names of the targets, in the order of the fit.

    Returns:
        `WEIGHTS`: `weight` is the mean over folds, in rating units per unit of the feature; `spread` its standard
        deviation over folds and `stability` the share of folds with the sign of the mean (folds share most of
        their words, so neither is a test); `importance` is weight times the feature's standard deviation over
        words, by whose size `rank` counts from 1. Features of weight 0 are left out.
    """
    tables = []
    for index, target in enumerate(targets):
        weights = fit.weights[:, :, index].astype(np.float64)
        mean = weights.mean(axis=0)
        importance = mean * fit.spread
        order = np.argsort(-np.abs(importance), kind="stable")
        order = order[importance[order] != 0]
        tables.append(
            pl.DataFrame(
                {
                    "predictor": [predictor] * len(order),
                    "language": [language] * len(order),
                    "target": [target] * len(order),
                    "feature": features[order],
                    "weight": mean[order],
                    "spread": weights.std(axis=0, ddof=1)[order],
                    "stability": (np.sign(weights) == np.sign(mean)).mean(axis=0)[order],
                    "importance": importance[order],
                    "rank": np.arange(1, len(order) + 1),
                },
                schema=WEIGHTS,
            )
        )
    return pl.concat(tables)
