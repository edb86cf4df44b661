"""A lens that fires on chosen words, texts that would break a page, and readers of a browser's files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from models_zoo import build
from steering_cases import make_sae
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<pad>", "<s>", "</s>"]


def words_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """A token a word, BOS in front; at most 92 words, the models of the zoo know no more."""
    vocabulary = {word: at for at, word in enumerate([*SPECIAL, *dict.fromkeys(words)])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, so that nothing is unknown and most characters take several."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: at for at, letter in enumerate([*SPECIAL, *letters])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def lens_of(tokenizer: PreTrainedTokenizerFast, model: Any = None, sae: Any = None, **changes: Any) -> Any:
    """What the browser needs of a lens, on a tiny random model."""
    sae = make_sae() if sae is None else sae
    given = {"name": "toy", "languages": ("en",), "preset": "custom"} | changes
    return SimpleNamespace(
        model=build("llama") if model is None else model, tokenizer=tokenizer, saes={sae.site: sae}, **given
    )


def wide_llama(n_tokens: int) -> Any:
    """A llama of the zoo with a larger vocabulary and more positions."""
    import transformers as tf
    from models_zoo import LAYERS, WIDTH

    torch.manual_seed(0)
    shape = {"num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = tf.LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=WIDTH,
        intermediate_size=48,
        max_position_embeddings=256,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=3,
        **shape,
    )
    return tf.LlamaForCausalLM(config).eval()


HOSTILE = [
    "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 2'> </title></style>",
    '"]]);window.hacked = 3;(["\\ ${window.hacked = 4} `',
    "<!-- <script> --> </script> &lt;b&gt; &#60;i&#62;",
    "مرحبا بالعالم, שלום עולם, and back \u202eto the left",
    "🙂 👩‍👩‍👧 🇨🇭 joy 喜び 기쁨 радость",
    "lone \ud800 and \udfff surrogates",
    "line\u2028separator\u2029paragraph\x00nul\x07bell\x1b[31mred",
    "w" * 10_000,
    "",
    "   ",
    "plain words at last",
]


def unpack(index: dict[str, Any]) -> dict[str, Any]:
    """Give an index with its numbers as lists, None where there is none, and a text of words for each feature."""

    def numbers(text: str, kind: str) -> list[Any]:
        values = np.frombuffer(base64.b64decode(text), dtype=kind).tolist()
        return [None if value != value else value for value in values]

    columns = {name: numbers(text, "<f4") for name, text in index["columns"].items()}
    plain = {"concept": numbers(index["concept"], "<i2"), "language": numbers(index["language"], "<i4")}
    return index | plain | {"columns": columns, "words": index["words"].split("\n")}


def read_call(path: Path) -> list[Any]:
    """Give the arguments of the one call that a data file makes, read as JSON."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("emosae.")
    assert text.endswith(");\n")
    inside = text[text.index("(") + 1 : -3]
    return json.loads(f"[{inside}]")
