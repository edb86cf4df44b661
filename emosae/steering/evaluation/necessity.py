"""Necessity: what a model no longer says of a passage when an emotion's features are ablated as it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from emosae.features import text_items
from emosae.models import input_device, is_decoder, plan_batches, tokenize
from emosae.progress import progress
from emosae.steering.block import steer
from emosae.steering.clamp import Clamp, Op
from emosae.steering.emotions import special_ids
from emosae.steering.evaluation.scoring import interval_of

if TYPE_CHECKING:
    from emosae.concepts import ConceptSet
    from emosae.lens import Lens
    from emosae.saes import SparseAutoencoder

__all__ = ["NECESSITY_SCHEMA", "first_tokens", "measure_necessity"]

NECESSITY_SCHEMA = {
    "ablated": pl.String,
    "emotion": pl.String,
    "language": pl.String,
    "n_passages": pl.Int64,
    "log_probability": pl.Float64,
    "fall": pl.Float64,
    "fall_control": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "right": pl.Float64,
    "right_ablated": pl.Float64,
}
"""One row an ablated emotion, an emotion of passages and a language: log-probability (nats) of the passage's
emotion's words with nothing ablated, how far it falls without the ablated emotion's features and without their
matched controls, the difference with its interval over passages, and the share of passages for which the right
emotion is the likeliest, before and after."""


def first_tokens(
    tokenizer: Any, concepts: ConceptSet, emotions: Sequence[str], language: str, question: str
) -> dict[str, list[int]]:
    """Find the tokens that begin each emotion's words after a question.

    A token that begins words of two emotions tells neither and is left out. So is a word that the tokenizer joins
    with the question's end.

    Args:
        tokenizer: The model's fast tokenizer.
        concepts: The words.
        emotions: The emotions.
        language: The language of words and question.
        question: The question.

    Returns:
        Emotion -> token ids; an emotion without a token of its own is absent.
    """
    asked = tokenizer(question, add_special_tokens=False)["input_ids"]
    gap = " " if question[-1:].isascii() else ""
    owners: dict[int, set[str]] = {}
    for concept, word in (
        concepts.words.filter(pl.col("language") == language).select("concept", "word").rows()
    ):
        if concept not in emotions:
            continue
        whole = tokenizer(f"{question}{gap}{word}", add_special_tokens=False)["input_ids"]
        if whole[: len(asked)] == asked and len(whole) > len(asked):
            owners.setdefault(whole[len(asked)], set()).add(concept)
    found: dict[str, list[int]] = {}
    for token, named in owners.items():
        if len(named) == 1:
            found.setdefault(next(iter(named)), []).append(token)
    return found


def measure_necessity(
    lens: Lens,
    sae: SparseAutoencoder,
    passages: pl.DataFrame,
    concepts: ConceptSet,
    questions: Mapping[str, str],
    sets: Mapping[str, Sequence[int]],
    controls: Mapping[str, Sequence[int]],
    *,
    n_resamples: int,
    seed: int = 0,
    max_tokens: int = 4096,
) -> pl.DataFrame:
    """Let the model read passages and ask for their emotion, each emotion's features ablated in turn.

    The probability is that of the first tokens of the emotion's words together (`first_tokens`).

    Args:
        lens: The lens.
        sae: The SAE whose features are ablated, at every token of passage and question.
        passages: Rows of `PASSAGE_SCHEMA`.
        concepts: The words that answer.
        questions: Language -> what stands after the passage.
        sets: Emotion -> its features.
        controls: Emotion -> matched features; emotions without are left out.
        n_resamples: Resamples of the passages behind each interval.
        seed: Their seed.
        max_tokens: Bound on a batch's tokens, padding included.

    Returns:
        Rows of `NECESSITY_SCHEMA`.
    """
    emotions = [emotion for emotion in sets if emotion in controls]
    conditions: list[Sequence[int]] = [(), *(sets[e] for e in emotions), *(controls[e] for e in emotions)]
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for (language,), given in passages.group_by("language", maintain_order=True):
        question = questions.get(str(language))
        if question is None:
            continue
        words = first_tokens(lens.tokenizer, concepts, emotions, str(language), question)
        own = given.filter(pl.col("concept").is_in(list(words)))
        if own.is_empty() or len(words) < 2:
            continue
        found = _answers(lens, sae, [t + question for t in own["text"]], conditions, words, max_tokens)
        rows += _rows(found, own["concept"].to_list(), list(words), emotions, str(language), n_resamples, rng)
    return pl.DataFrame(rows, schema=NECESSITY_SCHEMA)


def _answers(
    lens: Lens,
    sae: SparseAutoencoder,
    texts: list[str],
    conditions: Sequence[Sequence[int]],
    words: Mapping[str, Sequence[int]],
    max_tokens: int,
) -> np.ndarray:
    """Give each emotion's log-probability after each text under each condition, `[texts, conditions, emotions]`."""
    tokens = tokenize(
        lens.tokenizer, text_items(texts), prepend_bos=sae.cfg.prepend_bos, is_decoder=is_decoder(lens.model)
    )
    found = np.empty((len(texts), len(conditions), len(words)))
    device, special = input_device(lens.model), special_ids(lens)
    clamps = [[Clamp(int(f), Op.ABLATE, sae=sae.fingerprint) for f in each] for each in conditions]
    with progress("reading passages with features ablated", len(texts) * len(conditions)) as step:
        for batch in plan_batches(tokens.lengths, max_tokens=max_tokens):
            ids = [list(map(int, tokens.ids[at])) for at in batch]
            longest = max(map(len, ids))
            padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids], device=device)
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
            last = torch.tensor([len(row) - 1 for row in ids], device=device)
            for number, own in enumerate(clamps):
                with (
                    torch.inference_mode(),
                    steer(lens.model, sae, [own], "all", special_ids=special, trace=False),
                ):
                    logits = lens.model(input_ids=padded, attention_mask=mask, use_cache=False).logits
                at_end = logits[torch.arange(len(ids), device=device), last].float().log_softmax(-1)
                for place, members in enumerate(words.values()):
                    found[batch, number, place] = at_end[:, list(members)].logsumexp(-1).cpu().numpy()
                step(len(ids))
    return found


def _rows(
    found: np.ndarray,
    truth: Sequence[str],
    answers: Sequence[str],
    emotions: Sequence[str],
    language: str,
    n_resamples: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    rows = []
    column = np.array([answers.index(concept) for concept in truth])
    best = found.argmax(2)
    for emotion in dict.fromkeys(truth):
        at = np.flatnonzero(np.array(truth) == emotion)
        own = found[at, :, answers.index(emotion)]
        even = np.full(len(at), 1 / len(at))
        again = np.vstack([even, rng.multinomial(len(at), even, size=n_resamples) / len(at)])
        for number, ablated in enumerate(emotions, start=1):
            control = number + len(emotions)
            fall, other = own[:, 0] - own[:, number], own[:, 0] - own[:, control]
            draws = again @ (fall - other)
            low, high = interval_of(draws)
            rows.append(
                {
                    "ablated": ablated,
                    "emotion": emotion,
                    "language": language,
                    "n_passages": len(at),
                    "log_probability": float(own[:, 0].mean()),
                    "fall": float(fall.mean()),
                    "fall_control": float(other.mean()),
                    "difference": float(draws[0]),
                    "difference_low": low,
                    "difference_high": high,
                    "right": float((best[at, 0] == column[at]).mean()),
                    "right_ablated": float((best[at, number] == column[at]).mean()),
                }
            )
    return rows
