"""The report's table of what was planted and found: only for the planted world, every row readable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_phantom_recovery import geometry, ratings

from emosae.phantom.recovery import recovery
from emosae.report.page import Table
from emosae.report.sections.recovery import recovery_section
from emosae.report.source import Run, Stage

PLANTED = {
    "model": {"name": "phantom:weights/model"},
    "concepts": {"name": "phantom27"},
    "language": ["en", "zh"],
}


@pytest.fixture
def stages() -> dict[str, Stage]:
    summary = pl.DataFrame({"language": ["en"] * 27, "n_significant": [1] * 20 + [0] * 7})
    return {
        "select": Stage(tables={"summary": summary}),
        "geometry": Stage(tables=geometry(np.arange(27))),
        "ratings": Stage(tables=ratings(0.2)),
    }


def test_every_question_is_a_row_with_its_goal_and_chance(tmp_path: Path, stages: dict[str, Stage]) -> None:
    run = Run(folder=tmp_path, manifest={"config": PLANTED}, stages={"site": stages})
    section = recovery_section(run, stages, "recovery")
    assert section is not None
    table, between = (block for block in section.blocks if isinstance(block, Table))
    expected = recovery(*(stages[name].tables for name in ("select", "geometry", "ratings")))
    assert len(table.rows) == expected.height
    assert all(len(row) == len(table.columns) for row in table.rows)
    first = table.rows[0]
    assert first[0].startswith("emotions (of 27)")
    assert list(first[2:5]) == ["English", "20", "25"]
    assert first[-1] == "no"
    assert f"{int(expected['met'].sum())} of {expected.height}" in section.blocks[0].text
    assert any("English and Chinese" in row[2] for row in table.rows)
    # the facts planted apart stand in a table of their own, without a goal
    assert [column.title for column in between.columns][-2:] == ["By chance", "Above chance"]
    assert [row[0].split(",")[0] for row in between.rows] == ["excitement and fear"] * 2
    assert all(len(row) == len(between.columns) for row in between.rows)


def test_no_other_run_is_held_against_the_planted_world(tmp_path: Path, stages: dict[str, Stage]) -> None:
    run = Run(folder=tmp_path, manifest={"config": PLANTED}, stages={"site": stages})
    for changed in ({"model": {"name": "gpt2"}}, {"concepts": {"name": "ekman6"}}):
        other = replace(run, manifest={"config": PLANTED | changed})
        assert recovery_section(other, stages, "recovery") is None
    assert recovery_section(run, {}, "recovery") is None
