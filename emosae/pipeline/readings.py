"""The features stage: the study's words through the model, one row a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from emosae.concepts import coverage, word_items
from emosae.config import FeaturesConfig
from emosae.features import FeatureMatrix, Reading, cached_extract, unknown_items
from emosae.lens import Lens
from emosae.models import Site
from emosae.progress import progress

__all__ = ["FeaturesResult", "describe", "read_words"]

_TOP = 5  # features listed for each word


@dataclass(frozen=True, kw_only=True, slots=True)
class FeaturesResult:
    """What the features stage writes.

    Attributes:
        words: language, word, n_readings, l0 (features active on the averaged word), features, activations (the
            strongest, strongest first).
        coverage: set, language, concept, words, known, dropped (the tokenizer cannot represent them), share.
        summary: n_words, d_sae, n_active (features that fire on any word), l0, density (mean share of words).
    """

    words: pl.DataFrame
    coverage: pl.DataFrame
    summary: pl.DataFrame


def read_words(
    lens: Lens,
    sets: Mapping[str, pl.DataFrame],
    *,
    templates: str | Mapping[str, Sequence[str]],
    config: FeaturesConfig,
    model_id: str,
    what: str,
    sites: Sequence[Site] | None = None,
) -> tuple[dict[Site, Reading], pl.DataFrame]:
    """Read words through the model, drop those the tokenizer cannot represent, and average each word's readings.

    Args:
        lens: The model and its SAEs.
        sets: Sets of words by name, each with language, word and, where there are concepts, concept. A word of
            several sets is read once.
        templates: `all` (bare and in every template of the language), `framed`, `bare`, or each language's own.
        config: Pooling, batches, cache, least coverage.
        model_id: The model's fingerprint.
        what: What is read, for the progress bar.
        sites: Sites to read; None means all of the lens.

    Returns:
        For each site a `Reading` with one row a word, and the coverage of each set: set, language, concept, words,
        known, dropped, share.

    Raises:
        CoverageError: The tokenizer knows fewer words of a set in a language than `config.min_coverage`.
        UserError: It knows no word of a concept.
    """
    items = word_items(pl.concat([words.select("word", "language") for words in sets.values()]), templates)
    saes = {site: lens.saes[site] for site in (sites or lens.saes)}
    lost = items.filter(unknown_items(lens.model, lens.tokenizer, saes, items))
    lost = lost.select("language", "word").unique()
    known = _coverage(sets, lost, config.min_coverage)
    items = items.join(lost, on=["language", "word"], how="anti", maintain_order="left")
    with progress(f"reading {what}", items.height) as step:
        readings = cached_extract(
            lens.model,
            lens.tokenizer,
            saes,
            items,
            model_id=model_id,
            use_cache=config.use_cache,
            step=step,
            pooling=config.pooling,
            baselines=True,
            reconstruction=True,
            max_tokens=config.max_tokens,
        )
    return {site: reading.aggregate(["language", "word"]) for site, reading in readings.items()}, known


def _coverage(sets: Mapping[str, pl.DataFrame], lost: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Count the known words of each set in each language, before the model reads any."""
    counted = []
    for name, words in sets.items():
        for (language,), own in words.group_by("language", maintain_order=True):
            missing = lost.filter(pl.col("language") == language)["word"]
            table = coverage(own, missing, threshold, name=name)
            counted.append(table.select(pl.lit(name).alias("set"), pl.all()))
    return pl.concat(counted, how="diagonal_relaxed")


def describe(features: FeatureMatrix, known: pl.DataFrame) -> FeaturesResult:
    """Say what fires for each word, and how sparse the features are."""
    csr = features.csr
    top_features, top_values = [], []
    for row in range(csr.shape[0]):
        start, end = csr.indptr[row], csr.indptr[row + 1]
        order = np.argsort(-csr.data[start:end], kind="stable")[:_TOP]
        top_features.append(csr.indices[start:end][order].astype(np.int64).tolist())
        top_values.append(csr.data[start:end][order].astype(float).round(4).tolist())
    fired = np.bincount(csr.indices, minlength=csr.shape[1]) > 0
    words = features.items.with_columns(
        pl.Series("l0", np.diff(csr.indptr), dtype=pl.Int64),
        pl.Series("features", top_features, dtype=pl.List(pl.Int64)),
        pl.Series("activations", top_values, dtype=pl.List(pl.Float64)),
    )
    summary = pl.DataFrame(
        {
            "n_words": [csr.shape[0]],
            "d_sae": [csr.shape[1]],
            "n_active": [int(fired.sum())],
            "l0": [features.l0],
            "density": [features.l0 / csr.shape[1]],
        }
    )
    return FeaturesResult(words=words, coverage=known, summary=summary)
