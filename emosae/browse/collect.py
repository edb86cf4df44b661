"""One pass over a corpus: what fires each feature, how often and how strongly, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.browse.config import BrowseConfig
from emosae.browse.shown import Shown, batches, windows_around
from emosae.browse.slots import Slots, slot_bytes
from emosae.browse.spelling import Spelling, scripts_of
from emosae.errors import UserError
from emosae.models import context_length
from emosae.progress import progress
from emosae.saes.stats import StatsBuilder
from emosae.steering.corpus import Corpus, split_long

if TYPE_CHECKING:
    from emosae.models import Site
    from emosae.saes import FeatureStats, SparseAutoencoder

__all__ = ["BIN_EDGES", "GROUPS", "Collected", "collect", "expected_bytes"]

GROUPS = 4
"""Quantile groups of a feature's active values."""

_PER_OCTAVE, _LOW, _HIGH = 4, -8, 14
BIN_EDGES = 2.0 ** np.arange(_LOW, _HIGH + 1 / _PER_OCTAVE, 1 / _PER_OCTAVE)
"""Edges of the bins that activations are counted in; the first and the last also take what lies beyond."""

_SCRIPTS = 16  # writing systems that are told apart
_STATS_BYTES = 384 * 4 + 12  # a feature in StatsBuilder


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Collected:
    """What a corpus says of the features of one SAE.

    Attributes:
        features: Their numbers, `[n]`; everything else is in this order.
        corpus: The corpus' name.
        n_texts: How many texts, or windows of long ones, were read.
        stats: Density, maximum and quantiles of all features of the SAE, special tokens left out.
        counts: How often each feature was active in each bin of `BIN_EDGES`, `[n, bins]`.
        top: The contexts with the largest activations, one a text.
        sample: Active tokens drawn at random, each with the same chance; their quantile groups are cut from them.
        scripts: Writing systems met, in Unicode's names.
        script_tokens: Tokens of each, `[scripts]`.
        script_active: Tokens of each on which each feature is active, `[n, scripts]`.
    """

    features: np.ndarray
    corpus: str
    n_texts: int
    stats: FeatureStats
    counts: np.ndarray
    top: Slots
    sample: Slots
    scripts: list[str]
    script_tokens: np.ndarray
    script_active: np.ndarray

    @property
    def nbytes(self) -> int:
        """What the kept contexts and counts take, in bytes."""
        return self.top.nbytes + self.sample.nbytes + self.counts.nbytes + self.script_active.nbytes


def expected_bytes(n_features: int, config: BrowseConfig) -> int:
    """Say what a pass keeps for so many features, in bytes; it does not depend on the corpus."""
    slots = config.contexts + GROUPS * config.examples
    own = slots * slot_bytes(config.context_tokens) + 4 * (len(BIN_EDGES) - 1) + 4 * _SCRIPTS + 2 * 8
    return n_features * (own + _STATS_BYTES)


def collect(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    corpus: Corpus,
    config: BrowseConfig | None = None,
    *,
    features: Sequence[int] | None = None,
    max_tokens: int = 4096,
) -> dict[Site, Collected]:
    """Read a corpus once and keep what the cards show.

    Special tokens are neither read nor shown. What is kept does not depend on how texts fall into batches.

    Args:
        model: A transformers model.
        tokenizer: Its fast tokenizer.
        saes: The SAEs, by site.
        corpus: The corpus.
        config: How much is kept, and how much is read; None means the defaults.
        features: Look at these alone; None means all.
        max_tokens: Bound on a batch's tokens, padding included.

    Returns:
        For each site what was found.

    Raises:
        UserError: It would take more memory than the settings allow, or the corpus has no tokens.
    """
    config = config or BrowseConfig()
    wanted = sum(sae.d_sae if features is None else len(features) for sae in saes.values())
    needed = expected_bytes(wanted, config)
    if needed > config.memory_gb * 1e9:
        raise UserError(
            f"The contexts of {wanted:,} features take {needed / 1e9:.1f} GB, and browse.memory_gb is "
            f"{config.memory_gb:g}. Raise it, name one site, or keep less with browse.contexts=, browse.examples= or "
            "browse.context_tokens=."
        )
    limit = context_length(model)
    window = config.window if limit is None else max(1, min(config.window, limit - 2))
    spelling = Spelling(tokenizer)
    passes = {site: _Pass(sae, corpus.name, config, features, spelling) for site, sae in saes.items()}
    read = n_texts = 0
    with progress(f"reading {corpus.name}", corpus.total) as step:
        for texts, units in corpus.chunks():
            pieces = split_long(tokenizer, texts, window)
            for bos in dict.fromkeys(sae.cfg.prepend_bos for sae in saes.values()):  # a pass for each wish
                own = [site for site, sae in saes.items() if sae.cfg.prepend_bos == bos]
                counted = 0
                for batch, shown in batches(model, tokenizer, own, pieces, bos, max_tokens):
                    counted += int(batch.span.sum())
                    for site in own:
                        passes[site].add(batch.activations[site][batch.span], shown, n_texts)
            read, n_texts = read + counted, n_texts + len(pieces)
            step(units)
            if config.tokens is not None and read >= config.tokens:
                break
    return {site: each.result(n_texts) for site, each in passes.items()}


class _Pass:
    """What is kept of one SAE while the corpus goes by."""

    def __init__(
        self,
        sae: SparseAutoencoder,
        corpus: str,
        config: BrowseConfig,
        features: Sequence[int] | None,
        spelling: Spelling,
    ) -> None:
        self._sae, self._chosen, self._corpus, self._spelling = sae, features, corpus, spelling
        self._features = np.arange(sae.d_sae) if features is None else np.asarray(features, dtype=np.int64)
        n, width = len(self._features), config.context_tokens
        self._before = np.arange(width) - width * 2 // 3  # a causal model reads what stands before
        self._stats = StatsBuilder(n, corpus)
        self._counts = np.zeros((n, len(BIN_EDGES) - 1), dtype=np.int32)
        self._top = Slots(n, config.contexts, width)
        self._sample = Slots(n, GROUPS * config.examples, width)
        self._scripts: list[str] = []
        self._script_tokens = np.zeros(_SCRIPTS, dtype=np.int64)
        self._script_active = np.zeros((n, _SCRIPTS), dtype=np.int32)

    def add(self, activations: Any, shown: Shown, n_before: int) -> None:
        """Take a batch: the activations of the tokens that are read, and all tokens that are shown."""
        found = self._sae.encode(activations, self._chosen)
        fires = (found.values > 0).cpu().numpy()
        feature = found.indices.cpu().numpy()[fires].astype(np.int64)
        value = found.values.cpu().numpy()[fires]
        token = shown.read[found.row_indices.cpu().numpy()[fires]]
        self._stats.add(feature, value, activations.float().norm(dim=1).cpu().numpy())
        bins = np.clip(np.searchsorted(BIN_EDGES, value, "right") - 1, 0, self._counts.shape[1] - 1)
        np.add.at(self._counts, (feature, bins), 1)
        self._count_scripts(shown, feature, token)
        if not len(feature):
            return
        order = np.lexsort((token, feature))
        feature, value, token = feature[order], value[order], token[order]
        windows = partial(windows_around, feature, value, token, shown, self._before)
        number = ((n_before + shown.text[token]) << 20) | shown.position[token]
        self._offer_top(feature, value, number, shown.text[token], windows)
        key = _chance(number, self._features[feature])
        if self._sample.key.shape[1]:
            may = np.flatnonzero(self._sample.may_enter(feature, key))
            self._sample.offer(feature[may], key[may], number[may], lambda at: windows(may[at]))

    def _offer_top(
        self, feature: np.ndarray, value: np.ndarray, number: np.ndarray, text: np.ndarray, windows: Any
    ) -> None:
        """Offer the largest activation of each feature in each text; the first, where several are as large."""
        may = np.flatnonzero(self._top.may_enter(feature, value))
        if not len(may):
            return
        may = may[np.lexsort((number[may], -value[may], text[may], feature[may]))]
        same = (np.diff(feature[may], prepend=-1) == 0) & (np.diff(text[may], prepend=-1) == 0)
        may = may[~same]
        self._top.offer(feature[may], value[may].astype(float), number[may], lambda at: windows(may[at]))

    def _count_scripts(self, shown: Shown, feature: np.ndarray, token: np.ndarray) -> None:
        starts = np.append(np.unique(shown.first), len(shown.ids))
        script = scripts_of(self._spelling, shown.ids, starts, self._scripts, _SCRIPTS)
        read = script[shown.read]
        self._script_tokens += np.bincount(read[read >= 0], minlength=_SCRIPTS)
        own = script[token]
        np.add.at(self._script_active, (feature[own >= 0], own[own >= 0]), 1)

    def result(self, n_texts: int) -> Collected:
        """Give what was kept."""
        n = len(self._scripts)
        return Collected(
            features=self._features,
            corpus=self._corpus,
            n_texts=n_texts,
            stats=self._stats.result(),
            counts=self._counts,
            top=self._top,
            sample=self._sample,
            scripts=self._scripts,
            script_tokens=self._script_tokens[:n],
            script_active=self._script_active[:, :n],
        )


def _chance(number: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Draw for each activation a number in [0, 1) that depends on its token and feature alone.

    The largest of them are a sample in which each activation has the same chance. Source: Steele, Lea & Flood 2014,
    SplitMix64.
    """
    with np.errstate(over="ignore"):
        x = number.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + feature.astype(np.uint64)
        for _ in range(2):
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(float) * 2.0**-53
