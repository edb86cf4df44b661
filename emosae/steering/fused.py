"""A plan's clamps as the fused kernel takes them: one launch encodes, changes and writes a token.

This is the clamp path on a GPU. It does all operations and units, conditional clamps, plans that differ by row,
topk SAEs (whose values it is given) and transcoders. What it does not do is left to `emosae.steering.edit`: an
error that is dropped, more than a handful of features, float64, and activations whose gradient is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emosae.kernels import ClampOp, ClampRows, clamp_rows
from emosae.steering.clamp import Clamp, Unit

if TYPE_CHECKING:
    from emosae.saes import SparseAutoencoder

__all__ = ["fused_rows"]


def fused_rows(
    sae: SparseAutoencoder,
    features: tuple[int, ...],
    rows: Sequence[Sequence[Clamp]],
    device: torch.device,
) -> ClampRows:
    """Prepare clamps for the kernel.

    Args:
        sae: The SAE.
        features: The clamped features, in the order of the result's rows.
        rows: The clamps in absolute values: one tuple for all rows of a batch, or one for each.
        device: Where the activations will be.

    Returns:
        The clamps, with a rule for each of `rows` if there are several.
    """
    held = sae.rows(features)
    moved = {
        part.name: value.to(device)
        for part in fields(held)
        if isinstance(value := getattr(held, part.name), Tensor)
    }
    held = replace(held, **moved)
    rules = []
    for row in rows:
        own = {clamp.feature: clamp for clamp in row}
        wanted = [_wanted(own.get(feature)) for feature in features]
        ops, values, conditional = zip(*wanted, strict=True)
        rules.append(clamp_rows(held, sae.cfg, sae.b_dec, list(ops), list(values), list(conditional)))
    return rules[0] if len(rules) == 1 else rules[0].each_rule(torch.stack, *rules[1:])


def _wanted(clamp: Clamp | None) -> tuple[ClampOp, float, bool]:
    """Give the operation, its number and its condition; a feature that a row leaves alone keeps its value."""
    if clamp is None:
        return ClampOp.SCALE, 1.0, False
    assert clamp.value is not None
    op = ClampOp.ADD_NORM if clamp.unit is Unit.NORM else ClampOp(str(clamp.op))
    return op, clamp.value, clamp.only_if_active
