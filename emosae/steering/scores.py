"""How good steered text is: concept expressed, content kept, fluency, and their harmonic mean.

All of them compare with unsteered text of the same prompts, and perplexity is always the unsteered model's.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.models import input_device, plan_batches, text_model

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "Flow",
    "concept_rate",
    "embedding_similarity",
    "flow_of",
    "fluency",
    "harmonic_mean",
    "mean_losses",
    "token_overlap",
]

PERPLEXITY_RATIO = (0.67, 1.5)
DISTINCT_2_RATIO = 0.8
REPEATED_4_RATIO = 1.2
REPEATED_4_FLOOR = 0.02
"""Repeated 4-grams up to this share are fluent, whatever the unsteered text has: often it has none at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """What the fluency of some texts is told by.

    Attributes:
        perplexity: Of the texts' tokens together under the unsteered model, given their prompts; NaN without tokens.
        distinct_2: Share of different pairs among each text's pairs of neighbouring tokens, 0 to 1; texts are not
            pooled, for those of one emotion may share their words with each other.
        repeated_4: Share of runs of four tokens that were in the same text before, 0 to 1.
        n_tokens: Tokens of all texts together.
    """

    perplexity: float
    distinct_2: float
    repeated_4: float
    n_tokens: int


def harmonic_mean(*parts: float) -> float:
    """Give the harmonic mean of scores from 0 to 1; one that is 0 makes it 0.

    Example:
        >>> harmonic_mean(1.0, 0.5, 0.5)
        0.6
    """
    if not parts or any(math.isnan(part) or part < 0 for part in parts):
        raise UserError(f"Scores must be numbers from 0, got {parts!r}. Leave out what was not measured.")
    return 0.0 if 0.0 in parts else len(parts) / sum(1.0 / part for part in parts)


def concept_rate(labels: Sequence[str | None], concept: str) -> float:
    """Give the share of texts that a classifier calls by a concept; NaN for no texts."""
    return sum(label == concept for label in labels) / len(labels) if len(labels) else math.nan


@torch.inference_mode()
def mean_losses(
    model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], *, max_tokens: int = 2048
) -> Float[np.ndarray, " n"]:
    """Give each answer's mean loss per token under the model, which must not be steered; NaN for an empty answer.

    Args:
        model: A transformers decoder.
        prompts: Token ids of the prompts, special ones included, at least one each.
        answers: Token ids of the answers.
        max_tokens: Bound on a batch's tokens, padding included.
    """
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    found = np.full(len(rows), math.nan)
    lengths = np.array([len(row) for row in rows])
    for batch in plan_batches(lengths, max_tokens=max_tokens):
        ids, mask = _padded([rows[at] for at in batch], input_device(model))
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for place, at in enumerate(batch):
            start, end = len(prompts[at]), lengths[at]
            if end > start:
                loss = torch.nn.functional.cross_entropy(
                    logits[place, start - 1 : end - 1].float(), ids[place, start:end].to(logits.device)
                )
                found[at] = float(loss)
    return found


def flow_of(losses: Sequence[float] | Float[np.ndarray, " n"], answers: Sequence[Sequence[Hashable]]) -> Flow:
    """Count what fluency is told by.

    Args:
        losses: Each answer's mean loss per token (`mean_losses`).
        answers: The answers' tokens.

    Example:
        >>> flow = flow_of([0.0], [[1, 2, 1, 2, 1, 2]])
        >>> flow.distinct_2, round(flow.repeated_4, 3)
        (0.4, 0.333)
    """
    lengths = [len(answer) for answer in answers]
    total = sum(loss * n for loss, n in zip(losses, lengths, strict=True) if n)
    pairs = [list(itertools.pairwise(answer)) for answer in answers]
    n_pairs = sum(map(len, pairs))
    runs = [[tuple(answer[i : i + 4]) for i in range(len(answer) - 3)] for answer in answers]
    n_runs = sum(map(len, runs))
    return Flow(
        perplexity=math.exp(min(total / sum(lengths), 700.0)) if sum(lengths) else math.nan,
        distinct_2=sum(len(set(own)) for own in pairs) / n_pairs if n_pairs else 0.0,
        repeated_4=sum(len(run) - len(set(run)) for run in runs) / n_runs if n_runs else 0.0,
        n_tokens=sum(lengths),
    )


def fluency(steered: Flow, unsteered: Flow) -> float:
    """Score fluency from 0 to 1; 1 where every bound holds, else how near the worst of them is to its bound.

    The bounds: perplexity 0.67 to 1.5 times that of unsteered text (text that is repeated becomes too likely), distinct
    pairs at least 0.8 times, repeated runs of four at most 1.2 times (or 2 %).

    Example:
        >>> plain = Flow(perplexity=10.0, distinct_2=0.9, repeated_4=0.0, n_tokens=100)
        >>> fluency(Flow(perplexity=30.0, distinct_2=0.9, repeated_4=0.0, n_tokens=100), plain)
        0.5
    """
    if not steered.n_tokens or not unsteered.n_tokens:
        return 0.0
    ratio, (low, high) = steered.perplexity / unsteered.perplexity, PERPLEXITY_RATIO
    allowed = max(REPEATED_4_RATIO * unsteered.repeated_4, REPEATED_4_FLOOR)
    return min(
        1.0,
        ratio / low,
        high / ratio,
        steered.distinct_2 / (DISTINCT_2_RATIO * unsteered.distinct_2) if unsteered.distinct_2 else 1.0,
        allowed / steered.repeated_4 if steered.repeated_4 else 1.0,
    )


def token_overlap(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Give the share of tokens that two texts have in common, counted with repeats (Dice's coefficient, F1).

    Example:
        >>> token_overlap(["a", "b", "b"], ["b", "c", "b"])
        0.6666666666666666
    """
    if not len(a) and not len(b):
        return 1.0
    return 2 * sum((Counter(a) & Counter(b)).values()) / (len(a) + len(b))


@torch.inference_mode()
def embedding_similarity(
    model: Any, a: Sequence[Sequence[int]], b: Sequence[Sequence[int]], *, max_tokens: int = 2048
) -> Float[np.ndarray, " n"]:
    """Compare texts pairwise by the cosine of their mean hidden states in the model's middle layer.

    A language model's hidden states all lie in a narrow cone, so that texts of nothing in common may reach .8: read it
    beside what other texts reach.

    Args:
        model: A transformers model, which must not be steered.
        a: Token ids of texts.
        b: Token ids of as many others.
        max_tokens: Bound on a batch's tokens, padding included.

    Returns:
        0 to 1 for each pair, negative cosines counted as 0; 0 where one of the texts is empty.
    """
    left, right = (_mean_states(model, texts, max_tokens) for texts in (a, b))
    length = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosine = np.divide((left * right).sum(1), length, out=np.zeros_like(length), where=length > 0)
    return np.clip(cosine, 0.0, 1.0)


def _mean_states(model: Any, texts: Sequence[Sequence[int]], max_tokens: int) -> Float[np.ndarray, "n d"]:
    base = text_model(model)
    rows: list[np.ndarray | None] = [None] * len(texts)
    for batch in plan_batches(np.array([len(text) for text in texts]), max_tokens=max_tokens):
        full = [at for at in batch if len(texts[at])]
        if not full:
            continue
        ids, mask = _padded([texts[at] for at in full], input_device(model))
        states = base(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        middle = states[len(states) // 2].double()
        weight = mask.to(middle.device, middle.dtype)[..., None]
        mean = ((middle * weight).sum(1) / weight.sum(1)).cpu().numpy()
        for at, row in zip(full, mean, strict=True):
            rows[at] = row
    width = next((len(row) for row in rows if row is not None), 1)
    return np.stack([np.zeros(width) if row is None else row for row in rows])


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=device)
    return ids, mask
