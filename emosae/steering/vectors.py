"""Steering by directions: any vectors, added through the same hooks, scopes and plans as clamps.

A direction is the decoder row of a feature that reads nothing: its activation is always 0, and to add `a` to it adds
`a` times the direction to the residual. So vectors become an SAE of such features, and all that holds for clamps
holds for them: every scope, rows of a batch with different plans, plans saved as JSON, traces, compilation, threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.errors import UserError, unknown_name
from emosae.steering.clamp import Clamp, Op, Unit
from emosae.steering.dose import decoder_rows

if TYPE_CHECKING:
    from jaxtyping import Float

    from emosae.models import Site
    from emosae.saes import SparseAutoencoder

__all__ = ["Directions", "decoder_sum", "diff_mean", "directions", "random_direction"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Directions:
    """Named directions at one site.

    Attributes:
        sae: The SAE whose decoder rows they are; what `emosae.steer` takes.
        names: Their names, in the order of its features.
    """

    sae: SparseAutoencoder
    names: tuple[str, ...]

    def clamp(self, name: str, amount: float, unit: Unit | str = Unit.ACTIVATION) -> Clamp:
        """Give the clamp that adds a direction.

        Args:
            name: Which one.
            amount: How much of it, in the residual's own units; below 0 pushes the other way.
            unit: `norm` counts in multiples of the norm of the activation that it is added to.

        Raises:
            UserError: There is no such direction, or the amount is no finite number.
        """
        if name not in self.names:
            raise unknown_name("direction", name, self.names)
        return Clamp(self.names.index(name), Op.ADD, amount, unit, sae=self.sae.fingerprint)


def directions(
    vectors: Mapping[str, Any], site: Site | str, *, device: str = "cpu", name: str = "directions"
) -> Directions:
    """Make directions that a model can be steered by.

    Args:
        vectors: Name -> vector `[d]` of any length above 0; it is brought to norm 1.
        site: Where they are added, e.g. `blocks.8.hook_resid_post`.
        device: Where the model's activations are.
        name: What traces call them.

    Returns:
        The directions; `emosae.steer(model, found.sae, [found.clamp("joy", 4.0)])` adds one.

    Raises:
        UserError: There is none, one is zero or not finite, or their widths differ.

    Example:
        >>> found = directions({"joy": [3.0, 4.0]}, "blocks.1.hook_resid_post")
        >>> found.clamp("joy", 2.0).value
        2.0
    """
    import torch

    from emosae.saes import SparseAutoencoder

    rows = [np.asarray(vector, dtype=np.float64).reshape(-1) for vector in vectors.values()]
    norms = [float(np.linalg.norm(row)) for row in rows]
    bad = [
        key
        for key, row, norm in zip(vectors, rows, norms, strict=True)
        if not np.isfinite(norm) or norm == 0 or row.shape != rows[0].shape
    ]
    if not rows or bad:
        raise UserError(
            f"Directions must be finite vectors of one width that are not zero, got {bad or 'none'}. Leave those out."
        )
    units = np.stack([row / norm for row, norm in zip(rows, norms, strict=True)]).astype(np.float32)
    n, width = units.shape
    cfg = {
        "architecture": "standard",
        "d_in": width,
        "d_sae": n,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"hook_name": str(site)},
    }
    state = {
        "W_enc": torch.zeros(width, n),
        "b_enc": torch.zeros(n),
        "W_dec": torch.from_numpy(units),
        "b_dec": torch.zeros(width),
    }
    sae = SparseAutoencoder.from_state_dict(cfg, state, name=name, device=device)
    return Directions(sae=sae, names=tuple(vectors))


def diff_mean(positive: Float[np.ndarray, "n d"], other: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " d"]:
    """Give the difference of two means of residuals, a row each text.

    Args:
        positive: Residuals of texts that have the concept.
        other: Residuals of texts that have not.

    Raises:
        UserError: One of them has no row.

    Source: Marks & Tegmark 2023, The Geometry of Truth; "DiffMean" of Wu et al. 2025, AxBench.

    Example:
        >>> diff_mean(np.array([[2.0, 0.0], [4.0, 0.0]]), np.array([[1.0, 1.0]])).tolist()
        [2.0, -1.0]
    """
    if not len(positive) or not len(other):
        raise UserError(
            f"DiffMean needs texts with and without the concept, got {len(positive)} and {len(other)}. Give more texts."
        )
    return np.asarray(positive, dtype=np.float64).mean(0) - np.asarray(other, dtype=np.float64).mean(0)


def decoder_sum(sae: SparseAutoencoder, features: Sequence[int]) -> Float[np.ndarray, " d"]:
    """Give the sum of features' decoder rows, each counted once whatever its usual activation.

    Args:
        sae: The SAE.
        features: Feature numbers, each once.

    Raises:
        UserError: There is none.
    """
    if not len(features):
        raise UserError("A sum of decoder rows needs at least one feature, got none. Name features.")
    return np.asarray(decoder_rows(sae, list(features)).sum(0))


def random_direction(width: int, rng: np.random.Generator) -> Float[np.ndarray, " d"]:
    """Give a direction of norm 1, drawn evenly from all of them."""
    vector = rng.standard_normal(width)
    return np.asarray(vector / np.linalg.norm(vector))
