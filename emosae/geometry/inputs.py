"""What a study compares: spaces over the same concepts, and the human data that speak of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from emosae.errors import UserError
from emosae.geometry.rdm import compute_rdm, n_conditions, pair_indices, pair_numbers, undefined_rows

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["ATTRIBUTES", "Human", "HumanData", "Spaces", "read_human", "read_spaces"]

ATTRIBUTES = ("valence", "arousal")
RESERVED = (*ATTRIBUTES, "valence_arousal", "human", "ceiling_lower", "ceiling_upper")
MIN_SHARED = 4

Notes = list[tuple[str, str]]


class HumanData(Protocol):
    """Similarity judgements, as `emosae.norms` reads them."""

    @property
    def concepts(self) -> Sequence[str]:
        """Names of the concepts."""

    @property
    def raters(self) -> np.ndarray:
        """Dissimilarities [raters, pairs] in the order of `pdist`, NaN where a pair was not judged."""

    @property
    def attributes(self) -> pl.DataFrame:
        """Columns concept and, where known, valence and arousal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spaces:
    """Concept coordinates that all have the same rows, and their RDMs.

    Attributes:
        concepts: The rows.
        matrices: Concepts x coordinates by name.
        rdms: Their RDMs, in the same order.
    """

    concepts: list[str]
    matrices: dict[str, Float[np.ndarray, "concepts k"]]
    rdms: dict[str, Float[np.ndarray, " pairs"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Human:
    """Human data on those concepts of the study that it speaks of.

    Attributes:
        rows: Their rows in the spaces.
        concepts: Their names.
        pairs: Their pairs among those of the study.
        raters: Judgements of these pairs.
        attributes: Valence and arousal of these concepts, those that are known for all of them.
    """

    rows: Int[np.ndarray, " shared"]
    concepts: list[str]
    pairs: Int[np.ndarray, " pairs"]
    raters: Float[np.ndarray, "raters pairs"]
    attributes: dict[str, Float[np.ndarray, " shared"]]


def read_spaces(
    concept_matrices: Mapping[str, np.ndarray], concepts: Sequence[str], dissimilarity: str, notes: Notes
) -> Spaces:
    """Check the spaces and make their RDMs.

    All spaces must stand on the same concepts to be compared like with like. A concept without variation in
    some space is left out of all of them; a space in which more than a quarter of the concepts are so is
    itself left out. Both are noted.

    Args:
        concept_matrices: Concepts x coordinates by name.
        concepts: The rows.
        dissimilarity: How the RDMs are made.
        notes: Takes what is left out.

    Raises:
        UserError: The spaces do not fit the concepts, hold NaN, or leave fewer than three concepts.
    """
    concepts = list(concepts)
    matrices = {name: np.asarray(matrix, dtype=np.float64) for name, matrix in concept_matrices.items()}
    _check(matrices, concepts)
    undefined = {name: undefined_rows(matrix, dissimilarity) for name, matrix in matrices.items()}
    for name, rows in undefined.items():
        if rows.sum() > len(concepts) / 4:
            notes.append(
                (
                    name,
                    f"Left out: {rows.sum()} of {len(concepts)} concepts do not vary over its coordinates.",
                )
            )
            del matrices[name]
    if not matrices:
        raise UserError(
            f"A space must vary over its coordinates for most concepts, got none of {sorted(undefined)!r}. "
            "Give concepts more words, select more features, or use geometry.dissimilarity=euclidean."
        )
    dropped = np.any([undefined[name] for name in matrices], axis=0)
    for row in np.flatnonzero(dropped):
        where = [name for name in matrices if undefined[name][row]]
        notes.append((concepts[row], f"Left out of all spaces: it does not vary in {', '.join(where)}."))
    kept = [concept for concept, gone in zip(concepts, dropped, strict=True) if not gone]
    if len(kept) < 3:
        raise UserError(
            f"A study must compare at least 3 concepts, got {len(kept)}: {kept!r}. "
            "Give more concepts, or more words and features for those that do not vary."
        )
    matrices = {name: matrix[~dropped] for name, matrix in matrices.items()}
    return Spaces(
        concepts=kept,
        matrices=matrices,
        rdms={name: compute_rdm(matrix, dissimilarity) for name, matrix in matrices.items()},
    )


def _check(matrices: Mapping[str, np.ndarray], concepts: list[str]) -> None:
    if not matrices:
        raise UserError(
            "A study must have at least one space, got none. Give a matrix of concepts x features."
        )
    twice = {concept for concept in concepts if concepts.count(concept) > 1}
    if twice:
        raise UserError(f"Concepts must be distinct, got {sorted(twice)!r} twice. Give each concept one row.")
    for name, matrix in matrices.items():
        if name in RESERVED:
            raise UserError(f"A space must not be named like a human measure, got {name!r}. Rename it.")
        if matrix.ndim != 2 or len(matrix) != len(concepts):
            raise UserError(
                f"The space {name!r} must have one row per concept ({len(concepts)}), got {matrix.shape!r}. "
                "Make it with concept_matrix(..., concepts=concepts)."
            )
        if not np.isfinite(matrix).all():
            row = concepts[int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])]
            raise UserError(
                f"The space {name!r} must be finite, got NaN or infinity for {row!r}. "
                "Check that each concept has words with features."
            )


def read_human(
    human: HumanData, concepts: Sequence[str], attributes: pl.DataFrame | None, notes: Notes
) -> Human:
    """Take from the human data what it says of these concepts.

    Raters who judged fewer than two of the pairs, or gave all of them the same value, say nothing about
    similarity and are left out for every row of the study alike.

    Raises:
        UserError: Fewer than four concepts are shared, the raters do not fit the concepts, or none is left.
    """
    theirs = list(human.concepts)
    raters = np.atleast_2d(np.asarray(human.raters, dtype=np.float64))
    if n_conditions(raters.shape[1]) != len(theirs):
        raise UserError(
            f"Each rater must have {len(theirs) * (len(theirs) - 1) // 2} pairs of {len(theirs)} concepts, "
            f"got {raters.shape[1]!r}. Check the order and number of the concepts."
        )
    shared = [concept for concept in concepts if concept in set(theirs)]
    if len(shared) < MIN_SHARED:
        raise UserError(
            f"The study and the human data must share at least {MIN_SHARED} concepts, "
            f"got {len(shared)}: {shared!r}. "
            "Choose a concept set with the names of the human data, or leave the human data out."
        )
    if len(shared) < len(concepts):
        rest = [concept for concept in concepts if concept not in shared]
        notes.append(("human", f"Compared on {len(shared)} concepts; no judgements of {', '.join(rest)}."))
    place = np.array([theirs.index(concept) for concept in shared])
    first, second = pair_indices(len(shared))
    judged = raters[:, pair_numbers(len(theirs))[place[first], place[second]]]
    some = ~np.isnan(judged)
    low = np.where(some, judged, np.inf).min(axis=1)
    high = np.where(some, judged, -np.inf).max(axis=1)
    useful = (some.sum(axis=1) >= 2) & (high > low)
    if not useful.any():
        raise UserError(
            f"A rater must judge some shared pairs as less alike than others, got {len(judged)} raters "
            "of whom none does. Choose other concepts or other human data."
        )
    if not useful.all():
        notes.append(
            ("human", f"{(~useful).sum()} of {len(useful)} raters left out: all their judgements are equal.")
        )
    missing = int((~some[useful]).sum())
    if missing:
        notes.append(
            ("human", f"{missing} of {some[useful].size} judgements are missing and dropped rater by rater.")
        )
    if useful.sum() == 1:
        notes.append(("human", "There is one rater, or only a mean: the data tell no noise ceiling."))
    language = getattr(human, "language", None)
    if language:
        notes.append(
            (
                "human",
                f"The raters judged words in {language!r}; spaces of every language are compared with them.",
            )
        )
    rows = np.array([list(concepts).index(concept) for concept in shared])
    return Human(
        rows=rows,
        concepts=shared,
        pairs=pair_numbers(len(concepts))[rows[first], rows[second]],
        raters=judged[useful],
        attributes=read_attributes(human.attributes if attributes is None else attributes, shared, notes),
    )


def read_attributes(
    table: pl.DataFrame | None, concepts: Sequence[str], notes: Notes
) -> dict[str, np.ndarray]:
    """Return valence and arousal of the concepts, each if it is known for all of them and varies.

    What is known for some only is noted and left out, so that no row of a table rests on other concepts.
    """
    found: dict[str, np.ndarray] = {}
    if table is None:
        return found
    for name in ATTRIBUTES:
        if name not in table.columns:
            continue
        known = dict(table.select("concept", pl.col(name).cast(pl.Float64)).iter_rows())
        values = np.array([np.nan if known.get(c) is None else known[c] for c in concepts], dtype=np.float64)
        lacking = [concept for concept, value in zip(concepts, values, strict=True) if np.isnan(value)]
        if lacking:
            notes.append((name, f"Left out: not known for {', '.join(lacking)}."))
        elif np.ptp(values) == 0:
            notes.append((name, "Left out: the same for all concepts."))
        else:
            found[name] = values
    return found
