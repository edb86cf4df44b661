"""Training of the phantom's language model: a small Llama on the grammar's text."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from emosae.phantom.corpus import passages
from emosae.phantom.head_loss import head_loss
from emosae.phantom.muon import Muon
from emosae.phantom.passage import Kind

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["Lesson", "ModelRecipe", "Round", "batches", "encode_passages", "new_model", "train_model"]

_LOG = logging.getLogger(__name__)
_IGNORED = -100


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """Text that is read once: how much of which split, and what differs from the grammar's own rates."""

    split: str
    n_passages: int
    kind: Kind | None = None
    emotional_share: float | None = None


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


def encode_passages(
    tokenizer: PreTrainedTokenizerFast, lesson: Lesson, seed: int, chunk: int = 20_000
) -> list[np.ndarray]:
    """Tokenize the passages of a lesson, each with BOS in front and EOS behind."""
    rows: list[np.ndarray] = []
    texts: list[str] = []
    n = lesson.n_passages
    written = passages(lesson.split, n, seed, kind=lesson.kind, emotional_share=lesson.emotional_share)
    for i, passage in enumerate(written, start=1):
        texts.append(passage.text)
        if len(texts) == chunk or i == n:
            ids = tokenizer(texts)["input_ids"]
            rows += [np.asarray([*row, tokenizer.eos_token_id], dtype=np.int32) for row in ids]
            texts = []
    return rows


def batches(
    rows: list[np.ndarray], batch_tokens: int, rng: np.random.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Group rows of like length into padded batches of at most `batch_tokens` tokens.

    Args:
        rows: Token ids of each passage.
        batch_tokens: Padded size of a batch.
        rng: Shuffles rows and batches; None keeps one order.

    Yields:
        Ids and labels, both [rows, longest]; padding has label -100.
    """
    lengths = np.array([len(row) for row in rows])
    noise = rng.random(len(rows)) if rng is not None else np.arange(len(rows)) / len(rows)
    order = np.lexsort((noise, lengths))
    groups: list[list[int]] = [[]]
    for i in order:
        if groups[-1] and (len(groups[-1]) + 1) * lengths[i] > batch_tokens:
            groups.append([])
        groups[-1].append(int(i))
    for g in rng.permutation(len(groups)) if rng is not None else range(len(groups)):
        chosen = groups[g]
        width = max(lengths[i] for i in chosen)
        ids = np.zeros((len(chosen), width), dtype=np.int64)
        labels = np.full((len(chosen), width), _IGNORED, dtype=np.int64)
        for at, i in enumerate(chosen):
            ids[at, : lengths[i]] = rows[i]
            labels[at, : lengths[i]] = rows[i]
        yield torch.from_numpy(ids), torch.from_numpy(labels)


def _loss(model: LlamaForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean negative log-likelihood per predicted token, in nats; only real tokens pass the head."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    target = labels[:, 1:]
    real = target != _IGNORED
    return head_loss(hidden[real], model.lm_head.weight, target[real])


def _rate(step: int, steps: int, recipe: Round) -> float:
    """Share of the full learning rate: a short warm-up, a plateau, a linear fall to zero."""
    warm, cool = max(1, int(recipe.warmup * steps)), max(1, int(recipe.cooldown * steps))
    return min(1.0, (step + 1) / warm, (steps - step) / cool)


def train_model(
    model: LlamaForCausalLM,
    lessons: list[list[np.ndarray]],
    recipe: Round,
    batch_tokens: int,
    *,
    seed: int,
    parts: int = 1,
    device: str = "cpu",
    on_step: Callable[[int, int, float], None] | None = None,
    heldout: list[np.ndarray] | None = None,
) -> float:
    """Train for one round: one pass over each of `lessons`, one after the other.

    Matrices inside the blocks learn by Muon; embeddings, head and norms by AdamW.

    Args:
        model: The model, changed in place.
        lessons: Tokenized passages of each lesson.
        recipe: Schedule.
        batch_tokens: Padded tokens of a step.
        parts: Batches of unlike length that make a step.
        seed: Order of the batches.
        device: Where to train.
        on_step: Called after each step with step, number of steps and loss.
        heldout: Rows for the loss that is logged now and then and returned; None returns the training loss.

    Returns:
        The last loss in nats per token.
    """
    model.to(device).train()
    rng = np.random.default_rng(seed)
    plan = []
    for rows in lessons:
        found = list(batches(rows, batch_tokens // parts, rng))
        plan += [found[at : at + parts] for at in range(0, len(found), parts)]
    steps = len(plan)
    inside = {id(p) for block in model.model.layers for p in block.parameters() if p.ndim == 2}
    matrices = [p for p in model.parameters() if id(p) in inside]
    others = [p for p in model.parameters() if id(p) not in inside]
    optimizers: list[torch.optim.Optimizer] = [
        Muon(matrices, lr=recipe.muon_rate, momentum=0.95),
        torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peak = [recipe.muon_rate, recipe.adam_rate]
    loss_value, start, seen = math.inf, time.perf_counter(), 0
    for step, portions in enumerate(plan[: recipe.stop_after]):
        share = _rate(step, steps, recipe)
        for optimizer, rate in zip(optimizers, peak, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        counts = [int((labels[:, 1:] != _IGNORED).sum()) for _, labels in portions]
        loss_value = 0.0
        for (ids, labels), count in zip(portions, counts, strict=True):
            loss = _loss(model, ids.to(device), labels.to(device)) * (count / sum(counts))
            loss.backward()
            loss_value += float(loss.detach())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seen += sum(counts)
        if on_step is not None:
            on_step(step, steps, loss_value)
        if step % 10 == 9 or step == steps - 1:
            speed = seen / (time.perf_counter() - start)
            _LOG.info("model step %d/%d loss %.4f, %.0f tokens/s", step + 1, steps, loss_value, speed)
    model.eval()
    return mean_loss(model, heldout, device) if heldout is not None else loss_value


@torch.inference_mode()
def mean_loss(model: LlamaForCausalLM, rows: list[np.ndarray], device: str = "cpu") -> float:
    """Return the mean negative log-likelihood per token over `rows`, in nats."""
    total, count = 0.0, 0
    for ids, labels in batches(rows, 8192, None):
        n = int((labels[:, 1:] != _IGNORED).sum())
        total += float(_loss(model, ids.to(device), labels.to(device))) * n
        count += n
    return total / count
