"""Scopes against a reference by hand: the whole text in one pass, each token edited or not by its place in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import transformers
from models_zoo import build
from steering_cases import block, editing_output, make_sae, reference
from torch import Tensor

import emosae
from emosae.errors import UserError

WANTED = {3: 6.0, 17: 2.0, 40: 4.0}
CLAMPS = [emosae.Clamp(feature, "set", value) for feature, value in WANTED.items()]
SPECIAL = torch.tensor([1, 2, 3])
PADS = (0, 3, 1)
# Rows of 6 columns, padded at the left (1); one begins with BOS (2), one has EOS (3) inside.
PROMPT = torch.tensor([[2, 20, 30, 40, 50, 60], [1, 1, 1, 21, 31, 41], [1, 22, 32, 3, 42, 52]])
MASK = (torch.arange(6) >= torch.tensor(PADS)[:, None]).long()
COLUMNS = PROMPT.shape[1]

Where = Callable[[Tensor, Tensor], Tensor]  # columns [1, t], positions [rows, t] -> [rows, t]

SCOPES: dict[str, tuple[Any, Where]] = {
    "all": ("all", lambda c, p: c >= 0),
    "prompt": ("prompt", lambda c, p: c < COLUMNS),
    "generated": ("generated", lambda c, p: c >= COLUMNS),
    "from_last_prompt_token": ("from_last_prompt_token", lambda c, p: c >= COLUMNS - 1),
    "positions": ([1, 4, 7], lambda c, p: (p == 1) | (p == 4) | (p == 7)),
    "mask": ([False, False, True, True, True, False, True, True], lambda c, p: (c > 1) & (c != 5) & (c < 8)),
}

MODES: dict[str, tuple[slice, dict[str, Any]]] = {
    "cache": (slice(0, 3), {}),
    "no cache": (slice(0, 3), {"use_cache": False}),
    "static cache": (slice(0, 3), {"cache_implementation": "static"}),
    "chunked prefill": (slice(0, 3), {"prefill_chunk_size": 2}),
    "beams": (slice(0, 3), {"num_beams": 3, "num_return_sequences": 2}),
    "samples": (slice(0, 3), {"do_sample": True, "num_return_sequences": 2}),
    "one token at a time": (slice(0, 1), {}),
    "one padded row": (slice(1, 2), {}),
    "assisted": (slice(0, 1), {"assisted": True}),
    "prompt lookup": (slice(0, 1), {"prompt_lookup_num_tokens": 3}),
    "early exit drafts": (slice(0, 1), {"assistant_early_exit": 3}),
}


@contextmanager
def by_hand(name: str, sae: Any, where: Where, pads: tuple[int, ...], special: bool) -> Iterator[None]:
    """Edit by place in a model that sees the whole text at each step."""
    seen: dict[str, Tensor] = {}
    model = build(name)
    handle = model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.update(ids=kwargs["input_ids"]), with_kwargs=True
    )

    def edit(x: Tensor) -> Tensor:
        ids = seen["ids"]
        columns = torch.arange(ids.shape[1])[None]
        left = torch.tensor(pads).repeat_interleave(len(ids) // len(pads))[:, None]
        taken = where(columns, columns - left) & (columns >= left)
        if not special:
            taken = taken & ~torch.isin(ids, SPECIAL)
        return reference(x, sae, WANTED, taken.expand(ids.shape))

    try:
        with editing_output(block(name), edit):
            yield
    finally:
        handle.remove()


def generate(name: str, rows: slice, **options: Any) -> Any:
    if options.pop("assisted", False):
        assistant = build("smollm3" if name == "llama" else "gpt2")
        options["assistant_model"] = assistant
    torch.manual_seed(5)
    common = {"max_new_tokens": 7, "min_new_tokens": 7, "do_sample": False, "output_logits": True}
    return build(name).generate(
        PROMPT[rows],
        attention_mask=MASK[rows],
        return_dict_in_generate=True,
        **(common | options),
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("mode", MODES)
def test_every_scope_in_every_way_of_generating(mode: str, scope: str) -> None:
    name, sae = "llama", make_sae("jumprelu")
    given, where = SCOPES[scope]
    rows, options = MODES[mode]
    alike = {
        key: value
        for key, value in options.items()
        if key in ("num_beams", "num_return_sequences", "do_sample")
    }
    with by_hand(name, sae, where, PADS[rows], special=False):
        expected = generate(name, rows, use_cache=False, **alike)
    with emosae.steer(build(name), sae, CLAMPS, scope=given) as applied:
        found = generate(name, rows, **options)
    assert found.sequences.tolist() == expected.sequences.tolist()
    size = expected.logits[0].abs().max()
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        if theirs.shape == ours.shape and "beams" not in mode:
            assert (ours - theirs).abs().max() < 1e-4 * size
    if scope == "prompt":  # of drafts too, which generate from inside generate
        assert applied.trace["position"].max() == COLUMNS - 1 - min(PADS[rows])
    if scope != "all":
        return
    plain = generate(name, rows, **options)
    assert (plain.logits[0] - found.logits[0]).abs().max() > 1e-2 * size  # the scope takes something
    assert set(applied.trace["token"].to_list()).isdisjoint(SPECIAL.tolist())


@pytest.mark.parametrize("scope", [name for name in SCOPES if name != "generated"])
@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_a_plain_forward_is_all_prompt(scope: str, padding: str) -> None:
    name, sae = "gpt2", make_sae("jumprelu")
    model = build(name)
    ids = {
        "none": PROMPT[:1],
        "left": PROMPT,
        "right": torch.stack([PROMPT[r].roll(-PADS[r]) for r in range(3)]),
    }[padding]
    mask = {"none": None, "left": MASK, "right": MASK.flip(1).contiguous()}[padding]
    if padding == "right":
        mask = (torch.arange(6) < 6 - torch.tensor(PADS)[:, None]).long()
    given, where = SCOPES[scope]
    columns = torch.arange(6)[None]
    attended = torch.ones_like(ids).bool() if mask is None else mask.bool()
    positions = columns - (torch.tensor(PADS)[:, None] if padding == "left" else 0)
    if scope == "prompt":
        taken = columns >= 0
    elif scope == "from_last_prompt_token":
        last = {"none": 5, "left": 5, "right": 5 - torch.tensor(PADS)[:, None]}[padding]
        taken = columns >= last
    else:
        taken = where(columns, positions)
    taken = (taken & attended & ~torch.isin(ids, SPECIAL)).expand(ids.shape)
    with editing_output(block(name), lambda x: reference(x, sae, WANTED, taken)):
        expected = model(input_ids=ids, attention_mask=mask).logits
    with emosae.steer(model, sae, CLAMPS, scope=given) as applied:
        logits = model(input_ids=ids, attention_mask=mask).logits
    assert (logits - expected)[attended].abs().max() < 1e-4 * expected.abs().max()
    trace = applied.trace.filter(applied.trace["feature"] == 3)
    places = [(r, int(positions.expand(ids.shape)[r, c])) for r, c in taken.nonzero().tolist()]
    assert list(zip(trace["row"], trace["position"], strict=True)) == places


@pytest.mark.parametrize("scope", ["prompt", "generated", "from_last_prompt_token"])
def test_prompt_lengths_split_plain_forwards_with_and_without_a_cache(scope: str) -> None:
    name, sae = "llama", make_sae("jumprelu")
    model, lengths = build(name), (4, 2, 3)
    boundary = torch.tensor(lengths)[:, None]
    columns = torch.arange(6)[None]
    positions = columns - torch.tensor(PADS)[:, None]
    rule = {
        "prompt": positions < boundary,
        "generated": positions >= boundary,
        "from_last_prompt_token": positions >= boundary - 1,
    }[scope]
    taken = rule & MASK.bool() & ~torch.isin(PROMPT, SPECIAL)
    with editing_output(block(name), lambda x: reference(x, sae, WANTED, taken)):
        expected = model(input_ids=PROMPT, attention_mask=MASK).logits
    with emosae.steer(model, sae, CLAMPS, scope=scope, prompt_lengths=lengths):
        whole = model(input_ids=PROMPT, attention_mask=MASK).logits
        first = model(input_ids=PROMPT[:, :4], attention_mask=MASK[:, :4], use_cache=True)
        parts = [first.logits]
        for at in (4, 5):
            step = model(
                input_ids=PROMPT[:, at : at + 1],
                attention_mask=MASK[:, : at + 1],
                past_key_values=first.past_key_values,
                use_cache=True,
            )
            parts.append(step.logits)
    kept = MASK.bool()
    for logits in (whole, torch.cat(parts, 1)):
        assert (logits - expected)[kept].abs().max() < 1e-4 * expected.abs().max()


def test_special_tokens_are_steered_when_asked() -> None:
    name, sae = "llama", make_sae("jumprelu")
    with by_hand(name, sae, SCOPES["all"][1], PADS, special=True):
        expected = generate(name, slice(0, 3), use_cache=False).logits[0]
    with emosae.steer(build(name), sae, CLAMPS, skip_special=False) as applied:
        found = generate(name, slice(0, 3)).logits[0]
    assert applied.trace["position"].min() == 0  # padding is never steered, special or not
    with emosae.steer(build(name), sae, CLAMPS):
        skipped = generate(name, slice(0, 3)).logits[0]
    with emosae.steer(build(name), sae, CLAMPS, special_ids=[]):
        none_special = generate(name, slice(0, 3)).logits[0]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (skipped - expected).abs().max() > 1e-3 * expected.abs().max()
    assert torch.equal(none_special, found)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 3)])
def test_special_tokens_are_skipped_among_the_generated_too(rows: slice) -> None:
    name, sae = "llama", make_sae("jumprelu")
    even = range(0, 96, 2)
    with emosae.steer(build(name), sae, CLAMPS, special_ids=even, scope="generated") as applied:
        text = generate(name, rows).sequences
    odd = [(r, token) for r, row in enumerate(text[:, COLUMNS:-1].tolist()) for token in row if token % 2]
    trace = applied.trace.filter(applied.trace["feature"] == 3)
    assert sorted(zip(trace["row"], trace["token"], strict=True)) == sorted(odd)
    assert 0 < len(odd) < text[:, COLUMNS:-1].numel()


def test_untouched_positions_keep_every_bit() -> None:
    name, sae = "gpt2", make_sae("jumprelu")
    model, kept = build(name), {}

    def keep(key: str) -> Tensor:
        with editing_output(block(name), lambda x: kept.setdefault(key, x)):
            model(input_ids=PROMPT, attention_mask=MASK)
        return kept[key]

    plain = keep("plain")
    with emosae.steer(model, sae, CLAMPS, scope=[2]):
        steered = keep("steered")
    positions = torch.arange(6)[None] - torch.tensor(PADS)[:, None]
    taken = (positions == 2) & ~torch.isin(PROMPT, SPECIAL)
    assert torch.equal(steered[~taken], plain[~taken])
    assert (steered[taken] - plain[taken]).norm(dim=-1).min() > 0.1


def test_rows_of_a_batch_carry_plans_of_their_own_and_beams_keep_their_sources() -> None:
    name, sae = "llama", make_sae("jumprelu")
    rows = [
        [emosae.Clamp(3, "set", 6.0)],
        None,
        [emosae.Clamp(40, "add", 3.0), emosae.Clamp(3, "scale", 0.5)],
    ]
    for options in ({}, {"num_beams": 2, "num_return_sequences": 2}):
        with emosae.steer(build(name), sae, rows) as applied:
            together = generate(name, slice(0, 3), **options).sequences
        copies = len(together) // 3
        assert applied.trace.filter(applied.trace["row"].is_between(copies, 2 * copies - 1)).is_empty()
        for row, clamps in enumerate(rows):
            with emosae.steer(build(name), sae, clamps or []):
                alone = generate(name, slice(row, row + 1), **options).sequences
            assert together[row * copies : (row + 1) * copies].tolist() == alone.tolist()


@pytest.mark.parametrize(
    "given", [[[1], [2], [0, 4]], [[False] * 4 + [True], [True] * 5, [False, True] * 2 + [False]]]
)
def test_positions_and_masks_may_differ_by_row(given: Any) -> None:
    name, sae = "gpt2", make_sae("jumprelu")
    columns = torch.arange(6)[None]
    if isinstance(given[0][0], bool):
        taken = torch.tensor([[*row, False] for row in given])
    else:
        positions = columns - torch.tensor(PADS)[:, None]
        taken = torch.stack([torch.isin(positions[r], torch.tensor(given[r])) for r in range(3)])
    taken = taken & MASK.bool() & ~torch.isin(PROMPT, SPECIAL)
    model = build(name)
    with editing_output(block(name), lambda x: reference(x, sae, WANTED, taken)):
        expected = model(input_ids=PROMPT, attention_mask=MASK).logits
    with emosae.steer(model, sae, CLAMPS, scope=given):
        logits = model(input_ids=PROMPT, attention_mask=MASK).logits
    assert (logits - expected)[MASK.bool()].abs().max() < 1e-4 * expected.abs().max()


def test_a_scope_that_cannot_be_told_is_refused() -> None:
    sae, model = make_sae("jumprelu"), build("gpt2")
    with (
        emosae.steer(model, sae, CLAMPS, scope="generated"),
        pytest.raises(UserError, match="prompt_lengths"),
    ):
        model(input_ids=PROMPT)
    with emosae.steer(model, sae, CLAMPS), pytest.raises(UserError, match="two-dimensional"):
        model(input_ids=PROMPT, attention_mask=MASK[:, None, None].bool())
    with emosae.steer(model, sae, [CLAMPS, CLAMPS]), pytest.raises(UserError, match="each of the 3 rows"):
        model(input_ids=PROMPT)
    with emosae.steer(model, sae, CLAMPS), pytest.raises(UserError, match="within its model"):
        block()(torch.zeros(1, 2, 32))
    with emosae.steer(model, sae, CLAMPS, scope="prompt"), pytest.raises(UserError, match="guidance"):
        model.generate(PROMPT, attention_mask=MASK, max_new_tokens=2, guidance_scale=2.0)


def test_a_scope_that_took_no_token_is_said_at_the_end() -> None:
    sae, model = make_sae("jumprelu"), build("gpt2")
    with (
        pytest.warns(UserWarning, match="took no token"),
        emosae.steer(model, sae, CLAMPS, scope="generated"),
    ):
        model.generate(PROMPT, attention_mask=MASK, max_new_tokens=1)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "qwen3", "mistral", "gemma3"])
@pytest.mark.parametrize("scope", ["positions", "from_last_prompt_token"])
def test_every_family_keeps_places_sliding_windows_too(name: str, scope: str) -> None:
    sae, (given, where) = make_sae("jumprelu"), SCOPES[scope]
    with by_hand(name, sae, where, PADS, special=False):
        expected = generate(name, slice(0, 3), use_cache=False)
    with emosae.steer(build(name), sae, CLAMPS, scope=given):
        found = generate(name, slice(0, 3))
    assert found.sequences.tolist() == expected.sequences.tolist()
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("mode", ["cache", "static cache"])
@pytest.mark.parametrize("architecture", ["jumprelu", "layer_norm", "topk", "transcoder"])
def test_the_way_of_an_accelerator_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, architecture: str, mode: str, scope: str
) -> None:
    # There all tokens are computed and a mask chooses, so that nothing waits for a count.
    kind = {"layer_norm": "standard"}.get(architecture, architecture)
    norm = "layer_norm" if architecture == "layer_norm" else "none"
    name, sae = ("gpt2" if kind == "transcoder" else "llama"), make_sae(kind, normalize_activations=norm)
    clamps, options = [[emosae.Clamp(3, "set", 6.0)], None, [emosae.Clamp(40, "add", 2.0)]], MODES[mode][1]
    with emosae.steer(build(name), sae, clamps, scope=SCOPES[scope][0]) as usual:
        expected = generate(name, slice(0, 3))
    for module in ("selection", "forward"):
        monkeypatch.setattr(f"emosae.steering.{module}.answers_at_once", lambda _device: False)
    with emosae.steer(build(name), sae, clamps, scope=SCOPES[scope][0]) as applied:
        found = generate(name, slice(0, 3), **options)
    for ours, theirs in zip(found.logits, expected.logits, strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
    assert usual.trace.drop("activation", "target", "push").equals(
        applied.trace.drop("activation", "target", "push")
    )


@pytest.mark.parametrize(
    ("scope", "special", "padded"),
    [("all", False, False), ("all", True, True), ("prompt", True, False), ([1, 7], True, True)],
)
def test_a_plain_pass_never_waits_for_the_length_of_a_static_cache(
    monkeypatch: pytest.MonkeyPatch, scope: Any, special: bool, padded: bool
) -> None:
    """Else every token would wait for an accelerator, and none could be captured in a CUDA graph."""
    model, sae, rows = build("llama"), make_sae("jumprelu"), slice(0, 3)
    given = {"attention_mask": torch.cat([MASK, torch.ones_like(MASK[:, :1])], dim=1)} if padded else {}

    def last_logits() -> Tensor:
        cache = transformers.StaticCache(config=model.config, max_cache_len=9)
        first = {name: mask[:, :-1] for name, mask in given.items()}
        with torch.no_grad():
            model(PROMPT[rows], past_key_values=cache, use_cache=True, **first)
            return model(PROMPT[rows, -1:], past_key_values=cache, use_cache=True, **given).logits

    with emosae.steer(model, sae, CLAMPS, scope=scope, skip_special=special):
        expected = last_logits()
    for module in ("selection", "forward"):
        monkeypatch.setattr(f"emosae.steering.{module}.answers_at_once", lambda _device: False)
    monkeypatch.setattr("emosae.steering.forward.int", _int_that_never_waits, raising=False)
    with emosae.steer(model, sae, CLAMPS, scope=scope, skip_special=special, trace=False):
        found = last_logits()
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (found - last_logits()).abs().max() > 1e-3 * expected.abs().max()


def _int_that_never_waits(value: Any) -> int:
    assert not isinstance(value, Tensor), "asked for a length that lies on the device"
    return int(value)


def test_in_a_cuda_graph_only_all_tokens_can_be_steered(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sae = build("llama"), make_sae("jumprelu")
    monkeypatch.setattr("emosae.steering.selection.capturing", lambda: True)
    with emosae.steer(model, sae, CLAMPS, scope="all") as applied:
        model(PROMPT)
    assert applied.n_forwards == 1
    with (
        pytest.raises(UserError, match=r"CUDA graph.*got the scope 'prompt'.*scope='all'"),
        emosae.steer(model, sae, CLAMPS, scope="prompt"),
    ):
        model(PROMPT)


def test_embeddings_take_the_place_of_ids_and_nothing_of_them_is_special() -> None:
    sae, model = make_sae("jumprelu"), build("llama")
    rows = torch.tensor([[20, 30, 40, 50], [21, 31, 41, 51]])
    for scope in ("all", "from_last_prompt_token", [1, 5]):
        with emosae.steer(model, sae, CLAMPS, scope=scope):
            expected = model.generate(rows, max_new_tokens=5, min_new_tokens=5, do_sample=False)
            found = model.generate(
                inputs_embeds=model.get_input_embeddings()(rows),
                attention_mask=torch.ones_like(rows),
                max_new_tokens=5,
                min_new_tokens=5,
                do_sample=False,
            )
        assert found.tolist() == expected[:, 4:].tolist()


@pytest.mark.parametrize("scope", SCOPES)
def test_generation_goes_on_from_a_cache(scope: str) -> None:
    name, sae = "llama", make_sae("jumprelu")
    model, (given, where) = build(name), SCOPES[scope]
    with by_hand(name, sae, where, PADS, special=False):
        expected = generate(name, slice(0, 3), use_cache=False)
    with emosae.steer(model, sae, CLAMPS, scope=given, prompt_lengths=[6 - pads for pads in PADS]):
        places = (MASK[:, :4].cumsum(1) - 1).clamp(min=0)  # generate numbers the tokens alike
        first = model(
            input_ids=PROMPT[:, :4], attention_mask=MASK[:, :4], position_ids=places, use_cache=True
        )
        found = generate(name, slice(0, 3), past_key_values=first.past_key_values)
    assert found.sequences.tolist() == expected.sequences.tolist()


def test_generate_without_a_mask_finds_its_own_padding() -> None:
    name, sae, model = "llama", make_sae("jumprelu"), build("llama")
    with emosae.steer(model, sae, CLAMPS, scope=[1, 2]):
        expected = generate(name, slice(0, 3)).sequences
        found = model.generate(PROMPT, max_new_tokens=7, min_new_tokens=7, do_sample=False)
    assert found.tolist() == expected.tolist()
