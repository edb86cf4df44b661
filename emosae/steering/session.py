"""One model while it is steered: who owns it, which forward pass runs, and what `generate` was asked."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from emosae.errors import UserError
from emosae.steering.forward import CallReader, Forward, GenerateCall
from emosae.steering.hooks import When, act, check_not_compiled, frame_points, prepared_points, unwrap

__all__ = ["Session"]

_SESSIONS: weakref.WeakKeyDictionary[nn.Module, Session] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


class _Local(threading.local):
    """What each thread that runs the model has of its own."""

    def __init__(self) -> None:
        self.forward: Forward | None = None
        self.begun_by: nn.Module | None = None
        self.reached = False
        self.calls: list[GenerateCall] = []


class Session:
    """What all plans that are active on a model share; made by the first, gone with the last.

    Hooks act in every thread of the process, so a model has one owner at a time. Other threads may run the
    model (a streamer's generation does), each with a record of its own.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = weakref.ref(root)
        self._owner = threading.get_ident()
        self._depth = 0
        self._local = _Local()
        self._numbers = itertools.count()
        self._idle = threading.Condition()
        self._running: dict[int, int] = {}
        self._unprepared = 0
        self._stack = ExitStack()

    @classmethod
    @contextmanager
    def of(cls, model: Any) -> Iterator[Session]:
        """Take part in the session of a model for the length of a block.

        Raises:
            UserError: Another thread steers the model.
        """
        root = unwrap(model)
        with _LOCK:
            session = _SESSIONS.get(root)
            if session is None:
                session = cls(root)
                session._install(root)
                _SESSIONS[root] = session
            elif session._owner != threading.get_ident():
                raise UserError(
                    "A model must be steered by one thread at a time, got a second that enters a plan on it; its "
                    "hooks act in every thread. Wait until the first has left its steer block, or load the model twice."
                )
            session._depth += 1
        try:
            yield session
        finally:
            with _LOCK:
                session._depth -= 1
                if not session._depth:
                    del _SESSIONS[root]
                    session._stack.close()

    def current(self, hidden: Tensor, path: str) -> Forward:
        """Give the forward pass that runs in this thread.

        Args:
            hidden: The hidden state that is to be steered.
            path: The module it is at, for the message.

        Raises:
            UserError: None runs, or the hidden state has other rows or tokens than the model was given.
        """
        forward = self._local.forward
        if forward is None:
            raise UserError(
                f"The module {path!r} is steered, so it must run within its model, got a call of its own. "
                "Call the model, or leave the steer block first."
            )
        if hidden.ndim != 3 or hidden.shape[:2] != (forward.n_rows, forward.n_tokens):
            raise UserError(
                f"The activation at {path!r} must be {forward.n_rows} rows x {forward.n_tokens} tokens x width to be "
                f"steered, got {tuple(hidden.shape)}. Steer another stream of that layer."
            )
        return forward

    @contextmanager
    def without_compile(self) -> Iterator[None]:
        """Keep `generate` from compiling the model by itself, for the length of a block."""
        self._unprepared += 1
        try:
            yield
        finally:
            self._unprepared -= 1

    def wait(self) -> None:
        """Wait until no other thread generates: its text would end unsteered."""
        own = threading.get_ident()
        with self._idle:
            self._idle.wait_for(lambda: not any(thread != own for thread in self._running))

    def _install(self, root: nn.Module) -> None:
        with ExitStack() as stack:
            points = frame_points(root)
            check_not_compiled(root, points)
            if not all(map(prepared_points(root), points)):
                self._unprepared += 1
            for module, when in points:
                call = (
                    functools.partial(self._begin, module, CallReader(module.forward))
                    if when is When.BEFORE
                    else functools.partial(self._end, module)
                )
                act(root, (module, when), call, stack)
            for name, make in _WRAPPERS.items():
                if callable(getattr(root, name, None)):
                    _override(root, name, make(self, getattr(root, name)), stack)
            self._stack = stack.pop_all()

    def _begin(
        self, module: nn.Module, reader: CallReader, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        local, root = self._local, self._root()
        inner = module is not root
        if inner and local.forward is not None and local.begun_by is root and not local.reached:
            local.reached = True  # the model's own call of its text tower: the ids are known already
            return
        call = local.calls[-1] if local.calls else None
        local.forward = reader.read(next(self._numbers), args, kwargs, call)
        local.begun_by, local.reached = module, inner

    def _end(self, module: nn.Module, _output: Any) -> None:
        if self._local.begun_by is module:
            self._local.forward = self._local.begun_by = None

    @contextmanager
    def _generating(self, call: GenerateCall) -> Iterator[None]:
        calls, thread = self._local.calls, threading.get_ident()
        # Early-exit drafts call generate from inside generate, on the same text.
        calls.append(calls[-1] if calls else call)
        with self._idle:
            self._running[thread] = self._running.get(thread, 0) + 1
        try:
            yield
        finally:
            calls.pop()
            self._local.forward = None
            with self._idle:
                self._running[thread] -= 1
                if not self._running[thread]:
                    del self._running[thread]
                self._idle.notify_all()


def _generate(session: Session, original: Any) -> Any:
    @functools.wraps(original)
    def generate(*args: Any, **kwargs: Any) -> Any:
        if session._unprepared:
            kwargs["disable_compile"] = True  # a model compiled now would go on without the hooks
        with session._generating(_call_of(args, kwargs)):
            return original(*args, **kwargs)

    return generate


def _prepare_inputs(session: Session, original: Any) -> Any:
    @functools.wraps(original)
    def prepare_inputs_for_generation(*args: Any, **kwargs: Any) -> Any:
        if session._local.calls:
            # Static caches get a mask of four dimensions in the model; here it still has two.
            call = session._local.calls[-1]
            call.mask, call.ready = kwargs.get("attention_mask"), True
        return original(*args, **kwargs)

    return prepare_inputs_for_generation


def _generate_batch(_session: Session, original: Any) -> Any:
    @functools.wraps(original)
    def generate_batch(*_args: Any, **_kwargs: Any) -> Any:
        raise UserError(
            "Continuous batching packs many texts into one row, in which emosae cannot tell them apart. Use "
            "model.generate without a paged cache inside a steer block."
        )

    return generate_batch


_WRAPPERS = {
    "generate": _generate,
    "prepare_inputs_for_generation": _prepare_inputs,
    "generate_batch": _generate_batch,
}


def _call_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> GenerateCall:
    """Read the prompt's shape off the arguments of `generate`."""
    shown = next(
        (
            given
            for given in (
                kwargs.get("inputs_embeds"),
                args[0] if args else kwargs.get("inputs"),
                kwargs.get("input_ids"),
            )
            if isinstance(given, Tensor) and given.ndim >= 2
        ),
        None,
    )
    mask = kwargs.get("attention_mask")
    if shown is None:  # generation starts from a BOS of its own
        return GenerateCall(prompt_columns=1, n_sources=1)
    # With a cache the ids may be the new ones alone; the mask covers all.
    columns = mask.shape[1] if isinstance(mask, Tensor) and mask.ndim == 2 else shown.shape[1]
    return GenerateCall(prompt_columns=int(columns), n_sources=int(shown.shape[0]))


def _override(root: nn.Module, name: str, wrapper: Any, stack: ExitStack) -> None:
    """Put a function before a method of one instance, and give what was there back at the end."""
    own = root.__dict__
    had, before = name in own, own.get(name)
    own[name] = wrapper

    def restore() -> None:
        if had:
            own[name] = before
        else:
            own.pop(name, None)

    stack.callback(restore)
