"""Words that several sections share: what an interval is, and how many there are of what."""

from __future__ import annotations

from emosae.report.source import Run, part
from emosae.report.text import MINUS, count

__all__ = ["counted", "interval_name", "minus", "range_of"]


def interval_name(run: Run, stage: str, over: str) -> str:
    """Name the intervals of a stage, with their coverage where the settings hold it.

    Args:
        run: The run.
        stage: `geometry` or `ratings`.
        over: What was resampled, for instance `emotions`.
    """
    level = part(run.config, stage).get("confidence")
    share = f"{level:.0%} interval" if isinstance(level, float) else "interval"
    return f"{share} over {over}"


def counted(n: object, noun: str, nouns: str = "") -> str:
    """Return a number with its noun, nothing where the number is not known.

    Example:
        >>> counted(1, "rater"), counted(2000, "word"), counted(None, "word")
        ('1 rater', '2,000 words', '')
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        return ""
    return f"{count(n)} {noun if n == 1 else nouns or noun + 's'}"


def range_of(numbers: list[int], noun: str, nouns: str = "") -> str:
    """Return how many of what, a range where the numbers differ, nothing where there are none.

    Example:
        >>> range_of([27, 27], "emotion"), range_of([480, 551], "word")
        ('27 emotions', '480 to 551 words')
    """
    known = [n for n in numbers if isinstance(n, int)]
    if not known:
        return ""
    low, high = min(known), max(known)
    return counted(high, noun, nouns) if low == high else f"{count(low)} to {counted(high, noun, nouns)}"


def minus(a: str, b: str) -> str:
    """Return a difference as a label."""
    return f"{a} {MINUS} {b}"
