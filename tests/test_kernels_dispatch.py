"""Which backend runs: chosen by the tensors, never replaced when named, and recorded."""

from __future__ import annotations

import threading

import pytest
import torch

from emosae.errors import UserError
from emosae.kernels import (
    Backend,
    Ran,
    dispatch,
    last_backend,
    record_backends,
    reference,
    sparse_decode,
    torch_paths,
    use_backend,
)
from emosae.kernels.dispatch import choose

SLOTS, V, W = torch.tensor([[0, 1]]), torch.ones(1, 2), torch.ones(2, 3)


class Pretend(torch.Tensor):
    """A tensor that says it is on a GPU."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda:0")


def pretend(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(2, dtype=dtype).as_subclass(Pretend)


def test_a_cpu_uses_torch_and_a_gpu_uses_triton() -> None:
    pytest.importorskip("triton", reason="needs the package triton")
    assert choose("op", None, (V, None, W)) is Backend.TORCH
    assert choose("op", None, (pretend(), None)) is Backend.TRITON
    assert choose("op", None, (pretend(torch.float64),)) is Backend.TORCH
    assert choose("op", None, (pretend(),), obstacle="fewer") is Backend.TORCH


def test_a_gpu_without_triton_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "find_spec", lambda name: None)
    assert choose("op", None, (pretend(),)) is Backend.TORCH
    with pytest.raises(UserError, match="the package triton, which is not installed"):
        choose("op", "triton", (pretend(),))


@pytest.mark.parametrize("named", ["reference", "torch"])
def test_a_named_backend_is_the_one_that_runs(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for module in (reference, torch_paths):
        real = module.decode

        def spy(*arguments: object, real: object = real, module: object = module, **more: object) -> object:
            calls.append(module.__name__.rsplit(".", 1)[-1])  # type: ignore[attr-defined]
            return real(*arguments, **more)  # type: ignore[operator]

        monkeypatch.setattr(module, "decode", spy)
    sparse_decode(SLOTS, V, W, backend=named)
    assert calls == [{"reference": "reference", "torch": "torch_paths"}[named]]
    assert last_backend("sparse_decode") == named


def test_triton_on_a_cpu_is_refused_and_not_replaced() -> None:
    pytest.importorskip("triton", reason="needs the package triton")
    if dispatch._interpreted():
        pytest.skip("needs a process without TRITON_INTERPRET")
    with (
        record_backends() as ran,
        pytest.raises(UserError, match="needs tensors on a GPU, or TRITON_INTERPRET"),
    ):
        sparse_decode(SLOTS, V, W, backend="triton")
    assert ran == []


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'triton'"):
        sparse_decode(SLOTS, V, W, backend="tritn")


def test_triton_is_refused_for_what_it_cannot_do() -> None:
    pytest.importorskip("triton", reason="needs the package triton")
    with pytest.raises(UserError, match="needs float32, bfloat16 or float16, not torch"):
        choose("op", "triton", (pretend(torch.float64),))
    with pytest.raises(UserError, match="needs at most 64 clamps"):
        choose("op", "triton", (pretend(),), obstacle="at most 64 clamps, not 65")


def test_tensors_on_two_devices_are_refused() -> None:
    with pytest.raises(UserError, match="on one device, got cpu and meta"):
        sparse_decode(SLOTS, V, W.to("meta"))


def test_what_ran_is_recorded_in_its_thread() -> None:
    with record_backends() as outer:
        sparse_decode(SLOTS, V, W)
        with record_backends() as inner:
            sparse_decode(SLOTS, V, W, backend="reference")
        other = threading.Thread(target=lambda: sparse_decode(SLOTS, V, W))
        other.start()
        other.join()
    sparse_decode(SLOTS, V, W)
    reference = Ran("sparse_decode", Backend.REFERENCE)
    assert inner == [reference]
    assert outer == [Ran("sparse_decode", Backend.TORCH), reference]
    assert last_backend("no such operation") is None


def test_a_backend_can_be_asked_for_a_block_and_a_named_one_wins() -> None:
    ids, values, W = torch.tensor([[0, 1]]), torch.ones(1, 2), torch.ones(3, 4)
    with record_backends() as ran:
        with use_backend("reference"):
            sparse_decode(ids, values, W)
            sparse_decode(ids, values, W, backend="torch")
            with pytest.raises(RuntimeError), use_backend("torch"):
                sparse_decode(ids, values, W)
                raise RuntimeError
            sparse_decode(ids, values, W)
        sparse_decode(ids, values, W)
    assert [each.backend for each in ran] == ["reference", "torch", "torch", "reference", "torch"]
    with pytest.raises(UserError, match="no backend 'tritom'"), use_backend("tritom"):
        pytest.fail("the block must not begin")
