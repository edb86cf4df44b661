"""From activations to sparse features, exactly, in a bounded dense buffer.

Source: the architectures' papers, as SAELens 6 computes them (standard: Bricken et al. 2023; gated:
Rajamanoharan et al. 2024a; jumprelu: Rajamanoharan et al. 2024b; topk: Gao et al. 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.saes.config import Activation, Normalization, SAEConfig
from emosae.saes.sparse import SparseFeatures

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["ENCODE_BUFFER_BYTES", "Encoder", "NormedInput", "encode_rows", "normalize"]

ENCODE_BUFFER_BYTES = 64 * 2**20
"""The dense pre-activations that exist at a time; beside them only the non-zeros are held."""

# Fewer tokens than this in a tile would leave the product bound by reading the weights.
_TOKENS_PER_TILE = 256
_LAYER_NORM_EPS = 1e-5  # SAELens adds it to the std on the way in, and not on the way out


@dataclass(frozen=True, slots=True, eq=False)
class NormedInput:
    """An activation as the encoder sees it, and how to go back.

    Attributes:
        x: The encoder's input, float32 [n, d_in]: centred, normalised, `b_dec` taken off.
        scale: What the output is multiplied with, [n]; None is 1. It is also `scale(x)` of a clamp's edit.
        shift: What is added to the output after that, [n]; None is 0.
    """

    x: Float[Tensor, "n d_in"]
    scale: Float[Tensor, " n"] | None
    shift: Float[Tensor, " n"] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoder:
    """The encoder's side of an SAE, or of some of its features.

    Attributes:
        activation: The activation function.
        W: Feature-major weights [n_features, d_in], any floating dtype.
        bias: Added to the product, [n_features]; None for gated.
        threshold: A jumprelu feature is active strictly above it.
        b_gate: Gated: the gate's bias.
        b_mag: Gated: the magnitude's bias.
        r_mag: Gated: log of the magnitude's factor on the weights.
        rank_norm: Topk: the decoder norms that activations are ranked and reported in; None is 1.
        k: Topk: features kept.
    """

    activation: Activation
    W: Float[Tensor, "n_features d_in"]
    bias: Float[Tensor, " n_features"] | None = None
    threshold: Float[Tensor, " n_features"] | None = None
    b_gate: Float[Tensor, " n_features"] | None = None
    b_mag: Float[Tensor, " n_features"] | None = None
    r_mag: Float[Tensor, " n_features"] | None = None
    rank_norm: Float[Tensor, " n_features"] | None = None
    k: int | None = None


def normalize(x: Float[Tensor, "n d_in"], cfg: SAEConfig, b_dec: Float[Tensor, " d_out"]) -> NormedInput:
    """Bring activations into the form that the encoder was trained on.

    Args:
        x: Activations in any floating dtype.
        cfg: The SAE's config.
        b_dec: The decoder's bias, taken off where the config says so.

    Returns:
        The encoder's input in float32. A zero activation under constant_norm_rescale stays zero.
    """
    x = x.to(torch.float32)
    scale = shift = None
    if cfg.center_writing_weights:
        x = x - x.mean(dim=-1, keepdim=True)
    if cfg.normalize_activations is Normalization.LAYER_NORM:
        mean = x.mean(dim=-1, keepdim=True)
        std = (x - mean).std(dim=-1, keepdim=True)
        x = (x - mean) / (std + _LAYER_NORM_EPS)
        scale, shift = std[:, 0], mean[:, 0]
    elif cfg.normalize_activations is Normalization.CONSTANT_NORM_RESCALE:
        norm = x.norm(dim=-1, keepdim=True)
        x = x * torch.where(norm > 0, cfg.d_in**0.5 / norm, 0.0)
        scale = norm[:, 0] / cfg.d_in**0.5
    if cfg.apply_b_dec_to_input:
        x = x - b_dec
    return NormedInput(x, scale, shift)


def encode_rows(
    x: Float[Tensor, "n d_in"],
    cfg: SAEConfig,
    b_dec: Float[Tensor, " d_out"],
    encoder: Encoder,
    *,
    buffer_bytes: int = ENCODE_BUFFER_BYTES,
) -> SparseFeatures:
    """Encode rows of activations.

    Args:
        x: Activations [n, d_in].
        cfg: The SAE's config.
        b_dec: The decoder's bias.
        encoder: The features to compute.
        buffer_bytes: What the dense pre-activations may take at a time.

    Returns:
        The features, shape (n, n_features), values in float32.

    Raises:
        UserError: An activation is not finite.
    """
    n_features = encoder.W.shape[0]
    tokens, features = _tile(encoder.W, buffer_bytes)
    buffer = torch.empty(min(tokens, max(len(x), 1)) * features, dtype=torch.float32, device=x.device)
    counts, indices, values, scales, shifts = [], [], [], [], []
    find = _TOP if encoder.activation in _TOP else _ABOVE
    for start in range(0, len(x), tokens):
        normed = normalize(x[start : start + tokens], cfg, b_dec)
        if not bool(torch.isfinite(normed.x).all()):
            raise UserError(
                "Activations must be finite, got NaN or infinity. Run the model in bfloat16 or float32 "
                "(float16 overflows in many), or look for the layer where it begins."
            )
        found = find[encoder.activation](normed.x, encoder, features, buffer)
        counts.append(found[0])
        indices.append(found[1])
        values.append(found[2])
        scales.append(normed.scale)
        shifts.append(normed.shift)
    crow = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    if counts:
        torch.cumsum(torch.cat(counts), 0, out=crow[1:])
    transcoder = cfg.architecture.is_transcoder  # its output is not in the input's units
    return SparseFeatures(
        crow=crow,
        indices=_join(indices, torch.int32, x.device),
        values=_join(values, torch.float32, x.device),
        shape=(len(x), n_features),
        scale=None if transcoder else _join_optional(scales),
        shift=None if transcoder else _join_optional(shifts),
    )


def _tile(W: Tensor, buffer_bytes: int) -> tuple[int, int]:
    """Choose how many tokens and features one tile has."""
    n_features, d_in = W.shape
    features = min(max(n_features, 1), max(1, buffer_bytes // (4 * _TOKENS_PER_TILE)))
    if W.dtype != torch.float32:  # the weights of a tile are widened, and that too is bounded
        features = min(features, max(1, buffer_bytes // (4 * d_in)))
    return max(1, buffer_bytes // (4 * features)), features


def _products(
    x: Tensor, encoder: Encoder, first: int, features: int, buffer: Tensor, *, bias: Tensor | None
) -> Tensor:
    """Give `x @ W.T (+ bias)` of one tile in float32, in the buffer."""
    W = encoder.W[first : first + features].to(torch.float32)
    out = buffer[: len(x) * len(W)].view(len(x), len(W))
    if bias is None:
        return torch.mm(x, W.T, out=out)
    return torch.addmm(bias[first : first + features], x, W.T, out=out)


Found = tuple["Int[Tensor, 'n']", "Int[Tensor, 'nnz']", "Float[Tensor, 'nnz']"]


def _above(x: Tensor, encoder: Encoder, features: int, buffer: Tensor) -> Found:
    """Features that are active above a bound of their own: standard, jumprelu, gated."""
    gated = encoder.activation is Activation.GATED
    bound = _bound(encoder)
    rows, columns, values = [], [], []
    for first in range(0, encoder.W.shape[0], features):
        h = _products(x, encoder, first, features, buffer, bias=encoder.bias)
        cut = bound if isinstance(bound, float) else bound[first : first + features]
        slots = _nonzero(h > cut)
        row = slots // h.shape[1]
        column = slots - row * h.shape[1] + first
        value = h.view(-1)[slots]
        if gated:
            assert encoder.r_mag is not None
            assert encoder.b_mag is not None
            value = value * encoder.r_mag[column].exp() + encoder.b_mag[column]
            kept = value > 0
            row, column, value = row[kept], column[kept], value[kept]
        rows.append(row)
        columns.append(column)
        values.append(value)
    row = _join(rows, torch.int64, x.device)
    column = _join(columns, torch.int64, x.device)
    value = _join(values, torch.float32, x.device)
    if len(rows) > 1:  # tiles of features follow one another; rows must
        order = torch.argsort(row, stable=True)
        row, column, value = row[order], column[order], value[order]
    return torch.bincount(row, minlength=len(x)), column.to(torch.int32), value


def _bound(encoder: Encoder) -> Tensor | float:
    """What a pre-activation has to exceed, strictly, for its feature to be non-zero."""
    if encoder.activation is Activation.JUMPRELU:
        assert encoder.threshold is not None
        return encoder.threshold.clamp(min=0)  # relu, and above the threshold
    if encoder.activation is Activation.GATED:
        assert encoder.b_gate is not None
        return -encoder.b_gate  # p + b > 0 and p > -b are the same in floating point
    return 0.0


def _top(x: Tensor, encoder: Encoder, features: int, buffer: Tensor) -> Found:
    """The k largest (topk), or largest in magnitude (abstopk), over all tiles of features."""
    by_magnitude = encoder.activation is Activation.ABSTOPK
    k = encoder.k or 0
    best = torch.empty(len(x), 0, dtype=torch.float32, device=x.device)
    best_column = torch.empty(len(x), 0, dtype=torch.int64, device=x.device)
    for first in range(0, encoder.W.shape[0], features):
        h = _products(x, encoder, first, features, buffer, bias=encoder.bias)
        if encoder.rank_norm is not None:
            h *= encoder.rank_norm[first : first + features]
        column = _topk(h, k, by_magnitude)
        best = torch.cat([best, h.gather(1, column)], dim=1)
        best_column = torch.cat([best_column, column + first], dim=1)
        chosen = _topk(best, k, by_magnitude)
        best, best_column = best.gather(1, chosen), best_column.gather(1, chosen)
    best_column, order = best_column.sort(dim=1)
    best = best.gather(1, order)
    kept = best != 0 if by_magnitude else best > 0
    return kept.sum(dim=1), best_column[kept].to(torch.int32), best[kept]


def _topk(h: Tensor, k: int, by_magnitude: bool) -> Tensor:
    ranked = h.abs() if by_magnitude else h
    return ranked.topk(min(k, h.shape[1]), dim=1, sorted=False).indices


_ABOVE = {Activation.RELU: _above, Activation.JUMPRELU: _above, Activation.GATED: _above}
_TOP = {Activation.TOPK: _top, Activation.ABSTOPK: _top}


def _nonzero(mask: Tensor) -> Tensor:
    """Give the flat positions that are true; numpy is several times faster at it on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.view(-1).nonzero().view(-1)


def _join(parts: list[Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(0, dtype=dtype, device=device)


def _join_optional(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
