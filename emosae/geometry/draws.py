"""Random sets of features, as many as the emotion space has: what any set of that size would score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.errors import UserError
from emosae.geometry.inputs import RESERVED, Notes, Spaces
from emosae.geometry.rdm import compute_rdm, undefined_rows

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Draws", "draw_rdms", "random_draws"]

ATTEMPTS = 50
"""Draws tried for each one that is kept: a set on which some concept never fires has no RDM."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """Random counterparts of one space.

    Attributes:
        of: The space that they are compared with, for instance `features_en`.
        matrices: One matrix of concepts x features for each draw.
        size: Features in each draw; fewer than the space has where fewer fire at all.
    """

    of: str
    matrices: list[Float[np.ndarray, "concepts k"]]
    size: int


def random_draws(
    matrix: Float[np.ndarray, "concepts k"],
    of: str,
    size: int,
    *,
    n_draws: int,
    dissimilarity: str,
    seed: int = 0,
) -> Draws:
    """Draw sets of features at random, each without replacement, from all that fire on the concepts' words.

    Members of the emotion space may be drawn too: if the selection were worth nothing, the space would be one
    more such draw, which is what makes the share of draws that reach it a p-value. A draw on which some
    concept does not vary has no RDM and is drawn again.

    Args:
        matrix: Concepts x all features of the SAE; columns that are zero for every concept are never drawn.
        of: Name of the space that the draws are compared with.
        size: Features of that space.
        n_draws: How many.
        dissimilarity: How RDMs are made.
        seed: Seed of the draws.

    Returns:
        The draws; fewer than asked for where too many tries had no RDM, none where no feature fires.
    """
    live = matrix[:, (matrix != 0).any(axis=0)]
    size = min(size, live.shape[1])
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for _ in range(n_draws * ATTEMPTS if size else 0):
        if len(found) == n_draws:
            break
        one = live[:, rng.choice(live.shape[1], size, replace=False)]
        if not undefined_rows(one, dissimilarity).any():
            found.append(one)
    return Draws(of=of, matrices=found, size=size)


def draw_rdms(
    draws: Mapping[str, Draws], spaces: Spaces, concepts: list[str], dissimilarity: str, notes: Notes
) -> dict[str, Float[np.ndarray, "draws pairs"]]:
    """Make the RDMs of the draws on the concepts that the spaces kept.

    Args:
        draws: Draws by the name of their row.
        spaces: The spaces of the study.
        concepts: The rows of the draws' matrices.
        dissimilarity: How RDMs are made.
        notes: Takes what is left out.

    Raises:
        UserError: A draw has another number of concepts, or a name is taken.
    """
    kept = np.array([concept in set(spaces.concepts) for concept in concepts])
    result = {}
    for name, one in draws.items():
        if name in spaces.rdms or name in RESERVED:
            raise UserError(f"Random draws must have a name of their own, got {name!r}. Rename them.")
        wrong = [matrix.shape for matrix in one.matrices if len(matrix) != len(concepts)]
        if wrong:
            raise UserError(
                f"Each draw of {name!r} must have one row per concept ({len(concepts)}), got {wrong[0]!r}. "
                "Make it with random_draws(...)."
            )
        if one.of not in spaces.rdms or not one.matrices:
            notes.append((name, f"Left out: there is no random set of {one.size} features on all concepts."))
            continue
        width = spaces.matrices[one.of].shape[1]
        if one.size < width:
            notes.append((name, f"Only {one.size} features fire on the words; {one.of} has {width}."))
        result[name] = np.array([compute_rdm(matrix[kept], dissimilarity) for matrix in one.matrices])
    return result
