"""What decoder rows say of features: the tokens they promote and suppress, and the rows most like them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.models import is_decoder

if TYPE_CHECKING:
    from emosae.saes import SparseAutoencoder

__all__ = ["LogitLens", "Neighbours"]

log = logging.getLogger(__name__)

_BUFFER_BYTES = 64 * 2**20  # of cosines or logits at a time


class Neighbours:
    """The features whose decoder rows have the largest cosine with a feature's.

    Args:
        sae: The SAE.
        n: How many of each; 0 for none.
    """

    def __init__(self, sae: SparseAutoencoder, n: int) -> None:
        self._sae, self._n = sae, min(n, sae.d_sae - 1)
        self._unit: Tensor | None = None

    @torch.inference_mode()
    def of(self, features: Sequence[int]) -> list[list[tuple[int, float]]]:
        """Give the neighbours of features, the most similar first."""
        if self._n < 1:
            return [[] for _ in features]
        if self._unit is None:
            rows = self._sae.W_dec.float()
            self._unit = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
        found = []
        for part in _parts(features, self._sae.d_sae):
            at = torch.tensor(part, device=self._unit.device)
            cosine = self._unit[at] @ self._unit.T
            cosine[torch.arange(len(part)), at] = -2.0
            best = cosine.topk(self._n, dim=1)
            found += [
                list(zip(numbers, values, strict=True))
                for numbers, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        return found


class LogitLens:
    """The tokens that a feature's decoder row promotes and suppresses: final norm, then unembedding.

    A model without a head, or whose final norm is not known, has none; the log says so.

    Args:
        model: A transformers model.
        sae: The SAE.
        n: Tokens at each end; 0 for none.

    Source: nostalgebraist (2020), interpreting GPT: the logit lens.
    """

    def __init__(self, model: Any, sae: SparseAutoencoder, n: int) -> None:
        self._sae, self._n = sae, n
        self._head = self._norm = None
        if n and is_decoder(model) and sae.d_out == _width(model):
            from emosae.steering.output_score import final_norm

            try:
                self._norm = final_norm(model)
            except UserError as error:
                log.warning("No logit lens: %s", error)
                return
            self._head = model.get_output_embeddings()

    @torch.inference_mode()
    def of(self, features: Sequence[int]) -> list[tuple[list[tuple[int, float]], list[tuple[int, float]]]]:
        """Give promoted and suppressed token ids of features with their logits, the strongest first."""
        if self._head is None or self._norm is None:
            return [([], []) for _ in features]
        weight = self._head.weight
        parameter = next(self._norm.parameters(), weight)
        found: list[tuple[list[tuple[int, float]], list[tuple[int, float]]]] = []
        for part in _parts(features, weight.shape[0]):
            rows = self._sae.W_dec[torch.tensor(part, device=self._sae.device)]
            shown = self._norm(rows.to(parameter.device, parameter.dtype))
            logits = self._head(shown.to(weight.device, weight.dtype)).float()
            n = min(self._n, logits.shape[1])
            ends = [logits.topk(n, dim=1, largest=largest) for largest in (True, False)]
            up, down = (_pairs(end.indices, end.values) for end in ends)
            found += list(zip(up, down, strict=True))
        return found


def _width(model: Any) -> int:
    from emosae.models import text_model

    return int(text_model(model).get_input_embeddings().weight.shape[1])


def _pairs(indices: Tensor, values: Tensor) -> list[list[tuple[int, float]]]:
    rows = zip(indices.tolist(), values.tolist(), strict=True)
    return [list(zip(*row, strict=True)) for row in rows]


def _parts(features: Sequence[int], width: int) -> Iterator[list[int]]:
    size = max(1, _BUFFER_BYTES // (4 * width))
    numbers = np.asarray(features, dtype=np.int64).tolist()
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
