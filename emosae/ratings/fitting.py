"""Every predictor's fit on the words of one language, or why there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from emosae.ratings.config import Model, RatingsConfig, Scaling, Transform
from emosae.ratings.design import Predictor, transform_features
from emosae.ratings.nested import NestedRidge, nested_ridge
from emosae.ratings.pls import nested_pls
from emosae.ratings.ridge import penalty_grid

__all__ = ["LanguageFit", "fit_language", "linked_concepts", "rows_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageFit:
    """The words of one language and the predictors fitted on them.

    Attributes:
        language: Language of the words.
        table: The rated words.
        rows: Their rows in the predictors, [n_words].
        groups: Their word families, numbered over all languages, [n_words].
        ratings: [n_words, n_targets].
        outer: Outer fold of each word.
        fits: For each predictor that could be fitted its nested fits.
        absent: For each other predictor why it was not fitted, in plain words.
        widths: Columns of each predictor.
    """

    language: str
    table: pl.DataFrame
    rows: np.ndarray
    groups: np.ndarray
    ratings: np.ndarray
    outer: np.ndarray
    fits: dict[str, NestedRidge]
    absent: dict[str, str]
    widths: dict[str, int]


def linked_concepts(table: pl.DataFrame) -> list[str | None] | None:
    """Return what says that words of several languages mean the same, or None where nothing does.

    That is a word's Concepticon id, and where it has none its entry in a column `translation`: any mark that
    words which translate each other share.
    """
    known = [name for name in ("concepticon_id", "translation") if name in table.columns]
    if not known:
        return None
    marks: list[pl.Expr] = []
    for name in known:
        text = pl.col(name).cast(pl.String).str.strip_chars()
        given = text.is_not_null() & ~text.str.to_lowercase().is_in(["", "nan"])
        marks.append(pl.when(given).then(text if name == "concepticon_id" else pl.lit("translation ") + text))
    return table.select(pl.coalesce(marks).alias("mark"))["mark"].to_list()


def rows_of(x: Predictor, rows: np.ndarray, config: RatingsConfig, name: str) -> Predictor:
    """Return some rows of a predictor as the regression sees them: sparse ones transformed."""
    part = x[rows]
    return transform_features(part, Transform(config.transform), name) if sp.issparse(x) else part


def _why_absent(x: Predictor, config: RatingsConfig) -> str | None:
    """Say why a predictor is not fitted: too few features, none that fires, or not given in this language."""
    if not isinstance(x, np.ndarray):
        width = x.shape[1]
        if width < config.min_features:
            held = f"the set holds {width or 'no'} feature{'' if width == 1 else 's'}"
            return f"{held}; at least {config.min_features} are needed"
        return None if x.count_nonzero() else f"none of its {width:,} features fires on these words"
    return "not given for these words" if x.size and np.isnan(x).all() else None


def fit_language(
    predictors: Mapping[str, Predictor],
    table: pl.DataFrame,
    rows: np.ndarray,
    groups: np.ndarray,
    outer: np.ndarray,
    inner: Sequence[np.ndarray],
    targets: Iterable[str],
    config: RatingsConfig,
) -> LanguageFit:
    """Fit every predictor on the same words in the same folds.

    Args:
        predictors: For each name a matrix; a sparse one with fewer than `config.min_features` columns, or that
            never fires, and a dense one that is NaN throughout, is left out and said to be.
        table: The words of the language.
        rows: Their rows in the predictors.
        groups: Their word families.
        outer: Their outer folds.
        inner: For each outer fold the inner fold of each word.
        targets: Columns to predict.
        config: The regression and its settings.

    Returns:
        The fits.
    """
    language, ratings = str(table["language"][0]), table.select(list(targets)).to_numpy()
    grid = penalty_grid(config.penalty_low, config.penalty_high, config.penalties)
    fits: dict[str, NestedRidge] = {}
    absent: dict[str, str] = {}
    for name, x in predictors.items():
        part = rows_of(x, rows, config, name)
        reason = _why_absent(part, config)
        if reason is not None:
            log.info("%s: %s is left out, %s", language, name, reason)
            absent[name] = reason
            continue
        scaling = Scaling(config.scaling)
        if config.model == Model.PLS:
            fits[name] = nested_pls(
                part,
                ratings,
                outer,
                inner,
                config.components,
                scaling=scaling,
                workers=config.workers,
                name=name,
            )
        else:
            fits[name] = nested_ridge(
                part,
                ratings,
                outer,
                inner,
                grid,
                scaling=scaling,
                tolerance=config.tolerance,
                workers=config.workers,
                name=name,
            )
        log.info("ratings of %d %s words predicted from %s", len(rows), language, name)
    return LanguageFit(
        language=language,
        table=table,
        rows=rows,
        groups=groups,
        ratings=ratings,
        outer=outer,
        fits=fits,
        absent=absent,
        widths={name: x.shape[1] for name, x in predictors.items()},
    )
