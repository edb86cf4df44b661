"""What is usual for an SAE's features on running text: how often they fire, how strongly, up to what maximum."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from emosae.artifacts import atomic_path
from emosae.errors import MissingFileError, UserError

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from emosae.saes.sae import SparseAutoencoder

__all__ = ["LEVELS", "FeatureStats", "StatsBuilder", "find_stats", "stats_path"]

LEVELS = (0.25, 0.5, 0.75, 0.9, 0.99)
"""The quantiles of a feature's active values that are kept."""

_LOW, _OCTAVES, _PER_OCTAVE = 2.0**-12, 24, 16
_FORMAT = "emosae-feature-stats/2"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FeatureStats:
    """Statistics of one SAE's features over a corpus, special tokens left out.

    Attributes:
        corpus: What was read, e.g. `phantom/sae`; the key under which the statistics are found again.
        n_tokens: How many tokens were read.
        density: Share of the tokens on which each feature is active, 0 to 1, `[d_sae]`.
        maximum: Largest activation of each feature, 0 where it never fired, `[d_sae]`.
        quantiles: Quantiles of each feature's active values at `levels`, 0 where it never fired,
            `[n_levels, d_sae]`; accurate to about 2 % of the value.
        levels: The quantiles' levels, 0 to 1.
        residual_norm: Median Euclidean norm of the activation that the SAE reads.

    A maximum over a list of words is a smaller thing and must not stand in for `maximum`.
    """

    corpus: str
    n_tokens: int
    density: Float[np.ndarray, " d_sae"]
    maximum: Float[np.ndarray, " d_sae"]
    quantiles: Float[np.ndarray, "n_levels d_sae"]
    residual_norm: float
    levels: tuple[float, ...] = LEVELS

    def quantile(self, level: float) -> Float[np.ndarray, " d_sae"]:
        """Return each feature's quantile at one of `levels`.

        Raises:
            UserError: The level was not kept.
        """
        if level not in self.levels:
            kept = ", ".join(map(str, self.levels))
            raise UserError(f"The level must be one that was kept, got {level!r}. Kept are {kept}.")
        return self.quantiles[self.levels.index(level)]

    def save(self, path: Path) -> None:
        """Write the statistics to a safetensors file, whole or not at all."""
        about = {
            "corpus": self.corpus,
            "n_tokens": self.n_tokens,
            "residual_norm": self.residual_norm,
            "levels": self.levels,
        }
        tensors = {
            name: np.ascontiguousarray(getattr(self, name), dtype=np.float32)
            for name in ("density", "maximum", "quantiles")
        }
        with atomic_path(path) as part:
            # One entry, because safetensors writes several in an order that differs from run to run.
            save_file(tensors, part, metadata={_FORMAT: json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> FeatureStats:
        """Read statistics that `save` wrote.

        Raises:
            MissingFileError: There is no such file.
            UserError: The file holds something else.
        """
        if not path.is_file():
            raise MissingFileError(f"No statistics of features at {path}. Measure them on a corpus first.")
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {}).get(_FORMAT, "null"))
                if about is None:
                    raise UserError(f"{path} holds no statistics of features. Measure them anew.")
                tensors = {name: file.get_tensor(name) for name in ("density", "maximum", "quantiles")}
        except SafetensorError as error:
            raise UserError(f"{path} cannot be read ({error}). Measure the statistics anew.") from error
        return cls(
            corpus=about["corpus"],
            n_tokens=about["n_tokens"],
            residual_norm=about["residual_norm"],
            levels=tuple(about["levels"]),
            **tensors,
        )


def stats_path(home: Path, corpus: str) -> Path:
    """Give the file of a corpus' statistics in one of an SAE's folders (`SparseAutoencoder.homes`)."""
    return home / "stats" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', corpus)}.safetensors"


def find_stats(sae: SparseAutoencoder, corpus: str | None = None) -> FeatureStats:
    """Find the statistics that lie beside an SAE, in the cache or in the folder it was read from.

    Args:
        sae: The SAE.
        corpus: Which corpus; None takes the only one there is.

    Raises:
        MissingFileError: None are there, or not of that corpus.
        UserError: There are several corpora and none was named.
    """
    files: dict[str, Path] = {}
    for home in sae.homes:
        for path in sorted((home / "stats").glob("*.safetensors")):
            files.setdefault(path.stem, path)
    if corpus is not None:
        stem = stats_path(Path(), corpus).stem
        if stem in files:
            return FeatureStats.load(files[stem])
    elif len(files) == 1:
        return FeatureStats.load(next(iter(files.values())))
    elif files:
        raise UserError(
            f"The SAE {sae.name} has statistics of {len(files)} corpora, so say which: {', '.join(files)}."
        )
    wanted = f" of {corpus!r}" if corpus else ""
    raise MissingFileError(
        f"The SAE {sae.name} has no statistics{wanted} from running text. Measure them on a corpus first"
        + (f"; there are: {', '.join(files)}." if files else ".")
    )


class _Histogram:
    """Counts of positive values in bins that grow by a sixteenth of an octave, one row for each column."""

    def __init__(self, n: int) -> None:
        self.counts = np.zeros((n, _OCTAVES * _PER_OCTAVE), dtype=np.int32)

    def add(self, columns: np.ndarray, values: np.ndarray) -> None:
        n_bins = self.counts.shape[1]
        at = np.floor(np.log2(np.maximum(values, _LOW) / _LOW) * _PER_OCTAVE).astype(np.int64)
        flat = columns.astype(np.int64) * n_bins + np.clip(at, 0, n_bins - 1)
        where, count = np.unique(flat, return_counts=True)
        self.counts.reshape(-1)[where] += count.astype(np.int32)

    def quantile(self, level: float) -> np.ndarray:
        """Middle (in the logarithm) of the bin that holds the quantile; 0 where nothing was counted."""
        total = self.counts.sum(1)
        below = np.cumsum(self.counts, axis=1)
        at = (below < np.maximum(1, np.ceil(level * total))[:, None]).sum(1)
        value = _LOW * 2.0 ** ((at + 0.5) / _PER_OCTAVE)
        return np.where(total > 0, value, 0.0)


class StatsBuilder:
    """Takes a corpus batch by batch; its memory does not grow with the corpus.

    Args:
        d_sae: Number of features.
        corpus: The corpus' name.
    """

    def __init__(self, d_sae: int, corpus: str) -> None:
        self._corpus = corpus
        self._n_tokens = 0
        self._active = np.zeros(d_sae, dtype=np.int64)
        self._maximum = np.zeros(d_sae, dtype=np.float32)
        self._values = _Histogram(d_sae)
        self._norms = _Histogram(1)

    def add(
        self,
        columns: Int[np.ndarray, " nnz"],
        values: Float[np.ndarray, " nnz"],
        norms: Float[np.ndarray, " tokens"],
    ) -> None:
        """Take a batch of tokens.

        Args:
            columns: The feature of each activation above 0.
            values: The activations.
            norms: Euclidean norm of what the SAE read, one a token; says how many tokens there were.
        """
        self._n_tokens += len(norms)
        self._active += np.bincount(columns, minlength=len(self._active))
        np.maximum.at(self._maximum, columns, values)
        self._values.add(columns, values)
        self._norms.add(np.zeros(len(norms), dtype=np.int64), norms)

    def result(self) -> FeatureStats:
        """Return what was counted.

        Raises:
            UserError: No token was taken.
        """
        if self._n_tokens == 0:
            raise UserError(f"The corpus {self._corpus!r} has no tokens to count. Give one that has text.")
        # The bin's middle may lie a little above the largest value.
        quantiles = np.stack([np.minimum(self._values.quantile(q), self._maximum) for q in LEVELS])
        return FeatureStats(
            corpus=self._corpus,
            n_tokens=self._n_tokens,
            density=(self._active / self._n_tokens).astype(np.float32),
            maximum=self._maximum.copy(),
            quantiles=quantiles.astype(np.float32),
            residual_norm=float(self._norms.quantile(0.5)[0]),
        )
