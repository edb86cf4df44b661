"""Frames that belong to no single emotion, and how the things in a frame are drawn.

Person slots of a frame stay open here: `{N}` the subject, English `{p}` `{o}` `{r}` (her, her, herself),
Chinese `{P}` (the pronoun). Thing slots: `{tool}`, a second one `{tool#2}`, with article `{a.tool}`.
`[W]` is a word of emotion, `[D]` its degree, `[E]` an event, `[J]` a judgement.
"""

from __future__ import annotations

import re

from emosae.phantom.draw import Draw
from emosae.phantom.passage import MARK
from emosae.phantom.world import Entry, Frame, World

__all__ = [
    "AGAIN_RATE",
    "ASKING",
    "EXCLAIMING",
    "HEADING_SLOTS",
    "JUDGEMENTS",
    "NAMED_EN",
    "NAMED_ZH",
    "QUESTIONS",
    "REMARKS",
    "SLOT",
    "fill",
]

AGAIN_RATE = 0.7
"""How often a neutral sentence comes back to a thing of its kind that was told before."""
SLOT = re.compile(r"\{([^}]*)\}")
ASKING = frozenset(
    {"what", "who", "how", "why", "is", "are", "can", "could", "did", "may", "will", "where", "left"}
)
HEADING_SLOTS = (
    "tool", "animal", "food", "drink", "fruit", "job", "clothes", "furniture", "instrument", "vehicle",
    "material", "sport", "tree", "flower", "colour", "place", "room", "city", "thing", "pot", "book", "kin",
    "mate", "month", "day", "part",
)  # fmt: skip
EXCLAIMING = ("what a ", "how dare ")
REMARKS = (
    Frame(en="people at the {place} spoke about the [E], and it was [J]", zh="{place}的人说起了[E]，都说[J]"),
    Frame(en="the [E] in {city} was [J]", zh="{city}的[E][J]"),
    Frame(
        en="the newspaper wrote about the [E] in {month} and called it [J]", zh="报纸写到{month}的[E]，说[J]"
    ),
    Frame(en="in {city} the [E] was [J], said the {job}", zh="{job}说，{city}的[E][J]"),
)
QUESTIONS = (
    Frame(en="what did {N} feel? It was [W]", zh="{N}感受到了什么？是[W]"),
    Frame(en="how was it for {o}? It was [W]", zh="{P}的感受是什么？是[W]"),
)
JUDGEMENTS = (
    Frame(en="it was all [J]", zh="这一切都[J]"),
    Frame(en="the whole {part} was [J]", zh="整个{part}都[J]"),
    Frame(en="the moment was [J]", zh="那一刻[J]"),
    Frame(en="it was as [J] as the [E]", zh="这和[E]一样，[J]"),
)
NAMED_EN = {
    "noun": ("{N} felt [D] [W]", "[D] [W] filled {p} heart", "there was [D] [W] in {p} voice"),
    "adjective": ("{N} was [D] [W]", "{N} felt [D] [W]", "{N} looked [D] [W]"),
    "adverb": ("{N} looked around [W]", "{N} stood there [W]", "{N} spoke [W]"),
}
NAMED_ZH = {
    "noun": ("{N}心里有[D][W]", "[D][W]涌上{P}的心头", "{P}的声音里有[D][W]"),
    "adjective": ("{N}[D][W]", "{N}感到[D][W]", "{N}看上去[D][W]"),
    "adverb": ("{N}[W]地看了看四周", "{N}[W]地站在那里", "{N}[W]地说着话"),
    "idiom": ("{N}[W]",),
}


def _article(noun: str) -> str:
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def fill(
    frame: Frame, world: World, draw: Draw, told: dict[str, list[Entry]] | None = None
) -> tuple[str, str]:
    """Fill the thing slots of a frame in both languages with the same things.

    Args:
        frame: The frame.
        world: Where the things are.
        draw: The source of chance.
        told: Things of which the passage has spoken, by slot, to come back to; the frame's are added to it.

    Returns:
        The frame in English and Chinese, its person slots still open.
    """
    chosen: dict[str, Entry] = {}

    def entry(slot: str) -> Entry:
        if slot not in chosen:
            base = slot.split("#", maxsplit=1)[0]
            taken = {id(e) for s, e in chosen.items() if s.split("#")[0] == base}
            options = [e for e in world.slots[base] if id(e) not in taken]
            known = {id(e) for e in told.get(base, ())} - taken if told else set()
            if known:
                fresh, again = (1 - AGAIN_RATE) / len(options), AGAIN_RATE / len(known)
                weights = [fresh + again * (id(e) in known) for e in options]
                chosen[slot] = draw.weighted(options, weights)
            else:
                chosen[slot] = draw.choose(options)
            if told is not None and id(chosen[slot]) not in known:
                told.setdefault(base, []).append(chosen[slot])
        return chosen[slot]

    def en(match: re.Match[str]) -> str:
        slot = match[1]
        if len(slot) == 1:
            return f"{MARK}{match[0]}{MARK}"
        name = _article(entry(slot[2:]).en) if slot.startswith("a.") else entry(slot).en
        return f"{MARK}{name}{MARK}"

    def zh(match: re.Match[str]) -> str:
        slot = match[1]
        if len(slot) == 1:
            return f"{MARK}{match[0]}{MARK}"
        if slot.startswith("a."):
            found = entry(slot[2:])
            return f"{MARK}一{found.measure}{MARK}{found.zh}{MARK}"
        return f"{MARK}{entry(slot).zh}{MARK}"

    return SLOT.sub(en, frame.en), SLOT.sub(zh, frame.zh)
