"""Cards: everything that is shown of one feature, as plain data."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emosae.browse.collect import BIN_EDGES, GROUPS, Collected
from emosae.browse.config import BrowseConfig
from emosae.browse.decoder import LogitLens, Neighbours
from emosae.browse.facts import Facts
from emosae.browse.languages import language_rates, name_scripts
from emosae.browse.spelling import Spelling, word_at

if TYPE_CHECKING:
    from emosae.browse.slots import Windows
    from emosae.lens import Lens
    from emosae.models import Site

__all__ = ["Card", "Cards", "Context"]

_WORDS = 12  # on a card
_LONGEST = 60  # letters of a word there: what is longer is no word
_LEVELS = (0.25, 0.5, 0.75)  # edges of the quantile groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """One place in the corpus where a feature fires.

    Attributes:
        value: Its activation on the token that the context is about.
        pieces: The text in order: each token that fires with its activation, and what lies between with 0.
        at: Which piece the context is about.
    """

    value: float
    pieces: list[tuple[str, float]]
    at: int

    @property
    def text(self) -> str:
        """The context as one text."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What is shown of one feature.

    Attributes:
        feature: Its number.
        site: Where its SAE reads.
        density: Share of the corpus' tokens on which it is active.
        maximum: Its largest activation there; 0 where it never fired.
        n_active: How many tokens it was active on.
        quartiles: 25, 50 and 75 % quantile of its active values.
        histogram: Lower edge, upper edge and count of each bin, from the first that is not empty to the last.
        languages: Language, share of its active tokens, and share of that language's tokens on which it is active.
        universality: That last share in the language where it is smallest, divided by where it is largest; None where
            the corpus has one language.
        words: The words its contexts are about, with the largest activation on each.
        top: Contexts with the largest activations.
        groups: Quantile groups from the highest: low and high edge (shares), and contexts drawn at random from it.
        promoted: Tokens that its decoder row promotes, with logits.
        suppressed: Tokens that it suppresses.
        neighbours: Features with the most similar decoder rows, with cosines.
        concepts: Its rows in `Selection.scores`.
        sets: The sets it belongs to, with the emotion.
        concept_words: Concept words that fire it: language, word, activation.
        weights: Its rows in `RatingsResult.weights`.
        output_score: Whether it writes what its decoder row points to, 0 to 1; None where it was not scored.
        neuronpedia: Its page there; None where the SAE names none.
    """

    feature: int
    site: str
    density: float
    maximum: float
    n_active: int
    quartiles: list[float]
    histogram: list[tuple[float, float, int]]
    languages: list[tuple[str, float, float]]
    universality: float | None
    words: list[tuple[str, float]]
    top: list[Context]
    groups: list[tuple[float, float, list[Context]]]
    promoted: list[tuple[str, float]] = field(default_factory=list)
    suppressed: list[tuple[str, float]] = field(default_factory=list)
    neighbours: list[tuple[int, float]] = field(default_factory=list)
    concepts: list[dict[str, Any]] = field(default_factory=list)
    sets: list[tuple[str, str | None]] = field(default_factory=list)
    concept_words: list[tuple[str, str, float]] = field(default_factory=list)
    weights: list[dict[str, Any]] = field(default_factory=list)
    output_score: float | None = None
    neuronpedia: str | None = None


class Cards:
    """Makes the cards of one SAE, a few at a time.

    Args:
        lens: The model with its SAEs.
        site: Which of them.
        collected: What a corpus said of its features.
        facts: What a study knows of them.
        config: How much is shown.
    """

    def __init__(
        self,
        lens: Lens,
        site: Site,
        collected: Collected,
        facts: Facts | None = None,
        config: BrowseConfig | None = None,
    ) -> None:
        config = config or BrowseConfig()
        self.sae, self.site, self.collected = lens.saes[site], str(site), collected
        self.facts = facts or Facts()
        self._spelling = Spelling(lens.tokenizer)
        self._neighbours = Neighbours(self.sae, config.neighbours)
        self._lens = LogitLens(lens.model, self.sae, config.logit_lens)
        self.languages = name_scripts(collected.scripts, lens.languages)
        self.rates = language_rates(collected, self.languages)
        self._scores = _by_feature(self.facts.scores)
        self._weights = _by_feature(self.facts.weights)
        self._sets = _by_feature(self.facts.sets)
        self._words = _by_feature(self.facts.words)

    def make(self, rows: Sequence[int]) -> Iterator[Card]:
        """Make the cards of features, given their places in `collected.features`."""
        numbers = self.collected.features[list(rows)].tolist()
        lenses, neighbours = self._lens.of(numbers), self._neighbours.of(numbers)
        for row, feature, (up, down), near in zip(rows, numbers, lenses, neighbours, strict=True):
            yield self._card(row, feature, up, down, near)

    def _card(
        self,
        row: int,
        feature: int,
        up: list[tuple[int, float]],
        down: list[tuple[int, float]],
        near: list[tuple[int, float]],
    ) -> Card:
        found, stats = self.collected, self.collected.stats
        spell = self._spelling.token
        top, top_words = self._contexts(found.top.of(row))
        sample, sample_words = self._contexts(found.sample.of(row))
        name = self.sae.cfg.neuronpedia_id
        page = f"https://www.neuronpedia.org/{name}/{feature}" if name and "/" in name else None
        return Card(
            feature=feature,
            site=self.site,
            density=float(stats.density[row]),
            maximum=float(stats.maximum[row]),
            n_active=int(found.counts[row].sum()),
            quartiles=[float(stats.quantile(level)[row]) for level in _LEVELS],
            histogram=_histogram(found.counts[row]),
            languages=self.rates.card(row),
            universality=self.rates.universality(row),
            words=_best_words([*top_words, *sample_words]),
            top=top,
            groups=_groups(sample),
            promoted=[(spell(token), logit) for token, logit in up],
            suppressed=[(spell(token), logit) for token, logit in down],
            neighbours=near,
            concepts=sorted(self._scores[feature], key=lambda each: -each["auroc"]),
            sets=[(each["set"], each["concept"]) for each in self._sets[feature]],
            concept_words=[
                (each["language"], each["word"], each["activation"]) for each in self._words[feature]
            ],
            weights=self._weights[feature],
            output_score=self.facts.output.get(feature),
            neuronpedia=page,
        )

    def _contexts(self, kept: Windows) -> tuple[list[Context], list[tuple[str, float]]]:
        contexts, words = [], []
        lengths = (kept.ids >= 0).sum(axis=1).tolist()
        rows = zip(
            kept.ids.tolist(),
            kept.activations.tolist(),
            kept.at.tolist(),
            kept.value.tolist(),
            lengths,
            strict=True,
        )
        for ids, activations, at, value, length in rows:
            texts, starts = self._spelling.pieces(ids[:length])
            contexts.append(_context(texts, starts, activations[:length], at, value))
            word = " ".join(word_at(texts, bisect_right(starts, at) - 1).split())
            words.append((word[:_LONGEST], value))
        return contexts, words


def _context(
    texts: list[str], starts: Sequence[int], activations: list[float], at: int, value: float
) -> Context:
    """Join what does not fire into one piece; what fires has a piece of its own for each token."""
    fired = activations
    if len(texts) != len(activations):
        fired = [max(activations[first:last]) for first, last in pairwise(starts)]
    centre = bisect_right(starts, at) - 1
    fired[centre] = value  # not rounded to half precision
    pieces: list[tuple[str, float]] = []
    since = place = 0
    for number, own in enumerate(fired):
        if own <= 0:
            continue
        if number > since:
            pieces.append(("".join(texts[since:number]), 0.0))
        if number == centre:
            place = len(pieces)
        pieces.append((texts[number], own))
        since = number + 1
    if since < len(texts):
        pieces.append(("".join(texts[since:]), 0.0))
    return Context(value=value, pieces=pieces, at=place)


def _by_feature(table: pl.DataFrame) -> defaultdict[int, list[dict[str, Any]]]:
    rows: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for each in table.iter_rows(named=True):
        rows[each["feature"]].append(each)
    return rows


def _best_words(words: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Keep each word once, whatever its capitals, with the largest activation; signs where there is no word."""
    best: dict[str, tuple[str, float]] = {}
    for word, value in sorted(words, key=lambda each: -each[1]):
        if word:
            best.setdefault(word.casefold(), (word, value))
    spelt = [each for each in best.values() if any(character.isalnum() for character in each[0])]
    return (spelt or list(best.values()))[:_WORDS]


def _histogram(counts: np.ndarray) -> list[tuple[float, float, int]]:
    filled = np.flatnonzero(counts)
    if not len(filled):
        return []
    bins = range(int(filled[0]), int(filled[-1]) + 1)
    return [(float(BIN_EDGES[at]), float(BIN_EDGES[at + 1]), int(counts[at])) for at in bins]


def _groups(sample: list[Context]) -> list[tuple[float, float, list[Context]]]:
    """Cut a sample, largest first, into quantile groups of its own."""
    groups = []
    for group in range(GROUPS):
        first, last = (round(len(sample) * edge / GROUPS) for edge in (group, group + 1))
        low, high = 1 - (group + 1) / GROUPS, 1 - group / GROUPS
        groups.append((low, high, sample[first:last]))
    return [each for each in groups if each[2]]
