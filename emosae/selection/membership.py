"""Which rows of the features are words of which concept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse

from emosae.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["Membership", "check_features", "read_membership"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """The words of one language: which concept each belongs to, and which belong to none.

    Attributes:
        language: The language.
        concepts: The concepts, in the order of the columns of `weights`.
        language_rows: Rows of the features that hold words of this language, studied or not.
        rows: Those of them that are members or neutral.
        weights: Weight of each word of `rows` in each concept, 0 where it is no member.
        neutral: Whether each word of `rows` is neutral: listed as such and a member of no concept.
        n_missing: Words of each concept that have no features.
        n_neutral_shared: Neutral words that are members of a concept.
    """

    language: str
    concepts: list[str]
    language_rows: Int[np.ndarray, " all"]
    rows: Int[np.ndarray, " words"]
    weights: Float[np.ndarray, "words concepts"]
    neutral: Bool[np.ndarray, " words"]
    n_missing: Int[np.ndarray, " concepts"]
    n_neutral_shared: int


def check_features(csr: sparse.csr_array, items: pl.DataFrame) -> sparse.csr_array:
    """Return the features as a canonical CSR array, or say what is wrong with them."""
    for column in ("word", "language"):
        if column not in items.columns:
            raise UserError(
                f"The items must have the columns word and language, got {items.columns}. "
                f"Add the column {column!r}."
            )
    if csr.shape[0] != items.height:
        raise UserError(
            f"The features must have one row per item ({items.height}), got {csr.shape[0]}. "
            "Take the features and the items from the same matrix."
        )
    twice = items.group_by("language", "word").len().filter(pl.col("len") > 1).sort("language", "word")
    if twice.height:
        language, word, n = twice.row(0)
        raise UserError(
            f"Each word must have one row per language, got {n} rows for {word!r} ({language}). "
            'Average the readings of a word first: features.aggregate(by=["language", "word"]).'
        )
    csr = sparse.csr_array(csr)
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    if csr.nnz and not (np.isfinite(csr.data).all() and csr.data.min() >= 0):
        raise UserError(
            f"Activations must be finite and not negative, got a least value of {csr.data.min()!r}. "
            "Give the features of an SAE, not dense activations."
        )
    return csr


def read_membership(
    items: pl.DataFrame,
    words: pl.DataFrame,
    neutral: pl.DataFrame | None,
    *,
    language: str,
    concepts: list[str],
) -> Membership:
    """Match concept words and neutral words of one language to the rows of the features.

    Args:
        items: Columns word and language, one row per row of the features.
        words: Columns concept, language, word and, if weighted, weight. A word that a concept lists twice
            counts once, with its larger weight.
        neutral: Columns language and word; None for none.
        language: The language to read.
        concepts: Order of the concepts.

    Raises:
        UserError: The language or a concept has no word with features, a weight is not above zero, or there
            is nothing to tell the only concept from.
    """
    listed = words.filter(pl.col("language") == language)
    in_language = items.with_row_index("row").filter(pl.col("language") == language)
    if not listed.height or not in_language.height:
        have = sorted(set(words["language"]) & set(items["language"]))
        raise UserError(
            f"The words must include the language {language!r}, got words and features for {have}. "
            "Choose among these languages or give words for it."
        )
    if "weight" not in listed.columns:
        listed = listed.with_columns(pl.lit(1.0).alias("weight"))
    listed = listed.select("concept", "word", pl.col("weight").cast(pl.Float64))
    wrong = listed.filter(
        ~(pl.col("weight") > 0) | pl.col("weight").is_null() | pl.col("weight").is_infinite()
    )
    if wrong.height:
        concept, word, weight = wrong.row(0)
        raise UserError(
            f"A weight must be a number above 0, got {weight!r} for {word!r} of {concept!r}. "
            "Leave the word out of the concept or correct its weight."
        )
    listed = listed.group_by("concept", "word").agg(pl.col("weight").max())
    matched = listed.join(in_language.select("row", "word"), on="word", how="inner")
    n_listed = dict(listed.group_by("concept").len().iter_rows())
    n_found = dict(matched.group_by("concept").len().iter_rows())
    for concept in concepts:
        if not n_found.get(concept):
            raise UserError(
                f"The concept {concept!r} must have a word with features in {language!r}, "
                f"got none of {n_listed.get(concept, 0)}. Give it other words or leave the concept out."
            )

    member_rows = np.unique(matched["row"].to_numpy())
    neutral_rows = _neutral_rows(in_language, neutral, language)
    rows = np.union1d(member_rows, neutral_rows).astype(np.int64)
    weights = np.zeros((len(rows), len(concepts)))
    column = {concept: index for index, concept in enumerate(concepts)}
    at = np.searchsorted(rows, matched["row"].to_numpy())
    weights[at, [column[concept] for concept in matched["concept"]]] = matched["weight"].to_numpy()
    is_neutral = np.isin(rows, neutral_rows) & ~np.isin(rows, member_rows)

    member = weights > 0
    usable = is_neutral | (member.sum(axis=1) == 1)
    for index, concept in enumerate(concepts):
        if not (usable & ~member[:, index]).any():
            raise UserError(
                f"The concept {concept!r} must have words of other concepts or neutral words to be told from "
                f"in {language!r}, got none. Add neutral words or another concept."
            )
    return Membership(
        language=language,
        concepts=concepts,
        language_rows=in_language["row"].to_numpy().astype(np.int64),
        rows=rows,
        weights=weights,
        neutral=is_neutral,
        n_missing=np.array([n_listed[c] - n_found[c] for c in concepts]),
        n_neutral_shared=int(np.isin(neutral_rows, member_rows).sum()),
    )


def _neutral_rows(in_language: pl.DataFrame, neutral: pl.DataFrame | None, language: str) -> np.ndarray:
    if neutral is None or not neutral.height:
        return np.empty(0, dtype=np.int64)
    own = neutral.filter(pl.col("language") == language).select("word").unique()
    return np.sort(in_language.join(own, on="word", how="inner")["row"].to_numpy()).astype(np.int64)
