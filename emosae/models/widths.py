"""How wide a site is, and whether an SAE fits it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from emosae.errors import UserError
from emosae.models.capture import forward_to_sites, input_device
from emosae.models.families import UNLISTED, family_of, text_config
from emosae.models.sites import Site, Stream, locate

__all__ = ["check_width", "site_width"]


def site_width(model: Any, site: Site) -> int:
    """Give the number of values a token has at a site.

    Known architectures are read off their config and weights; any other is asked with a forward pass of one
    token.

    Raises:
        UserError: The model has no such site.
    """
    module = locate(model, site).module
    width: Any = None
    if site.stream is Stream.HOOK_Z:
        width = _input_width(module)
    elif site.stream is Stream.EMBED:
        width = getattr(module, "embedding_dim", None)
    elif family_of(model) is not UNLISTED:
        width = getattr(text_config(model), "hidden_size", None)
    return int(width) if width is not None else _probe(model, site)


def check_width(model: Any, site: Site, d_in: int, what: str) -> None:
    """Make sure that something of width `d_in` fits a site.

    Args:
        model: A transformers model.
        site: Where it is to read or write.
        d_in: Its width.
        what: Its name, for the message, e.g. `"SAE 'minilm_l3'"`.

    Raises:
        UserError: It does not fit; the message has both widths and the streams of that layer that would fit.
    """
    width = site_width(model, site)
    if width == d_in:
        return
    fitting = [
        stream.value for stream in Stream if stream is not site.stream and _fits(model, site, stream, d_in)
    ]
    wanted = f"Or read another stream of the layer: {', '.join(fitting)} would fit." if fitting else ""
    raise UserError(
        f"{what[:1].upper()}{what[1:]} must be as wide as {site} ({locate(model, site).path}), which is "
        f"{width} "
        f"wide, got {d_in}. Use one that was trained on this model and this site. {wanted}".rstrip()
    )


def _fits(model: Any, site: Site, stream: Stream, width: int) -> bool:
    if stream is Stream.EMBED:
        return False
    try:
        return site_width(model, Site(site.layer, stream)) == width
    except UserError:
        return False


def _input_width(module: nn.Module) -> int | None:
    # GPT-2's Conv1D, a linear layer with its weight transposed, calls it nx
    return next((getattr(module, name) for name in ("in_features", "nx") if hasattr(module, name)), None)


def _probe(model: Any, site: Site) -> int:
    ids = torch.zeros((1, 1), dtype=torch.long, device=input_device(model))
    return int(
        forward_to_sites(model, {site: locate(model, site)}, ids, torch.ones_like(ids))[site].shape[-1]
    )
