"""How well the model writes: its loss against the grammar's entropy, and whether its text stays neutral."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emosae.phantom.classifier import NEUTRAL, EmotionClassifier, after_opening
from emosae.phantom.corpus import passages
from emosae.phantom.language_model import mean_loss
from emosae.phantom.passage import Kind, Layout, Role
from emosae.phantom.truth import emotion_truth

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["continuations", "going_on", "neutral_openings", "neutrality", "perplexity"]


def perplexity(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Compare the model's loss on held-out passages with the grammar's own entropy per token.

    The grammar's entropy is that of its choices; where two series of choices give the same text it is a
    little above the text's, so the ratio is a little kind to the model.
    """
    held = list(passages("heldout", n, seed))
    rows = [
        np.asarray([*ids, tokenizer.eos_token_id]) for ids in tokenizer([p.text for p in held])["input_ids"]
    ]
    loss = mean_loss(model, rows)
    entropy = -sum(p.logp for p in held) / sum(len(row) - 1 for row in rows)
    return {
        "loss": loss,
        "entropy": entropy,
        "perplexity": float(np.exp(loss)),
        "ratio": float(np.exp(loss - entropy)),
    }


@torch.inference_mode()
def continuations(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    openings: list[str],
    *,
    seed: int = 0,
    max_new_tokens: int = 48,
    temperature: float = 0.8,
) -> list[str]:
    """Sample one continuation of each opening, all of one batch, without the opening itself."""
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    try:
        inputs = tokenizer(openings, return_tensors="pt", padding=True)
    finally:
        tokenizer.padding_side = side
    torch.manual_seed(seed)
    out = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=True,
        temperature=temperature,
        top_p=0.95,
        top_k=0,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
    )
    new = out[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]


def neutral_openings(layout: Layout, n: int, split: str, seed: int = 0) -> list[str]:
    """First two sentences of neutral passages; after one alone a third of the text turns to an emotion."""
    return [after_opening(p, 2)[0] for p in passages(split, n, seed, kind=Kind.NEUTRAL, layout=layout)]


def neutrality(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    classifier: EmotionClassifier,
    n: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """Share of unsteered continuations of neutral openings that the classifier calls neutral."""
    shares = {}
    for layout in (Layout.EN, Layout.ZH):
        texts = continuations(
            model, tokenizer, neutral_openings(layout, n, "openings/neutral", seed), seed=seed
        )
        shares[layout.value] = float(np.mean([label == NEUTRAL for label in classifier.predict(texts)]))
    return shares


def going_on(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    classifier: EmotionClassifier,
    layout: Layout,
    per_emotion: int = 8,
    seed: int = 0,
) -> dict[str, Any]:
    """Let the model go on from passages that have just turned to an emotion, and see whether it keeps to it.

    Returns:
        Under "share" the share of continuations that the classifier calls that emotion; under "samples", for each
        emotion, the first beginning and continuation, with `||` between them.
    """
    beginnings, wanted = [], []
    for emotion in emotion_truth()["emotion"]:
        for passage in passages(
            "going on", per_emotion, seed, kind=Kind.EMOTIONAL, layout=layout, emotion=emotion
        ):
            turn = next(i for i, span in enumerate(passage.spans) if span.role is Role.SITUATION)
            start = next(span.start for span in passage.spans if span.role is not Role.HEADING)
            beginnings.append(passage.text[start : passage.spans[turn].end])
            wanted.append(emotion)
    texts = continuations(model, tokenizer, beginnings, seed=seed)
    told = classifier.predict(texts)
    return {
        "share": float(np.mean([a == b for a, b in zip(told, wanted, strict=True)])),
        "samples": {
            emotion: f"{beginnings[i]} || {texts[i]}"
            for i, emotion in enumerate(wanted)
            if i % per_emotion == 0
        },
    }
