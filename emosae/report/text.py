"""Words and numbers as the report shows them: cleaned, shortened, and never invented."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = [
    "MINUS",
    "NOT_COMPUTED",
    "clean",
    "concept_name",
    "count",
    "interval",
    "number",
    "p_value",
    "plain",
    "shorten",
    "words_of",
]

NOT_COMPUTED = "not computed"
MINUS = "\u2212"

# Characters that are not allowed in HTML and XML, and the controls that would reorder the text around a word.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def clean(text: object) -> str:
    r"""Return text that can stand in HTML and SVG: what may not stand there becomes U+FFFD.

    Markup is not escaped here; the template and the figures do that. Control characters, lone surrogates and
    the invisible characters that turn the direction of the text after them are replaced.

    Example:
        >>> clean("a\x00b")
        'a�b'
    """
    return _FORBIDDEN.sub("\ufffd", str(text))


def shorten(text: object, most: int = 60) -> str:
    """Return cleaned text on one line, at most `most` characters long, an ellipsis where something was cut.

    Example:
        >>> shorten("abcdefgh", most=5)
        'abcd…'
    """
    line = " ".join(clean(text).split()) or "(empty)"
    return line if len(line) <= most else line[: most - 1] + "…"


def number(value: object, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals, `not computed` for None and NaN.

    Example:
        >>> number(0.7215), number(None), number(-0.5, 2)
        ('0.722', 'not computed', '−0.50')
    """
    if value is None or isinstance(value, str) or not math.isfinite(float(value)):  # type: ignore[arg-type]
        return NOT_COMPUTED
    text = f"{float(value):.{digits}f}"  # type: ignore[arg-type]
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def count(value: object) -> str:
    """Return a whole number with thousands marked, `not computed` for None and NaN.

    Example:
        >>> count(13915)
        '13,915'
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_COMPUTED
    return f"{int(value):,}".replace("-", MINUS)  # type: ignore[call-overload]


def interval(low: object, high: object, digits: int = 3) -> str:
    """Return an interval, `not computed` where an end is missing.

    Example:
        >>> interval(0.1, 0.25, 2)
        '0.10 to 0.25'
    """
    ends = number(low, digits), number(high, digits)
    return NOT_COMPUTED if NOT_COMPUTED in ends else f"{ends[0]} to {ends[1]}"


def p_value(value: object) -> str:
    """Return a p-value with as many digits as mean something.

    Example:
        >>> p_value(0.0312), p_value(0.00004)
        ('0.031', '4.0e−05')
    """
    if value is None or not math.isfinite(float(value)):  # type: ignore[arg-type]
        return NOT_COMPUTED
    p = float(value)  # type: ignore[arg-type]
    return number(p) if p >= 0.001 or p == 0 else f"{p:.1e}".replace("-", MINUS)


def plain(value: Any) -> str:
    """Return a value of the manifest as a person would write it.

    Example:
        >>> plain(["en", "zh"]), plain(True), plain(None)
        ('en, zh', 'yes', 'none')
    """
    if value is None or (isinstance(value, (list, dict)) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", MINUS)
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(each) for each in value)
    if isinstance(value, dict):
        return "; ".join(f"{words_of(key)}: {plain(each)}" for key, each in value.items())
    return clean(value)


def concept_name(concept: object, most: int = 40) -> str:
    """Return a concept's key as a figure or a table shows it.

    Example:
        >>> concept_name("sexual_desire")
        'sexual desire'
    """
    return shorten(words_of(concept), most)


def words_of(name: object) -> str:
    """Return a column's or setting's name as words.

    Example:
        >>> words_of("mean_difference")
        'mean difference'
    """
    return clean(name).replace("_", " ")
