"""What a lens steers by: the concepts, their doses and features, and how these were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from emosae.steering.choice import CHOICE_SCHEMA

__all__ = ["Chosen"]

FEATURE_SCHEMA = {"row": pl.Int64, **CHOICE_SCHEMA, "target": pl.Float64}
DOSE_SCHEMA = {
    "row": pl.Int64,
    "concept": pl.String,
    "dose": pl.Float64,
    "push": pl.Float64,
    "how": pl.String,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chosen:
    """What a lens steers by; beside it `Applied.plan` has the clamps themselves.

    Attributes:
        site: Where.
        sae: The SAE whose features these are.
        language: The feature set: `universal`, a language, …
        languages: The languages whose words chose it.
        op: What is done to the features.
        scope: Which tokens; for positions or a mask, its kind.
        corpus: The corpus that doses are measured on; None where targets were given and there is none.
        residual_norm: Median norm of the residual there; dose 1 pushes by half of it. None likewise.
        doses: A line a row of the batch and concept: row, concept, dose, push (norm, in the residual's units), how.
        features: A line a feature of each: row, concept, feature, auroc, p_adjusted, significant, output_score, target
            (absolute, this concept's part where several share a feature).
    """

    site: str
    sae: str
    language: str
    languages: tuple[str, ...]
    op: str
    scope: str
    corpus: str | None
    residual_norm: float | None
    doses: pl.DataFrame
    features: pl.DataFrame

    def __str__(self) -> str:
        return "\n".join([f"{self.op} at {self.site} ({self.sae}), scope {self.scope}:", *self._lines()])

    def _lines(self) -> Sequence[str]:
        lines = []
        for row, concept, dose, push, how in self.doses.iter_rows():
            own = self.features.filter((pl.col("row") == row) & (pl.col("concept") == concept))
            targets = ", ".join(
                f"{feature}={target:.3g}" for feature, target in own.select("feature", "target").rows()
            )
            where = f" in row {row}" if self.doses["row"].n_unique() > 1 else ""
            share = f", {push / self.residual_norm:.2f} residual norms" if push and self.residual_norm else ""
            lines.append(f"  {concept} at dose {dose:g}{where}{share}: {targets}. {how}")
        return lines
