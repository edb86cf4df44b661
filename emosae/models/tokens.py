"""From items to token ids, with the tokens of each item's span found through character offsets."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from emosae.errors import UserError

__all__ = ["TokenizedItems", "tokenize"]

log = logging.getLogger(__name__)

_CHUNK = 8192  # texts per call of the tokenizer, so that its Python lists stay small beside the arrays
_UNLIMITED = 10**9  # transformers writes "no limit" as a model_max_length of about 1e30


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenizedItems:
    """Token ids of each item and what is known of each token. Nothing is padded.

    Attributes:
        ids: For each item its token ids, int64 `[t]`.
        span: For each item, bool `[t]`: the tokens of its character span, to be pooled.
        special: For each item, bool `[t]`: BOS, [CLS] and the like. Never in `span`.
        unknown: `[n_items]` bool: a token of the span is the unknown token, or the span has no token at all.
        truncated: `[n_items]` bool: the item was longer than the limit and was cut.
    """

    ids: list[np.ndarray]
    span: list[np.ndarray]
    special: list[np.ndarray]
    unknown: np.ndarray
    truncated: np.ndarray
    lengths: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", np.array([len(row) for row in self.ids], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)


def tokenize(
    tokenizer: Any,
    items: pl.DataFrame,
    *,
    prepend_bos: bool | None = None,
    is_decoder: bool,
    max_length: int | None = None,
) -> TokenizedItems:
    """Tokenize items and mark the tokens that belong to each item's span.

    A token belongs to the span `[start, end)` if the characters it covers overlap it; where several tokens
    share a character, as the bytes of a Chinese one do, each of them does. Special tokens, tokens that cover
    nothing and bare space marks do not.

    Args:
        tokenizer: A fast transformers tokenizer. Its settings are not changed.
        items: Table with `text` and the span `start`, `end` in characters; a whole text is 0 to its length.
        prepend_bos: On decoders, True puts the BOS token first even if the tokenizer adds none, False takes
            it away even if it adds one, None leaves it to the tokenizer. Where a tokenizer has no BOS token
            its EOS token stands in, as in the library that SAEs are trained with. Encoders keep their own
            special tokens.
        is_decoder: What the model is, from `emosae.models.is_decoder`.
        max_length: Longest item in tokens, special ones included; longer ones lose their last tokens. None
            means the tokenizer's own limit (`load_model` sets it to the model's).

    Returns:
        Ids, spans and flags, item by item, in the order of `items`.

    Raises:
        UserError: The tokenizer is slow, the table lacks a column, or a span lies outside its text.

    Source:
        The EOS token as BOS: TransformerLens, `HookedTransformer.set_tokenizer`.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"The tokenizer must be a fast one, which knows the characters of each token, got "
            f"{type(tokenizer).__name__}. Save it with a tokenizer.json, or load it with use_fast=True."
        )
    texts, start, end = _check_items(items)
    limit = _limit(tokenizer, max_length)
    bos = _bos_id(tokenizer) if is_decoder and prepend_bos is not None else None
    parts = []
    for first in range(0, len(texts), _CHUNK):
        flat = _encode(tokenizer, texts[first : first + _CHUNK])
        if bos is not None:
            flat = _with_bos(flat, bos) if prepend_bos else _without_bos(flat, bos)
        parts.append(_cut(flat, limit))
    flat = _join(parts)
    return _mark(tokenizer, flat, start, end)


@dataclass(kw_only=True, slots=True)
class _Flat:
    """The tokens of many items, one after another."""

    lengths: np.ndarray  # [n_items]
    ids: np.ndarray  # [n_tokens]
    offsets: np.ndarray  # [n_tokens, 2]
    added: np.ndarray  # [n_tokens] bool: put there by the tokenizer's template or by us, not from the text
    truncated: np.ndarray  # [n_items] bool

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.lengths) - self.lengths

    @property
    def item(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def keep(self, tokens: np.ndarray) -> _Flat:
        lengths = np.bincount(self.item[tokens], minlength=len(self.lengths))
        return _Flat(
            lengths=lengths,
            ids=self.ids[tokens],
            offsets=self.offsets[tokens],
            added=self.added[tokens],
            truncated=self.truncated,
        )


def _check_items(items: pl.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    if lacking := [name for name in ("text", "start", "end") if name not in items.columns]:
        raise UserError(
            f"The items must have the columns text, start and end, got {items.columns} without "
            f"{', '.join(lacking)}. Make them with word_items or text_items."
        )
    bad = items.with_row_index("row").filter(
        pl.any_horizontal(pl.col("text", "start", "end").is_null())
        | (pl.col("start") < 0)
        | (pl.col("end") < pl.col("start"))
        | (pl.col("end") > pl.col("text").str.len_chars())
    )
    if bad.height:
        row = bad.row(0, named=True)
        raise UserError(
            f"A span must lie inside its text, got {row['start']} to {row['end']} in {row['text']!r} (item "
            f"{row['row']}, {bad.height} such in all). Give start and end in characters, from 0 to the "
            "text's length."
        )
    return items["text"].to_list(), items["start"].to_numpy(), items["end"].to_numpy()


def _limit(tokenizer: Any, max_length: int | None) -> int:
    if max_length is None:
        own = getattr(tokenizer, "model_max_length", None)
        return int(own) if own is not None and own < _UNLIMITED else _UNLIMITED
    if max_length < 1:
        raise UserError(
            f"max_length must be at least 1 token, got {max_length}. Leave it out for the model's limit."
        )
    return max_length


def _bos_id(tokenizer: Any) -> int:
    for name in ("bos_token_id", "eos_token_id"):
        if (found := getattr(tokenizer, name, None)) is not None:
            return int(found)
    raise UserError(
        "prepend_bos asks for a beginning-of-sequence token, but the tokenizer has neither a BOS nor an EOS "
        "token. Set tokenizer.bos_token, or prepend_bos=None."
    )


def _encode(tokenizer: Any, texts: list[str]) -> _Flat:
    encoded = tokenizer(
        texts,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,  # no complaint about texts that are cut below
    )
    rows = encoded["input_ids"]
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    n = int(lengths.sum())
    bounds = chain.from_iterable(chain.from_iterable(encoded["offset_mapping"]))
    return _Flat(
        lengths=lengths,
        ids=np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=n),
        offsets=np.fromiter(bounds, dtype=np.int64, count=2 * n).reshape(n, 2),
        added=np.fromiter(chain.from_iterable(encoded["special_tokens_mask"]), dtype=bool, count=n),
        truncated=np.zeros(len(rows), dtype=bool),
    )


def _leading_bos(flat: _Flat, bos: int) -> np.ndarray:
    """Find the items that the tokenizer itself began with BOS."""
    begins = np.zeros(len(flat.lengths), dtype=bool)
    filled = flat.lengths > 0
    first = flat.starts[filled]
    begins[filled] = (flat.ids[first] == bos) & flat.added[first]
    return begins


def _with_bos(flat: _Flat, bos: int) -> _Flat:
    bare = ~_leading_bos(flat, bos)
    at = flat.starts[bare]
    return _Flat(
        lengths=flat.lengths + bare,
        ids=np.insert(flat.ids, at, bos),
        offsets=np.insert(flat.offsets, at, 0, axis=0),
        added=np.insert(flat.added, at, True),
        truncated=flat.truncated,
    )


def _without_bos(flat: _Flat, bos: int) -> _Flat:
    keep = np.ones(len(flat.ids), dtype=bool)
    keep[flat.starts[_leading_bos(flat, bos)]] = False
    return flat.keep(keep)


def _cut(flat: _Flat, limit: int) -> _Flat:
    """Drop the last tokens of the text of items above the limit; what the template added stays."""
    long = flat.lengths > limit
    if not long.any():
        return flat
    keep = np.ones(len(flat.ids), dtype=bool)
    for item in np.flatnonzero(long):
        begin = flat.starts[item]
        text = begin + np.flatnonzero(~flat.added[begin : begin + flat.lengths[item]])
        surplus = int(flat.lengths[item]) - limit
        if surplus > len(text):
            raise UserError(
                f"max_length must leave room for the tokenizer's {int(flat.lengths[item]) - len(text)} "
                f"special tokens, got {limit}. Make it larger."
            )
        keep[text[len(text) - surplus :]] = False
    cut = flat.keep(keep)
    cut.truncated = long
    return cut


def _join(parts: list[_Flat]) -> _Flat:
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        no = np.zeros(0, dtype=bool)
        return _Flat(lengths=nothing, ids=nothing, offsets=nothing.reshape(0, 2), added=no, truncated=no)
    return _Flat(
        lengths=np.concatenate([part.lengths for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        added=np.concatenate([part.added for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
    )


def _mark(tokenizer: Any, flat: _Flat, start: np.ndarray, end: np.ndarray) -> TokenizedItems:
    special_ids, unknown_id, blank_ids = _kinds(tokenizer)
    item, n_items = flat.item, len(flat.lengths)
    special = flat.added | np.isin(flat.ids, special_ids)
    left, right = flat.offsets[:, 0], flat.offsets[:, 1]
    overlap = np.maximum(left, start[item]) < np.minimum(right, end[item])
    span = overlap & ~special & ~np.isin(flat.ids, blank_ids)
    unknown = np.bincount(item[span], minlength=n_items) == 0
    if unknown_id is not None:
        unknown |= np.bincount(item[span & (flat.ids == unknown_id)], minlength=n_items) > 0
    if flat.truncated.any():
        log.warning(
            "%d of %d items are longer than the limit and were cut", int(flat.truncated.sum()), n_items
        )
    return TokenizedItems(
        ids=_rows(flat.ids, flat.lengths),
        span=_rows(span, flat.lengths),
        special=_rows(special, flat.lengths),
        unknown=unknown,
        truncated=flat.truncated,
    )


def _rows(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum(lengths).tolist()
    return [values[first:last] for first, last in zip([0, *ends], ends, strict=False)]


def _kinds(tokenizer: Any) -> tuple[list[int], int | None, list[int]]:
    """Give the ids of special tokens, of the unknown token, and of bare space marks."""
    special = set(tokenizer.all_special_ids)
    special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    unknown = tokenizer.unk_token_id
    # GPT-2 names its end-of-text token as unknown too, but its bytes can write anything: it has no unknown
    # token.
    names = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")
    if unknown in {getattr(tokenizer, name, None) for name in names}:
        unknown = None
    special.discard(unknown)
    # SentencePiece gives the mark that it puts before a text the offset of the first character, as if it were
    # a part of the word.
    vocabulary = tokenizer.get_vocab()
    blanks = [
        vocabulary[mark * n] for mark in ("▁", "Ġ", " ") for n in range(1, 17) if mark * n in vocabulary
    ]
    return sorted(special), unknown, blanks
