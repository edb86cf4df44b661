"""One row per word: averaging repeated words, and bringing scales to [-1, 1]."""

from __future__ import annotations

import polars as pl

from emosae.norms.entry import DIMENSIONS, dimension_of

__all__ = ["MULTIWORD", "combine", "finish", "rescale", "to_unit"]

MULTIWORD = pl.col("word").str.contains(r"\s|[(（\[]")
"""Inner blanks, or a gloss in brackets: `alarm clock`, `apple (fruit)`, 책장(책의 낱장)."""


def combine(table: pl.DataFrame) -> pl.DataFrame:
    """Give each word of a language one row, in the order of first occurrence.

    Means are averaged. A standard deviation (root mean square) and a number of raters (sum) are kept where every
    row with the mean gives them, so that sd^2 / n stays an estimate of the mean's own error. Of ids and frequencies
    the first that is given counts; `sources` are joined with `+`.

    Example:
        >>> twice = pl.DataFrame({"word": ["a", "a"], "language": "en", "valence": [2.0, 4.0]})
        >>> combine(twice)["valence"].to_list()
        [3.0]
    """
    rules = [_rule(column, table.columns) for column in table.columns if column not in {"word", "language"}]
    return table.group_by("language", "word", maintain_order=True).agg(rules)


def _rule(column: str, columns: list[str]) -> pl.Expr:
    cell = pl.col(column)
    if column == "sources":
        return cell.unique(maintain_order=True).str.join("+")
    if dimension_of(column) is None:
        return cell.drop_nulls().first()
    mean, _, measure = column.rpartition("_")
    if measure not in {"sd", "n"}:
        return cell.mean()
    total = (cell**2).mean().sqrt() if measure == "sd" else cell.sum()
    gap = cell.is_null() & pl.col(mean).is_not_null() if mean in columns else cell.is_null()
    return pl.when(gap.any() | cell.is_null().all()).then(None).otherwise(total).alias(column)


def finish(table: pl.DataFrame, scales: dict[str, tuple[float, float]]) -> pl.DataFrame:
    """Add the rescaled columns and the flag `multiword`, and bring the columns into the promised order."""
    rated = [dimension for dimension in DIMENSIONS if dimension in table.columns]
    table = table.with_columns(
        to_unit(pl.col(dimension), scales[dimension]).alias(f"{dimension}_scaled") for dimension in rated
    ).with_columns(multiword=MULTIWORD)
    first = [
        "word",
        "language",
        "multiword",
        *(f"{d}{s}" for d in rated for s in ("", "_scaled", "_sd", "_n")),
    ]
    first = [column for column in first if column in table.columns]
    return table.select(*first, *(column for column in table.columns if column not in first))


def to_unit(value: pl.Expr, scale: tuple[float, float]) -> pl.Expr:
    """Map a scale's low end to -1 and its high end to 1; a reversed scale is turned round."""
    low, high = scale
    return (2 * (value - low) / (high - low) - 1).clip(-1.0, 1.0)


def rescale(table: pl.DataFrame, scales: dict[str, tuple[float, float]]) -> pl.DataFrame:
    """Express means and deviations, of all raters and of groups, in units of [-1, 1]."""
    columns = []
    for column in table.columns:
        dimension = dimension_of(column)
        if dimension is None or column.endswith("_n"):
            continue
        low, high = scales[dimension]
        spread = pl.col(column) * (2 / abs(high - low))
        columns.append(spread if column.endswith("_sd") else to_unit(pl.col(column), (low, high)))
    return table.with_columns(columns)
