"""What a kernel has to know of features: when one is active and how much, and what a clamp does to it.

Every architecture whose features are computed one by one is the same four vectors, and every operation of a
clamp the same five, so that a kernel has one path and no branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emosae.errors import UserError, unknown_name
from emosae.saes.config import Activation, Normalization, SAEConfig
from emosae.saes.rows import SAERows

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from emosae.saes.encode import Encoder

__all__ = ["ClampOp", "ClampRows", "Gate", "clamp_rows", "gate_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gate:
    """The activation function of features that are computed one by one, float32 [n_features] each.

    With `p` the product of the input and the encoder row, a feature is active where
    `p + gate_bias > bound`, and then it is `relu(p * gain + bias)`.

    Attributes:
        gate_bias: Added to the product before it is compared.
        bound: What it must exceed, strictly.
        gain: The factor of the magnitude; 1 but for gated SAEs.
        bias: What is added to the magnitude.
    """

    gate_bias: Float[Tensor, " n_features"]
    bound: Float[Tensor, " n_features"]
    gain: Float[Tensor, " n_features"]
    bias: Float[Tensor, " n_features"]


class ClampOp(StrEnum):
    """What is done to a feature's value f, with the number v of the clamp."""

    SET = "set"
    ADD = "add"
    SCALE = "scale"
    ABLATE = "ablate"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    ADD_NORM = "add_norm"
    """Adds v * norm(x) times the feature's unit direction to the activation itself."""


_INF = float("inf")
# The change of f is  slope * f + shift, then at least low - f, then at most high - f.
# (slope, shift, low, high) as functions of v:
_RULES = {
    ClampOp.SET: lambda v: (-1.0, v, -_INF, _INF),
    ClampOp.ADD: lambda v: (0.0, v, -_INF, _INF),
    ClampOp.SCALE: lambda v: (v - 1.0, 0.0, -_INF, _INF),
    ClampOp.ABLATE: lambda v: (-1.0, 0.0, -_INF, _INF),
    ClampOp.AT_LEAST: lambda v: (0.0, 0.0, v, _INF),
    ClampOp.AT_MOST: lambda v: (0.0, 0.0, -_INF, v),
    ClampOp.ADD_NORM: lambda v: (0.0, 0.0, -_INF, _INF),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClampRows:
    """A handful of clamped features of one SAE, ready for a kernel. Made by `clamp_rows`.

    Attributes:
        W_enc: Encoder rows [n_clamps, d_in].
        W_dec: Decoder rows [n_clamps, d_out], divided by their norms where the SAE rescales by them.
        gate: Their activation function; `b_dec` is folded into its biases.
        slope: The change of a feature's value f is `slope * f + shift`. [n_clamps] like the five that follow, or
            [n_rules, n_clamps] where tokens go by different rules.
        shift: See slope.
        low: The value is raised to this at the least.
        high: The value is lowered to this at the most.
        per_norm: What norm(x) is multiplied with and added to the decoder row's coefficient.
        only_if_active: Whether the clamp holds only where the feature is active.
        normalization: How the SAE normalises its input.
        center: Whether the SAE expects `x - mean(x)`.
        scaled: Whether the edit is multiplied by `scale(x)`: not for transcoders, which write elsewhere.
        partial: Whether these rows suffice to know the values: false for topk, whose values must be given.
    """

    W_enc: Float[Tensor, "n_clamps d_in"]
    W_dec: Float[Tensor, "n_clamps d_out"]
    gate: Gate
    slope: Float[Tensor, "*n_rules n_clamps"]
    shift: Float[Tensor, "*n_rules n_clamps"]
    low: Float[Tensor, "*n_rules n_clamps"]
    high: Float[Tensor, "*n_rules n_clamps"]
    per_norm: Float[Tensor, "*n_rules n_clamps"]
    only_if_active: Bool[Tensor, "*n_rules n_clamps"]
    normalization: Normalization
    center: bool
    scaled: bool
    partial: bool

    def __len__(self) -> int:
        return self.W_enc.shape[0]

    def each_rule(self, change: Callable[[list[Tensor]], Tensor], *others: ClampRows) -> ClampRows:
        """Give the same clamps with rules made of these rows' and others': stacked, or chosen by token."""
        names = ("slope", "shift", "low", "high", "per_norm", "only_if_active")
        held = (self, *others)
        made: dict[str, Any] = {name: change([getattr(rows, name) for rows in held]) for name in names}
        return replace(self, **made)


def gate_of(encoder: Encoder) -> Gate:
    """Give the four vectors of an encoder's activation function.

    Args:
        encoder: The encoder of an SAE, or of some of its features.

    Raises:
        UserError: Its features compete (topk), so that none is known from its row alone.
    """
    return _gate(
        encoder.activation,
        bias=encoder.b_gate if encoder.activation is Activation.GATED else encoder.bias,
        threshold=encoder.threshold,
        r_mag=encoder.r_mag,
        b_mag=encoder.b_mag,
    )


def _gate(
    activation: Activation,
    *,
    bias: Tensor | None,
    threshold: Tensor | None,
    r_mag: Tensor | None,
    b_mag: Tensor | None,
) -> Gate:
    if activation not in (Activation.RELU, Activation.JUMPRELU, Activation.GATED):
        raise UserError(
            f"The activation function must be relu, jumprelu or gated to be computed for each feature alone, "
            f"got {activation.value!r}. Encode all features and pass their values."
        )
    assert bias is not None
    bias = bias.to(torch.float32)
    bound, gain, magnitude = torch.zeros_like(bias), torch.ones_like(bias), bias
    if activation is Activation.JUMPRELU:
        assert threshold is not None
        bound = threshold.to(torch.float32).clamp(min=0)  # relu, and above the threshold
    if activation is Activation.GATED:
        assert r_mag is not None
        assert b_mag is not None
        gain, magnitude = r_mag.to(torch.float32).exp(), b_mag.to(torch.float32)
    return Gate(gate_bias=bias, bound=bound, gain=gain, bias=magnitude)


def clamp_rows(
    rows: SAERows,
    cfg: SAEConfig,
    b_dec: Float[Tensor, " d_out"],
    ops: Sequence[ClampOp | str],
    values: Sequence[float],
    only_if_active: Sequence[bool] | None = None,
) -> ClampRows:
    """Prepare clamps for the kernels, on the device of the rows.

    Args:
        rows: The clamped features, one row for each clamp; a feature may occur more than once, and then
            its changes add up.
        cfg: The SAE's config.
        b_dec: The decoder's bias.
        ops: What is done to each feature.
        values: The number of each operation, in activation units; ablate ignores it, add_norm takes a
            multiple of norm(x).
        only_if_active: Whether each clamp holds only where its feature is active; None is nowhere.

    Returns:
        The prepared clamps.

    Raises:
        UserError: An unknown operation, a value that is not finite, or lists of different lengths.

    Source: the edit x + scale(x) * sum (t_i - f_i) W_dec[i] leaves the SAE's error untouched because decode
        is linear.
    """
    n, device = len(rows.features), rows.W_enc.device
    active = [False] * n if only_if_active is None else list(only_if_active)
    if not len(ops) == len(values) == len(active) == n:
        raise UserError(
            f"ops, values and only_if_active must have one entry for each of {n} features, got {len(ops)}, "
            f"{len(values)} and {len(active)}. Give a number for ablate too; it is ignored."
        )
    named = [_op(op) for op in ops]
    numbers = [0.0 if op is ClampOp.ABLATE else float(v) for op, v in zip(named, values, strict=True)]
    if not torch.isfinite(torch.tensor(numbers, dtype=torch.float64)).all():
        raise UserError(f"The values of clamps must be finite, got {numbers}. Leave out what has no value.")
    table = [_RULES[op](v) for op, v in zip(named, numbers, strict=True)]
    slope, shift, low, high = torch.tensor(table, dtype=torch.float32, device=device).reshape(n, 4).T
    per_norm = torch.tensor(
        [v if op is ClampOp.ADD_NORM else 0.0 for op, v in zip(named, numbers, strict=True)], device=device
    )
    partial = cfg.k is None
    if partial:
        gate = _gate(
            cfg.architecture.activation,
            bias=rows.b_gate if rows.b_enc is None else rows.b_enc,
            threshold=rows.threshold,
            r_mag=rows.r_mag,
            b_mag=rows.b_mag,
        )
        if cfg.apply_b_dec_to_input:  # (x - b_dec) @ w = x @ w - b_dec @ w
            folded = (rows.W_enc.double() @ b_dec.to(device).double()).float()
            gate = Gate(
                gate_bias=gate.gate_bias - folded,
                bound=gate.bound,
                gain=gate.gain,
                bias=gate.bias - gate.gain * folded,
            )
    else:
        gate = Gate(gate_bias=slope, bound=slope, gain=slope, bias=slope)  # never read
    W_dec = rows.W_dec
    norm = W_dec.norm(dim=1)
    direction = torch.where(norm > 0, 1.0 / norm, 0.0)
    if cfg.rescale_acts_by_decoder_norm:
        W_dec, direction = W_dec * direction[:, None], torch.where(norm > 0, 1.0, 0.0)
    return ClampRows(
        W_enc=rows.W_enc.contiguous(),
        W_dec=W_dec.contiguous(),
        gate=gate,
        slope=slope.contiguous(),
        shift=shift.contiguous(),
        low=low.contiguous(),
        high=high.contiguous(),
        per_norm=per_norm.to(torch.float32) * direction,
        only_if_active=torch.tensor(active, dtype=torch.bool, device=device),
        normalization=cfg.normalize_activations,
        center=cfg.center_writing_weights,
        scaled=not cfg.architecture.is_transcoder,
        partial=partial,
    )


def _op(op: ClampOp | str) -> ClampOp:
    try:
        return ClampOp(op)
    except ValueError:
        raise unknown_name("operation on a feature", str(op), [each.value for each in ClampOp]) from None
