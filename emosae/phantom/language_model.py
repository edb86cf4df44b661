"""Training of the phantom's language model: a small Llama on the grammar's text."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from emosae.phantom.head_loss import head_loss
from emosae.phantom.lessons import IGNORED, Lesson, batches
from emosae.phantom.muon import Muon

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = [
    "ModelRecipe",
    "Portion",
    "Round",
    "Text",
    "mean_loss",
    "n_tokens",
    "new_model",
    "steps_of",
    "text_steps",
    "train_model",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """Lessons one after the other under one schedule of the learning rates.

    `stop_after` is the number of steps after which the round ends, though its schedule goes on.
    """

    lessons: tuple[Lesson, ...]
    muon_rate: float = 0.006
    adam_rate: float = 4e-3
    warmup: float = 0.02
    cooldown: float = 0.7
    stop_after: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecipe:
    """Sizes and schedule of the language model.

    A step sums the gradients of `parts` batches of unlike length, each of `batch_tokens / parts` tokens: passages
    of one length are mostly of one language and kind, and steps on them alone pull to and fro.
    """

    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    d_mlp: int = 384
    batch_tokens: int = 4096
    parts: int = 4
    rounds: tuple[Round, ...] = ()


def new_model(tokenizer: PreTrainedTokenizerFast, recipe: ModelRecipe) -> LlamaForCausalLM:
    """Build the untrained model; the caller has set torch's seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_heads,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.02,
    )
    return LlamaForCausalLM(config)


class Portion(Protocol):
    """A part of a step: some text and what is to be learnt from it."""

    @property
    def weight(self) -> int:
        """How much it counts in its step: its tokens."""

    def loss(self, model: LlamaForCausalLM, device: str) -> Tensor:
        """Mean loss per predicted token, in nats."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text to be foreseen, token by token: ids and labels, both [rows, longest]."""

    ids: Tensor
    labels: Tensor

    @property
    def weight(self) -> int:
        """Tokens that are predicted."""
        return int((self.labels[:, 1:] != IGNORED).sum())

    def loss(self, model: LlamaForCausalLM, device: str) -> Tensor:
        """Mean negative log-likelihood per predicted token, in nats; only real tokens pass the head."""
        hidden = model.model(input_ids=self.ids.to(device), use_cache=False).last_hidden_state[:, :-1]
        target = self.labels[:, 1:].to(device)
        real = target != IGNORED
        return head_loss(hidden[real], model.lm_head.weight, target[real])


def steps_of(portions: Sequence[Portion], parts: int) -> list[Sequence[Portion]]:
    """Make steps of `parts` portions each."""
    return [portions[at : at + parts] for at in range(0, len(portions), parts)]


def text_steps(
    lessons: list[list[np.ndarray]], batch_tokens: int, parts: int, seed: int
) -> list[Sequence[Portion]]:
    """Plan one pass over each of `lessons`, one after the other.

    Args:
        lessons: Tokenized passages of each lesson.
        batch_tokens: Padded tokens of a step.
        parts: Batches of unlike length that make a step.
        seed: Order of the batches.

    Returns:
        The portions of each step.
    """
    rng = np.random.default_rng(seed)
    plan: list[Sequence[Portion]] = []
    for rows in lessons:
        plan += steps_of([Text(*each) for each in batches(rows, batch_tokens // parts, rng)], parts)
    return plan


def _rate(step: int, steps: int, recipe: Round) -> float:
    """Share of the full learning rate: a short warm-up, a plateau, a linear fall to zero."""
    warm, cool = max(1, int(recipe.warmup * steps)), max(1, int(recipe.cooldown * steps))
    return min(1.0, (step + 1) / warm, (steps - step) / cool)


def n_tokens(plan: Sequence[Sequence[Portion]]) -> int:
    """Count the tokens that are predicted in a plan's steps."""
    return sum(portion.weight for portions in plan for portion in portions)


def train_model(
    model: LlamaForCausalLM,
    plan: Sequence[Sequence[Portion]],
    recipe: Round,
    *,
    device: str = "cpu",
    helpers: Sequence[nn.Parameter] = (),
    before_step: Callable[[int], None] | None = None,
) -> None:
    """Train for one round.

    Matrices inside the blocks learn by Muon; embeddings, head, norms and helpers by AdamW.

    Args:
        model: The model, changed in place.
        plan: The portions of each step.
        recipe: Schedule.
        device: Where to train.
        helpers: Parameters outside the model that learn with it; they decay, and are thrown away afterwards.
        before_step: Called with the number of each step before it.
    """
    model.to(device).train()
    steps = len(plan)
    inside = {id(p) for block in model.model.layers for p in block.parameters() if p.ndim == 2}
    matrices = [p for p in model.parameters() if id(p) in inside]
    others = [p for p in model.parameters() if id(p) not in inside]
    learning: list[dict[str, Any]] = [{"params": others}]
    if helpers:
        learning.append({"params": list(helpers), "weight_decay": 0.1})
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=recipe.muon_rate, momentum=0.95),
        torch.optim.AdamW(learning, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peak = [recipe.muon_rate, recipe.adam_rate]
    start, seen = time.perf_counter(), 0
    for step, portions in enumerate(plan[: recipe.stop_after]):
        if before_step is not None:
            before_step(step)
        share = _rate(step, steps, recipe)
        for optimizer, rate in zip(optimizers, peak, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.zero_grad(set_to_none=True)
        counts = [portion.weight for portion in portions]
        loss_value = 0.0
        for portion, count in zip(portions, counts, strict=True):
            loss = portion.loss(model, device) * (count / sum(counts))
            loss.backward()
            loss_value += float(loss.detach())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seen += sum(counts)
        if step % 10 == 9 or step == steps - 1:
            speed = seen / (time.perf_counter() - start)
            _LOG.info("model step %d/%d loss %.4f, %.0f tokens/s", step + 1, steps, loss_value, speed)
    model.eval()


@torch.inference_mode()
def mean_loss(model: LlamaForCausalLM, rows: list[np.ndarray], device: str = "cpu") -> float:
    """Return the mean negative log-likelihood per token over `rows`, in nats."""
    total, count = 0.0, 0
    for each in batches(rows, 8192, None):
        text = Text(*each)
        total += float(text.loss(model, device)) * text.weight
        count += text.weight
    return total / count
