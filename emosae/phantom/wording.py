"""From planned sentences to text: who the passage is about, and which language says what."""

from __future__ import annotations

import re
from dataclasses import dataclass

from emosae.phantom.draw import Draw
from emosae.phantom.frames import SLOT
from emosae.phantom.passage import MARK, Kind, Layout, Line, Passage, Role, Span
from emosae.phantom.world import Language, World

__all__ = ["Person", "draw_person", "lay_out"]


@dataclass(frozen=True, slots=True)
class Person:
    """Pronouns and names in both languages."""

    en: tuple[str, str, str, str]  # subject, possessive, object, reflexive pronoun
    zh: str
    name_en: str
    name_zh: str


_SHE = (("she", "her", "her", "herself"), "她")
_HE = (("he", "his", "him", "himself"), "他")
_I = Person(("I", "my", "me", "myself"), "我", "I", "我")


def draw_person(world: World, draw: Draw) -> Person:
    """Choose whom a passage is about: the speaker, someone with a name, a job, or a relation."""
    which = draw.weighted(("I", "name", "role", "kin"), (0.2, 0.55, 0.15, 0.1))
    if which == "I":
        return _I
    woman = draw.flip(0.5)
    pronouns, zh = _SHE if woman else _HE
    if which == "name":
        entry = draw.choose(world.slots["woman" if woman else "man"])
        return Person(pronouns, zh, entry.en, entry.zh)
    if which == "role":
        entry = draw.choose(world.slots["job"])
        return Person(pronouns, zh, f"the {entry.en}", entry.zh)
    entry = draw.choose(world.slots["mate"])
    return Person(pronouns, zh, f"my {entry.en}", f"我的{entry.zh}")


def lay_out(
    lines: list[Line], person: Person, kind: Kind, layout: Layout, emotions: tuple[str, ...], draw: Draw
) -> Passage:
    """Word the lines in the layout's languages, one after the other or with a switch between two lines.

    Args:
        lines: The planned sentences.
        person: Whom they are about.
        kind: What the passage feels.
        layout: Its languages.
        emotions: Its emotions, the first one first.
        draw: Chooses where a switch lies; knows the log-probability of all choices so far.

    Returns:
        The passage, with word marks.
    """
    en, zh = Language.EN, Language.ZH
    both = {Layout.EN_ZH: (en, zh), Layout.ZH_EN: (zh, en)}
    switch = {Layout.EN_TO_ZH: (en, zh), Layout.ZH_TO_EN: (zh, en)}
    if layout in both:
        plan = [(line, language) for language in both[layout] for line in lines]
    elif layout in switch:
        at = int(draw.choose(tuple(range(1, len(lines)))))
        plan = [(line, switch[layout][i >= at]) for i, line in enumerate(lines)]
    else:
        plan = [(line, Language(layout.value)) for line in lines]
    text, spans, introduced = "", [], False
    for i, (line, language) in enumerate(plan):
        changed = i > 0 and plan[i - 1][1] is not language
        if changed:
            text += "\n" if layout in both else " "
            introduced = False
        elif text and language is en:
            text += " "
        sentence, mentioned = _word(line, person, language, introduced)
        introduced = introduced or mentioned
        spans.append(
            Span(len(text), len(text) + len(sentence), language, line.role, line.emotion, line.named)
        )
        text += sentence
    languages = {language for _, language in plan}
    logp = draw.shared + sum(draw.own[language] for language in languages)
    return Passage(text, kind, layout, emotions, tuple(spans), logp)


def _word(line: Line, person: Person, language: Language, introduced: bool) -> tuple[str, bool]:
    """Put the person into a line and the line into a sentence; say whether the person was mentioned."""
    if line.role is Role.HEADING:
        return (f"{line.en}:" if language is Language.EN else f"{line.zh}："), False
    pronouns = dict(zip("Npor", person.en, strict=True))
    named = person is not _I and (line.own_name or not introduced)
    mentioned = False

    def en(match: re.Match[str]) -> str:
        nonlocal mentioned
        first, mentioned = not mentioned, True
        if named and first:
            return f"{person.name_en}'s" if match[1] == "p" else person.name_en
        return pronouns[match[1]]

    def zh(match: re.Match[str]) -> str:
        nonlocal mentioned
        first, mentioned = not mentioned, True
        return person.name_zh if named and first else person.zh

    if language is Language.EN:
        # A word keeps the space before it, so a mark goes before that space.
        text = SLOT.sub(en, line.en).replace(f" {MARK}", f"{MARK} ")
        at = next(i for i, letter in enumerate(text) if letter.isalpha())
        return text[:at] + text[at].upper() + text[at + 1 :] + ".", mentioned
    return SLOT.sub(zh, line.zh) + ("" if line.zh.endswith("”") else "。"), mentioned
