"""What a block of the model gives, kept while the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

__all__ = ["block_output", "reading"]


def block_output(output: object) -> Tensor:
    """What a block gives, bare or in a tuple."""
    return output if isinstance(output, Tensor) else output[0]  # type: ignore[index]


@contextmanager
def reading(model: LlamaForCausalLM, layer: int) -> Iterator[list[Tensor]]:
    """Keep the output of block `layer` in each forward pass of the `with` block, in a list that the caller empties."""
    kept: list[Tensor] = []
    handle = model.model.layers[layer].register_forward_hook(
        lambda _module, _args, output: kept.append(block_output(output))
    )
    try:
        yield kept
    finally:
        handle.remove()
