"""Plans: clamps in absolute values, the SAEs they are for, and the tokens they are for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emosae.artifacts import read_json, write_json
from emosae.errors import UserError, unknown_name
from emosae.steering.clamp import Clamp, absolute
from emosae.steering.scope import Scope

if TYPE_CHECKING:
    from emosae.saes import SparseAutoencoder

__all__ = ["ErrorTerm", "Plan", "PlannedSAE", "as_saes", "make_plan"]

_FORMAT = "emosae-steering-plan/1"


class ErrorTerm(StrEnum):
    """What becomes of the part of the activation that the SAE does not explain."""

    KEEP = "keep"
    DROP = "drop"

    @classmethod
    def parse(cls, name: Any) -> ErrorTerm:
        """Read its name.

        Raises:
            UserError: There is no such name.
        """
        try:
            return cls(name)
        except ValueError:
            raise unknown_name("choice for error=", str(name), [each.value for each in cls]) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSAE:
    """Which SAE a plan was made for.

    Attributes:
        fingerprint: The identity of its content; the plan runs with no other.
        name: What it was called.
        release: SAELens' release, if it has one.
        sae_id: The id in the release.
        hook_name: The site it reads.
    """

    fingerprint: str
    name: str
    release: str | None = None
    sae_id: str | None = None
    hook_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is to be done to a model, without the model.

    Attributes:
        saes: The SAEs it is for, in the order in which they edit a site that they share.
        rows: The clamps, in absolute values; one tuple for all rows of a batch, or one for each row.
        scope: Which tokens are steered.
        skip_special: Leave special tokens as they are.
        error: Keep or drop what the SAE does not explain.
        model: What the model was called, for the record.
    """

    saes: tuple[PlannedSAE, ...]
    rows: tuple[tuple[Clamp, ...], ...]
    scope: Scope = field(default_factory=Scope)
    skip_special: bool = True
    error: ErrorTerm = ErrorTerm.KEEP
    model: str | None = None

    def _repr_html_(self) -> str:
        from emosae.notebook import plan_html

        return plan_html(self)

    def for_sae(self, fingerprint: str) -> tuple[tuple[Clamp, ...], ...]:
        """Give the clamps of one SAE, row by row."""
        return tuple(tuple(clamp for clamp in row if clamp.sae == fingerprint) for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, for JSON."""
        numbers = {sae.fingerprint: number for number, sae in enumerate(self.saes)}
        return {
            "format": _FORMAT,
            "model": self.model,
            "saes": [
                {name: getattr(sae, name) for name in PlannedSAE.__dataclass_fields__} for sae in self.saes
            ],
            "rows": [[{"sae": numbers[str(c.sae)]} | c.to_dict() for c in row] for row in self.rows],
            "scope": self.scope.to_json(),
            "skip_special": self.skip_special,
            "error": self.error.value,
        }

    @classmethod
    def from_dict(cls, plain: Any) -> Plan:
        """Read back what `to_dict` gave.

        Raises:
            UserError: It is no plan, or holds values that no plan has.
        """
        if not isinstance(plain, Mapping) or plain.get("format") != _FORMAT:
            raise UserError(
                f"A plan must say format {_FORMAT!r}, got {type(plain).__name__}. Give what Plan.save wrote."
            )
        try:
            saes = tuple(PlannedSAE(**sae) for sae in plain["saes"])
            rows = tuple(
                tuple(Clamp(**{**clamp, "sae": saes[clamp["sae"]].fingerprint}) for clamp in row)
                for row in plain["rows"]
            )
            return cls(
                saes=saes,
                rows=rows,
                scope=Scope.parse(plain["scope"]),
                skip_special=bool(plain["skip_special"]),
                error=ErrorTerm.parse(plain["error"]),
                model=plain.get("model"),
            )
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"The plan is incomplete ({error}). Give what Plan.save wrote.") from error

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that `save` wrote.

        Raises:
            UserError: There is no such file, or it holds no plan.
        """
        return cls.from_dict(read_json(Path(path)))


def as_saes(saes: Any) -> tuple[SparseAutoencoder, ...]:
    """Bring one SAE, several, or a lens' `{site: SAE}` into a tuple.

    Raises:
        UserError: There is none, one is something else, or one is there twice.
    """
    from emosae.saes import SparseAutoencoder

    if isinstance(saes, Mapping):
        saes = list(saes.values())
    found = (
        (saes,) if isinstance(saes, SparseAutoencoder) else tuple(saes) if isinstance(saes, Iterable) else ()
    )
    if not found or not all(isinstance(sae, SparseAutoencoder) for sae in found):
        raise UserError(
            f"Steering needs a SparseAutoencoder or a list of them, got {saes!r}. Load one with "
            "emosae.SparseAutoencoder.from_pretrained or load_from_disk."
        )
    if len({sae.fingerprint for sae in found}) < len(found):
        raise UserError(
            f"Each SAE must be given once, got {[sae.name for sae in found]}. Leave out the copy."
        )
    return found


def make_plan(
    saes: Sequence[SparseAutoencoder],
    clamps: Any,
    *,
    scope: Any = None,
    skip_special: bool | None = None,
    error: Any = None,
    corpus: str | None = None,
    model: str | None = None,
) -> Plan:
    """Make a plan of clamps, or check one that is there.

    Args:
        saes: The SAEs.
        clamps: A list of clamps; a list with one list of clamps (or None) for each row of a batch; or a plan,
            of which what else is given here replaces the part.
        scope: Which tokens (`Scope.parse`); None means all, or the plan's.
        skip_special: None means true, or the plan's.
        error: `keep` or `drop`; None means keep, or the plan's.
        corpus: The corpus that the unit `max` means.
        model: What the model is called.

    Raises:
        UserError: A clamp fits no SAE, a feature is clamped twice, or the plan was made for another SAE.
    """
    if isinstance(clamps, Plan):
        held = {sae.fingerprint: sae.name for sae in saes}
        for wanted in clamps.saes:
            if wanted.fingerprint not in held:
                raise UserError(
                    f"The plan must be used with the SAE it was made for, {wanted.name!r} "
                    f"({wanted.fingerprint[:12]}), got {', '.join(repr(name) for name in held.values())}. "
                    "Load that SAE, or make a plan for this one."
                )
        given: list[Any] = [[*row] for row in clamps.rows]
        plan, by_row = clamps, len(clamps.rows) > 1
    else:
        plan = Plan(saes=(), rows=(), model=model)
        by_row, given = _rows_of(clamps)
    rows = tuple(
        tuple(absolute(clamp, _sae_of(clamp, saes), corpus=corpus) for clamp in row or ()) for row in given
    )
    for row in rows:
        seen: set[tuple[Any, int]] = set()
        for clamp in row:
            if (clamp.sae, clamp.feature) in seen:
                raise UserError(
                    f"A feature must be clamped once, got feature {clamp.feature} twice. Put both wishes into one "
                    "clamp, or nest two steer blocks."
                )
            seen.add((clamp.sae, clamp.feature))
    parsed = plan.scope if scope is None else Scope.parse(scope)
    if by_row and parsed.n_rows not in (None, len(rows)):
        raise UserError(
            f"Clamps and scope must have as many rows, got {len(rows)} and {parsed.n_rows}. Give one for each row."
        )
    used = {clamp.sae for row in rows for clamp in row}
    order = [sae.fingerprint for sae in plan.saes]
    ordered = sorted(saes, key=lambda sae: order.index(sae.fingerprint) if sae.fingerprint in order else -1)
    return replace(
        plan,
        saes=tuple(_planned(sae) for sae in ordered if sae.fingerprint in used),
        rows=rows,
        scope=parsed,
        skip_special=plan.skip_special if skip_special is None else bool(skip_special),
        error=plan.error if error is None else ErrorTerm.parse(error),
    )


def _rows_of(clamps: Any) -> tuple[bool, list[Any]]:
    if isinstance(clamps, Clamp):
        clamps = [clamps]
    if not isinstance(clamps, Sequence) or isinstance(clamps, str):
        raise UserError(
            f"Clamps must be a list of emosae.Clamp, or a plan, got {clamps!r}. Give e.g. "
            "[emosae.Clamp(12, 'set', 8.0)]."
        )
    rows = [_unplanned(each) for each in clamps]
    by_row = any(row is None or isinstance(row, (list, tuple)) for row in rows)
    result: list[Any] = rows if by_row else [rows]
    for row in result:
        if row is not None and not (
            isinstance(row, (list, tuple)) and all(isinstance(c, Clamp) for c in row)
        ):
            raise UserError(
                f"Clamps must be all emosae.Clamp, or for each row a list of them or None, got {row!r}."
                " Give e.g. [emosae.Clamp(12, 'set', 8.0)]."
            )
    return by_row, result


def _unplanned(row: Any) -> Any:
    """A row may be a plan that holds for all rows; its clamps are then the row's."""
    return [*row.rows[0]] if isinstance(row, Plan) and len(row.rows) == 1 else row


def _sae_of(clamp: Clamp, saes: Sequence[SparseAutoencoder]) -> SparseAutoencoder:
    if clamp.sae is None:
        if len(saes) == 1:
            return saes[0]
        names = ", ".join(repr(sae.name) for sae in saes)
        raise UserError(
            f"Each clamp must say which SAE it is for where there are several, got sae=None for feature "
            f"{clamp.feature}. Give sae= one of {names}."
        )
    meant = [sae for sae in saes if _is_meant(clamp.sae, sae)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        names = ", ".join(sae.fingerprint for sae in meant)
        raise UserError(
            f"A clamp's sae must name one SAE, got {clamp.sae!r}, which {len(meant)} are called. Give the SAE "
            f"itself, or one of the fingerprints {names}."
        )
    wanted = getattr(clamp.sae, "name", str(clamp.sae))
    raise unknown_name("SAE here called", str(wanted), [sae.name for sae in saes])


def _is_meant(called: Any, sae: SparseAutoencoder) -> bool:
    if isinstance(called, str):
        return called in (sae.fingerprint, sae.name, sae.cfg.hook_name)
    return called is sae or (sae.cfg.hook_name is not None and called == sae.site)


def _planned(sae: SparseAutoencoder) -> PlannedSAE:
    cfg = sae.cfg
    return PlannedSAE(
        fingerprint=sae.fingerprint,
        name=sae.name,
        release=cfg.release,
        sae_id=cfg.sae_id,
        hook_name=cfg.hook_name,
    )
