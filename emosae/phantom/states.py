"""The model's states: what the residual holds while it reads of an emotion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from emosae.phantom.blocks import reading
from emosae.phantom.corpus import passages
from emosae.phantom.lessons import IGNORED, pad
from emosae.phantom.passage import Kind, Layout, Passage, Role

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["LANGUAGES", "Row", "States", "encode_rows"]

LANGUAGES = (Layout.EN, Layout.ZH)
_OPENER = 6
"""Tokens at a sentence's beginning by which the model has said what it will be about."""


@dataclass(frozen=True, slots=True)
class Row:
    """A passage as tokens.

    Attributes:
        ids: Its ids, with EOS.
        feelings: The emotion of each token's sentence, `IGNORED` for none.
        openers: True where they begin a sentence of an emotion: there a state decides.
        turn: The turn's first token; the text's first where it does not turn.
        emotion: Its emotion; the number of emotions where it has none.
    """

    ids: np.ndarray
    feelings: np.ndarray
    openers: np.ndarray
    turn: int
    emotion: int


def encode_rows(tokenizer: PreTrainedTokenizerFast, found: Iterable[Passage], names: list[str]) -> list[Row]:
    """Tokenize passages."""
    kept = list(found)
    encoded = tokenizer([p.text for p in kept], return_offsets_mapping=True)
    rows = []
    for passage, ids, places in zip(kept, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        starts, ends = np.array(places).T
        feelings = np.full(len(ids) + 1, IGNORED)
        openers = np.zeros(len(ids) + 1, dtype=bool)
        for span in passage.spans:
            if span.emotion and span.role is not Role.HEADING:
                inside = (ends > span.start) & (ends <= span.end) & (ends > starts)
                feelings[:-1][inside] = names.index(span.emotion)
                openers[np.flatnonzero(inside)[:_OPENER]] = True
        turns = [span.start for span in passage.spans if span.role is Role.SITUATION]
        turn = int(np.flatnonzero((ends > turns[0]) & (ends > starts))[0]) if turns else 1
        emotion = names.index(passage.emotions[0]) if passage.emotions else len(names)
        rows.append(Row(np.array([*ids, tokenizer.eos_token_id]), feelings, openers, turn, emotion))
    return rows


class States:
    """The mean residual after a block while the model reads of each emotion, less that of neutral text.

    Attributes:
        layer: The block.
        by_language: States in English and in Chinese, [2, n_emotions, d_model].
        spread: Shape of what varies in neutral text, and as much again in every direction alike, [d_model, d_model]:
            a standard normal row times this has an expected squared norm of 1.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, names: list[str], layer: int, per_emotion: int, seed: int
    ) -> None:
        self.layer = layer
        self.by_language = torch.empty(0)
        self.spread = torch.empty(0)
        self._read: list[list[Row]] = []
        for layout in LANGUAGES:
            felt = [
                passage
                for name in names
                for passage in passages(
                    "states", per_emotion, seed, kind=Kind.EMOTIONAL, layout=layout, emotion=name
                )
            ]
            plain = passages("states", 10 * per_emotion, seed, kind=Kind.NEUTRAL, layout=layout)
            self._read.append(encode_rows(tokenizer, [*felt, *plain], names))
        self._n = len(names)

    @torch.no_grad()
    def measure(self, model: LlamaForCausalLM, device: str) -> None:
        """Measure the states of the model as it is now, over all tokens from the turn on."""
        found, plain = [], []
        with reading(model, self.layer) as kept:
            for rows in self._read:
                total = torch.zeros(self._n + 1, model.config.hidden_size, device=device)
                count = torch.zeros(self._n + 1, device=device)
                for at in range(0, len(rows), 64):
                    part = rows[at : at + 64]
                    kept.clear()
                    model.model(input_ids=pad([row.ids for row in part], 0).to(device), use_cache=False)
                    for row, x in zip(part, kept[0], strict=True):
                        if row.emotion == self._n:
                            plain.append(x[row.turn : len(row.ids) - 1])
                        total[row.emotion] += x[row.turn : len(row.ids) - 1].sum(0)
                        count[row.emotion] += len(row.ids) - 1 - row.turn
                mean = total / count[:, None]
                found.append(mean[:-1] - mean[-1])
        self.by_language = torch.stack(found)
        covariance = torch.cat(plain).T.cov()
        width = len(covariance)
        shape = covariance / covariance.trace() + torch.eye(width, device=device) / width
        self.spread = torch.linalg.cholesky(shape / 2).T
