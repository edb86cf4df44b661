"""Calibrations: what was found, and where it is kept so that `Lens.steer` finds it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emosae.artifacts import read_json, write_json
from emosae.errors import MissingFileError, UserError
from emosae.paths import cache_root

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site

__all__ = ["Calibration", "calibration_path", "find_calibration", "save_calibration"]

_FORMAT = "emosae-calibration/1"

TABLE_SCHEMA = {
    "language": pl.String,
    "dose": pl.Float64,
    "concept": pl.Float64,
    "content": pl.Float64,
    "fluency": pl.Float64,
    "score": pl.Float64,
    "perplexity_ratio": pl.Float64,
    "distinct_2_ratio": pl.Float64,
    "repeated_4": pl.Float64,
    "sample": pl.String,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Calibration:
    """The dose that steers a concept best, and how it was found.

    Attributes:
        concept: The concept.
        dose: The dose with the best score, in units that mean the same everywhere (`emosae.steering.dose`).
        score: Harmonic mean of concept, content and fluency at that dose.
        stable: Least and greatest dose of the run of tried doses around the best in which the concept's rate is more
            than 0.8 of its best and every bound of fluency holds; None if not even the best dose is in one.
        table: A line a language and dose, dose 0 being unsteered text, and of language `all` their means: concept
            (share of texts that the classifier calls so), content, fluency, score, perplexity_ratio, distinct_2_ratio,
            repeated_4, sample.
        site: Where.
        op: What is done to the features.
        scope: Which tokens.
        classifier: What told the concept.
        content: What told the content, and what it gives for texts that have nothing to do with each other.
        n_texts: Texts for each dose.
        seed: Seed of the decoding.
    """

    concept: str
    dose: float
    score: float
    stable: tuple[float, float] | None
    table: pl.DataFrame
    site: str
    op: str
    scope: str
    classifier: str
    content: str
    n_texts: int
    seed: int

    def __str__(self) -> str:
        stable = (
            "no stable range"
            if self.stable is None
            else f"stable from {self.stable[0]:g} to {self.stable[1]:g}"
        )
        best = self.table.filter((pl.col("language") == "all") & (pl.col("dose") == self.dose)).row(
            0, named=True
        )
        return (
            f"{self.concept}: dose {self.dose:g} at {self.site} ({self.op}, {self.scope}), score {self.score:.2f} "
            f"(concept {best['concept']:.2f} by {self.classifier}, content {best['content']:.2f}, fluency "
            f"{best['fluency']:.2f}), {stable}, on {self.n_texts} texts a dose"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, for JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "table"}
        return {"format": _FORMAT, **plain, "table": self.table.to_dicts()}

    @classmethod
    def from_dict(cls, plain: Any) -> Calibration:
        """Read back what `to_dict` gave.

        Raises:
            UserError: It is something else.
        """
        if not isinstance(plain, Mapping) or plain.get("format") != _FORMAT:
            raise UserError(f"A calibration must say format {_FORMAT!r}. Calibrate anew with lens.calibrate.")
        try:
            values = {name: plain[name] for name in cls.__dataclass_fields__}
        except KeyError as error:
            raise UserError(f"The calibration lacks {error}. Calibrate anew with lens.calibrate.") from error
        values["table"] = pl.DataFrame(values["table"], schema=TABLE_SCHEMA)
        values["stable"] = None if values["stable"] is None else tuple(values["stable"])
        return cls(**values)


def calibration_path(
    lens: Lens, concept: str, site: Site, op: str, scope: str, targets: Mapping[int, float]
) -> Path:
    """Name the file of a calibration after what it holds for: model, SAE, operation, scope, targets."""
    what = {
        "model": lens.model_id(),
        "sae": lens.saes[site].fingerprint,
        "op": str(op),
        "scope": scope,
        "targets": [[feature, f"{targets[feature]:.5g}"] for feature in sorted(targets)],
    }
    key = hashlib.blake2b(json.dumps(what, sort_keys=True).encode(), digest_size=8).hexdigest()
    safe = "".join(letter if letter.isalnum() else "-" for letter in concept)
    return cache_root() / "steering" / f"{safe}-{key}.json"


def save_calibration(lens: Lens, site: Site, targets: Mapping[int, float], calibration: Calibration) -> Path:
    """Keep a calibration in the cache, in place of an earlier one of the same features."""
    path = calibration_path(lens, calibration.concept, site, calibration.op, calibration.scope, targets)
    write_json(path, calibration.to_dict())
    return path


def find_calibration(
    lens: Lens, concept: str, site: Site, op: str, scope: str, targets: Mapping[int, float]
) -> Calibration:
    """Find the calibration of a concept's features.

    Raises:
        MissingFileError: These features were not calibrated.
    """
    path = calibration_path(lens, concept, site, op, scope, targets)
    if not path.is_file():
        raise MissingFileError(
            f"The dose of {concept!r} was not calibrated for these features at {site} in the scope {scope!r}. Call "
            f"lens.calibrate({concept!r}, site={str(site)!r}) with the same options first, or give a dose, as in "
            f"{{{concept!r}: 1.0}}."
        )
    return Calibration.from_dict(read_json(path))
