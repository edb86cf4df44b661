"""What the feature browser costs: building the cards of 65,536 features in one pass, and the page they make.

    python benchmarks/browse.py                # 65,536 features, 200,000 tokens, 10 top contexts and 16 examples each
    python benchmarks/browse.py --quick        # small numbers, to see that it runs

A small random model (its blocks' output is 64 wide) is read by a random TopK SAE of 65,536 features, 32 of them active
on each token; the corpus is random words, a Zipf law over 5,000 of them. Every card has its contexts, histogram,
languages, logit lens and neighbours; half of the features are given a made-up AUROC, so that there is something to
sort. Memory is the process' peak beyond what it held before the pass, model and SAE loaded; `kept_bytes` are the arrays
that a pass keeps (without the statistics), computed before it and measured after it, whatever the corpus' size. The
page is opened from its file in Chromium: `first_view_s` is from the start of the navigation to the first rows in place;
`search_ms` is the search alone, `search_seen_ms` to the frame after the rows are in place, the worst of several
queries, each new. The bars are 1 s and 100 ms. `*_cpu_*` is processor time, of the
build's threads and of the page's main thread: on a machine that does other work it is the steadier figure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from emosae.browse.cards import Cards
from emosae.browse.collect import collect, expected_bytes
from emosae.browse.config import BrowseConfig
from emosae.browse.corpus import texts_corpus
from emosae.browse.facts import Facts
from emosae.browse.site import About, write_site
from emosae.saes import SparseAutoencoder

HERE = Path(__file__).resolve().parent
WIDTH, WORDS, K = 64, 5000, 32
FIRST_VIEW_BAR_S, SEARCH_BAR_MS = 1.0, 100.0
QUERIES = ("joy", "latin", "word12", "4242", "joy word7", "fear latin", "word4999", "no such word", "wo", "")


def lens(n_features: int) -> Any:
    """Make the model, its tokenizer (a token a word) and the SAE."""
    torch.manual_seed(0)
    words = ["<s>", "</s>", "<unk>", *(f"word{number}" for number in range(WORDS))]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    shape = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4}
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=512,
        **shape,
    )
    model = LlamaForCausalLM(config).eval()
    cfg = {"architecture": "topk", "d_in": WIDTH, "d_sae": n_features, "k": K, "apply_b_dec_to_input": False}
    cfg |= {"metadata": {"hook_name": "blocks.0.hook_resid_post", "prepend_bos": True}}
    weight = torch.nn.functional.normalize(torch.randn(n_features, WIDTH), dim=1)
    state = {"W_enc": weight.T.contiguous(), "W_dec": weight, "b_enc": torch.zeros(n_features)}
    sae = SparseAutoencoder.from_state_dict(cfg, state | {"b_dec": torch.zeros(WIDTH)}, name="synthetic")
    return SimpleNamespace(model=model, tokenizer=tokenizer, saes={sae.site: sae}, languages=("en",))


def texts(n_tokens: int) -> Any:
    """Write texts of 100 words, one after another."""
    rng = np.random.default_rng(0)
    chance = 1.0 / np.arange(1, WORDS + 1)
    for _ in range(-(-n_tokens // 100)):
        yield " ".join(f"word{number}" for number in rng.choice(WORDS, 100, p=chance / chance.sum()))


def facts(n_features: int) -> Facts:
    """Give every other feature an AUROC for one of 27 emotions; the best 2,000 are selected."""
    rng = np.random.default_rng(1)
    names = ["joy", "fear", *(f"emotion_{number}" for number in range(25))]
    chosen = np.arange(0, n_features, 2)
    table = pl.DataFrame(
        {
            "language": ["en"] * len(chosen),
            "concept": [names[at] for at in rng.integers(0, len(names), len(chosen))],
            "feature": chosen,
            "auroc": rng.uniform(0.6, 1.0, len(chosen)),
            "p_adjusted": rng.uniform(0.0, 1.0, len(chosen)),
            "rank": np.arange(1, len(chosen) + 1),
        }
    ).with_columns(
        pl.lit(0.1).alias("mean_difference"),
        (pl.col("p_adjusted") < 0.05).alias("significant"),
        (pl.col("auroc") > 1 - 2000 / n_features).alias("selected"),
    )
    return replace(Facts(), concepts=tuple(names), scores=table)


def peak_mb() -> float:
    """Say the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if platform.system() == "Linux" else 1024**2
    )


def build(folder: Path, n_features: int, n_tokens: int) -> dict[str, Any]:
    """Read the corpus and write the page."""
    own, config = lens(n_features), BrowseConfig(tokens=None)
    site = next(iter(own.saes))
    own.saes[site].encode(torch.zeros(1, WIDTH))  # maps the weights, so that they count as there before
    corpus = texts_corpus(texts(n_tokens), "random words", n_tokens // 100)
    before = peak_mb()
    started, used = time.perf_counter(), time.process_time()
    found = collect(own.model, own.tokenizer, own.saes, corpus, config)[site]
    read = time.perf_counter()
    after_pass = peak_mb()
    cards = Cards(own, site, found, facts(n_features), config)
    write_site(folder, [cards], About(title="synthetic"))
    wrote = time.perf_counter()
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "pass_s": round(read - started, 2),
        "write_s": round(wrote - read, 2),
        "build_s": round(wrote - started, 2),
        "build_cpu_s": round(time.process_time() - used, 2),
        "tokens_read": found.stats.n_tokens,
        "features_fired": int((found.stats.maximum > 0).sum()),
        "kept_bytes_expected": expected_bytes(n_features, config),
        "kept_bytes": found.nbytes,
        "memory_before_mb": round(before, 1),
        "memory_pass_mb": round(after_pass - before, 1),
        "memory_build_mb": round(peak_mb() - before, 1),
        "folder_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "files": len(files),
        "index_mb": round(sum(p.stat().st_size for p in files if p.name == "index.js") / 1e6, 2),
    }


def look(page_path: Path, chromium: str, n_features: int, rounds: int) -> dict[str, Any]:
    """Open the page and search it."""
    from playwright.sync_api import sync_playwright

    first, used, cards, searches, searches_used = [], [], [], {}, {}

    def busy(clock: Any) -> float:
        """Processor time of the page's main thread since it began, in seconds."""
        metrics = clock.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    ready = "() => document.body.dataset.ready === 'yes'"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        browser.new_page().close()
        for _ in range(rounds):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            clock = page.context.new_cdp_session(page)
            clock.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(page_path.as_uri())
            page.wait_for_function(ready)
            first.append(page.evaluate("emosae.first_view_ms") / 1000)
            used.append(busy(clock))
            page.close()
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        clock = page.context.new_cdp_session(page)
        clock.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(page_path.as_uri())
        page.wait_for_function(ready)
        for query in QUERIES:
            before = busy(clock)
            searches[query] = page.evaluate(
                """query => new Promise(done => {
                    const box = document.getElementById("q");
                    const began = performance.now();
                    box.value = query;
                    box.dispatchEvent(new Event("input"));
                    addEventListener("hashchange", () => requestAnimationFrame(() => setTimeout(() =>
                        done([emosae.search_ms, performance.now() - began]))), { once: true });
                })""",
                query,
            )
            searches_used[query] = round((busy(clock) - before) * 1000, 1)
        for feature in (1, n_features // 3, n_features - 1):
            cards.append(
                page.evaluate(
                    """async feature => { const began = performance.now();
                    await emosae.feature(document.getElementById("site").value, feature);
                    return performance.now() - began; }""",
                    feature,
                )
            )
        name = browser.version
        browser.close()
    return {
        "chromium": name,
        "first_view_s": [round(each, 3) for each in first],
        "first_view_cpu_s": [round(each, 3) for each in used],
        "search_seen_cpu_ms": max(searches_used.values()),
        "search_ms": round(max(each[0] for each in searches.values()), 1),
        "search_seen_ms": round(max(each[1] for each in searches.values()), 1),
        "searches_ms": {query: [round(each, 1) for each in both] for query, both in searches.items()},
        "card_file_ms": round(max(cards), 1),
    }


def hardware() -> dict[str, Any]:
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
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "load_average": load,
    }


def main() -> None:
    """Build, look, and write what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument(
        "--rounds", type=int, default=5, help="times that the page is opened; all are reported"
    )
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--output", type=Path, default=HERE / "results" / "browse.json")
    options = parser.parse_args()
    n_features, n_tokens = (2048, 4000) if options.quick else (65_536, 200_000)
    with tempfile.TemporaryDirectory() as name:
        built = build(Path(name), n_features, n_tokens)
        for key, value in built.items():
            print(f"{key:<24}{value}")
        page = (
            look(Path(name) / "index.html", options.chromium, n_features, options.rounds)
            if options.chromium
            else None
        )
    for key, value in (page or {"page": "no Chromium was found, so the page was not timed"}).items():
        print(f"{key:<24}{value}")
    result = {
        "benchmark": "browse",
        "versions": {name: version(name) for name in ("emosae", "torch", "numpy", "transformers")}
        | {"python": platform.python_version()},
        "hardware": hardware(),
        "workload": {
            "features": n_features,
            "tokens": n_tokens,
            "active_per_token": K,
            "d_in": WIDTH,
            "quick": options.quick,
        },
        "bars": {"first_view_s": FIRST_VIEW_BAR_S, "search_seen_ms": SEARCH_BAR_MS},
        "within_bars_by_cpu_time": None
        if page is None
        else max(page["first_view_cpu_s"]) <= FIRST_VIEW_BAR_S
        and page["search_seen_cpu_ms"] <= SEARCH_BAR_MS,
        "within_bars": None
        if page is None
        else max(page["first_view_s"]) <= FIRST_VIEW_BAR_S and page["search_seen_ms"] <= SEARCH_BAR_MS,
        "build": built,
        "page": page,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
