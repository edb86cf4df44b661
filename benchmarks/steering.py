"""What a clamp costs in `generate`: a token unsteered, with ours, and in the ways it is done elsewhere.

    python benchmarks/steering.py                    # GPT-2 small's shapes, a JumpReLU SAE of 24,576 features
    python benchmarks/steering.py --quick            # small shapes, to see that it runs

Model and SAE have random weights, the SAE lies in SAELens' layout, four features are set to a value on every token,
greedy, batch 1. The ways take turns in each round, in an order that is drawn anew, and what is compared are the
ratios within a round: a neighbour that takes the processor then disturbs all of them. `unsteered again` is the
unsteered model a second time, so its ratio says how far from 1 noise alone goes. Loading, entering and the prompt's
pass are not timed: a turn's time is that of the tokens after the first. `cpu` is the processor time of all threads;
on a machine that does other work it is the steadier figure.

- `ours`: `emosae.steer` with its trace, the encoder rows of four features and one thin product.
- `saelens`: SAELens' SAE with `use_error_term=True` and a hook that sets the features; encode once, decode twice.
- `dense hook`: what one writes by hand; all features encoded, the change decoded, both dense.
- `vector`: steering-vectors' way, a fixed vector added at masked positions. It reads no feature and is not a clamp.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

import emosae
from emosae.saes import SparseAutoencoder

HERE = Path(__file__).resolve().parent
BAR_OURS, BAR_SAELENS = 1.02, 1.3
SHAPES = {"width": 768, "layers": 12, "heads": 12, "vocabulary": 50_257, "features": 24_576}
SMALL = {"width": 64, "layers": 2, "heads": 4, "vocabulary": 300, "features": 512}
VALUE = 6.0


def main() -> None:
    """Measure, print a table, write JSON."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    shapes = SMALL if options.quick else SHAPES
    layer = shapes["layers"] // 2
    model = random_model(shapes)
    with tempfile.TemporaryDirectory() as folder:
        write_sae(Path(folder), shapes, layer)
        ways, left_out = ways_of(model, Path(folder), layer, shapes)
        turns = take_turns(model, ways, options)
    tokens = {name: turns[name]["tokens"] for name in ("ours", "saelens", "dense hook") if name in turns}
    same = all(each == tokens["ours"] for each in tokens.values())
    steered = tokens["ours"] != turns["unsteered"]["tokens"]
    cases = {name: summary(turns, name) for name in ways}
    show(cases)
    ours, theirs = cases["ours"], cases.get("saelens")
    result = {
        "benchmark": "steering",
        "versions": {n: installed(n) for n in ("emosae", "torch", "transformers", "sae-lens")}
        | {"python": platform.python_version()},
        "hardware": hardware(options),
        "workload": shapes
        | {"layer": layer, "architecture": "jumprelu", "clamps": 4, "batch": 1, "dtype": "float32"}
        | {
            "prompt": options.prompt,
            "tokens": options.tokens,
            "rounds": options.rounds,
            "quick": options.quick,
        },
        "bars": {"ours_over_unsteered": BAR_OURS, "saelens_over_ours": BAR_SAELENS},
        "clamps_give_the_same_tokens": same,
        "clamps_change_the_text": steered,
        "cases": cases,
        "left_out": left_out,
    }
    for clock in ("wall", "cpu"):
        result[f"within_bars_by_{clock}"] = ours[clock]["over_unsteered"] <= BAR_OURS and (
            theirs is None or theirs[clock]["over_ours"] >= BAR_SAELENS
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nthe same tokens by all clamps: {same}\n{options.output}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small shapes and few rounds")
    parser.add_argument("--rounds", type=int, help="rounds (default 30; 3 with --quick)")
    parser.add_argument("--tokens", type=int, default=24, help="tokens of a turn that are timed (default 24)")
    parser.add_argument("--prompt", type=int, default=32, help="tokens of the prompt (default 32)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--output", type=Path, help="where the JSON goes (default benchmarks/results/)")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 30)
    name = f"steering{'-quick' if options.quick else ''}.json"
    options.output = options.output or HERE / "results" / name
    return options


# --- what is steered ---


def random_model(shapes: dict[str, int]) -> Any:
    """Make GPT-2 with random weights."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shapes["vocabulary"],
        n_embd=shapes["width"],
        n_layer=shapes["layers"],
        n_head=shapes["heads"],
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config).eval()


def write_sae(folder: Path, shapes: dict[str, int], layer: int) -> None:
    """Write a JumpReLU SAE of random weights as SAELens' save_model does."""
    noise = torch.Generator().manual_seed(1)
    W_dec = torch.randn(shapes["features"], shapes["width"], generator=noise)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    weights = {
        "W_enc": W_dec.T.contiguous(),
        "W_dec": W_dec,
        "b_enc": 0.1 * torch.randn(shapes["features"], generator=noise),
        "b_dec": 0.1 * torch.randn(shapes["width"], generator=noise),
        "threshold": torch.full((shapes["features"],), 2.0),
    }
    cfg = {
        "architecture": "jumprelu",
        "d_in": shapes["width"],
        "d_sae": shapes["features"],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.0.0", "model_name": "gpt2"}
        | {"hook_name": f"blocks.{layer}.hook_resid_post"},
    }
    (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file(weights, folder / "sae_weights.safetensors")


# --- the ways ---

Way = Callable[[], AbstractContextManager[Any]]


def ways_of(model: Any, folder: Path, layer: int, shapes: dict[str, int]) -> tuple[dict[str, Way], list[str]]:
    """Give each way as a context in which the model is steered, and those that cannot be run here."""
    os.environ.setdefault("EMOSAE_CACHE", str(folder / "cache"))
    sae = SparseAutoencoder.load_from_disk(folder)
    block = model.transformer.h[layer]
    step = shapes["features"] // 5
    wanted = {step * (at + 1): VALUE for at in range(4)}
    clamps = [emosae.Clamp(feature, "set", value) for feature, value in wanted.items()]
    places, values = torch.tensor(list(wanted)), torch.tensor(list(wanted.values()))
    W_enc, W_dec, b_dec = sae.W_enc.contiguous(), sae.W_dec.clone(), sae.b_dec
    b_enc, threshold = (
        sae.rows(range(shapes["features"])).b_enc,
        sae.rows(range(shapes["features"])).threshold,
    )

    def dense(x: Tensor) -> Tensor:
        before = torch.relu((x - b_dec) @ W_enc + b_enc)
        before = before * (before > threshold)
        after = before.clone()
        after[..., places] = values
        return x + (after - before) @ W_dec

    vector = VALUE * W_dec[places].sum(dim=0)

    def vector_added(x: Tensor) -> Tensor:  # as its additive hook does
        mask = torch.zeros(x.shape[1])
        mask[slice(0, None)] = 1
        x[None] = x + mask.reshape(1, -1, 1).to(x.device) * vector.to(x.device)
        return x

    ways: dict[str, Way] = {
        "unsteered": nullcontext,
        "unsteered again": nullcontext,
        "ours": lambda: emosae.steer(model, sae, clamps, skip_special=False),
        "dense hook": lambda: hooked(block, dense),
        "vector": lambda: hooked(block, vector_added),
    }
    if installed("sae-lens") is None:
        return ways, ["saelens: sae-lens is not installed"]
    return ways | {"saelens": saelens_way(folder, block, places, values)}, []


def saelens_way(folder: Path, block: torch.nn.Module, places: Tensor, values: Tensor) -> Way:
    """SAELens' forward with the error term, and a hook on its features."""
    import warnings

    import sae_lens

    theirs = sae_lens.SAE.load_from_disk(folder).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs.use_error_term = True

    def clamp(acts: Tensor, hook: Any) -> Tensor:
        acts[..., places] = values
        return acts

    @contextmanager
    def way() -> Iterator[None]:
        with theirs.hooks(fwd_hooks=[("hook_sae_acts_post", clamp)]), hooked(block, theirs):
            yield

    return way


@contextmanager
def hooked(block: torch.nn.Module, edit: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put an edit on a block's output."""

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        return edit(output) if isinstance(output, Tensor) else (edit(output[0]), *output[1:])

    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


# --- how it is timed ---


class Clock(transformers.StoppingCriteria):
    """Reads the clocks when the first new token is there; stops nothing."""

    def __init__(self) -> None:
        self.started: tuple[float, float] | None = None

    def __call__(self, ids: Tensor, _scores: Any, **_: Any) -> Tensor:
        """Say that no row is done."""
        if self.started is None:
            self.started = time.perf_counter(), time.process_time()
        return torch.zeros(len(ids), dtype=torch.bool)


def take_turns(model: Any, ways: dict[str, Way], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Let the ways take turns; give each one's seconds a token by round, and its text."""
    noise = torch.Generator().manual_seed(2)
    ids = torch.randint(1, model.config.vocab_size, (1, options.prompt), generator=noise)
    count = options.tokens + 1
    turns: dict[str, dict[str, Any]] = {name: {"wall": [], "cpu": []} for name in ways}
    order = random.Random(0)
    for number in range(-1, options.rounds):  # the first is a rehearsal
        names = list(ways)
        order.shuffle(names)
        for name in names:
            clock = Clock()
            with torch.no_grad(), ways[name]():
                text = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=count,
                    min_new_tokens=count,
                    do_sample=False,
                    stopping_criteria=[clock],
                )
                ended = time.perf_counter(), time.process_time()
            turns[name]["tokens"] = text[0].tolist()
            assert clock.started is not None
            for kind, end, start in zip(("wall", "cpu"), ended, clock.started, strict=True):
                if number >= 0:
                    turns[name][kind].append((end - start) / options.tokens)
    return turns


def summary(turns: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """Give medians over rounds: milliseconds a token, and ratios within rounds with their quartiles."""
    out: dict[str, Any] = {}
    for clock in ("wall", "cpu"):
        own = np.array(turns[name][clock])
        out[clock] = {"ms_per_token": round(1e3 * median(own), 3)}
        for other in ("unsteered", "ours"):
            ratio = own / np.array(turns[other][clock])
            low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
            out[clock][f"over_{other}"] = round(float(middle), 4)
            out[clock][f"over_{other}_quartiles"] = [round(float(low), 4), round(float(high), 4)]
    return out


def show(cases: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    print(
        f"{'':<17}{'ms a token':>12}{'/ unsteered':>13}{'/ ours':>9}{'cpu ms':>10}{'/ unsteered':>13}{'/ ours':>9}"
    )
    for name, case in cases.items():
        cells = [
            (case[c]["ms_per_token"], case[c]["over_unsteered"], case[c]["over_ours"])
            for c in ("wall", "cpu")
        ]
        (a, b, c), (d, e, f) = cells
        print(f"{name:<17}{a:>12.2f}{b:>13.3f}{c:>9.3f}{d:>10.2f}{e:>13.3f}{f:>9.3f}")


def installed(package: str) -> str | None:
    """Give the version of a package, None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def hardware(options: argparse.Namespace) -> dict[str, Any]:
    """Say what it ran on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": options.threads,
        "system": platform.system(),
        "load_average": load,
    }


if __name__ == "__main__":
    main()
