"""Sites: their names, and that each is where TransformerLens says it is, in every family."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import torch
from models_zoo import DECODERS, ENCODERS, LAYERS, MODELS, UNLISTED, WIDTH, blocks, build, ids_and_mask
from torch import Tensor

from emosae.errors import UserError
from emosae.models import (
    Side,
    Site,
    Stream,
    check_width,
    forward_to_sites,
    is_decoder,
    locate,
    n_layers,
    site_width,
    text_model,
)

LISTED = list(MODELS)
ALL = [*MODELS, *UNLISTED]
FINAL_NORM = {"gpt2": "ln_f", "bloom": "ln_f", "modernbert": "final_norm"} | dict.fromkeys(
    ("gpt_neox", "gpt_neox_sequential"), "final_layer_norm"
)


def read(name: str, *sites: Site) -> dict[Site, Tensor]:
    model = build(name)
    ids, mask = ids_and_mask()
    return forward_to_sites(model, {site: locate(model, site) for site in sites}, ids, mask.long())


def streams_at(name: str, layer: int) -> dict[Stream, Tensor]:
    streams = [stream for stream in Stream if stream is not Stream.EMBED and has(name, stream)]
    return {
        site.stream: value for site, value in read(name, *(Site(layer, stream) for stream in streams)).items()
    }


def has(name: str, stream: Stream) -> bool:
    try:
        locate(build(name), Site(0, stream))
    except UserError:
        return False
    return True


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


# --- where the streams are ---


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("layer", range(LAYERS))
def test_residual_stream_equals_output_hidden_states(name: str, layer: int) -> None:
    model = build(name)
    ids, mask = ids_and_mask()
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    got = read(name, Site(layer, Stream.RESID_PRE), Site(layer, Stream.RESID_POST))
    before, after = got[Site(layer, Stream.RESID_PRE)], got[Site(layer, Stream.RESID_POST)]
    if layer == LAYERS - 1 and name not in ENCODERS:
        # transformers gives the last state after the final norm
        after = text_model(model).get_submodule(FINAL_NORM.get(name, "norm"))(after)
    close(before[mask], states[layer][mask])
    close(after[mask], states[layer + 1][mask])


@pytest.mark.parametrize("name", ALL)
def test_padding_on_the_right_changes_no_row(name: str) -> None:
    """Positions and masks are right: a row alone, without padding, gives the same."""
    model, site = build(name), Site(2, Stream.RESID_POST)
    ids, mask = ids_and_mask()
    together = read(name, site)[site]
    for row in range(len(ids)):
        n = int(mask[row].sum())
        alone = forward_to_sites(
            model, {site: locate(model, site)}, ids[row : row + 1, :n], torch.ones(1, n).long()
        )
        close(together[row, :n], alone[site][0])


def out_projection(name: str, block: Any) -> Any:
    paths = {"gpt2": "attn.c_proj", "distilbert": "attention.out_lin"} | dict.fromkeys(
        ("gpt_neox", "gpt_neox_sequential"), "attention.dense"
    )
    default = "attention.output.dense" if name in ENCODERS else "self_attn.o_proj"
    return block.get_submodule(paths.get(name, default))


def norm_before_mlp(name: str, block: Any) -> Any:
    paths = {"gpt2": "ln_2"} | dict.fromkeys(("gemma2", "gemma3_text", "gemma3"), "pre_feedforward_layernorm")
    return block.get_submodule(paths.get(name, "post_attention_layernorm"))


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("layer", [0, 2])
def test_additions_make_the_residual_stream(name: str, layer: int) -> None:
    got = streams_at(name, layer)
    block = blocks(name, build(name))[layer]
    before, attention, mlp, after = (
        got[s] for s in (Stream.RESID_PRE, Stream.ATTN_OUT, Stream.MLP_OUT, Stream.RESID_POST)
    )
    if name == "gpt_neox":
        close(before + attention + mlp, after)
        return
    between = got[Stream.RESID_MID]
    if name in DECODERS:
        close(before + attention, between)
        close(between + mlp, after)
        return
    first, second = (
        (block.sa_layer_norm, block.output_layer_norm)
        if name == "distilbert"
        else (block.attention.output.LayerNorm, block.output.LayerNorm)
    )
    close(first(before + attention), between)
    close(second(between + mlp), after)


@pytest.mark.parametrize("name", LISTED)
def test_z_is_what_the_output_projection_reads(name: str) -> None:
    got = streams_at(name, 1)
    block = blocks(name, build(name))[1]
    projected = out_projection(name, block)(got[Stream.HOOK_Z])
    if name in ("gemma2", "gemma3_text", "gemma3"):
        projected = block.post_attention_layernorm(projected)
    close(projected, got[Stream.ATTN_OUT])


@pytest.mark.parametrize("name", LISTED)
def test_mlp_in_is_what_the_mlp_reads(name: str) -> None:
    got = streams_at(name, 1)
    block = blocks(name, build(name))[1]
    if name == "distilbert":
        written = block.ffn(got[Stream.MLP_IN])
    elif name in ENCODERS:
        written = block.output.dense(block.intermediate(got[Stream.MLP_IN]))
    else:
        written = block.mlp(got[Stream.MLP_IN])
    if name in ("gemma2", "gemma3_text", "gemma3"):
        written = block.post_feedforward_layernorm(written)
    close(written, got[Stream.MLP_OUT])


@pytest.mark.parametrize("name", DECODERS)
def test_normalized_is_the_norm_before_its_gain(name: str) -> None:
    got = streams_at(name, 1)
    norm = norm_before_mlp(name, blocks(name, build(name))[1])
    gain = 1 + norm.weight if name.startswith("gemma") else norm.weight
    close(got[Stream.LN2_NORMALIZED] * gain + getattr(norm, "bias", torch.zeros(WIDTH)), got[Stream.MLP_IN])


@pytest.mark.parametrize("name", LISTED)
def test_embed_is_the_token_embedding(name: str) -> None:
    site = Site.parse("hook_embed")
    ids, _ = ids_and_mask()
    got = read(name, site)[site]
    close(got, build(name).get_input_embeddings()(ids))
    if name in ("llama", "gemma2", "gemma3"):  # nothing is between the embedding and the first block
        pre = Site(0, Stream.RESID_PRE)
        close(got, read(name, pre)[pre])


def test_parallel_blocks_have_no_resid_mid() -> None:
    assert has("gpt_neox_sequential", Stream.RESID_MID)
    with pytest.raises(UserError, match=r"no stream 'resid_mid' at layer 1 .attention and MLP run in para"):
        locate(build("gpt_neox"), Site(1, Stream.RESID_MID))


def test_modules_that_give_tuples_are_read() -> None:
    """Blocks of older transformers gave tuples; attention modules still do."""
    model = MODELS["llama"]().eval()
    site = Site(1, Stream.RESID_POST)
    ids, mask = ids_and_mask()
    located = {site: locate(model, site)}
    as_tensor = forward_to_sites(model, located, ids, mask.long())[site]
    forward = model.model.layers[1].forward
    model.model.layers[1].forward = lambda *args, **kwargs: (forward(*args, **kwargs), None)
    torch.testing.assert_close(forward_to_sites(model, located, ids, mask.long())[site], as_tensor)


# --- names ---

NAMES = {
    "blocks.8.hook_resid_pre": (8, "resid_pre"),
    "blocks.0.hook_resid_mid": (0, "resid_mid"),
    "blocks.20.hook_resid_post": (20, "resid_post"),
    "blocks.5.hook_mlp_out": (5, "mlp_out"),
    "blocks.5.hook_mlp_in": (5, "mlp_in"),
    "blocks.5.mlp.hook_in": (5, "mlp_in"),
    "blocks.5.hook_attn_out": (5, "attn_out"),
    "blocks.3.attn.hook_z": (3, "z"),
    "blocks.7.ln2.hook_normalized": (7, "ln2_normalized"),
    "hook_embed": (0, "embed"),
    "8.resid_post": (8, "resid_post"),
    "11.z": (11, "z"),
    " 8.mlp_in ": (8, "mlp_in"),
    "model.layers.20": (20, "resid_post"),
    "model.layers.20.output": (20, "resid_post"),
    "model.layers.20.input": (20, "resid_pre"),
    "layers.5.mlp": (5, "mlp_out"),
    "model.layers.5.mlp": (5, "mlp_out"),
    "model.layers.5.mlp.input": (5, "mlp_in"),
    "model.layers.5.mlp.down_proj": (5, "mlp_out"),
    "model.layers.5.self_attn": (5, "attn_out"),
    "model.layers.5.self_attn.o_proj.input": (5, "z"),
    "model.layers.5.pre_feedforward_layernorm.output": (5, "mlp_in"),
    "model.layers.5.post_feedforward_layernorm": (5, "mlp_out"),
    "model.layers.5.post_feedforward_layernorm.output": (5, "mlp_out"),
    "model.language_model.layers.5": (5, "resid_post"),
    "transformer.h.5": (5, "resid_post"),
    "transformer.h.5.attn": (5, "attn_out"),
    "h.5.attn.c_proj.input": (5, "z"),
    "gpt_neox.layers.3": (3, "resid_post"),
    "gpt_neox.layers.3.post_attention_layernorm": (3, "mlp_in"),
    "gpt_neox.layers.3.attention.dense.input": (3, "z"),
    "encoder.layer.3": (3, "resid_post"),
    "encoder.layer.3.output": (3, "resid_post"),
    "bert.encoder.layer.3.output": (3, "resid_post"),
    "encoder.layer.3.attention.output": (3, "resid_mid"),
    "encoder.layer.3.attention.self": (3, "z"),
    "encoder.layer.3.output.dense": (3, "mlp_out"),
    "distilbert.transformer.layer.2.ffn": (2, "mlp_out"),
}


@pytest.mark.parametrize("name", NAMES)
def test_parse(name: str) -> None:
    layer, stream = NAMES[name]
    assert Site.parse(name) == Site(layer, Stream(stream))


@pytest.mark.parametrize("stream", list(Stream))
def test_a_written_site_reads_back(stream: Stream) -> None:
    site = Site(0 if stream is Stream.EMBED else 7, stream)
    assert Site.parse(str(site)) == site
    if stream not in (Stream.EMBED, Stream.HOOK_Z, Stream.LN2_NORMALIZED, Stream.MLP_IN):
        assert str(site) == f"blocks.7.hook_{stream.value}"


@pytest.mark.parametrize("name", LISTED)
def test_a_located_path_reads_back(name: str) -> None:
    """The name of the module that carries a stream, with its side, is a name of the stream."""
    model = build(name)
    streams = [stream for stream in Stream if stream not in (Stream.EMBED, Stream.LN2_NORMALIZED)]
    for stream in [stream for stream in streams if has(name, stream)]:
        found = locate(model, Site(2, stream))
        assert model.get_submodule(found.path) is found.module
        assert Site.parse(f"{found.path}.{found.reads.value}", model) == Site(2, stream)


@pytest.mark.parametrize("name", LISTED)
def test_the_same_module_under_its_other_names(name: str) -> None:
    """Every alias of the table carries the very tensor of its stream."""
    from emosae.models.families import family_of

    model = build(name)
    block = blocks(name, model)[1]
    ids, mask = ids_and_mask()
    for place, stream in family_of(model).aliases.items():
        caught: dict[str, Any] = {}
        handle = block.get_submodule(place.path).register_forward_hook(
            lambda _m, _a, out, caught=caught: caught.update(out=out[0] if isinstance(out, tuple) else out)
        )
        with torch.no_grad():
            text_model(model)(input_ids=ids, attention_mask=mask.long())
        handle.remove()
        assert place.side is Side.OUTPUT
        close(caught["out"], read(name, Site(1, stream))[Site(1, stream)])


BAD_NAMES = {
    "blocks.3.hook_resid_pots": "no hook 'hook_resid_pots'. Did you mean 'hook_resid_post'",
    "3.resid_pots": "no stream 'resid_pots'. Did you mean 'resid_post'",
    "3.embed": "no stream 'embed'",
    "model.layers.x": "no site 'model.layers.x'.*blocks.8.hook_resid_post",
    "visual.blocks.3": "no site",
    "": "no site",
    "model.layers.5.mlp.gate_proj": "carries no stream.*5.mlp_out",
    "model.layers.5.post_attention_layernorm": "mlp_in on Llama; attn_out on Gemma.*5.mlp_in or 5.attn_out",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_unknown_names_are_explained(name: str) -> None:
    with pytest.raises(UserError, match=BAD_NAMES[name]):
        Site.parse(name)


def test_a_name_must_be_text() -> None:
    with pytest.raises(UserError, match=r"must be a string, got 8"):
        Site.parse(8)  # type: ignore[arg-type]


def test_a_model_settles_what_a_module_name_means() -> None:
    name = "model.layers.2.post_attention_layernorm"
    assert Site.parse(name, build("llama")) == Site(2, Stream.MLP_IN)
    assert Site.parse(name, build("gemma2")) == Site(2, Stream.ATTN_OUT)
    # On Gemma-2 the MLP's raw output is not what is added to the residual stream
    with pytest.raises(UserError, match=r"'model.layers.2.mlp' carries no stream of Gemma-2/3 models"):
        Site.parse("model.layers.2.mlp", build("gemma2"))


def test_sites_sort_in_the_order_of_the_forward_pass() -> None:
    wanted = [Site.parse(name) for name in ("hook_embed", "0.resid_pre", "0.z", "0.attn_out", "0.resid_mid")]
    wanted += [Site.parse(name) for name in ("0.mlp_in", "0.mlp_out", "0.resid_post", "1.resid_pre", "10.z")]
    mixed = wanted[:]
    random.Random(0).shuffle(mixed)
    assert sorted(mixed) == wanted
    assert wanted[1] <= wanted[1] < wanted[2]
    assert len({*wanted, *mixed}) == len(wanted)


# --- what a model has ---


@pytest.mark.parametrize("name", ALL)
def test_depth_and_direction(name: str) -> None:
    model = build(name)
    assert n_layers(model) == LAYERS
    assert is_decoder(model) == (name in DECODERS or name in ("olmo2", "bloom"))
    assert is_decoder(model.config) == is_decoder(model)


def test_bidirectional_gemma_is_an_encoder() -> None:
    import transformers

    assert not is_decoder(transformers.Gemma3TextConfig(use_bidirectional_attention=True))
    assert is_decoder(transformers.BertConfig(is_decoder=True))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("layer", [LAYERS, 31, -1])
def test_a_layer_out_of_range_names_both_numbers(name: str, layer: int) -> None:
    with pytest.raises(UserError, match=rf"layer must be 0 to 3 .*has 4 blocks, got {layer} "):
        locate(build(name), Site(layer, Stream.RESID_POST))


def test_streams_inside_unlisted_blocks_are_refused() -> None:
    with pytest.raises(UserError, match=r"no stream 'mlp_out' at layer 1. It has resid_pre, resid_post"):
        locate(build("olmo2"), Site(1, Stream.MLP_OUT))


def test_a_missing_module_is_named() -> None:
    model = MODELS["gemma2"]()
    del model.model.layers[1].post_feedforward_layernorm
    with pytest.raises(UserError, match=r"no module 'post_feedforward_layernorm' in block 1.*1.resid_post"):
        locate(model, Site(1, Stream.MLP_OUT))


def test_a_module_that_is_never_run_is_named() -> None:
    model = MODELS["llama"]().eval()
    site = Site(3, Stream.RESID_POST)
    located = {site: locate(model, site)}
    model.config.num_hidden_layers = 2  # transformers runs as many blocks as the config says
    ids, mask = ids_and_mask()
    with pytest.raises(UserError, match=r"without running blocks.3.hook_resid_post \(model.layers.3\)"):
        forward_to_sites(model, located, ids, mask.long())


def test_a_module_that_gives_no_row_per_token_is_named() -> None:
    model = MODELS["llama"]().eval()
    site = Site(1, Stream.RESID_POST)
    forward = model.model.layers[1].forward
    model.model.layers[1].forward = lambda *args, **kwargs: forward(*args, **kwargs)[:, :3]
    ids, mask = ids_and_mask()
    with pytest.raises(UserError, match=r"\(3, 9\) x width here, got \(3, 3, 32\)"):
        forward_to_sites(model, {site: locate(model, site)}, ids, mask.long())


# --- widths ---


@pytest.mark.parametrize("name", ALL)
def test_width_is_the_width_of_what_is_read(name: str) -> None:
    model = build(name)
    got = streams_at(name, 1)
    assert {stream: site_width(model, Site(1, stream)) for stream in got} == {
        stream: value.shape[-1] for stream, value in got.items()
    }
    embed = Site.parse("hook_embed")
    assert site_width(model, embed) == read(name, embed)[embed].shape[-1]


def test_widths_that_differ_from_the_residual_stream() -> None:
    assert site_width(build("gemma2"), Site(1, Stream.HOOK_Z)) == 4 * 12
    assert site_width(build("gemma3"), Site(1, Stream.HOOK_Z)) == 4 * 12
    assert site_width(build("gpt2"), Site(1, Stream.HOOK_Z)) == WIDTH
    assert site_width(build("electra"), Site.parse("hook_embed")) == 16


def test_check_width_names_both_widths_and_what_would_fit() -> None:
    model = build("gemma2")
    check_width(model, Site(1, Stream.HOOK_Z), 48, "SAE 'x'")
    check_width(model, Site(1, Stream.MLP_OUT), 32, "SAE 'x'")
    wanted = re.escape("blocks.1.attn.hook_z (model.layers.1.self_attn.o_proj), which is 48 wide, got 32. ")
    with pytest.raises(
        UserError, match=rf"SAE 'x' must be as wide as {wanted}.*resid_pre, .*mlp_out, resid_post"
    ):
        check_width(model, Site(1, Stream.HOOK_Z), 32, "SAE 'x'")
    with pytest.raises(UserError, match=r"which is 32 wide, got 768. Use one that was trained on this model"):
        check_width(model, Site(1, Stream.RESID_POST), 768, "SAE 'x'")
    with pytest.raises(UserError, match=r"layer must be 0 to 3"):
        check_width(model, Site(4, Stream.RESID_POST), 32, "SAE 'x'")
