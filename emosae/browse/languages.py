"""Which languages fire a feature, as far as writing systems tell them apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from emosae.browse.collect import Collected

__all__ = ["Rates", "language_rates", "name_scripts"]

_SCRIPTS = {
    "CJK": ("zh",),
    "HIRAGANA": ("ja",),
    "KATAKANA": ("ja",),
    "HANGUL": ("ko",),
    "CYRILLIC": ("ru", "uk", "bg", "sr", "be", "kk"),
    "ARABIC": ("ar", "fa", "ur"),
    "DEVANAGARI": ("hi", "mr", "ne"),
    "GREEK": ("el",),
    "HEBREW": ("he",),
    "THAI": ("th",),
    "ARMENIAN": ("hy",),
    "GEORGIAN": ("ka",),
}
_ALONE = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "GREEK", "HEBREW", "THAI", "ARMENIAN", "GEORGIAN"}
_LEAST_SHARE = 0.02  # of a corpus' tokens; a language with fewer is met by chance
_MAIN = 0.5  # a feature is one of a language where it fires at least half as often as in its main one


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rates:
    """How features fire in each language.

    Attributes:
        names: The languages.
        share: Share of each feature's active tokens, those without letters left out, `[n, languages]`.
        rate: Share of each language's tokens on which each feature is active, `[n, languages]`.
        counted: Whether the corpus has enough of a language to compare it, `[languages]`.
    """

    names: list[str]
    share: np.ndarray
    rate: np.ndarray
    counted: np.ndarray

    def card(self, row: int) -> list[tuple[str, float, float]]:
        """List language, share and rate of one feature, the largest share first."""
        order = np.argsort(-self.share[row], kind="stable")
        return [
            (self.names[at], float(self.share[row, at]), float(self.rate[row, at]))
            for at in order.tolist()
            if self.share[row, at] > 0
        ]

    def universality(self, row: int) -> float | None:
        """Smallest rate over the languages divided by the largest; None where it means nothing."""
        rate = self.rate[row, self.counted]
        return float(rate.min() / rate.max()) if len(rate) > 1 and rate.max() > 0 else None

    def main(self, row: int) -> list[int]:
        """Which languages a feature is one of: those in which it fires at least half as often as in its first."""
        rate = np.where(self.counted, self.rate[row], 0.0)
        if not len(rate) or rate.max() <= 0:
            return []
        return np.flatnonzero(rate >= _MAIN * rate.max()).tolist()


def name_scripts(scripts: Sequence[str], languages: Sequence[str]) -> list[str]:
    """Name writing systems by the language that is meant, where there is one.

    Args:
        scripts: Unicode's names.
        languages: Languages of the study; the only one in a script is the one meant.

    Example:
        >>> name_scripts(["LATIN", "CJK", "CYRILLIC"], ["en", "zh"])
        ['en', 'zh', 'Cyrillic script']
    """
    named = []
    for script in scripts:
        own = [language for language in languages if _writes(language, script)]
        if len(own) == 1:
            named.append(own[0])
        elif not own and script in _ALONE:
            named.append(_SCRIPTS[script][0])
        else:
            named.append(f"{script.capitalize()} script")
    return named


def language_rates(collected: Collected, names: list[str]) -> Rates:
    """Count by language; scripts of one language (kana) are taken together."""
    languages = list(dict.fromkeys(names))
    belongs = np.array([[name == language for language in languages] for name in names], dtype=float)
    belongs = belongs.reshape(len(names), len(languages))
    active = collected.script_active @ belongs
    tokens = collected.script_tokens @ belongs
    return Rates(
        names=languages,
        share=active / np.maximum(active.sum(axis=1, keepdims=True), 1),
        rate=active / np.maximum(tokens, 1),
        counted=tokens >= _LEAST_SHARE * max(tokens.sum(), 1),
    )


def _writes(language: str, script: str) -> bool:
    """Say whether a language is written in a script; one that is listed nowhere is taken to be in Latin letters."""
    code = re.split("[-_]", language, maxsplit=1)[0]
    if script == "LATIN":
        return all(code not in codes for codes in _SCRIPTS.values())
    return code in _SCRIPTS.get(script, ())
