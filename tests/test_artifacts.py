"""The run folder: written then read is the identity, and a failure leaves nothing half-written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emosae.artifacts import RunFolder, atomic_path, load_result, read_json, save_result, write_json
from emosae.errors import MissingFileError, UserError


@dataclass(frozen=True)
class Result:
    scores: pl.DataFrame
    other_scores: pl.DataFrame
    space: np.ndarray
    note: str
    counts: dict[str, int]


def result(shift: float) -> Result:
    table = pl.DataFrame({"concept": ["joy", "悲"], "auroc": [0.9 + shift, 0.5]})
    return Result(table, table.head(1), np.arange(4.0) + shift, f"note {shift}", {"en": 3})


def test_results_of_two_sites_come_back_as_they_went(tmp_path: Path) -> None:
    before = {"blocks.1.hook_resid_post": result(0.0), "blocks.2.hook_resid_post": result(0.05)}
    save_result(tmp_path, "select", before)
    after = load_result(tmp_path, "select", Result)
    assert list(after) == list(before)
    for site, was in before.items():
        assert after[site].scores.equals(was.scores)
        assert after[site].other_scores.equals(was.other_scores)
        np.testing.assert_array_equal(after[site].space, was.space)
        assert (after[site].note, after[site].counts) == (was.note, was.counts)
    assert (
        (tmp_path / "tables" / "select_scores.csv")
        .read_text(encoding="utf-8")
        .startswith("site,concept,auroc")
    )


def test_a_stage_that_did_not_run_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run `emosae select` first"):
        load_result(tmp_path, "select", Result)


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError, match="full"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("disk full")
    assert read_json(path) == {"old": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_broken_json_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(UserError, match="not readable as JSON"):
        read_json(tmp_path / "m.json")


def status(folder: Path) -> dict:
    return json.loads((folder / "status.json").read_text())


def test_a_run_that_ends_well_says_done(tmp_path: Path) -> None:
    with RunFolder.new(tmp_path, "run", {"stage": "run"}) as run:
        assert status(run.folder)["status"] == "running"
        run.finish_stage("select")
    assert status(run.folder)["status"] == "done"
    manifest = read_json(run.folder / "manifest.json")
    assert manifest["stages"] == ["select"]
    assert manifest["environment"]["packages"]["numpy"] == np.__version__


def test_a_run_that_fails_early_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no"), RunFolder.new(tmp_path, "run", {}) as run:
        raise UserError("no")
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("error", "word"), [(UserError("later"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_run_that_fails_late_keeps_its_stages(tmp_path: Path, error: BaseException, word: str) -> None:
    with pytest.raises(type(error)), RunFolder.new(tmp_path, "run", {}) as run:
        run.finish_stage("select")
        raise error
    assert status(run.folder) | {"time": "", "pid": 0} == {
        "status": word,
        "stages": ["select"],
        "time": "",
        "pid": 0,
        "error": str(error),
    }


def test_a_job_of_a_sweep_keeps_its_status(tmp_path: Path) -> None:
    with pytest.raises(UserError), RunFolder(tmp_path / "0", {}, keep=True):
        raise UserError("early")
    assert status(tmp_path / "0")["status"] == "failed"
