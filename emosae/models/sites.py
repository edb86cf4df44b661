"""Sites: which stream of which block an SAE reads, what people call it, and the module that carries it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from emosae.errors import UserError, unknown_name
from emosae.models.families import (
    FAMILIES,
    UNLISTED,
    Family,
    Place,
    Side,
    Stream,
    family_of,
    text_config,
)

__all__ = ["Located", "Side", "Site", "Stream", "is_decoder", "locate", "n_layers", "text_model"]

_EXECUTION = {stream: order for order, stream in enumerate(Stream)}

# TransformerLens' names, after "blocks.N.". The first name of a stream is the one we write.
_LENS_NAMES: dict[str, Stream] = {
    "hook_resid_pre": Stream.RESID_PRE,
    "attn.hook_z": Stream.HOOK_Z,
    "hook_attn_out": Stream.ATTN_OUT,
    "hook_resid_mid": Stream.RESID_MID,
    "ln2.hook_normalized": Stream.LN2_NORMALIZED,
    "mlp.hook_in": Stream.MLP_IN,
    "hook_mlp_out": Stream.MLP_OUT,
    "hook_resid_post": Stream.RESID_POST,
    # TransformerLens' own hook_mlp_in is the residual before the norm, which is RESID_MID. SAELens gives the
    # name to Gemma Scope 2's transcoders, which read the norm's output (their hf_hook_name says so).
    "hook_mlp_in": Stream.MLP_IN,
    "hook_normalized_resid_post": Stream.RESID_POST,  # post-norm encoders: the block's output
}
_LENS_NAME_OF = {stream: name for name, stream in reversed(_LENS_NAMES.items())}

_FORMS = (
    "Write it as TransformerLens does (blocks.8.hook_resid_post), as a module of the model (model.layers.8, "
    "transformer.h.8, encoder.layer.8), or short (8.resid_post)."
)


@functools.total_ordering
@dataclass(frozen=True, slots=True)
class Site:
    """A stream of a block. Sites sort in the order in which a forward pass reaches them.

    Attributes:
        layer: 0-based block; `resid_post` of layer L is the output of block L, `resid_pre` its input.
        stream: What is read there.

    Example:
        >>> Site.parse("encoder.layer.3.output")
        Site(layer=3, stream=<Stream.RESID_POST: 'resid_post'>)
        >>> str(Site.parse("8.resid_pre"))
        'blocks.8.hook_resid_pre'
    """

    layer: int
    stream: Stream

    def __str__(self) -> str:
        if self.stream is Stream.EMBED:
            return "hook_embed"
        return f"blocks.{self.layer}.{_LENS_NAME_OF[self.stream]}"

    def __lt__(self, other: Site) -> bool:
        if not isinstance(other, Site):
            return NotImplemented
        return self._reached() < other._reached()

    def _reached(self) -> tuple[int, int]:
        return (self.layer, _EXECUTION[self.stream])

    @classmethod
    def parse(cls, name: str, model: Any = None) -> Self:
        """Read a site's name.

        Args:
            name: TransformerLens' name, a Hugging Face module name (with `.input` or `.output` behind it, if
                wanted; a bare module means its output), or `LAYER.STREAM`.
            model: A model or config. With it a module name is read by that architecture's table alone, so
                that e.g. `model.layers.5.mlp` is refused on Gemma-2, where the stream is the post-norm's
                output.

        Returns:
            The site. Whether a given model has it is for `locate` to say.

        Raises:
            UserError: The name fits no form, or means different streams in different architectures.
        """
        if not isinstance(name, str):
            raise UserError(f"A site's name must be a string, got {name!r}. {_FORMS}")
        name = name.strip()
        if name in {"hook_embed", "embed", "0.embed"}:
            return cls(0, Stream.EMBED)
        if found := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
            layer, hook = found.groups()
            if hook not in _LENS_NAMES:
                raise unknown_name("hook", hook, _LENS_NAMES, f"The site was given as {name!r}.")
            return cls(int(layer), _LENS_NAMES[hook])
        if found := re.fullmatch(r"(\d+)\.(\w+)", name):
            layer, stream = found.groups()
            options = [known.value for known in Stream if known is not Stream.EMBED]
            if stream not in options:
                raise unknown_name("stream", stream, options, f"The site was given as {name!r}.")
            return cls(int(layer), Stream(stream))
        return cls(*_parse_module_name(name, model))


def _parse_module_name(name: str, model: Any) -> tuple[int, Stream]:
    families: Iterable[Family] = FAMILIES
    if model is not None and (listed := family_of(model)) is not UNLISTED:
        families = [listed]
    readings: dict[Stream, list[str]] = {}
    layer, any_stack = 0, False
    for family in families:
        roots = "|".join(re.escape(root) for root in family.roots)
        found = re.fullmatch(rf"(?:(?:{roots})\.)?{re.escape(family.stack)}\.(\d+)(?:\.(.+))?", name)
        if not found:
            continue
        layer, any_stack = int(found[1]), True
        stream = next((s for place in _places_named(found[2] or "") if (s := family.stream_of(place))), None)
        if stream is not None:
            readings.setdefault(stream, []).append(family.name)
    if len(readings) == 1:
        return layer, next(iter(readings))
    if readings:
        meanings = "; ".join(f"{stream.value} on {', '.join(who)}" for stream, who in readings.items())
        short = " or ".join(f"{layer}.{stream.value}" for stream in readings)
        raise UserError(f"The module name {name!r} means {meanings}. Write {short}.")
    if any_stack:
        whose = f" of {next(iter(families)).name} models" if model is not None else ""
        raise UserError(
            f"The module {name!r} carries no stream{whose} that emosae knows. Write LAYER.STREAM, e.g. "
            f"{layer}.mlp_out; the streams are {', '.join(stream.value for stream in Stream)}."
        )
    raise UserError(f"There is no site {name!r}. {_FORMS}")


def _places_named(rest: str) -> list[Place]:
    """Give the readings of a path inside a block; a last `.input` or `.output` may be a side or a module."""
    places = [Place(rest, Side.OUTPUT)]
    head, _, last = rest.rpartition(".")
    if last in {side.value for side in Side}:
        places.append(Place(head, Side(last)))
    return places


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """The module that carries a site.

    Attributes:
        module: The module to hook.
        reads: The side of it that carries the stream. Modules may give a tensor or a tuple that begins with
            it.
        path: The module's name in the model that was asked, for messages and for `model.get_submodule`.
        then: What turns the tensor there into the stream; None, as for every site that can be written to, if
            it is the stream.
    """

    module: nn.Module
    reads: Side
    path: str
    then: Callable[[torch.Tensor], torch.Tensor] | None = None


def locate(model: Any, site: Site) -> Located:
    """Find the module that carries a site.

    Args:
        model: A transformers model, with or without its head.
        site: The site.

    Returns:
        The module, its side and its path.

    Raises:
        UserError: The model has no such layer or stream; the message names the numbers and what to ask for.
    """
    base, family = text_model(model), family_of(model)
    if site.stream is Stream.EMBED:
        embedding = base.get_input_embeddings()
        return Located(module=embedding, reads=Side.OUTPUT, path=_path_of(model, embedding))
    blocks = _blocks(base, family)
    if not 0 <= site.layer < len(blocks):
        raise UserError(
            f"The layer must be 0 to {len(blocks) - 1} in the {_called(model)}, which has {len(blocks)} "
            f"blocks, got {site.layer} ({site}). Choose a layer in that range; layers are counted from 0."
        )
    streams = _streams(model, family)
    if site.stream not in streams:
        why = " (attention and MLP run in parallel there)" if site.stream in family.places else ""
        raise UserError(
            f"The {_called(model)} has no stream {site.stream.value!r} at layer {site.layer}{why}. "
            f"It has {', '.join(stream.value for stream in streams)}."
        )
    place = streams[site.stream]
    block = blocks[site.layer]
    try:
        module = block.get_submodule(place.path)
    except AttributeError:
        raise UserError(
            f"The {_called(model)} has no module {place.path!r} in block {site.layer}, where {family.name} "
            f"models keep {site.stream.value!r}. If the model was altered, read {site.layer}.resid_post "
            "instead."
        ) from None
    then = _without_gain(module) if site.stream is Stream.LN2_NORMALIZED else None
    return Located(module=module, reads=place.side, path=_path_of(model, module), then=then)


def n_layers(model: Any) -> int:
    """Count the model's blocks."""
    return len(_blocks(text_model(model), family_of(model)))


def is_decoder(model: Any) -> bool:
    """Say whether a model, or the model that a config describes, reads from left to right only."""
    config, family = text_config(model), family_of(model)
    if getattr(config, "use_bidirectional_attention", None) is True:
        return False
    if family is not UNLISTED:
        return family.decoder or bool(getattr(config, "is_decoder", False))
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED,
    )

    kind = getattr(config, "model_type", "")
    return bool(getattr(config, "is_decoder", False)) or (kind in CAUSAL and kind not in MASKED)


def text_model(model: Any) -> Any:
    """Give the text tower without its head: the smallest model whose forward runs all blocks."""
    base = getattr(model, "_orig_mod", model)  # torch.compile's wrapper hides the module's hooks
    while True:
        inner = getattr(base, "base_model", base)
        inner = getattr(inner, "language_model", inner)
        if inner is base:
            return base
        base = inner


def _streams(model: Any, family: Family) -> dict[Stream, Place]:
    streams = dict(family.places)
    if family.parallel_flag and getattr(text_config(model), family.parallel_flag):
        del streams[Stream.RESID_MID]
    return streams


def _blocks(base: Any, family: Family) -> nn.ModuleList:
    if family is not UNLISTED:
        try:
            return base.get_submodule(family.stack)
        except AttributeError:
            raise UserError(
                f"The {_called(base)} has no module {family.stack!r}, where {family.name} models keep their "
                "blocks. Load it with emosae.models.load_model."
            ) from None
    depth = getattr(text_config(base), "num_hidden_layers", None)
    stacks = [m for m in base.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if len(stacks) != 1:
        raise UserError(
            f"The {_called(base)} must have one list of {depth} blocks for emosae to find its layers, got "
            f"{len(stacks)} such lists. Use one of the architectures {', '.join(f.name for f in FAMILIES)}."
        )
    return stacks[0]


def _without_gain(norm: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Make the function that a norm is before its gain and shift, in float32 as TransformerLens has it."""
    eps = next((getattr(norm, name) for name in ("eps", "variance_epsilon") if hasattr(norm, name)), None)
    if eps is None:
        raise UserError(
            f"The norm must be a LayerNorm or RMSNorm for ln2_normalized, got {type(norm).__name__}. "
            "Read mlp_in, the norm's output, instead."
        )
    centred = isinstance(norm, nn.LayerNorm)

    def normalize(x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        if centred:
            wide = wide - wide.mean(-1, keepdim=True)
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)

    return normalize


def _path_of(model: Any, module: nn.Module) -> str:
    whole = getattr(model, "_orig_mod", model)
    return next((name for name, candidate in whole.named_modules() if candidate is module), "")


def _called(model: Any) -> str:
    config = getattr(model, "config", None)
    name = getattr(config, "_name_or_path", "") or getattr(config, "model_type", "") or type(model).__name__
    return f"model {name!r}"
