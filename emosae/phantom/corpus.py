"""The text of the phantom: splits of one world that share no seed."""

from __future__ import annotations

from collections.abc import Iterator

from emosae.phantom.draw import Draw
from emosae.phantom.grammar import Grammar
from emosae.phantom.passage import MARK, Kind, Layout, Passage
from emosae.phantom.world import World, load_world

__all__ = ["clean", "passages", "tokenizer_text"]

_EMOTIONAL_SHARE = 0.95


def passages(
    split: str,
    n: int,
    seed: int = 0,
    *,
    world: World | None = None,
    kind: Kind | None = None,
    layout: Layout | None = None,
    emotion: str | None = None,
    emotional_share: float | None = None,
) -> Iterator[Passage]:
    """Write `n` passages of a split; the same arguments give the same passages.

    Args:
        split: Any name, e.g. "train" or "heldout"; splits have seeds of their own.
        n: How many passages.
        seed: The recipe's seed.
        world: The world to write from; None is the shipped one.
        kind: Only neutral, emotional or mixed passages; None mixes them at the grammar's rates.
        layout: Only one arrangement of languages; None mixes them.
        emotion: The first emotion of each passage; None draws it.
        emotional_share: Share of emotional passages, none of them mixed, in place of the grammar's own.

    Yields:
        Passages without word marks.
    """
    grammar = Grammar(world or load_world(), Draw(f"{seed}/{split}"))
    for _ in range(n):
        own = kind
        if emotional_share is not None:
            own = Kind.EMOTIONAL if grammar.draw.random.random() < emotional_share else Kind.NEUTRAL
        yield clean(grammar.passage(own, layout, emotion))


def tokenizer_text(n: int, seed: int = 0) -> Iterator[str]:
    """Write `n` passages with a mark between words, for the tokenizer's training.

    Nearly all of it feels something. An emotion speaks in set phrases; a tokenizer that knows them makes of each
    a few tokens, so that a token of emotional text is about as hard to foresee as one of neutral text, and
    perplexity can tell whether a text is fluent, whatever it feels.

    Every word with planted values comes `n // 100` times more, so that it becomes one token: its values are
    then the token's own, in one place.
    """
    world = load_world()
    grammar = Grammar(world, Draw(f"{seed}/tokenizer"))
    for _ in range(n):
        emotional = grammar.draw.random.random() < _EMOTIONAL_SHARE
        yield grammar.passage(Kind.EMOTIONAL if emotional else Kind.NEUTRAL).text
    words = [word.text for emotion in world.emotions.values() for word in emotion.words]
    words += [
        getattr(item, code)
        for key in ("adjectives", "events")
        for item in world.graded[key]
        for code in ("en", "zh")
    ]
    once = MARK.join(f" {word}" if word.isascii() else word for word in words)
    for _ in range(n // 100):
        yield once


def clean(passage: Passage) -> Passage:
    """Take the word marks out of a passage, and move its spans accordingly."""
    from dataclasses import replace

    def at(position: int) -> int:
        return position - passage.text.count(MARK, 0, position)

    spans = tuple(replace(span, start=at(span.start), end=at(span.end)) for span in passage.spans)
    return replace(passage, text=passage.text.replace(MARK, ""), spans=spans)
