"""What a batch shows: its tokens that are not special, text after text, and the contexts around activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.browse.slots import Windows
from emosae.features import text_items
from emosae.models import ActivationBatch, is_decoder, stream_activations, tokenize

if TYPE_CHECKING:
    from emosae.models import Site, TokenizedItems

__all__ = ["Shown", "batches", "windows_around"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shown:
    """The tokens of a batch that are not special, text after text.

    Attributes:
        ids: Token ids, `[n]`.
        text: Which of the chunk's texts each belongs to, `[n]`.
        position: Its place there, `[n]`.
        first: Where its text begins, `[n]`.
        last: Where its text ends, `[n]`.
        read: Places of the tokens that the SAE reads, in the order of the batch's span.
    """

    ids: np.ndarray
    text: np.ndarray
    position: np.ndarray
    first: np.ndarray
    last: np.ndarray
    read: np.ndarray


def batches(
    model: Any, tokenizer: Any, sites: Sequence[Site], texts: list[str], bos: bool | None, max_tokens: int
) -> Iterator[tuple[ActivationBatch, Shown]]:
    """Run the model over texts and give each batch with the tokens of it that are shown.

    Args:
        model: A transformers model.
        tokenizer: Its fast tokenizer.
        sites: Where to read.
        texts: The texts.
        bos: Whether BOS is put in front; None leaves it to the tokenizer.
        max_tokens: Bound on a batch's tokens, padding included.
    """
    tokens = tokenize(tokenizer, text_items(texts), prepend_bos=bos, is_decoder=is_decoder(model))
    pad = tokenizer.pad_token_id
    for batch in stream_activations(
        model, tokens, sites, max_tokens=max_tokens, pad_id=0 if pad is None else int(pad)
    ):
        yield batch, _shown(batch, tokens)


def _shown(batch: ActivationBatch, tokens: TokenizedItems) -> Shown:
    mask = batch.mask.numpy().copy()
    mask[mask] = ~np.concatenate([tokens.special[row] for row in batch.rows])
    row, position = np.nonzero(mask)
    lengths = mask.sum(axis=1)
    ends = np.cumsum(lengths)
    flat = np.cumsum(mask).reshape(mask.shape) - 1
    return Shown(
        ids=batch.ids.numpy()[mask],
        text=batch.rows[row],
        position=position,
        first=(ends - lengths)[row],
        last=ends[row],
        read=flat[batch.span.numpy()],
    )


def windows_around(
    feature: np.ndarray,
    value: np.ndarray,
    token: np.ndarray,
    shown: Shown,
    offsets: np.ndarray,
    wanted: np.ndarray,
) -> Windows:
    """Cut the contexts around activations; `feature` and `token` are in rising order and say what fires where."""
    width = len(offsets)
    centre = token[wanted]
    first, last = shown.first[centre], shown.last[centre]
    # A window at a text's edge is moved inwards, so that it is as full as the text allows
    begin = np.maximum(first, np.minimum(centre + offsets[0], last - width))
    places = begin[:, None] + np.arange(width)
    inside = places < last[:, None]
    safe = np.where(inside, places, centre[:, None])
    n = len(shown.ids)
    fired = feature * n + token
    asked = feature[wanted][:, None] * n + safe
    at = np.minimum(np.searchsorted(fired, asked), len(fired) - 1)
    activations = np.where(inside & (fired[at] == asked), value[at], 0.0)
    return Windows(
        ids=np.where(inside, shown.ids[safe], -1),
        activations=activations,
        at=centre - begin,
        value=value[wanted],
    )
