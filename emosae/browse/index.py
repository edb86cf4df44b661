"""The index of one SAE's features: what the page sorts by and searches in, loaded at once."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from emosae.browse.cards import Card, Cards
from emosae.report.text import clean

__all__ = ["CARDS_PER_FILE", "Index", "short"]

CARDS_PER_FILE = 64
_WORDS = 6  # of a feature: what a search finds
_DIGITS = 4


class Index:
    """What is known of every feature at once: the columns that are sorted by, and the words that are searched."""

    def __init__(self, cards: Cards) -> None:
        self._cards = cards
        self._columns: dict[str, list[float | None]] = {
            name: []
            for name in (
                "selectivity",
                "universality",
                "density",
                "maximum",
                "valence",
                "output_score",
            )
        }
        self._concept: list[int] = []
        self._language: list[int] = []
        self._words: list[str] = []
        self._concepts = list(cards.facts.concepts)
        self._row = 0

    def add(self, card: Card) -> None:
        """Take the card of the next feature."""
        best = card.concepts[0] if card.concepts else None
        values = {
            "selectivity": best["auroc"] if best else None,
            "universality": card.universality,
            "density": card.density,
            "maximum": card.maximum,
            "valence": _importance(card, "valence"),
            "output_score": card.output_score,
        }
        for name, value in values.items():
            self._columns[name].append(short(value))
        self._concept.append(self._concepts.index(best["concept"]) if best else -1)
        self._language.append(sum(1 << at for at in self._cards.rates.main(self._row)))
        self._words.append("\t".join(word for word, _ in card.words[:_WORDS]))
        self._row += 1

    def data(self) -> dict[str, Any]:
        """Give the index as plain data, once every card was added."""
        found = self._cards.collected
        return {
            "site": self._cards.site,
            "sae": clean(self._cards.sae.name),
            "fingerprint": self._cards.sae.fingerprint,
            "features": len(found.features),
            "cards_per_file": CARDS_PER_FILE,
            "languages": self._cards.rates.names,
            "concepts": self._concepts,
            "columns": {
                name: _packed(values, "<f4")
                for name, values in self._columns.items()
                if any(value is not None for value in values)  # the page shows no column without a value
            },
            "concept": _packed(self._concept, "<i2"),
            "language": _packed(self._language, "<i4"),
            "words": "\n".join(self._words),
            "sets": self._sets(),
        }

    def _sets(self) -> dict[str, list[list[float | None]]]:
        """For each emotion the features that some language selects for it, with the largest AUROC."""
        best = (
            self._cards.facts.scores.filter("selected")
            .group_by("concept", "feature")
            .agg(pl.col("auroc").max())
            .sort("auroc", "feature", descending=[True, False])
        )
        sets: dict[str, list[list[float | None]]] = {name: [[], []] for name in self._concepts}
        for concept, feature, auroc in best.iter_rows():
            sets[concept][0].append(feature)
            sets[concept][1].append(short(auroc))
        return sets


def _packed(values: Sequence[float | None], kind: str) -> str:
    """Write numbers as the base64 of their bytes, None as NaN: a browser reads one text sooner than 65,536 numbers."""
    plain_values = [math.nan if value is None else value for value in values]
    return base64.b64encode(np.array(plain_values, dtype=kind).tobytes()).decode("ascii")


def _importance(card: Card, target: str) -> float | None:
    own = [each["importance"] for each in card.weights if each["target"] == target]
    return sum(own) / len(own) if own else None


def short(value: float | None) -> float | None:
    """Round to four digits; None where there is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if abs(short) < 1e15 and short.is_integer() else short
