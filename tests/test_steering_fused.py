"""The fused kernel is the clamp path on a GPU: it runs, and gives what torch's path gives.

Where there is no GPU, test_kernels_interpreter starts these tests in Triton's interpreter, in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from models_zoo import WIDTH, build
from saes_cases import ARCHITECTURES, make_state
from steering_cases import D_SAE, fitting, make_sae
from torch import Tensor, nn

import emosae
from emosae.errors import UserError
from emosae.kernels import Backend, last_backend, record_backends, use_backend
from emosae.saes import SparseAutoencoder

GPU = torch.cuda.is_available()
if not GPU and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip(
        "needs a GPU, or the interpreter, in which test_kernels_interpreter.py runs these tests",
        allow_module_level=True,
    )
pytest.importorskip("triton", reason="needs the package triton")
pytestmark = [pytest.mark.gpu] if GPU else []

DEVICE = "cuda" if GPU else "cpu"
CLAMPS = [
    emosae.Clamp(3, "set", 4.0),
    emosae.Clamp(9, "scale", -1.5),
    emosae.Clamp(17, "ablate"),
    emosae.Clamp(21, "at_least", 2.0),
    emosae.Clamp(33, "at_most", 0.5, only_if_active=True),
    emosae.Clamp(40, "add", 1.5, only_if_active=True),
    emosae.Clamp(63, "add", 0.25, "norm"),
]
# Left padding (1), BOS (2): neither is steered.
PROMPT = torch.tensor([[2, 20, 30, 40, 50, 60], [1, 1, 1, 21, 31, 41], [1, 22, 32, 4, 42, 52]], device=DEVICE)
MASK = (PROMPT != 1).long()


@cache
def model_of(name: str) -> Any:
    return deepcopy(build(name)).to(DEVICE)


def kernel() -> Any:
    """A GPU takes the kernel unasked; in the interpreter it has to be asked for."""
    return nullcontext() if GPU else use_backend("triton")


@contextmanager
def blocks_output(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what the steered block gives, as the next one reads it."""
    kept: list[Tensor] = []
    layers = model.transformer.h if hasattr(model, "transformer") else model.model.layers

    def keep(_module: Any, _args: Any, output: Any) -> None:
        kept.append(output if isinstance(output, Tensor) else output[0])

    handle = layers[1].register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def compare(name: str, sae: Any, clamps: Any, scope: Any = None, bound: float = 1e-5, **options: Any) -> None:
    """Generate by either path: the same text, the same block output, the same trace, and the kernel ran."""
    model, found = model_of(name), {}
    for key, way in {"torch": use_backend("torch"), "triton": kernel()}.items():
        steering = emosae.steer(model, sae, clamps, scope, **options)
        with way, record_backends() as ran, steering as applied, blocks_output(model) as kept:
            text = model.generate(
                PROMPT, attention_mask=MASK, max_new_tokens=3, min_new_tokens=3, do_sample=False
            )
        found[key] = (
            text,
            kept,
            applied,
            [each.backend for each in ran if each.operation == "clamp_features"],
        )
    (text, kept, applied, ran), (by_kernel, kept_too, applied_too, ran_too) = found.values()
    assert ran == []
    assert ran_too == [Backend.TRITON] * applied_too.n_forwards
    assert len(ran_too) == 3
    assert by_kernel.tolist() == text.tolist()
    for ours, theirs in zip(kept_too, kept, strict=True):
        assert (ours.float() - theirs.float()).abs().max() <= bound * theirs.float().abs().max()
    numbers = ["activation", "target", "push"]
    assert applied_too.trace.drop(numbers).equals(applied.trace.drop(numbers))
    for column in numbers:
        ours, theirs = (torch.tensor(each.trace[column].to_list()) for each in (applied_too, applied))
        torch.testing.assert_close(ours, theirs, atol=max(bound, 2e-5) * float(theirs.abs().max()), rtol=0.0)


@pytest.mark.parametrize("norm", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_kernel_edits_as_torch_does(architecture: str, norm: str) -> None:
    compare("gpt2", make_sae(architecture, normalize_activations=norm), CLAMPS)


@pytest.mark.parametrize("changes", [{"apply_b_dec_to_input": False}, {"metadata": "centred"}])
@pytest.mark.parametrize("norm", ["none", "layer_norm", "constant_norm_rescale"])
def test_biases_and_centred_weights_too(changes: dict[str, Any], norm: str) -> None:
    sae = make_sae(
        "jumprelu", normalize_activations=norm, **{k: v for k, v in changes.items() if k != "metadata"}
    )
    if "metadata" in changes:
        kwargs = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
        metadata = {"model_name": "toy", "hook_name": "blocks.1.hook_resid_post"} | kwargs
        sae = make_sae("jumprelu", normalize_activations=norm, metadata=metadata)
        assert sae.cfg.center_writing_weights
    compare("gpt2", sae, CLAMPS)


def test_decoder_norms_that_rescale() -> None:
    compare("llama", make_sae("topk", rescale_acts_by_decoder_norm=True), CLAMPS)


@pytest.mark.parametrize("scope", ["prompt", "from_last_prompt_token", [1, 4, 7], [False, True, False, True]])
def test_scopes_and_padding_are_the_kernels_mask(scope: Any) -> None:
    model, sae = model_of("llama"), make_sae("jumprelu")
    outputs = []
    for way in (use_backend("torch"), kernel()):
        with way, emosae.steer(model, sae, CLAMPS, scope), blocks_output(model) as kept:
            model(input_ids=PROMPT, attention_mask=MASK)
        outputs += kept
    with blocks_output(model) as kept:
        model(input_ids=PROMPT, attention_mask=MASK)
    left = (outputs[0] == kept[0]).all(-1)
    assert left.any()
    assert not left.all()
    assert torch.equal((outputs[1] == kept[0]).all(-1), left)  # bit for bit where nothing is steered
    assert (outputs[1] - outputs[0]).abs().max() <= 1e-5 * outputs[0].abs().max()


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "transcoder"])
def test_rows_of_a_batch_carry_plans_of_their_own(architecture: str) -> None:
    other = [emosae.Clamp(3, "add", -2.0), emosae.Clamp(50, "set", 6.0), emosae.Clamp(9, "add", 0.5, "norm")]
    compare("gpt2", make_sae(architecture), [CLAMPS, None, other])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_models_are_rounded_once(dtype: torch.dtype) -> None:
    model, sae = deepcopy(build("llama")).to(DEVICE, dtype), make_sae("jumprelu")
    outputs = []
    for way in (use_backend("torch"), kernel()):
        with way, emosae.steer(model, sae, CLAMPS), blocks_output(model) as kept:
            model(input_ids=PROMPT[:1])
        outputs += kept
    assert outputs[1].dtype is dtype
    if GPU or dtype is torch.float16:  # the interpreter cuts bfloat16 off, and does not round it
        unequal = (outputs[0] != outputs[1]).float().mean()
        assert unequal < 0.02  # sums of another order seldom round to the neighbour
    bound = {torch.bfloat16: 8e-3, torch.float16: 1e-3}[dtype]
    assert (outputs[1].float() - outputs[0].float()).abs().max() <= bound * outputs[0].float().abs().max()


def test_without_a_trace_nothing_but_the_activation_is_written() -> None:
    model, sae = model_of("llama"), make_sae("jumprelu")
    logits = []
    for trace in (True, False):
        with kernel(), emosae.steer(model, sae, CLAMPS, trace=trace) as applied:
            logits.append(model(input_ids=PROMPT, attention_mask=MASK).logits)
        assert (len(applied.trace) > 0) == trace
    assert torch.equal(logits[0], logits[1])


def test_a_handful_ends_at_64_features() -> None:
    model, sae = model_of("llama"), make_sae("jumprelu")
    with kernel(), emosae.steer(model, sae, [emosae.Clamp(feature, "set", 1.0) for feature in range(D_SAE)]):
        model(input_ids=PROMPT)
    assert last_backend("clamp_features") is Backend.TRITON
    cfg, _ = fitting("jumprelu", d_sae=65)
    wide = SparseAutoencoder.from_state_dict(cfg, make_state("jumprelu", d_in=WIDTH, d_sae=65))
    clamps = [emosae.Clamp(feature, "set", 1.0) for feature in range(65)]
    told = pytest.raises(UserError, match="at most 64 features")
    with use_backend("triton"), told, emosae.steer(model, wide, clamps):
        model(input_ids=PROMPT)


def test_what_the_kernel_cannot_do_is_refused_where_it_was_asked_for() -> None:
    model, sae = model_of("llama"), make_sae("jumprelu")
    told = pytest.raises(UserError, match="triton backend needs an error that is kept")
    with use_backend("triton"), told, emosae.steer(model, sae, CLAMPS, error="drop"):
        model(input_ids=PROMPT)
    embeddings = model.get_input_embeddings()(PROMPT).detach().requires_grad_()
    told = pytest.raises(UserError, match="no gradient is asked")
    with use_backend("triton"), told, emosae.steer(model, sae, CLAMPS):
        model(inputs_embeds=embeddings)


@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_on_a_gpu_gradients_and_dropped_errors_take_torchs_path_unasked() -> None:
    model, sae = model_of("llama"), make_sae("jumprelu")
    embeddings = model.get_input_embeddings()(PROMPT).detach().requires_grad_()
    with record_backends() as ran, emosae.steer(model, sae, CLAMPS):
        model(inputs_embeds=embeddings).logits.sum().backward()
    assert embeddings.grad is not None
    with record_backends() as ran_too, emosae.steer(model, sae, CLAMPS, error="drop"):
        model(input_ids=PROMPT)
    assert [each for each in ran + ran_too if each.operation == "clamp_features"] == []


@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_a_steered_forward_is_captured_in_a_cuda_graph() -> None:
    model, sae = model_of("llama"), make_sae("jumprelu")
    ids = PROMPT[:1].clone()
    with torch.no_grad(), emosae.steer(model, sae, CLAMPS, trace=False):
        expected = model(input_ids=ids, use_cache=False).logits
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = model(input_ids=ids, use_cache=False).logits
        ids.copy_(PROMPT[2:])
        graph.replay()
        replayed = captured.clone()
        fresh = model(input_ids=ids, use_cache=False).logits
    assert not torch.equal(expected, fresh)
    assert (replayed - fresh).abs().max() <= 1e-5 * fresh.abs().max()
