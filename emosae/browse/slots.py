"""A fixed number of contexts for each feature, the ones with the largest keys, whatever the corpus' size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Slots", "Windows", "slot_bytes"]

_LAST = np.iinfo(np.int64).max
_HALF = 65504.0  # the largest number of float16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """What is kept of some contexts.

    Attributes:
        ids: Token ids of each context, -1 where it is shorter, `[n, width]`.
        activations: The feature's activation on each of these tokens, `[n, width]`.
        at: Which of the tokens it is about, `[n]`.
        value: The activation there, `[n]`.
    """

    ids: Int[np.ndarray, "n width"]
    activations: Float[np.ndarray, "n width"]
    at: Int[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]


def slot_bytes(width: int) -> int:
    """Say what one slot takes, in bytes: key, tie, value, place, and 6 a token."""
    return 8 + 8 + 4 + 1 + 6 * width


class Slots:
    """For each feature the `k` candidates with the largest keys, in arrays of fixed size.

    Which candidates stay does not depend on the order in which they come, or on how they are put into batches:
    among equal keys the smaller `tie` stays.

    Args:
        n: Number of features.
        k: Slots of each.
        width: Tokens of a context.
    """

    def __init__(self, n: int, k: int, width: int) -> None:
        self.key = np.full((n, k), -np.inf)
        self.tie = np.full((n, k), _LAST, dtype=np.int64)
        self.value = np.zeros((n, k), dtype=np.float32)
        self.at = np.zeros((n, k), dtype=np.int8)
        self.ids = np.full((n, k, width), -1, dtype=np.int32)
        self.activations = np.zeros((n, k, width), dtype=np.float16)
        self._floor = np.full(n, -np.inf)

    @property
    def nbytes(self) -> int:
        """What the slots take, in bytes."""
        parts = (self.key, self.tie, self.value, self.at, self.ids, self.activations)
        return sum(part.nbytes for part in parts)

    def may_enter(self, feature: Int[np.ndarray, " n"], key: Float[np.ndarray, " n"]) -> np.ndarray:
        """Say which candidates are not below what is kept already, `[n]` bool."""
        return np.asarray(key >= self._floor[feature])

    def offer(
        self,
        feature: Int[np.ndarray, " n"],
        key: Float[np.ndarray, " n"],
        tie: Int[np.ndarray, " n"],
        windows: Callable[[np.ndarray], Windows],
    ) -> None:
        """Take candidates.

        Args:
            feature: The feature of each.
            key: What it is ranked by.
            tie: A number of its own, which says which stays of equal keys.
            windows: Makes the contexts of those that stay, given their places in the arguments.
        """
        k = self.key.shape[1]
        if not len(feature) or not k:
            return
        # Of one feature no more than k new ones can stay
        order = np.lexsort((tie, -key, feature))
        order = order[_place(feature[order]) < k]
        touched, row = np.unique(feature[order], return_inverse=True)
        n_old = len(touched) * k
        owner = np.concatenate([np.repeat(np.arange(len(touched)), k), row])
        keys = np.concatenate([self.key[touched].ravel(), key[order]])
        ties = np.concatenate([self.tie[touched].ravel(), tie[order]])
        ranked = np.lexsort((ties, -keys, owner))
        stays = np.empty(len(ranked), dtype=bool)
        stays[ranked] = _place(owner[ranked]) < k
        # As many leave a feature's slots as come in, and both lists go from feature to feature
        leave = np.flatnonzero(~stays[:n_old])
        enter = np.flatnonzero(stays[n_old:])
        if not len(enter):
            return
        slot = (touched[leave // k], leave % k)
        chosen = order[enter]
        kept = windows(chosen)
        self.key[slot], self.tie[slot], self.value[slot] = key[chosen], tie[chosen], kept.value
        self.at[slot], self.ids[slot] = kept.at, kept.ids
        self.activations[slot] = np.minimum(kept.activations, _HALF)
        self._floor[touched] = self.key[touched].min(axis=1)

    def of(self, row: int) -> Windows:
        """Give what is kept of one feature, the largest value first."""
        filled = np.flatnonzero(np.isfinite(self.key[row]))
        order = filled[np.lexsort((self.tie[row, filled], -self.value[row, filled]))]
        return Windows(
            ids=self.ids[row, order],
            activations=self.activations[row, order],
            at=self.at[row, order],
            value=self.value[row, order],
        )


def _place(group: np.ndarray) -> np.ndarray:
    """Count from 0 inside each run of equal numbers."""
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))
