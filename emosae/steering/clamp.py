"""A clamp: what is wanted of one feature."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError, unknown_name

if TYPE_CHECKING:
    from emosae.models import Site
    from emosae.saes import SparseAutoencoder

__all__ = ["Clamp", "Op", "Unit", "absolute"]


class Op(StrEnum):
    """What is done to a feature's activation."""

    SET = "set"
    ADD = "add"
    SCALE = "scale"
    ABLATE = "ablate"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"


class Unit(StrEnum):
    """What a clamp's value is counted in."""

    ACTIVATION = "activation"
    MAX = "max"
    NORM = "norm"


_UNITS = {
    Op.SET: (Unit.ACTIVATION, Unit.MAX),
    Op.ADD: (Unit.ACTIVATION, Unit.MAX, Unit.NORM),
    Op.SCALE: (Unit.ACTIVATION,),
    Op.ABLATE: (Unit.ACTIVATION,),
    Op.AT_LEAST: (Unit.ACTIVATION, Unit.MAX),
    Op.AT_MOST: (Unit.ACTIVATION, Unit.MAX),
}


@dataclass(frozen=True, slots=True)
class Clamp:
    """What is wanted of one feature.

    Attributes:
        feature: The feature's number in its SAE.
        op: `set` it to the value, `add` the value, `scale` by the value, `ablate` (set to 0), hold it
            `at_least` or `at_most` at the value.
        value: The number that goes with the operation: an activation, or a factor for `scale`; none for
            `ablate`.
        unit: What the value is counted in. `activation`: as the SAE gives it. `max`: multiples of the
            feature's maximum on running text (`emosae.saes.find_stats`). `norm`, for `add` only: the push is
            that multiple of the norm of the activation it is added to.
        only_if_active: Leave tokens on which the feature is 0.
        sae: Which SAE's feature it is, where several are given: the SAE itself, its name or fingerprint, or
            the site it reads. None means the only one there is.

    Raises:
        UserError: The parts do not fit together, or the value is no finite number.

    Example:
        >>> Clamp(12, "set", 8.0).op
        <Op.SET: 'set'>
    """

    feature: int
    op: Op | str = Op.SET
    value: float | None = None
    unit: Unit | str = Unit.ACTIVATION
    only_if_active: bool = False
    sae: SparseAutoencoder | Site | str | None = None

    def _repr_html_(self) -> str:
        from emosae.notebook import clamp_html

        return clamp_html(self)

    def __post_init__(self) -> None:
        op, unit = _named("operation", Op, self.op), _named("unit", Unit, self.unit)
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "unit", unit)
        if isinstance(self.feature, bool) or not hasattr(self.feature, "__index__"):
            raise UserError(f"A clamp's feature must be a whole number, got {self.feature!r}. Give e.g. 12.")
        object.__setattr__(self, "feature", int(self.feature.__index__()))
        if self.feature < 0:
            raise UserError(
                f"A clamp's feature must be 0 or more, got {self.feature}. Features are counted from 0."
            )
        if op is Op.ABLATE:
            if self.value not in (None, 0):
                raise UserError(
                    f"A clamp that ablates must have no value, got {self.value!r}. Leave it out, or use op='set'."
                )
            object.__setattr__(self, "value", 0.0)
        else:
            object.__setattr__(self, "value", _number(op, self.value))
        if unit not in _UNITS[op]:
            fitting = ", ".join(_UNITS[op])
            raise UserError(
                f"The unit of a clamp that does {op.value!r} must be one of: {fitting}, got {unit.value!r}. "
                "Choose one of those"
                + (", or op='add', which alone goes with 'norm'." if unit is Unit.NORM else ".")
            )

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values, for JSON, without the SAE."""
        return {
            "feature": self.feature,
            "op": str(self.op),
            "value": self.value,
            "unit": str(self.unit),
            "only_if_active": self.only_if_active,
        }


def absolute(clamp: Clamp, sae: SparseAutoencoder, *, corpus: str | None = None) -> Clamp:
    """Check a clamp against its SAE and bring its value into activation units.

    Args:
        clamp: The clamp.
        sae: The SAE whose feature it is.
        corpus: Which corpus' maxima the unit `max` means; None takes the only ones there are.

    Returns:
        The clamp with that SAE's fingerprint, in the unit `activation`, or `norm`, which has no value before
        the model runs.

    Raises:
        UserError: The SAE has no such feature, no statistics for `max`, or the feature never fired in them.
    """
    if clamp.feature >= sae.d_sae:
        raise UserError(
            f"A clamp's feature must be 0 to {sae.d_sae - 1} in the SAE {sae.name!r}, got {clamp.feature}. "
            "Choose one of its features, or name the SAE that is meant with sae=."
        )
    plain = replace(clamp, sae=sae.fingerprint)
    if clamp.unit is not Unit.MAX:
        return plain
    from emosae.steering.dose import dose_stats

    stats = dose_stats(sae, corpus, "The unit 'max'")
    maximum = float(stats.maximum[clamp.feature])
    if maximum <= 0:
        raise UserError(
            f"Feature {clamp.feature} of {sae.name!r} must have fired in {stats.corpus!r} for the unit 'max', "
            f"got a maximum of {maximum}. Give its value in activation units."
        )
    assert clamp.value is not None
    return replace(plain, value=clamp.value * maximum, unit=Unit.ACTIVATION)


def _named(kind: str, names: type[Any], name: Any) -> Any:
    try:
        return names(name)
    except ValueError:
        raise unknown_name(f"clamp {kind}", str(name), [each.value for each in names]) from None


def _number(op: Op, value: Any) -> float:
    number = None
    if value is not None and not isinstance(value, (bool, str)):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = None
    if number is None or not math.isfinite(number):
        raise UserError(
            f"The value of a clamp that does {op.value!r} must be a finite number, got {value!r}. Give e.g. 8.0."
        )
    return number
