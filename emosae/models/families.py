"""Where each architecture family keeps its streams: one table, read by `emosae.models.sites`.

A place is a module inside a block and the side of it that carries the stream. The table is the only thing to
write for a new family whose blocks have another shape; architectures that are in no row still give the
residual stream at their block boundaries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

__all__ = [
    "FAMILIES",
    "FAMILY_OF_TYPE",
    "UNLISTED",
    "Family",
    "Place",
    "Side",
    "Stream",
    "family_of",
    "text_config",
]


class Stream(StrEnum):
    """What is read at a block, in the words of TransformerLens.

    Attributes:
        EMBED: The output of the token embedding, scaled where the model scales it, before positions are
            added.
        RESID_PRE: The residual stream before the block: its input.
        ATTN_OUT: What attention adds to the residual stream (on Gemma-2/3 after its post-norm).
        HOOK_Z: What the attention's output projection reads: the heads' outputs side by side.
        RESID_MID: The residual stream between attention and MLP; there is none where the two run in parallel.
        LN2_NORMALIZED: The MLP's norm before its gain and shift are applied.
        MLP_IN: What the MLP reads: the output of its norm, gain included.
        MLP_OUT: What the MLP adds to the residual stream (on Gemma-2/3 after its post-norm).
        RESID_POST: The residual stream after the block: its output.
    """

    EMBED = "embed"
    RESID_PRE = "resid_pre"
    HOOK_Z = "z"
    ATTN_OUT = "attn_out"
    RESID_MID = "resid_mid"
    LN2_NORMALIZED = "ln2_normalized"
    MLP_IN = "mlp_in"
    MLP_OUT = "mlp_out"
    RESID_POST = "resid_post"


class Side(StrEnum):
    """Which side of a module carries a stream."""

    INPUT = "input"
    OUTPUT = "output"


class Place(NamedTuple):
    """A side of a module inside a block; the empty path is the block itself."""

    path: str
    side: Side


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Architectures whose blocks have the same shape.

    Attributes:
        name: What error messages call it.
        model_types: `config.model_type` of its members.
        stack: Path of the list of blocks inside the base model.
        roots: What may stand before the stack in a Hugging Face module name.
        decoder: True if attention is causal.
        places: Where each stream is.
        aliases: Other module names by which people give the same stream.
        parallel_flag: Field of the config that says attention and MLP run in parallel; there is then no
            `RESID_MID`.
    """

    name: str
    model_types: frozenset[str]
    stack: str
    roots: tuple[str, ...]
    decoder: bool
    places: Mapping[Stream, Place]
    aliases: Mapping[Place, Stream] = field(default_factory=dict)
    parallel_flag: str | None = None

    def stream_of(self, place: Place) -> Stream | None:
        """Name the stream at a place, None if none is known there."""
        # The norm's input is the residual stream; LN2_NORMALIZED is computed from it and has no name of its
        # own.
        known = {at: stream for stream, at in self.places.items() if stream is not Stream.LN2_NORMALIZED}
        return known.get(place, self.aliases.get(place))


def _into(path: str) -> Place:
    return Place(path, Side.INPUT)


def _out(path: str) -> Place:
    return Place(path, Side.OUTPUT)


_BLOCK = {Stream.RESID_PRE: _into(""), Stream.RESID_POST: _out("")}

_PRE_NORM = Family(
    name="Llama",
    model_types=frozenset({"llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "smollm3"}),
    stack="layers",
    roots=("model",),
    decoder=True,
    places=_BLOCK
    | {
        Stream.HOOK_Z: _into("self_attn.o_proj"),
        Stream.ATTN_OUT: _out("self_attn"),
        Stream.RESID_MID: _into("post_attention_layernorm"),
        Stream.LN2_NORMALIZED: _into("post_attention_layernorm"),
        Stream.MLP_IN: _into("mlp"),
        Stream.MLP_OUT: _out("mlp"),
    },
    aliases={
        _out("self_attn.o_proj"): Stream.ATTN_OUT,
        _out("post_attention_layernorm"): Stream.MLP_IN,
        _out("mlp.down_proj"): Stream.MLP_OUT,
    },
)

# Gemma-2/3 norm what attention and MLP give before they add it: the addition is what hook_attn_out and
# hook_mlp_out mean, so the raw outputs of `self_attn` and `mlp` are no stream of this family.
_SANDWICH_NORM = Family(
    name="Gemma-2/3",
    model_types=frozenset({"gemma2", "gemma3", "gemma3_text"}),
    stack="layers",
    roots=("model", "language_model", "model.language_model", "language_model.model"),
    decoder=True,
    places=_BLOCK
    | {
        Stream.HOOK_Z: _into("self_attn.o_proj"),
        Stream.ATTN_OUT: _out("post_attention_layernorm"),
        Stream.RESID_MID: _into("pre_feedforward_layernorm"),
        Stream.LN2_NORMALIZED: _into("pre_feedforward_layernorm"),
        Stream.MLP_IN: _into("mlp"),
        Stream.MLP_OUT: _out("post_feedforward_layernorm"),
    },
    aliases={_out("pre_feedforward_layernorm"): Stream.MLP_IN},
)

_GPT2 = Family(
    name="GPT-2",
    model_types=frozenset({"gpt2"}),
    stack="h",
    roots=("transformer",),
    decoder=True,
    places=_BLOCK
    | {
        Stream.HOOK_Z: _into("attn.c_proj"),
        Stream.ATTN_OUT: _out("attn"),
        Stream.RESID_MID: _into("ln_2"),
        Stream.LN2_NORMALIZED: _into("ln_2"),
        Stream.MLP_IN: _into("mlp"),
        Stream.MLP_OUT: _out("mlp"),
    },
    aliases={
        _out("attn.c_proj"): Stream.ATTN_OUT,
        _out("ln_2"): Stream.MLP_IN,
        _out("mlp.c_proj"): Stream.MLP_OUT,
    },
)

_NEOX = Family(
    name="GPT-NeoX",
    model_types=frozenset({"gpt_neox"}),
    stack="layers",
    roots=("gpt_neox",),
    decoder=True,
    places=_BLOCK
    | {
        Stream.HOOK_Z: _into("attention.dense"),
        Stream.ATTN_OUT: _out("attention"),
        Stream.RESID_MID: _into("post_attention_layernorm"),
        Stream.LN2_NORMALIZED: _into("post_attention_layernorm"),
        Stream.MLP_IN: _into("mlp"),
        Stream.MLP_OUT: _out("mlp"),
    },
    aliases={
        _out("attention.dense"): Stream.ATTN_OUT,
        _out("post_attention_layernorm"): Stream.MLP_IN,
        _out("mlp.dense_4h_to_h"): Stream.MLP_OUT,
    },
    parallel_flag="use_parallel_residual",
)

# Post-norm encoders: the stream that the next part reads is the normed one, so RESID_MID and RESID_POST are
# taken after their norms, and ATTN_OUT and MLP_OUT are the additions before them.
_BERT = Family(
    name="BERT",
    model_types=frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra"}),
    stack="encoder.layer",
    roots=("bert", "roberta", "electra"),
    decoder=False,
    places=_BLOCK
    | {
        Stream.HOOK_Z: _into("attention.output.dense"),
        Stream.ATTN_OUT: _out("attention.output.dense"),
        Stream.RESID_MID: _out("attention.output"),
        Stream.MLP_IN: _into("intermediate"),
        Stream.MLP_OUT: _out("output.dense"),
    },
    aliases={
        _out("attention"): Stream.RESID_MID,
        _out("attention.output.LayerNorm"): Stream.RESID_MID,
        _out("attention.self"): Stream.HOOK_Z,
        _out("output"): Stream.RESID_POST,
        _out("output.LayerNorm"): Stream.RESID_POST,
    },
)

_DISTILBERT = Family(
    name="DistilBERT",
    model_types=frozenset({"distilbert"}),
    stack="transformer.layer",
    roots=("distilbert",),
    decoder=False,
    places=_BLOCK
    | {
        Stream.HOOK_Z: _into("attention.out_lin"),
        Stream.ATTN_OUT: _out("attention"),
        Stream.RESID_MID: _out("sa_layer_norm"),
        Stream.MLP_IN: _into("ffn"),
        Stream.MLP_OUT: _out("ffn"),
    },
    aliases={
        _out("attention.out_lin"): Stream.ATTN_OUT,
        _out("ffn.lin2"): Stream.MLP_OUT,
        _out("output_layer_norm"): Stream.RESID_POST,
    },
)

FAMILIES: tuple[Family, ...] = (_PRE_NORM, _SANDWICH_NORM, _GPT2, _NEOX, _BERT, _DISTILBERT)
FAMILY_OF_TYPE: dict[str, Family] = {kind: family for family in FAMILIES for kind in family.model_types}

# Any other architecture: the block's own input and output are known without knowing its inside.
UNLISTED = Family(name="unlisted", model_types=frozenset(), stack="", roots=(), decoder=True, places=_BLOCK)


def text_config(model_or_config: Any) -> Any:
    """Give the config of the text tower (a multimodal config nests it), None for a module without one."""
    config = getattr(model_or_config, "config", model_or_config)
    return config.get_text_config() if hasattr(config, "get_text_config") else None


def family_of(model_or_config: Any) -> Family:
    """Find the family of a model or its config; `UNLISTED` if the table has no row for it."""
    return FAMILY_OF_TYPE.get(getattr(text_config(model_or_config), "model_type", ""), UNLISTED)
