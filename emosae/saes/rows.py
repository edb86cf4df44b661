"""A few features of an SAE, read without the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from emosae.saes.weights import Weights

__all__ = ["SAERows", "feature_numbers", "read_rows"]

_VECTORS = ("b_enc", "threshold", "b_gate", "b_mag", "r_mag", "decoder_norm")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SAERows:
    """All that is known of a few features: the rows of theirs, and nothing else of the SAE.

    Attributes:
        features: The features, int64 [n].
        W_enc: Their encoder rows, float32 [n, d_in].
        W_dec: Their decoder rows, float32 [n, d_out].
        decoder_norm: The norms of those, [n].
        b_enc: The encoder's bias, [n]; None for gated.
        threshold: What a jumprelu feature must exceed, [n]; None for others.
        b_gate: Gated only, [n].
        b_mag: Gated only, [n].
        r_mag: Gated only, [n].
    """

    features: Int[Tensor, " n"]
    W_enc: Float[Tensor, "n d_in"]
    W_dec: Float[Tensor, "n d_out"]
    decoder_norm: Float[Tensor, " n"]
    b_enc: Float[Tensor, " n"] | None = None
    threshold: Float[Tensor, " n"] | None = None
    b_gate: Float[Tensor, " n"] | None = None
    b_mag: Float[Tensor, " n"] | None = None
    r_mag: Float[Tensor, " n"] | None = None

    @property
    def vectors(self) -> dict[str, Float[Tensor, " n"]]:
        """The vectors that this kind of SAE has, by name."""
        return {name: vector for name in _VECTORS if (vector := getattr(self, name)) is not None}


def feature_numbers(features: Sequence[int] | Tensor | np.ndarray, d_sae: int) -> tuple[int, ...]:
    """Check feature numbers and give them as a tuple.

    Args:
        features: What a caller passed.
        d_sae: How many features there are.

    Raises:
        UserError: They are no whole numbers, or one is not a feature's.
    """
    numbers = features.cpu().numpy() if isinstance(features, Tensor) else np.asarray(features)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise UserError(f"features must be a list of whole numbers, got {features!r}. Give e.g. [12, 340].")
    wrong = numbers[(numbers < 0) | (numbers >= d_sae)] if numbers.size else numbers
    if wrong.size:
        raise UserError(f"features must be in 0 to {d_sae - 1}, got {int(wrong[0])}. This SAE has no other.")
    return tuple(numbers.tolist())


def read_rows(
    weights: Weights, features: tuple[int, ...], *, device: torch.device, dtype: torch.dtype | None
) -> SAERows:
    """Read the rows of some features from the mapped file.

    Args:
        weights: The file.
        features: Which, checked.
        device: Where the rows go.
        dtype: What the SAE's matrices are rounded to, so that a few rows say what the whole would; None is
            as stored.

    Raises:
        CorruptSAEError: A row is not as it was written.
    """
    index = torch.tensor(features, dtype=torch.int64)

    def read(name: str) -> Tensor:
        return weights.rows(name, index).to(device, dtype or weights.dtype(name)).to(torch.float32)

    held = weights.vectors
    vectors = {name: held[name][index].to(device) for name in _VECTORS if name in held}
    return SAERows(features=index.to(device), W_enc=read("W_enc"), W_dec=read("W_dec"), **vectors)
