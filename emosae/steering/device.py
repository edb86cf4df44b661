"""What an accelerator must not be asked while its queue runs, and the constants it keeps."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["answers_at_once", "capturing", "constant"]


def answers_at_once(device: torch.device) -> bool:
    """Whether asking for a value waits for nothing; on an accelerator it would stop the queue."""
    return device.type == "cpu"


def capturing() -> bool:
    """Whether a CUDA graph is being captured in this thread; what is decided now then holds in each replay."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


@lru_cache(maxsize=256)
def constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Give numbers or truths as a tensor that stays on its device: sending them at each pass would wait for it.

    Args:
        values: Whole numbers or truths, or tuples of them.
        dtype: Their type.
        device: Where they are wanted.
    """
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
