"""Finding out the language of words by the script they are written in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from emosae.norms.entry import Script
from emosae.norms.headers import LANGUAGE_NAMES, header_tokens

__all__ = ["guess_language"]

_SCRIPTS = {
    "kana": re.compile(r"[\u3040-\u30ff]"),  # before han: Japanese words mix the two
    "Hangul": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]"),
    "han": re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002ffff]"),
    "Greek": re.compile(r"[\u0370-\u03ff]"),
    "Cyrillic": re.compile(r"[\u0400-\u052f]"),
    "Armenian": re.compile(r"[\u0530-\u058f]"),
    "Hebrew": re.compile(r"[\u0590-\u05ff]"),
    "Arabic": re.compile(r"[\u0600-\u06ff\u0750-\u077f]"),
    "Devanagari": re.compile(r"[\u0900-\u097f]"),
    "Thai": re.compile(r"[\u0e00-\u0e7f]"),
    "Georgian": re.compile(r"[\u10a0-\u10ff]"),
    "Latin": re.compile(r"[A-Za-z\u00c0-\u024f]"),
}
_ONE_LANGUAGE = {
    "Hangul": "ko",
    "Greek": "el",
    "Armenian": "hy",
    "Hebrew": "he",
    "Thai": "th",
    "Georgian": "ka",
}


def guess_language(words: Sequence[str], header: str) -> tuple[str, Script | None, str]:
    """Find the language of words by their script, or by a header that names it.

    Args:
        words: The words.
        header: Header of their column.

    Returns:
        ISO 639 code (empty where the script belongs to many languages), Chinese script, the reason in words.

    Example:
        >>> guess_language(["쾌활하다", "전기"], "word")
        ('ko', None, 'Hangul')
    """
    named = next((LANGUAGE_NAMES[token] for token in header_tokens(header) if token in LANGUAGE_NAMES), "")
    counts = Counter(script for word in words if (script := _script(word)))
    main = max(counts, key=lambda script: counts[script], default="no")
    if counts["kana"] > 0.05 * len(words):
        return "ja", None, "kana"
    if main == "han":
        chinese = _chinese_script(words)
        return named or "zh", chinese, f"{chinese.value + ' ' if chinese else ''}Chinese characters"
    if main in _ONE_LANGUAGE:
        return _ONE_LANGUAGE[main], None, main
    if named:
        return named, None, f"the header {header!r}"
    return "", None, f"{main} letters, which many languages use"


def _script(word: str) -> str:
    return next((name for name, pattern in _SCRIPTS.items() if pattern.search(word)), "")


def _chinese_script(words: Sequence[str]) -> Script | None:
    """Tell simplified from traditional: which characters only the one or the other national encoding has."""
    characters = set("".join(words))
    simplified = sum(_in(char, "gb2312") and not _in(char, "big5") for char in characters)
    traditional = sum(_in(char, "big5") and not _in(char, "gb2312") for char in characters)
    if simplified == traditional:
        return None
    return Script.simplified if simplified > traditional else Script.traditional


def _in(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
