"""The clamp against SAELens' own error term, for every architecture and normalisation, alone and in `generate`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from types import ModuleType
from typing import Any

import pytest
import torch
from models_zoo import build, ids_and_mask
from saes_cases import ARCHITECTURES, TRANSCODERS
from steering_cases import LAYER, block, editing_output, fitting
from torch import Tensor

import emosae
from emosae.saes import SparseAutoencoder

WANTED = {3: 4.0, 17: 0.0, 40: -1.5, 63: 9.0}
CLAMPS = [emosae.Clamp(feature, "set", value) for feature, value in WANTED.items()]


@pytest.fixture(scope="module")
def sae_lens() -> ModuleType:
    """SAELens, whose import takes seconds."""
    import sae_lens

    return sae_lens


def cases() -> list[tuple[str, str, bool, bool]]:
    """Architecture, normalisation, apply_b_dec_to_input, rescale_acts_by_decoder_norm."""
    norms = ("none", "layer_norm", "constant_norm_rescale", "expected_average_only_in")
    return [
        (architecture, norm, b_dec, rescale)
        for architecture, norm, b_dec, rescale in product(ARCHITECTURES, norms, (True, False), (True, False))
        if not (rescale and architecture not in ("topk", "abstopk"))
        and not (b_dec and architecture in TRANSCODERS)
        and not (norm == "expected_average_only_in" and (rescale or architecture == "abstopk"))
        and not (norm == "expected_average_only_in" and architecture in TRANSCODERS)
    ]


def clamped(acts: Tensor, hook: Any = None) -> Tensor:
    acts = acts.clone()
    for feature, value in WANTED.items():
        acts[..., feature] = value
    return acts


def pair(sae_lens: ModuleType, architecture: str, **changes: Any) -> tuple[Any, SparseAutoencoder]:
    """SAELens' SAE and ours, with the same weights."""
    cfg, state = fitting(architecture, **changes)
    folded = cfg["normalize_activations"] == "expected_average_only_in"
    oracle = sae_lens.SAE.from_dict(cfg)
    oracle.load_state_dict(state)
    if folded:
        oracle.fold_activation_norm_scaling_factor(0.37)
    ours = SparseAutoencoder.from_state_dict(cfg, state, norm_scaling_factor=0.37 if folded else None)
    return oracle.eval(), ours


@contextmanager
def oracle_clamps(oracle: Any, architecture: str, name: str) -> Iterator[None]:
    """SAELens' way: its forward with the error term, and a hook on its feature activations."""
    if architecture not in TRANSCODERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            oracle.use_error_term = True

        def edit(x: Tensor) -> Tensor:
            with torch.no_grad(), oracle.hooks(fwd_hooks=[("hook_sae_acts_post", clamped)]):
                return oracle(x)

        with editing_output(block(name), edit):
            yield
        return
    # SAELens' transcoders know no error term: what the clamp changes of their output is added.
    mlp, seen = block(name).mlp, {}
    handle = mlp.register_forward_pre_hook(lambda _module, args: seen.update(x=args[0]))

    def edit_output(y: Tensor) -> Tensor:
        with torch.no_grad():
            clean = oracle(seen["x"])
            with oracle.hooks(fwd_hooks=[("hook_sae_acts_post", clamped)]):
                return y + oracle(seen["x"]) - clean

    try:
        with editing_output(mlp, edit_output):
            yield
    finally:
        handle.remove()


@pytest.mark.parametrize(("architecture", "norm", "b_dec", "rescale"), cases())
def test_clamps_equal_saelens_with_its_error_term(
    sae_lens: ModuleType, architecture: str, norm: str, b_dec: bool, rescale: bool
) -> None:
    changes: dict[str, Any] = {"normalize_activations": norm, "apply_b_dec_to_input": b_dec}
    if rescale:
        changes["rescale_acts_by_decoder_norm"] = True
    oracle, ours = pair(sae_lens, architecture, **changes)
    model = build("gpt2")
    ids, _ = ids_and_mask((7, 7))
    kept: dict[str, Tensor] = {}

    def run(key: str) -> tuple[Tensor, Tensor]:
        def keep(_module: Any, _args: Any, output: Any) -> None:
            kept[key] = output if isinstance(output, Tensor) else output[0]

        handle = block().register_forward_hook(keep)
        try:
            logits = model(input_ids=ids).logits
            text = model.generate(input_ids=ids, max_new_tokens=6, min_new_tokens=6, do_sample=False)
        finally:
            handle.remove()
        return logits, text

    with oracle_clamps(oracle, architecture, "gpt2"):
        expected_logits, expected_text = run("expected")
    with emosae.steer(model, ours, CLAMPS, skip_special=False):
        logits, text = run("ours")
    plain_logits, _ = run("plain")
    scale = kept["expected"].abs().max()
    assert (kept["ours"] - kept["expected"]).abs().max() < 1e-5 * scale
    assert (logits - expected_logits).abs().max() < 1e-4 * expected_logits.abs().max()
    assert (plain_logits - expected_logits).abs().max() > 1e-2  # the clamps do something
    assert text.tolist() == expected_text.tolist()


@pytest.mark.parametrize("architecture", ["jumprelu", "gated", "topk"])
def test_centred_weights_equal_saelens_on_centred_activations(
    sae_lens: ModuleType, architecture: str
) -> None:
    oracle, _ = pair(sae_lens, architecture)
    cfg, state = fitting(architecture)
    cfg["metadata"] |= {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    ours = SparseAutoencoder.from_state_dict(cfg, state)
    model, (ids, _) = build("gpt2"), ids_and_mask((7, 7))

    def edit(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return x + oracle.decode(clamped(oracle.encode(centred))) - oracle.decode(oracle.encode(centred))

    with torch.no_grad(), editing_output(block(), edit):
        expected = model(input_ids=ids).logits
    with emosae.steer(model, ours, CLAMPS, skip_special=False):
        logits = model(input_ids=ids).logits
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "topk", "gated", "skip_transcoder"])
@pytest.mark.parametrize("norm", ["none", "layer_norm"])
def test_without_the_error_term_it_is_the_clamped_reconstruction(
    sae_lens: ModuleType, architecture: str, norm: str
) -> None:
    oracle, ours = pair(sae_lens, architecture, normalize_activations=norm)
    model, (ids, _) = build("gpt2"), ids_and_mask((7, 7))
    where = block() if architecture not in TRANSCODERS else block().mlp
    seen: dict[str, Tensor] = {}
    handle = where.register_forward_pre_hook(lambda _module, args: seen.update(x=args[0]))

    def edit(x: Tensor) -> Tensor:
        with torch.no_grad(), oracle.hooks(fwd_hooks=[("hook_sae_acts_post", clamped)]):
            return oracle(seen["x"] if architecture in TRANSCODERS else x)

    with editing_output(where, edit):
        expected = model(input_ids=ids).logits
    handle.remove()
    with emosae.steer(model, ours, CLAMPS, skip_special=False, error="drop"):
        logits = model(input_ids=ids).logits
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_layer_of_the_cases_is_the_block_that_is_hooked() -> None:
    cfg, _ = fitting("jumprelu")
    assert cfg["metadata"]["hook_name"] == f"blocks.{LAYER}.hook_resid_post"
