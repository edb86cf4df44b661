"""What the phantom's model reads: passages as rows of tokens, and rows of like length as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from emosae.phantom.corpus import passages
from emosae.phantom.passage import Kind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["IGNORED", "Lesson", "batches", "encode_passages", "groups", "pad"]

IGNORED = -100
"""Label of what is not predicted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """Text that is read once: how much of which split, and what differs from the grammar's own rates."""

    split: str
    n_passages: int
    kind: Kind | None = None
    emotional_share: float | None = None


def encode_passages(
    tokenizer: PreTrainedTokenizerFast, lesson: Lesson, seed: int, chunk: int = 20_000
) -> list[np.ndarray]:
    """Tokenize the passages of a lesson, each with BOS in front and EOS behind."""
    rows: list[np.ndarray] = []
    texts: list[str] = []
    n = lesson.n_passages
    written = passages(lesson.split, n, seed, kind=lesson.kind, emotional_share=lesson.emotional_share)
    for i, passage in enumerate(written, start=1):
        texts.append(passage.text)
        if len(texts) == chunk or i == n:
            ids = tokenizer(texts)["input_ids"]
            rows += [np.asarray([*row, tokenizer.eos_token_id], dtype=np.int32) for row in ids]
            texts = []
    return rows


def groups(lengths: np.ndarray, batch_tokens: int, rng: np.random.Generator | None) -> list[list[int]]:
    """Put rows of like length into batches of at most `batch_tokens` tokens, padding included.

    Args:
        lengths: Tokens of each row.
        batch_tokens: Padded size of a batch.
        rng: Shuffles rows and batches; None keeps one order.

    Returns:
        The rows of each batch.
    """
    noise = rng.random(len(lengths)) if rng is not None else np.arange(len(lengths)) / len(lengths)
    found: list[list[int]] = [[]]
    for i in np.lexsort((noise, lengths)):
        if found[-1] and (len(found[-1]) + 1) * lengths[i] > batch_tokens:
            found.append([])
        found[-1].append(int(i))
    return [found[at] for at in rng.permutation(len(found))] if rng is not None else found


def pad(rows: Sequence[np.ndarray], filling: int) -> Tensor:
    """Lay rows of numbers side by side, [rows, longest], with `filling` behind the shorter ones."""
    wide = np.full((len(rows), max(map(len, rows))), filling, dtype=np.int64)
    for at, row in enumerate(rows):
        wide[at, : len(row)] = row
    return torch.from_numpy(wide)


def batches(
    rows: list[np.ndarray], batch_tokens: int, rng: np.random.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Group rows of like length into padded batches of at most `batch_tokens` tokens.

    Args:
        rows: Token ids of each passage.
        batch_tokens: Padded size of a batch.
        rng: Shuffles rows and batches; None keeps one order.

    Yields:
        Ids and labels, both [rows, longest]; padding has label -100.
    """
    for group in groups(np.array([len(row) for row in rows]), batch_tokens, rng):
        chosen = [rows[i] for i in group]
        yield pad(chosen, 0), pad(chosen, IGNORED)
