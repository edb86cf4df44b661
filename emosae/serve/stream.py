"""Text as it is written: pieces that can be shown, and a way to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

__all__ = ["Ears", "Pieces", "Stop", "prompt_pieces"]

_OPTIONS = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
_HALF = "\ufffd"  # what a tokenizer gives for the bytes of half a character


class Pieces:
    """Turns tokens into text one by one, so that the pieces together are the text that `Lens.generate` gives.

    Tokens that share a character, as those of a Chinese character may, come out as one piece when it is whole.

    Args:
        tokenizer: The tokenizer.
        prompt: Token ids of the prompt.
    """

    def __init__(self, tokenizer: Any, prompt: Sequence[int]) -> None:
        self._tokenizer, self._ids = tokenizer, list(prompt)
        self._special = set(tokenizer.all_special_ids)
        self._shown = tokenizer.decode(self._ids, **_OPTIONS)
        self._held: list[int] = []

    def add(self, token: int) -> tuple[str, list[int]] | None:
        """Take one token in; give the text that is now whole and the places of its tokens, or None."""
        self._held.append(len(self._ids))
        self._ids.append(token)
        if token in self._special:
            return None
        return self._give(whole=True)

    def rest(self) -> tuple[str, list[int]] | None:
        """Give what is left at the end, whole or not."""
        return self._give(whole=False)

    def _give(self, *, whole: bool) -> tuple[str, list[int]] | None:
        text = self._tokenizer.decode(self._ids, **_OPTIONS)
        new = text[len(self._shown) :] if text.startswith(self._shown) else ""
        if not new or (whole and new.endswith(_HALF)):
            return None
        self._shown = text
        places, self._held = self._held, []
        return new, places


def prompt_pieces(tokenizer: Any, prompt: str) -> list[tuple[str, list[int]]]:
    """Cut a prompt into its tokens' texts, each with the places of its tokens; nothing of the prompt is left out."""
    offsets = tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    pieces: list[tuple[str, list[int]]] = []
    done = 0
    for place, (_, end) in enumerate(offsets):
        if end > done:
            pieces.append((prompt[done:end], [place]))
            done = end
        elif pieces:  # it shares its character with the token before, or has no text
            pieces[-1][1].append(place)
    if done < len(prompt):
        pieces.append((prompt[done:], []))
    return pieces


class Ears(BaseStreamer):
    """Hears each token that `generate` writes; the first call brings the prompt.

    Args:
        heard: Called with each new token.
    """

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self._begun = False

    def put(self, value: torch.Tensor) -> None:
        """Take what `generate` gives."""
        if not self._begun:
            self._begun = True
            return
        for token in value.flatten().tolist():
            self._heard(token)

    def end(self) -> None:
        """Nothing is held back here."""


class Stop(StoppingCriteria):
    """Ends a text at the next token once an event is set.

    Args:
        event: The event.
    """

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_options: Any) -> torch.Tensor:
        """Say for each row whether it is done."""
        return torch.full((len(input_ids),), self._event.is_set(), device=input_ids.device)
