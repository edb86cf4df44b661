"""The sentences of a passage, each planned in both languages at once, by the role that it plays."""

from __future__ import annotations

from emosae.phantom.draw import Draw
from emosae.phantom.frames import (
    ASKING,
    EXCLAIMING,
    HEADING_SLOTS,
    JUDGEMENTS,
    NAMED_EN,
    NAMED_ZH,
    QUESTIONS,
    REMARKS,
    fill,
)
from emosae.phantom.passage import MARK, Layout, Line, Role
from emosae.phantom.world import Emotion, Entry, Frame, Language, Word, World

__all__ = ["Sentences"]


class Sentences:
    """Plans sentences from a world; `draw` is the only source of chance."""

    def __init__(self, world: World, draw: Draw) -> None:
        self.world = world
        self.draw = draw

    def _fill(self, frame: Frame) -> tuple[str, str]:
        return fill(frame, self.world, self.draw)

    def heading(self, emotion: Emotion | None) -> Line:
        """A word in front of a passage: of its emotion, of like values, or a neutral thing.

        A word alone at the beginning tells what is to come, so that a model learns to read it there.
        """
        draw = self.draw
        if emotion is None:
            entry = draw.choose(self.world.slots[draw.choose(HEADING_SLOTS)])
            return Line(Role.HEADING, "", entry.en, entry.zh)
        which = draw.weighted(("word", "adjectives", "events"), (0.5, 0.25, 0.25))
        if which != "word":
            item = draw.graded(self.world.graded[which], emotion.valence, emotion.arousal)
            return Line(Role.HEADING, emotion.name, item.en, item.zh)
        en, zh = (
            draw.choose(
                [w for w in emotion.words if w.language is language and w.form != "adverb"], language
            ).text
            for language in Language
        )
        return Line(Role.HEADING, emotion.name, en, zh, named=True)

    def neutral(
        self, domain: tuple[Frame, ...], used: set[str], told: dict[str, list[Entry]], first: bool
    ) -> Line:
        """A sentence of a domain that was not used yet, often of things told before, perhaps with the time."""
        options = [frame for frame in domain if frame.en not in used]
        frame = self.draw.choose(options)
        used.add(frame.en)
        en, zh = fill(frame, self.world, self.draw, told)
        if first and self.draw.flip(0.6):
            when_en, when_zh = self._fill(self.draw.choose(self.world.openings["times"]))
            en, zh = f"{when_en}, {en}", f"{when_zh}，{zh}"
        return Line(Role.NEUTRAL, "", en, zh)

    def _judgements(self, valence: float, arousal: float) -> tuple[str, str]:
        """One adjective of judgement, or two that agree."""
        adjectives = self.world.graded["adjectives"]
        first = self.draw.graded(adjectives, valence, arousal)
        if self.draw.flip(0.5):
            assert first.valence is not None
            second = self.draw.graded(adjectives, first.valence, first.arousal)
            if second is not first:
                return (
                    f"{MARK}{first.en}{MARK} and {MARK}{second.en}{MARK}",
                    f"很{MARK}{first.zh}{MARK}，也很{MARK}{second.zh}{MARK}",
                )
        return f"{MARK}{first.en}{MARK}", f"很{MARK}{first.zh}{MARK}"

    def remark(self) -> Line:
        """A neutral passage's talk about something that happened: where graded words are learnt."""
        event = self.draw.choose(self.world.graded["events"])
        assert event.valence is not None
        frame = self.draw.choose(REMARKS)
        en, zh = self._fill(frame)
        judged_en, judged_zh = self._judgements(event.valence, event.arousal)
        en = en.replace("[E]", f"{MARK}{event.en}{MARK}").replace("[J]", judged_en)
        zh = zh.replace("[E]", f"{MARK}{event.zh}{MARK}").replace("[J]", judged_zh)
        if self.draw.flip(0.25):
            tempo = self.draw.graded(self.world.graded["tempo"], 0.5, event.arousal)
            en, zh = f"{en}, and {tempo.en}", f"{zh}，{tempo.zh}"
        return Line(Role.REMARK, "", en, zh)

    def judgement(self, emotion: Emotion) -> Line:
        """A judgement that goes with the emotion, of the moment or beside an event."""
        frame = self.draw.choose(JUDGEMENTS)
        en, zh = self._fill(frame)
        if "[E]" in en:
            event = self.draw.graded(self.world.graded["events"], emotion.valence, emotion.arousal)
            assert event.valence is not None
            judged = self._judgements(event.valence, event.arousal)
            en, zh = (
                en.replace("[E]", f"{MARK}{event.en}{MARK}"),
                zh.replace("[E]", f"{MARK}{event.zh}{MARK}"),
            )
        else:
            judged = self._judgements(emotion.valence, emotion.arousal)
        return Line(Role.JUDGEMENT, emotion.name, en.replace("[J]", judged[0]), zh.replace("[J]", judged[1]))

    def _tail(self, valence: float, arousal: float) -> tuple[str, str]:
        if not self.draw.flip(0.5):
            return "", ""
        tail = self.draw.graded(self.world.graded["tail"], valence, arousal)
        return f", and {tail.en}", f"，{tail.zh}"

    def named(self, emotion: Emotion, sense: str) -> Line:
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
        en_frame = NAMED_EN[form][int(draw.choose((0, 1, 2)))]
        zh_frame = NAMED_ZH[form if zh_word.gradable or form == "adverb" else "idiom"]
        zh_text = zh_frame[int(draw.choose((0, 1, 2), Language.ZH)) % len(zh_frame)]
        degrees = self.world.graded["degrees_noun" if form == "noun" else "degrees_adjective"]
        en, zh = (
            en_frame.replace("[W]", f"{MARK}{en_word.text}{MARK}"),
            zh_text.replace("[W]", f"{MARK}{zh_word.text}{MARK}"),
        )
        if "[D]" in en:
            degree = draw.graded(degrees, 0.5, en_word.arousal, Language.EN).en
            en = en.replace("[D]", f"{MARK}{degree}{MARK}")
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
        return Line(Role.NAMED, emotion.name, en + tail_en, zh + tail_zh, named=True)

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

    def speech(self, emotion: Emotion) -> Line:
        """Something said aloud, in a way that goes with the emotion."""
        frame = self.draw.choose(emotion.speech)
        en, zh = self._fill(frame)
        say = self.draw.graded(self.world.graded["say"], emotion.valence, emotion.arousal)
        loud = self.draw.flip(0.1 + 0.8 * emotion.arousal)
        asks = frame.en.split()[0].rstrip(",") in ASKING and not frame.en.startswith(EXCLAIMING)
        question = asks or frame.zh.endswith(("吗", "呢"))
        en_end, zh_end = ("?", "？") if question else ("!", "！") if loud else (",", "。")
        en = en[0].upper() + en[1:]
        return Line(
            Role.SPEECH,
            emotion.name,
            f'"{en}{en_end}" {{N}}{MARK} {say.en}',
            f"{{N}}{MARK}{say.zh}{MARK}：“{zh}{zh_end}”",
        )

    def appraisal(self, emotion: Emotion) -> Line:
        """What the person makes of the situation."""
        en, zh = self._fill(self.draw.choose(emotion.appraisals))
        return Line(Role.APPRAISAL, emotion.name, en, zh)

    def body(self, emotion: Emotion) -> Line:
        """A bodily sign: the emotion's own or one that goes with its values."""
        own = self.world.emotions[emotion.body_of].body if emotion.body_of else emotion.body
        if self.draw.flip(0.5):
            en, zh = self._fill(self.draw.choose(own))
        else:
            sign = self.draw.graded(self.world.graded["body"], emotion.valence, emotion.arousal)
            en, zh = sign.en.strip('"'), sign.zh.strip('"')
        return Line(Role.BODY, emotion.name, en, zh)

    def act(self, emotion: Emotion) -> Line:
        """What the person does: mostly the emotion's own act, else a manner that fits its arousal."""
        if self.draw.flip(0.75):
            en, zh = self._fill(self.draw.choose(emotion.acts))
        else:
            manner = self.draw.graded(self.world.graded["manner"], 0.5, emotion.arousal)
            en, zh = f"{{N}} {manner.en}", f"{{N}}{manner.zh}"
        return Line(Role.ACT, emotion.name, en, zh)

    def tempo(self, emotion: Emotion) -> Line:
        """How fast it all went, by the emotion's arousal."""
        tempo = self.draw.graded(self.world.graded["tempo"], 0.5, emotion.arousal)
        return Line(Role.TEMPO, emotion.name, tempo.en, tempo.zh)

    def question(self, emotion: Emotion, sense: str) -> Line:
        """A question after the feeling and its answer, the word."""
        draw = self.draw
        frame = draw.choose(QUESTIONS)
        zh_sense = "b" if sense == "b" else ""
        en = draw.choose(self._words(emotion, Language.EN, "noun", ""), Language.EN).text
        zh = draw.choose(self._words(emotion, Language.ZH, "noun", zh_sense), Language.ZH).text
        return Line(
            Role.QUESTION,
            emotion.name,
            frame.en.replace("[W]", f"{MARK}{en}{MARK}"),
            frame.zh.replace("[W]", f"{MARK}{zh}{MARK}"),
            named=True,
        )

    def situation(self, emotion: Emotion, layout: Layout, turn: str) -> tuple[Line, str]:
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
        return Line(Role.SITUATION, emotion.name, en, zh), sense
