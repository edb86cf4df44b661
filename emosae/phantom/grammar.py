"""The grammar: passages of three to six sentences written from the planted world.

A passage is planned once and worded in both languages at the same time, so that a parallel passage is the
same plan twice. Person slots of a frame: `{N}` the subject, English `{p}` `{o}` `{r}` (her, her, herself),
Chinese `{P}` (the pronoun). Thing slots: `{tool}`, a second one `{tool#2}`, with article `{a.tool}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from emosae.phantom.draw import Draw
from emosae.phantom.world import Emotion, Entry, Frame, Language, Word, World

__all__ = ["MARK", "Grammar", "Kind", "Layout", "Line", "Passage", "Role", "Span"]

MARK = "\u200b"
"""Stands between words while text is made; the tokenizer's training sees it, nobody else."""

_SLOT = re.compile(r"\{([^}]*)\}")
NEUTRAL_RATE, MIXED_RATE, BRIDGE_RATE = 2 / 3, 0.1, 1 / 6
REMARK_RATE = 0.45


class Role(StrEnum):
    """What a sentence does in its passage."""

    NEUTRAL = "neutral"
    REMARK = "remark"
    SITUATION = "situation"
    APPRAISAL = "appraisal"
    BODY = "body"
    ACT = "act"
    SPEECH = "speech"
    NAMED = "named"
    JUDGEMENT = "judgement"
    TEMPO = "tempo"


class Kind(StrEnum):
    """What a passage feels."""

    NEUTRAL = "neutral"
    EMOTIONAL = "emotional"
    MIXED = "mixed"


class Layout(StrEnum):
    """Which languages a passage is in."""

    EN = "en"
    ZH = "zh"
    EN_ZH = "en+zh"
    ZH_EN = "zh+en"
    EN_TO_ZH = "en>zh"
    ZH_TO_EN = "zh>en"


@dataclass(frozen=True, slots=True)
class Line:
    """A planned sentence, worded in both languages with the person still open."""

    role: Role
    emotion: str
    en: str
    zh: str
    named: bool = False
    own_name: bool = False
    en_logp: float = 0.0
    zh_logp: float = 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """Where a sentence lies in its passage's text, and what it does."""

    start: int
    end: int
    language: Language
    role: Role
    emotion: str
    named: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with its truth; `logp` is the grammar's own log-probability of having written it."""

    text: str
    kind: Kind
    layout: Layout
    emotions: tuple[str, ...]
    spans: tuple[Span, ...]
    logp: float


@dataclass(frozen=True, slots=True)
class _Person:
    en: tuple[str, str, str, str]  # subject, possessive, object, reflexive pronoun
    zh: str
    name_en: str
    name_zh: str


_SHE = (("she", "her", "her", "herself"), "她")
_HE = (("he", "his", "him", "himself"), "他")
_I = _Person(("I", "my", "me", "myself"), "我", "I", "我")


def _article(noun: str) -> str:
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


class Grammar:
    """Writes passages from a world; one `Draw` is its only source of chance."""

    def __init__(self, world: World, draw: Draw) -> None:
        self.world = world
        self.draw = draw
        self._names = tuple(world.emotions)

    # ---- filling frames -------------------------------------------------------------------------------

    def _fill(self, frame: Frame) -> tuple[str, str]:
        """Fill the thing slots of a frame in both languages with the same things."""
        chosen: dict[str, Entry] = {}

        def entry(slot: str) -> Entry:
            if slot not in chosen:
                base = slot.split("#", maxsplit=1)[0]
                taken = {id(e) for s, e in chosen.items() if s.split("#")[0] == base}
                options = [e for e in self.world.slots[base] if id(e) not in taken]
                chosen[slot] = self.draw.choose(options)
            return chosen[slot]

        def en(match: re.Match[str]) -> str:
            slot = match[1]
            if len(slot) == 1:
                return match[0]
            if slot.startswith("a."):
                return _article(entry(slot[2:]).en)
            return entry(slot).en

        def zh(match: re.Match[str]) -> str:
            slot = match[1]
            if len(slot) == 1:
                return f"{MARK}{match[0]}{MARK}"
            if slot.startswith("a."):
                found = entry(slot[2:])
                return f"{MARK}一{found.measure}{MARK}{found.zh}{MARK}"
            return f"{MARK}{entry(slot).zh}{MARK}"

        return _SLOT.sub(en, frame.en), _SLOT.sub(zh, frame.zh)

    def _person(self) -> _Person:
        draw = self.draw
        which = draw.weighted(("I", "name", "role", "kin"), (0.2, 0.55, 0.15, 0.1))
        if which == "I":
            return _I
        woman = draw.flip(0.5)
        pronouns, zh = _SHE if woman else _HE
        if which == "name":
            entry = draw.choose(self.world.slots["woman" if woman else "man"])
            return _Person(pronouns, zh, entry.en, entry.zh)
        if which == "role":
            entry = draw.choose(self.world.slots["job"])
            return _Person(pronouns, zh, f"the {entry.en}", entry.zh)
        entry = draw.choose(self.world.slots["mate"])
        return _Person(pronouns, zh, f"my {entry.en}", f"我的{entry.zh}")

    # ---- sentences ------------------------------------------------------------------------------------

    def _line(self, role: Role, emotion: str, en: str, zh: str, named: bool = False) -> Line:
        return Line(role, emotion, en, zh, named)

    def _neutral(self, domain: tuple[Frame, ...], used: set[str], first: bool) -> Line:
        options = [frame for frame in domain if frame.en not in used]
        frame = self.draw.choose(options)
        used.add(frame.en)
        en, zh = self._fill(frame)
        if first and self.draw.flip(0.6):
            when_en, when_zh = self._fill(self.draw.choose(self.world.openings["times"]))
            en, zh = f"{when_en}, {en}", f"{when_zh}，{zh}"
        return self._line(Role.NEUTRAL, "", en, zh)

    def _judgements(self, valence: float, arousal: float) -> tuple[str, str]:
        """One adjective of judgement, or two that agree."""
        adjectives = self.world.graded["adjectives"]
        first = self.draw.graded(adjectives, valence, arousal)
        if self.draw.flip(0.5):
            assert first.valence is not None
            second = self.draw.graded(adjectives, first.valence, first.arousal)
            if second is not first:
                return f"{first.en} and {second.en}", f"很{MARK}{first.zh}{MARK}，也很{MARK}{second.zh}{MARK}"
        return first.en, f"很{MARK}{first.zh}{MARK}"

    def _remark(self) -> Line:
        """A neutral passage's talk about something that happened: where graded words are learnt."""
        event = self.draw.choose(self.world.graded["events"])
        assert event.valence is not None
        frame = self.draw.choose(_REMARKS)
        en, zh = self._fill(frame)
        judged_en, judged_zh = self._judgements(event.valence, event.arousal)
        en = en.replace("[E]", event.en).replace("[J]", judged_en)
        zh = zh.replace("[E]", f"{MARK}{event.zh}{MARK}").replace("[J]", judged_zh)
        if self.draw.flip(0.25):
            tempo = self.draw.graded(self.world.graded["tempo"], 0.5, event.arousal)
            en, zh = f"{en}, and {tempo.en}", f"{zh}，{tempo.zh}"
        return self._line(Role.REMARK, "", en, zh)

    def _judgement(self, emotion: Emotion) -> Line:
        frame = self.draw.choose(_JUDGEMENTS)
        en, zh = self._fill(frame)
        if "[E]" in en:
            event = self.draw.graded(self.world.graded["events"], emotion.valence, emotion.arousal)
            assert event.valence is not None
            judged = self._judgements(event.valence, event.arousal)
            en, zh = en.replace("[E]", event.en), zh.replace("[E]", f"{MARK}{event.zh}{MARK}")
        else:
            judged = self._judgements(emotion.valence, emotion.arousal)
        return self._line(
            Role.JUDGEMENT, emotion.name, en.replace("[J]", judged[0]), zh.replace("[J]", judged[1])
        )

    def _tail(self, valence: float, arousal: float) -> tuple[str, str]:
        if not self.draw.flip(0.5):
            return "", ""
        tail = self.draw.graded(self.world.graded["tail"], valence, arousal)
        return f", and {tail.en}", f"，{tail.zh}"

    def _named(self, emotion: Emotion, sense: str) -> Line:
        """A sentence that names the emotion: the form is shared, each language takes a word of its own."""
        draw = self.draw
        form = draw.choose(("noun", "adjective", "adverb"))
        if sense == "zh":
            form = "adjective"
        zh_form = "adjective" if form == "adverb" else form
        en_word = draw.choose(self._words(emotion, Language.EN, form, ""), Language.EN)
        if sense == "zh" and emotion.specific_zh is not None:
            zh_word = emotion.specific_zh
        else:
            zh_sense = sense if sense == "b" else ""
            zh_word = draw.choose(self._words(emotion, Language.ZH, zh_form, zh_sense), Language.ZH)
        en_frame = _NAMED_EN[form][int(draw.choose((0, 1, 2)))]
        zh_frame = _NAMED_ZH[form if zh_word.gradable or form == "adverb" else "idiom"]
        zh_text = zh_frame[int(draw.choose((0, 1, 2), Language.ZH)) % len(zh_frame)]
        degrees = self.world.graded["degrees_noun" if form == "noun" else "degrees_adjective"]
        en, zh = en_frame.replace("[W]", en_word.text), zh_text.replace("[W]", f"{MARK}{zh_word.text}{MARK}")
        if "[D]" in en:
            en = en.replace("[D]", draw.graded(degrees, 0.5, en_word.arousal, Language.EN).en)
        if "[D]" in zh:
            degree = draw.graded(degrees, 0.5, zh_word.arousal, Language.ZH).zh
            zh = zh.replace("[D]", f"{MARK}{degree}{MARK}")
        if zh_word.complete and form == "adjective":
            zh += "了"
        tail_en, tail_zh = (
            self._tail(zh_word.valence, zh_word.arousal)
            if sense == "zh"
            else self._tail((en_word.valence + zh_word.valence) / 2, (en_word.arousal + zh_word.arousal) / 2)
        )
        return self._line(Role.NAMED, emotion.name, en + tail_en, zh + tail_zh, named=True)

    @staticmethod
    def _words(emotion: Emotion, language: Language, form: str, sense: str) -> tuple[Word, ...]:
        return tuple(
            word
            for word in emotion.words
            if word.language is language
            and word.form == form
            and word.sense == sense
            and not (word.complete and form == "adverb")
        )

    def _speech(self, emotion: Emotion) -> Line:
        frame = self.draw.choose(emotion.speech)
        en, zh = self._fill(frame)
        say = self.draw.graded(self.world.graded["say"], emotion.valence, emotion.arousal)
        loud = self.draw.flip(0.1 + 0.8 * emotion.arousal)
        question = frame.zh.endswith(("吗", "呢", "什么", "么办", "哪里")) or frame.en.split()[0] in _ASKING
        en_end, zh_end = ("?", "？") if question else ("!", "！") if loud else (",", "。")
        en = en[0].upper() + en[1:]
        return self._line(
            Role.SPEECH,
            emotion.name,
            f'"{en}{en_end}" {{N}} {say.en}',
            f"{{N}}{MARK}{say.zh}{MARK}：“{zh}{zh_end}”",
        )

    def _body(self, emotion: Emotion) -> Line:
        own = self.world.emotions[emotion.body_of].body if emotion.body_of else emotion.body
        if self.draw.flip(0.5):
            en, zh = self._fill(self.draw.choose(own))
        else:
            sign = self.draw.graded(self.world.graded["body"], emotion.valence, emotion.arousal)
            en, zh = sign.en.strip('"'), sign.zh.strip('"')
        return self._line(Role.BODY, emotion.name, en, zh)

    def _act(self, emotion: Emotion) -> Line:
        if self.draw.flip(0.75):
            en, zh = self._fill(self.draw.choose(emotion.acts))
        else:
            manner = self.draw.graded(self.world.graded["manner"], 0.5, emotion.arousal)
            en, zh = f"{{N}} {manner.en}", f"{{N}}{manner.zh}"
        return self._line(Role.ACT, emotion.name, en, zh)

    def _tempo(self, emotion: Emotion) -> Line:
        tempo = self.draw.graded(self.world.graded["tempo"], 0.5, emotion.arousal)
        return self._line(Role.TEMPO, emotion.name, tempo.en, tempo.zh)

    def _situation(self, emotion: Emotion, layout: Layout, turn: str) -> tuple[Line, str]:
        """The sentence that brings the emotion, and the sense of the word that Chinese would use for it."""
        sense = ""
        options = emotion.situations
        if emotion.situations_b and self.draw.flip(0.5):
            options, sense = emotion.situations_b, "b"
        if emotion.situations_zh_only and layout is Layout.ZH and self.draw.flip(0.35):
            zh_only = self.draw.choose(emotion.situations_zh_only)
            en, zh = self._fill(Frame(en=zh_only, zh=zh_only))
            sense = "zh"
        else:
            en, zh = self._fill(self.draw.choose(options))
        if turn and self.draw.flip(0.7 if turn == "turns" else 0.95):
            turn_en, turn_zh = self._fill(self.draw.choose(self.world.openings[turn]))
            comma = "" if turn == "buts" or turn_en in ("then", "just then") else ","
            en, zh = f"{turn_en}{comma} {en}", f"{turn_zh}，{zh}"
        return self._line(Role.SITUATION, emotion.name, en, zh), sense

    def _feeling(self, emotion: Emotion, layout: Layout, turn: str, n: int) -> list[Line]:
        """The turn and `n` sentences after it, each of another role."""
        first, sense = self._situation(emotion, layout, turn)
        lines = [first]
        roles = [role for role, _ in _AFTER]
        weights = [weight for _, weight in _AFTER]
        for _ in range(n):
            role = self.draw.weighted(roles, weights)
            weights[roles.index(role)] = 0.0
            match role:
                case Role.APPRAISAL:
                    en, zh = self._fill(self.draw.choose(emotion.appraisals))
                    lines.append(self._line(role, emotion.name, en, zh))
                case Role.BODY:
                    lines.append(self._body(emotion))
                case Role.ACT:
                    lines.append(self._act(emotion))
                case Role.SPEECH:
                    lines.append(self._speech(emotion))
                case Role.NAMED:
                    lines.append(self._named(emotion, sense))
                case Role.JUDGEMENT:
                    lines.append(self._judgement(emotion))
                case _:
                    lines.append(self._tempo(emotion))
        return lines

    # ---- passages -------------------------------------------------------------------------------------

    def passage(
        self, kind: Kind | None = None, layout: Layout | None = None, emotion: str | None = None
    ) -> Passage:
        """Write one passage.

        Args:
            kind: Neutral, emotional or mixed; None draws it at the grammar's own rates.
            layout: The languages; None draws it.
            emotion: The (first) emotion of an emotional or mixed passage; None draws it.

        Returns:
            The passage, its spans and its log-probability (of what was left to chance).
        """
        draw = self.draw
        draw.reset()
        layout = layout or draw.weighted(_LAYOUTS, _LAYOUT_WEIGHTS)
        kind = kind or draw.weighted(
            (Kind.NEUTRAL, Kind.EMOTIONAL, Kind.MIXED),
            (NEUTRAL_RATE, (1 - NEUTRAL_RATE) * (1 - MIXED_RATE), (1 - NEUTRAL_RATE) * MIXED_RATE),
        )
        person = self._person()
        domain = self.world.domains[draw.choose(tuple(self.world.domains))]
        used: set[str] = set()
        lines = [self._neutral(domain, used, first=True)]
        emotions: tuple[str, ...] = ()
        if kind is Kind.NEUTRAL:
            for _ in range(int(draw.choose((2, 3, 4)))):
                lines.append(self._neutral(domain, used, first=False))
            if draw.flip(REMARK_RATE):
                lines[-1] = self._remark()
        else:
            if draw.flip(0.5):
                lines.append(self._neutral(domain, used, first=False))
            first = self.world.emotions[emotion or draw.choose(self._names)]
            emotions = (first.name,)
            if kind is Kind.EMOTIONAL:
                lines += self._feeling(first, layout, "turns", int(draw.choose((1, 2, 3))))
            else:
                second = self.world.emotions[draw.choose([n for n in self._names if n != first.name])]
                emotions = (first.name, second.name)
                lines += self._feeling(first, layout, "turns", 1)
                lines += self._feeling(second, layout, "buts", 1)
        lines = [replace(line, own_name=i == 0 or draw.flip(0.15)) for i, line in enumerate(lines)]
        return self._lay_out(lines, person, kind, layout, emotions)

    def _lay_out(
        self, lines: list[Line], person: _Person, kind: Kind, layout: Layout, emotions: tuple[str, ...]
    ) -> Passage:
        en, zh = Language.EN, Language.ZH
        both = {Layout.EN_ZH: (en, zh), Layout.ZH_EN: (zh, en)}
        switch = {Layout.EN_TO_ZH: (en, zh), Layout.ZH_TO_EN: (zh, en)}
        if layout in both:
            plan = [(line, language) for language in both[layout] for line in lines]
        elif layout in switch:
            at = int(self.draw.choose(tuple(range(1, len(lines)))))
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
        logp = self.draw.shared + sum(self.draw.own[language] for language in languages)
        return Passage(text, kind, layout, emotions, tuple(spans), logp)


def _word(line: Line, person: _Person, language: Language, introduced: bool) -> tuple[str, bool]:
    """Put the person into a line and the line into a sentence; say whether the person was mentioned."""
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
        text = _SLOT.sub(en, line.en)
        at = 1 if text[0] == '"' else 0
        return text[:at] + text[at].upper() + text[at + 1 :] + ".", mentioned
    return _SLOT.sub(zh, line.zh) + ("" if line.zh.endswith("”") else "。"), mentioned


_ASKING = frozenset(
    {"what", "who", "how", "why", "is", "are", "can", "could", "did", "may", "will", "where", "left"}
)
_AFTER = (
    (Role.APPRAISAL, 0.18),
    (Role.BODY, 0.16),
    (Role.ACT, 0.16),
    (Role.SPEECH, 0.16),
    (Role.NAMED, 0.2),
    (Role.JUDGEMENT, 0.1),
    (Role.TEMPO, 0.04),
)
_LAYOUTS = tuple(Layout)
_LAYOUT_WEIGHTS = ((1 - BRIDGE_RATE) / 2,) * 2 + (BRIDGE_RATE / 4,) * 4
_REMARKS = (
    Frame(en="people at the {place} spoke about the [E], and it was [J]", zh="{place}的人说起了[E]，都说[J]"),
    Frame(en="the [E] in {city} was [J]", zh="{city}的[E][J]"),
    Frame(
        en="the newspaper wrote about the [E] in {month} and called it [J]", zh="报纸写到{month}的[E]，说[J]"
    ),
    Frame(en="in {city} the [E] was [J], said the {job}", zh="{job}说，{city}的[E][J]"),
)
_JUDGEMENTS = (
    Frame(en="it was all [J]", zh="这一切都[J]"),
    Frame(en="the whole {part} was [J]", zh="整个{part}都[J]"),
    Frame(en="the moment was [J]", zh="那一刻[J]"),
    Frame(en="it was as [J] as the [E]", zh="这和[E]一样，[J]"),
)
_NAMED_EN = {
    "noun": ("{N} felt [D] [W]", "[D] [W] filled {p} heart", "there was [D] [W] in {p} voice"),
    "adjective": ("{N} was [D] [W]", "{N} felt [D] [W]", "{N} looked [D] [W]"),
    "adverb": ("{N} looked around [W]", "{N} stood there [W]", "{N} spoke [W]"),
}
_NAMED_ZH = {
    "noun": ("{N}心里有[D][W]", "[D][W]涌上{P}的心头", "{P}的声音里有[D][W]"),
    "adjective": ("{N}[D][W]", "{N}感到[D][W]", "{N}看上去[D][W]"),
    "adverb": ("{N}[W]地看了看四周", "{N}[W]地站在那里", "{N}[W]地说着话"),
    "idiom": ("{N}[W]",),
}
