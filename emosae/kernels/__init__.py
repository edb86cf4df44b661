"""The arithmetic of sparse autoencoders where speed counts: a reference, torch's operators, Triton's kernels.

The only package that knows Triton. `emosae.kernels.reference` says what each operation means; the functions
named here check their arguments, choose a backend from them and record which one ran. No gradient flows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.kernels.clamp import clamp_features, clamp_features_recorded
    from emosae.kernels.decode import sparse_decode, sparse_decode_csr
    from emosae.kernels.dispatch import Backend, Ran, last_backend, record_backends, use_backend
    from emosae.kernels.encode import encode_features
    from emosae.kernels.gates import ClampOp, ClampRows, Gate, clamp_rows, gate_of
    from emosae.kernels.reference import Clamped, Compacted

_HOMES = {
    "Backend": "dispatch",
    "ClampOp": "gates",
    "ClampRows": "gates",
    "Clamped": "reference",
    "Compacted": "reference",
    "Gate": "gates",
    "Ran": "dispatch",
    "clamp_features": "clamp",
    "clamp_features_recorded": "clamp",
    "clamp_rows": "gates",
    "encode_features": "encode",
    "gate_of": "gates",
    "last_backend": "dispatch",
    "record_backends": "dispatch",
    "sparse_decode": "decode",
    "sparse_decode_csr": "decode",
    "use_backend": "dispatch",
}

__all__ = [
    "Backend",
    "ClampOp",
    "ClampRows",
    "Clamped",
    "Compacted",
    "Gate",
    "Ran",
    "clamp_features",
    "clamp_features_recorded",
    "clamp_rows",
    "encode_features",
    "gate_of",
    "last_backend",
    "record_backends",
    "sparse_decode",
    "sparse_decode_csr",
    "use_backend",
]


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
