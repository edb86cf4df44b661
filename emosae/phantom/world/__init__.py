"""The planted world as data: 27 emotions, graded words and neutral things, in English and Chinese.

Every value that a stage of the pipeline may be asked to find again stands in the YAML files beside this
module. Valence and arousal are on the scale of the published means, 0 to 1.

Source: the order of the emotions' valence and arousal follows the mean ratings of Li et al.,
arXiv 2302.09582; the words' own values and everything else was written for this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Emotion", "Entry", "Frame", "Graded", "Language", "Word", "World", "load_world"]

_HERE = Path(__file__).resolve().parent


class Language(StrEnum):
    """The two languages of the phantom."""

    EN = "en"
    ZH = "zh"


LANGUAGES = (Language.EN, Language.ZH)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A sentence with slots, in both languages."""

    en: str
    zh: str

    def text(self, language: Language) -> str:
        """Return the frame in `language`."""
        return self.en if language is Language.EN else self.zh


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A neutral thing: what fills a slot."""

    en: str
    zh: str
    measure: str = ""

    def text(self, language: Language) -> str:
        """Return the name in `language`."""
        return self.en if language is Language.EN else self.zh


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """Something said, done or judged that has values of its own; `valence` is None where it has no say."""

    en: str
    zh: str
    valence: float | None
    arousal: float

    def text(self, language: Language) -> str:
        """Return the wording in `language`."""
        return self.en if language is Language.EN else self.zh


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word that names an emotion, with values of its own.

    `form` is noun, adjective or adverb; `sense` is "b" for the second half of an emotion that the language
    splits; `gradable` is False where no adverb of degree goes before the word.
    """

    text: str
    language: Language
    form: str
    valence: float
    arousal: float
    sense: str = ""
    gradable: bool = True
    complete: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Emotion:
    """One emotion: its planted values, its words and its sentences by role."""

    name: str
    label_zh: str
    valence: float
    arousal: float
    words: tuple[Word, ...]
    situations: tuple[Frame, ...]
    situations_b: tuple[Frame, ...]
    situations_zh_only: tuple[str, ...]
    specific_zh: Word | None
    appraisals: tuple[Frame, ...]
    acts: tuple[Frame, ...]
    speech: tuple[Frame, ...]
    body: tuple[Frame, ...]
    body_of: str


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Everything the grammar draws from."""

    emotions: dict[str, Emotion]
    slots: dict[str, tuple[Entry, ...]]
    domains: dict[str, tuple[Frame, ...]]
    openings: dict[str, tuple[Frame, ...]]
    graded: dict[str, tuple[Graded, ...]]


def _read(path: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, Loader=loader)


def _frame(line: str) -> Frame:
    en, zh = (part.strip() for part in line.split(" | "))
    return Frame(en=en, zh=zh)


def _frames(lines: list[str] | None) -> tuple[Frame, ...]:
    return tuple(_frame(line) for line in lines or ())


def _graded(line: str) -> Graded:
    text, valence, arousal = line.rsplit(" ", 2)
    en, zh = text.split("|")
    return Graded(en=en, zh=zh, valence=None if valence == "-" else float(valence), arousal=float(arousal))


def _entries(line: str) -> tuple[Entry, ...]:
    entries = []
    for item in line.split(";"):
        en, zh, *measure = item.strip().split("|")
        entries.append(Entry(en=en, zh=zh, measure=measure[0] if measure else ""))
    return tuple(entries)


def _word(text: str, language: Language, form: str, valence: float, arousal: float) -> Word:
    """Read "word dv da": a word and how far its values lie from its emotion's."""
    form, _, sense = form.partition("_")
    parts = text.rsplit(" ", 2)
    dv, da = 0.0, 0.0
    if len(parts) == 3 and parts[1].lstrip("-")[0].isdigit():
        text, dv, da = parts[0], float(parts[1]), float(parts[2])
    complete = text.endswith("!")
    text = text.rstrip("!")
    gradable = not complete and not (language is Language.ZH and form == "adjectives" and len(text) > 3)
    return Word(
        text=text,
        language=language,
        form=form.rstrip("s"),
        valence=round(min(1.0, max(0.0, valence + dv)), 4),
        arousal=round(min(1.0, max(0.0, arousal + da)), 4),
        sense=sense,
        gradable=gradable,
        complete=complete,
    )


def _emotion(data: dict[str, Any]) -> Emotion:
    valence, arousal = data["valence"], data["arousal"]
    words = tuple(
        _word(text, language, form, valence, arousal)
        for language in LANGUAGES
        for form, texts in data["words"][language.value].items()
        for text in texts
    )
    specific = data.get("specific_zh")
    return Emotion(
        name=data["name"],
        label_zh=data["label_zh"],
        valence=valence,
        arousal=arousal,
        words=words,
        situations=_frames(data["situations"]),
        situations_b=_frames(data.get("situations_b")),
        situations_zh_only=tuple(data.get("situations_specific_zh", ())),
        specific_zh=_word(specific, Language.ZH, "adjectives", valence, arousal) if specific else None,
        appraisals=_frames(data["appraisals"]),
        acts=_frames(data["acts"]),
        speech=_frames(data["speech"]),
        body=_frames(data.get("body")),
        body_of=data.get("body_of", ""),
    )


@cache
def load_world() -> World:
    """Read the world from its files, once.

    Returns:
        The world; emotions in alphabetical order.
    """
    emotions = {}
    for path in sorted((_HERE / "emotions").glob("*.yaml")):
        emotion = _emotion(_read(path))
        emotions[emotion.name] = emotion
    graded = {key: tuple(map(_graded, lines)) for key, lines in _read(_HERE / "graded" / "rest.yaml").items()}
    for key in ("adjectives", "events"):
        graded[key] = tuple(map(_graded, _read(_HERE / "graded" / f"{key}.yaml")))
    return World(
        emotions=emotions,
        slots={key: _entries(line) for key, line in _read(_HERE / "neutral" / "slots.yaml").items()},
        domains={key: _frames(lines) for key, lines in _read(_HERE / "neutral" / "domains.yaml").items()},
        openings={key: _frames(lines) for key, lines in _read(_HERE / "neutral" / "openings.yaml").items()},
        graded=graded,
    )
