"""What a steer block did: the clamps in absolute values, and which tokens they changed by how much."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import torch
from torch import Tensor

from emosae.models import Site
from emosae.steering.edit import Change
from emosae.steering.plan import Plan
from emosae.steering.selection import Selection

if TYPE_CHECKING:
    from emosae.saes import SparseAutoencoder
    from emosae.steering.chosen import Chosen

__all__ = ["TRACE_LIMIT", "Applied"]

TRACE_LIMIT = 100_000
"""Forward passes and SAEs that are traced; what comes after is counted only."""

_TRACE_SCHEMA = {
    "forward": pl.Int64,
    "row": pl.Int64,
    "position": pl.Int64,
    "token": pl.Int64,
    "site": pl.String,
    "sae": pl.String,
    "feature": pl.Int64,
    "activation": pl.Float32,
    "target": pl.Float32,
    "push": pl.Float32,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    sae: int
    selection: Selection
    change: Change


class Applied:
    """What a steer block does; filled while the model runs, and readable after the block too.

    Attributes:
        plan: The plan, in absolute values.
        sites: Where each SAE of the plan writes.
        n_forwards: Forward passes in which a steered site was reached.
        overflowed: Whether float16 could not hold an activation that was written; known once the block ends.
        chosen: For a lens' emotions: their features and doses, and how these were chosen; None for plain clamps.
    """

    def __init__(
        self, plan: Plan, saes: Sequence[SparseAutoencoder], sites: Sequence[Site], trace: bool
    ) -> None:
        self.plan = plan
        self.sites = tuple(sites)
        self.n_forwards = 0
        self.overflowed = False
        self.chosen: Chosen | None = None
        self._saes = [sae.name for sae in saes]
        self._features = [
            sorted({c.feature for row in plan.for_sae(sae.fingerprint) for c in row}) for sae in saes
        ]
        self._norms = [
            torch.ones(len(features))
            if sae.cfg.rescale_acts_by_decoder_norm
            else sae.decoder_norm[features].float().cpu()
            for sae, features in zip(saes, self._features, strict=True)
        ]
        self._fingerprints = [sae.fingerprint for sae in saes]
        self._limit = TRACE_LIMIT if trace else 0
        self._entries: list[_Entry] = []
        self._told, self._n_told = pl.DataFrame(schema=_TRACE_SCHEMA), 0  # entries that were made a table
        self._untraced = 0
        self._any: Tensor | bool = False
        self._overflow: Tensor | None = None

    def __repr__(self) -> str:
        return f"Applied({sum(map(len, self.plan.rows))} clamps at {', '.join(map(str, self.sites)) or 'no site'})"

    def _repr_html_(self) -> str:
        from emosae.notebook import applied_html

        return applied_html(self)

    @property
    def clamps(self) -> pl.DataFrame:
        """One line a clamp: row of the plan, site, sae, feature, op, value, unit, only_if_active."""
        number = {fingerprint: at for at, fingerprint in enumerate(self._fingerprints)}
        lines = [
            {
                "row": row,
                "site": str(self.sites[number[str(clamp.sae)]]),
                "sae": self._saes[number[str(clamp.sae)]],
                **clamp.to_dict(),
            }
            for row, clamps in enumerate(self.plan.rows)
            for clamp in clamps
        ]
        kinds = {"row": pl.Int64, "site": pl.String, "sae": pl.String, "feature": pl.Int64, "op": pl.String}
        kinds |= {"value": pl.Float64, "unit": pl.String, "only_if_active": pl.Boolean}
        return pl.DataFrame(lines, schema=kinds)

    @property
    def trace(self) -> pl.DataFrame:
        """One line a steered token and feature, in the order in which they were computed.

        `forward` counts the model's passes; `row` is the row of the batch, beams and samples included;
        `position` counts from the first token that is no padding; `token` is its id, null where the model was
        given embeddings; `activation` and `target` are the feature's before and as wanted; `push` is the norm of
        what was added for that feature alone. A token that is computed twice (without a cache, or as a draft that was
        refused) is there twice.
        """
        new = [self._lines(entry) for entry in self._entries[self._n_told :]]
        if new:
            self._told, self._n_told = pl.concat([self._told, *new]), len(self._entries)
        return self._told

    @property
    def untraced(self) -> int:
        """How many passes were steered and not traced."""
        return self._untraced

    @property
    def tracing(self) -> bool:
        """Whether the next pass is traced."""
        return len(self._entries) < self._limit

    def record(self, sae: int, selection: Selection, change: Change | None) -> None:
        """Note what was done at one site in one forward pass; nothing is known of a pass that is not traced."""
        self._any = (
            True if selection.mask is None or selection.flat is not None else self._any | selection.mask.any()
        )
        if change is None or not self.tracing:
            self._untraced += 1
            return
        scale = None if change.scale is None else change.scale.detach()
        kept = Change(change.activation.detach(), change.difference.detach(), scale, None)
        self._entries.append(_Entry(sae, selection, kept))

    def note_overflow(self, before: Tensor, after: Tensor) -> None:
        """Note whether finite activations became infinite, without waiting for the answer."""
        lost = (before.isfinite() & ~after.isfinite()).any().detach()
        self._overflow = lost if self._overflow is None else self._overflow | lost.to(self._overflow.device)

    def finish(self) -> None:
        """Say at the end of the block what can only be seen then."""
        self.overflowed = self._overflow is not None and bool(self._overflow)
        if self.overflowed:
            warnings.warn(
                "A steered activation was too large for float16 and became infinite. Use smaller values, or load the "
                "model in bfloat16.",
                stacklevel=3,
            )
        if self.n_forwards and self.plan.saes and not bool(self._any):
            warnings.warn(
                f"The scope {self.plan.scope.kind.value!r} took no token, so nothing was steered. Choose another "
                "scope, or generate more tokens.",
                stacklevel=3,
            )

    def _lines(self, entry: _Entry) -> pl.DataFrame:
        forward, features = entry.selection.forward, self._features[entry.sae]
        places = entry.selection.places().cpu()
        activation, difference = entry.change.activation.cpu(), entry.change.difference.cpu()
        scale = torch.ones(len(activation)) if entry.change.scale is None else entry.change.scale.cpu()
        if entry.selection.mask is not None and entry.selection.flat is None:  # all tokens were computed
            taken = places[:, 0] * forward.n_tokens + places[:, 1]
            activation, difference, scale = activation[taken], difference[taken], scale[taken]
        row, column = places[:, 0], places[:, 1]
        first = 0 if forward.mask is None else forward.mask.cpu().to(torch.uint8).argmax(1)[row]
        position = column + forward.first_column - first
        token = None if forward.ids is None else forward.ids.cpu()[row, column]
        n = len(features)
        push = difference.abs() * scale[:, None] * self._norms[entry.sae]

        def each(values: Tensor) -> list[int]:
            return values.repeat_interleave(n).tolist()

        count = len(row) * n
        return pl.DataFrame(
            {
                "forward": [forward.number] * count,
                "row": each(row),
                "position": each(position),
                "token": [None] * count if token is None else each(token),
                "site": [str(self.sites[entry.sae])] * count,
                "sae": [self._saes[entry.sae]] * count,
                "feature": features * len(row),
                "activation": activation.flatten().tolist(),
                "target": (activation + difference).flatten().tolist(),
                "push": push.flatten().tolist(),
            },
            schema=_TRACE_SCHEMA,
        )
