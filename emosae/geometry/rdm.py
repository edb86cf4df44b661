"""Representational dissimilarity matrices (RDMs) of concepts, kept as vectors of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import sparse
from scipy.spatial.distance import pdist

from emosae.errors import UserError
from emosae.geometry.measures import Dissimilarity

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = [
    "compute_rdm",
    "concept_matrix",
    "n_conditions",
    "pair_indices",
    "pair_numbers",
    "undefined_rows",
]


def concept_matrix(
    csr: sparse.csr_array,
    items: pl.DataFrame,
    words: pl.DataFrame,
    *,
    language: str,
    concepts: Sequence[str],
    features: Int[np.ndarray, " k"] | None = None,
) -> Float[np.ndarray, "concepts k"]:
    """Average the words of each concept into one row.

    Args:
        csr: Words x features, one row per word and language; a dense array (residuals,
            embeddings) serves too.
        items: Columns word and language, one row per row of `csr`.
        words: Columns concept, language, word and, if weighted, weight.
        language: The words to use.
        concepts: The rows, in order.
        features: The columns, in order, for instance those of the emotion space; None for all.

    Returns:
        The weighted mean activation of each concept on each feature.

    Raises:
        UserError: A concept has no word with features in this language, or no feature is named.

    Example:
        >>> items = pl.DataFrame({"word": ["glad", "merry"], "language": ["en", "en"]})
        >>> words = items.with_columns(pl.lit("joy").alias("concept"))
        >>> concept_matrix(np.array([[1.0, 0.0], [3.0, 2.0]]), items, words, language="en", concepts=["joy"])
        array([[2., 1.]])
    """
    if features is not None and not len(features):
        raise UserError(
            "The emotion space must hold at least one feature, got none. "
            "Lower selection.min_auroc or selection.min_support, or raise selection.min_features."
        )
    rows = items.with_row_index("row").filter(pl.col("language") == language).select("row", "word")
    listed = words.filter(pl.col("language") == language)
    if "weight" not in listed.columns:
        listed = listed.with_columns(pl.lit(1.0).alias("weight"))
    listed = listed.group_by("concept", "word").agg(pl.col("weight").max())
    place = pl.DataFrame({"concept": list(concepts), "at": np.arange(len(concepts))})
    used = listed.join(rows, on="word").join(place, on="concept").sort("at", "row")
    empty = [concept for concept in concepts if concept not in set(used["concept"])]
    if empty:
        raise UserError(
            f"The concept {empty[0]!r} must have a word with features in {language!r}, got none. "
            "Give it other words or leave the concept out."
        )
    total = np.bincount(used["at"].to_numpy(), used["weight"].to_numpy(), minlength=len(concepts))
    share = used["weight"].to_numpy() / total[used["at"].to_numpy()]
    average = sparse.csr_array(
        (share, (used["at"].to_numpy(), used["row"].to_numpy())), shape=(len(concepts), csr.shape[0])
    )
    columns = csr if features is None else csr[:, np.asarray(features)]
    result = average @ columns
    return np.asarray(result.toarray() if sparse.issparse(result) else result, dtype=np.float64)


def compute_rdm(
    matrix: Float[np.ndarray, "concepts k"], method: str = Dissimilarity.CORRELATION
) -> Float[np.ndarray, " pairs"]:
    """Return the dissimilarity of every pair of rows, in the order of scipy's `pdist`.

    Args:
        matrix: One row per concept.
        method: A `Dissimilarity`.

    Returns:
        (0, 1), (0, 2), ... (n-2, n-1): correlation and cosine in [0, 2], euclidean not negative.

    Raises:
        UserError: Fewer than two rows, or a row for which the dissimilarity is not defined.

    Source: Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis.

    Example:
        >>> compute_rdm(np.array([[0.0, 0.0], [3.0, 4.0]]), "euclidean")
        array([5.])
    """
    matrix = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    if matrix.shape[0] < 2:
        raise UserError(f"An RDM must have at least 2 rows, got {matrix.shape[0]!r}. Give more concepts.")
    if not np.isfinite(matrix).all():
        raise UserError(
            "The rows of an RDM must be finite, got NaN or infinity. Check how they were averaged."
        )
    undefined = undefined_rows(matrix, method)
    if undefined.any():
        raise UserError(
            f"Every row must vary for the {Dissimilarity(method).value} dissimilarity, got no variation "
            f"in rows {np.flatnonzero(undefined).tolist()!r}. Leave these concepts out or use euclidean."
        )
    distance = pdist(matrix, metric=Dissimilarity(method).value)
    return np.clip(distance, 0.0, None)  # rounding can make the distance of equal rows -1e-16


def undefined_rows(
    matrix: Float[np.ndarray, "concepts k"], method: str = Dissimilarity.CORRELATION
) -> Bool[np.ndarray, " concepts"]:
    """Return which rows have no dissimilarity: constant ones for correlation, zero ones for cosine."""
    return _UNDEFINED[Dissimilarity(method)](np.asarray(matrix, dtype=np.float64))


def _constant(matrix: np.ndarray) -> np.ndarray:
    spread = np.ptp(matrix, axis=1)
    return np.asarray(spread <= 1e-12 * np.abs(matrix).max(axis=1))


_UNDEFINED: dict[Dissimilarity, Callable[[np.ndarray], np.ndarray]] = {
    Dissimilarity.CORRELATION: _constant,
    Dissimilarity.COSINE: lambda matrix: np.asarray(~matrix.any(axis=1)),
    Dissimilarity.EUCLIDEAN: lambda matrix: np.zeros(len(matrix), dtype=bool),
}


def n_conditions(n_pairs: int) -> int:
    """Return the number of concepts that have `n_pairs` pairs."""
    n = round((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
    if n * (n - 1) // 2 != n_pairs:
        raise UserError(
            f"A vector of pairs must hold n(n-1)/2 values, got {n_pairs!r}. Give the upper triangle."
        )
    return n


def pair_indices(n: int) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Return the first and the second concept of each pair, in the order of `pdist`."""
    first, second = np.triu_indices(n, k=1)
    return first, second


def pair_numbers(n: int) -> Int[np.ndarray, "n n"]:
    """Return the number of the pair (i, j) for all i and j; -1 on the diagonal."""
    number = np.full((n, n), -1, dtype=np.int64)
    first, second = pair_indices(n)
    number[first, second] = number[second, first] = np.arange(len(first))
    return number
