"""Tables of numbers as a reader sees them."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from emosae.report.names import language_name, readable
from emosae.report.page import Column, Table
from emosae.report.text import NOT_COMPUTED, count, number, p_value, shorten, words_of

__all__ = ["finite", "generic_table", "known"]

_PREDICTORS = {"predictor", "baseline", "versus", "reference", "against", "predictor_a", "predictor_b"}


def finite(value: Any) -> float | None:
    """Return a number of a table, None where it is missing or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def known(value: Any) -> str:
    """Return a number that not every data set gives, a dash where it is not given."""
    return number(value) if finite(value) is not None else "\u2013"


def generic_table(table: pl.DataFrame, caption: str, *, folded: bool, most: int = 200) -> Table:
    """Make a table of whatever columns there are; the first one heads the rows.

    Args:
        table: The numbers.
        caption: What they are.
        folded: Show on request only.
        most: Rows shown at most; the caption says so where there are more.
    """
    rows = [
        [_cell(key, value) for key, value in row.items()] for row in table.head(most).iter_rows(named=True)
    ]
    columns = [Column(words_of(name), table[name].dtype.is_numeric()) for name in table.columns]
    if table.height > most:
        caption += f" (the first {count(most)} of {count(table.height)} rows; all are in tables/)"
    return Table(caption=caption, columns=columns, rows=rows, folded=folded)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return NOT_COMPUTED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        if key == "language":
            return language_name(value)
        return readable(value) if key in _PREDICTORS else shorten(value, 160)
    if isinstance(value, int):
        return str(value) if key in {"feature", "axis"} else count(value)
    if isinstance(value, float):
        return p_value(value) if key == "p" or key.startswith("p_") else number(value)
    return shorten(value, 160)
