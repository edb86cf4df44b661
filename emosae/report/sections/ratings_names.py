"""What the tables and figures on ratings share: their cells, rows and the names of predictors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.names import language_name, order_names, readable

__all__ = ["cells_of", "main_predictor", "predictor_name", "score_of"]


def cells_of(scores: pl.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of language and target of a table, in its order."""
    return list(dict.fromkeys(scores.select("language", "target").iter_rows()))


def score_of(scores: pl.DataFrame, language: str, target: str, predictor: str) -> Mapping[str, Any]:
    """Return the row of one predictor, language and target; empty where there is none."""
    rows = scores.filter(
        (pl.col("language") == language) & (pl.col("target") == target) & (pl.col("predictor") == predictor)
    )
    return rows.row(0, named=True) if rows.height else {}


def main_predictor(scores: pl.DataFrame) -> str:
    """Return the predictor that the study is about: the features, where they are there."""
    return order_names(scores["predictor"].to_list())[0]


def predictor_name(name: str) -> str:
    """Return a predictor's name as a person would write it.

    Example:
        >>> predictor_name("zh_only"), predictor_name("residual")
        ('Chinese-only features', 'raw residual')
    """
    if name.endswith("_only"):
        return f"{language_name(name.removesuffix('_only'))}-only features"
    return readable(name)
