"""Do p-values and intervals hold? A few hundred trials here; a thousand of each are stored and checked here.

`benchmarks/simulations.py` makes the stored ones from the same trials; it says how to make them again.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from emosae.geometry.permutation import label_permutations, pair_orders
from emosae.geometry.valence import partial_rho

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def _load() -> tuple[ModuleType, ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("simulations"), importlib.import_module("trials")
    finally:
        sys.path.remove(str(BENCHMARKS))


simulations, trials = _load()
FEW = (
    {"groups": 10, "best_site": 20, "random_set": 40, "one_truth": 40}
    | dict.fromkeys(
        ("similarity_interval_nothing", "similarity_interval_some", "similarity_interval_much"), 80
    )
    | {"cross_validated_some": 20, "cross_validated_much": 20}
)
"""Trials where one takes long; 200 of the others."""


@pytest.mark.parametrize("name", list(trials.SIMULATIONS))
def test_a_few_trials_are_within_wide_bounds(name: str) -> None:
    kind, n = trials.SIMULATIONS[name].kind, FEW.get(name, 200)
    values = np.array([simulations.run_trial(name, number) for number in range(n)])
    error = np.sqrt(0.05 * 0.95 / n)
    if kind in simulations.COVERAGE:
        low, high = simulations.COVERAGE[kind]
        assert set(values) <= {0.0, 1.0}
        assert low - 3 * error <= values.mean() <= high + 3 * error
        return
    assert np.mean(values <= 0.05) <= 0.05 + 4 * error
    if kind == "p":
        steps = trials.SIMULATIONS[name].steps
        spread = np.random.default_rng(0).random(n) / steps if steps else 0.0
        assert stats.kstest(values - spread, "uniform").pvalue > 1e-3


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    assert simulations.RESULTS.is_file(), (
        "the stored simulations are missing: run `python benchmarks/simulations.py`"
    )
    found: dict[str, Any] = json.loads(simulations.RESULTS.read_text())
    return found


@pytest.mark.parametrize("name", list(trials.SIMULATIONS))
def test_a_thousand_stored_trials_are_within_their_bounds(name: str, stored: dict[str, Any]) -> None:
    assert name in stored["simulations"], "run `python benchmarks/simulations.py`"
    row = stored["simulations"][name]
    assert row["n_trials"] >= 1_000
    assert row["within"], row
    measured = row["coverage"] if "coverage" in row else row["rate"]
    assert row["bounds"][0] <= measured <= row["bounds"][1]
    assert row["kind"] == trials.SIMULATIONS[name].kind
    assert row["code"] == simulations.code_tag(trials.SIMULATIONS[name]), "made by other code: run it again"


def test_the_digest_is_of_what_the_code_does_and_not_of_what_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = trials.SIMULATIONS["procrustes"]
    folder = tmp_path / "emosae" / "geometry"
    folder.mkdir(parents=True)
    for name in ("procrustes", "permutation"):
        text = (BENCHMARKS.parent / "emosae" / "geometry" / f"{name}.py").read_text()
        (folder / f"{name}.py").write_text(text)
    before = simulations.code_tag(simulation)
    monkeypatch.setattr(simulations, "HERE", tmp_path / "benchmarks")
    assert simulations.code_tag(simulation) == before
    text = (folder / "permutation.py").read_text()
    said, done = '"""Return the share of permuted', "(reached + 1)"
    assert said in text
    assert done in text
    (folder / "permutation.py").write_text(text.replace(said, '"""Give the share of permuted'))
    assert simulations.code_tag(simulation) == before
    (folder / "permutation.py").write_text(text.replace(done, "reached"))
    assert simulations.code_tag(simulation) != before
    form = simulations._form(ast.parse("def f(x):\n    return x + 1"))
    assert "args=[(arg arg='x')]" in form
    assert "decorator_list" not in form, "fields without a value are not the same in every Python"


def test_a_stopped_run_goes_on_and_trials_of_other_code_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, output = tmp_path / "log.jsonl", tmp_path / "results" / "found.json"
    options = ["simulations.py", "--only", "control_share", "--log", str(log), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", [*options, "--trials", "30"])
    simulations.main()
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    first = json.loads(output.read_text())["simulations"]["control_share"]
    values = [value for line in lines for value in json.loads(line)["values"]]
    assert values == [simulations.run_trial("control_share", number) for number in range(30)]
    assert (first["n_trials"], first["coverage"]) == (30, round(float(np.mean(values)), 4))
    log.write_text(lines[0] + "\n" + lines[1][:20])  # stopped while writing
    simulations.main()
    assert json.loads(output.read_text())["simulations"]["control_share"]["coverage"] == first["coverage"]
    assert lines[1].partition('"seconds"')[0] in log.read_text(), "the broken line was made again"
    other = json.loads(lines[0]) | {"code": "other", "values": [0.0] * 20}
    log.write_text(json.dumps(other) + "\n")
    simulations.main()
    assert json.loads(output.read_text())["simulations"]["control_share"]["coverage"] == first["coverage"]
    assert "control_share: 30 trials" in capsys.readouterr().out


def test_judging_tells_what_holds_from_what_does_not() -> None:
    uniform = (np.arange(1000) + 0.5) / 1000
    assert simulations.judge("paired_bootstrap", uniform)["within"]
    assert not simulations.judge("paired_bootstrap", uniform**2)["within"]
    assert not simulations.judge("paired_bootstrap", np.sqrt(uniform))["within"]
    clumped = np.where(uniform <= 0.05, uniform, 0.5)  # the rate is right, the rest is not
    assert not simulations.judge("paired_bootstrap", clumped)["within"]
    assert simulations.judge("control_axis", np.sqrt(uniform))["within"], "conservative is allowed there"
    assert not simulations.judge("control_axis", uniform**2)["within"]
    for name, least in (("similarity_interval_nothing", 930), ("cross_validated_some", 930)):
        for covered, holds in ((least - 1, False), (least, True), (1000, True)):
            values = np.repeat([1.0, 0.0], [covered, 1000 - covered])
            assert simulations.judge(name, values)["within"] is holds
    for covered, holds in ((920, False), (950, True), (980, False)):
        values = np.repeat([1.0, 0.0], [covered, 1000 - covered])
        assert simulations.judge("r_interval", values)["within"] is holds


@pytest.mark.parametrize(("residuals", "least"), [("permutation", 0.4), ("rotation", 0.55)])
def test_beyond_valence_finds_what_is_shared_beyond_it(residuals: str, least: float) -> None:
    """In 1,000 trials: 57 % by permutation, 88 % by rotation, for two more dimensions at half of valence's weight."""
    rng = np.random.default_rng(0)
    found = np.mean([trials.beyond(rng, share=0.8, residuals=residuals) <= 0.05 for _ in range(100)])
    assert found > least


def test_a_partial_mantel_test_would_not_hold() -> None:
    """What `beyond_valence` is for: partial rho under permuted labels rejects when all is valence."""

    rng = np.random.default_rng(0)
    rejected = []
    for _ in range(30):
        valence = rng.standard_normal(20) ** 3
        raters = pdist(np.tanh(valence)[:, None])[None] + 0.1 * rng.standard_normal((1, 190))
        rdm, given = pdist(np.tanh(2 * valence)[:, None]), pdist(valence[:, None])
        orders = pair_orders(label_permutations(20, 39, rng).orders)
        null = np.array([partial_rho(rdm[order], raters, given) for order in orders])
        rejected.append((1 + (null >= partial_rho(rdm, raters, given)).sum()) / 40 <= 0.05)
    assert np.mean(rejected) > 0.25
