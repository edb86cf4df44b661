"""Human ratings of words predicted from features, each predictor on the same words and folds.

What the features are divided by or sent through was tried on real ones: an SAE of 4,096 features on layer 3
of all-MiniLM-L6-v2, mean over a word's tokens, all 13,915 Warriner words, r in nested cross-validation:

    transform  scaling  valence  arousal
    none       none     .721     .576
    log1p      none     .715     .572
    sqrt       none     .705     .564
    none       sd       .700     .550
    log1p      sd       .689     .555
    sqrt       sd       .688     .551

(raw residual .736 / .586, static embedding .686 / .556; with sd within .002). Scaling to unit variance gives a
feature that fires on three words the weight of one that fires on a thousand: a few words are then predicted far
off the scale, and the result hangs on them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from emosae.errors import UserError, unknown_name
from emosae.ratings.cells import Cell, absent_rows, comparison_rows, prediction_table, score_rows
from emosae.ratings.comparison import adjust_p
from emosae.ratings.config import RatingsConfig
from emosae.ratings.design import Predictor
from emosae.ratings.fitting import LanguageFit, fit_language, linked_concepts
from emosae.ratings.folds import LEAST_GROUPS, assign_folds, exclude_words, group_words
from emosae.ratings.groups import GROUPS
from emosae.ratings.inner import inner_folds
from emosae.ratings.scores import reliability_ceiling
from emosae.ratings.tables import (
    AGREEMENT,
    COMPARISONS,
    DATA_SETS,
    FOLDS,
    SCORES,
    WEIGHTS,
    check_table,
    errors_of,
    weight_table,
)
from emosae.ratings.transfer import TRANSFER, transfer_table

__all__ = ["RatingsResult", "study_ratings"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingsResult:
    """What a ratings study found. The columns are listed in `emosae.ratings.tables`.

    Attributes:
        scores: A row for each predictor, target and language: correlations within folds, the interval of r
            over words (widened for folds that share their words, `scores.overlap_factor`), R2 against the
            training mean, RMSE, r as the mean of the folds', the median penalty or number of components, the
            reliability ceiling and r divided by it. A predictor that could not be fitted (a set of too few
            features, say) has a `note` in place of numbers.
        folds: The same scores inside each outer fold.
        predictions: A row for each word, target and predictor: rating, held-out prediction, outer fold.
        comparisons: A row for each pair of predictors and test (`corrected_t` on the folds' r, or
            `paired_bootstrap` on the pooled r): difference a - b, interval, p, and p by Benjamini-Hochberg
            over all pairs, targets and languages of that test.
        weights: Signed weights of the sparse predictors' features, most important first.
        config: The configuration, as plain values.
        n_excluded: Words that left because they, or words of their family, chose the features.
        transfer: Every predictor trained in each language and tested in each (`emosae.ratings.transfer`); empty
            for one language.
        groups: Groups of raters compared (`emosae.ratings.study_groups`); empty where the ratings give none.
        data_sets: A row for each data set of ratings: `norms`, `language`, `study` (those of one number were
            studied together), `n_words` predicted, `n_excluded` from the study. Empty where `study_ratings` was
            called by itself; the other tables then have no column `norms`.
        agreement: Ratings of the words that two data sets of one language share, correlated
            (`emosae.ratings.agreement`); empty where no language has two.
    """

    scores: pl.DataFrame
    folds: pl.DataFrame
    predictions: pl.DataFrame
    comparisons: pl.DataFrame
    weights: pl.DataFrame
    config: dict[str, Any]
    n_excluded: int
    transfer: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={**TRANSFER, "p_adjusted": pl.Float64})
    )
    groups: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={**GROUPS, "p_adjusted": pl.Float64})
    )
    data_sets: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DATA_SETS))
    agreement: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=AGREEMENT))

    def _repr_html_(self) -> str:
        from emosae.notebook import result_html

        return result_html(self)


def _check_predictors(
    predictors: Mapping[str, Predictor],
    table: pl.DataFrame,
    features: Mapping[str, Sequence[int] | np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """Check shapes; return the feature numbers of the predictors whose weights are wanted."""
    if not predictors:
        raise UserError(
            "predictors must hold at least one matrix, got none. Give the SAE features, at least."
        )
    for name, x in predictors.items():
        if len(x.shape) != 2 or x.shape[0] != table.height:
            raise UserError(
                f"Predictor {name!r} must have one row for each of the {table.height:,} words of the table, "
                f"got shape {tuple(x.shape)}. Bring both into the same order first."
            )
    if features is None:
        return {name: np.arange(x.shape[1]) for name, x in predictors.items() if sp.issparse(x)}
    numbers = {}
    for name, ids in features.items():
        if name not in predictors:
            raise unknown_name("predictor", name, predictors)
        numbers[name] = np.asarray(ids, dtype=np.int64)
        if numbers[name].shape != (predictors[name].shape[1],):
            raise UserError(
                f"features[{name!r}] must number the {predictors[name].shape[1]:,} columns of its predictor, "
                f"got {numbers[name].size:,} numbers. Give one for each column."
            )
    return numbers


def _check_languages(
    table: pl.DataFrame, groups: np.ndarray, targets: Sequence[str], config: RatingsConfig
) -> None:
    """Refuse languages with too few words, too few families or constant ratings."""
    for language in table["language"].unique(maintain_order=True).to_list():
        inside = (table["language"] == language).to_numpy()
        n_words, families = int(inside.sum()), len(np.unique(groups[inside]))
        if n_words < config.min_words:
            raise UserError(
                f"Language {language!r} must have at least {config.min_words} rated words, got {n_words}. "
                "Give more words, or lower ratings.min_words."
            )
        if families < LEAST_GROUPS * config.folds:
            raise UserError(
                f"Language {language!r} must have at least {LEAST_GROUPS * config.folds} word families for "
                f"{config.folds} folds, got {families} in {n_words} words. Give more words, or lower "
                "ratings.folds."
            )
        for target in targets:
            ratings = table[target].to_numpy()[inside]
            if ratings.max() == ratings.min():
                raise UserError(
                    f"Ratings of {target} in {language!r} must vary, got {ratings[0]:g} for all {n_words} "
                    "words. Check that the right column was read."
                )


def study_ratings(
    predictors: Mapping[str, Predictor],
    table: pl.DataFrame,
    *,
    targets: Sequence[str] = ("valence", "arousal"),
    config: RatingsConfig | None = None,
    exclude: pl.DataFrame | Iterable[str] = (),
    features: Mapping[str, Sequence[int] | np.ndarray] | None = None,
) -> RatingsResult:
    """Predict ratings from each predictor by nested cross-validation, and compare the predictors.

    Every predictor sees the same words in the same folds; languages are studied apart, and then each language's
    models are tried on the others' words. Subsets of the features (emotion space, control) are predictors of
    their own: `csr[:, columns]`; one of fewer than `config.min_features` columns gets a note instead of numbers.

    Args:
        predictors: For each name a matrix with a row for each row of `table`; sparse ones are SAE features,
            to which `config.transform` applies, dense ones are baselines. A dense one that is NaN on every
            word of a language is not given there.
        table: Rated words: `word`, `language`, the targets, and where known `<target>_sd`, `<target>_n` and
            `concepticon_id`, or `translation`, a mark that words share which translate each other.
        targets: Columns to predict.
        config: Folds, penalties, intervals; None means the defaults.
        exclude: Words that chose the features, as words or as a table with `word` and perhaps `language`;
            they leave with their word families.
        features: Numbers of the features in the columns of those predictors whose weights are wanted; None
            means every sparse predictor, its columns numbered from 0.

    Returns:
        Scores, predictions, comparisons, weights and transfer between languages.

    Raises:
        UserError: Shapes differ; a rating is missing or a target constant; a language has too few words.
    """
    config = config or RatingsConfig()
    check_table(table, targets)
    numbers = _check_predictors(predictors, table, features)
    groups = group_words(table["word"].to_list(), table["language"].to_list(), linked_concepts(table))
    stays = exclude_words(table, groups, exclude)
    n_excluded = int((~stays).sum())
    if n_excluded:
        log.info("%d rated words left with the words that chose the features", n_excluded)
    kept, table, groups = np.flatnonzero(stays), table.filter(stays), groups[stays]
    if not len(kept):
        raise UserError(
            "The ratings must hold words that did not choose the features, got none. Exclude fewer words."
        )
    table = table.with_columns(pl.col(list(targets)).cast(pl.Float64))
    _check_languages(table, groups, targets, config)
    folds = assign_folds(groups, config.folds, config.seed, table["language"].to_list())

    scores, fold_rows, comparisons, predictions, weights = [], [], [], [], []
    studied: list[LanguageFit] = []
    for language in table["language"].unique(maintain_order=True).to_list():
        inside = np.flatnonzero((table["language"] == language).to_numpy())
        outer, families = folds[inside], groups[inside]
        inner = inner_folds(families, outer, config.inner_folds, config.seed)
        own = fit_language(predictors, table[inside], kept[inside], families, outer, inner, targets, config)
        if not own.fits:
            reasons = "; ".join(f"{name}: {why}" for name, why in own.absent.items())
            raise UserError(
                f"Language {language!r} must have at least one predictor that can be fitted, got none ({reasons}). "
                "Give the SAE features, at least."
            )
        studied.append(own)
        weights += [
            weight_table(fit, numbers[name], predictor=name, language=language, targets=targets)
            for name, fit in own.fits.items()
            if name in numbers
        ]
        for index, target in enumerate(targets):
            cell = Cell(
                language,
                target,
                own.table["word"].to_list(),
                own.ratings[:, index],
                outer,
                {name: fit.predicted[:, index] for name, fit in own.fits.items()},
                reliability_ceiling(own.ratings[:, index], *errors_of(own.table, target)),
            )
            resampled = cell.resample(config.bootstrap, config.seed)
            rows_of_cell, rows_of_folds = score_rows(cell, own.fits, index, resampled, config.confidence)
            scores += [*rows_of_cell, *absent_rows(cell, own.absent, own.widths)]
            fold_rows += rows_of_folds
            comparisons += comparison_rows(cell, resampled, config)
            predictions.append(prediction_table(cell))
    compared = pl.DataFrame(comparisons, schema=COMPARISONS).with_columns(
        pl.col("p").map_batches(lambda p: pl.Series(adjust_p(p.to_numpy()))).over("test").alias("p_adjusted")
    )
    return RatingsResult(
        scores=pl.DataFrame(scores, schema=SCORES),
        folds=pl.DataFrame(fold_rows, schema=FOLDS),
        predictions=pl.concat(predictions),
        comparisons=compared,
        weights=pl.concat(weights) if weights else pl.DataFrame(schema=WEIGHTS),
        config=asdict(config),
        n_excluded=n_excluded,
        transfer=transfer_table(studied, predictors, targets, config),
    )
