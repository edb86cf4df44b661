"""The benchmark of extraction runs and writes what it promises; its figures are for calm machines."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "extraction.py"


def test_the_benchmark_of_extraction_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "extraction.json"
    monkeypatch.setenv("EMOSAE_DATA", str(tmp_path))  # no word list: pseudo-words
    threads = str(torch.get_num_threads())
    options = ["--quick", "--words", "40", "--rounds", "2", "--layers", "0", "3", "--threads", threads]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options, "--output", str(output)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    result = json.loads(output.read_text())
    assert result["workload"]["words"] == 40
    assert result["workload"]["words_from"] == "pseudo-words"
    assert [row["layer"] for row in result["extraction"]] == [0, 3]
    assert [row["ideal"] for row in result["extraction"]] == [0.25, 1.0]
    assert all(len(row["of_full_by_round"]) == 2 for row in result["extraction"])
    assert result["sae_encode"]["nnz"] == result["memory"][-1]["nnz"] > 0
    assert {"torch", "transformers", "emosae", "python"} <= set(result["versions"])
    assert result["hardware"]["cores"] >= 1
    assert "output_hidden_states" in capsys.readouterr().out
