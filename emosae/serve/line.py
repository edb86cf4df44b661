"""The waiting line: jobs are done one after another by one thread, so that two pages never mix on one model."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from emosae.errors import UserError

__all__ = ["FullError", "Job", "Line"]

log = logging.getLogger(__name__)

Event = Mapping[str, Any]
Work = Callable[["Job"], "Future[None] | None"]


class FullError(UserError):
    """The line is full."""


@dataclass(eq=False, kw_only=True, slots=True)
class Job:
    """One thing that a page asked for.

    Attributes:
        work: What is to be done; it may give a future of what comes afterwards and does not need the model.
        send: Takes what is found, one event at a time, and None at the end; called from several threads.
        name: What the page calls it by; no other page can guess it.
        cancelled: Set when nobody wants it any more.
    """

    work: Work
    send: Callable[[Event | None], None]
    name: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    cancelled: threading.Event = field(default_factory=threading.Event)

    def tell(self, kind: str, **values: Any) -> None:
        """Send one event."""
        self.send({"type": kind, **values})

    def end(self, _rest: Any = None) -> None:
        """Say that nothing more comes."""
        self.send(None)


class Line:
    """Jobs in the order in which they came, and the thread that does them.

    Args:
        most: How many may wait behind the one that is being done.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="emosae-desk", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Take a job in.

        Raises:
            FullError: As many as may wait are waiting.
        """
        with self._changed:
            if len(self._waiting) >= self._most + (self._running is None):
                raise FullError(
                    f"{len(self._waiting)} texts are waiting already, which is as many as may. Try again in a moment, "
                    "or start the desk with a larger serve.queue."
                )
            self._waiting.append(job)
            self._announce()
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Let a job go: one that waits leaves the line, the running one stops at its next token."""
        job.cancelled.set()
        with self._changed:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
            self._announce()
        job.end()

    def close(self) -> None:
        """Let all jobs go and wait for the thread."""
        with self._changed:
            self._closed = True
            left = [*self._waiting, *([self._running] if self._running else [])]
            self._changed.notify()
        for job in left:
            self.cancel(job)
        self._thread.join(timeout=10)

    def _announce(self) -> None:
        for place, job in enumerate(self._waiting):
            job.tell("queued", ahead=place + (self._running is not None))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting)
                if self._closed:
                    return
                job = self._running = self._waiting.popleft()
                self._announce()
            rest = None
            try:
                rest = job.work(job)
            except UserError as error:
                job.tell("error", text=" ".join(str(error).split()))
            except Exception as error:  # the page is told, and the line goes on with the next
                log.exception("the desk could not do what a page asked for")
                job.tell(
                    "error",
                    text=f"emosae met a fault of its own ({type(error).__name__}: {error}). The terminal says where.",
                )
            finally:
                with self._changed:
                    self._running = None
            if rest is None:
                job.end()
            else:
                rest.add_done_callback(job.end)
