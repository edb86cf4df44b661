"""Sampling in which a text's chance is its own, whatever else is written in the same batch.

With one random stream a batch, the fifth row's text depends on the four before it, and a method's text on which methods
stand beside it. Here each opening and seed has noise of its own, the same for every method, so that methods
differ by what they do and not by luck, and a study's texts do not depend on how many are written at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

__all__ = ["decoding_options"]

Key = tuple[str, int, int]


class _SharedNoise(LogitsProcessor):
    """Adds Gumbel noise to the logits, so that the greatest is a sample of their softmax.

    Source: the Gumbel-max trick; Maddison, Tarlow & Minka 2014, A* Sampling, section 2.
    """

    def __init__(self, keys: Sequence[Key], warpers: Sequence[Any]) -> None:
        self._warpers = list(warpers)
        streams = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        self._of_row = torch.tensor([streams[key] for key in keys])
        self._streams = [torch.Generator().manual_seed(_seed(key)) for key in streams]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        for warper in self._warpers:
            scores = warper(input_ids, scores)
        drawn = torch.stack([torch.rand(scores.shape[-1], generator=stream) for stream in self._streams])
        noise = -torch.log(-torch.log(drawn.clamp(1e-20, 1.0 - 1e-7)))
        return scores.float() + noise[self._of_row].to(scores.device)


def decoding_options(decoding: Mapping[str, Any], keys: Sequence[Key]) -> dict[str, Any]:
    """Turn options of `generate` into ones that draw each row's tokens from noise of its own.

    Args:
        decoding: Options of `generate`; of those of sampling `temperature`, `top_k` and `top_p` are known.
        keys: For each row language, number of the opening, and seed.

    Returns:
        Options of `generate`; those that do not sample come back as they are.
    """
    rest = {name: value for name, value in decoding.items() if name not in _SAMPLING}
    if not decoding.get("do_sample"):
        return rest | {"do_sample": False}
    warpers: list[Any] = []
    if (temperature := decoding.get("temperature", 1.0)) != 1.0:
        warpers.append(TemperatureLogitsWarper(float(temperature)))
    if top_k := decoding.get("top_k", 0):
        warpers.append(TopKLogitsWarper(int(top_k)))
    if (top_p := decoding.get("top_p", 1.0)) < 1.0:
        warpers.append(TopPLogitsWarper(float(top_p)))
    return rest | {
        "do_sample": False,
        "logits_processor": LogitsProcessorList([_SharedNoise(keys, warpers)]),
    }


_SAMPLING = ("do_sample", "temperature", "top_k", "top_p")


def _seed(key: Key) -> int:
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1
