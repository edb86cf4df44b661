"""What a page asks for: read from JSON, checked against what there is, refused in a plain sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emosae.errors import UserError, unknown_name
from emosae.serve.config import ServeConfig
from emosae.steering.clamp import Clamp, Op, Unit
from emosae.steering.scope import ScopeKind

__all__ = ["SCOPES", "Added", "Wish"]

SCOPES = tuple(kind.value for kind in ScopeKind if kind not in (ScopeKind.POSITIONS, ScopeKind.MASK))
_DOSE = 100.0
_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A feature that was added by hand; the site says whose it is."""

    site: str
    feature: int
    op: str = Op.SET.value
    value: float | None = None
    unit: str = Unit.ACTIVATION.value
    only_if_active: bool = False

    def clamp(self, sae: Any) -> Clamp:
        """Give the clamp.

        Raises:
            UserError: The parts do not fit together.
        """
        value = None if self.op == Op.ABLATE else self.value
        return Clamp(self.feature, self.op, value, self.unit, self.only_if_active, sae)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One text to be written, and how it is steered.

    Attributes:
        prompt: What the model goes on from.
        emotions: Emotion to dose; those at 0 are left out.
        features: Features added by hand.
        op: What is done to the emotions' features.
        scope: Which tokens.
        language: The set that emotions' features come from where words choose them.
        new_tokens: Most tokens to write.
        sample: Draw each token; else take the likeliest.
        temperature: Of the drawing.
        seed: Of the drawing.
        skip_special: Leave special tokens; a plan that is read back may say otherwise.
        error: Keep or drop what the SAE does not explain; likewise.
    """

    prompt: str
    emotions: Mapping[str, float] = field(default_factory=dict)
    features: tuple[Added, ...] = ()
    op: str = "set"
    scope: str = "generated"
    language: str = "universal"
    new_tokens: int = 40
    sample: bool = False
    temperature: float = 0.8
    seed: int = 0
    skip_special: bool = True
    error: str = "keep"

    @classmethod
    def parse(cls, plain: Any, limits: ServeConfig) -> Wish:
        """Read what a page sent.

        Args:
            plain: The JSON.
            limits: What is too much.

        Raises:
            UserError: A part is missing, of the wrong kind, or too large.
        """
        if not isinstance(plain, Mapping):
            raise UserError(
                f"What is asked for must be an object, got {type(plain).__name__}. Use the desk's page."
            )
        unknown = set(plain) - set(cls.__dataclass_fields__)
        if unknown:
            raise unknown_name("part of a wish", min(map(str, unknown)), cls.__dataclass_fields__)
        prompt = plain.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            raise UserError(
                "There must be a prompt, got none. Write a few words for the model to go on from."
            )
        if len(prompt) > limits.prompt_characters:
            raise UserError(
                f"A prompt must have at most {limits.prompt_characters} characters, got {len(prompt)}. Shorten it, or "
                "start the desk with a larger serve.prompt_characters."
            )
        if any("\ud800" <= letter <= "\udfff" for letter in prompt):
            raise UserError("A prompt must be valid Unicode, got half of a surrogate pair. Type it anew.")
        features = plain.get("features", [])
        if not isinstance(features, list):
            raise UserError(f"Features must be a list, got {type(features).__name__}. Use the desk's page.")
        if len(features) > limits.features:
            raise UserError(
                f"At most {limits.features} features can be added, got {len(features)}. Take some away, or start the "
                "desk with a larger serve.features."
            )
        scope = plain.get("scope", "generated")
        if scope not in SCOPES:
            raise unknown_name("scope on the desk", str(scope), SCOPES)
        return cls(
            prompt=prompt,
            emotions=_doses(plain.get("emotions", {})),
            features=tuple(_added(each) for each in features),
            op=_text(plain, "op", "set"),
            scope=scope,
            language=_text(plain, "language", "universal"),
            new_tokens=int(_number(plain, "new_tokens", 40, 1, limits.new_tokens, whole=True)),
            sample=_truth(plain, "sample", False),
            temperature=_number(plain, "temperature", 0.8, 0.01, 10),
            seed=int(_number(plain, "seed", 0, 0, _SEED, whole=True)),
            skip_special=_truth(plain, "skip_special", True),
            error=_text(plain, "error", "keep"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that `parse` reads back."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        features = [
            {name: getattr(each, name) for name in Added.__dataclass_fields__} for each in self.features
        ]
        return plain | {"emotions": dict(self.emotions), "features": features}


def _doses(plain: Any) -> dict[str, float]:
    if not isinstance(plain, Mapping) or not all(isinstance(name, str) for name in plain):
        raise UserError("Emotions must be names with doses. Use the sliders of the desk's page.")
    doses = {name: _number(plain, name, 0.0, 0.0, _DOSE) for name in plain}
    return {name: dose for name, dose in doses.items() if dose > 0}


def _added(plain: Any) -> Added:
    if not isinstance(plain, Mapping) or set(plain) - set(Added.__dataclass_fields__):
        raise UserError(
            f"A feature must have {', '.join(Added.__dataclass_fields__)}, got {str(plain)[:80]}."
        )
    value = plain.get("value")
    added = Added(
        site=_text(plain, "site", ""),
        feature=int(_number(plain, "feature", math.nan, 0, 2**31, whole=True)),
        op=_text(plain, "op", "set"),
        value=None if value is None else _number(plain, "value", 0.0, -1e9, 1e9),
        unit=_text(plain, "unit", "activation"),
        only_if_active=_truth(plain, "only_if_active", False),
    )
    added.clamp(None)  # whether the parts fit together
    return added


def _number(
    plain: Mapping[str, Any], name: str, default: float, low: float, high: float, *, whole: bool = False
) -> float:
    value = plain.get(name, default)
    right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not right or not low <= value <= high or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        shown = name.replace("_", " ")
        raise UserError(
            f"The {shown} must be {kind} from {low:g} to {high:g}, got {str(value)[:40]!r}. Change it."
        )
    return float(value)


def _text(plain: Mapping[str, Any], name: str, default: str) -> str:
    value = plain.get(name, default)
    if not isinstance(value, str) or len(value) > 200:
        raise UserError(f"The {name} must be a short text, got {str(value)[:40]!r}. Use the desk's page.")
    return value


def _truth(plain: Mapping[str, Any], name: str, default: bool) -> bool:
    value = plain.get(name, default)
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false, got {str(value)[:40]!r}. Use the desk's page.")
    return value
