"""SAEs that fit the tiny models of models_zoo, and an oracle of SAELens' own, for the tests of emosae.steering."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from models_zoo import WIDTH, blocks, build
from saes_cases import TRANSCODERS, make_cfg, make_state
from torch import Tensor

from emosae.saes import SparseAutoencoder

LAYER, D_SAE = 1, 64
Edit = Callable[[Tensor], Tensor]


def fitting(
    architecture: str, *, seed: int = 0, hook: str | None = None, **changes: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of an SAE on layer 1 of a model of the zoo, whose features are often active."""
    cfg = make_cfg(architecture, **({"d_in": WIDTH, "d_sae": D_SAE} | changes))
    state = make_state(architecture, seed=seed, d_in=WIDTH, d_sae=D_SAE)
    if architecture in TRANSCODERS:
        noise = torch.Generator().manual_seed(seed + 1)
        cfg["d_out"] = WIDTH
        state["W_dec"] = torch.randn(D_SAE, WIDTH, generator=noise)
        state["b_dec"] = torch.randn(WIDTH, generator=noise)
        if "skip" in architecture:
            state["W_skip"] = torch.randn(WIDTH, WIDTH, generator=noise)
    elif hook is not None:
        cfg["metadata"] |= {"hook_name": hook}
    return cfg, state


def make_sae(architecture: str = "jumprelu", *, seed: int = 0, **changes: Any) -> SparseAutoencoder:
    """Make such an SAE."""
    cfg, state = fitting(architecture, seed=seed, **changes)
    return SparseAutoencoder.from_state_dict(cfg, state, name=f"{architecture} {seed}")


@contextmanager
def editing_output(module: torch.nn.Module, edit: Callable[..., Tensor]) -> Iterator[None]:
    """A hook written by hand: `edit` replaces the module's output, or what leads it."""

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return edit(output)
        return (edit(output[0]), *output[1:])

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def block(name: str = "gpt2", layer: int = LAYER) -> torch.nn.Module:
    """The block whose output the SAE reads."""
    return blocks(name, build(name))[layer]


def reference(
    x: Tensor, sae: SparseAutoencoder, wanted: dict[int, float], where: Tensor | None = None
) -> Tensor:
    """`decode(f') + (x - decode(f))` with f' = f but for the wanted values, at the tokens of `where`."""
    flat = x.reshape(-1, x.shape[-1]).float()
    f = sae.encode(flat)
    clamped = f.to_dense()
    for feature, value in wanted.items():
        clamped[:, feature] = value
    new = type(f).from_dense(clamped, scale=f.scale, shift=f.shift)
    edited = (flat + sae.decode(new) - sae.decode(f)).to(x.dtype).view_as(x)
    return edited if where is None else torch.where(where[..., None], edited, x)
