"""Random choices that remember how likely they were, so that the grammar knows its own entropy."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from emosae.phantom.world import Graded, Language

__all__ = ["KERNEL_WIDTH", "Draw", "graded_weights"]

T = TypeVar("T")

KERNEL_WIDTH = 0.14
"""How far, in valence or arousal, a companion may lie from what it goes with (standard deviation)."""


@lru_cache(maxsize=65536)
def graded_weights(
    options: tuple[Graded, ...], valence: float, arousal: float, width: float = KERNEL_WIDTH
) -> tuple[float, ...]:
    """Return cumulative weights of `options` beside something of the given valence and arousal.

    A Gaussian kernel on the distance in valence and arousal; an option without valence goes by arousal.
    This is how a word's own values show in its contexts, and the only way in which they can be learnt.
    """
    weights = []
    for option in options:
        dv = 0.0 if option.valence is None else option.valence - valence
        da = option.arousal - arousal
        weights.append(math.exp(-(dv * dv + da * da) / (2.0 * width * width)) + 1e-6)
    return tuple(itertools.accumulate(weights))


class Draw:
    """A source of choices with their log-probability, apart for each language.

    `shared` is the log-probability of what both languages say alike, `own[language]` of the wording that
    only one language needs.
    """

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)
        self.shared = 0.0
        self.own = {Language.EN: 0.0, Language.ZH: 0.0}

    def reset(self) -> None:
        """Forget the log-probabilities, at the start of a passage."""
        self.shared = 0.0
        self.own = {Language.EN: 0.0, Language.ZH: 0.0}

    def _add(self, p: float, language: Language | None) -> None:
        if language is None:
            self.shared += math.log(p)
        else:
            self.own[language] += math.log(p)

    def choose(self, options: Sequence[T], language: Language | None = None) -> T:
        """Choose one of `options`, all equally likely."""
        self._add(1.0 / len(options), language)
        return options[int(self.random.random() * len(options))]

    def flip(self, p: float) -> bool:
        """Be true with probability `p`."""
        answer = self.random.random() < p
        self._add(p if answer else 1.0 - p, None)
        return answer

    def weighted(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """Choose one of `options` in proportion to `weights`."""
        return self._pick(options, list(itertools.accumulate(weights)), None)

    def graded(
        self,
        options: tuple[Graded, ...],
        valence: float,
        arousal: float,
        language: Language | None = None,
    ) -> Graded:
        """Choose the option that goes with the given valence and arousal, more or less."""
        return self._pick(options, graded_weights(options, valence, arousal), language)

    def _pick(self, options: Sequence[T], cumulative: Sequence[float], language: Language | None) -> T:
        index = min(bisect.bisect_right(cumulative, self.random.random() * cumulative[-1]), len(options) - 1)
        before = cumulative[index - 1] if index else 0.0
        self._add((cumulative[index] - before) / cumulative[-1], language)
        return options[index]
