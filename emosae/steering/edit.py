"""The edit itself: `x' = x + scale(x) * sum (t_i - f_i) W_dec[i]` over the clamped features.

It equals `decode(f') + (x - decode(f))` for every architecture and normalisation, since decode is linear in
f once the scale is fixed. Only the rows of the clamped features are read, but for topk, whose k-th largest
activation depends on all of them. On a GPU one kernel does all of it (`Editor.fuses`); a CPU takes two thin products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.kernels.clamp import MAX_TRITON_CLAMPS, clamp_features, clamp_features_recorded
from emosae.kernels.dispatch import Backend, choose
from emosae.saes.config import Activation, Normalization
from emosae.saes.encode import normalize
from emosae.steering.clamp import Clamp, Op, Unit
from emosae.steering.fused import fused_rows
from emosae.steering.plan import ErrorTerm

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from emosae.kernels import ClampRows
    from emosae.saes import SparseAutoencoder

__all__ = ["Change", "Editor"]


class Change(NamedTuple):
    """What is to be added, before it meets the activation that is written.

    Attributes:
        activation: The clamped features' activations as they were, `[tokens, features]`.
        difference: What is added to each, target minus activation, `[tokens, features]`.
        scale: What the sum is multiplied with, `[tokens]`; None is 1.
        base: What the sum is added to, `[tokens, d_out]`; None is the activation itself.
    """

    activation: Float[Tensor, "tokens features"]
    difference: Float[Tensor, "tokens features"]
    scale: Float[Tensor, " tokens"] | None
    base: Float[Tensor, "tokens d_out"] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rules:
    """Targets `clamp(f * factor + add + push * norm(x) / scale(x), low, high)`, a row for each plan's row.

    A part that would change nothing is None and costs nothing.
    """

    factor: Tensor | None  # None is 0: the target does not depend on f
    add: Tensor
    push: Tensor | None
    low: Tensor | None
    high: Tensor | None
    always: Tensor | None  # where the clamp holds for inactive features too; None is everywhere

    def to(self, device: torch.device) -> _Rules:
        return self._each(lambda part: part.to(device))

    def of(self, row: Tensor | None) -> _Rules:
        """Give each token its row of the rules."""
        return self if row is None else self._each(lambda part: part[row])

    def _each(self, change: Callable[[Tensor], Tensor]) -> _Rules:
        parts: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        changed: dict[str, Any] = {
            name: None if part is None else change(part) for name, part in parts.items()
        }
        return _Rules(**changed)


class Editor:
    """Computes one SAE's clamps; all that does not depend on the activation is computed when it is made.

    Args:
        sae: The SAE.
        rows: Its clamps in absolute values: one tuple for all rows of a batch, or one for each.
        error: Keep or drop what the SAE does not explain.
        device: Where the activations will be.

    Raises:
        UserError: A feature's decoder row is zero where a norm is asked of it.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        rows: Sequence[Sequence[Clamp]],
        error: ErrorTerm,
        device: torch.device,
    ) -> None:
        cfg = sae.cfg
        self.sae = sae
        self.features = tuple(sorted({clamp.feature for row in rows for clamp in row}))
        self.transcodes = cfg.architecture.is_transcoder
        self._drop = error is ErrorTerm.DROP
        self._full = self._drop or cfg.k is not None
        self._activation = cfg.architecture.activation
        held = sae.rows(self.features)
        norm = held.decoder_norm[:, None]
        W_dec = (
            held.W_dec.clone()
        )  # of its own: an inference tensor, kept by the SAE, would refuse a gradient
        if cfg.rescale_acts_by_decoder_norm:
            W_dec = torch.where(norm > 0, W_dec / norm, 0.0)
        self._scaled = cfg.normalizes_by_input
        per_input = (Normalization.LAYER_NORM, Normalization.CONSTANT_NORM_RESCALE)
        self._normed = cfg.normalize_activations in per_input
        W_enc, vectors = held.W_enc.clone(), dict(held.vectors)
        shift = torch.zeros(len(self.features), device=W_enc.device)
        if not self._normed:  # subtracting the mean and b_dec are linear, so the rows can do it
            if cfg.apply_b_dec_to_input:
                shift = -(W_enc.double() @ sae.b_dec.double()).float()
            if cfg.center_writing_weights:
                W_enc = W_enc - W_enc.mean(dim=1, keepdim=True)
        if self._activation is Activation.GATED:
            self._bias = shift
            self._gate, self._gain, self._offset = (
                vectors[n].to(device) for n in ("b_gate", "r_mag", "b_mag")
            )
            self._gain = self._gain.exp()
        else:
            self._bias = vectors["b_enc"] + shift
        bound = vectors["threshold"].clamp(min=0) if self._activation is Activation.JUMPRELU else None
        self._bound = None if bound is None else bound.to(device)
        self._W_enc_T = W_enc.to(device).T
        self._bias = self._bias.to(device)
        self.W_dec = W_dec.to(device)
        self._rules = _rules_of(rows, self.features, self.W_dec.norm(dim=1).tolist(), sae.name).to(device)
        self._by_row = len(rows) > 1
        self._clamps, self._device = rows, device
        self._fused: ClampRows | None = None  # made when it is used: a CPU has no use for it
        self._obstacle = None
        if self._drop:
            self._obstacle = "an error that is kept"
        elif len(self.features) > MAX_TRITON_CLAMPS:
            self._obstacle = f"at most {MAX_TRITON_CLAMPS} features"

    def fuses(self, x: Tensor) -> bool:
        """Whether the fused kernel takes these activations: on a GPU, or where `use_backend` asks for it.

        Raises:
            UserError: `use_backend` asks for it, and it cannot.
        """
        obstacle = self._obstacle
        if obstacle is None and x.requires_grad and torch.is_grad_enabled():
            obstacle = "activations of which no gradient is asked"
        return choose("clamp_features", None, (x, self.W_dec), obstacle=obstacle) is Backend.TRITON

    def fused(
        self,
        x: Float[Tensor, "tokens d_in"],
        y: Float[Tensor, "tokens d_out"],
        mask: Bool[Tensor, " tokens"] | None,
        row: Int[Tensor, " tokens"] | None,
        *,
        record: bool,
    ) -> tuple[Float[Tensor, "tokens d_out"], Change | None]:
        """Do the whole edit in the fused kernel.

        Args:
            x: Activations where the SAE reads.
            y: Activations that are written; x itself but for transcoders.
            mask: Which tokens are steered; None is all.
            row: The plan's row of each token, where rows differ.
            record: Whether to say what was added; outside the mask that is 0.
        """
        if self._fused is None:
            with torch.inference_mode(False), torch.no_grad():
                self._fused = fused_rows(self.sae, self.features, self._clamps, self._device)
        given = None if self._fused.partial else self._encode_in_full(x.float())[0]
        rule = row if self._by_row else None
        if not record:
            return clamp_features(x, self._fused, y=y, mask=mask, given=given, rule=rule), None
        done = clamp_features_recorded(x, self._fused, y=y, mask=mask, given=given, rule=rule)
        return done.edited, Change(done.activation, done.difference, done.scale, None)

    def change(self, x: Float[Tensor, "tokens d_in"], row: Int[Tensor, " tokens"] | None) -> Change:
        """Compute what is to be added.

        Args:
            x: Activations where the SAE reads, in any floating dtype.
            row: The plan's row of each token, where rows differ.
        """
        wide = x.float()
        f, scale, base = self._encode(wide)
        rules = self._rules.of(row) if self._by_row else self._rules
        target = rules.add
        if rules.push is not None:
            length = wide.norm(dim=1, keepdim=True)
            if scale is not None:
                length = torch.where(scale[:, None] > 0, length / scale[:, None], 0.0)
            target = torch.addcmul(target.expand(len(f), -1), rules.push, length)
        if rules.factor is not None:
            target = torch.addcmul(target, f, rules.factor)
        if rules.low is not None or rules.high is not None:
            target = target.clamp(rules.low, rules.high)
        difference = target - f
        if rules.always is not None:
            difference = torch.where(rules.always | (f != 0), difference, 0.0)
        return Change(f, difference, scale, base)

    def write(self, x: Float[Tensor, "tokens d_out"], change: Change) -> Float[Tensor, "tokens d_out"]:
        """Add a change to the activation that is written, in float32, and give that activation's dtype."""
        base = x.float() if change.base is None else change.base
        difference = change.difference
        if change.scale is not None:
            difference = difference * change.scale[:, None]
        return torch.addmm(base, difference, self.W_dec).to(x.dtype)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Give the clamped features' activations, the scale, and the reconstruction if the error is dropped."""
        if self._full:
            return self._encode_in_full(x)
        scale = None
        if self._normed:
            normed = normalize(x, self.sae.cfg, self._b_dec(x.device))
            x, scale = normed.x, normed.scale if self._scaled else None
        h = torch.addmm(self._bias, x, self._W_enc_T)
        return _ACTIVATE[self._activation](self, h), scale, None

    def _encode_in_full(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        sae = self.sae
        found = sae.encode(x)
        wanted = torch.tensor(self.features, dtype=torch.int64, device=found.device)
        f = found.columns(wanted).to_dense().to(x.device)
        scale = None if found.scale is None else found.scale.to(x.device)
        if not self._drop:
            return f, scale, None
        base = sae.decode(found).to(x.device)
        if sae.W_skip is not None:
            base = base + x @ sae.W_skip.to(x.device, torch.float32).T
        if sae.cfg.center_writing_weights:  # such an SAE knows nothing of the mean, and the model has one
            base = base + x.mean(dim=1, keepdim=True)
        return f, scale, base

    def _b_dec(self, device: torch.device) -> Tensor:
        b_dec = self.sae.b_dec
        return b_dec if b_dec.device == device else b_dec.to(device)

    def _relu(self, h: Tensor) -> Tensor:
        return h.relu_()

    def _jumprelu(self, h: Tensor) -> Tensor:
        assert self._bound is not None
        return h * (h > self._bound)

    def _gated(self, h: Tensor) -> Tensor:
        magnitude = torch.addcmul(self._offset, h, self._gain).relu_()
        return magnitude * (h + self._gate > 0)


_ACTIVATE: dict[Activation, Callable[[Editor, Tensor], Tensor]] = {
    Activation.RELU: Editor._relu,
    Activation.JUMPRELU: Editor._jumprelu,
    Activation.GATED: Editor._gated,
}


def _rules_of(
    rows: Sequence[Sequence[Clamp]], features: tuple[int, ...], norms: list[float], name: str
) -> _Rules:
    """Write the clamps as one rule for each row and feature; a feature that a row leaves alone keeps its f."""
    place = {feature: at for at, feature in enumerate(features)}
    shape = (len(rows), len(features))
    factor, add, push = torch.ones(shape), torch.zeros(shape), torch.zeros(shape)
    low, high = torch.full(shape, -math.inf), torch.full(shape, math.inf)
    always = torch.ones(shape, dtype=torch.bool)
    for at, row in enumerate(rows):
        for clamp in row:
            slot = (at, place[clamp.feature])
            value = clamp.value
            assert value is not None
            if clamp.op in (Op.SET, Op.ABLATE):
                factor[slot], add[slot] = 0.0, value
            elif clamp.op is Op.SCALE:
                factor[slot] = value
            elif clamp.op is Op.AT_LEAST:
                low[slot] = value
            elif clamp.op is Op.AT_MOST:
                high[slot] = value
            elif clamp.unit is Unit.NORM:
                norm = norms[slot[1]]
                if norm == 0:
                    raise UserError(
                        f"Feature {clamp.feature} of {name!r} must write something for the unit 'norm', got a "
                        "decoder row of zeros. Choose another feature."
                    )
                push[slot] = value / norm
            else:
                add[slot] = value
            always[slot] = not clamp.only_if_active
    return _Rules(
        factor=factor if bool(factor.any()) else None,
        add=add,
        push=push if bool(push.any()) else None,
        low=low if bool(low.isfinite().any()) else None,
        high=high if bool(high.isfinite().any()) else None,
        always=None if bool(always.all()) else always,
    )
