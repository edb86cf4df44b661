"""Tokens are spelt as the tokenizer itself decodes them, each character at its place."""

from __future__ import annotations

import numpy as np
import pytest
from browse_cases import bytes_tokenizer, words_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from emosae.browse.spelling import Spelling, script_name, scripts_of, word_at

BYTES = bytes_tokenizer()
SPELLING = Spelling(BYTES)
READABLE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Cn", "Co"]), max_size=12)


@given(text=READABLE)
def test_pieces_of_bytes_are_the_text_again(text: str) -> None:
    ids = BYTES(text, add_special_tokens=False)["input_ids"]
    pieces, starts = SPELLING.pieces(ids)
    assert "".join(pieces) == text == BYTES.decode(ids)
    assert pieces == list(text)  # a piece a character, whatever its number of bytes
    assert list(starts) == [len(text[:at].encode()) for at in range(len(text) + 1)]


def test_a_character_that_is_cut_off_is_shown_as_such() -> None:
    ids = BYTES("a愛b", add_special_tokens=False)["input_ids"]
    assert "".join(SPELLING.pieces(ids[2:])[0]) == "\ufffd\ufffdb"
    assert "".join(SPELLING.pieces(ids[:3])[0]) == "a\ufffd"
    for first in range(len(ids)):
        for last in range(first + 1, len(ids) + 1):
            texts, starts = SPELLING.pieces(ids[first:last])
            assert len(starts) == len(texts) + 1
            assert starts[0] == 0
            assert starts[-1] == last - first


def test_controls_and_marks_that_turn_text_are_replaced() -> None:
    ids = BYTES("\x1b[31m \u202e", add_special_tokens=False)["input_ids"]
    assert "".join(SPELLING.pieces(ids)[0]) == "\ufffd[31m \ufffd"


def sentence_piece() -> PreTrainedTokenizerFast:
    vocabulary = {"<unk>": 0, "▁joy": 1, "ful": 2, "▁": 3, "<0xE6>": 4, "<0x84>": 5, "<0x9B>": 6}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


def word_piece() -> PreTrainedTokenizerFast:
    vocabulary = {"[UNK]": 0, "joy": 1, "##ful": 2, "day": 3}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


@pytest.mark.parametrize(
    ("tokenizer", "ids", "pieces"),
    [
        (sentence_piece(), [1, 2, 4, 5, 6], [" joy", "ful", "愛"]),
        (word_piece(), [1, 2, 3], [" joy", "ful", " day"]),
        (words_tokenizer(["joy", "day"]), [4, 5], [" joy", " day"]),
    ],
)
def test_other_tokenizers_are_spelt_with_their_spaces(tokenizer, ids, pieces) -> None:
    assert Spelling(tokenizer).pieces(ids)[0] == pieces
    assert "".join(pieces).strip() == tokenizer.decode(ids).strip()


@pytest.mark.parametrize(
    ("pieces", "at", "word"),
    [
        (["un", "bear", "able", " day"], 1, "unbearable"),
        ([" She", " felt", " joy"], 2, "joy"),
        (["很", "喜欢", "她"], 1, "喜欢"),
        (["a", "愛", "b"], 1, "愛"),
        (["don", "'", "t"], 0, "don"),
        ([" ", "\n"], 0, ""),
    ],
)
def test_the_word_of_a_token(pieces: list[str], at: int, word: str) -> None:
    assert word_at(pieces, at) == word


@pytest.mark.parametrize(
    ("text", "script"), [("joy", "LATIN"), ("愛", "CJK"), ("я", "CYRILLIC"), ("3!", ""), ("か", "HIRAGANA")]
)
def test_scripts_have_unicodes_names(text: str, script: str) -> None:
    assert script_name(text) == script


def test_tokens_that_share_a_letter_have_its_script() -> None:
    texts = ["ab 1", "a愛!", "愛я"]
    ids = [BYTES(text, add_special_tokens=False)["input_ids"] for text in texts]
    starts = np.cumsum([0, *map(len, ids)])
    known: list[str] = []
    found = scripts_of(SPELLING, np.concatenate(ids), starts, known, 16)
    names = [known[at] if at >= 0 else "" for at in found]
    assert names == ["LATIN", "LATIN", "", "", "LATIN", *["CJK"] * 3, "", *["CJK"] * 3, *["CYRILLIC"] * 2]
    few: list[str] = []
    assert set(scripts_of(SPELLING, np.concatenate(ids), starts, few, 1).tolist()) == {-1, 0}
    assert few == ["LATIN"]
