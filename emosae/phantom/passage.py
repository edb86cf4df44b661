"""What a passage is made of: planned sentences, their places in the text, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from emosae.phantom.world import Language

__all__ = ["MARK", "Kind", "Layout", "Line", "Passage", "Role", "Span"]

MARK = "\u200b"
"""Stands between words while text is made; the tokenizer's training sees it, nobody else."""


class Role(StrEnum):
    """What a sentence does in its passage."""

    HEADING = "heading"
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
    QUESTION = "question"


class Kind(StrEnum):
    """What a passage feels; a drill is two sentences of one feeling, for a model's first lessons only."""

    NEUTRAL = "neutral"
    EMOTIONAL = "emotional"
    MIXED = "mixed"
    DRILL = "drill"


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
