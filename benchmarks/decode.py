"""Sparse decode beside the dense product, `F.embedding_bag` and `torch.sparse.mm`, at the shapes of real SAEs.

Weights and slots are random; speed depends on them only through the rows that are shared. In each round the
variants take turns on the same slots; a figure is the median over rounds. Every round draws new slots, so
decoder rows do not wait in a cache, and `checked` is the whole call as a user makes it, indices looked over.
A shape that does not fit into memory is left out, and listed with the reason. Losing shapes stay.

    python benchmarks/decode.py                     # all shapes, float32; on two cores about half an hour
    python benchmarks/decode.py --device cuda --dtype bfloat16
    python benchmarks/decode.py --quick             # small shapes, to see that it runs
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from emosae.kernels import last_backend, sparse_decode

HERE = Path(__file__).resolve().parent
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SLOW_S = 2.0  # a variant whose warm-up takes longer is timed once


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoder:
    """The size of an SAE's decoder."""

    name: str
    n_features: int
    width: int


DECODERS = [
    Decoder(name="GPT-2 small, 24k", n_features=24_576, width=768),
    Decoder(name="Gemma-2-2B, 16k", n_features=16_384, width=2_304),
    Decoder(name="Gemma-2-2B, 65k", n_features=65_536, width=2_304),
    Decoder(name="Gemma-2-2B, 1M", n_features=1_048_576, width=2_304),
    Decoder(name="Gemma-2-9B, 131k", n_features=131_072, width=3_584),
    Decoder(name="Llama-3-8B, 65k", n_features=65_536, width=4_096),
]
SMALL = [Decoder(name="small", n_features=1_024, width=96)]
SLOTS = [32, 64, 128, 256, 1_024]
ROWS = [1, 4, 16, 64, 1_024]


def main() -> None:
    """Measure, print a table, write JSON."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
    dtype = DTYPES[options.dtype]
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    copy_gb_s = copy_bandwidth(options.device, options.quick)
    print(f"copying moves {copy_gb_s:.1f} GB/s on {device_name(options.device)}")
    for decoder in options.decoders:
        needed = decoder.n_features * decoder.width * dtype.itemsize
        if reason := does_not_fit(needed, options.device):
            skipped.append(asdict(decoder) | {"reason": reason})
            print(f"\n{decoder.name}: left out, {reason}")
            continue
        W = random_decoder(decoder, dtype, options.device)
        print(f"\n{decoder.name}: {decoder.n_features:,} x {decoder.width:,}, {options.dtype}")
        print(
            f"{'batch':>6}{'k':>6}"
            + "".join(f"{name:>18}" for name in VARIANTS)
            + "  ms; best of others / ours"
        )
        for n in options.batch:
            for k in options.k:
                row, left_out = measure(decoder, W, n, k, options)
                rows.append(row)
                skipped += left_out
        del W
    result = {
        "benchmark": "decode",
        "versions": {name: installed(name) for name in ("emosae", "torch", "triton", "numpy")}
        | {"python": platform.python_version()},
        "hardware": hardware(options),
        "workload": {"dtype": options.dtype, "rounds": options.rounds, "quick": options.quick}
        | {
            "decoders": [decoder.name for decoder in options.decoders],
            "batch": options.batch,
            "k": options.k,
        },
        "copy_gb_s": round(copy_gb_s, 1),
        "decode": rows,
        "left_out": skipped,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\n{options.output}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a small decoder and few slots")
    parser.add_argument(
        "--batch", type=int, nargs="+", help="rows (default 1 4 16 64 1024; 1 4 with --quick)"
    )
    parser.add_argument(
        "--k", type=int, nargs="+", help="slots a row (default 32 to 1024; 8 32 with --quick)"
    )
    parser.add_argument(
        "--only", nargs="+", help="decoders whose names hold one of these words (default all)"
    )
    parser.add_argument("--rounds", type=int, help="rounds (default 7; 2 with --quick)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of decoder and values")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (default cpu)")
    parser.add_argument("--output", type=Path, help="where the JSON goes (default benchmarks/results/)")
    options = parser.parse_args()
    known = SMALL if options.quick else DECODERS
    options.decoders = [d for d in known if any(word in d.name for word in options.only or [""])]
    if not options.decoders:
        parser.error(f"--only must name some of: {', '.join(d.name for d in known)}")
    options.batch = options.batch or ([1, 4] if options.quick else ROWS)
    options.k = options.k or ([8, 32] if options.quick else SLOTS)
    options.rounds = options.rounds or (2 if options.quick else 7)
    kind = options.device.split(":")[0]
    name = f"decode-{kind}-{options.dtype}{'-quick' if options.quick else ''}.json"
    options.output = options.output or HERE / "results" / name
    return options


# --- what is run ---


def decode_checked(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """Call it as a user does."""
    return sparse_decode(indices, values, W)


def decode_kernel(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """Call it as a CUDA graph does, without looking for bad indices."""
    return sparse_decode(indices, values, W, check=False)


def decode_bag(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """Use torch's own fallback."""
    return embedding_bag(indices, W, per_sample_weights=values, mode="sum")


def decode_sparse_mm(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """Use torch's CSR product."""
    n, k = indices.shape
    crow = torch.arange(0, n * k + 1, k, device=W.device)
    sparse = torch.sparse_csr_tensor(
        crow, indices.reshape(-1), values.reshape(-1), (n, len(W)), check_invariants=False
    )
    return torch.sparse.mm(sparse, W)


def decode_dense(indices: Tensor, values: Tensor, W: Tensor) -> Tensor:
    """Write the dense activations, and multiply."""
    dense = torch.zeros(len(indices), len(W), dtype=values.dtype, device=W.device)
    return dense.scatter_add_(1, indices, values) @ W


VARIANTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "checked": decode_checked,
    "unchecked": decode_kernel,
    "embedding_bag": decode_bag,
    "sparse.mm": decode_sparse_mm,
    "dense": decode_dense,
}
OURS = ("checked", "unchecked")


def random_decoder(decoder: Decoder, dtype: torch.dtype, device: str) -> Tensor:
    """Make a decoder; in parts, so that no copy in another dtype is needed."""
    W = torch.empty(decoder.n_features, decoder.width, dtype=dtype, device=device)
    for part in W.split(16_384):
        part.normal_()
    return W


def random_slots(decoder: Decoder, n: int, k: int, dtype: torch.dtype, device: str, seed: int) -> Any:
    """Draw slots, rising in each row as an encoder gives them."""
    draw = torch.Generator().manual_seed(seed)
    indices = torch.randint(0, decoder.n_features, (n, k), generator=draw).sort(dim=1).values
    return indices.to(device), torch.rand(n, k, generator=draw).to(device, dtype)


# --- how it is measured ---


def measure(
    decoder: Decoder, W: Tensor, n: int, k: int, options: argparse.Namespace
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Time all variants at one shape; give the row of the table, and the variants that were left out."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    left_out: dict[str, str] = {}
    if reason := does_not_fit(n * decoder.n_features * W.dtype.itemsize, options.device):
        left_out["dense"] = reason
    if W.device.type == "cpu" and W.numel() >= 2**31:
        left_out["sparse.mm"] = (
            "torch.sparse.mm ends the process on a CPU where a matrix has 2**31 numbers or more"
        )
    once: set[str] = set()
    for turn in range(-1, options.rounds):  # the round before the first warms up, and is not counted
        indices, values = random_slots(decoder, n, k, W.dtype, options.device, seed=turn + 1)
        names = [name for name in VARIANTS if name not in left_out and not (turn > 0 and name in once)]
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            try:
                elapsed = timed(VARIANTS[name], indices, values, W)
            except (RuntimeError, NotImplementedError) as error:
                left_out[name] = str(error).split("\n", maxsplit=1)[0]
                continue
            if turn < 0 and elapsed > SLOW_S:
                once.add(name)
            if turn >= 0:
                seconds[name].append(elapsed)
    sparse_decode(indices, values, W)
    ms = {name: 1e3 * float(np.median(times)) for name, times in seconds.items() if times}
    best = min((ms[name] for name in ms if name not in OURS), default=float("nan"))
    unique = int(indices.unique().numel()) * decoder.width * W.dtype.itemsize
    row = asdict(decoder) | {
        "batch": n,
        "k": k,
        "backend": str(last_backend("sparse_decode")),
        "latency_ms": {name: round(value, 4) for name, value in ms.items()},
        "best_of_others_over_ours": round(best / ms["checked"], 3),
        "unique_mib": round(unique / 2**20, 2),
        "unique_gb_s": round(unique / ms["checked"] / 1e6, 2),
    }
    cells = "".join(f"{ms[name]:>18.3f}" if name in ms else f"{'left out':>18}" for name in VARIANTS)
    print(f"{n:>6}{k:>6}{cells}  {row['best_of_others_over_ours']:.2f}", flush=True)
    shape = {"name": decoder.name, "batch": n, "k": k}
    return row, [shape | {"variant": name, "reason": reason} for name, reason in left_out.items()]


def timed(work: Callable[..., Any], *arguments: Tensor) -> float:
    """Time one call, to its end on the device, in seconds."""
    on_gpu = arguments[0].is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    with torch.inference_mode():
        work(*arguments)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def copy_bandwidth(device: str, quick: bool) -> float:
    """Measure what copying moves, bytes read and written, in GB/s."""
    source = torch.ones(2**20 if quick else 2**26, device=device)
    target = torch.empty_like(source)
    best = min(timed(lambda out, given: out.copy_(given), target, source) for _ in range(5))
    return 2 * source.numel() * source.itemsize / best / 1e9


def does_not_fit(needed: int, device: str) -> str | None:
    """Say why a tensor does not fit; None if it does, with as much again for the work."""
    if device.startswith("cuda"):
        free = torch.cuda.mem_get_info(device)[0]
    else:
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        except (OSError, StopIteration):
            return None
    if needed < 0.7 * free:
        return None
    return f"it needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"


def installed(package: str) -> str | None:
    """Give a package's version; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device_name(device: str) -> str:
    """Name the processor or the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def hardware(options: argparse.Namespace) -> dict[str, Any]:
    """Say what it ran on."""
    return {
        "cpu": device_name("cpu"),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "device": options.device,
        "device_name": device_name(options.device),
        "system": platform.system(),
        "load_average": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


if __name__ == "__main__":
    main()
