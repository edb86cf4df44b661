"""Kernels are compiled ahead of time for GPUs that this machine need not have: they build, and nothing spills."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="needs the package triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from emosae.kernels import triton_clamp, triton_decode, triton_encode  # noqa: E402

pytestmark = pytest.mark.skipif(
    triton_decode.INTERPRETED, reason="needs Triton's compiler; TRITON_INTERPRET is set"
)

TARGETS = {"sm_80": GPUTarget("cuda", 80, 32), "sm_90": GPUTarget("cuda", 90, 32)}
I64_STRIDES = dict.fromkeys(
    ("stride_W_row", "stride_x_row", "stride_index_row", "stride_residual_row"), "i64"
)

# Each case: kernel, warps, pointer types, compile-time values. Strides of rows are i32 or i64 as they come.
DECODE_POINTERS = {"indices": "*i32", "values": "*fp32", "crow": "*i64", "residual": "*bf16", "out": "*fp32"}
VECTORS = dict.fromkeys(
    ("gate_bias", "bound", "gain", "bias", "slope", "shift", "low", "high", "per_norm"), "*fp32"
)
CLAMP_POINTERS = VECTORS | {
    "only_if_active": "*u8",
    "mask": "*u8",
    "given": "*fp32",
    "rule": "*i64",
    "record": "*fp32",
}
ENCODE_POINTERS = VECTORS | {"indices": "*i32", "values": "*fp32", "counts": "*i32"}


def decode_case(W: str, *, csr: bool, residual: bool, columns: int) -> Any:
    flags = {"CSR": csr, "HAS_RESIDUAL": residual, "BLOCK_SLOTS": 16, "BLOCK_COLUMNS": columns}
    return triton_decode.sum_slots_kernel, 4, DECODE_POINTERS | {"W": W}, flags


def clamp_case(
    kind: str,
    n_clamps: int,
    normalization: int,
    *,
    given: bool = False,
    told: bool = False,
    scaled: bool = True,
) -> Any:
    clamps, columns = triton_clamp.tile_of(n_clamps, 4096)
    flags = {"NORMALIZATION": normalization, "CENTER": normalization == 0, "SCALED": scaled, "HAS_MASK": True}
    flags |= {"BY_RULE": told, "RECORD": told}
    flags |= {"GIVEN": given, "BLOCK_CLAMPS": clamps, "BLOCK_COLUMNS": columns}
    tensors = {"x": kind, "y": kind, "out": kind, "W_enc": "*fp32", "W_dec": "*fp32"}
    return triton_clamp.clamp_kernel, 8, CLAMP_POINTERS | tensors, flags


def encode_case(x: str, W: str, n: int) -> Any:
    widen = x == "*fp32" or x != W
    tokens, depth = triton_encode.block_of(n, widen)
    flags = {"WIDEN": widen, "BLOCK_TOKENS": tokens, "BLOCK_DEPTH": depth}
    flags |= {"BLOCK_FEATURES": triton_encode._BLOCK_FEATURES}
    return triton_encode.encode_kernel, 4, ENCODE_POINTERS | {"x": x, "W": W}, flags


CASES = {
    "decode fp32, 64 columns": decode_case("*fp32", csr=False, residual=True, columns=64),
    "decode bf16, 256 columns": decode_case("*bf16", csr=False, residual=True, columns=256),
    "decode csr fp16, 256 columns": decode_case("*fp16", csr=True, residual=False, columns=256),
    "decode finish": (
        triton_decode.finish_kernel,
        4,
        {"parts": "*fp32", "residual": "*bf16", "out": "*bf16"},
        {"HAS_RESIDUAL": True, "BLOCK_COLUMNS": 256},
    ),
    "clamp 1 bf16": clamp_case("*bf16", 1, 0),
    "clamp 4 fp32": clamp_case("*fp32", 4, 1),
    "clamp 16 bf16": clamp_case("*bf16", 16, 2),
    "clamp 64 fp16": clamp_case("*fp16", 64, 1),
    "clamp 16 given": clamp_case("*bf16", 16, 0, given=True),
    "clamp 4 bf16, recorded": clamp_case("*bf16", 4, 0, told=True),
    "clamp 16 bf16, recorded": clamp_case("*bf16", 16, 1, told=True),
    "clamp 64 fp32, recorded": clamp_case("*fp32", 64, 2, told=True),
    "clamp 16 bf16 of a transcoder": clamp_case("*bf16", 16, 2, told=True, scaled=False),
    "encode fp32": encode_case("*fp32", "*fp32", 1024),
    "encode bf16, 1 token": encode_case("*bf16", "*bf16", 1),
    "encode bf16, many": encode_case("*bf16", "*bf16", 1024),
    "encode fp32 by bf16": encode_case("*fp32", "*bf16", 1024),
    "encode join": (
        triton_encode.join_kernel,
        1,
        {"indices": "*i32", "values": "*fp32", "ends": "*i64", "counts": "*i32"}
        | {"out_indices": "*i32", "out_values": "*fp32"},
        {"BLOCK_SLOTS": 128},
    ),
}


def build(case: str, target: str) -> Any:
    """Compile one case as a launch with these arguments would: strides of rows wide, sizes run-time."""
    kernel, warps, pointers, flags = CASES[case]
    signature, constants = {}, {}
    for name in kernel.arg_names:
        if name in flags:
            signature[name], constants[name] = "constexpr", flags[name]
        elif name.endswith("_column"):  # contiguous, which a launch makes a constant
            signature[name], constants[name] = "constexpr", 1
        else:
            signature[name] = pointers.get(name) or I64_STRIDES.get(name, "i32")
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return triton.compile(source, target=TARGETS[target], options=options)


def disassemble(binary: Path) -> str:
    """Give the machine code, through the tool that Triton brings."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
    if not tool.is_file():
        pytest.skip(f"needs Triton's nvdisasm at {tool}")
    return subprocess.run([str(tool), str(binary)], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_it_builds_without_spills(case: str, target: str, tmp_path: Path) -> None:
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(build(case, target).asm["cubin"])
    code = disassemble(binary)
    assert re.search(r"\bSTG\b", code)  # it is code, and it stores something
    # a register that does not fit is stored to and loaded from local memory
    assert re.findall(r"\b(?:STL|LDL)\b", code) == []


@pytest.mark.parametrize("case", CASES)
def test_addresses_are_int64_and_nothing_is_atomic(case: str) -> None:
    ttir = build(case, "sm_80").asm["ttir"]
    offsets = re.findall(r"tt\.addptr .*: \S+, (?:tensor<(?:\d+x)+(i\d+)|(i\d+))", ttir)
    assert len(offsets) == len(re.findall(r"= tt\.addptr", ttir)) > 0
    assert {scalar or tensor for tensor, scalar in offsets} == {"i64"}
    assert "atomic" not in ttir  # which would add in another order each run
