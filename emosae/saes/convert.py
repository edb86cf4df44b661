"""From SAELens' config and weights to one form: feature-major matrices, and nothing left to fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.saes.config import Activation, Normalization, SAEConfig

__all__ = ["FeatureMajor", "RawMatrix", "convert"]

BLOCK_BYTES = 64 * 2**20

_VECTORS = {
    Activation.RELU: ("b_enc",),
    Activation.JUMPRELU: ("b_enc", "threshold"),
    Activation.TOPK: ("b_enc",),
    Activation.ABSTOPK: ("b_enc",),
    Activation.GATED: ("b_gate", "b_mag", "r_mag"),
}


@dataclass(frozen=True, slots=True, eq=False)
class RawMatrix:
    """A matrix as its source holds it, read in blocks of rows so that no second copy is ever whole.

    Attributes:
        source: [n_rows, n_columns] in any dtype and any stride; a view is enough.
        multiplier: What the rows are multiplied with.
        divisor: What they are divided by.
    """

    source: Tensor
    multiplier: float = 1.0
    divisor: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.source.shape[0], self.source.shape[1]

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Give (first row, rows in float32, contiguous) for one bounded block after the other."""
        n_rows, n_columns = self.shape
        step = max(1, BLOCK_BYTES // (4 * n_columns))
        for start in range(0, n_rows, step):
            block = self.source[start : start + step].to(torch.float32)
            if self.multiplier != 1.0:
                block = block * self.multiplier
            if self.divisor != 1.0:
                block = block / self.divisor
            yield start, block.contiguous()

    def narrowest_dtype(self) -> torch.dtype:
        """Give the smallest floating dtype that holds every value exactly.

        SAELens' loaders widen what they read, so that bfloat16 releases arrive as float32; this brings them
        back to their own size, and gives the same SAE the same bytes by whatever way it came.
        """
        candidates = [torch.bfloat16, torch.float16]
        for _, block in self.blocks():
            candidates = [dtype for dtype in candidates if torch.equal(block.to(dtype).float(), block)]
            if not candidates:
                return torch.float32
        return candidates[0]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMajor:
    """An SAE in emosae's form, before it is written.

    Attributes:
        cfg: Its config, with nothing left to fold.
        matrices: `W_enc` [d_sae, d_in], `W_dec` [d_sae, d_out], and `W_skip` [d_out, d_in] where it has one.
        vectors: The biases, thresholds and gates, float32.
    """

    cfg: SAEConfig
    matrices: dict[str, RawMatrix]
    vectors: dict[str, Tensor]


def convert(
    cfg: SAEConfig, state: Mapping[str, Tensor], *, norm_scaling_factor: float | None = None
) -> FeatureMajor:
    """Bring SAELens' weights into emosae's form.

    Args:
        cfg: The SAE's config.
        state: SAELens' state dict: `W_enc` [d_in, d_sae], `W_dec` [d_sae, d_out], vectors by their names.
        norm_scaling_factor: What activations were multiplied with in training, for a config that says
            `expected_average_only_in`; folded into the weights.

    Returns:
        The SAE feature-major; views of `state` where nothing has to change.

    Raises:
        UserError: A tensor is missing, is one too many, or its shape contradicts the config; or the config
            needs a norm scaling factor and none is known.
    """
    state = _settle_names(dict(state))
    shapes = _expected_shapes(cfg)
    missing, extra = sorted(shapes.keys() - state.keys()), sorted(state.keys() - shapes.keys())
    if missing or extra:
        wrong = " and ".join(
            part
            for part in (
                f"lack {', '.join(missing)}" if missing else "",
                f"hold {', '.join(extra)} too many" if extra else "",
            )
            if part
        )
        raise UserError(
            f"The SAE's weights must be {', '.join(sorted(shapes))} for architecture "
            f"{cfg.architecture.value!r}, but they {wrong}. Check the architecture in its cfg.json."
        )
    for name, shape in shapes.items():
        if tuple(state[name].shape) != shape:
            raise UserError(
                f"The SAE's cfg.json says d_in={cfg.d_in}, d_sae={cfg.d_sae}, d_out={cfg.d_out}, so {name} "
                f"must have shape {shape}, got {tuple(state[name].shape)}. Correct the cfg.json or take the "
                "weights that belong to it."
            )
    cfg, factor = _settle_norm(cfg, norm_scaling_factor)
    matrices = {
        "W_enc": RawMatrix(state["W_enc"].T, multiplier=factor),
        "W_dec": RawMatrix(state["W_dec"], divisor=factor),
    }
    if "W_skip" in state:
        matrices["W_skip"] = RawMatrix(state["W_skip"])
    vectors = {name: state[name].to(torch.float32) for name in shapes if not name.startswith("W_")}
    vectors["b_dec"] = vectors["b_dec"] / factor
    return FeatureMajor(cfg, matrices, {name: vectors[name].contiguous() for name in sorted(vectors)})


def _expected_shapes(cfg: SAEConfig) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (cfg.d_in, cfg.d_sae),
        "W_dec": (cfg.d_sae, cfg.d_out),
        "b_dec": (cfg.d_out,),
    }
    shapes |= dict.fromkeys(_VECTORS[cfg.architecture.activation], (cfg.d_sae,))
    if cfg.architecture.has_skip:
        shapes["W_skip"] = (cfg.d_out, cfg.d_in)
    return shapes


def _settle_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo what older versions of SAELens wrote beside or instead of today's tensors."""
    if "log_threshold" in state:
        state["threshold"] = state.pop("log_threshold").to(torch.float32).exp()
    for name in ("scaling_factor", "finetuning_scaling_factor"):
        factor = state.pop(name, None)
        if factor is not None and not torch.allclose(factor.float(), torch.ones(())):
            raise UserError(
                f"The SAE's weights hold a {name} other than 1, which SAELens 6 no longer applies. "
                "Fold it into W_dec, as SAELens 5 does, and save the SAE again."
            )
    return state


def _settle_norm(cfg: SAEConfig, factor: float | None) -> tuple[SAEConfig, float]:
    """Give the config with nothing left to fold, and the factor to fold."""
    if cfg.normalize_activations is not Normalization.EXPECTED_AVERAGE_ONLY_IN:
        if factor is not None:
            raise UserError(
                "norm_scaling_factor must be left out for an SAE whose normalize_activations is "
                f"{cfg.normalize_activations.value!r}, got {factor!r}. Only expected_average_only_in uses it."
            )
        return cfg, 1.0
    if factor is None:
        raise UserError(
            "The SAE was trained on activations scaled by one number (normalize_activations is "
            "'expected_average_only_in'), and that number is not known, so its features would be wrong. "
            "Pass norm_scaling_factor=sqrt(d_in) / the mean norm of the activations it was trained on."
        )
    if not 0 < factor < float("inf"):
        raise UserError(
            f"norm_scaling_factor must be a positive number, got {factor!r}. Give sqrt(d_in) / mean norm."
        )
    settled = cfg.replace(normalize_activations=Normalization.NONE, norm_scaling_factor=float(factor))
    return settled, float(factor)
