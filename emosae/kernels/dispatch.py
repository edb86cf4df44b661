"""Which implementation runs: chosen at each call from its tensors, and recorded.

Nothing is chosen at import. A backend that the caller names works or raises; it is never replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from emosae.errors import UserError, unknown_name

__all__ = ["Backend", "Ran", "choose", "last_backend", "note", "record_backends", "run", "use_backend"]

Result = TypeVar("Result")
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Backend(StrEnum):
    """An implementation of the operations of this package."""

    REFERENCE = "reference"
    """The specification, on any device."""
    TORCH = "torch"
    """torch's own operators: `embedding_bag` and small products. What a CPU uses."""
    TRITON = "triton"
    """Our kernels: a GPU, or a CPU through Triton's interpreter where TRITON_INTERPRET=1."""


class Ran(NamedTuple):
    """One call: what was asked for, and what did it."""

    operation: str
    backend: Backend


class _Notes(threading.local):
    def __init__(self) -> None:
        self.last: dict[str, Backend] = {}
        self.open: list[list[Ran]] = []
        self.wanted: Backend | None = None


_notes = _Notes()


def choose(
    operation: str,
    requested: Backend | str | None,
    tensors: tuple[Tensor | None, ...],
    *,
    obstacle: str | None = None,
) -> Backend:
    """Choose the backend of a call.

    Args:
        operation: What is called, for messages.
        requested: What the caller asked for; None takes what `use_backend` asks for, or leaves the choice here:
            Triton on a GPU where it can, torch otherwise.
        tensors: The tensors of the call.
        obstacle: Why Triton cannot do this call, if the operation knows a reason; the end of a sentence
            that begins "the triton backend needs".

    Raises:
        UserError: An unknown name, tensors on different devices, or a backend that cannot do the call.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    devices = {tensor.device for tensor in present}
    if len(devices) > 1:
        named = " and ".join(sorted(map(str, devices)))
        raise UserError(f"The tensors of {operation} must be on one device, got {named}. Move them.")
    requested = _notes.wanted if requested is None else _named(requested)
    if requested is not None and requested is not Backend.TRITON:
        return requested
    on_gpu = present[0].device.type == "cuda"
    if requested is None and not on_gpu:
        return Backend.TORCH
    missing = _missing(present, on_gpu) or obstacle
    if missing is None:
        return Backend.TRITON
    if requested is None:
        return Backend.TORCH
    raise UserError(
        f"For this call of {operation} the triton backend needs {missing}. "
        "Use backend='torch', or leave backend out."
    )


def _named(backend: Backend | str) -> Backend:
    try:
        return Backend(backend)
    except ValueError:
        raise unknown_name("backend", str(backend), [each.value for each in Backend]) from None


@contextmanager
def use_backend(backend: Backend | str) -> Iterator[None]:
    """Let calls that name no backend use this one inside the context, in this thread.

    It works or raises, as a backend that is named in the call. The clamps of `emosae.steer` follow it too.

    Args:
        backend: `reference`, `torch` or `triton`.

    Raises:
        UserError: An unknown name.
    """
    before, _notes.wanted = _notes.wanted, _named(backend)
    try:
        yield
    finally:
        _notes.wanted = before


def _missing(tensors: list[Tensor], on_gpu: bool) -> str | None:
    """Say what Triton lacks for these tensors."""
    if find_spec("triton") is None:
        return "the package triton, which is not installed"
    if not on_gpu and not _interpreted():
        return "tensors on a GPU, or TRITON_INTERPRET=1 in the environment before Python starts"
    wrong = {str(t.dtype) for t in tensors if t.is_floating_point() and t.dtype not in TRITON_DTYPES}
    return f"float32, bfloat16 or float16, not {', '.join(sorted(wrong))}" if wrong else None


@cache
def _interpreted() -> bool:
    """Whether our kernels were made for the interpreter; the kernel itself knows, the environment may lie."""
    from emosae.kernels import triton_decode

    return triton_decode.INTERPRETED


def note(operation: str, backend: Backend) -> None:
    """Record what ran, for `last_backend` and `record_backends` in this thread."""
    _notes.last[operation] = backend
    for record in _notes.open:
        record.append(Ran(operation, backend))


def last_backend(operation: str) -> Backend | None:
    """Say which backend did the last call of an operation in this thread; None if there was none.

    Args:
        operation: `sparse_decode`, `sparse_decode_csr`, `clamp_features` or `encode_features`.
    """
    return _notes.last.get(operation)


@contextmanager
def record_backends() -> Iterator[list[Ran]]:
    """Collect what ran inside the context, in this thread.

    Calls that a CUDA graph replays, or that torch.compile has traced, do not pass through Python and are
    recorded once, when they are captured.

    Yields:
        A list that grows with each call.
    """
    record: list[Ran] = []
    _notes.open.append(record)
    try:
        yield record
    finally:
        _notes.open[:] = [each for each in _notes.open if each is not record]


def run(operation: str, backend: Backend, table: Mapping[Backend, Callable[[], Result]]) -> Result:
    """Run the chosen implementation, and record it once it has worked."""
    result = table[backend]()
    note(operation, backend)
    return result
