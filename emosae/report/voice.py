"""What the model is held beside: people, or for the embedded model the world that was planted in it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PEOPLE", "PLANTED", "Voice"]


@dataclass(frozen=True, slots=True)
class Voice:
    """Words for the data of comparison, so that planted numbers are never called people's.

    Attributes:
        who: Who or what is compared with.
        judgements: Their similarity judgements.
        ratings: Their ratings of words and concepts.
        map: Their emotion map.
    """

    who: str
    judgements: str
    ratings: str
    map: str


PEOPLE = Voice("people", "people's judgements", "people's ratings", "people's map")
PLANTED = Voice("the planted truth", "the planted distances", "the planted ratings", "the planted map")
