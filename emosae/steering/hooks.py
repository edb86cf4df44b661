"""Points of a model at which steering acts, and the dispatcher that lets it act inside compiled models.

A hook that is registered after `torch.compile` is never called, without a word. So `prepare` registers hooks
before it that ask a slot whether anything is active. The compiled code depends on the answer: it is compiled
once more when a plan is first entered, and costs nothing while none is.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from enum import StrEnum
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from emosae.errors import UserError
from emosae.models.sites import Side, Site, Stream, locate, n_layers, text_model

__all__ = [
    "Call",
    "Point",
    "When",
    "act",
    "check_not_compiled",
    "edit_call",
    "prepare",
    "prepared_points",
    "unwrap",
]

Model = TypeVar("Model")
Call = Callable[..., Any]


class When(StrEnum):
    """Before a module runs, with its arguments, or after it, with its output."""

    BEFORE = "before"
    AFTER = "after"


Point = tuple[nn.Module, When]


class _Slot:
    """What is to be called at one point; shared by the hook that asks and the plans that answer."""

    __slots__ = ("active", "calls", "run_after", "run_before")

    def __init__(self, *, compiled: bool) -> None:
        self.active = False
        self.calls: list[Call] = []
        self.run_before: Call = self._before
        self.run_after: Call = self._after
        if compiled:  # the edit itself runs as it is written; only the question is compiled
            self.run_before = torch.compiler.disable(self._before)
            self.run_after = torch.compiler.disable(self._after)

    def add(self, call: Call) -> None:
        self.calls.append(call)
        self.active = True

    def remove(self, call: Call) -> None:
        self.calls.remove(call)
        self.active = bool(self.calls)

    def _before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = False
        for call in tuple(self.calls):
            if (new := call(args, kwargs)) is not None:
                (args, kwargs), changed = new, True
        return (args, kwargs) if changed else None

    def _after(self, output: Any) -> Any:
        changed = False
        for call in tuple(self.calls):
            if (new := call(output)) is not None:
                output, changed = new, True
        return output if changed else None


# The slots of models that were prepared, by the module's identity and the side of it.
_PREPARED: weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, When], _Slot]] = weakref.WeakKeyDictionary()


def prepare(model: Model, sites: Iterable[Site | str] | None = None) -> Model:
    """Make a model ready to be steered after it is compiled.

    Call it before `torch.compile`. Doing it twice does no harm. A model that is never compiled needs none of
    it.

    Args:
        model: A transformers model that is not compiled yet.
        sites: Where it will be steered; None means everywhere that can be written to, at the cost of a
            question to each such place in every forward pass that is not compiled.

    Returns:
        The model, with hooks that do nothing until a plan is entered.

    Raises:
        UserError: The model is compiled already, or has no such site.

    Example:
        >>> import emosae, torch
        >>> model = torch.compile(emosae.prepare(model))  # doctest: +SKIP
    """
    if compiled_part(model) is not None:
        raise UserError(
            "A model must be prepared before it is compiled, got a compiled one, whose later hooks are never called. "
            "Call emosae.prepare(model) on the model as it was loaded, then torch.compile."
        )
    root = unwrap(model)
    slots = _PREPARED.setdefault(root, {})
    for module, when in [*frame_points(root), *_site_points(root, sites)]:
        key = (id(module), when)
        if key not in slots:
            slots[key] = _Slot(compiled=True)
            _register(module, when, slots[key])
    return model


def prepared_points(model: Any) -> Callable[[Point], bool]:
    """Give a test of whether a point of the model was prepared."""
    slots = _PREPARED.get(unwrap(model), {})
    return lambda point: (id(point[0]), point[1]) in slots


def act(model: Any, point: Point, call: Call, stack: ExitStack) -> None:
    """Let something act at a point until the stack is closed.

    Args:
        model: The model that the point is of.
        point: Where.
        call: For `before`: takes args and kwargs, gives new ones or None; for `after`: takes the output,
            gives a new one or None.
        stack: What takes it away.
    """
    module, when = point
    slot = _PREPARED.get(unwrap(model), {}).get((id(module), when))
    if slot is None:
        slot = _Slot(compiled=False)
        stack.callback(_register(module, when, slot).remove)
    slot.add(call)
    stack.callback(slot.remove, call)


def edit_call(side: Side, edit: Callable[[Tensor], Tensor | None], path: str) -> tuple[When, Call]:
    """Turn an edit of a hidden state into a call for the side of the module that carries it.

    Args:
        side: The side.
        edit: Takes the hidden state, gives a new one, or None to leave it.
        path: The module's name, for the message.

    Raises:
        UserError: When it runs: the module's input or output does not begin with a tensor.
    """

    def before(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            new = edit(_tensor(args[0], side, path))
            return None if new is None else ((new, *args[1:]), kwargs)
        new = edit(_tensor(kwargs.get("hidden_states"), side, path))
        return None if new is None else (args, kwargs | {"hidden_states": new})

    def after(output: Any) -> Any:
        if isinstance(output, Tensor):
            return edit(output)
        led = isinstance(output, tuple | list) and len(output) > 0
        new = edit(_tensor(output[0] if led else None, side, path))
        if new is None:
            return None
        return [new, *output[1:]] if isinstance(output, list) else (new, *output[1:])

    return (When.BEFORE, before) if side is Side.INPUT else (When.AFTER, after)


def frame_points(root: nn.Module) -> list[Point]:
    """Give the points that say when a forward pass begins and ends: the model and its text tower."""
    base = text_model(root)
    modules = [root] if base is root else [root, base]
    return [(module, when) for module in modules for when in When]


def unwrap(model: Any) -> nn.Module:
    """Give the module under torch.compile's wrapper."""
    return getattr(model, "_orig_mod", model)


def compiled_part(model: Any) -> str | None:
    """Name the first part of a model that was compiled; None if none is."""
    if hasattr(model, "_orig_mod"):
        return "the model"
    for name, module in unwrap(model).named_modules():
        own = module.__dict__.get("forward")
        if getattr(module, "_compiled_call_impl", None) is not None or hasattr(
            own, "_torchdynamo_orig_callable"
        ):
            return f"the module {name!r}" if name else "the model"
        if hasattr(module, "_orig_mod"):
            return f"the module {name!r}"
    return None


def check_not_compiled(model: Any, points: Iterable[Point]) -> None:
    """Make sure that hooks at some points will be called.

    Raises:
        UserError: The model is compiled, and was not prepared there.
    """
    ready = prepared_points(model)
    if all(ready(point) for point in points):
        return
    if (part := compiled_part(model)) is not None:
        raise UserError(
            f"A compiled model must be prepared before it is compiled, got one of which {part} was compiled "
            "unprepared; its steering would do nothing. Call emosae.prepare(model), with the site to be "
            "steered, before torch.compile."
        )


def _site_points(root: nn.Module, sites: Iterable[Site | str] | None) -> list[Point]:
    points: dict[tuple[int, When], Point] = {}
    wanted: list[Site] = []
    if sites is None:
        streams = [stream for stream in Stream if stream is not Stream.EMBED]
        wanted = [Site(layer, stream) for layer in range(n_layers(root)) for stream in streams]
    else:
        wanted = [Site.parse(site) if isinstance(site, str) else site for site in sites]
    for site in wanted:
        try:
            place = locate(root, site)
        except UserError:
            if sites is not None:
                raise
            continue  # not every architecture has every stream
        when = When.BEFORE if place.reads is Side.INPUT else When.AFTER
        points[id(place.module), when] = (place.module, when)
    return list(points.values())


def _register(module: nn.Module, when: When, slot: _Slot) -> Any:
    if when is When.BEFORE:

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return slot.run_before(args, kwargs) if slot.active else None

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        return slot.run_after(output) if slot.active else None

    return module.register_forward_hook(after)


def _tensor(value: Any, side: Side, path: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise UserError(
            f"The {side.value} of {path!r} must begin with a tensor to be steered, got {type(value).__name__}. "
            "Steer another stream of that layer."
        )
    return value
