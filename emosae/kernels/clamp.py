"""The clamp of a handful of features: partial encode, change and residual add, in one pass over the token."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.kernels import reference, torch_paths
from emosae.kernels.dispatch import Backend, choose, run
from emosae.kernels.gates import ClampRows
from emosae.kernels.reference import Clamped

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["MAX_TRITON_CLAMPS", "clamp_features", "clamp_features_recorded"]

MAX_TRITON_CLAMPS = 64
"""More clamps than this are no handful: two dense products serve them better."""


@torch.no_grad()
def clamp_features(
    x: Float[Tensor, "*lead d_in"],
    rows: ClampRows,
    *,
    y: Float[Tensor, "*lead d_out"] | None = None,
    mask: Bool[Tensor, "*lead"] | Bool[Tensor, "*lead n_clamps"] | None = None,
    given: Float[Tensor, "*lead n_clamps"] | None = None,
    rule: Int[Tensor, "*lead"] | None = None,
    backend: Backend | str | None = None,
) -> Float[Tensor, "*lead d_out"]:
    """Give `y + scale(x) * sum_i (t_i - f_i) * W_dec[i]`: the error-preserving clamp, exactly.

    `scale(x)` is the unbiased standard deviation of x for `layer_norm`, `norm(x) / sqrt(d_in)` for
    `constant_norm_rescale`, and 1 otherwise. Tokens where nothing changes keep their bits. Nothing waits for
    the device, so a call can be captured in a CUDA graph.

    Args:
        x: The activation that the SAE reads, float32, bfloat16 or float16.
        rows: The clamps, from `clamp_rows`, on the device of x.
        y: The activation that is edited; None is x itself. A transcoder's output.
        mask: Where clamps act: one flag a token, or one a token and clamp, so that the rows of a batch can
            carry different clamps. None is everywhere.
        given: The features' values, for topk SAEs, whose rows do not tell them; None computes them.
        rule: Where `rows` hold several rules: the rule of each token, int64. It must be one of them; nothing looks.
        backend: `reference`, `torch` or `triton`; None chooses: Triton on a GPU, torch elsewhere.

    Returns:
        The edited activation, in y's dtype. Neither x nor y is changed.

    Raises:
        UserError: Shapes, dtypes or devices that do not fit, a topk SAE without `given`, or a backend that
            cannot do this call.
    """
    clamped = _clamp(x, rows, y=y, mask=mask, given=given, rule=rule, backend=backend, record=False)
    return clamped.edited


@torch.no_grad()
def clamp_features_recorded(
    x: Float[Tensor, "*lead d_in"],
    rows: ClampRows,
    *,
    y: Float[Tensor, "*lead d_out"] | None = None,
    mask: Bool[Tensor, "*lead"] | Bool[Tensor, "*lead n_clamps"] | None = None,
    given: Float[Tensor, "*lead n_clamps"] | None = None,
    rule: Int[Tensor, "*lead"] | None = None,
    backend: Backend | str | None = None,
) -> Clamped:
    """Do as `clamp_features` in the same single pass, and say what was done to each token.

    Its arguments and errors are those of `clamp_features`.
    """
    return _clamp(x, rows, y=y, mask=mask, given=given, rule=rule, backend=backend, record=True)


def _clamp(
    x: Tensor,
    rows: ClampRows,
    *,
    y: Tensor | None,
    mask: Tensor | None,
    given: Tensor | None,
    rule: Tensor | None,
    backend: Backend | str | None,
    record: bool,
) -> Clamped:
    n_clamps, d_in = rows.W_enc.shape
    d_out = rows.W_dec.shape[1]
    target = x if y is None else y
    for name, tensor, width in (("x", x, d_in), ("x" if y is None else "y", target, d_out)):
        if not tensor.is_floating_point() or tensor.ndim == 0 or tensor.shape[-1] != width:
            raise UserError(
                f"{name} must be floating-point with {width} as its last dimension, got {tensor.dtype} "
                f"{tuple(tensor.shape)}. Pass the activation at the SAE's site."
            )
    lead = x.shape[:-1]
    if target.shape[:-1] != lead:
        raise UserError(
            f"x and y must hold the same tokens, got {tuple(lead)} and {tuple(target.shape[:-1])}. "
            "Read both in one forward pass."
        )
    if mask is not None and (mask.dtype != torch.bool or mask.shape not in (lead, (*lead, n_clamps))):
        raise UserError(
            f"mask must be bool {tuple(lead)} or {(*lead, n_clamps)}, got {mask.dtype} {tuple(mask.shape)}. "
            "Give one flag a token, or one a token and clamp."
        )
    if given is None and not rows.partial:
        raise UserError(
            "The features of a topk SAE must be encoded in full to be known, got none. Pass their values as "
            "given="
        )
    if given is not None and given.shape != (*lead, n_clamps):
        raise UserError(f"given must be {(*lead, n_clamps)}, got {tuple(given.shape)}. One value a clamp.")
    if (rule is None) != (rows.slope.ndim == 1) or (
        rule is not None and (rule.dtype != torch.int64 or rule.shape != lead)
    ):
        raise UserError(
            f"rule must be int64 {tuple(lead)} where the clamps hold several rules, and None where they hold one, got "
            f"{'None' if rule is None else f'{rule.dtype} {tuple(rule.shape)}'}. Give the rule of each token."
        )
    few = n_clamps <= MAX_TRITON_CLAMPS
    chosen = choose(
        "clamp_features",
        backend,
        (x, y, mask, given, rule, rows.W_enc, rows.W_dec),
        obstacle=None if few else f"at most {MAX_TRITON_CLAMPS} clamps, not {n_clamps}",
    )
    n = math.prod(lead)
    flat_x = x.reshape(n, d_in)
    flat_y = None if y is None else y.reshape(n, d_out)
    flat_mask = None
    if mask is not None:
        flat_mask = (mask[..., None] if mask.shape == lead else mask).expand(*lead, n_clamps)
        flat_mask = flat_mask.reshape(n, n_clamps)
    flat_given = None if given is None else given.reshape(n, n_clamps)
    flat: dict[str, Tensor | None] = {
        "y": flat_y,
        "mask": flat_mask,
        "given": flat_given,
        "rule": None if rule is None else rule.reshape(n),
    }

    def triton() -> Clamped:
        from emosae.kernels import triton_clamp

        return triton_clamp.clamp(flat_x, rows, **flat, record=record)

    clamped = run(
        "clamp_features",
        chosen,
        {
            Backend.REFERENCE: lambda: reference.clamp(flat_x, rows, **flat),
            Backend.TORCH: lambda: torch_paths.clamp(flat_x, rows, **flat),
            Backend.TRITON: triton,
        },
    )
    if not record:
        return clamped._replace(edited=clamped.edited.reshape(*lead, d_out))
    return Clamped(*(part.reshape(*lead, *part.shape[1:]) for part in clamped))
