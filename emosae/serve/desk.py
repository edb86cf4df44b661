"""The desk itself: one lens, what a page asks of it, and what it tells the page while it works."""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.serve.line import Job
from emosae.serve.moved import Mover
from emosae.serve.plans import Planner
from emosae.serve.python import python_lines
from emosae.serve.stream import Ears, Pieces, Stop, prompt_pieces
from emosae.steering.generate import Written, write

if TYPE_CHECKING:
    from emosae.config import Config
    from emosae.lens import Lens
    from emosae.serve.measures import Measures
    from emosae.serve.wish import Wish
    from emosae.steering.plan import Plan

__all__ = ["Desk"]

_EVERY = 16  # tokens between two readings of the trace, each of which reads all of it
_KEPT = 32  # unsteered texts


class Desk:
    """Does what pages ask for, one thing at a time.

    Args:
        lens: The lens.
        config: The study.
        measures: What measures texts.
    """

    def __init__(self, lens: Lens, config: Config, measures: Measures) -> None:
        self.lens, self.config, self.measures = lens, config, measures
        self.planner = Planner(lens, config)
        self._mover = Mover(lens.saes, config.steering.corpus)
        self._plain: OrderedDict[Any, tuple[list[dict[str, Any]], Written]] = OrderedDict()

    def options(self, wish: Wish) -> dict[str, Any]:
        """Give the options of `generate`: the preset's sampling, or none where the likeliest token is taken."""
        if not wish.sample:
            return {"max_new_tokens": wish.new_tokens, "do_sample": False}
        drawn = {**self.config.steering.decoding, "do_sample": True, "temperature": wish.temperature}
        return {"seed": wish.seed, **drawn, "max_new_tokens": wish.new_tokens}

    def plan(self, wish: Wish, job: Job) -> None:
        """Tell the plan, as JSON and as Python, without writing a text."""
        self._tell_plan(wish, job)

    def read(self, plain: Any, job: Job) -> None:
        """Read back a plan that was saved, as what the page shows."""
        wish, note = self.planner.read(plain, self.config.serve)
        job.tell("wish", wish=wish.to_dict(), note=note)

    def generate(self, wish: Wish, job: Job) -> Future[None] | None:
        """Write both texts and measure them.

        Args:
            wish: What is asked for.
            job: Who is told.

        Returns:
            What is left once both texts are there: the emotions, which need no model.

        Raises:
            UserError: What the steering refuses, or a text too long for the model.
        """
        self._check_length(wish)
        plan = self._tell_plan(wish, job)
        written = {"unsteered": self._unsteered(wish, job)}
        if plan is not None and not job.cancelled.is_set():
            written["steered"] = self._write(wish, plan, job)
        if job.cancelled.is_set():
            job.tell("stopped")
            return None
        for side, each in written.items():
            job.tell("measures", side=side, measures=self.measures.at_once(each))
        job.tell("written")
        found = self.measures.emotion([each.texts[0] for each in written.values()])
        done: Future[None] = Future()

        def tell(labels: Future[Any]) -> None:
            if not labels.cancelled():
                for side, each in zip(written, labels.result(), strict=True):
                    job.tell("measures", side=side, measures={"emotion": each})
            done.set_result(None)

        found.add_done_callback(tell)
        return done

    def _check_length(self, wish: Wish) -> None:
        n = len(self.lens.tokenizer(wish.prompt)["input_ids"])
        most = getattr(self.lens.model.config, "max_position_embeddings", None)
        if most is not None and n + wish.new_tokens > most:
            raise UserError(
                f"Prompt and new tokens must be at most {most} tokens together, which is all that this model reads, "
                f"got {n} and {wish.new_tokens}. Shorten the prompt, or ask for fewer new tokens."
            )

    def _tell_plan(self, wish: Wish, job: Job) -> Plan | None:
        found = self.planner.plan(wish, lambda text: job.tell("status", text=text))
        lines = python_lines(self.config, wish.prompt, self.options(wish), steered=found.plan is not None)
        saved = None if found.plan is None else {**found.plan.to_dict(), "desk": wish.to_dict()}
        job.tell("plan", plan=saved, python=lines, clamps=found.table, note=found.note)
        return found.plan

    def _unsteered(self, wish: Wish, job: Job) -> Written:
        """Write the text without steering, or tell it again: it stays the same while the sliders move."""
        options = self.options(wish)
        key = (wish.prompt, tuple(sorted(options.items())))
        if key in self._plain:
            self._plain.move_to_end(key)
            events, written = self._plain[key]
            for event in events:
                job.send(event)
            return written
        events = []

        def tell(event: dict[str, Any]) -> None:
            events.append(event)
            job.send(event)

        written = self._write(wish, None, job, tell)
        if not job.cancelled.is_set():
            self._plain[key] = (events, written)
            while len(self._plain) > _KEPT:
                self._plain.popitem(last=False)
        return written

    def _write(self, wish: Wish, plan: Plan | None, job: Job, tell: Any = None) -> Written:
        lens, send = self.lens, tell or job.send
        side = "unsteered" if plan is None else "steered"
        options = self.options(wish)
        pieces = prompt_pieces(lens.tokenizer, wish.prompt)
        send({"type": "start", "side": side, "pieces": pieces, "unit": self._mover.unit})
        prompt = lens.tokenizer(wish.prompt)["input_ids"]
        spelt = Pieces(lens.tokenizer, prompt)
        told: dict[int, float] = {}
        block = nullcontext(None) if plan is None else lens.steer(plan)
        began, n_heard = time.monotonic(), 0

        def give(piece: tuple[str, list[int]] | None) -> None:
            if piece is not None:
                send({"type": "token", "side": side, "text": piece[0], "places": piece[1]})

        with warnings.catch_warnings(record=True) as said, block as applied:
            warnings.simplefilter("always", UserWarning)

            def moved() -> None:
                if applied is None:
                    return
                now = self._mover.read(applied.trace)
                new = {place: value for place, value in now.items() if told.get(place) != value}
                told.update(new)
                if new:
                    send({"type": "moved", "side": side, "moved": new})

            def heard(token: int) -> None:
                nonlocal n_heard
                n_heard += 1
                give(spelt.add(token))
                if n_heard % _EVERY == 0:
                    moved()

            written = write(
                lens.model,
                lens.tokenizer,
                [wish.prompt],
                streamer=Ears(heard),
                stopping_criteria=[Stop(job.cancelled)],
                **options,
            )
            give(spelt.rest())
            moved()
        seconds = time.monotonic() - began
        send(
            {
                "type": "text", "side": side, "full": written.full[0], "tokens": n_heard, "seconds": seconds,
                "stopped": job.cancelled.is_set(),
            }
        )  # fmt: skip
        for each in said:
            if issubclass(each.category, UserWarning):
                send({"type": "note", "side": side, "text": str(each.message)})
        return written
