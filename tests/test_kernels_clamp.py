"""The fused clamp and the compacting encode on a CPU, against the SAE's own encode and decode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from saes_cases import D_IN, D_OUT, D_SAE, TRANSCODERS, activations, make_cfg, make_state
from torch import Tensor
from torch.testing import assert_close

from emosae.errors import UserError
from emosae.kernels import (
    ClampOp,
    clamp_features,
    clamp_features_recorded,
    clamp_rows,
    encode_features,
    gate_of,
    torch_paths,
)
from emosae.kernels.gates import ClampRows
from emosae.saes import SparseAutoencoder, SparseFeatures
from emosae.saes.encode import Encoder

BACKENDS = ["reference", "torch"]
FEATURES = [3, 14, 21, 47, 0, 9]
OPS = ["set", "add", "scale", "ablate", "at_least", "at_most"]
VALUES = [2.0, -0.75, 1.5, 99.0, 1.25, 0.5]
NEW = {
    "set": torch.full_like,
    "add": lambda f, v: f + v,
    "scale": lambda f, v: f * v,
    "ablate": lambda f, v: torch.zeros_like(f),
    "at_least": lambda f, v: f.clamp(min=v),
    "at_most": lambda f, v: f.clamp(max=v),
}
NORMALIZATIONS = ["none", "layer_norm", "constant_norm_rescale"]


def make_sae(architecture: str, **changes: Any) -> SparseAutoencoder:
    metadata = make_cfg(architecture)["metadata"] | changes.pop("metadata", {})
    return SparseAutoencoder.from_state_dict(
        make_cfg(architecture, metadata=metadata, **changes), make_state(architecture)
    )


def prepare(sae: SparseAutoencoder, only_if_active: list[bool] | None = None) -> ClampRows:
    return clamp_rows(sae.rows(FEATURES), sae.cfg, sae.b_dec, OPS, VALUES, only_if_active)


def clamped(f: Tensor, only_if_active: list[bool] | None = None) -> Tensor:
    """Apply the operations to dense features, one by one."""
    new = f.clone()
    for place, (feature, op, value) in enumerate(zip(FEATURES, OPS, VALUES, strict=True)):
        changed = NEW[op](f[:, feature], value)
        if only_if_active is not None and only_if_active[place]:
            changed = torch.where(f[:, feature] > 0, changed, f[:, feature])
        new[:, feature] = changed
    return new


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated"])
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_it_is_decode_of_the_clamped_code_and_the_error_kept(
    backend: str, normalization: str, architecture: str, conditional: bool, center: bool
) -> None:
    changes: dict[str, Any] = {"metadata": {"model_name": "gpt2-small"}}
    if center:
        changes["metadata"]["model_from_pretrained_kwargs"] = {"center_writing_weights": True}
    sae = make_sae(architecture, normalize_activations=normalization, **changes)
    assert sae.cfg.center_writing_weights is center
    x = activations(40) + 0.5
    only = [conditional and place % 2 == 0 for place in range(len(OPS))]
    found = sae.encode(x)
    f = found.to_dense()
    assert ((f[:, FEATURES] > 0).sum(0) > 0).all()  # each clamp meets active and inactive features
    assert ((f[:, FEATURES] == 0).sum(0) > 0).all()
    new = SparseFeatures.from_dense(clamped(f, only), scale=found.scale, shift=found.shift)
    expected = sae.decode(new) + (x - sae.decode(found))
    ours = clamp_features(x, prepare(sae, only), backend=backend)
    assert_close(ours, expected, atol=2e-5 * float(expected.abs().max()), rtol=0.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", TRANSCODERS)
def test_a_transcoder_writes_beside_what_it_reads(backend: str, architecture: str) -> None:
    sae = make_sae(architecture)
    x, y = activations(40), activations(40, seed=2, d_in=D_OUT)
    f = sae.encode(x).to_dense()
    expected = y + (clamped(f) - f) @ sae.W_dec
    assert_close(clamp_features(x, prepare(sae), y=y, backend=backend), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rescale", [False, True])
def test_a_topk_sae_is_given_its_values(backend: str, rescale: bool) -> None:
    sae, x = make_sae("topk", rescale_acts_by_decoder_norm=rescale), activations(4, 10)
    found = sae.encode(x)
    f = found.to_dense()
    ours = clamp_features(x, prepare(sae), given=f[..., FEATURES], backend=backend)
    new = clamped(f.view(40, D_SAE)).view(4, 10, D_SAE)
    assert_close(ours, sae.decode(new) + x - sae.decode(f), atol=1e-4, rtol=1e-5)
    with pytest.raises(UserError, match="topk SAE must be encoded in full"):
        clamp_features(x, prepare(sae), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_add_norm_moves_by_a_share_of_the_norm(backend: str, normalization: str) -> None:
    sae, x = make_sae("jumprelu", normalize_activations=normalization), activations(8)
    rows = clamp_rows(sae.rows([5]), sae.cfg, sae.b_dec, [ClampOp.ADD_NORM], [0.25])
    moved = clamp_features(x, rows, backend=backend) - x
    direction = sae.W_dec[5] / sae.W_dec[5].norm()
    assert_close(moved, 0.25 * x.norm(dim=1, keepdim=True) * direction, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_masked_token_keeps_its_bits(backend: str) -> None:
    sae, x = make_sae("standard"), activations(4, 10)
    x[0, 0, 3], x[0, 1, 3], x[1, 2] = -0.0, torch.nan, torch.inf
    mask = torch.zeros(4, 10, dtype=torch.bool)
    mask[2:] = True
    ours = clamp_features(x, prepare(sae), mask=mask, backend=backend)
    assert torch.equal(ours[:2].view(torch.int32), x[:2].view(torch.int32))
    assert torch.equal(ours[2:], clamp_features(x[2:], prepare(sae), backend=backend))
    assert bool((ours[2:] != x[2:]).any(-1).all())
    assert x[0, 1, 3].isnan()  # the input is not written


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_a_batch_carry_different_clamps(backend: str) -> None:
    sae, x = make_sae("standard"), activations(2, 10)
    rows = clamp_rows(sae.rows([3, 3]), sae.cfg, sae.b_dec, ["set", "ablate"], [4.0, 0.0])
    mask = torch.tensor([[True, False], [False, True]])[:, None].expand(2, 10, 2)
    ours = clamp_features(x, rows, mask=mask, backend=backend)
    for row, (op, value) in enumerate([("set", 4.0), ("ablate", 0.0)]):
        alone = clamp_rows(sae.rows([3]), sae.cfg, sae.b_dec, [op], [value])
        assert_close(ours[row], clamp_features(x[row], alone, backend=backend), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_rules_differ_by_token_and_the_record_is_what_was_added(
    backend: str, normalization: str, masked: bool
) -> None:
    sae, x = make_sae("jumprelu", normalize_activations=normalization), activations(6)
    one = prepare(sae)
    other = clamp_rows(
        sae.rows(FEATURES), sae.cfg, sae.b_dec, ["add_norm"] * 6, [0.1 * at for at in range(6)]
    )
    both = one.each_rule(torch.stack, other)
    rule = torch.tensor([0, 1, 1, 0, 0, 1])
    mask = torch.tensor([True, True, False, False, True, True]) if masked else None
    found = clamp_features_recorded(x, both, rule=rule, mask=mask, backend=backend)
    for token, which in enumerate(rule.tolist()):
        alone = clamp_features(x[token], (one, other)[which], backend=backend)
        steered = mask is None or bool(mask[token])
        assert_close(found.edited[token], alone if steered else x[token], atol=1e-5, rtol=1e-5)
    rebuilt = x + found.scale[:, None] * (found.difference @ one.W_dec)
    assert_close(rebuilt, found.edited, atol=1e-4, rtol=1e-5)
    values = sae.encode(x).to_dense()[:, FEATURES]
    if mask is not None:
        values = torch.where(mask[:, None], values, 0.0)
    assert_close(found.activation, values, atol=1e-5, rtol=1e-5)
    for wrong in (None, rule[:3], rule.int()):
        with pytest.raises(UserError, match="rule must be int64"):
            clamp_features(x, both, rule=wrong)
    with pytest.raises(UserError, match="None where they hold one"):
        clamp_features(x, one, rule=rule)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_activations_are_rounded_once(backend: str, dtype: torch.dtype) -> None:
    sae, x = make_sae("jumprelu"), activations(40).to(dtype)
    ours = clamp_features(x, prepare(sae), backend=backend)
    assert ours.dtype == dtype
    assert torch.equal(ours, clamp_features(x.float(), prepare(sae), backend=backend).to(dtype))


@given(
    st.sampled_from(["standard", "jumprelu", "gated"]), st.sampled_from(NORMALIZATIONS), st.integers(0, 99)
)
def test_the_identities(architecture: str, normalization: str, seed: int) -> None:
    sae = make_sae(architecture, normalize_activations=normalization)
    x = activations(1, seed=seed)
    f = sae.encode(x).to_dense()[0, FEATURES].tolist()

    def apply(ops: list[str], values: list[float]) -> Tensor:
        return clamp_features(x, clamp_rows(sae.rows(FEATURES[: len(ops)]), sae.cfg, sae.b_dec, ops, values))

    near = {"atol": 1e-4, "rtol": 1e-5}
    assert torch.equal(apply([], []), x)  # no clamp
    assert torch.equal(apply(["scale"] * 6, [1.0] * 6), x)
    assert torch.equal(apply(["add"] * 6, [0.0] * 6), x)
    assert torch.equal(apply(["at_least"] * 6, [0.0] * 6), x)
    assert_close(apply(["set"] * 6, f), x, **near)  # what they are already
    assert_close(apply(["ablate"] * 6, [1.0] * 6), apply(["set"] * 6, [0.0] * 6), **near)
    assert_close(apply(["add"] * 6, [0.5] * 6), apply(["set"] * 6, [v + 0.5 for v in f]), **near)


def test_what_does_not_fit_is_refused() -> None:
    sae, x = make_sae("standard"), activations(3)
    rows = sae.rows([1, 2])
    with pytest.raises(UserError, match="Did you mean 'set'"):
        clamp_rows(rows, sae.cfg, sae.b_dec, ["sett", "add"], [1, 1])
    with pytest.raises(UserError, match="must be finite"):
        clamp_rows(rows, sae.cfg, sae.b_dec, ["set", "add"], [1, float("nan")])
    with pytest.raises(UserError, match="one entry for each of 2"):
        clamp_rows(rows, sae.cfg, sae.b_dec, ["set"], [1, 2])
    good = clamp_rows(rows, sae.cfg, sae.b_dec, ["set", "add"], [1, 2])
    with pytest.raises(UserError, match=f"x must be floating-point with {D_IN}"):
        clamp_features(x[:, 1:], good)
    with pytest.raises(UserError, match="y must be floating-point"):
        clamp_features(x, good, y=x[:, 1:])
    with pytest.raises(UserError, match="the same tokens"):
        clamp_features(x, good, y=x[1:])
    with pytest.raises(UserError, match="mask must be bool"):
        clamp_features(x, good, mask=torch.ones(3))
    with pytest.raises(UserError, match="given must be"):
        clamp_features(x, good, given=torch.ones(3, 1))


# --- encode ---


def encoder_of(sae: SparseAutoencoder) -> Encoder:
    return sae._encoder(sae.W_enc_rows, sae._vectors)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated"])
def test_it_encodes_as_the_sae_does(backend: str, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_paths, "_DENSE_BYTES", 4 * D_SAE * 3)  # three tokens at a time
    sae, x = make_sae(architecture, normalize_activations="layer_norm"), activations(4, 10)
    encoder, expected = encoder_of(sae), sae.encode(x)
    normed = sae.normalize(x.view(40, D_IN)).x.view(4, 10, D_IN)
    ours = encode_features(normed, encoder.W, gate_of(encoder), capacity=D_SAE + 2, backend=backend)
    rebuilt = torch.zeros(4, 10, D_SAE).scatter_add_(-1, ours.indices.long(), ours.values)
    assert_close(rebuilt, expected.to_dense(), atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.counts, expected.l0)
    assert ours.indices.shape == (4, 10, D_SAE + 2)
    assert not bool(ours.overflow)


@pytest.mark.parametrize("backend", BACKENDS)
def test_encode_says_when_more_are_active_than_fit(backend: str) -> None:
    x, W = torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0], [-1.0], [3.0], [4.0]])
    zero = torch.zeros(4)
    gate = gate_of(Encoder(activation=make_sae("standard").cfg.architecture.activation, W=W, bias=zero))
    ours = encode_features(x, W, gate, capacity=2, backend=backend)
    assert ours.indices.tolist() == [[0, 2], [1, 0]]
    assert ours.values.tolist() == [[2.0, 3.0], [1.0, 0.0]]
    assert ours.counts.tolist() == [3, 1]
    assert bool(ours.overflow)
    assert not bool(encode_features(x, W, gate, capacity=3, backend=backend).overflow)


def test_encode_refuses_what_does_not_fit() -> None:
    sae = make_sae("standard")
    W, gate, x = sae.W_enc_rows, gate_of(encoder_of(sae)), activations(3)
    with pytest.raises(UserError, match="feature-major"):
        encode_features(x, W.T, gate, capacity=4)
    with pytest.raises(UserError, match="capacity must be at least 1"):
        encode_features(x, W, gate, capacity=0)
    with pytest.raises(UserError, match="gate must have one entry"):
        encode_features(x, W[1:], gate, capacity=4)
    with pytest.raises(UserError, match="relu, jumprelu or gated"):
        gate_of(encoder_of(make_sae("topk")))
