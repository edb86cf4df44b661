"""What it takes to begin steering: seconds and memory, with an SAE of 131,072 x 3,584 that lies in the cache.

    python benchmarks/start.py                       # writes a cache entry of 3.8 GB, and deletes it at the end
    python benchmarks/start.py --quick               # a small SAE, to see that it runs

Each round is a process of its own: it imports emosae, loads a small model of hidden size 3,584 with random weights,
lets it generate, and only then opens the SAE, makes a plan of 16 clamped features, enters it and generates again.
Timed is from opening the SAE to the plan being active. Memory is what the process holds more after the steered text
(resident), and the most that it held on the way (peak). Every other round begins with the file out of the page cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
BAR_MB, BAR_S = 64.0, 0.2
FULL = {"d_sae": 131_072, "width": 3_584}
SMALL = {"d_sae": 4_096, "width": 256}
CLAMPS, TOKENS = 16, 4


def main() -> None:
    """Write the SAE, measure in fresh processes, write JSON."""
    options = parse_options()
    shapes = SMALL if options.quick else FULL
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        os.environ["EMOSAE_CACHE"] = folder
        entry = in_a_process(write_entry, shapes)
        rounds = [
            in_a_process(begin, entry, shapes, options.threads, number % 2 == 0)
            for number in range(options.rounds)
        ]
    result = {
        "benchmark": "start",
        "versions": {n: version(n) for n in ("emosae", "torch", "transformers")}
        | {"python": platform.python_version()},
        "hardware": hardware(options.threads),
        "workload": shapes
        | {"architecture": "jumprelu", "dtype": "float32", "clamps": CLAMPS, "rounds": options.rounds}
        | {"file_mb": rounds[0].pop("file_mb"), "quick": options.quick},
        "bars": {"resident_mb": BAR_MB, "start_s": BAR_S},
        "medians": {},
        "most": {},
        "rounds": rounds,
    }
    for each in rounds:
        each.pop("file_mb", None)
    for name in ("open_s", "enter_s", "start_s", "resident_mb", "peak_mb"):
        for kind, cold in (("cold", True), ("warm", False)):
            values = [each[name] for each in rounds if each["cold"] is cold]
            if values:
                result["medians"][f"{name}, {kind}"] = round(median(values), 4)
                result["most"][f"{name}, {kind}"] = round(max(values), 4)
    result["within_bars"] = (
        max(value for name, value in result["medians"].items() if name.startswith("start_s")) < BAR_S
        and max(each["resident_mb"] for each in rounds) < BAR_MB
    )
    print(json.dumps(result["medians"], indent=2))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"within the bars: {result['within_bars']}\n{options.output}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small SAE")
    parser.add_argument("--rounds", type=int, default=6, help="processes, cold and warm in turn (default 6)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument(
        "--folder", type=Path, help="where the SAE is written (default: the temporary folder)"
    )
    parser.add_argument("--output", type=Path, help="where the JSON goes (default benchmarks/results/)")
    options = parser.parse_args()
    name = f"start{'-quick' if options.quick else ''}.json"
    options.output = options.output or HERE / "results" / name
    return options


def in_a_process(work: Any, *arguments: Any) -> Any:
    """Run something in a fresh process and give what it returns."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def write_entry(shapes: dict[str, int]) -> Path:
    """Write a JumpReLU SAE into the cache, as a conversion does; give its folder."""
    import torch

    from emosae.saes.cache import obtain
    from emosae.saes.config import SAEConfig
    from emosae.saes.convert import convert

    d_sae, width = shapes["d_sae"], shapes["width"]
    noise = torch.Generator().manual_seed(0)
    W = (torch.randn(d_sae // 16, width, generator=noise) / width**0.5).repeat(16, 1)
    cfg = {
        "architecture": "jumprelu",
        "d_in": width,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0", "hook_name": "blocks.0.hook_resid_post"},
    }
    state = {
        "W_enc": W.T,
        "W_dec": W,
        "b_enc": torch.zeros(d_sae),
        "b_dec": torch.zeros(width),
        "threshold": torch.ones(d_sae),
    }
    entry = obtain("start", {"kind": "benchmark"}, lambda: convert(SAEConfig.from_saelens(cfg), state))
    return entry.path


def begin(folder: Path, shapes: dict[str, int], threads: int, cold: bool) -> dict[str, Any]:
    """Load a model, then begin to steer it."""
    import torch
    import transformers

    import emosae
    from emosae.saes import SparseAutoencoder
    from emosae.saes.cache import WEIGHTS_FILE

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    width = shapes["width"]
    config = transformers.LlamaConfig(
        vocab_size=1_000,
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=width // 128,
        num_key_value_heads=2,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.arange(5, 21)[None]

    def generate() -> list[int]:
        given = {"attention_mask": torch.ones_like(ids), "max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
        return model.generate(ids, do_sample=False, **given)[0].tolist()

    plain = generate()
    clamps = [
        emosae.Clamp(feature * (shapes["d_sae"] // CLAMPS), "set", 4.0 * width**0.5)
        for feature in range(CLAMPS)
    ]
    _ = emosae.steer  # imported as the model is loaded
    if cold:
        evict(folder / WEIGHTS_FILE)
    before = resident_mb(peak=False)
    reset_peak()
    started = time.perf_counter()
    sae = SparseAutoencoder.load_from_disk(folder)
    opened = time.perf_counter()
    with emosae.steer(model, sae, clamps):
        entered = time.perf_counter()
        steered = generate()
        after = resident_mb(peak=False)
    return {
        "cold": cold,
        "open_s": opened - started,
        "enter_s": entered - opened,
        "start_s": entered - started,
        "resident_mb": after - before,
        "peak_mb": resident_mb(peak=True) - before,
        "text_changed": plain != steered,
        "file_mb": round((folder / WEIGHTS_FILE).stat().st_size / 2**20),
    }


def evict(path: Path) -> None:
    """Put a file out of the page cache, where the system can."""
    if hasattr(os, "posix_fadvise"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def reset_peak() -> None:
    """Let the system count the peak of resident memory from now on; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_mb(*, peak: bool) -> float:
    """Give resident memory in MiB, or its peak."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) / 1024


def hardware(threads: int) -> dict[str, Any]:
    """Say what it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.system(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


if __name__ == "__main__":
    main()
