"""Statistics of features on a corpus: the command `emosae stats` and what it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError, unknown_name
from emosae.features import text_items
from emosae.models import context_length, is_decoder, stream_activations, tokenize
from emosae.progress import progress
from emosae.saes import FeatureStats
from emosae.saes.stats import StatsBuilder, stats_path
from emosae.steering.corpus import Corpus, open_corpus, split_long

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.saes import SparseAutoencoder

__all__ = ["command", "measure_stats"]

log = logging.getLogger(__name__)

_SETTINGS = {"corpus", "corpus.name", "corpus.column", "corpus.tokens", "corpus.window"}


def measure_stats(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    corpus: Corpus,
    *,
    tokens: int | None = None,
    window: int = 512,
    max_tokens: int = 4096,
) -> dict[Site, FeatureStats]:
    """Count how often and how strongly features fire on a corpus, special tokens left out.

    The corpus is read a few texts at a time; memory does not grow with it. Long texts are cut into windows, none of
    whose tokens is lost.

    Args:
        model: A transformers model.
        tokenizer: Its fast tokenizer.
        saes: The SAEs, by site.
        corpus: The corpus.
        tokens: Stop once as many were read; None reads all.
        window: Tokens of a window, special ones not counted; never more than the model has positions for.
        max_tokens: Bound on a batch's tokens, padding included.

    Returns:
        For each site its statistics.

    Raises:
        UserError: A number below 1, or a corpus without tokens.
    """
    for what, value in (("corpus.window", window), ("corpus.tokens", 1 if tokens is None else tokens)):
        if value < 1:
            raise UserError(f"{what} must be at least 1, got {value}. Leave it out for the default.")
    limit = context_length(model)
    window = window if limit is None else max(1, min(window, limit - 2))
    builders = {site: StatsBuilder(sae.d_sae, corpus.name) for site, sae in saes.items()}
    read = 0
    with progress(f"reading {corpus.name}", corpus.total) as step:
        for texts, units in corpus.chunks():
            pieces = split_long(tokenizer, texts, window)
            for bos in dict.fromkeys(sae.cfg.prepend_bos for sae in saes.values()):  # a pass for each wish
                own = {site: sae for site, sae in saes.items() if sae.cfg.prepend_bos == bos}
                counted = _count(model, tokenizer, own, builders, pieces, bos, max_tokens)
            read += counted
            step(units)
            if tokens is not None and read >= tokens:
                break
    return {site: builder.result() for site, builder in builders.items()}


def _count(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    builders: Mapping[Site, StatsBuilder],
    texts: list[str],
    bos: bool | None,
    max_tokens: int,
) -> int:
    tokens = tokenize(tokenizer, text_items(texts), prepend_bos=bos, is_decoder=is_decoder(model))
    pad = tokenizer.pad_token_id
    n = 0
    for batch in stream_activations(
        model, tokens, list(saes), max_tokens=max_tokens, pad_id=0 if pad is None else int(pad)
    ):
        n += int(batch.span.sum())
        for site, sae in saes.items():
            active = batch.activations[site][batch.span]
            found = sae.encode(active)
            fires = found.values > 0
            builders[site].add(
                found.indices[fires].cpu().numpy(),
                found.values[fires].cpu().numpy(),
                active.float().norm(dim=1).cpu().numpy(),
            )
    return n


def command(words: Sequence[str]) -> list[str]:
    """Run `emosae stats [PRESET|MODEL] corpus=FILE [key=value …]`.

    Args:
        words: The words after `emosae stats`.

    Returns:
        The lines to print: for each SAE what was counted, and where it lies.

    Raises:
        UserError: No corpus, an unknown setting, or an SAE that lies nowhere.
    """
    own, study = _read(words)
    if "corpus" not in own:
        raise UserError(
            "`emosae stats` needs a corpus, for example `emosae stats preset=phantom corpus=my_texts.txt`."
        )
    numbers = {
        name: _whole(f"corpus.{name}", own[f"corpus.{name}"])
        for name in ("tokens", "window")
        if f"corpus.{name}" in own
    }
    corpus = open_corpus(own["corpus"], column=own.get("corpus.column", "text"), name=own.get("corpus.name"))
    lens = _open(study)
    homeless = [sae.name for sae in lens.saes.values() if not sae.homes]
    if homeless:
        raise UserError(
            f"Statistics lie beside their SAE, and {homeless[0]!r} lies nowhere. Save it to a folder."
        )
    found = measure_stats(lens.model, lens.tokenizer, lens.saes, corpus, **numbers)
    lines = []
    for site, stats in found.items():
        sae = lens.saes[site]
        path = stats_path(Path(sae.homes[0]), corpus.name)
        stats.save(path)
        lines.append(
            f"{site} {sae.name}: {stats.n_tokens} tokens of {corpus.name!r}, {int((stats.maximum > 0).sum())} of "
            f"{sae.d_sae} features fired, {stats.density.sum():.1f} a token, median residual norm "
            f"{stats.residual_norm:.3g}"
        )
        lines.append(f"statistics: {path}")
    return lines


def _read(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split the corpus' settings from those of the study; a bare first word is a preset or a model."""
    from emosae.config import options

    own, study = {}, []
    for at, word in enumerate(words):
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            raise UserError(f"There is no option {word!r}. Write key=value, for example corpus=my_texts.txt.")
        if not equals:
            if at:
                raise UserError(
                    f"{word!r} is not a setting. Write key=value, for example corpus=my_texts.txt."
                )
            study.append(f"preset={word}" if word in options("preset") else f"model={word}")
        elif key == "corpus" or key.startswith("corpus."):
            if key not in _SETTINGS:
                raise unknown_name("setting of a corpus", key, _SETTINGS)
            own[key] = value
        else:
            study.append(word)
    return own, study


def _open(study: list[str]) -> Lens:
    from emosae.config import compose
    from emosae.lens import open_lens

    config = compose([*study, "norms=[]"] if not any(word.startswith("norms") for word in study) else study)
    name = config.preset if config.preset != "custom" else None
    return open_lens(config.model, config.sae, name=name, concepts=config.concepts.name)


def _whole(name: str, value: str) -> int:
    if not value.replace("_", "").isdigit() or int(value) < 1:
        raise UserError(f"{name} must be a whole number from 1, got {value!r}. Give e.g. {name}=512.")
    return int(value)
