"""What permutation tests of RDMs cost: all RDMs and orders at once, beside a loop over both.

    python benchmarks/geometry.py                    # 27 concepts, 100 RDMs, 61 raters, 10,000 permutations
    python benchmarks/geometry.py --quick            # small numbers, to see that it runs

The bar is 1 s on two cores. The statistic is the mean over raters of the similarity to each, so the raters' ranks are
averaged once; every order then costs one gather of 351 numbers and one inner product for each RDM:
10,000 x 351 x 100 x 2 = 0.7 GFLOP. The loop beside it is what one writes with scipy, as is done with rsatoolbox, which
has no permutation test: each order permutes the concepts of the raters' mean RDM and correlates it with each RDM. It
runs for a few orders and is scaled up; it computes less (one mean RDM for 61 raters). `cpu_s` is the processor time
of all threads: on a machine that does other work it is the steadier figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr

from emosae.geometry.measures import Comparator
from emosae.geometry.one_truth import simulate_one_truth
from emosae.geometry.permutation import label_permutations, mantel_test

HERE = Path(__file__).resolve().parent
BAR_S = 1.0


def timed(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Run something several times: the least wall time and processor time, in seconds."""
    wall, processor = [], []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    return {"wall_s": round(min(wall), 4), "cpu_s": round(min(processor), 4)}


def loop(rdms: np.ndarray, rater: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Correlate every RDM with a rater in every order, one pair at a time."""
    square = squareform(rater)
    found = np.empty((len(rdms), len(orders)))
    for column, order in enumerate(orders):
        permuted = squareform(square[np.ix_(order, order)], checks=False)
        for row, rdm in enumerate(rdms):
            found[row, column] = spearmanr(rdm, permuted).statistic
    return found


def hardware() -> dict[str, Any]:
    """Say what it ran on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    threads = os.environ.get("OMP_NUM_THREADS")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": int(threads) if threads else None,
        "system": platform.system(),
        "load_average": load,
    }


def main() -> None:
    """Time the cases and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case; the quickest counts")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "geometry.json")
    options = parser.parse_args()
    n, k, n_raters, count = (10, 5, 6, 200) if options.quick else (27, 100, 61, 10_000)
    rng = np.random.default_rng(0)
    rdms = rng.random((k, n * (n - 1) // 2))
    raters = rng.integers(1, 10, (n_raters, rdms.shape[1])).astype(float)
    cases: dict[str, dict[str, float]] = {}
    for comparator in (Comparator.RHO_A, Comparator.SPEARMAN, Comparator.PEARSON):
        cases[f"permutation, {comparator}"] = timed(
            lambda kind=comparator: mantel_test(rdms, raters, kind, n_permutations=count), options.rounds
        )
    few = label_permutations(n, 5, 0).orders
    alone = timed(lambda: loop(rdms, raters.mean(axis=0), few), 1)
    cases["loop over scipy's spearmanr, scaled up"] = {
        name: round(value * count / len(few), 1) for name, value in alone.items()
    }
    groups = 50 if options.quick else 1_000
    cases[f"{groups} simulated groups of raters with one truth"] = timed(
        lambda: simulate_one_truth(rdms[:12], raters, n_simulations=groups), 1
    )
    own = cases[f"permutation, {Comparator.RHO_A}"]
    for name, case in cases.items():
        print(f"{name:<55}{case['wall_s']:>10.2f} s{case['cpu_s']:>10.2f} s of processor")
    result = {
        "benchmark": "geometry",
        "versions": {name: version(name) for name in ("emosae", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "hardware": hardware(),
        "workload": {
            "concepts": n,
            "rdms": k,
            "raters": n_raters,
            "permutations": count,
            "rounds": options.rounds,
            "quick": options.quick,
        },
        "bar_s": BAR_S,
        "within_bar": own["wall_s"] <= BAR_S,
        "within_bar_by_cpu_time": own["cpu_s"] <= BAR_S,
        "cases": cases,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
