"""The settings of conf/steering/: where and how emotions are steered, doses, prompts, and the evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emosae.errors import UserError

__all__ = ["SteeringConfig"]


@dataclass(kw_only=True, slots=True)
class SteeringConfig:
    """How emotions are steered, doses calibrated, and steering evaluated."""

    site: str | None = None
    """Where emotions are steered if there are several sites; None takes the only one."""
    corpus: str | None = None
    """The statistics that doses are measured by; None takes the only ones there are."""
    doses: list[float] = field(default_factory=lambda: [0.5, 1.0, 2.0])
    """The doses that are tried."""
    classifier: str = "lexicon"
    """What tells an emotion: lexicon, phantom, norms, or a Hugging Face text-classification model."""
    second_classifier: str = "norms"
    """Another one, reported beside it; doses are chosen by the first."""
    decoding: dict[str, Any] = field(default_factory=dict)
    """Options of `generate`, the same for every text; with do_sample: temperature, top_p, top_k."""
    prompts: dict[str, list[str]] = field(default_factory=dict)
    """Language to neutral openings on which features and doses are chosen; never reported."""
    report_prompts: dict[str, list[str]] = field(default_factory=dict)
    """Language to the neutral openings that are reported."""
    instruction: dict[str, str] = field(default_factory=dict)
    """Language to what stands before an opening where the prompt asks for {emotion}."""
    question: dict[str, str] = field(default_factory=dict)
    """Language to what stands after a passage so that the model names its emotion next."""
    emotions: list[str] = field(default_factory=list)
    """Emotions that are steered; empty means all of the concept set."""
    n_choose: int = 4
    """Openings of each language that doses are chosen on."""
    n_report: int = 8
    """Openings of each language that are reported."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of the decoding; each opening is continued once for each."""
    n_features: int = 8
    """Most features of each emotion."""
    op: str = "set"
    """How the evaluation holds features at their targets: set, at_least (which leaves alone what fires more) or add."""
    scope: str = "generated"
    """Which tokens are steered: generated, from_last_prompt_token, all, prompt."""
    passages: str | None = None
    """Passages that carry an emotion: phantom (its grammar), or a .jsonl, .csv or .parquet file with concept,
    language and text. None leaves out what needs them, and DiffMean reads the concepts' words."""
    n_passages: int = 20
    """Passages of each emotion and language that features and directions are made of."""
    n_necessity: int = 8
    """Other passages of each emotion and language, in which features are ablated."""
    transfer: bool = True
    """Whether features of one language are clamped while the model writes another."""
    n_resamples: int = 1000
    """Resamples of the prompts behind each interval."""
    batch_rows: int = 128
    """Texts that are written at once."""

    def __post_init__(self) -> None:
        if not self.doses or any(not dose > 0 for dose in self.doses):
            raise UserError(
                f"steering.doses must be numbers above 0, got {self.doses!r}. Give e.g. [0.5,1,2]."
            )
        self.doses = sorted({float(dose) for dose in self.doses})
        if self.op not in ("set", "at_least", "add"):
            raise UserError(f"steering.op must be set, at_least or add, got {self.op!r}. Give one of these.")
        if not self.seeds:
            raise UserError("steering.seeds must hold at least one number, got none. Give e.g. [0].")
        for name in (
            "n_choose",
            "n_report",
            "n_features",
            "n_passages",
            "n_necessity",
            "n_resamples",
            "batch_rows",
        ):
            if getattr(self, name) < 1:
                raise UserError(
                    f"steering.{name} must be at least 1, got {getattr(self, name)!r}. Leave it out for the default."
                )
