"""One SAE of an entered plan: where it acts in the model, and what is called there while the model runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from emosae.errors import UserError
from emosae.models import Located, Side, Site, check_width, locate
from emosae.saes import SparseAutoencoder
from emosae.steering.applied import Applied
from emosae.steering.edit import Change, Editor
from emosae.steering.hooks import Call, Point, edit_call, unwrap
from emosae.steering.plan import Plan
from emosae.steering.selection import Chooser, Selection
from emosae.steering.session import Session

__all__ = ["Place", "Run", "place_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an SAE acts in a model.

    Attributes:
        reads: The module that it reads.
        writes: The module that it writes; the same but for transcoders.
        written: The site that it writes.
    """

    reads: Located
    writes: Located
    written: Site


class Run:
    """One SAE of an entered plan: the calls that the model makes while it runs.

    Args:
        number: Which SAE of the plan it is.
        sae: The SAE.
        place: Where it acts.
        plan: The plan.
        session: The model's session, which knows the forward pass that runs.
        chooser: Chooses the tokens.
        applied: Takes the record of what was done.
    """

    def __init__(
        self,
        number: int,
        sae: SparseAutoencoder,
        place: Place,
        plan: Plan,
        session: Session,
        chooser: Chooser,
        applied: Applied,
    ) -> None:
        self._number = number
        self._sae, self._rows, self._error = sae, plan.for_sae(sae.fingerprint), plan.error
        self._place = place
        self._session, self._chooser, self._applied = session, chooser, applied
        self._editors: dict[torch.device, Editor] = {}
        self._read = threading.local()  # what a transcoder's input asks to be written at its output
        self._transcodes = sae.cfg.architecture.is_transcoder
        if self._transcodes:
            reads, writes = place.reads, place.writes
            first = edit_call(reads.reads, self._reading, reads.path)
            second = edit_call(writes.reads, self._writing, writes.path)
            self._calls = [((reads.module, first[0]), first[1]), ((writes.module, second[0]), second[1])]
        else:
            when, call = edit_call(place.writes.reads, self._editing, place.writes.path)
            self._calls = [((place.writes.module, when), call)]

    def calls(self) -> list[tuple[Point, Call]]:
        """Give the points and what happens there."""
        return self._calls

    def editor(self, device: torch.device) -> Editor:
        """Give the editor for a device; a model may lie on several."""
        if device not in self._editors:
            with torch.inference_mode(False), torch.no_grad():
                self._editors[device] = Editor(self._sae, self._rows, self._error, device)
        return self._editors[device]

    def _editing(self, hidden: Tensor) -> Tensor | None:
        selection = self._select(hidden, self._place.writes.path)
        if selection.none:
            return None
        if self.editor(hidden.device).fuses(hidden):
            return self._fused(hidden, hidden, selection)
        return self._write(hidden, selection, self._change(hidden, selection))

    def _reading(self, hidden: Tensor) -> None:
        then = self._place.reads.then
        selection = self._select(hidden, self._place.reads.path)
        self._read.asked = None
        if not selection.none:
            shown = hidden if then is None else then(hidden)
            fuses = self.editor(shown.device).fuses(shown)  # then the kernel that writes it reads it too
            self._read.asked = (selection, shown if fuses else self._change(shown, selection))

    def _writing(self, hidden: Tensor) -> Tensor | None:
        forward = self._session.current(hidden, self._place.writes.path)
        asked, self._read.asked = getattr(self._read, "asked", None), None
        if asked is None or asked[0].forward.number != forward.number:
            return None
        selection, found = asked
        if isinstance(found, Tensor):
            return self._fused(found.to(hidden.device), hidden, selection)
        return self._write(hidden, selection, found)

    def _fused(self, read: Tensor, written: Tensor, selection: Selection) -> Tensor:
        """Edit in one kernel, which passes over the tokens that are not steered."""
        selection = replace(selection, flat=None)
        device, mask, row = written.device, selection.mask, selection.row_of()
        flat = written.reshape(-1, written.shape[-1])
        new, change = self.editor(device).fused(
            read.reshape(-1, read.shape[-1]),
            flat,
            None if mask is None else mask.reshape(-1).to(device),
            None if row is None else row.to(device),
            record=self._applied.tracing,
        )
        self._applied.record(self._number, selection, change)
        if written.dtype is torch.float16:
            self._applied.note_overflow(flat, new)
        return new.view(written.shape)

    def _select(self, hidden: Tensor, path: str) -> Selection:
        selection = self._chooser.choose(self._session.current(hidden, path))
        self._applied.n_forwards += 1
        return selection

    def _change(self, hidden: Tensor, selection: Selection) -> Change:
        flat = hidden.reshape(-1, hidden.shape[-1])
        if selection.flat is not None:
            flat = flat[selection.flat.to(flat.device)]
        row = selection.row_of()
        change = self.editor(hidden.device).change(flat, None if row is None else row.to(hidden.device))
        self._applied.record(self._number, selection, change)
        return change

    def _write(self, hidden: Tensor, selection: Selection, change: Change) -> Tensor:
        editor, flat = self.editor(hidden.device), hidden.reshape(-1, hidden.shape[-1])
        if selection.flat is None:
            new = editor.write(flat, change)
            if hidden.dtype is torch.float16:
                self._applied.note_overflow(flat, new)
            if selection.mask is not None:
                new = torch.where(selection.mask.reshape(-1, 1).to(new.device), new, flat)
        else:
            at = selection.flat.to(flat.device)
            part = flat[at]
            edited = editor.write(part, change)
            if hidden.dtype is torch.float16:
                self._applied.note_overflow(part, edited)
            new = flat.index_copy(0, at, edited)
        return new.view(hidden.shape)


def place_of(model: Any, sae: SparseAutoencoder) -> Place:
    """Find where an SAE acts in a model.

    Raises:
        UserError: The model has no such site, one of another width, or one that cannot be written to.
    """
    root = unwrap(model)
    check_width(root, sae.site, sae.d_in, f"the SAE {sae.name!r}")
    reads = locate(root, sae.site)
    written = sae.site_out
    if not sae.cfg.architecture.is_transcoder:
        writes = reads
    else:
        check_width(root, written, sae.d_out, f"the output of the transcoder {sae.name!r}")
        writes = locate(root, written)
        if (written, writes.reads is Side.OUTPUT) < (sae.site, False):
            raise UserError(
                f"A transcoder must write after it reads, got {written} after {sae.site}. Correct its hook_name_out."
            )
    if writes.then is not None:
        raise UserError(
            f"The site {written} must be one that can be written to. Use an SAE on the residual stream."
        )
    return Place(reads=reads, writes=writes, written=written)
