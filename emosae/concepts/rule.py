"""Which associations with an emotion's name become words of the emotion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from emosae.concepts.associations import Responses
from emosae.errors import UserError

__all__ = ["AssociationRule", "Direction", "Multiword", "Shared"]


class Direction(StrEnum):
    """Which way an association goes."""

    forward = "forward"
    """From the emotion's name to the word: what *joy* brings to mind."""
    backward = "backward"
    """From the word to the emotion's name: what brings *joy* to mind."""
    both = "both"
    """The mean of the two, 0 where there is none."""


class Multiword(StrEnum):
    """What becomes of a response of several words."""

    drop = "drop"
    keep = "keep"


class Shared(StrEnum):
    """What becomes of a word that several concepts claim."""

    all = "all"
    """It stands for each of them, and selection takes it as nobody's negative."""
    strongest = "strongest"
    """It stands for the concept that it names, else for the one that it is tied to most strongly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AssociationRule:
    """Which associations become words."""

    responses: Responses | None = None
    """First responses (R1) or all three (R123); None means R123, or what a file of strengths counts."""
    direction: Direction = Direction.both
    """Which way."""
    min_strength: float = 0.01
    """Least strength in the direction chosen, above 0 and at most 1."""
    min_count: int = 2
    """Least number of participants, in the direction chosen; where a file gives none, it is not asked for."""
    max_words: int = 20
    """Most words of a concept in a language, its name included; the strongest are kept."""
    multiword: Multiword = Multiword.drop
    """Responses of several words."""
    shared: Shared = Shared.all
    """Words that several concepts claim."""
    keep_label: bool = True
    """Whether the emotion's own name is among its words; it weighs as much as its strongest word."""

    def __post_init__(self) -> None:
        if not 0 < self.min_strength <= 1:
            raise UserError(
                f"min_strength must be above 0 and at most 1, got {self.min_strength!r}. The default is 0.01."
            )
        for name in ("min_count", "max_words"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)!r}. Raise it.")
