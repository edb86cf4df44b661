"""What extraction costs: words to one layer's activations, beside the whole model.

The model has the shapes of GPT-2 small (124 million parameters) and random weights; speed does not depend on
their values. All variants run the same tokens in the same batches, side by side in each round, in an order
that turns from round to round; a ratio is the median over rounds. Extraction at 0-based layer L of N should
cost (L + 1) / N of the full pass, and may cost 1.15 times that. Tokenization and the SAE are timed apart.

    python benchmarks/extraction.py            # 10,000 words, some minutes on two cores
    python benchmarks/extraction.py --quick    # a small model and few words, to see that it runs
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from emosae.models import (
    ActivationBatch,
    Site,
    Stream,
    StreamRecord,
    TokenizedItems,
    plan_batches,
    stream_activations,
    text_model,
    tokenize,
)

HERE = Path(__file__).resolve().parent
BAR = 1.15
ACTIVE = 50  # features that are active on a token, about


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The size of the model."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    features: int


# The SAE is as wide as gpt2-small-res-jb
GPT2_SMALL = Shape(layers=12, width=768, heads=12, vocabulary=50_257, features=24_576)
SMALL = Shape(layers=4, width=64, heads=4, vocabulary=6_000, features=1_024)


def main() -> None:
    """Measure, print a table, write JSON."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    shape = SMALL if options.quick else GPT2_SMALL
    layers = options.layers or sorted({0, shape.layers // 4, shape.layers // 2, shape.layers - 1})
    model = make_model(shape, options.device)
    words, source = some_words(options.words)
    tokenizer = make_tokenizer(words[::2])
    tokenized_s, _, tokens = timed(partial(tokenize_words, tokenizer, words), options.device)
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters / 1e6:.0f}M parameters, {shape.layers} layers, on {options.device}")
    print(
        f"{len(words):,} words ({source}), {tokens.lengths.sum():,} tokens, batches of {options.max_tokens}"
    )
    print()
    middle = layers[len(layers) // 2]
    speed = measure_speed(model, tokens, layers, options)
    encoding = measure_encoding(model, tokens, middle, shape.features, options)
    memory = measure_memory(model, tokens, middle, shape.features, options)
    rows = report(speed, layers, shape.layers)
    print(f"\ntokenization {tokenized_s:.2f} s, SAE encode {encoding['seconds']:.2f} s ({encoding['what']})")
    print("\nmemory above the model's, MiB, and non-zeros kept:")
    for row in memory:
        peak, sparse = f"{row['peak_mib']} peak", f"{row['sparse_mib']} sparse"
        print(f"  {row['words']:>6,} words {peak:>14} {sparse:>14} {row['nnz']:>14,}")
    result = {
        "benchmark": "extraction",
        "versions": {
            name: version(name) for name in ("emosae", "torch", "transformers", "tokenizers", "numpy")
        }
        | {"python": platform.python_version()},
        "hardware": hardware(options),
        "workload": {
            "parameters": n_parameters,
            "layers": shape.layers,
            "width": shape.width,
            "words": len(words),
            "words_from": source,
            "tokens": int(tokens.lengths.sum()),
            "max_tokens": options.max_tokens,
            "rounds": options.rounds,
            "dtype": "float32",
            "quick": options.quick,
        },
        "bar": BAR,
        "seconds": {name: round(float(times[0].sum()), 3) for name, times in speed.items()},
        "extraction": rows,
        "tokenization_s": round(tokenized_s, 3),
        "sae_encode": encoding,
        "memory": memory,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\n{options.output}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a small model and few words")
    parser.add_argument("--words", type=int, help="how many words (default 10,000; 400 with --quick)")
    parser.add_argument(
        "--layers", type=int, nargs="+", help="0-based layers to read (default: four, spread)"
    )
    parser.add_argument(
        "--rounds", type=int, help="parts into which the words are cut (default 5; 2 with --quick)"
    )
    parser.add_argument("--max-tokens", type=int, default=4096, help="positions of a batch (default 4096)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, … (default cpu)")
    parser.add_argument("--output", type=Path, help="where the JSON goes (default benchmarks/results/)")
    options = parser.parse_args()
    options.words = options.words or (400 if options.quick else 10_000)
    options.rounds = options.rounds or (2 if options.quick else 5)
    name = "extraction-quick.json" if options.quick else "extraction.json"
    options.output = options.output or HERE / "results" / name
    return options


# --- what is run ---


def make_model(shape: Shape, device: str) -> Any:
    """Make a GPT-2 with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=shape.layers,
        n_embd=shape.width,
        n_head=shape.heads,
        vocab_size=shape.vocabulary,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval().requires_grad_(False).to(device)


def some_words(n: int) -> tuple[list[str], str]:
    """Give Warriner's words if they are here, pseudo-words otherwise."""
    folder = Path(os.environ.get("EMOSAE_DATA") or HERE.parent.parent / "shared")
    path = folder / "norms" / "Ratings_Warriner_et_al.csv"
    if path.is_file():
        words = pl.read_csv(path, infer_schema=False)["Word"].to_list()
        if len(words) >= n:
            return random.Random(0).sample(words, n), "Warriner"
    syllables = [c + v for c in "bdfghjklmnprstvwz" for v in ("a", "e", "i", "o", "u", "an", "er", "is")]
    draw = random.Random(0)
    found: set[str] = set()
    while len(found) < n:
        found.add("".join(draw.choices(syllables, k=draw.choice((1, 2, 2, 3, 3, 4)))))
    return sorted(found, key=lambda word: draw.random()), "pseudo-words"


def make_tokenizer(words: list[str]) -> Any:
    """Train a byte-level BPE on words, as GPT-2's is on text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    end = "<|endoftext|>"
    raw.train_from_iterator(
        words, trainers.BpeTrainer(vocab_size=5_000, special_tokens=[end], show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=end)


def tokenize_words(tokenizer: Any, words: list[str]) -> TokenizedItems:
    """Tokenize bare words behind a BOS token; the words are the spans."""
    items = pl.DataFrame({"text": words}).with_columns(start=pl.lit(0), end=pl.col("text").str.len_chars())
    return tokenize(tokenizer, items, prepend_bos=True, is_decoder=True)


def part(tokens: TokenizedItems, rows: range) -> TokenizedItems:
    """Take some of the items."""
    return TokenizedItems(
        ids=[tokens.ids[row] for row in rows],
        span=[tokens.span[row] for row in rows],
        special=[tokens.special[row] for row in rows],
        unknown=tokens.unknown[rows.start : rows.stop : rows.step],
        truncated=tokens.truncated[rows.start : rows.stop : rows.step],
    )


def read_layer(model: Any, tokens: TokenizedItems, layer: int, max_tokens: int) -> None:
    """Extract, as a study does up to the SAE: the span's activations at the output of a layer."""
    site = Site(layer, Stream.RESID_POST)
    for batch in stream_activations(model, tokens, [site], max_tokens=max_tokens):
        span_of(batch, site)


def span_of(batch: ActivationBatch, site: Site) -> torch.Tensor:
    """Give the activations of the tokens that are pooled."""
    return batch.activations[site][batch.span]


def padded(tokens: TokenizedItems, max_tokens: int, device: str) -> Iterator[dict[str, torch.Tensor]]:
    """Give the model's inputs in the batches that extraction runs."""
    for rows in plan_batches(tokens.lengths, max_tokens=max_tokens):
        ids = torch.zeros((len(rows), int(tokens.lengths[rows].max())), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : tokens.lengths[row]] = torch.from_numpy(tokens.ids[row])
            mask[place, : tokens.lengths[row]] = 1
        yield {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def read_all(model: Any, batches: list[dict[str, torch.Tensor]], hidden_states: bool) -> None:
    """Run the base model to its end, without its head."""
    base = text_model(model)
    with torch.inference_mode():
        for batch in batches:
            base(**batch, use_cache=False, output_hidden_states=hidden_states)


# --- how it is measured ---


def timed(work: Callable[[], Any], device: str) -> tuple[float, float, Any]:
    """Time some work, to its end on the device; give wall seconds, CPU seconds and what came of it."""
    if device != "cpu":
        torch.accelerator.synchronize()
    started, busy = time.perf_counter(), time.process_time()
    result = work()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started, time.process_time() - busy, result


def measure_speed(
    model: Any, tokens: TokenizedItems, layers: list[int], options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Time every variant in every round: for each the wall and CPU seconds, `[2, rounds]`."""
    times: dict[str, list[tuple[float, float]]] = {}
    for turn in range(-1, options.rounds):  # the round before the first warms up and is not counted
        rows = range(max(turn, 0), len(tokens), options.rounds)
        some = part(tokens, rows if turn >= 0 else rows[: len(rows) // 5])
        batches = list(padded(some, options.max_tokens, options.device))
        variants: dict[str, Callable[[], Any]] = {
            "full": partial(read_all, model, batches, False),
            "hidden_states": partial(read_all, model, batches, True),
        }
        for layer in layers:
            variants[f"layer {layer}"] = partial(read_layer, model, some, layer, options.max_tokens)
        names = list(variants)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            wall, cpu, _ = timed(variants[name], options.device)
            if turn >= 0:
                times.setdefault(name, []).append((wall, cpu))
    return {name: np.array(rounds).T for name, rounds in times.items()}


def make_sae(width: int, n_features: int, device: str) -> Any:
    """Make a random JumpReLU SAE on which about `ACTIVE` features are active."""
    from emosae.saes import SparseAutoencoder

    draw = torch.Generator().manual_seed(1)
    encoder = torch.randn(width, n_features, generator=draw) / width**0.5
    config = {
        "architecture": "jumprelu",
        "d_in": width,
        "d_sae": n_features,
        "apply_b_dec_to_input": False,
        "normalize_activations": "layer_norm",
        "dtype": "float32",
        "metadata": {"hook_name": "blocks.0.hook_resid_post"},
    }
    # normed input: the pre-activations are normal with variance 1
    threshold = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - ACTIVE / n_features))
    state = {
        "W_enc": encoder,
        "W_dec": encoder.T.contiguous(),
        "b_enc": torch.zeros(n_features),
        "b_dec": torch.zeros(width),
        "threshold": torch.full((n_features,), float(threshold)),
    }
    return SparseAutoencoder.from_state_dict(config, state, device=device)


def measure_encoding(
    model: Any, tokens: TokenizedItems, layer: int, n_features: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Time the SAE alone over the tokens of all words."""
    sae, site = make_sae(model.config.n_embd, n_features, options.device), Site(layer, Stream.RESID_POST)
    seconds, n_tokens, nnz = 0.0, 0, 0
    for batch in stream_activations(model, tokens, [site], max_tokens=options.max_tokens):
        active = span_of(batch, site)
        elapsed, _, found = timed(partial(sae.encode, active), options.device)
        seconds, n_tokens, nnz = seconds + elapsed, n_tokens + len(active), nnz + found.nnz
    what = f"{n_tokens:,} tokens, {sae.d_in} -> {sae.d_sae}, {nnz / n_tokens:.0f} active"
    return {"seconds": round(seconds, 3), "tokens": n_tokens, "d_sae": sae.d_sae, "nnz": nnz, "what": what}


def measure_memory(
    model: Any, tokens: TokenizedItems, layer: int, n_features: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Extract and encode a quarter and all of the words, and take the peak of memory above what was there."""
    sae, site = make_sae(model.config.n_embd, n_features, options.device), Site(layer, Stream.RESID_POST)
    rows = []
    for n in (len(tokens) // 4, len(tokens)):
        some, kept, record = part(tokens, range(n)), [], StreamRecord()
        gc.collect()
        before = start_peak(options.device)
        for batch in stream_activations(model, some, [site], max_tokens=options.max_tokens, record=record):
            kept.append(sae.encode(span_of(batch, site)).to_scipy())
        peak = read_peak(options.device)
        sparse = sum(m.data.nbytes + m.indices.nbytes + m.indptr.nbytes for m in kept)
        dense = 4 * record.tokens * (sae.d_sae + sae.d_in)
        rows.append(
            {
                "words": n,
                "peak_mib": None if peak is None or before is None else round((peak - before) / 2**20, 1),
                "sparse_mib": round(sparse / 2**20, 1),
                "nnz": sum(m.nnz for m in kept),
                "dense_would_be_mib": round(dense / 2**20, 1),
            }
        )
    return rows


def start_peak(device: str) -> int | None:
    """Watch the peak of memory from here, and give what is in use now in bytes; None where not known."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark begins anew
    except OSError:
        return None
    return status_bytes("VmRSS")


def read_peak(device: str) -> int | None:
    """Give the peak since `start_peak` in bytes."""
    return torch.cuda.max_memory_allocated() if device.startswith("cuda") else status_bytes("VmHWM")


def status_bytes(name: str) -> int | None:
    """Read a line of this process' status."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def hardware(options: argparse.Namespace) -> dict[str, Any]:
    """Say what it ran on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    named = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": options.threads,
        "device": options.device,
        "device_name": named,
        "system": platform.system(),
        "load_average": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def report(speed: dict[str, np.ndarray], layers: list[int], n_layers: int) -> list[dict[str, Any]]:
    """Print the table, and give it as rows."""
    full, states = speed["full"], speed["hidden_states"]
    print(
        f"{'':>22}{'seconds':>9}{'of full':>9}{'ideal':>8}{'x ideal':>9}{'by CPU time':>13}{'of states':>11}"
    )
    print(f"{'full, no head':>22}{full[0].sum():>9.2f}{1:>9.3f}")
    of_full, of_full_cpu = np.median(states / full, axis=1)
    print(f"{'output_hidden_states':>22}{states[0].sum():>9.2f}{of_full:>9.3f}{'':>17}{of_full_cpu:>13.3f}")
    rows = []
    for layer in layers:
        times, ideal = speed[f"layer {layer}"], (layer + 1) / n_layers
        of_full, of_full_cpu = np.median(times / full, axis=1)
        of_states = float(np.median(times[0] / states[0]))
        rows.append(
            {
                "layer": layer,
                "seconds": round(float(times[0].sum()), 3),
                "of_full": round(float(of_full), 4),
                "of_full_by_round": [round(float(value), 4) for value in times[0] / full[0]],
                "ideal": round(ideal, 4),
                "times_ideal": round(float(of_full) / ideal, 4),
                "times_ideal_by_cpu_time": round(float(of_full_cpu) / ideal, 4),
                "of_hidden_states": round(of_states, 4),
                "within_bar": bool(of_full <= BAR * ideal),
            }
        )
        print(
            f"{f'layer {layer}':>22}{times[0].sum():>9.2f}{of_full:>9.3f}{ideal:>8.3f}{of_full / ideal:>9.3f}"
            f"{of_full_cpu / ideal:>13.3f}{of_states:>11.3f}"
            + ("" if rows[-1]["within_bar"] else "  above the bar")
        )
    print(f"The bar is {BAR} x ideal. CPU time is the steadier measure where other programs run.")
    return rows


if __name__ == "__main__":
    main()
