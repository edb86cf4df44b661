"""Time and memory of nested ridge on sparse features, beside scikit-learn's RidgeCV.

    python benchmarks/ratings.py                  the full table (some minutes)
    python benchmarks/ratings.py --quick          small sizes, to see that it runs

The full problem is 13,915 words x 65,536 features with 100 and with 400 non-zeros a row, two targets, ten
outer and five inner folds, 20 penalties; the bar is 60 s and 4 GB on two cores. RidgeCV cannot do it in that
time (its leave-one-out decomposes a words x words matrix in each fold, time growing with the cube of the
words), so both do 2,000 words too. There RidgeCV runs twice: with its leave-one-out shortcut, an easier
problem than ours, and with the same five inner folds, on one outer fold only: multiply its time by ten.

What the full problem costs: ten outer and five inner folds need 20 distinct inner fits, not 50 (`ratings/inner.py`),
and ten final ones. A step of five fits and two targets multiplies the features twice, 4 x nnz x 10 operations, and
reads them once each way (12 bytes a cell) with ten numbers of 8 bytes beside each cell: 56 million operations and
some 260 MB at 100 non-zeros a row. At 4,000 words 18 steps settled the inner fits and 38 the final ones, so about 150
such products in all, 8 GFLOP at 100 and 33 at 400; orthogonalisation adds less, at the speed of a matrix product.

"exact" solves each outer fold at the penalties that were chosen, by a dense Cholesky factorisation of the words'
centred kernel, and says by how much the predictions differ, in standard deviations of the ratings. The benchmark
ends with status 1 where that is more than 1e-4.

Each case runs in a process of its own, so that peak memory is its own. `cpu_s` is the processor time of all
threads: on a machine that does other work it is the steadier figure.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

OUTER, INNER, PENALTIES = 10, 5, 20
TOLERANCE = 1e-4  # of the ratings' standard deviation


def make_problem(
    n_words: int, n_features: int, per_row: int, seed: int = 0
) -> tuple[sp.csr_array, np.ndarray]:
    """Make words whose features have densities as uneven as a real SAE's, and two targets that 500 carry.

    Args:
        n_words: Words.
        n_features: Features.
        per_row: Features active on each word.
        seed: Seed of everything drawn.

    Returns:
        Features [n_words, n_features] float32 and ratings [n_words, 2], half of whose variance is explained.
    """
    rng = np.random.default_rng(seed)
    popularity = np.arange(1, n_features + 1) ** -0.7
    edges = np.cumsum(popularity / popularity.sum())
    place = rng.permutation(n_features)
    rows = []
    for _ in range(n_words):
        drawn = np.zeros(0, dtype=np.int64)
        while len(drawn) < per_row:
            more = np.searchsorted(edges, rng.random(2 * per_row))
            drawn = np.unique(np.concatenate([drawn, np.minimum(more, n_features - 1)]))
        rows.append(np.sort(place[rng.choice(drawn, per_row, replace=False)]))
    values = rng.exponential(size=n_words * per_row).astype(np.float32)
    pointers = np.arange(n_words + 1) * per_row
    x = sp.csr_array((values, np.concatenate(rows).astype(np.int32), pointers), shape=(n_words, n_features))
    weights = np.zeros((n_features, 2))
    carriers = place[: min(500, n_features)]  # the popular half, as valence is carried on real words
    weights[carriers] = rng.standard_normal((len(carriers), 2))
    signal = x @ weights
    signal /= signal.std(axis=0)
    return x, 5.0 + signal + rng.standard_normal(signal.shape)


def correlations(predicted: np.ndarray, y: np.ndarray) -> list[float]:
    """Return Pearson's r of each target."""
    return [round(float(np.corrcoef(predicted[:, t], y[:, t])[0, 1]), 4) for t in range(y.shape[1])]


def run_emosae(x: sp.csr_array, y: np.ndarray) -> dict[str, Any]:
    """Run nested ridge as a study does."""
    from emosae.ratings import assign_folds, inner_folds, nested_ridge, penalty_grid

    groups = np.arange(len(y))
    outer = assign_folds(groups, OUTER, 0)
    fit = nested_ridge(x, y, outer, inner_folds(groups, outer, INNER, 0), penalty_grid(1e-4, 1e4, PENALTIES))
    return {"r": correlations(fit.predicted, y), "relative": np.median(fit.relative, axis=0).tolist()}


def run_exact(x: sp.csr_array, y: np.ndarray) -> dict[str, Any]:
    """Run nested ridge, solve its final fits again by Cholesky, and compare the predictions."""
    import scipy.linalg as sl

    from emosae.ratings import assign_folds, inner_folds, nested_ridge, penalty_grid

    groups = np.arange(len(y))
    outer = assign_folds(groups, OUTER, 0)
    fit = nested_ridge(x, y, outer, inner_folds(groups, outer, INNER, 0), penalty_grid(1e-4, 1e4, PENALTIES))
    wide = sp.csr_array(x, dtype=np.float64)
    products = (wide @ wide.T).toarray()
    exact = np.empty_like(y)
    for fold in range(OUTER):
        train, test = np.flatnonzero(outer != fold), np.flatnonzero(outer == fold)
        kernel, cross = products[np.ix_(train, train)], products[np.ix_(test, train)]
        mean = kernel.mean(axis=0)
        centred = kernel - mean - mean[:, None] + mean.mean()
        for target in range(y.shape[1]):
            shifted = centred + fit.penalties[fold, target] * np.eye(len(train))
            rated = y[train, target]
            solved = sl.solve(shifted, rated - rated.mean(), assume_a="pos")
            exact[test, target] = (cross - mean) @ solved + rated.mean()
    worst = float((np.abs(fit.predicted - exact) / y.std(axis=0)).max())
    return {"r": correlations(exact, y), "difference": worst}


def run_sklearn(x: sp.csr_array, y: np.ndarray, *, same_folds: bool) -> dict[str, Any]:
    """Run RidgeCV in each outer fold, on the same outer folds and penalties."""
    from sklearn.linear_model import RidgeCV

    from emosae.ratings import assign_folds, inner_folds, penalty_grid

    groups = np.arange(len(y))
    outer = assign_folds(groups, OUTER, 0)
    inner = inner_folds(groups, outer, INNER, 0)
    wide = sp.csr_matrix(x, dtype=np.float64)
    predicted = np.full(y.shape, np.nan)
    for fold in range(1 if same_folds else OUTER):
        train, test = np.flatnonzero(outer != fold), np.flatnonzero(outer == fold)
        part = wide[train]
        mean = np.asarray(part.mean(axis=0)).ravel()
        variance = float((np.asarray(part.power(2).mean(axis=0)).ravel() - mean**2).sum())
        alphas = penalty_grid(1e-4, 1e4, PENALTIES) * variance
        if same_folds:
            inside = inner[fold][train]
            splits = [(np.flatnonzero(inside != i), np.flatnonzero(inside == i)) for i in range(INNER)]
            for target in range(y.shape[1]):  # with folds of its own RidgeCV has one penalty for all targets
                model = RidgeCV(alphas, cv=splits, scoring="neg_mean_squared_error").fit(
                    part, y[train, target]
                )
                predicted[test, target] = model.predict(wide[test])
        else:
            model = RidgeCV(alphas, alpha_per_target=True).fit(part, y[train])
            predicted[test] = model.predict(wide[test])
    done = np.isfinite(predicted).all(axis=1)
    return {"r": correlations(predicted[done], y[done])}


METHODS = {
    "emosae": run_emosae,
    "emosae, and exact beside it": run_exact,
    "RidgeCV, leave-one-out": lambda x, y: run_sklearn(x, y, same_folds=False),
    "RidgeCV, same inner folds (1 of 10)": lambda x, y: run_sklearn(x, y, same_folds=True),
}


def run_case(case: dict[str, Any]) -> dict[str, Any]:
    """Run one case in this process."""
    x, y = make_problem(case["words"], case["features"], case["per_row"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, processor = time.perf_counter(), time.process_time()
    result = METHODS[case["method"]](x, y)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return {
        **case,
        "wall_s": round(time.perf_counter() - started, 2),
        "cpu_s": round(time.process_time() - processor, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2),
        "data_gb": round(before * unit / 1e9, 2),
        **result,
    }


def main() -> None:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--cores", type=int, default=2, help="cores to use, where the system can bind them")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent / "results" / "ratings.json"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(run_case(json.loads(arguments.case))))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    words, features, few = (2500, 4096, 1200) if arguments.quick else (13915, 65536, 2000)
    cases = [{"words": words, "features": features, "per_row": k, "method": "emosae"} for k in (100, 400)]
    cases += [{"words": few, "features": features, "per_row": 100, "method": method} for method in METHODS]
    rows = []
    head = f"{'words':>7}{'features':>10}{'nnz/row':>9}  {'method':<38}"
    print(f"{head}{'wall s':>9}{'cpu s':>9}{'peak GB':>9}  r")
    threads = {name: str(arguments.cores) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = {**os.environ, **threads}
    for case in cases:
        command = [sys.executable, __file__, "--case", json.dumps(case)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        print(
            f"{row['words']:>7,}{row['features']:>10,}{row['per_row']:>9}  {row['method']:<38}"
            f"{row['wall_s']:>9.1f}{row['cpu_s']:>9.1f}{row['peak_gb']:>9.2f}  {row['r']}",
            flush=True,
        )
    worst = max(row["difference"] for row in rows if "difference" in row)
    print(f"largest difference from exact ridge on {few:,} words: {worst:.1e} standard deviations")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    record = {"outer": OUTER, "inner": INNER, "penalties": PENALTIES, "cores": arguments.cores, "cases": rows}
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written to {arguments.out}")
    if worst > TOLERANCE:
        raise SystemExit(
            f"predictions differ from exact ridge by more than {TOLERANCE:g} standard deviations"
        )


if __name__ == "__main__":
    main()
