"""The schema of conf/concepts/: plain values, so that composing a configuration imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["ConceptKind", "ConceptsConfig", "LanguageWords"]


class ConceptKind(StrEnum):
    """What a set is for. Members are lower case because OmegaConf reads an Enum by its member's name."""

    emotion = "emotion"
    """Concepts to be found in a model."""
    control = "control"
    """Concepts without emotional color that go through the same pipeline."""
    neutral = "neutral"
    """Words of no concept, against which the words of concepts are told apart."""


@dataclass(kw_only=True, slots=True)
class LanguageWords:
    """The words of every concept in one language."""

    labels: dict[str, str] = field(default_factory=dict)
    """Concept to its name in this language; a concept left out is labelled with its key."""
    words: dict[str, list[str]] = field(default_factory=dict)
    """Concept to its words."""
    weights: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # OmegaConf refuses 2 where a float is declared
    """Concept to word to weight, a number above 0; a word left out weighs 1."""


@dataclass(kw_only=True, slots=True)
class ConceptsConfig:
    """One concept set, and the neutral and control sets that go with it."""

    name: str = "custom"
    """The set's name, for reports."""
    title: str = ""
    """The set's name as a heading."""
    description: str = ""
    """What the categories are."""
    source: str = ""
    """Where categories and words come from."""
    kind: ConceptKind = ConceptKind.emotion
    """What the set is for: emotion, control, neutral."""
    synonyms: dict[str, Any] = field(default_factory=dict)
    """Concept to the name, or a list of names, by which human data may call it, such as {nervousness: anxiety}."""
    languages: dict[str, LanguageWords] = field(default_factory=dict)
    """Language (ISO 639-1 code) to its words."""
    path: str | None = None
    """YAML, CSV or TSV file that holds the set, in place of `languages`; used with `concepts=custom`."""
    neutral: str | None = "neutral"
    """The set of neutral words, by name or file; None means none."""
    control: str | None = "control27"
    """The non-affective control set, by name or file; None means none."""
