"""The values of conf/steering/: default site, doses to try, prompts, decoding, classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from emosae.errors import UserError, unknown_name
from emosae.paths import conf_dir
from emosae.steering.config import SteeringConfig

__all__ = ["SteeringSettings", "steering_settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SteeringSettings:
    """How emotions are steered and doses calibrated.

    Attributes:
        site: Where, if a lens has several sites; None means that the caller says.
        corpus: The corpus that doses are measured on; None takes the only one there is.
        doses: The doses that calibration tries, increasing.
        classifier: `lexicon`, `phantom`, or the name of a Hugging Face text-classification model.
        decoding: Options of `generate`.
        prompts: Language -> neutral openings, for calibration alone.
    """

    site: str | None
    corpus: str | None
    doses: tuple[float, ...]
    classifier: str
    decoding: Mapping[str, Any]
    prompts: Mapping[str, Sequence[str]]

    def prompts_in(self, language: str) -> list[str]:
        """Give the openings of one language.

        Raises:
            UserError: There are none.
        """
        if language not in self.prompts:
            raise unknown_name(
                "language with prompts of its own",
                language,
                self.prompts,
                "Give prompts={language: [texts]}.",
            )
        return list(self.prompts[language])


@cache
def steering_settings(name: str = "default") -> SteeringSettings:
    """Read the settings of a preset, or the default ones where it has none of its own.

    Args:
        name: The preset's name.

    Raises:
        UserError: The file has a key that is none of the settings.

    Example:
        >>> steering_settings("phantom").classifier
        'phantom'
    """
    values = _read(conf_dir() / "steering" / "default.yaml")
    own = conf_dir() / "steering" / f"{Path(name).name}.yaml"
    if own.is_file():
        values |= _read(own)
    mine = {field.name: values[field.name] for field in fields(SteeringSettings)}
    return SteeringSettings(**mine | {"doses": tuple(map(float, values["doses"]))})


def _read(path: Path) -> dict[str, Any]:
    import yaml

    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    known = [field.name for field in fields(SteeringConfig)]
    if not isinstance(values, dict):
        raise UserError(
            f"{path} must hold settings of steering, got {type(values).__name__}. See default.yaml."
        )
    values.pop("defaults", None)  # Hydra's own: which file it goes on from
    for key in values:
        if key not in known:
            raise unknown_name(f"setting in {path.name}", str(key), known)
    return values
