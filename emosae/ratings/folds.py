"""Folds of words that keep word families, and translations, together."""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp
import snowballstemmer
from scipy.sparse.csgraph import connected_components

from emosae.errors import UserError

__all__ = ["assign_folds", "exclude_words", "group_words", "stem"]

log = logging.getLogger(__name__)

LEAST_GROUPS = 5
"""Word families that a fold needs on average; with fewer its correlation is chance."""

_GLOSS = re.compile(r"\s*[(（\[][^)）\]]*[)）\]]")
_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nb": "norwegian",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


@lru_cache(maxsize=8)
def _stemmer(language: str) -> _Stemmer | None:
    name = _STEMMERS.get(language.lower().replace("_", "-").split("-")[0])
    # an older snowballstemmer knows fewer languages
    return snowballstemmer.stemmer(name) if name in snowballstemmer.algorithms() else None


def stem(word: str, language: str) -> str:
    """Return the Snowball stem of a word, or the word itself where the language has no stemmer.

    Args:
        word: A word; of several words each is stemmed. Capitals are ignored, and so is a gloss in brackets that
            tells one sense from another: all senses of a word are one family.
        language: Code such as `en` or `pt-BR`.

    Returns:
        The stem.

    Example:
        >>> stem("Happiness", "en"), stem("apples (fruit)", "en"), stem("快樂", "zh")
        ('happi', 'appl', '快樂')
    """
    lower = word.casefold().strip()
    lower = _GLOSS.sub("", lower).strip() or lower
    stemmer = _stemmer(language)
    return lower if stemmer is None else " ".join(stemmer.stemWord(part) for part in lower.split())


def group_words(
    words: Sequence[str], languages: Sequence[str], concepts: Sequence[object] | None = None
) -> np.ndarray:
    """Give words that must not be split between folds the same number.

    Words of one language with the same stem are one group, and so are words of any language with the same
    Concepticon id; groups that share a word are one.

    Args:
        words: The words.
        languages: Language code of each.
        concepts: Concepticon id of each, None or empty where there is none; None for no ids at all.

    Returns:
        Group of each word, numbered by first appearance, [n_words] int64.
    """
    keys: dict[tuple[str, str], int] = {}
    edges: list[tuple[int, int]] = []
    for row, (word, language) in enumerate(zip(words, languages, strict=True)):
        edges.append((row, keys.setdefault((language, stem(word, language)), len(keys))))
    if concepts is not None:
        for row, concept in enumerate(concepts):
            if concept is not None and str(concept).strip() not in {"", "nan"}:
                edges.append((row, keys.setdefault(("concept id", str(concept)), len(keys))))
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    n, size = len(words), len(words) + len(keys)
    graph = sp.coo_array((np.ones(len(rows), dtype=bool), (rows, n + columns)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][:n]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse]


def assign_folds(
    groups: np.ndarray, n_folds: int, seed: int, languages: Sequence[str] | None = None
) -> np.ndarray:
    """Spread groups over folds so that each fold has about the same number of words.

    The largest groups are placed first, each into the fold that is least full; groups of one size are placed
    in an order drawn from the seed. With languages, "full" counts each language by its share, so that every
    language is balanced too.

    Args:
        groups: Group of each word [n_words].
        n_folds: How many folds.
        seed: Same seed and same words, same folds.
        languages: Language of each word, where there are several.

    Returns:
        Fold of each word, 0 .. n_folds - 1, [n_words] int64.

    Raises:
        UserError: There are fewer than five groups for each fold.
    """
    unique, members = np.unique(groups, return_inverse=True)
    if len(unique) < LEAST_GROUPS * n_folds:
        raise UserError(
            f"{n_folds} folds must have at least {LEAST_GROUPS} word families each, got {len(unique)} "
            f"families in {len(groups)} words for all of them. Give more rated words or fewer folds."
        )
    codes = np.zeros(len(groups), dtype=np.int64)
    if languages is not None:
        codes = np.unique(np.asarray(languages), return_inverse=True)[1]
    counts = np.zeros((len(unique), int(codes.max()) + 1))
    np.add.at(counts, (members, codes), 1.0)
    sizes = counts.sum(axis=1)
    order = np.random.default_rng(seed).permutation(len(unique))
    order = order[np.argsort(-sizes[order], kind="stable")]
    place = np.empty(len(unique), dtype=np.int64)
    if counts.shape[1] == 1:
        heap = [(0.0, fold) for fold in range(n_folds)]
        for group in order:
            filled, fold = heap[0]
            place[group] = fold
            heapq.heapreplace(heap, (filled + sizes[group], fold))
    else:
        _place_by_language(place, order, counts, n_folds)
    if sizes.max() > 2 * len(groups) / n_folds:
        log.warning(
            "one word family holds %d of %d words: the folds are uneven", int(sizes.max()), len(groups)
        )
    return place[members]


def _place_by_language(place: np.ndarray, order: np.ndarray, counts: np.ndarray, n_folds: int) -> None:
    """Put each group into the fold that lacks its languages most, then into that with fewest words."""
    share = counts / counts.sum(axis=0)
    load = np.zeros((n_folds, counts.shape[1]))
    filled = np.zeros(n_folds)
    for group in order:
        present = np.flatnonzero(counts[group])
        fullness = load[:, present] @ share[group, present]
        fold = int(np.lexsort((filled, np.round(fullness, 12)))[0])
        place[group] = fold
        load[fold] += share[group]
        filled[fold] += counts[group].sum()


def exclude_words(
    table: pl.DataFrame, groups: np.ndarray, exclude: pl.DataFrame | Iterable[str]
) -> np.ndarray:
    """Mark the words that stay when the words that chose the features leave.

    A word leaves with its whole group, as it stays whole in the folds: *joyful* goes with *joy*.

    Args:
        table: The rated words, with `word` and `language`.
        groups: Group of each word [n_words].
        exclude: Words, matched in every language, or a table with `word` and, if it has one, `language`.
            Capitals are ignored.

    Returns:
        True for the words that stay, [n_words].
    """
    words = [word.casefold().strip() for word in table["word"].to_list()]
    if isinstance(exclude, pl.DataFrame):
        if "word" not in exclude.columns:
            raise UserError(
                f"The words to exclude must have a column 'word', got {exclude.columns!r}. Rename the column."
            )
        known = [word.casefold().strip() for word in exclude["word"].to_list()]
        if "language" in exclude.columns:
            pairs = set(zip(known, exclude["language"].to_list(), strict=True))
            hit = np.array(
                [pair in pairs for pair in zip(words, table["language"].to_list(), strict=True)], dtype=bool
            )
            return ~np.isin(groups, groups[hit])
    else:
        known = [str(word).casefold().strip() for word in exclude]
    chosen = set(known)
    hit = np.array([word in chosen for word in words], dtype=bool)
    return ~np.isin(groups, groups[hit])
