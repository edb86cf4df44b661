"""Tokens as a person reads them, each at its own place in the text, and the script it is written in."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from emosae.report.text import clean

__all__ = ["Spelling", "script_name", "scripts_of", "word_at"]

_MOST_BYTES = 4  # of one character
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_UNKNOWN_SCRIPT = "other"
# Letters that ask for no space between words: a token of them is shown as it is
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


class Spelling:
    """Turns token ids into text without running the tokenizer over every context.

    A token's bytes are looked up once. Tokens that share a character, as those of a Chinese character of byte-level
    tokenizers do, are shown as one.

    Args:
        tokenizer: A fast transformers tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._read = _reader(tokenizer)
        self._bytes: dict[int, bytes] = {}
        self._text: dict[int, str | None] = {}

    def token(self, number: int) -> str:
        """Spell one token; bytes that are no character become U+FFFD."""
        return clean(self._bytes_of(number).decode("utf-8", "replace"))

    def pieces(self, ids: Sequence[int]) -> tuple[list[str], Sequence[int]]:
        """Spell tokens in a row.

        Returns:
            The text of each piece, which mostly is a token, and the first token of each, then the number of tokens.
        """
        whole = [self.whole(number) for number in ids]
        if None not in whole:
            return whole, range(len(ids) + 1)  # type: ignore[return-value]
        texts: list[str] = []
        starts: list[int] = []
        held, since = b"", 0
        for place, number in enumerate(ids):
            alone = whole[place]
            if not held and alone is not None:
                texts.append(alone)
                starts.append(place)
                continue
            since = since if held else place
            held += self._bytes_of(number)
            if _decode(held) is None and len(held) < 2 * _MOST_BYTES and place + 1 < len(ids):
                continue
            texts.append(clean(held.decode("utf-8", "replace")))
            starts.append(since)
            held = b""
        return texts, [*starts, len(ids)]

    def whole(self, number: int) -> str | None:
        """Spell a token that is whole characters; None for one that holds parts of some."""
        if number not in self._text:
            text = _decode(self._bytes_of(number))
            self._text[number] = None if text is None else clean(text)
        return self._text[number]

    def _bytes_of(self, number: int) -> bytes:
        if number not in self._bytes:
            self._bytes[number] = self._read(number)
        return self._bytes[number]


def word_at(texts: Sequence[str], at: int) -> str:
    """Give the word that a piece of text is part of: the piece, and the letters that go on to both sides of it.

    Example:
        >>> word_at([" de", "light", "ful", "."], 1)
        'delightful'
    """
    text = texts[at]
    before, after = at - 1, at + 1
    while before >= 0 and _joins(texts[before], text):
        text, before = texts[before] + text, before - 1
    while after < len(texts) and _joins(text, texts[after]):
        text, after = text + texts[after], after + 1
    return text.strip()


def _joins(left: str, right: str) -> bool:
    if not (left and right and left[-1].isalpha() and right[0].isalpha()):
        return False
    return not (script_name(left[-1]).startswith(_UNSPACED) or script_name(right[0]).startswith(_UNSPACED))


def script_name(text: str) -> str:
    """Name the script of the first letter, as Unicode does (`LATIN`, `CJK`); empty where there is no letter."""
    for character in text:
        if character.isalpha():
            return unicodedata.name(character, _UNKNOWN_SCRIPT).split(" ")[0].split("-")[0]
    return ""


def _decode(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _reader(tokenizer: Any) -> Callable[[int], bytes]:
    """Choose how a token of the vocabulary is read, by what the tokenizer's decoder says of itself."""
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items()}
    decoder = json.loads(tokenizer.backend_tokenizer.to_str()).get("decoder") or {}
    kinds = {decoder.get("type")} | {each.get("type") for each in decoder.get("decoders", [])}
    spell = next((read for kind, read in _READERS.items() if kind in kinds), _plain)
    glued = (decoder.get("prefix") or "##") if "WordPiece" in kinds else None

    def read(number: int) -> bytes:
        if number in added:
            return added[number].encode("utf-8", "replace")
        token = tokenizer.convert_ids_to_tokens(number)
        if token is None:
            return b""
        if glued is not None:
            return (token[len(glued) :] if token.startswith(glued) else f" {token}").encode()
        return spell(token)

    return read


def _byte_level(token: str) -> bytes:
    return bytes(_BYTE_OF.get(character, ord("?")) for character in token)


def _sentence_piece(token: str) -> bytes:
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode("utf-8", "replace")


def _plain(token: str) -> bytes:
    """A token of a tokenizer that says nothing of its spaces: a word."""
    return f" {token}".encode("utf-8", "replace")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for the 256 bytes: printable ones stand for themselves, the others for 256 and on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
_READERS: dict[str, Callable[[str], bytes]] = {
    "ByteLevel": _byte_level,
    "ByteFallback": _sentence_piece,
    "Metaspace": _sentence_piece,
    "Replace": _sentence_piece,
}


def scripts_of(
    spelling: Spelling, ids: np.ndarray, starts: np.ndarray, known: list[str], most: int
) -> np.ndarray:
    """Number the scripts of tokens, taking new ones into `known` up to `most`.

    Args:
        spelling: Spells them.
        ids: Tokens, text after text.
        starts: Where each text begins, and then the number of tokens.
        known: Scripts that have a number already.
        most: How many there may be; tokens of further ones get none.

    Returns:
        For each token the place of its script in `known`, -1 where it has no letter. Tokens that share a letter have
        its script.
    """

    def number(text: str) -> int:
        script = script_name(text)
        if script and script not in known and len(known) < most:
            known.append(script)
        return known.index(script) if script in known else -1

    distinct, back = np.unique(ids, return_inverse=True)
    whole = [spelling.whole(each) for each in distinct.tolist()]
    found = np.array([-1 if text is None else number(text) for text in whole], dtype=np.int64)[back]
    parts = np.array([text is None for text in whole], dtype=bool)[back]
    for text in np.unique(np.searchsorted(starts, np.flatnonzero(parts), "right") - 1).tolist():
        first, last = int(starts[text]), int(starts[text + 1])
        texts, begins = spelling.pieces(ids[first:last].tolist())
        for piece, (begin, end) in zip(texts, pairwise(begins), strict=True):
            if end - begin > 1:
                found[first + begin : first + end] = number(piece)
    return found
