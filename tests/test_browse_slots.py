"""Slots keep the largest of what they are offered, in whatever order and batches it comes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emosae.browse.slots import Slots, Windows, slot_bytes

N, WIDTH = 4, 3
OFFERS = st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, 6)), max_size=40)


def keep(slots: Slots, feature: np.ndarray, key: np.ndarray, tie: np.ndarray) -> None:
    """Offer candidates whose contexts hold their own tie, so that a context in the wrong slot shows."""

    def windows(at: np.ndarray) -> Windows:
        ids = np.repeat(tie[at][:, None], WIDTH, axis=1)
        return Windows(ids=ids, activations=ids * 1.0, at=np.zeros(len(at), np.int8), value=key[at])

    may = np.flatnonzero(slots.may_enter(feature, key))
    slots.offer(feature[may], key[may], tie[may], lambda at: windows(may[at]))


@given(offers=OFFERS, k=st.integers(1, 5), size=st.integers(1, 7), order=st.randoms())
def test_slots_hold_what_sorting_everything_gives(offers, k, size, order) -> None:
    candidates = [(feature, float(key), tie) for tie, (feature, key) in enumerate(offers)]
    shuffled = list(candidates)
    order.shuffle(shuffled)
    slots = Slots(N, k, WIDTH)
    for first in range(0, len(shuffled), size):
        feature, key, tie = (np.array(part) for part in zip(*shuffled[first : first + size], strict=True))
        keep(slots, feature, key, tie)
    for feature in range(N):
        own = sorted((-key, tie) for f, key, tie in candidates if f == feature)[:k]
        kept = slots.of(feature)
        assert kept.ids[:, 0].tolist() == [tie for _, tie in own]
        assert kept.value.tolist() == [-key for key, _ in own]
        assert (kept.activations == kept.ids).all()


def test_the_bytes_of_a_slot_are_those_of_the_arrays() -> None:
    for width in (1, 24, 100):
        assert Slots(7, 5, width).nbytes == 7 * 5 * slot_bytes(width)


def test_an_activation_beyond_half_precision_stays_finite() -> None:
    slots = Slots(1, 1, 1)
    window = Windows(
        ids=np.array([[5]]), activations=np.array([[1e6]]), at=np.array([0]), value=np.array([1e6])
    )
    slots.offer(np.array([0]), np.array([1e6]), np.array([0]), lambda _at: window)
    assert np.isfinite(slots.of(0).activations).all()
    assert slots.of(0).value[0] == 1e6
