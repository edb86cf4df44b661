"""A lens on a tiny random model, whose features, statistics and selection are made up, for the tests of steering."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
from models_zoo import VOCABULARY, build
from steering_cases import D_SAE, make_sae
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from emosae.lens import Lens
from emosae.saes import FeatureStats, SparseAutoencoder
from emosae.saes.stats import LEVELS, stats_path

RESIDUAL_NORM = 12.0
WORDS = ["<unk>", "<pad>", "<s>", "</s>", "From", "my", "experience", ",", "Once", "joy", "fear"]
SITE = "blocks.1.hook_resid_post"
SELECTED = {"joy": [3, 17, 40], "fear": [40, 5]}


def tokenizer(*, bos: bool = True) -> PreTrainedTokenizerFast:
    """A token a word; what it does not know is spelt w11, w12, …"""
    vocabulary = WORDS + [f"w{number}" for number in range(len(WORDS), VOCABULARY)]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(vocabulary)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def stats(seed: int = 0, **changes: Any) -> FeatureStats:
    """Made-up statistics of D_SAE features, all of which fired."""
    quantiles = np.sort(np.random.default_rng(seed).uniform(0.5, 3.0, (len(LEVELS), D_SAE)), axis=0)
    values: dict[str, Any] = {
        "corpus": "toy",
        "n_tokens": 100,
        "density": np.full(D_SAE, 0.1, np.float32),
        "maximum": quantiles[-1].astype(np.float32),
        "quantiles": quantiles.astype(np.float32),
        "residual_norm": RESIDUAL_NORM,
    }
    return FeatureStats(**values | changes)


def scores(language: str, selected: dict[str, list[int]]) -> pl.DataFrame:
    """A selection's table: the first feature of each concept is the best."""
    rows = [
        {
            "language": language, "concept": concept, "feature": feature, "auroc": 0.9 - 0.05 * at,
            "p": 0.001, "p_adjusted": 0.01, "rank": at + 1, "significant": True, "selected": True,
        }
        for concept, features in selected.items()
        for at, feature in enumerate(features)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def tiny_lens(
    home: Path,
    model: str = "llama",
    saes: dict[Any, SparseAutoencoder] | None = None,
    *,
    languages: tuple[str, ...] = ("en",),
    with_stats: bool = True,
) -> Lens:
    """Make the lens; its concepts are those of ekman6, its features for joy and fear those of SELECTED."""
    if saes is None:
        sae = make_sae()
        sae.homes = (home,)
        saes = {sae.site: sae}
    if with_stats:
        stats().save(stats_path(home, "toy"))
    lens = Lens(
        model=build(model),
        tokenizer=tokenizer(),
        saes=saes,
        name="toy",
        concepts="ekman6",
        languages=languages,
    )
    for site in saes:
        for language in languages:
            lens.memory["selection", site, language] = SimpleNamespace(scores=scores(language, SELECTED))
    return lens
