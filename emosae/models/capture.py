"""One forward pass that ends at the last site that is read: no later block, no head, no logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from emosae.errors import UserError
from emosae.models.families import text_config
from emosae.models.sites import Located, Side, Site, text_model

__all__ = ["context_length", "forward_to_sites", "input_device"]


class _AllRead(Exception):
    """Ends the forward pass; never leaves this module."""


def forward_to_sites(
    model: Any, located: Mapping[Site, Located], ids: Tensor, attention_mask: Tensor
) -> dict[Site, Tensor]:
    """Run the text tower until every site was read, and give what was there.

    The hooks are gone when this returns or raises, by whatever way.

    Args:
        model: A transformers model, in evaluation mode.
        located: The modules of the sites, from `locate`. If there is none, nothing is run.
        ids: Token ids `[b, t]`, on the device of the model's embedding.
        attention_mask: 1 at tokens, 0 at padding, `[b, t]`.

    Returns:
        For each site the tensor `[b, t, d]` as the model made it: its dtype, its device.

    Raises:
        UserError: A site's module was not run, or gave something else than `[b, t, d]`.
    """
    read: dict[Site, Tensor] = {}
    base = text_model(model)

    def keep(site: Site, value: Any) -> None:
        place = located[site]
        hidden = _hidden(value)
        if hidden is None or hidden.ndim != 3 or hidden.shape[:2] != ids.shape:
            shape = "no tensor" if hidden is None else tuple(hidden.shape)
            raise UserError(
                f"The {place.reads.value} of {place.path!r} must be batch x tokens x width, "
                f"{tuple(ids.shape)} x width here, got {shape}. Read another stream of layer {site.layer} "
                f"than {site.stream.value!r}."
            )
        read[site] = hidden if place.then is None else place.then(hidden)
        if len(read) == len(located):
            raise _AllRead

    with ExitStack() as hooks, torch.inference_mode():
        for site, place in located.items():
            hooks.enter_context(_register(place, partial(keep, site)))
        if located:
            try:
                base(input_ids=ids, attention_mask=attention_mask, **_options(base))
            except _AllRead:
                return read
    if missing := [f"{site} ({located[site].path})" for site in located if site not in read]:
        raise UserError(
            f"The forward pass ended without running {', '.join(missing)}. If the model is compiled, give "
            "emosae the model as it was before torch.compile."
        )
    return read


def input_device(model: Any) -> torch.device:
    """Find the device that token ids must be on; with a `device_map` it is the embedding's."""
    embedding = text_model(model).get_input_embeddings()
    # accelerate keeps offloaded weights on "meta" and runs the module somewhere else
    where = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    return torch.device(where) if where is not None else next(embedding.parameters()).device


def context_length(model: Any) -> int | None:
    """Give the longest input that the model has positions for, in tokens; None if its config does not say."""
    limit = getattr(text_config(model), "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    # RoBERTa counts its positions from padding_idx + 1, so that many rows of the table are never used
    table = getattr(getattr(text_model(model), "embeddings", None), "position_embeddings", None)
    unused = getattr(table, "padding_idx", None)
    return int(limit) if unused is None else int(limit) - unused - 1


def _register(place: Located, keep: Callable[[Any], None]) -> Any:
    if place.reads is Side.INPUT:

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(args[0] if args else kwargs.get("hidden_states"))

        return place.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        keep(output)

    return place.module.register_forward_hook(after)


def _hidden(value: Any) -> Tensor | None:
    """Take the hidden state out of what a module takes or gives: a tensor, or a tuple led by one."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    return value if isinstance(value, Tensor) else None


def _options(base: Any) -> dict[str, Any]:
    return {"use_cache": False} if "use_cache" in inspect.signature(base.forward).parameters else {}
