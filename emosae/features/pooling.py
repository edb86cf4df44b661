"""Pooling: from the tokens of an item to one row."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import scipy.sparse as sp

from emosae.errors import unknown_name
from emosae.features.matrix import mean_by

__all__ = ["Pooling", "pool_dense", "pool_sparse"]


class Pooling(StrEnum):
    """How the tokens of an item become one row."""

    MEAN = "mean"
    MAX = "max"
    LAST = "last"

    @classmethod
    def parse(cls, name: str | Pooling) -> Pooling:
        """Read a pooling's name; an unknown one is a plain error."""
        try:
            return cls(name)
        except ValueError:
            raise unknown_name("pooling", str(name), [each.value for each in cls]) from None


def _bounds(item: np.ndarray) -> np.ndarray:
    """Find where each run of equal numbers in a sorted array starts."""
    return np.flatnonzero(np.r_[True, item[1:] != item[:-1]]) if len(item) else np.zeros(0, dtype=np.int64)


def _last(item: np.ndarray, n_items: int) -> sp.csr_array:
    ends = np.r_[_bounds(item)[1:], len(item)] - 1 if len(item) else np.zeros(0, dtype=np.int64)
    ones = np.ones(len(ends), dtype=np.float32)
    return sp.csr_array((ones, (item[ends], ends)), shape=(n_items, len(item)))


def _max_sparse(tokens: sp.csr_array, item: np.ndarray, n_items: int) -> sp.csr_array:
    """Take the largest value of each feature over an item's tokens; an absent feature counts as zero.

    SAE activations are never negative, so the stored values alone decide.
    """
    rows = np.repeat(item, np.diff(tokens.indptr))
    order = np.lexsort((tokens.indices, rows))
    rows, columns, values = rows[order], tokens.indices[order], tokens.data[order]
    if not len(values):
        return sp.csr_array((n_items, tokens.shape[1]), dtype=np.float32)
    starts = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])])
    best = np.maximum.reduceat(values, starts)
    return sp.csr_array((best, (rows[starts], columns[starts])), shape=(n_items, tokens.shape[1]))


def pool_sparse(tokens: sp.csr_array, item: np.ndarray, n_items: int, pooling: Pooling) -> sp.csr_array:
    """Pool sparse token rows to item rows.

    Args:
        tokens: Non-negative activations, `[n_tokens, d_sae]`.
        item: The item of each token, sorted, `[n_tokens]`; an item without tokens becomes an empty row.
        n_items: Number of items.
        pooling: Mean over the item's tokens, maximum of each feature, or the item's last token.

    Returns:
        `[n_items, d_sae]`.
    """
    ways: dict[Pooling, Callable[[], sp.csr_array]] = {
        Pooling.MEAN: lambda: sp.csr_array(mean_by(item, n_items) @ tokens),
        Pooling.MAX: lambda: _max_sparse(tokens, item, n_items),
        Pooling.LAST: lambda: sp.csr_array(_last(item, n_items) @ tokens),
    }
    return ways[pooling]()


def pool_dense(tokens: np.ndarray, item: np.ndarray, n_items: int, pooling: Pooling) -> np.ndarray:
    """Pool dense token rows `[n_tokens, d]` to item rows `[n_items, d]`, with the rules of `pool_sparse`."""
    if pooling is Pooling.MAX:
        pooled = np.zeros((n_items, tokens.shape[1]), dtype=np.float32)
        starts = _bounds(item)
        if len(starts):
            pooled[item[starts]] = np.maximum.reduceat(tokens, starts, axis=0)
        return pooled
    operator = mean_by(item, n_items) if pooling is Pooling.MEAN else _last(item, n_items)
    return np.asarray(operator @ tokens, dtype=np.float32)
