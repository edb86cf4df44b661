"""Cross-entropy of a tied head, a few hundred tokens at a time, so that the logits stay in the cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["head_loss"]

_CHUNK = 256


class _HeadLoss(torch.autograd.Function):
    """The gradient is known as soon as the logits are, so it is made in their place."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        n = len(target)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        loss = hidden.new_zeros(())
        for start in range(0, n, _CHUNK):
            x, y = hidden[start : start + _CHUNK], target[start : start + _CHUNK, None]
            logits = x @ weight.T
            top = logits.max(1, keepdim=True).values
            loss -= (logits.gather(1, y) - top).sum()
            p = logits.sub_(top).exp_()
            total = p.sum(1, keepdim=True)
            loss += total.log().sum()
            p /= total * n
            p.scatter_add_(1, y, p.new_full(y.shape, -1.0 / n))
            torch.mm(p, weight, out=d_hidden[start : start + _CHUNK])
            d_weight.addmm_(p.T, x)
        ctx.save_for_backward(d_hidden, d_weight)
        return loss / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grads[0], d_weight * grads[0], None


def head_loss(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of `target`, in nats, with its gradient.

    Args:
        hidden: What the head reads, [tokens, d_model].
        weight: The head, [vocabulary, d_model].
        target: Token ids, [tokens].

    Returns:
        A scalar, equal to `cross_entropy(hidden @ weight.T, target)`.
    """
    loss: Tensor = _HeadLoss.apply(hidden, weight, target)
    return loss
