"""Sparse decode: the sum of a few decoder rows, through the backend that the tensors call for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.kernels import reference, torch_paths
from emosae.kernels.dispatch import Backend, choose, run

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["sparse_decode", "sparse_decode_csr"]


@torch.no_grad()
def sparse_decode(
    indices: Int[Tensor, "*lead k"],
    values: Float[Tensor, "*lead k"],
    W_dec: Float[Tensor, "d_sae d"],
    *,
    residual: Float[Tensor, "*lead d"] | None = None,
    check: bool = True,
    backend: Backend | str | None = None,
) -> Float[Tensor, "*lead d"]:
    """Give `sum_j values[..., j] * W_dec[indices[..., j]]`, reading only those rows of the decoder.

    Sums are accumulated in float32. The order of slots means nothing, a slot of value 0 is no slot (its row
    is not read), two slots of one feature add up. The same call gives the same bits each time; another
    number of rows or slots may sum in another order.

    Args:
        indices: Features, int32 or int64.
        values: Their activations; float32, bfloat16 or float16 (float64 through torch).
        W_dec: The decoder, a row for each feature, in any of those dtypes and any strides.
        residual: Added to the sum before it is rounded; None adds nothing.
        check: Whether to look for indices outside the decoder, for which a GPU has to be waited for. False
            for a CUDA graph; an index outside then makes its row NaN.
        backend: `reference`, `torch` or `triton`; None chooses: Triton on a GPU, torch elsewhere.

    Returns:
        The sums, in the residual's dtype if there is one, else in that of `values * W_dec`.

    Raises:
        UserError: Shapes, dtypes or devices that do not fit, an index outside the decoder, or a backend
            that cannot do this call.

    Example:
        >>> import torch, emosae
        >>> W_dec = torch.tensor([[1.0, 2.0], [10.0, 20.0]])
        >>> emosae.sparse_decode(torch.tensor([0, 1]), torch.tensor([3.0, 0.5]), W_dec)
        tensor([ 8., 16.])
    """
    _check_kinds(indices, values, W_dec)
    if indices.ndim == 0 or indices.shape != values.shape:
        raise UserError(
            f"indices and values must have one shape [..., k], got {tuple(indices.shape)} and "
            f"{tuple(values.shape)}. Give a value for each index."
        )
    lead, k = indices.shape[:-1], indices.shape[-1]
    _check_residual(residual, (*lead, W_dec.shape[1]))
    chosen = choose("sparse_decode", backend, (values, indices, W_dec, residual))
    if check:
        _check_range(indices, len(W_dec))
    n = math.prod(lead)
    flat = (
        indices.reshape(n, k),
        values.reshape(n, k),
        W_dec,
        None if residual is None else residual.reshape(n, W_dec.shape[1]),
    )

    def triton() -> Tensor:
        from emosae.kernels import triton_decode

        return triton_decode.decode(*flat)

    out = run(
        "sparse_decode",
        chosen,
        {
            Backend.REFERENCE: lambda: reference.decode(*flat),
            Backend.TORCH: lambda: torch_paths.decode(*flat, known=check),
            Backend.TRITON: triton,
        },
    )
    return out.reshape(*lead, W_dec.shape[1])


@torch.no_grad()
def sparse_decode_csr(
    crow: Int[Tensor, " n+1"],
    indices: Int[Tensor, " nnz"],
    values: Float[Tensor, " nnz"],
    W_dec: Float[Tensor, "d_sae d"],
    *,
    residual: Float[Tensor, "n d"] | None = None,
    check: bool = True,
    backend: Backend | str | None = None,
) -> Float[Tensor, "n d"]:
    """Do as `sparse_decode` for rows of different numbers of slots (CSR, as SparseFeatures holds them).

    Args:
        crow: Where each row begins among the slots, rising from 0 to nnz, int64 [n + 1].
        indices: Features, int32 or int64.
        values: Their activations.
        W_dec: The decoder.
        residual: Added to the sum; None adds nothing.
        check: As in `sparse_decode`; also that crow rises from 0 to nnz. Unchecked, it must.
        backend: As in `sparse_decode`.

    Returns:
        The sums of the n rows, in the dtype that `sparse_decode` gives.

    Raises:
        UserError: As in `sparse_decode`, or crow does not describe the slots.
    """
    _check_kinds(indices, values, W_dec)
    if indices.ndim != 1 or indices.shape != values.shape:
        raise UserError(
            f"indices and values must have one shape [nnz], got {tuple(indices.shape)} and "
            f"{tuple(values.shape)}. Give a value for each index."
        )
    if crow.ndim != 1 or crow.dtype != torch.int64 or len(crow) == 0:
        raise UserError(f"crow must be int64 [n + 1], got {crow.dtype} {tuple(crow.shape)}. Convert it.")
    _check_residual(residual, (len(crow) - 1, W_dec.shape[1]))
    chosen = choose("sparse_decode_csr", backend, (values, indices, crow, W_dec, residual))
    if check:
        ends = (int(crow[0]), int(crow[-1]))
        if ends != (0, len(indices)) or bool((crow[1:] < crow[:-1]).any()):
            raise UserError(
                f"crow must rise from 0 to the number of slots ({len(indices)}), got {ends[0]} to {ends[1]}. "
                "It is the running sum of the rows' numbers of slots."
            )
        _check_range(indices, len(W_dec))
    flat = (crow, indices, values, W_dec, residual)

    def triton() -> Tensor:
        from emosae.kernels import triton_decode

        return triton_decode.decode_csr(*flat)

    return run(
        "sparse_decode_csr",
        chosen,
        {
            Backend.REFERENCE: lambda: reference.decode_csr(*flat),
            Backend.TORCH: lambda: torch_paths.decode_csr(*flat),
            Backend.TRITON: triton,
        },
    )


def _check_kinds(indices: Tensor, values: Tensor, W_dec: Tensor) -> None:
    if indices.dtype not in (torch.int32, torch.int64):
        raise UserError(f"indices must be int32 or int64, got {indices.dtype}. Convert them.")
    if not values.is_floating_point() or not W_dec.is_floating_point():
        raise UserError(
            f"values and W_dec must be floating-point, got {values.dtype} and {W_dec.dtype}. Convert them."
        )
    if W_dec.ndim != 2:
        raise UserError(f"W_dec must be [d_sae, d], got shape {tuple(W_dec.shape)}. Give a row per feature.")


def _check_residual(residual: Tensor | None, shape: tuple[int, ...]) -> None:
    if residual is not None and (residual.shape != shape or not residual.is_floating_point()):
        raise UserError(
            f"residual must be floating-point {tuple(shape)}, got {residual.dtype} "
            f"{tuple(residual.shape)}. It is added to the sums, row by row."
        )


def _check_range(indices: Tensor, n_features: int) -> None:
    if indices.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(indices))
    if low < 0 or high >= n_features:
        wrong = low if low < 0 else high
        raise UserError(
            f"indices must be in 0 to {n_features - 1}, got {wrong}. Give an unused slot any such index and "
            "the value 0."
        )
