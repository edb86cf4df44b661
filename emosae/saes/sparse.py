"""Feature activations as they are: a few non-zeros in each row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emosae.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from scipy.sparse import csr_array

__all__ = ["SparseFeatures"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseFeatures:
    """Feature activations in compressed rows (CSR), with the numbers of each input that decode needs.

    Row r, one for each position of the leading dimensions in row-major order, holds the slots
    `crow[r]` to `crow[r + 1]`. The order of its slots means nothing, a zero is a missing slot, and two slots
    of one feature add up.

    Attributes:
        crow: Where each row begins, int64 [n_rows + 1].
        indices: The column of each slot, int32 or int64 [nnz].
        values: The activation of each slot, [nnz]; float32 from `encode`.
        shape: The dense shape, leading dimensions and then the number of columns.
        scale: What decode multiplies each row with (std, or norm / sqrt(d_in)), [n_rows]; None is 1.
        shift: What decode adds to each row after that (the mean), [n_rows]; None is 0.
        features: The feature of each column where only some were encoded, int64 [n_columns]; None is all.

    Raises:
        UserError: The parts do not fit together, or an index is outside the columns.

    Example:
        >>> import torch
        >>> f = SparseFeatures.from_dense(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]))
        >>> f.nnz, f.l0.tolist()
        (3, [1, 2])
    """

    crow: Int[Tensor, " n_rows+1"]
    indices: Int[Tensor, " nnz"]
    values: Float[Tensor, " nnz"]
    shape: tuple[int, ...]
    scale: Float[Tensor, " n_rows"] | None = None
    shift: Float[Tensor, " n_rows"] | None = None
    features: Int[Tensor, " n_columns"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if not self.shape or any(size < 0 for size in self.shape):
            raise UserError(
                f"The shape must be leading dimensions and a number of columns, got {self.shape}."
            )
        n_rows = len(self)
        if self.crow.dtype != torch.int64 or self.indices.dtype not in (torch.int32, torch.int64):
            raise UserError(
                f"crow must be int64 and indices int32 or int64, got {self.crow.dtype} and "
                f"{self.indices.dtype}."
            )
        if (
            self.crow.shape != (n_rows + 1,)
            or self.indices.ndim != 1
            or self.indices.shape != self.values.shape
        ):
            raise UserError(
                f"crow must have one entry more than the {n_rows} rows, and indices and values one length, "
                f"got {tuple(self.crow.shape)}, {tuple(self.indices.shape)} and {tuple(self.values.shape)}."
            )
        ends = (int(self.crow[0]), int(self.crow[-1]))
        if ends != (0, self.nnz) or bool((self.crow[1:] < self.crow[:-1]).any()):
            raise UserError(
                f"crow must rise from 0 to the number of slots ({self.nnz}), got {ends[0]} to {ends[1]}."
            )
        if self.nnz:
            low, high = (int(bound) for bound in torch.aminmax(self.indices))
            if low < 0 or high >= self.shape[-1]:
                raise UserError(f"Indices must be in 0 to {self.shape[-1] - 1}, got {low} to {high}.")
        for name in ("scale", "shift"):
            part = getattr(self, name)
            if part is not None and part.shape != (n_rows,):
                raise UserError(
                    f"{name} must have one number for each of {n_rows} rows, got {tuple(part.shape)}."
                )
        if self.features is not None and self.features.shape != self.shape[-1:]:
            raise UserError(
                f"features must name each of the {self.shape[-1]} columns, got {len(self.features)}."
            )

    @classmethod
    def from_dense(
        cls,
        dense: Float[Tensor, "*lead columns"],
        *,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> SparseFeatures:
        """Keep the non-zeros of a dense tensor.

        Args:
            dense: Activations, the features last.
            scale: As the attribute of that name, one number a row.
            shift: As the attribute of that name, one number a row.

        Returns:
            The same activations, sparse.
        """
        flat = dense.reshape(-1, dense.shape[-1])
        rows, columns = flat.nonzero(as_tuple=True)
        return cls(
            crow=_crow(rows, len(flat)),
            indices=columns.to(torch.int32),
            values=flat[rows, columns],
            shape=tuple(dense.shape),
            scale=scale,
            shift=shift,
        )

    def __len__(self) -> int:
        return math.prod(self.shape[:-1])

    def __iter__(self) -> Iterator[tuple[Int[Tensor, " slots"], Float[Tensor, " slots"]]]:
        for start, end in itertools.pairwise(self.crow.tolist()):
            yield self.indices[start:end], self.values[start:end]

    def __repr__(self) -> str:
        return f"SparseFeatures(shape={self.shape}, nnz={self.nnz}, device={str(self.device)!r})"

    @property
    def nnz(self) -> int:
        """The number of slots in all rows together."""
        return self.values.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.values.device

    @property
    def l0(self) -> Int[Tensor, " *lead"]:
        """The number of slots of each row, in the leading shape."""
        return self.crow.diff().reshape(self.shape[:-1])

    @property
    def row_indices(self) -> Int[Tensor, " nnz"]:
        """The row of each slot."""
        rows = torch.arange(len(self), device=self.device)
        return torch.repeat_interleave(rows, self.crow.diff(), output_size=self.nnz)

    def to_dense(self) -> Float[Tensor, "*lead columns"]:
        """Give the dense tensor; it takes n_rows x n_columns numbers."""
        dense = torch.zeros(len(self) * self.shape[-1], dtype=self.values.dtype, device=self.device)
        dense.index_add_(0, self.row_indices * self.shape[-1] + self.indices, self.values)
        return dense.reshape(self.shape)

    def to_scipy(self) -> csr_array:
        """Give a scipy CSR array [n_rows, n_columns]; without a copy where the types allow."""
        from scipy.sparse import csr_array

        parts = (part.detach().cpu() for part in (self.values, self.indices, self.crow))
        values, indices, crow = parts
        narrow = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        shape = (len(self), self.shape[-1])
        return csr_array((narrow.numpy(), indices.numpy(), crow.numpy()), shape=shape)

    def reshape(self, *lead: int) -> SparseFeatures:
        """Give the same rows with other leading dimensions."""
        return replace(self, shape=(*lead, self.shape[-1]))

    def columns(self, columns: Int[Tensor, " n_columns"]) -> SparseFeatures:
        """Pick columns, in the order given; repeats are allowed.

        Args:
            columns: Column numbers, int64.

        Returns:
            The rows of those columns alone; its `features` names them.
        """
        wanted, place = torch.unique(columns, return_inverse=True)
        if not len(wanted):
            kept = at = torch.empty(0, dtype=torch.int64, device=self.device)
        else:
            at = torch.searchsorted(wanted, self.indices.to(torch.int64)).clamp(max=len(wanted) - 1)
            kept = (wanted[at] == self.indices).nonzero().view(-1)
            at = at[kept]
        # Each kept slot goes to every place that asked for its column.
        copies = torch.bincount(place, minlength=len(wanted))
        places = torch.argsort(place, stable=True)
        repeats = copies[at]
        first_place = (copies.cumsum(0) - copies)[at] - (repeats.cumsum(0) - repeats)
        total = int(repeats.sum())
        position = torch.arange(total, device=self.device)
        position += torch.repeat_interleave(first_place, repeats, output_size=total)
        rows = torch.repeat_interleave(self.row_indices[kept], repeats, output_size=total)
        return replace(
            self,
            crow=_crow(rows, len(self)),
            indices=places[position].to(torch.int32),
            values=torch.repeat_interleave(self.values[kept], repeats, output_size=total),
            shape=(*self.shape[:-1], len(columns)),
            features=columns if self.features is None else self.features[columns],
        )

    def to(self, device: str | torch.device) -> SparseFeatures:
        """Give the same features on another device."""

        def move(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device)

        if torch.device(device) == self.device:
            return self
        return replace(
            self,
            crow=self.crow.to(device),
            indices=self.indices.to(device),
            values=self.values.to(device),
            scale=move(self.scale),
            shift=move(self.shift),
            features=move(self.features),
        )


def _crow(rows: Tensor, n_rows: int) -> Tensor:
    """Where each row begins, given the row of each slot in rising order."""
    crow = torch.zeros(n_rows + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=n_rows), 0, out=crow[1:])
    return crow
