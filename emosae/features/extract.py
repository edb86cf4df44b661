"""Extraction: items through the model and the SAEs, batch by batch, never stored dense."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from emosae.errors import UserError
from emosae.features.matrix import FeatureMatrix, group_rows, mean_by
from emosae.features.pooling import Pooling, pool_dense, pool_sparse
from emosae.models import (
    ActivationBatch,
    Site,
    StreamRecord,
    TokenizedItems,
    is_decoder,
    stream_activations,
    tokenize,
)
from emosae.saes import SparseAutoencoder, SparseFeatures

__all__ = ["Reading", "encode_tokens", "extract", "text_items", "unknown_items"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one pass of the model over the items gives at one site.

    Attributes:
        features: SAE activations, one row an item.
        dense: Pooled dense baselines by name, each `[n_items, d]` float32: `residual` is the activation that the
            SAE reads, `embedding` the static input embedding, `reconstruction` what the SAE makes of the
            activation and `error` what it leaves out. Empty unless asked for.
    """

    features: FeatureMatrix
    dense: dict[str, np.ndarray] = field(default_factory=dict)

    def aggregate(self, by: list[str]) -> Reading:
        """Average the rows that share `by`, features and baselines alike."""
        group, keys = group_rows(self.features.items, by)
        average = mean_by(group, keys.height)
        dense = {name: np.asarray(average @ values, dtype=np.float32) for name, values in self.dense.items()}
        return Reading(features=self.features.aggregate(by), dense=dense)


def text_items(texts: Sequence[str]) -> pl.DataFrame:
    """Make the table of items for whole texts: each is pooled from its first character to its last."""
    if isinstance(texts, str):
        raise UserError('The texts must be a list of strings, got one string. Write ["..."] around it.')
    table = pl.DataFrame({"text": list(texts)}, schema={"text": pl.String})
    return table.with_columns(
        pl.lit(0).alias("start"), pl.col("text").str.len_chars().cast(pl.Int64).alias("end")
    )


def extract(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    items: pl.DataFrame,
    *,
    pooling: str | Pooling = Pooling.MEAN,
    baselines: bool = False,
    reconstruction: bool = False,
    max_tokens: int = 4096,
    max_length: int | None = None,
    step: Callable[[int], None] | None = None,
) -> dict[Site, Reading]:
    """Read items through the model and its SAEs in one pass.

    The batches follow from the items alone (their lengths and `max_tokens`), so the same study gives the same
    numbers on any machine of the same kind. Dense activations live as long as their batch.

    Args:
        model: A transformers model.
        tokenizer: Its fast tokenizer.
        saes: The SAEs, by the site that each reads.
        items: Table with `text` and the character span `start`, `end` that is pooled; other columns are kept.
        pooling: `mean`, `max` or `last`, over the span's tokens; special tokens never count.
        baselines: Also pool the raw activation and the static embedding.
        reconstruction: Also pool the SAE's reconstruction of each token and its error term, activation minus
            reconstruction. An SAE that was trained on centred activations reconstructs those, and its error is
            what it lacks of them. A transcoder reconstructs no activation that it reads: it has neither.
        max_tokens: Bound on a batch's tokens, padding included.
        max_length: Longest text in tokens; None means the model's own limit.
        step: Called with the number of items done after each batch.

    Returns:
        For each site its `Reading`. `items` gains `n_tokens` and `unknown` (a token of the span is unknown to the
        tokenizer, or the span has none; such rows are zero or unreliable and the caller drops them).

    Raises:
        UserError: An unknown pooling, or an SAE that does not fit the model.
    """
    how = Pooling.parse(pooling)
    tokens, record = _tokens(model, tokenizer, saes, items, max_length), StreamRecord()
    pooled: dict[Site, list[sp.csr_array]] = {site: [] for site in saes}
    dense = {
        site: {name: _Rows(items.height) for name in _dense_names(sae, baselines, reconstruction)}
        for site, sae in saes.items()
    }
    embedding = _Rows(items.height)
    order: list[np.ndarray] = []
    for batch in _stream(model, tokenizer, tokens, saes, max_tokens, baselines, record):
        item = batch.span.nonzero(as_tuple=True)[0].cpu().numpy()
        n = len(batch.rows)
        for site, sae in saes.items():
            active = batch.activations[site][batch.span]
            found = sae.encode(active)
            pooled[site].append(pool_sparse(found.to_scipy(), item, n, how))
            if "residual" in dense[site]:
                values = active.float().cpu().numpy()
                dense[site]["residual"].put(batch.rows, pool_dense(values, item, n, how))
            if "error" in dense[site]:
                for name, part in zip(("reconstruction", "error"), _split(sae, active, found), strict=True):
                    dense[site][name].put(batch.rows, pool_dense(part, item, n, how))
        if baselines and batch.embeddings is not None:
            values = batch.embeddings[batch.span].float().cpu().numpy()
            embedding.put(batch.rows, pool_dense(values, item, n, how))
        order.append(batch.rows)
        if step is not None:
            step(n)
    table = items.with_columns(
        pl.Series("n_tokens", [int(span.sum()) for span in tokens.span], dtype=pl.Int32),
        pl.Series("unknown", np.asarray(tokens.unknown, dtype=bool)),
    )
    about = {"pooling": how.value, "max_tokens": max_tokens} | dataclasses.asdict(record)
    back = np.argsort(np.concatenate(order)) if order else np.zeros(0, dtype=np.int64)
    readings = {}
    for site, sae in saes.items():
        parts = pooled[site] or [sp.csr_array((0, sae.cfg.d_sae), dtype=np.float32)]
        csr = sp.csr_array(sp.vstack(parts, format="csr", dtype=np.float32))[back]
        features = FeatureMatrix(
            csr=csr, items=table, site=str(site), sae=sae.name, fingerprint=sae.fingerprint, metadata=about
        )
        extra = {name: rows.values() for name, rows in dense[site].items()}
        readings[site] = Reading(
            features=features, dense=extra | ({"embedding": embedding.values()} if baselines else {})
        )
    return readings


def unknown_items(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    items: pl.DataFrame,
    max_length: int | None = None,
) -> np.ndarray:
    """Tell which items the tokenizer cannot represent, without reading them through the model.

    Returns:
        For each item, whether a token of its span is unknown or the span has none, `[n_items]` bool.
    """
    return np.asarray(_tokens(model, tokenizer, saes, items, max_length).unknown, dtype=bool)


def encode_tokens(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    items: pl.DataFrame,
    *,
    max_tokens: int = 4096,
    max_length: int | None = None,
) -> dict[Site, FeatureMatrix]:
    """Read items without pooling: a row for each token of each item's span.

    Returns:
        For each site a matrix whose `items` has a row a token: the item's columns plus `item` (its row),
        `position` (in the item's tokens, special ones counted) and `token`.
    """
    tokens = _tokens(model, tokenizer, saes, items, max_length)
    parts: dict[Site, list[sp.csr_array]] = {site: [] for site in saes}
    rows: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    for batch in _stream(model, tokenizer, tokens, saes, max_tokens, False, StreamRecord()):
        item, position = (index.cpu().numpy() for index in batch.span.nonzero(as_tuple=True))
        rows.append(batch.rows[item])
        positions.append(position)
        for site, sae in saes.items():
            parts[site].append(sae.encode(batch.activations[site][batch.span]).to_scipy())
    row = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
    position = np.concatenate(positions) if positions else np.zeros(0, dtype=np.int64)
    order = np.lexsort((position, row))
    row, position = row[order], position[order]
    ids = [int(tokens.ids[r][p]) for r, p in zip(row, position, strict=True)]
    table = items[row].with_columns(
        pl.Series("item", row, dtype=pl.Int64),
        pl.Series("position", position, dtype=pl.Int64),
        pl.Series("token", tokenizer.convert_ids_to_tokens(ids), dtype=pl.String),
    )
    matrices = {}
    for site, sae in saes.items():
        stacked = parts[site] or [sp.csr_array((0, sae.cfg.d_sae), dtype=np.float32)]
        csr = sp.csr_array(sp.vstack(stacked, format="csr", dtype=np.float32))[order]
        matrices[site] = FeatureMatrix(
            csr=csr,
            items=table,
            site=str(site),
            sae=sae.name,
            fingerprint=sae.fingerprint,
            metadata={"pooling": None},
        )
    return matrices


def _dense_names(sae: SparseAutoencoder, baselines: bool, reconstruction: bool) -> tuple[str, ...]:
    names: tuple[str, ...] = ("residual",) if baselines else ()
    if reconstruction and sae.cfg.architecture.is_transcoder:
        log.info("%s is a transcoder: it has no reconstruction of what it reads, and no error term", sae.name)
    elif reconstruction:
        names += ("reconstruction", "error")
    return names


@torch.inference_mode()
def _split(
    sae: SparseAutoencoder, active: torch.Tensor, found: SparseFeatures
) -> tuple[np.ndarray, np.ndarray]:
    """Split the activations of a batch's tokens into what the SAE reconstructs and what it leaves out."""
    made = sae.decode(found)
    x = active.to(made.device, torch.float32)
    if sae.cfg.center_writing_weights:  # such an SAE was trained on x - mean(x), and reconstructs that
        x = x - x.mean(dim=-1, keepdim=True)
    return made.cpu().numpy(), (x - made).cpu().numpy()


class _Rows:
    """Dense rows that arrive out of order and are as wide as the first of them."""

    def __init__(self, n_rows: int) -> None:
        self._n = n_rows
        self._array: np.ndarray | None = None

    def put(self, rows: np.ndarray, values: np.ndarray) -> None:
        if self._array is None:
            self._array = np.zeros((self._n, values.shape[1]), dtype=np.float32)
        self._array[rows] = values

    def values(self) -> np.ndarray:
        return np.zeros((self._n, 0), dtype=np.float32) if self._array is None else self._array


def _tokens(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    items: pl.DataFrame,
    max_length: int | None,
) -> TokenizedItems:
    asked = {sae.cfg.prepend_bos for sae in saes.values()}
    if len(asked) > 1:
        raise UserError(
            "The SAEs disagree about the beginning-of-sequence token (prepend_bos), so one pass cannot serve them "
            "all. Run them one at a time."
        )
    return tokenize(
        tokenizer,
        items,
        prepend_bos=asked.pop() if asked else None,
        is_decoder=is_decoder(model),
        max_length=max_length,
    )


def _stream(
    model: Any,
    tokenizer: Any,
    tokens: TokenizedItems,
    saes: Mapping[Site, SparseAutoencoder],
    max_tokens: int,
    embeddings: bool,
    record: StreamRecord,
) -> Iterable[ActivationBatch]:
    pad = tokenizer.pad_token_id
    return stream_activations(
        model,
        tokens,
        list(saes),
        max_tokens=max_tokens,
        embeddings=embeddings,
        pad_id=0 if pad is None else int(pad),
        record=record,
    )
