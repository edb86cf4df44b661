"""FeatureMatrix: the sparse activations of items, with the table that says what the items are."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from emosae.errors import MissingFileError, UserError

__all__ = ["FeatureMatrix"]

_PARTS = ("data", "indices", "indptr")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureMatrix:
    """Sparse SAE activations, one row an item, beside the table of items.

    Attributes:
        csr: Activations, `[n_items, d_sae]`, float32, only non-zero values stored.
        items: One row an item, in the matrix' order: at least `text`; for words `word`, `language`, `template`.
        site: Where the SAE reads, as SAELens writes it (`blocks.3.hook_resid_post`).
        sae: The SAE's name.
        fingerprint: The SAE's content identity.
        metadata: How the matrix was made: pooling, counts of tokens, batches split for memory.

    Example:
        >>> import polars as pl, scipy.sparse as sp
        >>> items = pl.DataFrame({"text": ["joy", "joyful", "grief"], "word": ["joy", "joy", "grief"]})
        >>> matrix = FeatureMatrix(csr=sp.csr_array([[2.0, 0.0], [4.0, 0.0], [0.0, 1.0]]), items=items)
        >>> matrix.aggregate(by=["word"]).csr.toarray().tolist()
        [[3.0, 0.0], [0.0, 1.0]]
    """

    csr: sp.csr_array
    items: pl.DataFrame
    site: str = ""
    sae: str = ""
    fingerprint: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.csr.shape[0] != self.items.height:
            raise UserError(
                f"A feature matrix must have a row for each item, got {self.csr.shape[0]} rows and "
                f"{self.items.height} items. Build both from the same table."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """`(n_items, d_sae)`."""
        return self.csr.shape

    @property
    def d_sae(self) -> int:
        """The SAE's number of features."""
        return int(self.csr.shape[1])

    @property
    def l0(self) -> float:
        """Mean number of active features in a row."""
        return self.csr.nnz / max(self.csr.shape[0], 1)

    def __len__(self) -> int:
        return self.items.height

    def __repr__(self) -> str:
        return f"FeatureMatrix({len(self)} items x {self.d_sae} features, {self.l0:.1f} active each, {self.site})"

    def _repr_html_(self) -> str:
        from emosae.notebook import matrix_html

        return matrix_html(self)

    def take(self, rows: np.ndarray) -> FeatureMatrix:
        """Keep the rows of a boolean mask or an index array, in that order."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        return dataclasses.replace(self, csr=self.csr[index], items=self.items[index])

    def aggregate(self, by: list[str]) -> FeatureMatrix:
        """Average the rows that share `by`: the readings of one word become one row.

        Args:
            by: Columns of `items`, for example `["language", "word"]`.

        Returns:
            A matrix with a row for each distinct key, in order of first appearance, and the columns `by` plus
            `n_readings`.
        """
        missing = [name for name in by if name not in self.items.columns]
        if missing:
            raise UserError(
                f"The items have no column {missing[0]!r}. They have: {', '.join(self.items.columns)}."
            )
        group, keys = group_rows(self.items, by)
        return dataclasses.replace(self, csr=sp.csr_array(mean_by(group, keys.height) @ self.csr), items=keys)

    def save(self, folder: Path | str) -> None:
        """Write the matrix to `folder`, all or nothing; an existing one is replaced."""
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for part in _PARTS:
                np.save(temporary / f"{part}.npy", getattr(self.csr, part))
            self.items.write_parquet(temporary / "items.parquet")
            about = {
                "shape": list(self.csr.shape),
                "site": self.site,
                "sae": self.sae,
                "fingerprint": self.fingerprint,
            }
            text = json.dumps(about | {"metadata": self.metadata}, ensure_ascii=False, indent=1)
            (temporary / "matrix.json").write_text(text, encoding="utf-8")
            temporary.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path | str) -> FeatureMatrix:
        """Read a matrix that `save` wrote; its numbers are memory-mapped.

        Raises:
            MissingFileError: `folder` holds no feature matrix.
        """
        folder = Path(folder)
        about_file = folder / "matrix.json"
        if not about_file.is_file():
            raise MissingFileError.at(
                "A feature matrix", folder, "Name a folder that FeatureMatrix.save wrote."
            )
        about = json.loads(about_file.read_text(encoding="utf-8"))
        data, indices, indptr = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS)
        csr = sp.csr_array((data, indices, indptr), shape=tuple(about["shape"]))
        return cls(
            csr=csr,
            items=pl.read_parquet(folder / "items.parquet"),
            site=about["site"],
            sae=about["sae"],
            fingerprint=about["fingerprint"],
            metadata=about["metadata"],
        )


def group_rows(items: pl.DataFrame, by: list[str]) -> tuple[np.ndarray, pl.DataFrame]:
    """Number the distinct keys of `by` in order of first appearance.

    Returns:
        The key's number for each row, and the table of keys with `n_readings`.
    """
    keys = items.group_by(by, maintain_order=True).agg(pl.len().alias("n_readings"))
    numbered = keys.with_row_index("_group").select([*by, "_group"])
    group = items.select(by).join(numbered, on=by, how="left", nulls_equal=True, maintain_order="left")[
        "_group"
    ]
    return group.to_numpy().astype(np.int64), keys


def mean_by(group: np.ndarray, n_groups: int) -> sp.csr_array:
    """Build the `[n_groups, n_rows]` operator that averages the rows of each group."""
    counts = np.bincount(group, minlength=n_groups)
    weights = (1.0 / counts[group]).astype(np.float32)
    return sp.csr_array((weights, (group, np.arange(len(group)))), shape=(n_groups, len(group)))
