"""The tokens of one forward pass that a plan steers, in the form that costs least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.steering.device import answers_at_once, capturing, constant
from emosae.steering.scope import Scope, ScopeKind, select

if TYPE_CHECKING:
    from jaxtyping import Bool, Int

    from emosae.steering.forward import Forward

__all__ = ["Chooser", "Selection"]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Which tokens are steered.

    Attributes:
        forward: The forward pass.
        every: All tokens are; `mask` and `flat` are then None.
        mask: True where a token is steered, `[rows, tokens]`; None where it is all or none.
        flat: The places of these in row-major order, on a CPU, where finding them waits for nothing.
        source: For plans that differ by row: the plan's row of each row of the batch; None otherwise.
    """

    forward: Forward
    every: bool
    mask: Bool[Tensor, "rows tokens"] | None = None
    flat: Int[Tensor, " steered"] | None = None
    source: Int[Tensor, " rows"] | None = None

    @property
    def none(self) -> bool:
        """Whether no token is steered; on an accelerator this is not known beforehand."""
        return not self.every and self.mask is None

    def row_of(self) -> Int[Tensor, " tokens"] | None:
        """The plan's row of each token that is steered, or of each token where `flat` is None."""
        if self.source is None:
            return None
        rows = self.source[:, None].expand(-1, self.forward.n_tokens).reshape(-1)
        return rows if self.flat is None else rows[self.flat]

    def places(self) -> Int[Tensor, "steered 2"]:
        """The row and the token in it of each steered token; this waits for an accelerator."""
        shape = (self.forward.n_rows, self.forward.n_tokens)
        mask = self.mask if self.mask is not None else torch.full(shape, self.every, dtype=torch.bool)
        return mask.nonzero()


class Chooser:
    """Chooses a plan's tokens in each forward pass.

    Args:
        scope: The plan's scope.
        special: Ids that are never steered.
        prompt_lengths: For plain forward passes: tokens of the prompt, one number or one a row.
        rows: For plans that differ by row: whether each row has any clamp; None otherwise.
    """

    def __init__(
        self,
        scope: Scope,
        special: frozenset[int],
        prompt_lengths: tuple[int, ...] | None,
        rows: tuple[bool, ...] | None,
    ) -> None:
        self._scope = scope
        self._special = special
        self._special_ids = tuple(sorted(special))
        self._prompt_lengths = prompt_lengths
        self._rows = rows

    def choose(self, forward: Forward) -> Selection:
        """Choose the tokens of a forward pass.

        Raises:
            UserError: The scope needs what this forward pass does not say, rows do not fit, or a CUDA graph is
                being captured with a scope other than `all`.
        """
        if self._scope.kind is not ScopeKind.ALL and capturing():
            raise UserError(
                f"In a CUDA graph all tokens are steered or none, got the scope {self._scope.kind.value!r}, which "
                "would hold as it was captured in each replay. Capture with scope='all'."
            )
        forward = forward.told(self._prompt_lengths)
        taken = select(self._scope, forward)
        if taken is False:
            return Selection(forward, every=False)
        source = None
        if self._rows is not None:
            of_row = forward.source_rows(len(self._rows), "The clamps of a plan that differs by row")
            source = constant(tuple(of_row), torch.int64, forward.device)
            if not all(self._rows):
                steered = tuple(self._rows[row] for row in of_row)
                taken = taken & constant(steered, torch.bool, forward.device)[:, None]
        if (padding := forward.padding()) is not None:
            taken = ~padding & taken
        if forward.ids is not None and self._special:
            taken = self._without_special(forward.ids, taken)
        if isinstance(taken, bool):
            return Selection(forward, every=taken, source=source)
        mask = taken.expand(forward.n_rows, forward.n_tokens)
        if not answers_at_once(mask.device):
            return Selection(forward, every=False, mask=mask, source=source)
        flat = mask.reshape(-1).nonzero().view(-1)
        if len(flat) in (0, mask.numel()):
            return Selection(forward, every=len(flat) > 0, source=source)
        return Selection(forward, every=False, mask=mask, flat=flat, source=source)

    def _without_special(self, ids: Tensor, taken: Tensor | bool) -> Tensor | bool:
        if ids.numel() == 1 and answers_at_once(ids.device):  # one token at a time is what has to be quick
            return taken if ids.item() not in self._special else False
        special = torch.isin(ids, constant(self._special_ids, torch.int64, ids.device))
        return ~special & taken
