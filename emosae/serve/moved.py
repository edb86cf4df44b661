"""How much each token was moved: the norm of all that was added to its residual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from emosae.errors import MissingFileError
from emosae.steering.dose import decoder_rows, dose_stats

if TYPE_CHECKING:
    import polars as pl

    from emosae.models import Site
    from emosae.saes import SparseAutoencoder

__all__ = ["Mover"]


class Mover:
    """Reads off a trace by how much each token was moved.

    Where statistics of all the SAEs are known, the unit is the median norm of the residual at the SAE's site, so that
    0.5 is the push of dose 1; else the residual's own. What several sites add to a token is summed.

    Args:
        saes: The SAEs by site.
        corpus: The corpus of the statistics; None takes the only one there is.
    """

    def __init__(self, saes: Mapping[Site, SparseAutoencoder], corpus: str | None = None) -> None:
        self._saes = {sae.name: sae for sae in saes.values()}
        self._directions: dict[tuple[str, int], np.ndarray] = {}
        try:
            self._norms = {sae.name: dose_stats(sae, corpus).residual_norm for sae in saes.values()}
        except MissingFileError:
            self._norms = {}

    @property
    def unit(self) -> str:
        """What is counted in: `residual norms` or `activation units`."""
        return "residual norms" if self._norms else "activation units"

    def read(self, trace: pl.DataFrame) -> dict[int, float]:
        """Give place in the text -> how far the token there was moved.

        Args:
            trace: `Applied.trace` of one text.
        """
        signed: dict[tuple[int, str], dict[int, float]] = {}
        columns = ("position", "sae", "feature", "activation", "target", "push")
        for position, sae, feature, activation, target, push in trace.select(columns).iter_rows():
            signed.setdefault((position, sae), {})[feature] = push if target >= activation else -push
        found: dict[int, float] = {}
        for (position, name), pushes in signed.items():
            vector = np.sum([push * self._direction(name, each) for each, push in pushes.items()], axis=0)
            share = float(np.linalg.norm(vector)) / self._norms.get(name, 1.0)
            found[position] = found.get(position, 0.0) + share
        return found

    def _direction(self, name: str, feature: int) -> np.ndarray:
        """A feature's decoder row at length 1: a push says how far along it."""
        key = (name, feature)
        if key not in self._directions:
            row = decoder_rows(self._saes[name], [feature])[0]
            length = np.linalg.norm(row)
            self._directions[key] = row / length if length > 0 else row
        return self._directions[key]
