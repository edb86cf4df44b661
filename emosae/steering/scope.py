"""Scopes: which tokens are steered, by their place in the text and not by the shape of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError, unknown_name
from emosae.steering.device import constant

if TYPE_CHECKING:
    from jaxtyping import Bool

    from emosae.steering.forward import Forward

__all__ = ["Scope", "ScopeKind", "select"]


class ScopeKind(StrEnum):
    """Which tokens a plan steers."""

    ALL = "all"
    PROMPT = "prompt"
    GENERATED = "generated"
    FROM_LAST_PROMPT_TOKEN = "from_last_prompt_token"
    POSITIONS = "positions"
    MASK = "mask"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which tokens a plan steers.

    The token that produces the first new token is the last of the prompt, so `generated` leaves the first
    new token as it is; `from_last_prompt_token` steers it too.

    Attributes:
        kind: The rule.
        positions: For `positions`: places in the text, 0 being the first token that is no padding; one list
            for all rows, or one for each row.
        mask: For `mask`: one list of true and false for all rows, or one for each row, laid out as the ids
            that are passed in, padding included; tokens after its end are not steered.
    """

    kind: ScopeKind = ScopeKind.ALL
    positions: tuple[tuple[int, ...], ...] = ()
    mask: tuple[tuple[bool, ...], ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Scope:
        """Read what a caller gave as a scope.

        Args:
            value: A scope, its name, positions (a list of whole numbers, or one list a row), or a mask (a
                bool tensor, array or list `[tokens]` or `[rows, tokens]`).

        Raises:
            UserError: It is none of these, or selects no token.
        """
        if isinstance(value, Scope):
            return value
        if value is None:
            return cls()
        if isinstance(value, str):
            names = [kind.value for kind in ScopeKind if kind not in (ScopeKind.POSITIONS, ScopeKind.MASK)]
            if value not in names:
                hint = "Or give positions as a list of numbers, or a mask of true and false."
                raise unknown_name("scope", value, names, hint)
            return cls(ScopeKind(value))
        rows = _rows(value)
        if not any(rows):
            raise UserError(f"Positions must name at least one token, got {value!r}. Or leave the scope out.")
        if all(isinstance(place, bool) for row in rows for place in row):
            if not any(any(row) for row in rows):
                raise UserError(f"A mask must be true somewhere, got {value!r}. It would steer no token.")
            return cls(ScopeKind.MASK, mask=rows)
        if any(isinstance(place, bool) or place < 0 for row in rows for place in row):
            raise UserError(
                f"Positions must be whole numbers from 0, got {value!r}. 0 is the first token that is no padding."
            )
        return cls(ScopeKind.POSITIONS, positions=rows)

    @property
    def n_rows(self) -> int | None:
        """How many rows it tells apart; None where one rule holds for all."""
        rows = max(len(self.positions), len(self.mask))
        return rows if rows > 1 else None

    def to_json(self) -> Any:
        """Give plain values that `parse` reads back."""
        if self.kind is ScopeKind.POSITIONS:
            return [list(row) for row in self.positions]
        if self.kind is ScopeKind.MASK:
            return [list(row) for row in self.mask]
        return self.kind.value


def select(scope: Scope, forward: Forward) -> Bool[Tensor, "rows tokens"] | bool:
    """Say which tokens of a forward pass a scope takes, padding and special tokens not yet taken out.

    Args:
        scope: The scope.
        forward: The forward pass: its rows, and where its tokens stand in the text.

    Returns:
        A mask, or one truth for all tokens.

    Raises:
        UserError: The forward pass does not have what the scope needs to know.
    """
    return _SELECT[scope.kind](scope, forward)


def _all(_scope: Scope, _forward: Forward) -> bool:
    return True


def _prompt(_scope: Scope, forward: Forward) -> Tensor | bool:
    return forward.before_boundary(0)


def _generated(_scope: Scope, forward: Forward) -> Tensor | bool:
    if forward.is_plain:
        raise UserError(
            "The scope 'generated' must know where the prompt ends, and a plain forward pass is all prompt. "
            "Use model.generate, or give prompt_lengths= to steer."
        )
    return _not(forward.before_boundary(0))


def _from_last(_scope: Scope, forward: Forward) -> Tensor | bool:
    return _not(forward.before_boundary(1))


def _positions(scope: Scope, forward: Forward) -> Tensor:
    places = forward.positions()
    rows = [constant(row, torch.int64, places.device) for row in scope.positions]
    if len(rows) == 1:
        return torch.isin(places, rows[0])
    source = _source_rows(len(rows), forward, "positions")
    return torch.stack([torch.isin(places[row], rows[at]) for row, at in enumerate(source)])


def _mask(scope: Scope, forward: Forward) -> Tensor:
    # The last entry stands for all that follow
    masks = constant(tuple((*row, False) for row in scope.mask), torch.bool, forward.device)
    taken = masks[:, forward.columns().clamp(max=masks.shape[1] - 1)]
    if len(taken) == 1:
        return taken.expand(forward.n_rows, -1)
    return taken[constant(tuple(_source_rows(len(taken), forward, "mask")), torch.int64, forward.device)]


def _source_rows(n: int, forward: Forward, what: str) -> list[int]:
    """The row of a list of n that each row of the batch goes by; beams and samples keep their source's."""
    return forward.source_rows(n, f"The scope's {what}")


def _not(taken: Tensor | bool) -> Tensor | bool:
    return ~taken if isinstance(taken, Tensor) else not taken


_SELECT = {
    ScopeKind.ALL: _all,
    ScopeKind.PROMPT: _prompt,
    ScopeKind.GENERATED: _generated,
    ScopeKind.FROM_LAST_PROMPT_TOKEN: _from_last,
    ScopeKind.POSITIONS: _positions,
    ScopeKind.MASK: _mask,
}


def _rows(value: Any) -> tuple[tuple[Any, ...], ...]:
    """Bring numbers or truths, for all rows or a row each, into one form."""
    if isinstance(value, Tensor):
        value = value.tolist()
    elif isinstance(value, (np.ndarray, range)):
        value = value.tolist() if isinstance(value, np.ndarray) else list(value)
    wrong = UserError(
        f"A scope must be a name, positions or a mask, got {value!r}. Give e.g. 'generated', [0, 3], or a bool tensor."
    )
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise wrong
    rows = [list(row) if isinstance(row, (Sequence, np.ndarray, range)) else row for row in value]
    if any(isinstance(row, list) for row in rows):
        if not all(isinstance(row, list) for row in rows):
            raise wrong
    else:
        rows = [rows]
    plain = tuple(tuple(_plain(place) for place in row) for row in rows)
    if not all(isinstance(place, int) for row in plain for place in row):
        raise wrong
    kinds = {isinstance(place, bool) for row in plain for place in row}
    if len(kinds) > 1 or (kinds == {True} and len({len(row) for row in plain}) > 1):
        raise wrong
    return plain


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
