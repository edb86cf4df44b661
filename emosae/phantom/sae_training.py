"""A short SAE trainer: TopK, and BatchTopK that is stored as JumpReLU.

Source: Gao et al. 2024 (TopK and the auxiliary loss for dead features), Bussmann et al. 2024 (BatchTopK),
Bussmann et al. 2025 (Matryoshka: the first features alone have to reconstruct too, so that they stay broad).
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from emosae.phantom.blocks import reading
from emosae.phantom.lessons import IGNORED, batches
from emosae.saes.stats import FeatureStats, StatsBuilder

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

__all__ = [
    "Architecture",
    "SAERecipe",
    "SAEWeights",
    "collect_activations",
    "feature_stats",
    "load_sae",
    "save_sae",
    "train_sae",
]

_LOG = logging.getLogger(__name__)
_SAELENS_VERSION = "6.54.12"


class Architecture(StrEnum):
    """What the SAE is stored as."""

    JUMPRELU = "jumprelu"
    TOPK = "topk"


@dataclass(frozen=True, kw_only=True, slots=True)
class SAERecipe:
    """Size and schedule of one SAE on the output of block `layer`.

    `prefixes` are the Matryoshka's: the first so many features reconstruct alone, too; () is a plain SAE.
    """

    layer: int
    architecture: Architecture
    d_sae: int = 1024
    k: int = 24
    prefixes: tuple[int, ...] = ()
    n_steps: int = 1500
    batch: int = 2048
    learning_rate: float = 2e-3
    aux_weight: float = 1 / 16
    dead_after: int = 60

    @property
    def folder(self) -> str:
        """Name of the SAE's folder."""
        return f"sae_layer_{self.layer}_{self.architecture.value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SAEWeights:
    """A trained SAE: W_enc [d_in, d_sae], W_dec [d_sae, d_in] with rows of norm 1, and how well it did."""

    recipe: SAERecipe
    W_enc: Tensor
    W_dec: Tensor
    b_enc: Tensor
    b_dec: Tensor
    threshold: Tensor | None
    explained_variance: float
    l0: float
    live: int

    def encode(self, x: Tensor) -> Tensor:
        """Return feature activations [..., d_sae] of `x` [..., d_in]."""
        h = (x - self.b_dec) @ self.W_enc + self.b_enc
        if self.threshold is not None:
            return torch.relu(h) * (h > self.threshold)
        values, indices = h.topk(self.recipe.k, dim=-1)
        return torch.zeros_like(h).scatter(-1, indices, torch.relu(values))

    def decode(self, f: Tensor) -> Tensor:
        """Return the reconstruction [..., d_in] of features `f` [..., d_sae]."""
        return f @ self.W_dec + self.b_dec


@torch.inference_mode()
def collect_activations(
    model: LlamaForCausalLM, rows: list[np.ndarray], layers: list[int], device: str = "cpu"
) -> dict[int, Tensor]:
    """Read the output of each of `layers` at every token of `rows` but the first (BOS).

    Returns:
        For each layer a float16 tensor [tokens, d_model], the same tokens in the same order.
    """
    kept: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    with ExitStack() as stack:
        now = {layer: stack.enter_context(reading(model, layer)) for layer in layers}
        for ids, labels in batches(rows, 8192, None):
            model.model(input_ids=ids.to(device), use_cache=False)
            real = (labels != IGNORED).to(device)
            real[:, 0] = False
            for layer in layers:
                kept[layer].append(now[layer].pop()[real].half().cpu())
    return {layer: torch.cat(parts) for layer, parts in kept.items()}


def _sparse(h: Tensor, k: int, architecture: Architecture) -> Tensor:
    """Keep the `k` largest of each row (TopK), or of the batch on average (BatchTopK)."""
    h = torch.relu(h)
    if architecture is Architecture.TOPK:
        values, indices = h.topk(k, dim=-1)
        return torch.zeros_like(h).scatter(-1, indices, values)
    n = k * h.shape[0]
    cut = h.flatten().kthvalue(h.numel() - n).values
    return h * (h > cut)


def train_sae(data: Tensor, recipe: SAERecipe, *, seed: int, device: str = "cpu") -> SAEWeights:
    """Train one SAE.

    Args:
        data: Activations [tokens, d_in].
        recipe: Size and schedule.
        seed: Initial weights and order of the tokens.
        device: Where to train.

    Returns:
        The SAE, with its threshold where it is stored as JumpReLU.
    """
    generator = torch.Generator().manual_seed(seed)
    d_in = data.shape[1]
    mean = data[:100_000].float().mean(0)
    scale = float((data[:100_000].float() - mean).norm(dim=1).mean()) / d_in**0.5
    held = data[torch.randperm(len(data), generator=generator)[:8192]].float().to(device)
    W_dec = torch.randn(recipe.d_sae, d_in, generator=generator)
    W_dec = (W_dec / W_dec.norm(dim=1, keepdim=True)).to(device).requires_grad_()
    W_enc = W_dec.detach().T.clone().requires_grad_()
    b_enc = torch.zeros(recipe.d_sae, device=device, requires_grad=True)
    b_dec = torch.zeros(d_in, device=device, requires_grad=True)
    params = [W_enc, W_dec, b_enc, b_dec]
    optimizer = torch.optim.Adam(params, lr=recipe.learning_rate, betas=(0.9, 0.99))
    idle = torch.zeros(recipe.d_sae, dtype=torch.long, device=device)
    mean = mean.to(device)
    start = time.perf_counter()
    for step in range(recipe.n_steps):
        share = min(1.0, (step + 1) / 20, (recipe.n_steps - step) / (0.3 * recipe.n_steps))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * share
        rows = torch.randint(len(data), (recipe.batch,), generator=generator)
        x = (data[rows].float().to(device) - mean) / scale
        h = (x - b_dec) @ W_enc + b_enc
        f = _sparse(h, recipe.k, recipe.architecture)
        error, losses, start_at = x - b_dec, [], 0
        for end in (*recipe.prefixes, recipe.d_sae):
            error = error - f[:, start_at:end] @ W_dec[start_at:end]
            losses.append(error.square().sum(1).mean() / d_in)
            start_at = end
        loss = torch.stack(losses).mean()
        idle = torch.where((f > 0).any(0), 0, idle + 1)
        dead = idle > recipe.dead_after
        if int(dead.sum()) > 0:
            k_aux = min(int(dead.sum()), d_in // 2)
            values, indices = h[:, dead].topk(k_aux, dim=1)
            aux = torch.zeros(len(x), int(dead.sum()), device=device).scatter(1, indices, torch.relu(values))
            loss = (
                loss + recipe.aux_weight * (error.detach() - aux @ W_dec[dead]).square().sum(1).mean() / d_in
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            assert W_dec.grad is not None
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
            optimizer.step()
            W_dec /= W_dec.norm(dim=1, keepdim=True)
        if step % 100 == 99 or step == recipe.n_steps - 1:
            _LOG.info(
                "%s step %d/%d loss %.4f, %d idle, %.0f s",
                recipe.folder, step + 1, recipe.n_steps, float(loss.detach()), int(dead.sum()),
                time.perf_counter() - start,
            )  # fmt: skip
    with torch.no_grad():
        threshold = None
        if recipe.architecture is Architecture.JUMPRELU:
            # The cut that leaves k active features per token on average, in place of the batch's own.
            h = torch.relu(((held - mean) / scale - b_dec) @ W_enc + b_enc).flatten()
            cut = h.kthvalue(h.numel() - recipe.k * len(held)).values
            threshold = (cut * scale).cpu().expand(recipe.d_sae).clone()
        # Back to the model's own units: activations grow by `scale`, the decoder stays of norm 1.
        sae = SAEWeights(
            recipe=recipe,
            W_enc=W_enc.detach().cpu().contiguous(),
            W_dec=W_dec.detach().cpu().contiguous(),
            b_enc=(b_enc.detach() * scale).cpu(),
            b_dec=(b_dec.detach() * scale + mean).cpu(),
            threshold=threshold,
            explained_variance=0.0,
            l0=0.0,
            live=0,
        )
        return _judged(sae, held.cpu())


def _judged(sae: SAEWeights, x: Tensor) -> SAEWeights:
    f = sae.encode(x)
    error = (x - sae.decode(f)).square().sum()
    total = (x - x.mean(0)).square().sum()
    return replace(
        sae,
        explained_variance=float(1 - error / total),
        l0=float((f > 0).float().sum(1).mean()),
        live=int((f > 0).any(0).sum()),
    )


def feature_stats(sae: SAEWeights, data: Tensor, corpus: str, batch: int = 8192) -> FeatureStats:
    """Count how the features fire over all activations [tokens, d_in] of a corpus."""
    builder = StatsBuilder(sae.W_dec.shape[0], corpus)
    for x in data.split(batch):
        f = sae.encode(x.float())
        rows, columns = f.nonzero(as_tuple=True)
        builder.add(columns.numpy(), f[rows, columns].numpy(), x.float().norm(dim=1).numpy())
    return builder.result()


def save_sae(sae: SAEWeights, folder: Path, model_name: str) -> None:
    """Write an SAE the way SAELens writes and reads it: `cfg.json` and `sae_weights.safetensors`."""
    folder.mkdir(parents=True, exist_ok=True)
    layer = sae.recipe.layer
    cfg: dict[str, object] = {
        "d_in": sae.W_enc.shape[0],
        "d_sae": sae.W_enc.shape[1],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": _SAELENS_VERSION,
            "sae_lens_training_version": None,
            "model_name": model_name,
            "hook_name": f"blocks.{layer}.hook_resid_post",
            "hf_hook_name": f"model.layers.{layer}",
            "prepend_bos": True,
            "context_size": 256,
        },
    }
    if sae.recipe.architecture is Architecture.TOPK:
        cfg |= {"k": sae.recipe.k, "rescale_acts_by_decoder_norm": False}
    cfg["architecture"] = sae.recipe.architecture.value
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=1) + "\n", encoding="utf-8")
    weights = {"W_dec": sae.W_dec, "W_enc": sae.W_enc, "b_dec": sae.b_dec, "b_enc": sae.b_enc}
    if sae.threshold is not None:
        weights["threshold"] = sae.threshold
    save_file(
        {name: tensor.float().contiguous() for name, tensor in weights.items()},
        folder / "sae_weights.safetensors",
    )


def load_sae(folder: Path) -> SAEWeights:
    """Read an SAE that `save_sae` wrote."""
    cfg = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "sae_weights.safetensors")
    layer = int(cfg["metadata"]["hook_name"].split(".")[1])
    recipe = SAERecipe(
        layer=layer, architecture=Architecture(cfg["architecture"]), d_sae=cfg["d_sae"], k=cfg.get("k", 0)
    )
    return SAEWeights(
        recipe=recipe,
        W_enc=weights["W_enc"],
        W_dec=weights["W_dec"],
        b_enc=weights["b_enc"],
        b_dec=weights["b_dec"],
        threshold=weights.get("threshold"),
        explained_variance=float("nan"),
        l0=float("nan"),
        live=0,
    )
