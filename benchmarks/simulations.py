"""Do p-values and intervals hold? Simulated studies, a thousand of each kind, kept beside the code.

    python benchmarks/simulations.py                     # all that are not done yet; can be stopped and started again
    python benchmarks/simulations.py --only mantel_rho_a groups --trials 100
    python benchmarks/simulations.py --list              # what there is, with seconds a trial where known

A trial draws its data from a seed of its own (simulation and number), so that stopping, starting and order change
nothing. Finished trials are logged; those made by other code count for nothing: every simulation is marked with a
digest of the modules that it rests on, comments and docstrings left out. `results/simulations.json` has the share of
p at most .05, or of intervals that hold the truth, with its bounds:

* `p`: uniform where there is nothing: Kolmogorov-Smirnov p above .001 and a rate at .05 within three standard errors;
* `test`: at most .05 and three standard errors: a test that may be conservative, as exact ones of few values are;
* `interval`: .93 to .97 of the intervals hold the truth; `wide`: at least .93, where the text says that they are wide.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import inspect
import json
import os
import platform
import time
import zlib
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from trials import SEED, SIMULATIONS, Simulation

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "simulations.json"
TRIALS = 1_000
BATCH = 20
COVERAGE = {"interval": (0.93, 0.97), "wide": (0.93, 1.0)}


def code_tag(simulation: Simulation) -> str:
    """Digest the code that a simulation rests on and that of its trial, without comments and docstrings."""
    trial = simulation.trial
    function = trial.func if isinstance(trial, partial) else trial
    settings = sorted(trial.keywords.items()) if isinstance(trial, partial) else []
    digest = hashlib.sha256(repr(settings).encode())
    texts = [
        (HERE.parent / "emosae" / f"{name.replace('.', '/')}.py").read_text() for name in simulation.rests_on
    ]
    for text in (*texts, inspect.getsource(function)):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [each for each in body if not _is_text(each)] or [ast.Pass()]  # type: ignore[attr-defined]
        digest.update(_form(tree).encode())
    return digest.hexdigest()[:16]


def _form(node: object) -> str:
    """Write a syntax tree out, alike in every Python: `ast.unparse` and `ast.dump` differ between versions."""
    if isinstance(node, ast.AST):
        known = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return f"({type(node).__name__} {' '.join(f'{name}={_form(value)}' for name, value in known)})"
    if isinstance(node, list):
        return f"[{' '.join(map(_form, node))}]"
    return repr(node)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def run_trial(name: str, number: int) -> float:
    """Run one trial; the same number for the same name, whatever ran before."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode()), number])
    return SIMULATIONS[name].trial(rng)


def judge(name: str, values: np.ndarray) -> dict[str, Any]:
    """Sum up the trials of a simulation, and say whether they are within its bounds."""
    simulation, n = SIMULATIONS[name], len(values)
    error = float(np.sqrt(0.05 * 0.95 / n))
    if simulation.kind in COVERAGE:
        covered, bounds = float(values.mean()), list(COVERAGE[simulation.kind])
        return {"coverage": round(covered, 4), "bounds": bounds, "within": bounds[0] <= covered <= bounds[1]}
    rate = float((values <= 0.05).mean())
    low = 0.05 - 3 * error if simulation.kind == "p" else 0.0
    found: dict[str, Any] = {"rate": round(rate, 4), "bounds": [round(low, 4), round(0.05 + 3 * error, 4)]}
    within = low <= rate <= 0.05 + 3 * error
    if simulation.kind == "p":
        spread = np.random.default_rng(SEED).random(n) / simulation.steps if simulation.steps else 0.0
        found["ks_p"] = round(float(stats.kstest(values - spread, "uniform").pvalue), 4)
        within = within and found["ks_p"] > 1e-3
    return found | {"within": bool(within)}


def read_log(log: Path) -> dict[str, dict[int, tuple[float, float]]]:
    """Read the finished trials of the present code: by simulation and number, the value and its seconds."""
    tags = {name: code_tag(simulation) for name, simulation in SIMULATIONS.items()}
    done: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in SIMULATIONS}
    for line in log.read_text().splitlines() if log.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:  # a line cut short when the run was stopped
            continue
        if tags.get(row["name"]) == row["code"]:
            each = row["seconds"] / len(row["values"])
            done[row["name"]] |= {row["start"] + i: (value, each) for i, value in enumerate(row["values"])}
    return done


def main() -> None:
    """Run what is not done, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=list(SIMULATIONS), help="these alone")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--log", type=Path, default=Path("outputs/benchmarks/simulations.jsonl"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    done = read_log(options.log)
    tags = {name: code_tag(simulation) for name, simulation in SIMULATIONS.items()}
    for name in [] if options.list else options.only or list(SIMULATIONS):
        for start in range(0, options.trials, BATCH):
            numbers = range(start, min(start + BATCH, options.trials))
            if all(i in done[name] for i in numbers):
                continue
            used = time.process_time()
            values = [run_trial(name, i) for i in numbers]
            seconds = time.process_time() - used
            row = {"name": name, "code": tags[name], "start": start, "seconds": seconds}
            cut = options.log.is_file() and not options.log.read_bytes().endswith(b"\n")
            with options.log.open("a", encoding="utf-8") as stream:
                stream.write(("\n" if cut else "") + json.dumps(row | {"values": values}) + "\n")
            done[name] |= {
                i: (value, seconds / len(numbers)) for i, value in zip(numbers, values, strict=True)
            }
        print(f"{name}: {len(done[name])} trials", flush=True)
    rows = {}
    for name, trials in done.items():
        values = np.array([trials[i][0] for i in sorted(trials) if i < options.trials])
        if not len(values):
            continue
        each = float(np.mean([seconds for _, seconds in trials.values()]))
        rows[name] = {
            "kind": SIMULATIONS[name].kind,
            "n_trials": len(values),
            **judge(name, values),
            "code": tags[name],
            "cpu_s_per_trial": round(each, 4),
        }
        print(json.dumps({"name": name} | rows[name]))
    if options.list:
        print("not begun:", ", ".join(name for name in SIMULATIONS if name not in rows) or "none")
        return
    packages = ("emosae", "numpy", "scipy")
    result = {
        "seed": SEED,
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count()},
        "simulations": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main()
