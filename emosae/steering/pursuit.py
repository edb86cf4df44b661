"""A few rows whose sum comes nearest to a vector: how a handful of features stands for a state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["pursue"]


def pursue(
    rows: Float[np.ndarray, "n d"], wanted: Float[np.ndarray, " d"], n: int
) -> tuple[list[int], Float[np.ndarray, " taken"]]:
    """Take up to `n` rows, one by one, whose sum with weights from 0 comes nearest to `wanted`.

    Each time the row that lies most along what is still missing is taken, and all weights are fitted anew. Rows that
    end with no weight are left out, and it ends where no row helps.

    Args:
        rows: The rows, none of them zero.
        wanted: The vector.
        n: Most rows.

    Returns:
        The rows' numbers in the order in which they were taken, and their weights, all above 0.

    Source: orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993) with non-negative least squares.

    Example:
        >>> pursue(np.eye(3), np.array([1.0, 3.0, -2.0]), 2)
        ([1, 0], array([3., 1.]))
    """
    from scipy.optimize import nnls

    length = np.linalg.norm(rows, axis=1)
    taken: list[int] = []
    weights = np.empty(0)
    for _ in range(min(n, len(rows))):
        gain = rows @ (wanted - weights @ rows[taken]) / length
        gain[taken] = -np.inf
        if not gain.max() > 1e-9 * float(np.linalg.norm(wanted)):
            break
        taken.append(int(gain.argmax()))
        weights = nnls(rows[taken].T, wanted)[0]
    kept = weights > 0
    return [row for row, keep in zip(taken, kept, strict=True) if keep], weights[kept]
