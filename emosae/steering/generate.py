"""Text from a lens, steered or not: prompts in, whole texts out, and the ids behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from emosae.errors import UserError
from emosae.models import input_device, is_decoder

__all__ = ["Written", "check_prompts", "write"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a model wrote.

    Attributes:
        prompts: Token ids of each prompt, special ones included, padding left out.
        answers: Token ids of each answer, special ones left out.
        texts: The answers as text.
        full: Prompt and answer as one text.
    """

    prompts: list[list[int]]
    answers: list[list[int]]
    texts: list[str]
    full: list[str]


def check_prompts(texts: Any) -> list[str]:
    """Read one prompt or several.

    Raises:
        UserError: They are no texts, or there is none.
    """
    listed = [texts] if isinstance(texts, str) else texts
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(each, str) for each in listed):
        raise UserError(f"Prompts must be a text or a list of texts, got {texts!r}. Give e.g. 'Once'.")
    return list(listed)


def write(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, seed: int | None = None, **options: Any
) -> Written:
    """Let a model go on from prompts, all in one batch, padded at the left.

    Args:
        model: A transformers decoder, steered or not.
        tokenizer: Its tokenizer, which is not changed.
        prompts: The prompts.
        seed: Seed of the sampling; the process' own random state is then left as it was. None uses that.
        options: Options of `generate`. With `num_return_sequences` each prompt has as many answers, one after another.

    Raises:
        UserError: The model is an encoder, or a prompt has no tokens.
    """
    if not is_decoder(model):
        raise UserError(
            f"Only a decoder writes text, got {type(model).__name__}, an encoder. Use lens.encode."
        )
    rows = tokenizer(list(prompts), padding=False)["input_ids"]
    if empty := [prompt for prompt, row in zip(prompts, rows, strict=True) if not row]:
        raise UserError(f"A prompt must have at least one token, got {empty[0]!r}. Give some text.")
    pad = _pad_id(model, tokenizer)
    width = max(map(len, rows))
    device = input_device(model)
    length = (
        {}
        if options.keys() & {"max_new_tokens", "max_length", "generation_config"}
        else {"max_new_tokens": 40}
    )
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    with _seeded(seed, device), torch.no_grad():
        out = model.generate(input_ids=ids, attention_mask=mask, **{"pad_token_id": pad, **length, **options})
    out = getattr(out, "sequences", out)
    copies = len(out) // len(rows)
    special = set(tokenizer.all_special_ids)
    sources = [row for row in rows for _ in range(copies)]
    answers = [[token for token in new if token not in special] for new in out[:, width:].tolist()]
    shown = [_after(tokenizer, prompt, answer) for prompt, answer in zip(sources, answers, strict=True)]
    starts = [prompt for prompt in prompts for _ in range(copies)]
    return Written(
        prompts=sources,
        answers=answers,
        texts=[text.strip() for text in shown],
        full=[start + text for start, text in zip(starts, shown, strict=True)],
    )


def _after(tokenizer: Any, prompt: list[int], answer: list[int]) -> str:
    """Decode an answer with the space that stands before it, which a tokenizer may drop at a text's beginning."""
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    before, both = tokenizer.decode(prompt, **options), tokenizer.decode([*prompt, *answer], **options)
    # A character whose bytes are split between both ends in a mark of replacement in the first.
    return str(both[len(before) :]) if both.startswith(before) else str(tokenizer.decode(answer, **options))


def _pad_id(model: Any, tokenizer: Any) -> int:
    config = getattr(model, "generation_config", None)
    for value in (tokenizer.pad_token_id, getattr(config, "eos_token_id", None), tokenizer.eos_token_id):
        if value is not None:
            return int(value[0] if isinstance(value, (list, tuple)) else value)
    return 0


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    if seed is None:
        yield
        return
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
