"""Inner folds, made of whole outer folds so that outer folds can share the fits that choose their penalties.

An inner fit of outer fold k leaves out k and one inner fold of it. Where inner folds are unions of the other outer
folds, the fit that leaves out the outer folds a, b and c is at once one of a's (held out: b and c), one of b's and
one of c's. Blocks of outer folds in which each pair occurs once (a Steiner system, or the best packing found) thus
cut the fits to between a half and a third: 20 in place of 50 for ten outer and five inner folds. Each choice still
sees nothing of its own outer fold, and each training word is held out once.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from math import ceil, comb

import numpy as np

from emosae.ratings.folds import assign_folds

__all__ = ["inner_blocks", "inner_folds"]

_TRIES = 200  # packings tried; the best for ten and five folds is found within a few dozen
_MOST = 3000  # candidate blocks beyond which one try must do


@lru_cache(maxsize=16)
def inner_blocks(n_outer: int, n_inner: int) -> tuple[tuple[tuple[int, ...], ...], ...] | None:
    """Divide the other outer folds of each outer fold into inner folds, with as many shared blocks as can be found.

    Args:
        n_outer: Outer folds.
        n_inner: Inner folds of each.

    Returns:
        For each outer fold its inner folds, each a tuple of outer folds; None where there are fewer other outer
        folds than inner ones.

    Example:
        >>> inner_blocks(3, 2)
        (((1,), (2,)), ((0,), (2,)), ((0,), (1,)))
    """
    if n_inner > n_outer - 1:
        return None
    size = ceil((n_outer - 1) / n_inner) + 1
    rng = np.random.default_rng(
        0
    )  # the same blocks in every study: the words in the folds are what is random
    tries = 1 if comb(n_outer, size) > _MOST else _TRIES
    best: tuple[tuple[tuple[int, ...], ...], ...] | None = None
    fewest = n_outer * n_inner + 1
    for attempt in range(tries):
        order = rng.permutation(n_outer) if attempt else np.arange(n_outer)
        made = _divide(_pack(order.tolist(), size, rng if attempt else None), n_outer, n_inner)
        distinct = len({frozenset((k, *block)) for k, own in enumerate(made) for block in own})
        if distinct < fewest:
            best, fewest = made, distinct
    return best


def _pack(points: list[int], size: int, rng: np.random.Generator | None) -> list[frozenset[int]]:
    """Choose blocks greedily so that no two points are together in two of them."""
    candidates = list(itertools.combinations(points, size))
    if rng is not None:
        candidates = [candidates[at] for at in rng.permutation(len(candidates))]
    together: set[frozenset[int]] = set()
    chosen = []
    for candidate in candidates:
        pairs = {frozenset(pair) for pair in itertools.combinations(candidate, 2)}
        if not pairs & together:
            together |= pairs
            chosen.append(frozenset(candidate))
    return chosen


def _divide(
    blocks: list[frozenset[int]], n_outer: int, n_inner: int
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Give each point its blocks without itself, and cut or join them to the number that is wanted."""
    divided = []
    for point in range(n_outer):
        own = [sorted(block - {point}) for block in blocks if point in block]
        left = set(range(n_outer)) - {point} - {other for block in own for other in block}
        own += [[other] for other in sorted(left)]
        while len(own) > n_inner:
            own.sort(key=lambda block: (len(block), block))
            own = [sorted(own[0] + own[1]), *own[2:]]
        while len(own) < n_inner:
            own.sort(key=lambda block: (-len(block), block))
            own = [own[0][:1], own[0][1:], *own[1:]]
        divided.append(tuple(sorted(tuple(block) for block in own)))
    return tuple(divided)


def inner_folds(groups: np.ndarray, outer: np.ndarray, n_inner: int, seed: int) -> list[np.ndarray]:
    """Make the inner folds of each outer fold.

    Args:
        groups: Group of each word [n_words].
        outer: Outer fold of each word [n_words].
        n_inner: Inner folds of each outer fold.
        seed: Seed of the study; used only where inner folds must be smaller than outer ones.

    Returns:
        For each outer fold, the inner fold of each word, -1 for the words it leaves out.
    """
    n_outer = int(outer.max()) + 1
    blocks = inner_blocks(n_outer, n_inner)
    made = []
    for fold in range(n_outer):
        train = outer != fold
        inner = np.full(len(outer), -1, dtype=np.int64)
        if blocks is None:
            derived = int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])
            inner[train] = assign_folds(groups[train], n_inner, derived)
        else:
            for number, block in enumerate(blocks[fold]):
                inner[np.isin(outer, block)] = number
        made.append(inner)
    return made
