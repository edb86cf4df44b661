"""Other models: the spaces of this run beside those of the same kind in earlier runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name, order_names, readable, role, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.likeness import LIKENESS_COLUMNS, ROLE_ORDER, likeness_cells
from emosae.report.sections.space import FEATURES
from emosae.report.sections.wording import bars_in_words, interval_name, range_of
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import interval, number, p_value, shorten

__all__ = ["other_runs_blocks"]

_NEEDED = ("run", "model", "other_site", "space", "other_space", "kind", "comparator", "score")
_MOST_PANELS = 8  # sites of other runs up to which each has a panel with its baselines
_RESIDUAL = "residual"

Row = Mapping[str, Any]


def other_runs_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show how like the spaces of other runs are; nothing where the study was compared with none."""
    table = stage.table("runs", *_NEEDED)
    if table.is_empty():
        return []
    rows = _in_order(table, run)
    panels = _by_place(rows)
    blocks: list[Block] = []
    if any(finite(row["score"]) is not None for row in rows):
        blocks += [_figure(run, panels, canvas), *_in_words(run, panels)]
    return [*blocks, _table(run, panels)]


def _in_order(table: pl.DataFrame, run: Run) -> list[Row]:
    """Sort the rows by what their spaces are to the study: features first."""
    listed = list(table.iter_rows(named=True))
    names = order_names((row["kind"] for row in listed), run.languages)
    return sorted(listed, key=lambda row: (ROLE_ORDER.index(role(row["kind"])), names.index(row["kind"])))


def _by_place(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group the rows by the site of the other run, under a name that tells it from all others."""
    models: dict[str, set[str]] = {}
    for row in rows:
        models.setdefault(row["model"], set()).add(row["run"])
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = shorten(row["model"], 34)
        name += f" ({shorten(Path(row['run']).name, 24)})" if len(models[row["model"]]) > 1 else ""
        found.setdefault(f"{name}, {shorten(row['other_site'], 34)}", []).append(row)
    return found


def _languages(row: Row, run: Run) -> tuple[str, str]:
    """Return the language of this run's space and of the other's; empty where a run has only one."""
    mine = split_language(row["space"], run.languages)[1]
    return mine, str(row["other_space"]).removeprefix(str(row["kind"])).removeprefix("_")


def _name(row: Row, run: Run) -> str:
    mine, theirs = (language_name(each) if each else "" for each in _languages(row, run))
    both = mine if mine == theirs else " with ".join(each for each in (mine, theirs) if each)
    return f"{readable(row['kind'])} ({both})" if both else readable(row["kind"])


def _drawn(rows: Sequence[Row], run: Run) -> list[Row]:
    """Keep pairs of one language where there are such; the table has the others too."""
    alike = [row for row in rows if len(set(_languages(row, run))) == 1]
    return alike or list(rows)


def _bar(row: Row, name: str) -> Bar:
    return Bar(
        name=name,
        role=role(row["kind"]),
        value=finite(row["score"]),
        low=finite(row.get("ci_low")),
        high=finite(row.get("ci_high")),
    )


def _figure(run: Run, places: Mapping[str, list[Row]], canvas: Canvas) -> Block:
    comparator = next(iter(places.values()))[0]["comparator"]
    axis = f"Likeness of the two RDMs ({comparator})"
    if len(places) <= _MOST_PANELS:
        panels = [
            Panel(title=name, bars=[_bar(row, _name(row, run)) for row in _drawn(rows, run)], axis=axis)
            for name, rows in places.items()
        ]
    else:
        pairs = [
            _bar(row, name)
            for name, rows in places.items()
            for row in _drawn([each for each in rows if each["kind"] == FEATURES], run)
        ]
        panels = [Panel(title="SAE features, site by site", bars=pairs, axis=axis)]
    n = range_of([row.get("n_concepts") for rows in places.values() for row in rows], "emotion")  # type: ignore[misc]
    return canvas.add(
        draw_bars(panels, whisker=interval_name(run, "geometry", "emotions"), shared=True),
        "other_runs",
        lead="Do other models place the emotions as this one does?",
        title="Likeness of this run's spaces to those of other runs",
        caption=(
            f"{n + ' that both runs have. ' if n else ''}Each bar compares a space of this run with the same kind of "
            "space in the other: features with features, residual with residual. Where the raw residuals of two "
            "models are as alike as their features, the features add nothing to what the models share; static "
            "embeddings know no context at all. 0 is what emotions in random order give on average. "
            + (
                "The baselines are in the table below."
                if len(places) > _MOST_PANELS
                else "No ceiling is drawn: the raters' disagreement bounds no likeness between two models."
            )
        ),
        alt=bars_in_words(panels),
    )


def _in_words(run: Run, places: Mapping[str, list[Row]]) -> list[Block]:
    texts: list[Block] = []
    for name, rows in places.items():
        drawn = _drawn(rows, run)
        for row in drawn:
            if row["kind"] != FEATURES or finite(row["score"]) is None:
                continue
            facts = [str(row["comparator"])]
            if finite(row.get("ci_low")) is not None:
                facts.append(f"interval {interval(row['ci_low'], row.get('ci_high'))}")
            if finite(row.get("p")) is not None:
                facts.append(f"p = {p_value(row['p'])}")
            text = f"{_name(row, run)} beside {name}: {number(row['score'])} ({'; '.join(facts)})"
            beside = [
                finite(other["score"])
                for other in drawn
                if other["kind"] == _RESIDUAL and _languages(other, run) == _languages(row, run)
            ]
            text += f", where the raw residuals reach {number(beside[0])}." if beside else "."
            texts.append(Paragraph(text))
    return texts if len(texts) <= _MOST_PANELS else []


def _table(run: Run, places: Mapping[str, list[Row]]) -> Table:
    cells: list[list[str]] = []
    marked = []
    for name, rows in places.items():
        for row in rows:
            if row["kind"] == FEATURES:
                marked.append(len(cells))
            cells.append(
                [
                    _name(row, run),
                    name,
                    *likeness_cells(row),
                ]
            )
    return Table(
        caption="Every space beside those of the same kind in other runs. p is that of permuted emotions, one pair at "
        "a time: it is not corrected for the number of runs and sites.",
        columns=[
            Column("Space", False),
            Column("Other run", False),
            *LIKENESS_COLUMNS,
        ],
        rows=cells,
        marked=frozenset(marked),
        folded=True,
    )
