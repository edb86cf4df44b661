"""Words that several sections share: what an interval is, and how many there are of what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emosae.report.source import Run, part
from emosae.report.text import MINUS, count, number

if TYPE_CHECKING:
    from emosae.report.bars import Bar, Panel
    from emosae.report.curves import CurvePanel

__all__ = ["bars_in_words", "counted", "curves_in_words", "interval_name", "minus", "range_of"]


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


def bars_in_words(panels: Sequence[Panel], digits: int = 3, mark: str = "") -> str:
    """Say what bars show, for those who do not see them.

    Args:
        panels: The panels.
        digits: Decimals of a value.
        mark: What the bars' marks are called; empty leaves them out.

    Example:
        >>> from emosae.report.bars import Bar, Panel
        >>> bars_in_words([Panel(title="Joy", bars=[Bar(name="a", role="features", value=0.5)], axis="r")], 2)
        'Joy: a 0.50'
    """

    def said(bar: Bar) -> str:
        return f"{bar.name} {number(bar.value, digits)}" + (
            f", {mark} {number(bar.mark, digits)}" if mark else ""
        )

    return "; ".join(f"{panel.title}: {', '.join(map(said, panel.bars))}" for panel in panels)


def curves_in_words(panels: Sequence[CurvePanel]) -> str:
    """Say what curves show, point by point."""
    return "; ".join(
        f"{panel.title}: "
        + ", ".join(f"{curve.name} {' to '.join(map(number, curve.y))}" for curve in panel.curves)
        for panel in panels
    )
