"""Encoding: numbers worked out by hand, partial and tiled encodes, dtypes, memory, and refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from saes_cases import ARCHITECTURES, D_SAE, activations, make_cfg, make_state
from torch.testing import assert_close

from emosae.errors import UserError
from emosae.saes import SparseAutoencoder, SparseFeatures
from emosae.saes.encode import _tile, encode_rows


def make_sae(architecture: str, *, seed: int = 0, **changes: object) -> SparseAutoencoder:
    return SparseAutoencoder.from_state_dict(
        make_cfg(architecture, **changes), make_state(architecture, seed=seed)
    )


def tiny(architecture: str, state: dict[str, list[float]], **cfg: object) -> SparseAutoencoder:
    """Two inputs, three features; W_enc reads x0, x1 and x0 + x1."""
    given_state = {name: torch.tensor(values) for name, values in state.items()}
    given_state |= {
        "W_enc": torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
        "W_dec": torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]]),
        "b_dec": given_state.get("b_dec", torch.zeros(2)),
    }
    fields = {"architecture": architecture, "d_in": 2, "d_sae": 3, "apply_b_dec_to_input": False}
    return SparseAutoencoder.from_state_dict(fields | cfg, given_state)


def test_standard_by_hand() -> None:
    sae = tiny("standard", {"b_enc": [0.5, 0.0, -1.0], "b_dec": [1.0, 1.0]}, apply_b_dec_to_input=True)
    # x - b_dec = (1, -3): h = (1.5, -3, -3)
    f = sae.encode(torch.tensor([2.0, -2.0]))
    assert f.to_dense().tolist() == [1.5, 0.0, 0.0]
    assert sae.decode(f).tolist() == [5.5, 7.0]


def test_jumprelu_is_strictly_above_its_threshold() -> None:
    sae = tiny("jumprelu", {"b_enc": [0.0, 0.0, 0.0], "threshold": [2.0, 2.0, -9.0]})
    assert sae.encode(torch.tensor([2.0, 2.5])).to_dense().tolist() == [0.0, 2.5, 4.5]
    assert sae.encode(torch.tensor([-2.0, -2.5])).nnz == 0  # below zero the relu decides, not the threshold


def test_topk_keeps_the_largest_and_drops_those_below_zero() -> None:
    sae = tiny("topk", {"b_enc": [0.0, 0.0, 0.0]}, k=2)
    assert sae.encode(torch.tensor([1.0, 3.0])).to_dense().tolist() == [0.0, 3.0, 4.0]
    assert sae.encode(torch.tensor([-1.0, -3.0])).nnz == 0


def test_topk_ranks_by_decoder_norm() -> None:
    sae = tiny("topk", {"b_enc": [0.0, 0.0, 0.0]}, k=1, rescale_acts_by_decoder_norm=True)
    f = sae.encode(torch.tensor([1.0, 3.0]))  # h = (1, 3, 4), norms (5, 1, 1)
    assert f.to_dense().tolist() == [5.0, 0.0, 0.0]
    assert sae.decode(f).tolist() == [3.0, 4.0]


def test_abstopk_keeps_the_sign() -> None:
    sae = tiny("abstopk", {"b_enc": [0.0, 0.0, 0.0]}, k=1)
    assert sae.encode(torch.tensor([1.0, -3.0])).to_dense().tolist() == [0.0, -3.0, 0.0]


def test_gated_by_hand() -> None:
    sae = tiny(
        "gated", {"b_gate": [0.0, -5.0, 0.0], "b_mag": [1.0, 1.0, -9.0], "r_mag": [np.log(2.0), 0.0, 0.0]}
    )
    # x @ W_enc = (2, 3, 5): gates 2 > 0, 3 - 5 < 0, 5 > 0; magnitudes 2 * 2 + 1, -, relu(5 - 9)
    assert_close(sae.encode(torch.tensor([2.0, 3.0])).to_dense(), torch.tensor([5.0, 0.0, 0.0]))


def test_layer_norm_by_hand() -> None:
    sae = tiny("standard", {"b_enc": [0.0, 0.0, 0.0]}, normalize_activations="layer_norm")
    f = sae.encode(torch.tensor([5.0, 1.0]))  # mean 3, unbiased std sqrt(8)
    assert f.scale is not None
    assert f.shift is not None
    assert_close(f.scale, torch.tensor([8.0**0.5]))
    assert f.shift.tolist() == [3.0]
    a = 2 / (8.0**0.5 + 1e-5)
    assert_close(f.to_dense(), torch.tensor([a, 0.0, 0.0]), atol=1e-6, rtol=1e-6)
    assert_close(sae.decode(f), torch.tensor([3 * a, 4 * a]) * 8.0**0.5 + 3.0)


def test_constant_norm_rescale_by_hand_and_at_zero() -> None:
    sae = tiny("standard", {"b_enc": [0.0, 0.0, 0.0]}, normalize_activations="constant_norm_rescale")
    f = sae.encode(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    root = 2.0**0.5
    assert f.scale is not None
    assert_close(f.scale, torch.tensor([5.0 / root, 0.0]))
    assert_close(f.to_dense()[0], torch.tensor([0.6, 0.8, 1.4]) * root)
    assert sae.decode(f)[1].tolist() == [0.0, 0.0]


def test_normalize_gives_the_scale_of_a_clamps_edit() -> None:
    x = activations(6)
    assert make_sae("standard").normalize(x).scale is None
    layer_norm = make_sae("standard", normalize_activations="layer_norm").normalize(x).scale
    assert layer_norm is not None
    assert_close(layer_norm, x.std(dim=-1))
    constant = make_sae("standard", normalize_activations="constant_norm_rescale").normalize(x).scale
    assert constant is not None
    assert_close(constant, x.norm(dim=-1) / 4.0)
    # A transcoder writes elsewhere: nothing of its input scales its output.
    assert make_sae("transcoder", normalize_activations="layer_norm").normalize(x).scale is None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(
    features=st.lists(st.integers(0, D_SAE - 1), max_size=10),
    lead=st.lists(st.integers(0, 3), max_size=2),
    seed=st.integers(0, 50),
)
@settings(deadline=None, max_examples=15)
def test_partial_encode_equals_the_columns_of_the_whole(
    architecture: str, features: list[int], lead: list[int], seed: int
) -> None:
    sae = make_sae(architecture, normalize_activations="layer_norm")
    x = activations(*lead, seed=seed)
    part = sae.encode(x, features=features)
    assert part.features is not None
    assert part.features.tolist() == features
    assert_close(part.to_dense(), sae.encode(x).to_dense()[..., features], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("n", "buffer_bytes"), [(3, 4), (300, 4 * 256 * 7), (300, 4 * 256 * 40)])
def test_small_tiles_give_the_same_features(architecture: str, n: int, buffer_bytes: int) -> None:
    sae = make_sae(architecture, normalize_activations="constant_norm_rescale")
    x = activations(n)
    whole = sae.encode(x)
    encoder = sae._encoder(sae.W_enc_rows, sae.vectors)
    tiled = encode_rows(x, sae.cfg, sae.b_dec, encoder, buffer_bytes=buffer_bytes)
    assert torch.equal(tiled.crow, whole.crow)
    assert torch.equal(tiled.indices, whole.indices)
    assert_close(tiled.values, whole.values, atol=1e-5, rtol=1e-5)
    if whole.scale is not None:
        assert tiled.scale is not None
        assert torch.equal(tiled.scale, whole.scale)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_columns_rise_within_each_row(architecture: str) -> None:
    for indices, values in make_sae(architecture).encode(activations(20)):
        assert (indices.diff() > 0).all()
        assert (values != 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_accumulates_in_float32(dtype: torch.dtype) -> None:
    """The result is that of float64 on the rounded inputs, not of a product that was rounded on the way."""
    sae = make_sae("standard", apply_b_dec_to_input=False).to(dtype=dtype)
    x = activations(50).to(dtype)
    f = sae.encode(x)
    assert f.values.dtype == torch.float32
    assert sae.b_enc is not None
    h = x.double() @ sae.W_enc.double() + sae.b_enc.double()
    assert_close(f.to_dense().double(), h.relu(), atol=1e-5, rtol=1e-5)
    y = sae.decode(f)
    assert y.dtype == torch.float32
    assert_close(y.double(), h.relu() @ sae.W_dec.double() + sae.b_dec.double(), atol=1e-4, rtol=1e-5)
    assert_close(sae.decode(f.to_dense()), y, atol=1e-4, rtol=1e-5)
    assert_close(sae.encode(x, features=[5, 9]).to_dense(), f.to_dense()[:, [5, 9]], atol=1e-5, rtol=1e-5)


def test_low_precision_weights_are_widened_in_parts() -> None:
    sae = make_sae("jumprelu").to(dtype="bfloat16")
    x = activations(30)
    encoder = sae._encoder(sae.W_enc_rows, sae.vectors)
    W, buffer_bytes = torch.empty(1000, 2048), 4 * 256 * 100
    assert _tile(W, buffer_bytes) == (256, 100)
    assert _tile(W.bfloat16(), buffer_bytes) == (256 * 100 // 12, 12)  # 12 rows of 2,048 fill the buffer
    in_parts = encode_rows(x, sae.cfg, sae.b_dec, encoder, buffer_bytes=4 * 16 * 5)
    assert_close(in_parts.to_dense(), sae.encode(x).to_dense(), atol=1e-5, rtol=1e-5)


def test_no_gradient_is_recorded_and_inputs_are_left_alone() -> None:
    sae = make_sae("standard", normalize_activations="layer_norm")
    x = activations(3).requires_grad_()
    before = x.detach().clone()
    f = sae.encode(x)
    assert not f.values.requires_grad
    assert f.scale is not None
    assert not f.scale.requires_grad
    assert not sae.reconstruct(x).requires_grad
    assert torch.equal(x.detach(), before)


def test_non_contiguous_activations() -> None:
    sae = make_sae("jumprelu")
    x = activations(4, 6).transpose(0, 1)
    assert_close(sae.encode(x).to_dense(), sae.encode(x.contiguous()).to_dense())


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_no_activation_at_all(shape: tuple[int, ...]) -> None:
    for architecture in ("standard", "topk", "gated"):
        sae = make_sae(architecture)
        f = sae.encode(activations(*shape))
        assert f.shape == (*shape, D_SAE)
        assert sae.decode(f).shape == (*shape, 16)


def test_wrong_activations_are_refused() -> None:
    sae = make_sae("standard")
    with pytest.raises(UserError, match=r"must have d_in=16 as their last dimension, got shape \(3, 12\)"):
        sae.encode(torch.zeros(3, 12))
    with pytest.raises(UserError, match=r"blocks\.1\.hook_resid_post"):
        sae.encode(torch.zeros(12))
    with pytest.raises(UserError, match=r"floating-point tensor, got torch\.int64"):
        sae.encode(torch.zeros(3, 16, dtype=torch.int64))
    with pytest.raises(UserError, match="floating-point tensor, got list"):
        sae.encode([1.0])  # type: ignore[arg-type]
    x = activations(3)
    x[1, 4] = float("nan")
    with pytest.raises(UserError, match="must be finite"):
        sae.encode(x)
    heads = make_sae("standard", reshape_activations="hook_z")
    with pytest.raises(UserError, match="with the heads flattened"):
        heads.encode(torch.zeros(3, 4, 4))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([0, D_SAE], rf"features must be in 0 to {D_SAE - 1}, got {D_SAE}"),
        ([-1], r"got -1"),
        ([1.5], r"list of whole numbers"),
        ([True, False], r"list of whole numbers"),
        (3, r"list of whole numbers"),
    ],
)
@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_wrong_features_are_refused(architecture: str, features: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_sae(architecture).encode(activations(2), features=features)


def test_what_decode_cannot_take_is_refused() -> None:
    sae = make_sae("standard", normalize_activations="layer_norm")
    f = sae.encode(activations(3))
    with pytest.raises(UserError, match=r"normalises by its input \(layer_norm\).* Pass the SparseFeatures"):
        sae.decode(f.to_dense())
    with pytest.raises(UserError, match="carry no scale"):
        sae.decode(replace(f, scale=None))
    with pytest.raises(UserError, match="Only some features were encoded"):
        sae.decode(sae.encode(activations(3), features=list(range(D_SAE))))
    with pytest.raises(UserError, match=r"must have d_sae=48 columns"):
        sae.decode(SparseFeatures.from_dense(torch.zeros(2, 5)))


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(UserError, match=r"no dtype for an SAE 'bfloat'\. Did you mean 'bfloat16'"):
        make_sae("standard").to(dtype="bfloat")


MEMORY = """
import resource, torch
from emosae.saes import SparseAutoencoder
torch.set_num_threads(1)
torch.manual_seed(0)
d_in, d_sae = 8, 65536
state = {"W_enc": torch.randn(d_in, d_sae), "W_dec": torch.randn(d_sae, d_in), "b_dec": torch.zeros(d_in),
         "b_enc": torch.full((d_sae,), -9.0)}
cfg = {"architecture": "standard", "d_in": d_in, "d_sae": d_sae, "apply_b_dec_to_input": False}
sae = SparseAutoencoder.from_state_dict(cfg, state)
sae.encode(torch.randn(2, d_in))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
f = sae.encode(torch.randn(4096, d_in))
print(f.nnz, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_grows_with_the_non_zeros_only() -> None:
    """4,096 tokens x 65,536 features would be 1 GiB dense; the buffer is 64 MiB and its mask 16."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    nnz, grown_mib = done.stdout.split()
    assert int(nnz) > 10_000
    assert float(grown_mib) < 64 + 16 + 60
