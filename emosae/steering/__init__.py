"""Steering: exact clamps on the features of a running model, and a record of what they did.

The names are resolved when they are used, so that asking for one loads no more than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emosae.lazy import lazily

if TYPE_CHECKING:
    from emosae.steering.applied import Applied
    from emosae.steering.block import Steering, steer
    from emosae.steering.chosen import Chosen
    from emosae.steering.clamp import Clamp, Op, Unit
    from emosae.steering.hooks import prepare
    from emosae.steering.neuronpedia import from_neuronpedia, to_neuronpedia
    from emosae.steering.output_score import output_scores
    from emosae.steering.plan import ErrorTerm, Plan
    from emosae.steering.scope import Scope, ScopeKind
    from emosae.steering.stored import Calibration
    from emosae.steering.vectors import Directions, decoder_sum, diff_mean, directions, random_direction

_HOMES = {
    "Applied": "applied",
    "Calibration": "stored",
    "Chosen": "chosen",
    "Clamp": "clamp",
    "Directions": "vectors",
    "ErrorTerm": "plan",
    "Op": "clamp",
    "Plan": "plan",
    "Scope": "scope",
    "ScopeKind": "scope",
    "Steering": "block",
    "Unit": "clamp",
    "decoder_sum": "vectors",
    "diff_mean": "vectors",
    "directions": "vectors",
    "from_neuronpedia": "neuronpedia",
    "output_scores": "output_score",
    "prepare": "hooks",
    "random_direction": "vectors",
    "steer": "block",
    "to_neuronpedia": "neuronpedia",
}

__all__ = [
    "Applied",
    "Calibration",
    "Chosen",
    "Clamp",
    "Directions",
    "ErrorTerm",
    "Op",
    "Plan",
    "Scope",
    "ScopeKind",
    "Steering",
    "Unit",
    "decoder_sum",
    "diff_mean",
    "directions",
    "from_neuronpedia",
    "output_scores",
    "prepare",
    "random_direction",
    "steer",
    "to_neuronpedia",
]

__getattr__ = lazily(__name__, _HOMES)
