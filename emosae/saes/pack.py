"""The file of a converted SAE: one safetensors file, feature-major, with a checksum for each row."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from emosae.saes.convert import FeatureMajor

__all__ = ["PackPlan", "Packed", "checksum_name", "fingerprint", "plan", "raw_bytes", "row_checksums"]

_CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.uint32: "U32"}
DTYPES = {code: dtype for dtype, code in _CODES.items()}
_HEADER_ALIGNMENT = 64


def checksum_name(matrix: str) -> str:
    """The tensor that holds the checksums of a matrix' rows."""
    return f"checksum.{matrix}"


def raw_bytes(tensor: Tensor) -> memoryview:
    """Give the bytes of a contiguous CPU tensor, without a copy."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def row_checksums(rows: Tensor) -> np.ndarray:
    """Give the CRC-32 of each row's bytes as uint32 [n_rows]."""
    data, width = raw_bytes(rows), rows.shape[1] * rows.element_size()
    sums = (zlib.crc32(data[start : start + width]) for start in range(0, len(data), width))
    return np.fromiter(sums, dtype=np.uint32, count=rows.shape[0])


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written.

    Attributes:
        fingerprint: The content's identity, see `fingerprint`.
        checksums: CRC-32 of every tensor but the matrices, whose rows have their own.
    """

    fingerprint: str
    checksums: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class PackPlan:
    """Where each tensor goes, settled before the first byte is written.

    Attributes:
        raw: The SAE.
        header: The file's first bytes: their own length, and the table of tensors as safetensors has it.
        dtypes: How each matrix is stored.
        offsets: The first byte of each tensor in the file.
        nbytes: The file's size.
    """

    raw: FeatureMajor
    header: bytes
    dtypes: dict[str, torch.dtype]
    offsets: dict[str, int]
    nbytes: int

    def write(self, file: BinaryIO) -> Packed:
        """Write the SAE into an empty seekable file, block by block."""
        vectors = dict(self.raw.vectors)
        row_sums: dict[str, np.ndarray] = {}
        file.write(self.header)
        for name, matrix in self.raw.matrices.items():
            file.seek(self.offsets[name])
            sums, norms = [], []
            for _, block in matrix.blocks():
                stored = block.to(self.dtypes[name])
                file.write(raw_bytes(stored))
                sums.append(row_checksums(stored))
                norms.append(block.norm(dim=-1))
            row_sums[name] = np.concatenate(sums)
            if name == "W_dec":
                vectors["decoder_norm"] = torch.cat(norms)
        small = {name: bytes(raw_bytes(vector)) for name, vector in vectors.items()}
        small |= {checksum_name(name): sums.tobytes() for name, sums in row_sums.items()}
        for name, content in small.items():
            file.seek(self.offsets[name])
            file.write(content)
        identity = fingerprint(
            self.raw.cfg.arithmetic,
            {name: (_CODES[dtype], row_sums[name]) for name, dtype in self.dtypes.items()},
            self.raw.vectors,
        )
        return Packed(identity, {name: zlib.crc32(content) for name, content in small.items()})


def plan(raw: FeatureMajor) -> PackPlan:
    """Choose each matrix' dtype and lay the file out.

    Matrices are stored in the smallest dtype that holds them exactly, vectors in float32. Four-byte tensors
    come first, so that every tensor is aligned.
    """
    dtypes = {name: matrix.narrowest_dtype() for name, matrix in raw.matrices.items()}
    tensors: list[tuple[str, torch.dtype, tuple[int, ...]]] = [
        (name, torch.float32, tuple(vector.shape)) for name, vector in raw.vectors.items()
    ]
    tensors.append(("decoder_norm", torch.float32, (raw.cfg.d_sae,)))
    tensors += [
        (checksum_name(name), torch.uint32, matrix.shape[:1]) for name, matrix in raw.matrices.items()
    ]
    tensors += [(name, dtypes[name], matrix.shape) for name, matrix in raw.matrices.items()]
    tensors.sort(key=lambda tensor: -tensor[1].itemsize)

    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape in tensors:
        start, end = end, end + dtype.itemsize * int(np.prod(shape))
        table[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(table).encode()
    text += b" " * (-(len(text) + 8) % _HEADER_ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    offsets = {name: len(header) + table[name]["data_offsets"][0] for name, _, _ in tensors}
    return PackPlan(raw, header, dtypes, offsets, len(header) + end)


def fingerprint(
    arithmetic: Mapping[str, Any],
    matrices: Mapping[str, tuple[str, np.ndarray]],
    vectors: Mapping[str, Tensor],
) -> str:
    """Name an SAE by its content: the same for the same weights and arithmetic, wherever they came from.

    Args:
        arithmetic: `SAEConfig.arithmetic`.
        matrices: Storage dtype and row checksums of each matrix.
        vectors: The vectors of the source; what is derived from others has no part in it.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(dict(arithmetic), sort_keys=True).encode())
    for name in sorted(matrices):
        dtype, sums = matrices[name]
        digest.update(f"{name} {dtype} {len(sums)}".encode())
        digest.update(np.ascontiguousarray(sums, dtype="<u4").tobytes())
    for name in sorted(vectors):
        digest.update(f"{name} {tuple(vectors[name].shape)}".encode())
        digest.update(raw_bytes(vectors[name]))
    return digest.hexdigest()[:32]
