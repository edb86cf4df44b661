"""Activations, batch by batch: planned from the items alone, read early, never kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.models.capture import context_length, forward_to_sites, input_device
from emosae.models.sites import Located, Site, locate, text_model
from emosae.models.tokens import TokenizedItems

__all__ = ["ActivationBatch", "StreamRecord", "plan_batches", "stream_activations"]

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class StreamRecord:
    """What a pass over the items took; filled while it runs.

    Attributes:
        batches: Forward passes that gave a batch.
        tokens: Tokens of the items.
        padded_tokens: Positions that the model computed, padding included.
        split_batches: How often a batch did not fit into memory and was halved.
    """

    batches: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    split_batches: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ActivationBatch:
    """What one forward pass gave. Drop it once it is used: it holds all the dense memory there is.

    `rows`, `ids`, `mask` and `span` are on the CPU, and a mask there indexes activations on any device.

    Attributes:
        rows: Which items these are, `[b]`.
        ids: Token ids, padded on the right, `[b, t]`.
        mask: True at tokens, False at padding, `[b, t]`.
        span: True at the tokens to be pooled, `[b, t]`.
        activations: For each site `[b, t, d]`, in the model's dtype, on the device of its block. They come
            out of inference mode: `clone` what is to be trained on.
        embeddings: The static input embedding `[b, t, d_model]`, if asked for.
    """

    rows: np.ndarray
    ids: Tensor
    mask: Tensor
    span: Tensor
    activations: Mapping[Site, Tensor]
    embeddings: Tensor | None = None


def plan_batches(lengths: np.ndarray, *, max_tokens: int, window: int = 16384) -> list[np.ndarray]:
    """Put items into batches of like length. The plan is a function of the lengths alone.

    Items are taken in windows, in their order; inside a window they are sorted from long to short (ties keep
    their order) and cut into batches of at most `max_tokens` positions, padding included.

    Args:
        lengths: Tokens of each item, `[n_items]`; an item without tokens takes one position.
        max_tokens: Bound on rows x longest row. An item that is longer is a batch of its own.
        window: Items that are sorted together.

    Returns:
        The items of each batch, in the order in which the batches are run. Every item is in exactly one.

    Raises:
        UserError: A bound below 1.

    Example:
        >>> [batch.tolist() for batch in plan_batches(np.array([2, 5, 3, 2]), max_tokens=6)]
        [[1], [2, 0], [3]]
    """
    for name, value in (("max_tokens", max_tokens), ("window", window)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, got {value}. The default is a good start.")
    lengths = np.maximum(np.asarray(lengths, dtype=np.int64), 1)
    batches = []
    for first in range(0, len(lengths), window):
        order = first + np.argsort(-lengths[first : first + window], kind="stable")
        at = 0
        while at < len(order):
            rows = max(1, max_tokens // int(lengths[order[at]]))
            batches.append(order[at : at + rows])
            at += rows
    return batches


def stream_activations(
    model: Any,
    tokens: TokenizedItems,
    sites: Iterable[Site],
    *,
    max_tokens: int = 4096,
    embeddings: bool = False,
    pad_id: int = 0,
    record: StreamRecord | None = None,
) -> Iterator[ActivationBatch]:
    """Read sites over all items, batch by batch.

    The forward pass runs the text tower without its head and ends at the last site that is read, so layer L
    of N costs about (L + 1) / N of a full pass. Nothing is kept once a batch is handed on. The model has no
    hooks between batches and after the last.

    Where an accelerator runs out of memory the batch is halved, which is logged and counted: on the same
    machine the numbers may then differ in their last bits.

    Args:
        model: A transformers model in evaluation mode; with a `device_map` its parts may be anywhere.
        tokens: The items, from `tokenize`.
        sites: What to read.
        max_tokens: Bound on a batch's positions, padding included.
        embeddings: Also give the static input embedding of each token.
        pad_id: Any valid token id to fill up rows with; padding is on the right and masked.
        record: Is filled with counts.

    Returns:
        An iterator of batches, each item in exactly one.

    Raises:
        UserError: The model lacks a site, is in training mode, does not know a token id, or has fewer
            positions than an item has tokens. Raised at once, before anything is run. Also, later, if a
            single item does not fit into memory.
    """
    located = {site: locate(model, site) for site in sites}
    if getattr(model, "training", False):
        raise UserError(
            "The model must be in evaluation mode, got one in training mode, whose dropout makes activations "
            "random. Call model.eval()."
        )
    _check_ids(model, tokens, pad_id)
    plan = plan_batches(tokens.lengths, max_tokens=max_tokens)
    return _run(
        model, tokens, located, plan, embeddings, pad_id, record if record is not None else StreamRecord()
    )


def _run(
    model: Any,
    tokens: TokenizedItems,
    located: Mapping[Site, Located],
    plan: list[np.ndarray],
    embeddings: bool,
    pad_id: int,
    record: StreamRecord,
) -> Iterator[ActivationBatch]:
    waiting = plan[::-1]
    while waiting:
        rows = waiting.pop()
        device = input_device(model)
        batch = None  # lets go of the one before, which would live through this pass
        try:
            batch = _forward(model, tokens, located, rows, embeddings, pad_id, device)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise UserError(
                    f"An item of {tokens.lengths[rows[0]]} tokens does not fit into the memory of {device} "
                    "beside the model. Give a shorter max_length, a dtype of 16 bits, or a device with more "
                    "memory."
                ) from error
        # Outside of the handler, whose traceback would keep the failed pass alive
        if batch is None:
            _release(device)
            half = (len(rows) + 1) // 2
            waiting += [rows[half:], rows[:half]]
            record.split_batches += 1
            log.warning("Out of memory on %s with %d items: the batch is halved", device, len(rows))
            continue
        record.batches += 1
        record.tokens += int(tokens.lengths[rows].sum())
        record.padded_tokens += batch.ids.numel()
        yield batch


def _forward(
    model: Any,
    tokens: TokenizedItems,
    located: Mapping[Site, Located],
    rows: np.ndarray,
    embeddings: bool,
    pad_id: int,
    device: torch.device,
) -> ActivationBatch:
    lengths = tokens.lengths[rows]
    mask = np.arange(max(1, int(lengths.max()))) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate([tokens.ids[row] for row in rows])
    span = np.zeros(mask.shape, dtype=bool)
    span[mask] = np.concatenate([tokens.span[row] for row in rows])
    attention = mask.astype(np.int64)
    attention[lengths == 0, 0] = 1  # a row that may attend to nothing would be NaN
    on_device = torch.from_numpy(ids).to(device)
    static = None
    if embeddings:
        with torch.inference_mode():
            static = text_model(model).get_input_embeddings()(on_device)
    return ActivationBatch(
        rows=rows,
        ids=torch.from_numpy(ids),
        mask=torch.from_numpy(mask),
        span=torch.from_numpy(span),
        activations=forward_to_sites(model, located, on_device, torch.from_numpy(attention).to(device)),
        embeddings=static,
    )


def _check_ids(model: Any, tokens: TokenizedItems, pad_id: int) -> None:
    known = getattr(text_model(model).get_input_embeddings(), "num_embeddings", None)
    largest = max((int(row.max()) for row in tokens.ids if len(row)), default=0)
    for what, number in (("Token ids", largest), ("pad_id", pad_id)):
        if known is not None and not 0 <= number < known:
            raise UserError(
                f"{what} must be below {known}, the size of the model's vocabulary, got {number}. Use the "
                "tokenizer that belongs to the model."
            )
    limit = context_length(model)
    longest = int(tokens.lengths.max(initial=0))
    if limit is not None and longest > limit:
        raise UserError(
            f"Items must be at most {limit} tokens long for this model, got one of {longest}. Tokenize with "
            f"max_length={limit}."
        )


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
