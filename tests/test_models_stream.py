"""Streaming: the plan of batches, the early end of the forward pass, and what is left behind (nothing)."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_zoo import ENCODERS, LAYERS, MODELS, UNLISTED, VOCABULARY, blocks, build
from torch import nn

from emosae.errors import UserError
from emosae.models import (
    Site,
    Stream,
    StreamRecord,
    TokenizedItems,
    context_length,
    locate,
    plan_batches,
    stream_activations,
)

ALL = [*MODELS, *UNLISTED]


def items_of(lengths: list[int], seed: int = 0) -> TokenizedItems:
    """Make items of random ids; each item's span is its second half."""
    rng = np.random.default_rng(seed)
    return TokenizedItems(
        ids=[rng.integers(5, 80, n) for n in lengths],
        span=[np.arange(n) >= n // 2 for n in lengths],
        special=[np.zeros(n, dtype=bool) for n in lengths],
        unknown=np.zeros(len(lengths), dtype=bool),
        truncated=np.zeros(len(lengths), dtype=bool),
    )


def hook_count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


# --- the plan ---

LENGTHS = st.lists(st.integers(0, 40), max_size=120)
BOUND, WINDOW = st.integers(1, 90), st.integers(1, 50)


@given(LENGTHS, BOUND, WINDOW)
def test_every_item_is_in_exactly_one_batch(lengths: list[int], bound: int, window: int) -> None:
    plan = plan_batches(np.array(lengths, dtype=int), max_tokens=bound, window=window)
    assert sorted(np.concatenate(plan).tolist() if plan else []) == list(range(len(lengths)))
    assert all(len(rows) for rows in plan)


@given(LENGTHS, BOUND, WINDOW)
def test_padded_batches_stay_within_the_bound(lengths: list[int], bound: int, window: int) -> None:
    for rows in plan_batches(np.array(lengths, dtype=int), max_tokens=bound, window=window):
        longest = max(1, *(lengths[row] for row in rows))
        assert len(rows) * longest <= bound or len(rows) == 1


@given(LENGTHS, BOUND, WINDOW)
def test_batches_stay_in_their_window_and_go_from_long_to_short(
    lengths: list[int], bound: int, window: int
) -> None:
    plan = plan_batches(np.array(lengths, dtype=int), max_tokens=bound, window=window)
    order = np.concatenate(plan) if plan else np.zeros(0, dtype=int)
    assert (np.diff(order // window) >= 0).all()
    for first in range(0, len(lengths), window):
        inside = [(-max(lengths[row], 1), row) for row in order[first : first + window]]
        assert inside == sorted(inside)  # ties keep the items' order
    assert all(len(set((rows // window).tolist())) == 1 for rows in plan)


@given(LENGTHS, BOUND, st.randoms())
def test_items_of_one_length_can_change_places(lengths: list[int], bound: int, random: Any) -> None:
    """The lengths in each batch depend on which lengths there are, not on the order in which they come."""
    shuffled = lengths[:]
    random.shuffle(shuffled)
    plans = [
        [
            sorted(given[row] for row in rows)
            for rows in plan_batches(np.array(given, dtype=int), max_tokens=bound)
        ]
        for given in (lengths, shuffled)
    ]
    assert [np.maximum(batch, 1).tolist() for batch in plans[0]] == [
        np.maximum(batch, 1).tolist() for batch in plans[1]
    ]


def test_plan_worked_out_by_hand() -> None:
    plan = plan_batches(np.array([2, 5, 3, 2, 0, 9]), max_tokens=6)
    assert [rows.tolist() for rows in plan] == [[5], [1], [2, 0], [3, 4]]
    plan = plan_batches(np.array([2, 5, 3, 2, 0, 9]), max_tokens=6, window=3)
    assert [rows.tolist() for rows in plan] == [[1], [2, 0], [5], [3, 4]]


@pytest.mark.parametrize("name", ["max_tokens", "window"])
def test_bounds_below_one_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} must be at least 1, got 0"):
        plan_batches(np.array([1]), **({"max_tokens": 5} | {name: 0}))


# --- reading ---


@pytest.mark.parametrize("name", ["gpt2", "gemma3", "roberta", "bloom"])
def test_batches_hold_each_item_with_its_own_activations(name: str) -> None:
    """Compared with each item run alone through the whole model."""
    model, site = build(name), Site(1, Stream.RESID_POST)
    tokens = items_of([3, 8, 1, 5, 8, 2])
    record, seen = StreamRecord(), []
    for batch in stream_activations(
        model, tokens, [site], max_tokens=16, embeddings=True, pad_id=1, record=record
    ):
        assert batch.embeddings is not None
        assert batch.ids.numel() <= 16
        for place, row in enumerate(batch.rows):
            n = len(tokens.ids[row])
            ids = torch.from_numpy(tokens.ids[row])[None]
            with torch.no_grad():
                states = model(input_ids=ids, output_hidden_states=True).hidden_states
                static = model.get_input_embeddings()(ids)
            assert batch.mask[place].tolist() == [True] * n + [False] * (batch.ids.shape[1] - n)
            assert batch.ids[place, :n].tolist() == tokens.ids[row].tolist()
            assert (batch.ids[place, n:] == 1).all()
            assert batch.span[place].nonzero().flatten().tolist() == np.flatnonzero(tokens.span[row]).tolist()
            torch.testing.assert_close(batch.activations[site][place, :n], states[2][0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(batch.embeddings[place, :n], static[0])
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(6))
    # [1, 4] of 8 tokens, [3, 0, 5] of at most 5, [2] of 1
    assert record == StreamRecord(batches=3, tokens=27, padded_tokens=16 + 15 + 1)


def blocks_run(name: str, sites: list[Site]) -> int:
    model = build(name)
    ran: list[int] = []
    handles = [
        block.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(blocks(name, model))
    ]
    head = model.get_output_embeddings()
    if head is not None:
        handles.append(head.register_forward_pre_hook(lambda *_: pytest.fail("the head was run")))
    try:
        for batch in stream_activations(model, items_of([4, 4]), sites):
            assert set(batch.activations) == set(sites)
    finally:
        for handle in handles:
            handle.remove()
    assert ran == list(range(len(ran)))
    return len(ran)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("layer", range(LAYERS))
def test_the_forward_pass_ends_at_the_site(name: str, layer: int) -> None:
    assert blocks_run(name, [Site(layer, Stream.RESID_POST)]) == layer + 1
    # the count is taken before the block, as its input is read in the same place: the block itself does not
    # run
    assert blocks_run(name, [Site(layer, Stream.RESID_PRE)]) == layer + 1


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "gpt_neox", "bert"])
def test_nothing_inside_the_block_runs_after_the_site(name: str) -> None:
    model = build(name)
    block = blocks(name, model)[1]
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.append(path))
        for path, module in block.named_modules()
        if path
    ]
    try:
        for stream in (Stream.RESID_PRE, Stream.ATTN_OUT, Stream.RESID_POST):
            ran.clear()
            list(stream_activations(model, items_of([4]), [Site(1, stream)]))
            mlp = any(path.startswith(("mlp", "intermediate")) for path in ran)
            assert (bool(ran), mlp) == {
                Stream.RESID_PRE: (False, False),
                Stream.ATTN_OUT: (True, False),
                Stream.RESID_POST: (True, True),
            }[stream]
    finally:
        for handle in handles:
            handle.remove()


def test_with_several_sites_the_deepest_ends_the_pass() -> None:
    sites = [Site.parse(name) for name in ("2.mlp_out", "0.resid_pre", "1.z", "2.attn_out", "hook_embed")]
    assert blocks_run("llama", sites) == 3
    assert blocks_run("llama", [Site(0, Stream.EMBED)]) == 0
    together = next(stream_activations(build("llama"), items_of([4, 3]), sites)).activations
    for site in sites:
        alone = next(stream_activations(build("llama"), items_of([4, 3]), [site])).activations[site]
        torch.testing.assert_close(together[site], alone, rtol=0, atol=0)


def test_a_compiled_wrapper_is_read_through_the_model_inside() -> None:
    """A hook on the wrapper's graph would be ignored."""
    model, site = build("llama"), Site(1, Stream.RESID_POST)
    wrapped = torch.compile(model)
    assert wrapped is not model
    assert locate(wrapped, site).path == locate(model, site).path == "model.layers.1"
    got, wanted = (next(stream_activations(m, items_of([4, 3]), [site])) for m in (wrapped, model))
    assert torch.equal(got.activations[site], wanted.activations[site])


def test_without_sites_only_the_embedding_is_read() -> None:
    model = build("llama")
    handle = blocks("llama", model)[0].register_forward_pre_hook(lambda *_: pytest.fail("a block was run"))
    batch = next(stream_activations(model, items_of([4]), [], embeddings=True))
    handle.remove()
    assert batch.activations == {}
    assert batch.embeddings is not None


@pytest.mark.parametrize("name", ALL)
def test_the_model_is_as_it_was(name: str) -> None:
    model = build(name)
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        before = model(input_ids=ids)[0]
    hooks, config = hook_count(model), model.config.to_dict()
    list(stream_activations(model, items_of([4, 7, 2]), [Site(1, Stream.RESID_POST)], max_tokens=8))
    assert hook_count(model) == hooks
    assert model.config.to_dict() == config
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids)[0], before)


def test_no_hook_is_left_between_batches_or_by_a_stream_that_is_dropped() -> None:
    model = build("llama")
    hooks = hook_count(model)
    stream = stream_activations(model, items_of([4, 4, 4]), [Site(1, Stream.RESID_POST)], max_tokens=4)
    next(stream)
    assert hook_count(model) == hooks
    with torch.no_grad():  # the model can be used in between
        assert model(input_ids=torch.arange(5, 9)[None]).logits.shape[-1] == VOCABULARY
    del stream
    assert hook_count(model) == hooks


def test_no_hook_is_left_by_an_error() -> None:
    model = MODELS["llama"]().eval()
    hooks = hook_count(model)

    def fail(*_: Any) -> None:
        raise RuntimeError("broken block")

    handle = model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match=r"broken block"):
        list(stream_activations(model, items_of([4]), [Site(2, Stream.RESID_POST), Site(0, Stream.HOOK_Z)]))
    handle.remove()
    assert hook_count(model) == hooks


def test_inference_mode_does_not_leak_to_the_consumer() -> None:
    for _ in stream_activations(build("llama"), items_of([4, 4]), [Site(0, Stream.RESID_POST)], max_tokens=4):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


def test_nothing_is_kept_after_the_batch() -> None:
    """Neither while the consumer works on the next batch nor while the model runs it."""
    model, site = build("llama"), Site(1, Stream.RESID_POST)
    alive: list[weakref.ref[torch.Tensor]] = []
    left: list[int] = []

    def count(*_: Any) -> None:
        gc.collect()
        left.append(sum(ref() is not None for ref in alive))

    handle = model.model.layers[0].register_forward_pre_hook(count)
    for batch in stream_activations(model, items_of([4] * 6), [site], max_tokens=8, embeddings=True):
        alive += [weakref.ref(batch.activations[site]), weakref.ref(batch.mask)]
        del batch
    handle.remove()
    assert len(alive) == 6
    assert left == [0, 0, 0]


def test_items_without_tokens_take_part() -> None:
    """A decoder's tokenizer gives nothing for an empty text."""
    model, site = build("llama"), Site(1, Stream.RESID_POST)
    masks: list[torch.Tensor] = []
    handle = model.model.register_forward_pre_hook(
        lambda _module, _args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    for lengths in ([0, 3, 0], [0]):
        batches = list(stream_activations(model, items_of(lengths), [site]))
        assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))
        for batch in batches:
            assert batch.activations[site].isfinite().all()
            assert int(batch.mask.sum()) == sum(lengths)
    handle.remove()
    # an attention kernel may answer NaN to a row that may look at nothing
    assert [mask.sum(1).tolist() for mask in masks] == [[3, 1, 1], [1]]


def test_no_items_give_no_batches() -> None:
    assert list(stream_activations(build("llama"), items_of([]), [Site(0, Stream.RESID_POST)])) == []


@pytest.mark.parametrize("name", ["gpt2", "gemma3", "bert"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_activations_have_the_models_dtype(name: str, dtype: torch.dtype) -> None:
    model = MODELS[name]().eval().to(dtype)
    sites = [Site.parse("1.resid_post"), Site.parse("1.z")]
    sites += [Site.parse("0.ln2_normalized")] if name not in ENCODERS else []
    for batch in stream_activations(model, items_of([5, 3]), sites, embeddings=True):
        assert {value.dtype for value in batch.activations.values()} == {dtype}
        assert batch.embeddings is not None
        assert batch.embeddings.dtype == dtype
        assert all(value.isfinite().all() for value in batch.activations.values())


def test_a_model_spread_by_accelerate() -> None:
    """Offloaded weights are fetched module by module; the ids go where the embedding runs."""
    from accelerate import cpu_offload

    model = MODELS["llama"]().eval()
    tokens, sites = items_of([5, 3]), [Site.parse("1.resid_post"), Site.parse("2.z")]
    whole = next(stream_activations(model, tokens, sites)).activations
    cpu_offload(model, torch.device("cpu"))
    assert model.model.layers[0].mlp.up_proj.weight.device.type == "meta"
    for _ in range(2):
        spread = next(stream_activations(model, tokens, sites)).activations
        for site in sites:
            torch.testing.assert_close(spread[site], whole[site])
    assert {p.device.type for p in model.parameters()} == {"meta"}


# --- memory ---


def limit_memory(model: nn.Module, rows: int, calls: list[int]) -> Any:
    """Make a model run out of memory above a number of rows, as an accelerator does."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = args[0] if args else kwargs["input_ids"]
        calls.append(len(ids))
        if len(ids) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return model.register_forward_pre_hook(hook, with_kwargs=True)


def test_out_of_memory_halves_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    model, site = build("llama"), Site(1, Stream.RESID_POST)
    tokens = items_of([3, 8, 1, 5, 8, 2, 4])
    whole = next(stream_activations(model, tokens, [site]))
    hooks, calls, record = hook_count(model), [], StreamRecord()
    handle = limit_memory(model.model, 2, calls)
    with caplog.at_level(logging.WARNING, logger="emosae.models.stream"):
        batches = list(stream_activations(model, tokens, [site], record=record))
    handle.remove()
    assert hook_count(model) == hooks
    assert calls == [7, 4, 2, 2, 3, 2, 1]
    assert [len(batch.rows) for batch in batches] == [2, 2, 2, 1]
    assert np.concatenate([batch.rows for batch in batches]).tolist() == whole.rows.tolist()
    # each half is padded to its own longest item: 8 8, 5 4, 3 2, 1
    assert record == StreamRecord(batches=4, tokens=31, padded_tokens=16 + 10 + 6 + 1, split_batches=3)
    assert "Out of memory on cpu with 7 items: the batch is halved" in caplog.text
    for batch in batches:
        for place, row in enumerate(batch.rows):
            n, at = len(tokens.ids[row]), whole.rows.tolist().index(row)
            torch.testing.assert_close(
                batch.activations[site][place, :n], whole.activations[site][at, :n], atol=1e-5, rtol=1e-5
            )


def test_one_item_that_does_not_fit_is_named() -> None:
    model = build("llama")
    handle = limit_memory(model.model, 0, [])
    with pytest.raises(UserError, match=r"item of 8 tokens does not fit into the memory of cpu.*max_length"):
        list(stream_activations(model, items_of([3, 8]), [Site(1, Stream.RESID_POST)]))
    handle.remove()


@pytest.mark.gpu
def test_out_of_memory_on_a_gpu_goes_on() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = MODELS["llama"]().eval().to("cuda")
    tokens, site, record = items_of([64] * 4096), Site(2, Stream.RESID_POST), StreamRecord()
    whole = {
        int(row): values.cpu()
        for batch in stream_activations(model, tokens, [site], max_tokens=4096)
        for row, values in zip(batch.rows, batch.activations[site], strict=True)
    }
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (total - free + 96 * 2**20) / total))
    try:
        for batch in stream_activations(model, tokens, [site], max_tokens=64 * 4096, record=record):
            for row, values in zip(batch.rows, batch.activations[site], strict=True):
                torch.testing.assert_close(values.cpu(), whole.pop(int(row)), atol=1e-3, rtol=1e-3)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert whole == {}
    assert record.split_batches > 0


# --- what is refused, before anything runs ---


def refuse(model: nn.Module, tokens: TokenizedItems, message: str, **options: Any) -> None:
    with pytest.raises(UserError, match=message):
        stream_activations(model, tokens, [Site(1, Stream.RESID_POST)], **options)


def test_a_model_in_training_mode_is_refused() -> None:
    refuse(MODELS["llama"]().train(), items_of([3]), r"in training mode.*Call model.eval\(\)")


def test_ids_of_another_tokenizer_are_refused() -> None:
    tokens = items_of([3, 4])
    tokens.ids[1][2] = 250
    refuse(build("llama"), tokens, "ids must be below 96, .*got 250.*tokenizer that belongs to the model")
    refuse(build("llama"), items_of([3]), "pad_id must be below 96, .*got 96", pad_id=96)
    refuse(build("llama"), items_of([3]), "pad_id must be below 96, .*got -1", pad_id=-1)


@pytest.mark.parametrize(
    ("name", "limit"), [("gpt2", 64), ("roberta", 62), ("distilbert", 64), ("gemma3", 64)]
)
def test_items_beyond_the_models_positions_are_refused(name: str, limit: int) -> None:
    assert context_length(build(name)) == limit
    site = Site(0, Stream.RESID_POST)
    assert next(stream_activations(build(name), items_of([limit]), [site])).activations[site].isfinite().all()
    message = f"at most {limit} tokens long for this model, got one of {limit + 1}.*max_length={limit}"
    refuse(build(name), items_of([3, limit + 1]), message)


def test_missing_layers_and_bad_bounds_are_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"layer must be 0 to 3"):
        stream_activations(build("llama"), items_of([3]), [Site(4, Stream.RESID_POST)])
    refuse(build("llama"), items_of([3]), "max_tokens must be at least 1, got 0", max_tokens=0)
