"""Scores of every feature for every concept, from the non-zeros of the sparse matrix alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from emosae.selection.exact import benjamini_hochberg, hypergeometric_tail, round_weights, weighted_tail

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["FeatureScores", "mutual_information", "score_features"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureScores:
    """Scores of the features that are active on at least one word; the rest have no score worth keeping.

    Attributes:
        features: Number of each scored feature, increasing.
        auroc: Probability that a member fires the feature more than a non-member does, ties counted half.
        mean_difference: Mean activation over the members minus that over the non-members.
        mutual_information: Between being active and being a member, in nats.
        p: Exact one-sided p of the number (with weights: the weight) of active members.
        p_adjusted: The same, adjusted over all features x concepts.
        support: Number of members on which the feature is active.
        n_positive: Members of each concept.
        n_negative: Non-members of each concept.
    """

    features: Int[np.ndarray, " k"]
    auroc: Float[np.ndarray, "concepts k"]
    mean_difference: Float[np.ndarray, "concepts k"]
    mutual_information: Float[np.ndarray, "concepts k"]
    p: Float[np.ndarray, "concepts k"]
    p_adjusted: Float[np.ndarray, "concepts k"]
    support: Int[np.ndarray, "concepts k"]
    n_positive: Int[np.ndarray, " concepts"]
    n_negative: Int[np.ndarray, " concepts"]


@dataclass(frozen=True, slots=True)
class _SortedColumns:
    """The non-zeros ordered by column and, inside a column, by value."""

    words: np.ndarray  # [nnz] row of each non-zero
    values: np.ndarray  # [nnz]
    columns: np.ndarray  # [nnz] position of its column among the scored features
    bounds: np.ndarray  # [k + 1] where each column begins and ends
    tie_start: np.ndarray  # [nnz] first non-zero of the column with the same value
    tie_end: np.ndarray  # [nnz] one past the last


def score_features(
    activations: sparse.csr_array,
    weights: Float[np.ndarray, "words concepts"],
    neutral: Bool[np.ndarray, " words"],
) -> FeatureScores:
    """Score all features for all concepts at once.

    A member of one concept is a non-member for every other one; a member of several concepts is a member of
    each of them and a non-member for none. Neutral words are non-members for all.

    Args:
        activations: Words x features, non-negative; a word counts as active where its activation is above 0.
        weights: Weight of each word in each concept; 0 where it is no member.
        neutral: Words that belong to no concept and count as non-members for all.

    Returns:
        The scores of every feature that is active on some word.
    """
    k_features = activations.shape[1]
    features, columns = _sort_columns(activations)
    member = weights > 0
    negative_somewhere = neutral | (member.sum(axis=1) == 1)
    shape = (member.shape[1], len(features))
    auroc, difference, information, p = (np.empty(shape) for _ in range(4))
    support = np.empty(shape, dtype=np.int32)
    n_positive = member.sum(axis=0)
    n_negative = np.empty(shape[0], dtype=np.int64)
    for concept in range(shape[0]):
        negative = negative_somewhere & ~member[:, concept]
        n_negative[concept] = negative.sum()
        one = _score_concept(columns, weights[:, concept], negative)
        auroc[concept], difference[concept], information[concept], p[concept], support[concept] = one
    adjusted = np.ones(shape)
    below = p < 1
    adjusted[below] = benjamini_hochberg(p[below], shape[0] * k_features)
    return FeatureScores(
        features=features,
        auroc=auroc,
        mean_difference=difference,
        mutual_information=information,
        p=p,
        p_adjusted=adjusted,
        support=support,
        n_positive=n_positive,
        n_negative=n_negative,
    )


def mutual_information(
    active_positive: Int[np.ndarray, " k"],
    active_negative: Int[np.ndarray, " k"],
    n_positive: int,
    n_negative: int,
) -> Float[np.ndarray, " k"]:
    """Return the mutual information of two binary variables from their counts, in nats.

    Args:
        active_positive: Members on which each feature is active.
        active_negative: Non-members on which it is active.
        n_positive: Members.
        n_negative: Non-members.

    Returns:
        The plug-in estimate, zero where activity says nothing about membership.
    """
    total = n_positive + n_negative
    active = active_positive + active_negative
    result = np.zeros(len(active))
    for cell, row, column in (
        (active_positive, active, n_positive),
        (active_negative, active, n_negative),
        (n_positive - active_positive, total - active, n_positive),
        (n_negative - active_negative, total - active, n_negative),
    ):
        some = cell > 0
        result[some] += cell[some] / total * np.log(cell[some] * total / (row[some] * column))
    return np.maximum(result, 0.0)


def _sort_columns(activations: sparse.csr_array) -> tuple[np.ndarray, _SortedColumns]:
    entries = sparse.coo_array(activations)
    words, all_columns, values = entries.coords[0], entries.coords[1], entries.data
    order = np.lexsort((values, all_columns))
    order = order[values[order] != 0]
    words, all_columns, values = words[order], all_columns[order], values[order]
    starts_column = np.ones(len(order), dtype=bool)
    starts_column[1:] = all_columns[1:] != all_columns[:-1]
    starts_tie = starts_column.copy()
    starts_tie[1:] |= values[1:] != values[:-1]
    column_start = np.flatnonzero(starts_column)
    tie_bounds = np.append(np.flatnonzero(starts_tie), len(order))
    tie = np.cumsum(starts_tie) - 1
    return all_columns[column_start].astype(np.int64), _SortedColumns(
        words=words,
        values=values,
        columns=np.cumsum(starts_column) - 1,
        bounds=np.append(column_start, len(order)),
        tie_start=tie_bounds[tie],
        tie_end=tie_bounds[tie + 1],
    )


def _score_concept(
    columns: _SortedColumns, weight: np.ndarray, negative: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """AUROC, mean difference, mutual information, p and support of all features for one concept."""
    k = len(columns.bounds) - 1
    positive_weights = weight[weight > 0]
    n_positive, n_negative, total_weight = len(positive_weights), int(negative.sum()), positive_weights.sum()

    # negatives_before[e]: non-members among the non-zeros before e, whatever the column.
    negatives_before = np.concatenate([[0], np.cumsum(negative[columns.words], dtype=np.int64)])
    column_start = negatives_before[columns.bounds[:-1]]
    active_negative = negatives_before[columns.bounds[1:]] - column_start
    inactive_negative = n_negative - active_negative

    hits = np.flatnonzero(weight[columns.words] > 0)
    column, hit_weight = columns.columns[hits], weight[columns.words[hits]]
    below = negatives_before[columns.tie_start[hits]] - column_start[column] + inactive_negative[column]
    tied = negatives_before[columns.tie_end[hits]] - negatives_before[columns.tie_start[hits]]
    # of nothing, bincount makes whole numbers whatever the weights are
    won = np.bincount(column, hit_weight * (below + 0.5 * tied), minlength=k).astype(np.float64)
    active_weight = np.bincount(column, hit_weight, minlength=k)
    # A member at zero ties with every non-member at zero.
    won += (total_weight - active_weight) * 0.5 * inactive_negative
    auroc = won / (total_weight * n_negative)

    member_sum = np.bincount(column, hit_weight * columns.values[hits], minlength=k)
    misses = np.flatnonzero(negative[columns.words])
    other_sum = np.bincount(columns.columns[misses], columns.values[misses], minlength=k)
    difference = member_sum / total_weight - other_sum / n_negative

    support = np.bincount(column, minlength=k)
    active = support + active_negative
    information = mutual_information(support, active_negative, n_positive, n_negative)
    if np.allclose(positive_weights, positive_weights[0]):
        p = hypergeometric_tail(support, active, n_positive=n_positive, n_negative=n_negative)
    else:
        units = np.zeros(len(weight))
        units[weight > 0] = round_weights(positive_weights)
        active_units = np.bincount(column, units[columns.words[hits]], minlength=k)
        p = weighted_tail(units[weight > 0], active_units, active, n_negative=n_negative)
    p[support == 0] = 1.0  # at least none: certain, whatever the rounding of the summed tail
    return auroc, difference, information, p, support
