"""One forward pass as scopes see it: its rows, its ids, and where its tokens stand in the text.

A column counts tokens from the left edge of the padded batch, a position from the first token of a row that
is no padding. Neither depends on how many tokens are passed at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.steering.device import answers_at_once, constant

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

__all__ = ["CallReader", "Forward", "GenerateCall"]


@dataclass(slots=True)
class GenerateCall:
    """What is known of a call of `generate` while it runs.

    Attributes:
        prompt_columns: Columns of the prompt, padding included.
        n_sources: Rows that were passed in, before beams and samples multiply them.
        mask: The two-dimensional attention mask of the step about to run; None if nothing is padded.
        ready: Whether the step about to run is one of the loop's own.
    """

    prompt_columns: int
    n_sources: int
    mask: Tensor | None = None
    ready: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Forward:
    """One forward pass.

    Attributes:
        number: Counts the forward passes of the model while it is steered, from 0.
        ids: Token ids `[rows, tokens]`; None if the model was given embeddings.
        n_rows: Rows of the batch.
        n_tokens: Tokens of each row in this pass.
        past: How many columns went before, in the cache; a tensor where a static cache counts on an accelerator.
        mask: True at tokens, false at padding, `[rows, columns]`, from column 0; None if nothing is padded.
        prompt_columns: Columns of the prompt, in `generate`; None in a plain forward pass.
        n_sources: Rows that `generate` was given; None in a plain forward pass.
        prompt_lengths: Tokens of each row's prompt, one number or one a row; None if unknown.
        foreign: It ran inside `generate`, but on other text than the loop's own.
        device: Where ids and mask are.
    """

    number: int
    ids: Int[Tensor, "rows tokens"] | None
    n_rows: int
    n_tokens: int
    past: int | Int[Tensor, ""]
    mask: Bool[Tensor, "rows columns"] | None
    prompt_columns: int | None
    n_sources: int | None
    prompt_lengths: tuple[int, ...] | None = None
    foreign: bool = False
    device: torch.device

    @cached_property
    def first_column(self) -> int:
        """The number of columns that went before; asking for it may wait for an accelerator."""
        return int(self.past)

    @property
    def is_plain(self) -> bool:
        """Whether nothing says where the prompt ends."""
        return self.prompt_columns is None and self.prompt_lengths is None

    def told(self, prompt_lengths: tuple[int, ...] | None) -> Forward:
        """Add what the caller knows of the prompts' lengths; `generate` knows better."""
        if prompt_lengths is None or self.prompt_columns is not None:
            return self
        return replace(self, prompt_lengths=prompt_lengths)

    def columns(self) -> Int[Tensor, " tokens"]:
        """The column of each token."""
        return torch.arange(self.n_tokens, device=self.device) + self.past

    def positions(self) -> Int[Tensor, "rows tokens"]:
        """The position of each token; negative on padding at the left."""
        self._own()
        columns = self.columns()[None].expand(self.n_rows, -1)
        return columns if self.mask is None else columns - self._first()[:, None]

    def padding(self) -> Bool[Tensor, "rows tokens"] | None:
        """Where the tokens are padding; None if none are."""
        if self.mask is None:
            return None
        if isinstance(
            self.past, Tensor
        ):  # what a short mask does not cover is padding, as transformers has it
            columns, width = self.columns(), self.mask.shape[1]
            return ~self.mask.index_select(1, columns.clamp(max=width - 1)) | (columns >= width)
        return ~self.mask[:, self.past : self.past + self.n_tokens]

    def before_boundary(self, earlier: int) -> Bool[Tensor, "rows tokens"] | bool:
        """Say which tokens stand before the end of the prompt, moved `earlier` tokens to the left."""
        self._own()
        if self.prompt_columns is not None or (self.prompt_lengths is None and self.mask is None):
            ends = self.n_tokens if self.prompt_columns is None else self.prompt_columns - self.first_column
            before = ends - earlier  # of the tokens of this pass
            if self.n_tokens <= before:
                return True
            if before <= 0:
                return False
            return (torch.arange(self.n_tokens, device=self.device) < before)[None].expand(self.n_rows, -1)
        first = self._first() if self.mask is not None else 0
        if self.prompt_lengths is not None:
            source = self.source_rows(len(self.prompt_lengths), "prompt_lengths")
            lengths = tuple(self.prompt_lengths[row] for row in source)
            boundaries = constant(lengths, torch.int64, self.device) + first
        else:
            assert self.mask is not None
            if not earlier:
                return True
            last = self.mask.shape[1] - 1 - self.mask.flip(1).to(torch.uint8).argmax(1)
            boundaries = last + 1
        return self.columns()[None] < (boundaries - earlier)[:, None]

    def source_rows(self, n: int, what: str) -> list[int]:
        """Give for each row of the batch which of n things, one a source row, it goes by.

        Raises:
            UserError: The rows are not n, or copies of n.
        """
        if n == 1:
            return [0] * self.n_rows
        wanted = self.n_sources if self.n_sources is not None else self.n_rows
        if n != wanted or self.n_rows % n:
            raise UserError(
                f"{what} must be given once, or once for each of the {wanted} rows of the batch, got {n}. "
                "Give as many as there are rows."
            )
        copies = self.n_rows // n
        return [row // copies for row in range(self.n_rows)]

    def _first(self) -> Tensor:
        assert self.mask is not None
        return self.mask.to(torch.uint8).argmax(1)

    def _own(self) -> None:
        if self.foreign:
            raise UserError(
                "generate runs the model on a second text beside the prompt (guidance_scale does), in which "
                "places cannot be told. Steer with scope='all', or without guidance."
            )


class CallReader:
    """Reads the arguments of a model's forward.

    Args:
        forward: The forward method, for the names of positional arguments.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._names = list(inspect.signature(forward).parameters)

    def read(
        self, number: int, args: tuple[Any, ...], kwargs: Mapping[str, Any], call: GenerateCall | None
    ) -> Forward:
        """Make the record of a forward pass.

        Args:
            number: Its number.
            args: Positional arguments.
            kwargs: Named arguments.
            call: The call of `generate` that it belongs to, if any; its step is taken.

        Raises:
            UserError: No ids or embeddings, or a mask from which padding cannot be told.
        """
        given = dict(zip(self._names, args, strict=False)) | dict(kwargs) if args else kwargs
        ids, embeddings = given.get("input_ids"), given.get("inputs_embeds")
        shown = ids if ids is not None else embeddings
        if not isinstance(shown, Tensor) or shown.ndim < 2:
            raise UserError(
                "A steered model must be given input_ids or inputs_embeds as [rows, tokens], got "
                f"{'none' if shown is None else tuple(getattr(shown, 'shape', ()))}. Pass them by name."
            )
        n_rows, n_tokens = shown.shape[:2]
        cache = given.get("past_key_values")
        past = 0 if cache is None else _past(cache.get_seq_length(), shown.device)
        own = call is not None and call.ready
        mask = given.get("attention_mask")
        if own:
            assert call is not None
            mask, call.ready = call.mask, False
        if mask is not None:
            mask = _plain_mask(mask, n_rows, past, n_tokens)
        return Forward(
            number=number,
            ids=ids,
            n_rows=n_rows,
            n_tokens=n_tokens,
            past=past,
            mask=mask,
            prompt_columns=call.prompt_columns if call is not None and own else None,
            n_sources=call.n_sources if call is not None and own else None,
            foreign=call is not None and not own,
            device=shown.device,
        )


def _past(length: Any, device: torch.device) -> int | Tensor:
    """Read a cache's length; on an accelerator as it is now, without waiting for it: the pass will count on."""
    if isinstance(length, Tensor) and not answers_at_once(length.device):
        return length.to(device, copy=True)
    return int(length)


def _plain_mask(mask: Any, n_rows: int, past: int | Tensor, n_tokens: int) -> Tensor | None:
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        raise UserError(
            "A steered model's attention_mask must be two-dimensional, so that padding can be told, got "
            f"{f'shape {tuple(mask.shape)}' if isinstance(mask, Tensor) else type(mask).__name__}. "
            "Pass the tokenizer's mask."
        )
    n_columns = n_tokens + (0 if isinstance(past, Tensor) else past)  # at least
    if mask.shape[0] != n_rows or mask.shape[1] < n_columns:
        raise UserError(
            f"The attention_mask must cover {n_rows} rows and {n_columns} tokens, the cached ones included, got "
            f"{tuple(mask.shape)}. Pass the mask of the whole text."
        )
    if isinstance(past, Tensor):
        return mask.to(torch.bool) & (torch.arange(mask.shape[1], device=mask.device) < past + n_tokens)
    kept = mask[:, :n_columns].to(torch.bool)
    return None if answers_at_once(mask.device) and bool(kept.all()) else kept
