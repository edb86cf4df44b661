"""Turn one map of the concepts onto another, and test whether they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.geometry.permutation import Permutations, permutation_p

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Alignment", "align", "procrustes_test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """The rotation or reflection, scale and shift that bring one map closest to another.

    Attributes:
        rotation: Orthogonal matrix.
        scale: Factor on the rotated coordinates.
        centre: Mean of the map that is moved, taken off first.
        shift: Mean of the map it is moved to, added last.
        correlation: 1 where the maps coincide after alignment, 0 where nothing fits; its square is the share
            of the variance explained, one minus scipy's disparity.
    """

    rotation: Float[np.ndarray, "axes axes"]
    scale: float
    centre: Float[np.ndarray, " axes"]
    shift: Float[np.ndarray, " axes"]
    correlation: float

    def apply(self, coordinates: Float[np.ndarray, "n axes"]) -> Float[np.ndarray, "n axes"]:
        """Move coordinates of the first map, of these concepts or others, onto the second."""
        return (coordinates - self.centre) @ self.rotation * self.scale + self.shift


def align(moved: Float[np.ndarray, "concepts axes"], fixed: Float[np.ndarray, "concepts axes"]) -> Alignment:
    """Find the alignment of `moved` to `fixed` with least squared error.

    Args:
        moved: Coordinates of the concepts in one map.
        fixed: Coordinates of the same concepts in the other.

    Source: Schönemann (1966); Gower (1975).
    """
    centre, shift = moved.mean(axis=0), fixed.mean(axis=0)
    a, b = moved - centre, fixed - shift
    left, values, right = np.linalg.svd(a.T @ b)
    size_a, size_b = np.linalg.norm(a), np.linalg.norm(b)
    flat = size_a == 0 or size_b == 0
    return Alignment(
        rotation=left @ right,
        scale=0.0 if flat else float(values.sum() / size_a**2),
        centre=centre,
        shift=shift,
        correlation=float("nan") if flat else float(values.sum() / (size_a * size_b)),
    )


def procrustes_test(
    moved: Float[np.ndarray, "concepts axes"],
    fixed: Float[np.ndarray, "concepts axes"],
    permutations: Permutations,
) -> tuple[float, float]:
    """Return the Procrustes correlation of two maps and its permutation p.

    Args:
        moved: Coordinates of the concepts in one map.
        fixed: Coordinates of the same concepts in the other.
        permutations: Orders of the concepts.

    Source: Jackson (1995), PROTEST: a Procrustean randomization test.
    """
    observed = align(moved, fixed).correlation
    a, b = moved - moved.mean(axis=0), fixed - fixed.mean(axis=0)
    crossed = np.einsum("na,onb->oab", a, b[permutations.orders], optimize=True)
    size = np.linalg.norm(a) * np.linalg.norm(b)
    null = np.linalg.svd(crossed, compute_uv=False).sum(axis=1) / (size or np.nan)
    return observed, float(permutation_p(np.array(observed), null, exact=permutations.exact))
