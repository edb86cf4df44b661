"""Valence and arousal of texts, by human ratings of their words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.steering.classifiers import SPACELESS, Classifier

if TYPE_CHECKING:
    import polars as pl

    from emosae.concepts import ConceptSet

__all__ = ["AffectLexicon", "nearest_emotion"]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class AffectLexicon:
    """Rated words: valence and arousal, each from -1 to 1.

    Attributes:
        spaced: Words of scripts with spaces between words, casefolded.
        spaceless: Words of scripts without.
        longest: Characters of the longest of these.
    """

    spaced: Mapping[str, Pair]
    spaceless: Mapping[str, Pair]
    longest: int

    @classmethod
    def of(cls, tables: Iterable[pl.DataFrame]) -> AffectLexicon:
        """Make one of tables of ratings: word, valence_scaled, arousal_scaled; a missing value is NaN."""
        spaced: dict[str, Pair] = {}
        spaceless: dict[str, Pair] = {}
        for table in tables:
            columns = [name for name in ("valence_scaled", "arousal_scaled") if name in table.columns]
            for row in table.select("word", *columns).iter_rows(named=True):
                word = str(row["word"]).casefold()
                valence, arousal = (
                    math.nan if row.get(name) is None else float(row[name])
                    for name in ("valence_scaled", "arousal_scaled")
                )
                (spaceless if SPACELESS.search(word) else spaced)[word] = (valence, arousal)
        return cls(spaced=spaced, spaceless=spaceless, longest=max(map(len, spaceless), default=0))

    def __bool__(self) -> bool:
        return bool(self.spaced or self.spaceless)

    def score(self, text: str) -> Pair:
        """Give the mean valence and arousal of a text's rated words, NaN where it has none.

        Example:
            >>> lexicon = AffectLexicon(spaced={"glad": (0.8, 0.2)}, spaceless={"高兴": (0.6, 0.4)}, longest=2)
            >>> lexicon.score("So glad, 很高兴.")
            (0.7, 0.30000000000000004)
        """
        low = text.casefold()
        found = [self.spaced[word] for word in _WORD.findall(low) if word in self.spaced]
        at = 0
        while self.longest and at < len(low):  # the longest word that begins here, as a dictionary is read
            size = next((n for n in range(self.longest, 0, -1) if low[at : at + n] in self.spaceless), 0)
            if size:
                found.append(self.spaceless[low[at : at + size]])
            at += size or 1
        means = []
        for values in zip(*found, strict=True):
            known = [value for value in values if not math.isnan(value)]
            means.append(sum(known) / len(known) if known else math.nan)
        return (means[0], means[1]) if means else (math.nan, math.nan)


def nearest_emotion(lexicon: AffectLexicon, concepts: ConceptSet) -> Classifier | None:
    """Make a classifier: the concept whose own words lie nearest to the text's in valence and arousal.

    It knows nothing of what a text is about, only how pleasant and how stirred its words are, so emotions that lie
    close to each other are mistaken for each other.

    Args:
        lexicon: Rated words.
        concepts: The concepts, placed by the mean ratings of their words.

    Returns:
        The classifier, which gives None to a text without rated words; None if fewer than two concepts have a place.
    """
    places: dict[str, np.ndarray] = {}
    for concept in concepts.concepts:
        words = [row["word"] for row in concepts.words.iter_rows(named=True) if row["concept"] == concept]
        rated = np.array([lexicon.score(word) for word in words], dtype=float).reshape(-1, 2)
        rated = rated[np.isfinite(rated).all(1)]
        if len(rated):
            places[concept] = rated.mean(0)
    if len(places) < 2:
        return None
    names, where = list(places), np.stack(list(places.values()))

    def classify(texts: Sequence[str]) -> list[str | None]:
        labels: list[str | None] = []
        for text in texts:
            own = np.array(lexicon.score(text))
            labels.append(
                names[int(np.argmin(((where - own) ** 2).sum(1)))] if np.isfinite(own).all() else None
            )
        return labels

    return classify
