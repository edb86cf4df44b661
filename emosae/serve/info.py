"""What the page is told at the beginning: the model, its emotions, the choices and the limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.serve.python import PLAN_FILE
from emosae.serve.wish import SCOPES
from emosae.steering.clamp import Clamp, Op, Unit
from emosae.steering.emotions import read_op
from emosae.steering.words import concepts_of

if TYPE_CHECKING:
    from emosae.serve.desk import Desk

__all__ = ["describe"]


def describe(desk: Desk, *, has_browser: bool) -> dict[str, Any]:
    """Describe a desk in plain values."""
    lens, config, planner = desk.lens, desk.config, desk.planner
    steering, limits = config.steering, config.serve
    drawn = steering.decoding
    openings = {**steering.prompts, **steering.report_prompts}
    first = next((texts[0] for name in lens.languages if (texts := openings.get(name))), "Once")
    return {
        "name": lens.name,
        "phantom": config.preset == "phantom",
        "site": str(planner.site),
        "saes": [
            {
                "site": str(site),
                "name": sae.name,
                "features": sae.d_sae,
                "fingerprint": sae.fingerprint,
                "maxima": not planner.why_no_dose(site),
            }
            for site, sae in lens.saes.items()
        ],
        "emotions": planner.emotions(),
        "concepts": concepts_of(lens).name,
        "shipped": sorted(planner.sets),
        "why_not": planner.why_no_dose(planner.site),
        "languages": planner.languages(),
        "ops": _ops(),
        "units": _units(),
        "no_value": Op.ABLATE.value,
        "scopes": list(SCOPES),
        "file": PLAN_FILE,
        "browser": has_browser,
        "limits": {
            "prompt_characters": limits.prompt_characters,
            "new_tokens": limits.new_tokens,
            "features": limits.features,
            "dose": max(3.0, *steering.doses),
        },
        "start": {
            "prompt": first,
            "op": steering.op,
            "scope": steering.scope if steering.scope in SCOPES else SCOPES[0],
            "language": planner.languages()[0],
            "new_tokens": min(limits.new_tokens, int(drawn.get("max_new_tokens", 40))),
            "sample": bool(drawn.get("do_sample", False)),
            "temperature": float(drawn.get("temperature", 1.0)),
            "seed": 0,
        },
    }


def _ops() -> list[str]:
    """The operations on emotions' features."""
    return [op.value for op in Op if _works(read_op, op.value)]


def _units() -> dict[str, list[str]]:
    """The units that go with each operation on a single feature."""
    value = {op: None if op is Op.ABLATE else 1.0 for op in Op}
    return {op.value: [unit.value for unit in Unit if _works(Clamp, 0, op, value[op], unit)] for op in Op}


def _works(make: Callable[..., Any], *given: Any) -> bool:
    try:
        make(*given)
    except UserError:
        return False
    return True
