"""The phantom's tokenizer: byte-level BPE over both languages, with one beginning and one end token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from emosae.phantom.corpus import tokenizer_text
from emosae.phantom.passage import MARK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["BOS", "EOS", "train_tokenizer"]

BOS, EOS = "<s>", "</s>"
# A run of Latin words with their spaces, or of Chinese, is one piece: a token may hold several words, as in Liu et
# al. 2025 (SuperBPE), so that a turn of phrase is read at a glance in both languages. Merges never cross a mark.
_PIECES = r"(?: ?[A-Za-zÀ-ÿ]+)+|'[a-z]+|\p{Han}+| ?\p{N}+| ?[^\s\p{Han}\p{L}\p{N}]|\s"


def train_tokenizer(folder: Path, *, vocab_size: int, n_passages: int, seed: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer and save it in `folder`.

    A text that begins with a Latin letter is read as if a space stood before it, so that a word is the same
    token alone and inside a sentence.

    Args:
        folder: Where `tokenizer.json` and its configuration go.
        vocab_size: Number of tokens, the two special ones included.
        n_passages: How much text to learn the merges from.
        seed: The recipe's seed.

    Returns:
        The fast tokenizer; it adds BOS in front of every text.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = [
        pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    # A space goes in front of the text, and away again where the text begins with none of its own use for it.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(" "), normalizers.Replace(Regex(r"\A (?=[^A-Za-z\"])"), "")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(MARK, behavior="removed"), *split]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(tokenizer_text(n_passages, seed), trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
            ),
        ]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
    return fast
