"""What the fused clamp adds to a token of a 2B-shaped model on a GPU, run eagerly and from a CUDA graph.

    python benchmarks/steering_gpu.py                    # Gemma-2-2B's shapes, batches of 1 to 256; needs a GPU
    python benchmarks/steering_gpu.py --quick            # small shapes on the CPU, no graphs, to see that it runs

Model and SAE have random weights. The model has Gemma-2-2B's shapes but for the vocabulary, which is 32,768 and not
256,000: its steps are the cheaper, so the ratio is the stricter. The SAE lies in SAELens' layout, four features are
set to a value on every token. A step passes one token a row through a static cache that holds a prompt. The ways
take turns in each round, in an order that is drawn anew, and what is compared are the ratios within a round.
`unsteered again` says how far from 1 noise alone goes. A turn is some steps, timed from a device that is idle until
it is idle again; entering the block, capturing and setting the cache back are not timed.

- `eager`: the model is called; this is reported.
- `graph`: a step is captured, inside the block for the steered one, and replayed; the bar holds here. A replay keeps
  the mask of the step that was captured: later steps of a turn cost the same, only their logits mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from steering import HERE, VALUE, hardware, installed, write_sae
from torch import Tensor

import emosae
from emosae.kernels import Backend, record_backends
from emosae.saes import SparseAutoencoder

BAR = 1.01
SHAPES = {"width": 2_304, "mlp": 9_216, "layers": 26, "heads": 8, "kv_heads": 4, "head": 256} | {
    "vocabulary": 32_768,
    "features": 16_384,
}
SMALL = {"width": 64, "mlp": 128, "layers": 2, "heads": 4, "kv_heads": 2, "head": 16} | {
    "vocabulary": 300,
    "features": 512,
}
WAYS = ("unsteered", "unsteered again", "steered")
Work = Callable[[], Tensor]


def main() -> int:
    """Measure, print a table, write JSON; give the exit status."""
    options = parse_options()
    device = torch.device("cpu" if options.quick else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        print("This benchmark needs a CUDA device, and torch finds none; --quick tries it on the CPU.")
        return 2
    torch.set_num_threads(options.threads)
    shapes = SMALL if options.quick else SHAPES
    layer = shapes["layers"] // 2
    model = random_model(shapes, device)
    cases: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    print(
        f"{'batch':>6}{'':>7}" + "".join(f"{name:>17}" for name in WAYS) + "  ms; again, steered / unsteered"
    )
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        os.environ.setdefault("EMOSAE_CACHE", str(Path(folder) / "cache"))
        write_sae(Path(folder), shapes, layer)
        steering = steering_of(model, SparseAutoencoder.load_from_disk(folder), shapes)
        for batch in options.batch:
            for run in [run_eager] if options.quick else [run_eager, run_graph]:
                try:
                    case = run(Step(model, batch, options), steering, options)
                except RuntimeError as error:  # no memory, or a capture that was refused
                    reason = str(error).split("\n", maxsplit=1)[0]
                    left_out.append({"batch": batch, "run": run.__name__, "reason": reason})
                    print(f"{batch:>6}  {run.__name__} left out: {reason}")
                    continue
                cases.append(case)
                show(case)
    graphs = [case for case in cases if case["how"] == "graph"]
    result = {
        "benchmark": "steering-gpu",
        "versions": {n: installed(n) for n in ("emosae", "torch", "triton", "transformers")}
        | {"python": platform.python_version(), "cuda": torch.version.cuda},
        "hardware": hardware(options)
        | {"device": device.type}
        | {"device_name": torch.cuda.get_device_name() if device.type == "cuda" else None},
        "workload": shapes
        | {"layer": layer, "architecture": "jumprelu", "clamps": 4, "scope": "all", "trace": False}
        | {"dtype": "bfloat16", "attention": model.config._attn_implementation, "batch": options.batch}
        | {
            "prompt": options.prompt,
            "steps": options.steps,
            "rounds": options.rounds,
            "quick": options.quick,
        },
        "bars": {"graph_steered_over_unsteered": BAR},
        "within_bar": not left_out and all(case["within_bar"] for case in graphs) if graphs else None,
        "cases": cases,
        "left_out": left_out,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nwithin the bar of {BAR} with graphs: {result['within_bar']}\n{options.output}")
    return 0


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small shapes on the CPU, without graphs")
    parser.add_argument("--batch", type=int, nargs="+", help="rows (default 1 4 16 64 256; 1 4 with --quick)")
    parser.add_argument("--rounds", type=int, help="rounds (default 50; 3 with --quick)")
    parser.add_argument("--steps", type=int, default=16, help="steps of a turn (default 16)")
    parser.add_argument("--prompt", type=int, default=128, help="tokens in the cache (default 128)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--output", type=Path, help="where the JSON goes (default benchmarks/results/)")
    options = parser.parse_args()
    options.batch = options.batch or ([1, 4] if options.quick else [1, 4, 16, 64, 256])
    options.rounds = options.rounds or (3 if options.quick else 50)
    name = f"steering-gpu{'-quick' if options.quick else ''}.json"
    options.output = options.output or HERE / "results" / name
    return options


# --- what is run ---


def random_model(shapes: dict[str, int], device: torch.device) -> Any:
    """Make Gemma 2 with random weights in bfloat16."""
    torch.manual_seed(0)
    config = transformers.Gemma2Config(
        vocab_size=shapes["vocabulary"],
        hidden_size=shapes["width"],
        intermediate_size=shapes["mlp"],
        num_hidden_layers=shapes["layers"],
        num_attention_heads=shapes["heads"],
        num_key_value_heads=shapes["kv_heads"],
        head_dim=shapes["head"],
    )
    with device:
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return model.eval()


def steering_of(model: Any, sae: SparseAutoencoder, shapes: dict[str, int]) -> AbstractContextManager[Any]:
    """Set four features on every token; the block may be entered again and again."""
    features = [shapes["features"] // 5 * (at + 1) for at in range(4)]
    clamps = [emosae.Clamp(feature, "set", VALUE) for feature in features]
    return emosae.steer(model, sae, clamps, "all", skip_special=False, trace=False)


class Step:
    """One token a row, from tensors and a cache that stay where they are, as a graph needs them.

    Steering asks the cache for its length. Gemma 2's first layer has a sliding window, whose length transformers
    keeps on the host; a length on the device would have to be waited for, which a capture refuses.
    """

    def __init__(self, model: Any, batch: int, options: argparse.Namespace) -> None:
        self.model, self.batch, self.prompt = model, batch, options.prompt
        self.cache = transformers.StaticCache(
            config=model.config, max_cache_len=options.prompt + options.steps
        )
        draw = torch.Generator().manual_seed(2)
        ids = torch.randint(3, model.config.vocab_size, (batch, options.prompt + 1), generator=draw)
        self.ids = ids[:, -1:].to(model.device)
        self.place = torch.full((batch, 1), options.prompt, device=model.device)
        model(ids[:, :-1].to(model.device), past_key_values=self.cache, use_cache=True, logits_to_keep=1)

    def __call__(self) -> Tensor:
        """Pass the token; the cache grows by one."""
        given = {"input_ids": self.ids, "position_ids": self.place, "past_key_values": self.cache}
        return self.model(**given, use_cache=True).logits

    def rewind(self) -> None:
        """Set the cache back to the prompt, in place."""
        for layer in self.cache.layers:
            for name in ("cumulative_length", "cumulative_length_int"):
                held = getattr(layer, name, None)
                if isinstance(held, Tensor):
                    held.fill_(self.prompt)
                elif held is not None:
                    setattr(layer, name, self.prompt)

    def once(self, work: Work) -> Tensor:
        """Give the logits of the first token after the prompt."""
        self.rewind()
        return work().float().clone()


def run_eager(step: Step, steering: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Call the model; the block is entered for each steered turn."""
    contexts = {name: steering if name == "steered" else nullcontext() for name in WAYS}
    with record_backends() as ran, steering:
        steered = step.once(step)
    seconds = take_turns(step, dict.fromkeys(WAYS, step), contexts, options)
    return summary("eager", step, seconds, ran) | {"logits_moved": apart(steered, step.once(step))}


def run_graph(step: Step, steering: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Replay captured steps; the block stays open, for the graph reads tensors that the block holds."""
    contexts = {name: nullcontext() for name in WAYS}
    expected = step.once(step)
    plain = captured(step)
    with steering:
        steered_expected = step.once(step)
        with record_backends() as ran:
            steered = captured(step)
        off = [apart(step.once(plain), expected), apart(step.once(steered), steered_expected)]
        moved = apart(step.once(steered), step.once(plain))
        works = {"unsteered": plain, "unsteered again": plain, "steered": steered}
        seconds = take_turns(step, works, contexts, options)
    return summary("graph", step, seconds, ran) | {"logits_moved": moved, "logits_off_eager": max(off)}


def captured(step: Step) -> Work:
    """Capture a step, after a warm-up on a side stream; give what replays it."""
    step.rewind()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step.once(step)
    torch.cuda.current_stream().wait_stream(side)
    step.rewind()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step()

    def replay() -> Tensor:
        graph.replay()
        return logits

    return replay


# --- how it is timed ---


def take_turns(
    step: Step, works: dict[str, Work], contexts: dict[str, Any], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Let the ways take turns; give each one's seconds a step, by round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    order = random.Random(step.batch)
    for number in range(-2, options.rounds):  # the first two are rehearsals
        for name in order.sample(list(works), len(works)):
            step.rewind()
            with contexts[name]:
                wait()
                started = time.perf_counter()
                for _ in range(options.steps):
                    works[name]()
                wait()
                ended = time.perf_counter()
            if number >= 0:
                seconds[name].append((ended - started) / options.steps)
    return seconds


def wait() -> None:
    """Wait until the device is idle."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def apart(one: Tensor, other: Tensor) -> float:
    """Say how far logits are apart, as a part of the largest."""
    return float((one - other).abs().max() / other.abs().max())


def summary(how: str, step: Step, seconds: dict[str, list[float]], ran: list[Any]) -> dict[str, Any]:
    """Give medians over rounds: milliseconds a step, and ratios within rounds with their quartiles."""
    backends = sorted({str(each.backend) for each in ran if each.operation == "clamp_features"})
    out: dict[str, Any] = {"how": how, "batch": step.batch, "backends": backends}
    out["kernel_ran"] = backends == [Backend.TRITON]
    out["ms_per_step"] = {name: round(1e3 * float(np.median(each)), 4) for name, each in seconds.items()}
    for name in WAYS[1:]:
        ratio = np.array(seconds[name]) / np.array(seconds["unsteered"])
        low, middle, high = (round(float(each), 4) for each in np.quantile(ratio, [0.25, 0.5, 0.75]))
        out[f"{name} over unsteered"] = middle
        out[f"{name} over unsteered, quartiles"] = [low, high]
    out["within_bar"] = out["kernel_ran"] and out["steered over unsteered"] <= BAR if how == "graph" else None
    return out


def show(case: dict[str, Any]) -> None:
    """Print a row of the table."""
    cells = "".join(f"{case['ms_per_step'][name]:>17.3f}" for name in WAYS)
    ratios = [case[f"{name} over unsteered"] for name in WAYS[1:]]
    said = (
        "" if case["kernel_ran"] else f"; no Triton kernel ran, but {case['backends'] or 'torch operators'}"
    )
    print(f"{case['batch']:>6}{case['how']:>7}{cells}  {ratios[0]:.4f}, {ratios[1]:.4f}{said}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
