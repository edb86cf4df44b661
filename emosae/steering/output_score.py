"""The output score: whether a feature writes what it stands for, and not only reads it.

Source: Arad, Mueller & Belinkov 2025, "SAEs Are Good for Steering - If You Select the Right Features".
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from emosae.errors import UserError
from emosae.features import text_items
from emosae.models import forward_to_sites, input_device, is_decoder, locate, text_model, tokenize
from emosae.steering.block import steer
from emosae.steering.clamp import Clamp, Op

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from emosae.saes import SparseAutoencoder

__all__ = ["FACTOR", "MIN_SCORE", "PROMPT", "TOP_TOKENS", "final_norm", "lens_tokens", "output_scores"]

PROMPT = "From my experience,"
"""The neutral prompt."""

FACTOR = 10.0
"""A feature is raised by this many times the largest activation of any feature at the prompt's last token."""

TOP_TOKENS = 20
"""How many tokens of a feature's logit lens may speak for it."""

MIN_SCORE = 0.01
"""Features below it are taken to read a concept without writing it."""

_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm", "norm_f")


def output_scores(
    model: Any,
    tokenizer: Any,
    sae: SparseAutoencoder,
    features: Sequence[int],
    *,
    prompt: str = PROMPT,
    max_rows: int = 64,
) -> Float[np.ndarray, " n"]:
    """Score how far each feature, raised alone, brings out the tokens that its decoder row points to.

    On a neutral prompt the feature is raised at the last position by 10 times the largest activation of any feature
    there. The score is `(1 - rank / |V|) * p` of the best of the feature's 20 first logit-lens tokens, where p is its
    probability then and rank its place (0 for the likeliest) among all |V| tokens. Features share a forward pass, a
    row each.

    Args:
        model: A transformers decoder, which is not being steered.
        tokenizer: Its tokenizer.
        sae: The SAE.
        features: Feature numbers.
        prompt: The neutral prompt; its last token is where features are raised.
        max_rows: Features in one forward pass.

    Returns:
        For each feature its score, 0 to 1.

    Raises:
        UserError: The model is no decoder, has no head or final norm that is known, or no feature fires on the prompt.

    Source: Arad, Mueller & Belinkov (2025), section 3.
    """
    if not is_decoder(model):
        raise UserError(
            f"The output score needs a model that writes, got {type(model).__name__}, an encoder. Rank its features by "
            "AUROC."
        )
    if not len(features):
        return np.zeros(0)
    tokens = tokenize(
        tokenizer, text_items([prompt]), prepend_bos=sae.cfg.prepend_bos, is_decoder=True, max_length=None
    )
    if not tokens.lengths[0]:
        raise UserError(f"The prompt must have at least one token, got {prompt!r}. Give a few words.")
    ids = torch.from_numpy(tokens.ids[0])[None].to(input_device(model))
    raised = FACTOR * _largest(model, sae, ids)
    shown = lens_tokens(model, sae, features)
    found = []
    for first in range(0, len(features), max_rows):
        chunk = [int(feature) for feature in features[first : first + max_rows]]
        rows = [[Clamp(feature, Op.ADD, raised, sae=sae)] for feature in chunk]
        last = [ids.shape[1] - 1]
        with (
            torch.inference_mode(),
            steer(model, sae, rows if len(rows) > 1 else rows[0], last, skip_special=False, trace=False),
        ):
            logits = _last_logits(model, ids.expand(len(chunk), -1))
        found.append(_score(logits, shown[first : first + max_rows]))
    return np.concatenate(found)


@torch.inference_mode()
def lens_tokens(
    model: Any, sae: SparseAutoencoder, features: Sequence[int], top: int = TOP_TOKENS
) -> Int[Tensor, "n top"]:
    """Give the tokens that features' decoder rows point to: final norm, then unembedding.

    Args:
        model: A transformers decoder.
        sae: The SAE.
        features: Feature numbers.
        top: How many; fewer where the vocabulary is smaller.

    Raises:
        UserError: The model's head or final norm is not known.

    Source: nostalgebraist (2020), interpreting GPT: the logit lens.
    """
    head, norm = model.get_output_embeddings(), final_norm(model)
    rows = sae.rows([int(feature) for feature in features]).W_dec
    parameter = next(norm.parameters(), head.weight)
    chosen = []
    for part in rows.to(parameter.device, parameter.dtype).split(256):
        logits = head(norm(part).to(head.weight.device, head.weight.dtype)).float()
        chosen.append(logits.topk(min(top, logits.shape[-1]), dim=-1).indices)
    return torch.cat(chosen)


def final_norm(model: Any) -> nn.Module:
    """Find the norm before a language model's unembedding.

    Raises:
        UserError: It has none under a name that is known.
    """
    base = text_model(model)
    for owner in (base, getattr(base, "decoder", None)):
        for name in _FINAL_NORMS:
            if isinstance(found := getattr(owner, name, None), nn.Module):
                return found
    raise UserError(
        f"The logit lens must find the final norm of {type(base).__name__} under one of {', '.join(_FINAL_NORMS)}, "
        "got none. Choose features without output_score."
    )


@torch.inference_mode()
def _largest(model: Any, sae: SparseAutoencoder, ids: Tensor) -> float:
    site = sae.site
    read = forward_to_sites(model, {site: locate(model, site)}, ids, torch.ones_like(ids))[site]
    values = sae.encode(read[0, -1:]).values
    largest = float(values.max()) if values.numel() else 0.0
    if largest <= 0:
        raise UserError(
            f"Some feature of {sae.name!r} must fire at the last token of the neutral prompt, got none. Give another "
            "prompt, or choose features without output_score."
        )
    return largest


def _last_logits(model: Any, ids: Tensor) -> Tensor:
    known = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {"use_cache": False} if "use_cache" in known else {}
    if "logits_to_keep" in known:  # of a large vocabulary the other positions would be most of the memory
        options["logits_to_keep"] = 1
    out: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), **options).logits
    return out[:, -1].float()


def _score(logits: Tensor, shown: Tensor) -> Float[np.ndarray, " n"]:
    probability = logits.softmax(-1)
    # Score falls with rank and rises with probability, so the best token is the likeliest.
    best, _ = probability.gather(1, shown.to(logits.device)).max(1)
    rank = (probability > best[:, None]).sum(1)
    score = (1.0 - rank.double() / logits.shape[-1]) * best.double()
    return score.cpu().numpy()
