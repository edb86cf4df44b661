"""Tiny models of every architecture family with random weights, for the tests of emosae.models."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import transformers as tf

VOCABULARY, WIDTH, LAYERS = 96, 32, 4

_COMMON = {"vocab_size": VOCABULARY, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
_LLAMA = _COMMON | {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
# Heads whose sum is wider than the residual stream, as in Gemma and Qwen 3
_WIDE = _LLAMA | {"head_dim": 12}
_BERT = _COMMON | {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def _gemma3() -> tf.PreTrainedModel:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    config = tf.Gemma3Config(
        text_config=_WIDE | {"sliding_window": 4},
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_id=90,
    )
    return tf.Gemma3ForConditionalGeneration(config)


MODELS: dict[str, Callable[[], tf.PreTrainedModel]] = {
    "gpt2": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(**_COMMON, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=64)
    ),
    "gpt_neox": lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**_BERT)),
    "gpt_neox_sequential": lambda: tf.GPTNeoXForCausalLM(
        tf.GPTNeoXConfig(**_BERT, use_parallel_residual=False)
    ),
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA)),
    "gemma": lambda: tf.GemmaForCausalLM(tf.GemmaConfig(**_WIDE)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**_WIDE, sliding_window=4)),
    "gemma3_text": lambda: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**_WIDE, sliding_window=4)),
    "gemma3": _gemma3,
    "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**_LLAMA)),
    "qwen3": lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**_WIDE)),
    "mistral": lambda: tf.MistralForCausalLM(tf.MistralConfig(**_WIDE, sliding_window=4)),
    "phi3": lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**_LLAMA)),
    "smollm3": lambda: tf.SmolLM3ForCausalLM(tf.SmolLM3Config(**_LLAMA)),
    "bert": lambda: tf.BertModel(tf.BertConfig(**_BERT)),
    "bert_masked_lm": lambda: tf.BertForMaskedLM(tf.BertConfig(**_BERT)),
    "roberta": lambda: tf.RobertaModel(tf.RobertaConfig(**_BERT)),
    "xlm_roberta": lambda: tf.XLMRobertaModel(tf.XLMRobertaConfig(**_BERT)),
    "camembert": lambda: tf.CamembertModel(tf.CamembertConfig(**_BERT)),
    "electra": lambda: tf.ElectraModel(tf.ElectraConfig(**_BERT, embedding_size=16)),
    "distilbert": lambda: tf.DistilBertModel(
        tf.DistilBertConfig(
            **_COMMON, dim=WIDTH, hidden_dim=48, n_layers=LAYERS, n_heads=4, max_position_embeddings=64
        )
    ),
}

# In no row of the table: only the residual stream at the blocks' boundaries is known
UNLISTED: dict[str, Callable[[], tf.PreTrainedModel]] = {
    "olmo2": lambda: tf.Olmo2ForCausalLM(tf.Olmo2Config(**_LLAMA)),
    "bloom": lambda: tf.BloomForCausalLM(
        tf.BloomConfig(**_COMMON, hidden_size=WIDTH, n_layer=LAYERS, n_head=4)
    ),
    "modernbert": lambda: tf.ModernBertModel(tf.ModernBertConfig(**_BERT, cls_token_id=2, sep_token_id=3)),
}

DECODERS = [name for name in MODELS if not any(kind in name for kind in ("bert", "electra"))]
ENCODERS = [name for name in MODELS if name not in DECODERS]

# Where each family keeps what the laws of a block need; written by hand from the modelling files, not from
# the table
BLOCKS = {
    "gpt2": "transformer.h",
    "gpt_neox": "gpt_neox.layers",
    "gemma3": "model.language_model.layers",
    "bert_masked_lm": "bert.encoder.layer",
    "distilbert": "transformer.layer",
    "bloom": "transformer.h",
    "modernbert": "layers",
} | dict.fromkeys(
    [name for name in ENCODERS if name not in ("bert_masked_lm", "distilbert")], "encoder.layer"
)
BLOCKS["gpt_neox_sequential"] = BLOCKS["gpt_neox"]


def blocks(name: str, model: Any) -> Any:
    """Give the blocks of a model of the zoo."""
    return model.get_submodule(BLOCKS.get(name, "model.layers"))


@cache
def build(name: str) -> tf.PreTrainedModel:
    """Make a model with weights far from their usual start: no gain is 1, no bias 0, no addition small."""
    torch.manual_seed(len(name))
    model = (MODELS | UNLISTED)[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.normal_(0, 0.25)
    return model.eval().requires_grad_(False)


def ids_and_mask(lengths: tuple[int, ...] = (9, 5, 7), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Make random rows of token ids, padded on the right, none of them special."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(5, 80, mask.shape, generator=torch.Generator().manual_seed(seed))
    return ids.masked_fill(~mask, 1), mask
