"""Reading a converted SAE: mapped, row by row, each row checked the first time it is read."""

from __future__ import annotations

import json
import mmap
import os
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.saes.pack import DTYPES, checksum_name, fingerprint, raw_bytes

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["CorruptSAEError", "Weights"]


class CorruptSAEError(UserError):
    """A converted SAE whose bytes are not those that were written."""


class Weights:
    """The tensors of a converted SAE, read where they lie.

    Vectors are small and read at once. Of the matrices nothing is read before it is asked for: `rows` reads
    the bytes of those rows alone, `matrix` gives the whole as a view of the mapped file, which processes on
    one machine share.
    """

    def __init__(
        self,
        buffer: mmap.mmap | bytearray,
        checksums: Mapping[str, int],
        location: str,
        *,
        descriptor: int | None = None,
    ) -> None:
        self._buffer = buffer
        self._descriptor = descriptor
        self._location = location
        self._table, self._start = self._read_table()
        self._tensors = {name: self._view(name) for name in self._table}
        self._matrices = tuple(name for name in self._table if checksum_name(name) in self._table)
        self._whole: set[str] = set()
        for name in self._tensors:
            if name not in self._matrices and zlib.crc32(raw_bytes(self._tensors[name])) != checksums.get(
                name
            ):
                raise self._corrupt(f"The tensor {name}")
        self._checksums = {name: self._tensors[checksum_name(name)].numpy() for name in self._matrices}

    @classmethod
    def open(cls, path: Path, checksums: Mapping[str, int]) -> Weights:
        """Map a file of weights.

        Args:
            path: The safetensors file that `PackPlan.write` made.
            checksums: What it returned, for the tensors that are read at once.

        Raises:
            CorruptSAEError: The file is cut short, or a vector is not as it was written.
        """
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            # A private mapping: torch wants it writable, and nothing written reaches the file.
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
            weights = cls(mapped, checksums, str(path), descriptor=descriptor)
        except Exception as error:
            os.close(descriptor)
            if isinstance(error, UserError) or not isinstance(error, ValueError):
                raise
            raise _corrupt_file(str(path)) from None  # an empty file cannot be mapped
        weakref.finalize(weights, os.close, descriptor)
        return weights

    @property
    def vectors(self) -> dict[str, Float[Tensor, " ..."]]:
        """The vectors by name, float32."""
        hidden = {checksum_name(name) for name in self._matrices} | set(self._matrices)
        return {name: tensor for name, tensor in self._tensors.items() if name not in hidden}

    @property
    def nbytes(self) -> int:
        """The size of all tensors together."""
        return len(self._buffer)

    def dtype(self, name: str) -> torch.dtype:
        """The dtype a matrix is stored in."""
        return self._tensors[name].dtype

    def matrix(self, name: str) -> Float[Tensor, "n_rows n_columns"]:
        """Give a whole matrix as a view of the mapped file; all its rows are checked the first time."""
        if name not in self._whole:
            wrong = self.wrong_rows(name)
            if wrong:
                raise self._corrupt(f"Row {wrong[0]} of {name}")
            self._whole.add(name)
        return self._tensors[name]

    def rows(self, name: str, rows: Int[Tensor, " n"]) -> Float[Tensor, "n n_columns"]:
        """Give a copy of some rows of a matrix; those, and no others, are read and checked.

        They are read, not mapped: a page fault brings in what lies around it, up to megabytes a row.
        """
        start, width = self._extent(name)
        content = bytearray(len(rows) * width)
        for place, row in enumerate(rows.tolist()):
            part = self._read(start + row * width, width)
            if zlib.crc32(part) != self._checksums[name][row]:
                raise self._corrupt(f"Row {row} of {name}")
            content[place * width : (place + 1) * width] = part
        if not content:
            return self._tensors[name][:0].clone()
        return torch.frombuffer(content, dtype=self.dtype(name)).view(len(rows), -1)

    def wrong_rows(self, name: str) -> list[int]:
        """Give the rows of a matrix that are not as they were written; every byte is read."""
        start, width = self._extent(name)
        sums, data = self._checksums[name], memoryview(self._buffer)
        offsets = range(start, start + len(sums) * width, width)
        return [row for row, at in enumerate(offsets) if zlib.crc32(data[at : at + width]) != sums[row]]

    def fingerprint(self, arithmetic: Mapping[str, Any]) -> str:
        """Give the fingerprint of what the file says it holds."""
        matrices = {name: (self._table[name]["dtype"], self._checksums[name]) for name in self._matrices}
        source = {name: vector for name, vector in self.vectors.items() if name != "decoder_norm"}
        return fingerprint(arithmetic, matrices, source)

    @property
    def matrices(self) -> tuple[str, ...]:
        """The names of the matrices."""
        return self._matrices

    def _read_table(self) -> tuple[dict[str, dict[str, Any]], int]:
        length = int.from_bytes(self._buffer[:8], "little")
        try:
            table = json.loads(self._buffer[8 : 8 + length])
            table.pop("__metadata__", None)
            end = max(entry["data_offsets"][1] for entry in table.values())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _corrupt_file(self._location) from None
        if 8 + length + end != len(self._buffer):
            raise _corrupt_file(self._location)
        return table, 8 + length

    def _view(self, name: str) -> Tensor:
        entry = self._table[name]
        count = int(np.prod(entry["shape"]))
        offset = self._start + entry["data_offsets"][0]
        flat = torch.frombuffer(self._buffer, dtype=DTYPES[entry["dtype"]], count=count, offset=offset)
        return flat.view(entry["shape"])

    def _extent(self, name: str) -> tuple[int, int]:
        """Where a matrix begins in the file, and how many bytes a row has."""
        tensor = self._tensors[name]
        return self._start + self._table[name]["data_offsets"][0], tensor.shape[1] * tensor.element_size()

    def _read(self, start: int, length: int) -> bytes:
        if self._descriptor is not None and hasattr(os, "pread"):
            return os.pread(self._descriptor, length, start)
        return bytes(self._buffer[start : start + length])

    def _corrupt(self, what: str) -> CorruptSAEError:
        return CorruptSAEError(
            f"{what} in the converted SAE at {self._location!r} does not match its checksum. "
            "Delete that folder; the SAE is converted again when it is next used."
        )


def _corrupt_file(location: str) -> CorruptSAEError:
    return CorruptSAEError(
        f"The converted SAE at {location!r} is cut short or not a file of emosae's. "
        "Delete that folder; the SAE is converted again when it is next used."
    )
