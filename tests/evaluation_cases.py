"""A small study of steering on a tiny model: its openings, passages, settings, and a classifier that knows nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lens_cases import SITE

from emosae.concepts import load_concepts
from emosae.lens import Lens
from emosae.models import Site
from emosae.steering.config import SteeringConfig
from emosae.steering.evaluation import SteeringResult, study_steering

OPENINGS = {"en": ["Once w20", "my experience w21", "From w22"], "zh": ["w30 w31", "w32", "w33 w34 w35"]}
REPORTED = {"en": ["w40 w41", "Once w42"], "zh": ["w50", "w51 w52"]}
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 0.9, "max_new_tokens": 6}


def judge(texts: Sequence[str]) -> list[str | None]:
    """Call a text by the parity of its length; it knows nothing, and calls every text the same every time."""
    return [("joy", "fear", None)[len(text) % 3] for text in texts]


def write_passages(path: Path) -> Path:
    """Six passages of joy, fear and nothing in each of two languages."""
    rows = [
        {
            "concept": concept,
            "language": language,
            "text": f"w{20 + 3 * number + at} w{40 + at} w{60 + number}",
        }
        for language in ("en", "zh")
        for at, concept in enumerate(("joy", "fear", "neutral"))
        for number in range(6)
    ]
    path.write_text("\n".join(json.dumps(each) for each in rows))
    return path


def settings(passages: Path, **changes: Any) -> SteeringConfig:
    """Settings of a study of some seconds."""
    given: dict[str, Any] = {
        "emotions": ["joy", "fear"], "doses": [1.0, 2.0], "classifier": judge, "second_classifier": "lexicon",
        "decoding": SAMPLED, "prompts": OPENINGS, "report_prompts": REPORTED, "n_choose": 2, "n_report": 2,
        "instruction": {"en": "w70 {emotion} ", "zh": "w71 "}, "question": {"en": " w80", "zh": " w81"},
        "passages": str(passages), "n_passages": 4, "n_necessity": 2, "n_resamples": 50, "n_features": 3,
    }  # fmt: skip
    return SteeringConfig(**given | changes)


def run(lens: Lens, config: SteeringConfig) -> SteeringResult:
    """Run it."""
    concepts = load_concepts("ekman6").restrict(languages=["en", "zh"])
    where = Site.parse(SITE) if len(lens.saes) > 1 else next(iter(lens.saes))
    return study_steering(lens, where, config, concepts, words=None, neutral=None)  # type: ignore[arg-type]
