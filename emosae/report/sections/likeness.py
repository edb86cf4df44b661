"""How like people the features are, beside what they must be compared with, read from a run's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from emosae.report.bars import Role
from emosae.report.names import order_names, readable, role, split_language
from emosae.report.page import Column
from emosae.report.sections.space import FEATURES
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import count, interval, number, p_value

__all__ = [
    "LIKENESS_COLUMNS",
    "NEEDED",
    "ROLE_ORDER",
    "Likeness",
    "draws_range",
    "headline_rows",
    "in_order",
    "likeness",
    "likeness_cells",
    "raters_ceiling",
    "space_role",
]

NEEDED = ("space", "comparator", "score")
ROLE_ORDER = ("features", "subset", "baseline", "control", "human")
LIKENESS_COLUMNS = (Column("likeness"), Column("interval"), Column("p"), Column("emotions"))
"""Columns of `likeness_cells`."""
_ROLES: Mapping[str, Role] = {"baseline": "baseline", "control": "control", "attribute": "human"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """How like people the features of one language are, beside what they must be compared with.

    Attributes:
        language: Empty where the study reads one language.
        comparator: Which measure of likeness.
        row: The row of the table.
        beside: Scores of the baselines of the same language and of valence alone, by readable name.
        ceiling: Lower and upper bound of the best possible score, None where not known.
    """

    language: str
    comparator: str
    row: Mapping[str, Any]
    beside: Sequence[tuple[str, float | None]]
    ceiling: tuple[float, float] | None


def likeness(run: Run, stage: Stage | None) -> list[Likeness]:
    """Read the headline scores of each feature space, none where there was nothing to compare with."""
    if stage is None:
        return []
    rsa = headline_rows(stage)
    rows = {row["space"]: row for row in rsa.iter_rows(named=True)}
    found = []
    for name, row in rows.items():
        base, language = split_language(name, run.languages)
        if base != FEATURES:
            continue
        # valence alone first, since it is what most of people's judgements follow
        others = sorted(order_names(rows, run.languages), key=lambda each: each != "valence")
        beside = [
            (readable(split_language(other, run.languages)[0]), finite(rows[other]["score"]))
            for other in others
            if other == "valence"
            or (
                space_role(rows[other], run.languages) in {"baseline", "control"}
                and split_language(other, run.languages)[1] == language
            )
        ]
        found.append(
            Likeness(
                language=language,
                comparator=str(row["comparator"]),
                row=row,
                beside=beside,
                ceiling=raters_ceiling(row),
            )
        )
    return found


def in_order(rows: Iterable[Mapping[str, Any]], run: Run) -> list[Mapping[str, Any]]:
    """Sort rows of spaces by what they are to the study, then by name, one space's languages side by side."""
    listed = list(rows)
    names = order_names((row["space"] for row in listed), run.languages)
    return sorted(
        listed,
        key=lambda row: (ROLE_ORDER.index(space_role(row, run.languages)), names.index(row["space"])),
    )


def headline_rows(stage: Stage) -> pl.DataFrame:
    """Return the rows of the comparator that headlines use."""
    rsa = stage.table("rsa", *NEEDED)
    if rsa.is_empty():
        return rsa
    comparator = stage.values.get("comparator") or rsa["comparator"][0]
    return rsa.filter(pl.col("comparator") == comparator)


def space_role(row: Mapping[str, Any], languages: Sequence[str]) -> Role:
    """Tell what a row's space is to the study, by the table or else by its name."""
    named = str(row.get("role") or "")
    return _ROLES.get(named) or role(split_language(str(row["space"]), languages)[0])


def raters_ceiling(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the lower and upper bound of the best score with single raters, None where not known."""
    low, high = finite(row.get("ceiling_lower")), finite(row.get("ceiling_upper"))
    return None if low is None or high is None else (low, high)


def draws_range(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return between which scores the single random sets of a row lie, None for what is no such row."""
    low, high = finite(row.get("draws_low")), finite(row.get("draws_high"))
    return None if low is None or high is None else (low, high)


def likeness_cells(row: Mapping[str, Any]) -> list[str]:
    """Write how like two spaces are: score, interval, p and the number of emotions."""
    return [
        number(row["score"]),
        interval(row.get("ci_low"), row.get("ci_high")),
        p_value(row.get("p")),
        count(row.get("n_concepts")),
    ]
