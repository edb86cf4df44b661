"""Does steering work? Doses, methods side by side, transfer across languages, and what is lost without an emotion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.steering.evaluation.result import SteeringResult
    from emosae.steering.evaluation.study import study_steering

_HOMES = {"SteeringResult": "result", "study_steering": "study"}

__all__ = ["SteeringResult", "study_steering"]

__getattr__ = lazily(__name__, _HOMES)
