"""The benchmark of permutation tests runs and writes what it promises; its figures are for calm machines."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import squareform

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "geometry.py"


def test_the_benchmark_of_geometry_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "geometry.json"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--quick", "--rounds", "1", "--output", str(output)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    result = json.loads(output.read_text())
    assert result["workload"]["quick"]
    assert result["workload"]["rdms"] == 5
    assert {"permutation, rho-a", "permutation, spearman", "permutation, pearson"} < set(result["cases"])
    assert all(case["cpu_s"] > 0 for case in result["cases"].values())
    assert {"numpy", "scipy", "emosae", "python"} <= set(result["versions"])
    assert result["hardware"]["cores"] >= 1
    assert "scaled up" in capsys.readouterr().out


def test_the_loop_beside_it_computes_the_same() -> None:
    loop = runpy.run_path(str(SCRIPT))["loop"]
    rng = np.random.default_rng(0)
    rdms, rater = rng.random((2, 10)), rng.random(10)
    order = rng.permutation(5)
    turned = squareform(rater)[np.ix_(order, order)][np.triu_indices(5, 1)]
    expected = [[stats.spearmanr(rdm, turned).statistic] for rdm in rdms]
    np.testing.assert_allclose(loop(rdms, rater, order[None]), expected)
