"""The benchmarks that are meant for a GPU run on a CPU too; their figures there are for reading only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def run(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark in a process of its own."""
    command = [sys.executable, str(BENCHMARKS / script), *options]
    return subprocess.run(
        command, env=os.environ | environment, check=False, capture_output=True, text=True, timeout=300
    )


def quick(script: str, output: Path, *options: str) -> dict[str, Any]:
    done = run(script, "--quick", *options, "--output", str(output))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return result


def test_the_benchmark_of_steering_on_a_gpu_runs(tmp_path: Path) -> None:
    result = quick("steering_gpu.py", tmp_path / "new" / "steering.json", "--batch", "2", "--rounds", "1")
    [case] = result["cases"]
    assert (case["how"], case["batch"], result["left_out"]) == ("eager", 2, [])
    assert case["logits_moved"] > 0.01  # the clamps did something
    assert not case["kernel_ran"]
    assert result["within_bar"] is None  # nothing is claimed where no graph ran


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_without_a_gpu_the_benchmark_says_so_and_measures_nothing(tmp_path: Path) -> None:
    output = tmp_path / "steering.json"
    done = run("steering_gpu.py", "--output", str(output))
    assert done.returncode == 2
    assert "needs a CUDA device" in done.stdout
    assert not output.exists()


def test_the_benchmark_of_the_decode_runs(tmp_path: Path) -> None:
    result = quick("decode.py", tmp_path / "new" / "decode.json")
    assert result["left_out"] == []
    assert {"checked", "unchecked", "embedding_bag", "sparse.mm", "dense"} <= set(
        result["decode"][0]["latency_ms"]
    )
    assert all(row["backend"] == "torch" for row in result["decode"])
    assert result["copy_gb_s"] > 0
