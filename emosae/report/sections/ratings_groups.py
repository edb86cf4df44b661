"""Whose ratings does the model share? Two groups of raters, beside what one truth for both would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emosae.report.bars import ROLE_COLOURS
from emosae.report.intervals import Cell, draw_intervals
from emosae.report.names import language_name, order_names, role
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.ratings_names import predictor_name
from emosae.report.sections.wording import interval_name, minus, range_of
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import clean, interval, number, p_value, words_of

__all__ = ["group_blocks", "group_name"]

_NEEDED = ("language", "target", "predictor", "a", "b", "difference", "expected", "beyond")
_BOTH = ("r", "reliability", "r_disattenuated")
_GROUPS = {
    "male": "men",
    "female": "women",
    "young": "younger raters",
    "old": "older raters",
    "low_education": "less schooling",
    "high_education": "more schooling",
}


def group_name(name: str) -> str:
    """Return a group of raters as a person would write it.

    Example:
        >>> group_name("male"), group_name("north_coast")
        ('men', 'north coast')
    """
    return _GROUPS.get(name, words_of(clean(name)))


def group_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show which group's ratings are predicted better; nothing where the norms give no groups."""
    table = stage.table("groups", *_NEEDED)
    if table.is_empty():
        return []
    order = {name: at for at, name in enumerate(order_names(table["predictor"].to_list()))}
    rows = sorted(table.iter_rows(named=True), key=lambda row: order[row["predictor"]])
    blocks: list[Block] = []
    languages = list(dict.fromkeys(row["language"] for row in rows))
    for language in languages:
        own = [row for row in rows if row["language"] == language]
        if any(finite(row["difference"]) is not None for row in own):
            end = f"_{language}" if len(languages) > 1 else ""
            blocks.append(_figure(run, own, language, f"rater_groups{end}", canvas))
    return [*blocks, *_reading(rows), _table(rows)]


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['target']}: {minus(group_name(row['a']), group_name(row['b']))}"


def _figure(run: Run, rows: list[dict[str, Any]], language: str, name: str, canvas: Canvas) -> Block:
    groups: dict[str, dict[str, Cell]] = {}
    expected: dict[str, dict[str, float | None]] = {}
    for row in sorted(rows, key=lambda row: (row["a"], row["b"], row["target"] != "valence")):
        value, null = finite(row["difference"]), finite(row["expected"])
        low, high = finite(row.get("low")), finite(row.get("high"))
        if value is None or null is None:
            continue
        # the table's interval is that of the difference beyond the expected one
        ends = (None, None) if low is None or high is None else (low + null, high + null)
        predictor = predictor_name(row["predictor"])
        groups.setdefault(_label(row), {})[predictor] = (value, *ends)
        expected.setdefault(_label(row), {})[predictor] = null
    # legend and colours in the order of roles, whatever row comes first
    names = [predictor_name(each) for each in order_names(row["predictor"] for row in rows)]
    groups = {row: {each: cells[each] for each in names if each in cells} for row, cells in groups.items()}
    n = range_of([row["n_words"] for row in rows if row.get("n_words")], "word")
    simulations = range_of([row["n_simulations"] for row in rows if row.get("n_simulations")], "simulation")
    return canvas.add(
        draw_intervals(
            groups,
            axis="Difference of disattenuated r",
            expected=expected,
            expected_name="expected if both share one truth",
            upper=None,
            colours={predictor_name(row["predictor"]): ROLE_COLOURS[role(row["predictor"])] for row in rows},
        ),
        name,
        lead="Does the model share the feelings of some people more than those of others?",
        title=f"Groups of raters compared, {language_name(language)}",
        caption=(
            f"{n + ', the same for both groups. ' if n else ''}Right of zero the first group's ratings are predicted "
            "better. Groups differ in how well their raters agree, so some difference is expected although both feel "
            f"alike: the hollow mark{f', from {simulations},' if simulations else ''} is that null. A group stands "
            f"apart where the {interval_name(run, 'ratings', 'simulated ratings')} leaves the hollow mark out. The raw "
            "residual is the baseline without the autoencoder."
            + (
                ""
                if any(role(row["predictor"]) == "features" for row in rows)
                else " All features together are left out here: the regression is fitted again in every simulation, "
                "which more than 1,024 columns make too slow."
            )
        ),
        alt="; ".join(
            f"{label}: "
            + ", ".join(
                f"{each} {number(cell[0])}, expected {number(expected[label][each])}"
                for each, cell in cells.items()
            )
            for label, cells in groups.items()
        ),
    )


def _reading(rows: list[dict[str, Any]]) -> list[Block]:
    main = next(
        (row["predictor"] for row in rows if role(row["predictor"]) == "features"), rows[0]["predictor"]
    )
    own = [row for row in rows if row["predictor"] == main and finite(row.get("p_adjusted")) is not None]
    if not own:
        return []
    apart = [row for row in own if row["p_adjusted"] < 0.05]
    start = f"By {predictor_name(main)}, "
    if not apart:
        text = "no group's ratings are shared more than the other's once reliability is allowed for"
        return [
            Paragraph(
                f"{start}{text} (adjusted p at least {p_value(min(row['p_adjusted'] for row in own))})."
            )
        ]
    parts = [
        f"{row['target']} of {group_name(row['a' if row['beyond'] > 0 else 'b'])} rather than "
        f"{group_name(row['b' if row['beyond'] > 0 else 'a'])} (adjusted p = {p_value(row['p_adjusted'])})"
        for row in apart
    ]
    return [Paragraph(f"{start}the model shares the {'; '.join(parts)}.")]


def _table(rows: list[dict[str, Any]]) -> Table:
    several = len({row["language"] for row in rows}) > 1
    cells: list[list[str]] = []
    marked = []
    for row in rows:
        if role(row["predictor"]) == "features":
            marked.append(len(cells))
        cells.append(
            [
                minus(group_name(row["a"]), group_name(row["b"])),
                row["target"],
                *([language_name(row["language"])] if several else []),
                predictor_name(row["predictor"]),
                *(f"{number(row.get(f'{what}_a'))}, {number(row.get(f'{what}_b'))}" for what in _BOTH),
                number(row["difference"]),
                number(row["expected"]),
                number(row["beyond"]),
                interval(row.get("low"), row.get("high")),
                p_value(row.get("p_adjusted", row.get("p"))),
            ]
        )
    return Table(
        caption="Groups of raters on the same words and folds; first group, second group. Beyond: the difference less "
        "the one expected where both share one truth, with its interval.",
        columns=[
            Column("Groups", False),
            Column("Rating", False),
            *([Column("Language", False)] if several else []),
            Column("Predictor", False),
            Column("r"),
            Column("reliability"),
            Column("r, dis\u00adattenuated"),
            Column("difference"),
            Column("expected"),
            Column("beyond"),
            Column("interval"),
            Column("adjusted p"),
        ],
        rows=cells,
        marked=frozenset(marked),
        folded=True,
    )
