"""Whose ratings does the model share? Groups of raters on the same words and folds, held against one truth.

A group of few or careless raters has noisier means, and that lowers its correlation twice: the held-out ratings
are noisier, which dividing by the root of their reliability undoes, and so are the ratings that the regression
learns from, which nothing undoes. Two groups that agree perfectly therefore differ. How much they would is found by
simulation: both groups get the same true ratings, each its own noise, and the regression is fitted again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from emosae.ratings.comparison import adjust_p
from emosae.ratings.config import RatingsConfig, Scaling, Transform
from emosae.ratings.design import Predictor, as_design, transform_features
from emosae.ratings.fitting import linked_concepts
from emosae.ratings.folds import LEAST_GROUPS, assign_folds, exclude_words, group_words
from emosae.ratings.inner import inner_folds
from emosae.ratings.nested import nested_ridge
from emosae.ratings.ridge import SPECTRAL_LIMIT, penalty_grid
from emosae.ratings.scores import reliability_ceiling
from emosae.ratings.simulate import Side, compare_sides, correlations, simulate
from emosae.ratings.spectral import dense_if_narrow, total_gram

__all__ = ["GROUPS", "PAIRS", "group_pairs", "study_groups"]

log = logging.getLogger(__name__)

PAIRS = (("male", "female"), ("young", "old"), ("low_education", "high_education"))
"""Groups that divide the raters of Warriner, Kuperman & Brysbaert (2013); a rater is in one of each pair."""

GROUPS: dict[str, type[pl.DataType]] = {
    "language": pl.String,
    "target": pl.String,
    "predictor": pl.String,
    "a": pl.String,
    "b": pl.String,
    "n_words": pl.Int64,
    "r_a": pl.Float64,
    "r_b": pl.Float64,
    "reliability_a": pl.Float64,
    "reliability_b": pl.Float64,
    "r_disattenuated_a": pl.Float64,
    "r_disattenuated_b": pl.Float64,
    "difference": pl.Float64,
    "expected": pl.Float64,
    "beyond": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "n_simulations": pl.Int64,
}


def group_pairs(columns: Sequence[str], targets: Sequence[str]) -> list[tuple[str, str]]:
    """Find the pairs of groups whose means, deviations and numbers of raters a table holds.

    Args:
        columns: Columns of the table, such as `male_valence`, `male_valence_sd`, `male_valence_n`.
        targets: The rated dimensions.

    Returns:
        The pairs of `PAIRS` that are there for every target; all pairs of groups with other names.

    Example:
        >>> names = [f"{g}_valence{end}" for g in ("north", "south") for end in ("", "_sd", "_n")]
        >>> group_pairs(names, ["valence"])
        [('north', 'south')]
    """
    have, first = set(columns), targets[0]
    groups = [
        column.removesuffix(f"_{first}_sd")
        for column in columns
        if column.endswith(f"_{first}_sd")
        and all(
            f"{column.removesuffix(f'_{first}_sd')}_{target}{end}" in have
            for target in targets
            for end in ("", "_sd", "_n")
        )
    ]
    known = [pair for pair in PAIRS if set(pair) <= set(groups)]
    named = {group for pair in PAIRS for group in pair}
    others = [group for group in groups if group not in named]
    return known + [(a, b) for at, a in enumerate(others) for b in others[at + 1 :]]


def study_groups(
    predictors: Mapping[str, Predictor],
    table: pl.DataFrame,
    *,
    targets: Sequence[str] = ("valence", "arousal"),
    pairs: Sequence[tuple[str, str]] | None = None,
    config: RatingsConfig | None = None,
    exclude: pl.DataFrame | Iterable[str] = (),
) -> pl.DataFrame:
    """Compare how well the ratings of two groups of raters are predicted, against one truth for both.

    The folds are those of `study_ratings` with the same words. For each pair only words count that both groups
    rated with at least two raters each. Penalties of the simulated fits are those that the group's own ratings
    chose, fold by fold. The shared truth is the mean of both groups' standardised ratings, weighted by their
    precision; it still holds some of their noise, which makes all simulated correlations smaller alike, so the
    mean simulated difference is scaled by the ratio of the observed to the simulated correlations.

    Args:
        predictors: As for `study_ratings`; those with more than 1,024 columns are left out, since every
            simulation fits them again.
        table: `word`, `language`, and for each group and target `<group>_<target>`, `…_sd`, `…_n`.
        targets: Rated dimensions.
        pairs: Pairs of groups; None means those that `group_pairs` finds.
        config: Folds, penalties, simulations, confidence; None means the defaults.
        exclude: Words that chose the features; they leave with their families.

    Returns:
        `GROUPS` and p_adjusted, a row for each language, pair, target and predictor: r within folds,
        reliability and r over its root for both groups; difference of the latter, a - b; expected (the same
        where both share one truth); beyond (difference - expected) with its interval; p two-sided. Null where
        error exceeds the variance of a group's ratings. Empty without pairs or simulations.

    Source: methods.md, section 7; Spearman (1904) for disattenuation.
    """
    config = config or RatingsConfig()
    found = group_pairs(table.columns, targets) if pairs is None else list(pairs)
    narrow = {name: x for name, x in predictors.items() if x.shape[1] <= SPECTRAL_LIMIT}
    wide = [name for name in predictors if name not in narrow]
    if wide and found:
        log.info("rater groups: %s left out, more than %d columns", ", ".join(wide), SPECTRAL_LIMIT)
    rows: list[dict[str, object]] = []
    if not (found and narrow and config.group_simulations and table.height):
        return _finished(rows)
    families = group_words(table["word"].to_list(), table["language"].to_list(), linked_concepts(table))
    stays = exclude_words(table, families, exclude)
    kept, table, families = np.flatnonzero(stays), table.filter(stays), families[stays]
    folds = assign_folds(families, config.folds, config.seed, table["language"].to_list())
    for language in table["language"].unique(maintain_order=True).to_list():
        here = (table["language"] == language).to_numpy()
        for pair in found:
            both = here & _rated(table, pair, targets)
            if both.sum() < config.min_words or len(np.unique(families[both])) < LEAST_GROUPS * config.folds:
                log.info("%s: %s and %s rated %d words, too few", language, *pair, both.sum())
                continue
            inside = np.flatnonzero(both)
            outer = folds[inside]
            inner = inner_folds(families[inside], outer, config.inner_folds, config.seed)
            sides = {
                (group, target): _side(table[inside], f"{group}_{target}")
                for group in pair
                for target in targets
            }
            for name, x in narrow.items():
                part = x[kept[inside]]
                if sp.issparse(part):
                    part = transform_features(part, Transform(config.transform), name)
                for row in _compare(part, sides, pair, targets, outer, inner, config):
                    rows.append({"language": language, "predictor": name, "n_words": len(inside)} | row)
                log.info("ratings of %s and %s compared by %s", *pair, name)
    return _finished(rows)


def _finished(rows: list[dict[str, object]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=GROUPS)
    adjusted = adjust_p(table["p"].fill_null(np.nan).to_numpy())
    return table.with_columns(pl.Series("p_adjusted", adjusted, dtype=pl.Float64)).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )


def _rated(table: pl.DataFrame, pair: tuple[str, str], targets: Sequence[str]) -> np.ndarray:
    """Which words both groups rated, by two raters at least, so that each has a standard deviation."""
    good = pl.lit(True)
    for column in (f"{group}_{target}" for group in pair for target in targets):
        for part in (column, f"{column}_sd"):
            good &= pl.col(part).cast(pl.Float64).is_finite().fill_null(False)
        good &= (pl.col(f"{column}_n") >= 2).fill_null(False)
    return table.select(good.alias("good"))["good"].to_numpy()


def _side(table: pl.DataFrame, column: str) -> Side:
    mean, sd, n = (
        table[f"{column}{end}"].cast(pl.Float64).to_numpy().astype(np.float64) for end in ("", "_sd", "_n")
    )
    return Side(mean, sd / np.sqrt(n), reliability_ceiling(mean, sd, n) ** 2)


def _compare(
    x: Predictor,
    sides: Mapping[tuple[str, str], Side],
    pair: tuple[str, str],
    targets: Sequence[str],
    outer: np.ndarray,
    inner: Sequence[np.ndarray],
    config: RatingsConfig,
) -> list[dict[str, object]]:
    """Compare one pair by one predictor, for all targets."""
    scaling = Scaling(config.scaling)
    observed = np.column_stack([sides[group, target].mean for target in targets for group in pair])
    fit = nested_ridge(
        x,
        observed,
        outer,
        inner,
        penalty_grid(config.penalty_low, config.penalty_high, config.penalties),
        scaling=scaling,
        tolerance=config.tolerance,
        workers=config.workers,
    )
    r = correlations(observed, fit.predicted, outer)
    design = dense_if_narrow(as_design(x), SPECTRAL_LIMIT)
    gram = total_gram(design, SPECTRAL_LIMIT, scaling)
    rng = np.random.default_rng(config.seed)
    rows: list[dict[str, object]] = []
    for at, target in enumerate(targets):
        columns = [2 * at, 2 * at + 1]
        both = [sides[group, target] for group in pair]
        row: dict[str, object] = {"target": target, "a": pair[0], "b": pair[1]}
        for side, column, mark in zip(both, columns, "ab", strict=True):
            row |= {
                f"r_{mark}": float(r[column]),
                f"reliability_{mark}": side.reliability,
                f"r_disattenuated_{mark}": float(r[column] / np.sqrt(side.reliability)),
            }
        if all(np.isfinite(side.reliability) for side in both):
            simulated = simulate(design, gram, fit, columns, both, outer, rng, config)
            row |= compare_sides(r[columns], simulated, both, config.confidence)
        rows.append(row)
    return rows
