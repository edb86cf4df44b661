"""The steer block: what it leaves behind (nothing), nesting, threads, compiled models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest
import torch
from models_zoo import MODELS, build, ids_and_mask
from steering_cases import block, editing_output, make_sae, reference
from torch import Tensor

import emosae
from emosae.errors import UserError
from emosae.steering import hooks, session
from emosae.steering.block import Steering

CLAMPS = [emosae.Clamp(3, "set", 6.0), emosae.Clamp(40, "add", 2.0)]
IDS, _ = ids_and_mask((6, 6))


def traces(model: Any) -> list[Any]:
    """All by which a model could remember that it was steered."""
    return [
        [
            (
                list(module._forward_hooks.items()),
                list(module._forward_pre_hooks.items()),
                list(module._forward_hooks_with_kwargs.items()),
                list(module._forward_pre_hooks_with_kwargs.items()),
                list(module._forward_hooks_always_called.items()),
            )
            for module in model.modules()
        ],
        sorted(model.__dict__),
        len(session._SESSIONS),
    ]


@pytest.fixture
def untouched() -> Iterator[Any]:
    """A model that must be, at the end of the test, as it was at the start, and answer alike, bit for bit."""
    model = build("gpt2")
    before, logits = traces(model), model(input_ids=IDS).logits
    yield model
    assert traces(model) == before
    assert torch.equal(model(input_ids=IDS).logits, logits)


def test_nothing_stays_after_success(untouched: Any) -> None:
    plain = untouched(input_ids=IDS).logits
    with emosae.steer(untouched, make_sae(), CLAMPS):
        assert not torch.equal(untouched(input_ids=IDS).logits, plain)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_stays_after_an_error(untouched: Any, error: type[BaseException]) -> None:
    def fail() -> None:
        with emosae.steer(untouched, make_sae(), CLAMPS), emosae.steer(untouched, make_sae(seed=1), CLAMPS):
            untouched(input_ids=IDS)
            raise error

    with pytest.raises(error):
        fail()


def test_nothing_stays_after_an_error_inside_the_model(untouched: Any) -> None:
    def interrupt(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        emosae.steer(untouched, make_sae(), CLAMPS),
        editing_output(block(layer=3), interrupt),
    ):
        untouched.generate(IDS, max_new_tokens=3)
    with emosae.steer(untouched, make_sae(), CLAMPS):  # and the next block starts afresh
        untouched(input_ids=IDS)


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_after_a_partial_entry(
    untouched: Any, monkeypatch: pytest.MonkeyPatch, at: int, error: type[BaseException]
) -> None:
    # The session acts at 4 points (model and text tower, before and after), the plan at 2: fail at each.
    real, calls = hooks.act, []

    def failing(*args: Any) -> None:
        if len(calls) == at:
            raise error
        calls.append(args)
        real(*args)

    monkeypatch.setattr("emosae.steering.session.act", failing)
    monkeypatch.setattr("emosae.steering.block.act", failing)
    saes = [make_sae(), make_sae(seed=1)]
    clamps = [emosae.Clamp(3, "set", 6.0, sae=sae) for sae in saes]
    with pytest.raises(error), emosae.steer(untouched, saes, clamps):
        pytest.fail("the block must not begin")


def test_blocks_nest_and_the_inner_reads_what_the_outer_wrote(untouched: Any) -> None:
    first, second = make_sae(), make_sae("gated", seed=4)
    with editing_output(block(), lambda x: reference(reference(x, first, {3: 6.0}), second, {9: 5.0})):
        expected = untouched(input_ids=IDS).logits
    with emosae.steer(untouched, first, [emosae.Clamp(3, "set", 6.0)]) as outer:
        alone = untouched(input_ids=IDS).logits
        with emosae.steer(untouched, second, [emosae.Clamp(9, "set", 5.0)]):
            nested = untouched(input_ids=IDS).logits
        again = untouched(input_ids=IDS).logits
    assert (nested - expected).abs().max() < 1e-4 * expected.abs().max()
    assert torch.equal(alone, again)
    assert outer.n_forwards == 3


def test_a_block_can_be_entered_again_and_within_itself(untouched: Any) -> None:
    steering = emosae.steer(untouched, make_sae(), [emosae.Clamp(3, "add", 2.0)])
    with emosae.steer(untouched, make_sae(), [emosae.Clamp(3, "add", 2.0)]):
        expected = untouched(input_ids=IDS).logits
    for _ in range(2):
        with steering as first:
            once = untouched(input_ids=IDS).logits
            with steering as second:
                twice = untouched(input_ids=IDS).logits
            assert torch.equal(untouched(input_ids=IDS).logits, once)
        assert torch.equal(once, expected)
        assert not torch.equal(twice, once)
        assert (first.n_forwards, second.n_forwards) == (3, 1)


def test_several_saes_at_several_sites_act_in_one_block(untouched: Any) -> None:
    saes = [make_sae(), make_sae("gated", seed=2, hook="blocks.2.hook_resid_pre"), make_sae("topk", seed=3)]
    clamps = [emosae.Clamp(3, "set", 6.0, sae=sae) for sae in saes]
    with (
        editing_output(
            block(),
            lambda x: reference(
                reference(reference(x, saes[0], {3: 6.0}), saes[2], {3: 6.0}), saes[1], {3: 6.0}
            ),
        ),
    ):
        expected = untouched(input_ids=IDS).logits
    with emosae.steer(untouched, saes, clamps) as applied:
        logits = untouched(input_ids=IDS).logits
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
    assert applied.clamps["sae"].to_list() == [sae.name for sae in saes]
    assert applied.clamps["site"].to_list() == [
        "blocks.1.hook_resid_post",
        "blocks.2.hook_resid_pre",
        "blocks.1.hook_resid_post",
    ]


@pytest.mark.parametrize(
    "name", [name for name in MODELS if name in ("gpt_neox", "gemma2", "gemma3", "qwen3", "phi3")]
)
@pytest.mark.parametrize("hook", ["resid_pre", "mlp_out", "attn_out", "resid_mid"])
def test_every_family_and_stream_can_be_written(name: str, hook: str) -> None:
    if (name, hook) == ("gpt_neox", "resid_mid"):
        pytest.skip("GPT-NeoX with parallel residuals has no stream between attention and MLP")
    sae = make_sae(hook=f"blocks.1.hook_{hook}")
    model = build(name)
    plain = model(input_ids=IDS, output_hidden_states=True)
    with emosae.steer(model, sae, CLAMPS, skip_special=False) as applied:
        steered = model(input_ids=IDS, output_hidden_states=True)
        text = model.generate(IDS, max_new_tokens=3, do_sample=False)
        uncached = model.generate(IDS, max_new_tokens=3, do_sample=False, use_cache=False)
    moved = torch.stack(
        [(a - b).abs().max() for a, b in zip(plain.hidden_states, steered.hidden_states, strict=True)]
    )
    assert moved[1] == 0  # before layer 1 nothing changed
    assert moved[2] > 0.1
    assert text.tolist() == uncached.tolist()
    assert applied.trace.filter(applied.trace["feature"] == 3)["target"].to_list()[0] == pytest.approx(6.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_activations_keep_their_dtype_and_sums_are_float32(dtype: torch.dtype) -> None:
    import copy

    model = copy.deepcopy(build("llama")).to(dtype)
    sae, kept = make_sae(), {}
    with editing_output(model.model.layers[1], lambda x: kept.setdefault("plain", x)):
        model(input_ids=IDS)
    with (
        emosae.steer(model, sae, [emosae.Clamp(3, "set", 6.0)], skip_special=False),
        editing_output(model.model.layers[1], lambda x: kept.setdefault("steered", x)),
    ):
        model(input_ids=IDS)
    assert kept["steered"].dtype == dtype
    expected = reference(kept["plain"].float(), sae, {3: 6.0})
    # One rounding to the model's dtype, and none on the way: 2**-8 or 2**-11 of each value, half of it.
    half_step = 0.5 * torch.finfo(dtype).eps
    assert ((kept["steered"].float() - expected).abs() <= 1.01 * half_step * expected.abs() + 1e-5).all()


def test_a_float16_overflow_is_said_at_the_end() -> None:
    import copy

    model = copy.deepcopy(build("llama")).half()
    steering = emosae.steer(model, make_sae(), [emosae.Clamp(3, "set", 1e6)], skip_special=False)
    with pytest.warns(UserWarning, match="too large for float16"), steering as applied:
        model(input_ids=IDS)
    assert applied.overflowed


def test_a_second_thread_is_refused_and_the_first_goes_on(untouched: Any) -> None:
    answers: Queue[Any] = Queue()

    def enter() -> None:
        try:
            with emosae.steer(untouched, make_sae(), CLAMPS):
                answers.put("entered")
        except UserError as error:
            answers.put(error)

    with emosae.steer(untouched, make_sae(), CLAMPS):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert "one thread at a time" in str(answers.get())
        untouched(input_ids=IDS)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert answers.get() == "entered"


def test_the_block_ends_only_after_its_streamed_generation(untouched: Any) -> None:
    class Streamer:
        """Takes tokens, and holds the first back until the block is at its end."""

        def __init__(self) -> None:
            self.begun, self.free, self.ended = threading.Event(), threading.Event(), False

        def put(self, _tokens: Tensor) -> None:
            self.begun.set()
            assert self.free.wait(20)

        def end(self) -> None:
            self.ended = True

    options: dict[str, Any] = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with emosae.steer(untouched, make_sae(), CLAMPS):
        expected = untouched.generate(IDS[:1], **options)
    streamer, found = Streamer(), []
    thread = threading.Thread(
        target=lambda: found.append(untouched.generate(IDS[:1], streamer=streamer, **options))
    )
    with emosae.steer(untouched, make_sae(), CLAMPS):
        thread.start()
        assert streamer.begun.wait(20)
        assert not found
        threading.Timer(0.2, streamer.free.set).start()
    assert streamer.ended, "the block ended before the generation did"
    thread.join()
    assert found[0].tolist() == expected.tolist()


def test_a_compiled_model_that_was_not_prepared_is_refused() -> None:
    import copy

    sae = make_sae()
    whole = torch.compile(copy.deepcopy(build("gpt2")), backend="eager")
    inner = copy.deepcopy(build("gpt2"))
    inner.forward = torch.compile(inner.forward, backend="eager")
    layer = copy.deepcopy(build("gpt2"))
    layer.transformer.h[1].compile(backend="eager")
    for model in (whole, inner, layer):
        with (
            pytest.raises(UserError, match="prepared before it is compiled"),
            emosae.steer(model, sae, CLAMPS),
        ):
            pytest.fail("the block must not begin")
        with pytest.raises(UserError, match="prepared before it is compiled"):
            emosae.prepare(model)
    elsewhere = torch.compile(emosae.prepare(copy.deepcopy(build("gpt2")), ["blocks.3.hook_resid_post"]))
    with (
        pytest.raises(UserError, match="prepared before it is compiled"),
        emosae.steer(elsewhere, sae, CLAMPS),
    ):
        pytest.fail("the block must not begin")


@pytest.mark.parametrize("way", ["wrapped", "forward"])
def test_a_prepared_model_is_steered_after_it_was_compiled_and_run(way: str) -> None:
    import copy

    sae, plain = make_sae(), build("llama")
    with emosae.steer(plain, sae, CLAMPS):
        expected = plain(input_ids=IDS).logits
    model = emosae.prepare(copy.deepcopy(plain), [sae.site])
    model.config.use_cache = False
    if way == "wrapped":
        model = torch.compile(model, backend="eager")
    else:
        model.forward = torch.compile(model.forward, backend="eager")
    before = model(input_ids=IDS).logits  # compiled while nothing is steered
    with emosae.steer(model, sae, CLAMPS) as applied:
        steered = model(input_ids=IDS).logits
    after = model(input_ids=IDS).logits
    assert applied.n_forwards == 1
    assert (steered - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (before - plain(input_ids=IDS).logits).abs().max() < 1e-4
    assert torch.equal(before, after)


@pytest.mark.parametrize("prepared", [True, False])
def test_generate_may_compile_only_what_was_prepared(monkeypatch: pytest.MonkeyPatch, prepared: bool) -> None:
    import copy

    model, sae = copy.deepcopy(build("gpt2")), make_sae()
    if prepared:
        emosae.prepare(model, [sae.site])
    seen: list[bool] = []
    real = type(model)._valid_auto_compile_criteria

    def spy(self: Any, kwargs: Any, config: Any) -> bool:
        seen.append(bool(config.disable_compile))
        return real(self, kwargs, config)

    monkeypatch.setattr(type(model), "_valid_auto_compile_criteria", spy)
    with emosae.steer(model, sae, CLAMPS):
        model.generate(IDS, max_new_tokens=2, do_sample=False)
    assert set(seen) == {not prepared}


def test_a_prepared_model_answers_as_before_bit_for_bit() -> None:
    import copy

    plain = build("gemma2")
    model = emosae.prepare(emosae.prepare(copy.deepcopy(plain)))
    assert torch.equal(model(input_ids=IDS).logits, plain(input_ids=IDS).logits)
    sae = make_sae(hook="blocks.1.hook_mlp_out")
    with emosae.steer(plain, sae, CLAMPS), emosae.steer(model, sae, CLAMPS):
        assert torch.equal(model(input_ids=IDS).logits, plain(input_ids=IDS).logits)
    assert torch.equal(model(input_ids=IDS).logits, plain(input_ids=IDS).logits)


def test_a_gradient_passes_through_the_edit() -> None:
    model, sae = build("gpt2"), make_sae("standard")
    with torch.inference_mode():
        steering = emosae.steer(model, sae, [emosae.Clamp(3, "scale", 0.5)], skip_special=False)
        with steering:
            model(input_ids=IDS)
    embedded = model.get_input_embeddings()(IDS).detach().requires_grad_(True)
    with steering:
        model(inputs_embeds=embedded).logits.sum().backward()
    assert embedded.grad is not None
    assert embedded.grad.isfinite().all()
    assert embedded.grad.abs().max() > 0


def test_the_steering_is_a_context_manager_with_its_plan() -> None:
    steering = emosae.steer(build("gpt2"), make_sae(), CLAMPS, scope="generated")
    assert isinstance(steering, Steering)
    assert steering.plan.scope.kind == "generated"
