"""Word ratings as a table: one row per word, several data sets as one, scales brought to [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emosae.errors import UserError, unknown_name
from emosae.norms.entry import DIMENSIONS, dimension_of, group_of

__all__ = ["MULTIWORD", "Ratings", "combine", "finish", "merge", "rescale", "to_unit"]

MULTIWORD = pl.col("word").str.contains(r"\s|[(（\[]")
"""Inner blanks, or a gloss in brackets: `alarm clock`, `apple (fruit)`, 책장(책의 낱장)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratings:
    """Ratings of words, one row per word and language.

    Attributes:
        name: Name of the data set; joined with `+` after `merge`.
        language: Its language; joined with `+` after `merge` of several.
        table: Columns `word`, `language`, `multiword` (entry of several words, or with a gloss in brackets),
            each rated dimension in the file's own unit, its `_sd` and `_n` (number of raters) where given,
            and `_scaled` in [-1, 1]; `concepticon_id`, `frequency`, and GROUP_valence, GROUP_valence_sd, …
            where given.
        scales: Low and high end of each dimension's scale.
        dropped: Rows left out: `line` of the file, `word`, `reason`.
        duplicated: Words that occurred more than once and were averaged: `word`, `rows`.
        unread: Cells of optional columns that hold no number and became null: `column`, `cells`, `example`.
        n_rows: Rows of the file.
        path: The file; None after `merge`.
        checksum_ok: Whether it is the file the entry was checked against; None where no checksum is known.
    """

    name: str
    language: str
    table: pl.DataFrame
    scales: dict[str, tuple[float, float]]
    dropped: pl.DataFrame
    duplicated: pl.DataFrame
    unread: pl.DataFrame
    n_rows: int
    path: Path | None
    checksum_ok: bool | None

    def __len__(self) -> int:
        return self.table.height

    @property
    def dimensions(self) -> list[str]:
        """The rated dimensions that are there, in the order valence, arousal, dominance."""
        return [dimension for dimension in DIMENSIONS if dimension in self.table.columns]

    @property
    def groups(self) -> list[str]:
        """The groups of raters whose means are given apart, e.g. `male`."""
        return list(dict.fromkeys(g for column in self.table.columns if (g := group_of(column)) is not None))

    def group(self, name: str) -> pl.DataFrame:
        """Return one group's ratings as a table of its own.

        Returns:
            `word`, `language` and the group's columns without the group's name: `valence`, `valence_sd`, …

        Raises:
            UserError: No group of that name.
        """
        if name not in self.groups:
            raise unknown_name(f"group of raters in {self.name}", name, self.groups)
        own = {column: column[len(name) + 1 :] for column in self.table.columns if group_of(column) == name}
        return self.table.select("word", "language", *own).rename(own)

    def summary(self) -> str:
        """Say in one line what was read and what was lost."""
        dropped, twice = self.dropped.height, self.duplicated.height
        rows = f"{self.name}: {len(self):,} words ({self.language}) from {self.n_rows:,} rows"
        lost = f"{dropped or 'no'} row{'' if dropped in {0, 1} else 's'} dropped"
        again = f"{twice} repeated word{'' if twice == 1 else 's'} averaged" if twice else "no word repeated"
        other = "; not the file that was checked" if self.checksum_ok is False else ""
        return f"{rows}, {lost}, {again}{other}"


def merge(ratings: Sequence[Ratings]) -> Ratings:
    """Put several data sets into one, on the common scale [-1, 1].

    A word that several sets of its language rate gets the mean of their rescaled ratings. Its standard
    deviation and number of raters are kept only where every set that rates the word gives them, so that a
    reliability computed from them is that of the mean.

    Args:
        ratings: At least one data set; a single one is returned as it is.

    Returns:
        The merged ratings: every rating, deviation and scale in units of [-1, 1], with a column `sources`.

    Raises:
        UserError: There is none, or two have the same name.
    """
    names = [one.name for one in ratings]
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"The data sets to merge must be different ones, at least one, got {names}. Name each once."
        )
    if len(ratings) == 1:
        return ratings[0]
    derived = pl.selectors.ends_with("_scaled") | pl.selectors.by_name("multiword")
    tables = [
        rescale(one.table.drop(derived), one.scales).with_columns(sources=pl.lit(one.name)) for one in ratings
    ]
    table = combine(pl.concat(tables, how="diagonal"))
    common = {d: (-1.0, 1.0) for one in ratings for d in one.scales}
    return Ratings(
        name="+".join(names),
        language="+".join(dict.fromkeys(one.language for one in ratings)),
        table=finish(table, common),
        scales=common,
        dropped=pl.concat([one.dropped for one in ratings]),
        duplicated=pl.concat([one.duplicated for one in ratings]),
        unread=pl.concat([one.unread for one in ratings]),
        n_rows=sum(one.n_rows for one in ratings),
        path=None,
        checksum_ok=_all_ok([one.checksum_ok for one in ratings]),
    )


def combine(table: pl.DataFrame) -> pl.DataFrame:
    """Give each word of a language one row, in the order of first occurrence.

    Means are averaged. A standard deviation (root mean square) and a number of raters (sum) are kept where
    every row with the mean gives them, so that sd^2 / n stays an estimate of the mean's own error. Of ids and
    frequencies the first that is given counts; `sources` are joined with `+`.

    Example:
        >>> twice = pl.DataFrame({"word": ["a", "a"], "language": "en", "valence": [2.0, 4.0]})
        >>> combine(twice)["valence"].to_list()
        [3.0]
    """
    again = table.select("language", "word").is_duplicated()
    if not again.any():
        return table
    rules = [_rule(column, table.columns) for column in table.columns if column not in {"word", "language"}]
    placed = table.with_row_index("place")  # a word that occurs once keeps its numbers to the last bit
    joined = placed.filter(again).group_by("language", "word").agg(pl.col("place").min(), *rules)
    both = pl.concat([placed.filter(~again), joined.select(placed.columns)])
    return both.sort("place").drop("place")


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
    return ((value - low) * (2 / (high - low)) - 1).clip(-1.0, 1.0)


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


def _all_ok(flags: list[bool | None]) -> bool | None:
    if False in flags:
        return False
    return None if None in flags else True
