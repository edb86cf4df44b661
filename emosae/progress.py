"""Progress of long work: a bar in a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]

log = logging.getLogger(__name__)
_EVERY_S = 15.0  # between two log lines


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a piece of work is.

    Args:
        what: What is being done, in plain words.
        total: Number of units of work.

    Yields:
        A function to call with the number of units just done.

    Example:
        >>> with progress("reading words", 2) as step:
        ...     step(1)
        ...     step(1)
    """
    if sys.stderr.isatty() and total:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda n: bar.update(task, advance=n)
        return
    started = last = time.monotonic()
    done = 0

    def step(n: int) -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= _EVERY_S and done < total:
            last = now
            left_s = (now - started) / done * (total - done)
            log.info("%s: %d of %d, about %.0f s left", what, done, total, left_s)

    yield step
