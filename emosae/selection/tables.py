"""The tables of a selection: candidates in order, the words that fire them, a summary."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse

from emosae.selection.config import RankBy, SelectionConfig
from emosae.selection.membership import Membership
from emosae.selection.scores import FeatureScores

__all__ = ["column_statistics", "firing_words", "score_tables"]

WORD_SCHEMA = {
    "language": pl.String,
    "concept": pl.String,
    "feature": pl.Int64,
    "word": pl.String,
    "activation": pl.Float64,
    "in_concept": pl.Boolean,
}


def column_statistics(csr: sparse.csr_array, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each feature's share of active rows, and its mean over them (0 where it is never active)."""
    part = csr[rows]
    active = part.data > 0
    count = np.bincount(part.indices[active], minlength=csr.shape[1])
    total = np.bincount(part.indices[active], part.data[active], minlength=csr.shape[1])
    return count / len(rows), total / np.maximum(count, 1)


def score_tables(
    scored: FeatureScores, density: np.ndarray, membership: Membership, config: SelectionConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the candidates of every concept of a language in order, and a row on each concept.

    Args:
        scored: Scores of the features that are active somewhere.
        density: Share of the language's words on which each feature of the SAE is active.
        membership: The words of the language.
        config: Thresholds and sizes.
    """
    dense = density[scored.features]
    member = membership.weights > 0
    shared = member.sum(axis=1) > 1
    tables, rows = [], []
    for index, concept in enumerate(membership.concepts):
        candidate = np.flatnonzero(
            (scored.support[index] >= config.min_support)
            & (dense <= config.max_density)
            & (scored.auroc[index] >= config.min_auroc)
        )
        significant = scored.p_adjusted[index, candidate] <= config.alpha
        order = _order(scored, index, candidate, significant, RankBy(config.rank_by))
        n_significant = int(significant.sum())
        n_selected = min(max(n_significant, config.min_features), config.max_features, len(order))
        kept = order[: max(config.n_candidates, n_selected)]
        at = candidate[kept]
        tables.append(
            pl.DataFrame(
                {
                    "language": [membership.language] * len(at),
                    "concept": [concept] * len(at),
                    "feature": scored.features[at],
                    "auroc": scored.auroc[index, at],
                    "mean_difference": scored.mean_difference[index, at],
                    "mutual_information": scored.mutual_information[index, at],
                    "p": scored.p[index, at],
                    "p_adjusted": scored.p_adjusted[index, at],
                    "support": scored.support[index, at].astype(np.int64),
                    "density": dense[at],
                    "rank": np.arange(1, len(at) + 1),
                    "significant": significant[kept],
                    "selected": np.arange(len(at)) < n_selected,
                },
                schema_overrides={"language": pl.String, "concept": pl.String},
            )
        )
        rows.append(
            {
                "language": membership.language,
                "concept": concept,
                "n_words": int(scored.n_positive[index]),
                "n_missing": int(membership.n_missing[index]),
                "n_shared": int((member[:, index] & shared).sum()),
                "n_negatives": int(scored.n_negative[index]),
                "n_candidates": len(candidate),
                "n_significant": n_significant,
                "n_selected": n_selected,
                "note": _remark(int(scored.n_positive[index]), n_significant, n_selected, config),
            }
        )
    return pl.concat(tables), pl.DataFrame(rows, infer_schema_length=None)


def firing_words(
    csr: sparse.csr_array, items: pl.DataFrame, membership: Membership, selected: pl.DataFrame, n_words: int
) -> pl.DataFrame:
    """Return the words of the language on which each selected feature is most active.

    Args:
        csr: Words x features.
        items: The words of the rows.
        membership: The words of the language.
        selected: Columns concept and feature.
        n_words: Words for each feature; fewer where it is active on fewer.
    """
    if not selected.height or not n_words:
        return pl.DataFrame(schema=WORD_SCHEMA)
    features = np.unique(selected["feature"].to_numpy())
    part = sparse.coo_array(csr[membership.language_rows][:, features])
    row, column, value = membership.language_rows[part.coords[0]], part.coords[1], part.data
    order = np.lexsort((row, -value, column))
    order = order[value[order] > 0]
    row, column, value = row[order], column[order], value[order]
    place = np.arange(len(column)) - np.searchsorted(column, column)
    top = place < n_words
    fired = pl.DataFrame(
        {
            "feature": features[column[top]],
            "row": row[top],
            "word": items["word"].gather(row[top]),
            "activation": value[top].astype(np.float64),
        }
    )
    at, concept = np.nonzero(membership.weights > 0)
    members = pl.DataFrame(
        {
            "row": membership.rows[at],
            "concept": [membership.concepts[index] for index in concept],
            "in_concept": [True] * len(at),
        }
    )
    return (
        selected.select("concept", "feature")
        .join(fired, on="feature", how="inner", maintain_order="left_right")
        .join(members, on=["row", "concept"], how="left", maintain_order="left")
        .select(
            pl.lit(membership.language).alias("language"),
            "concept",
            "feature",
            "word",
            "activation",
            pl.col("in_concept").fill_null(False),
        )
    )


def _order(
    scored: FeatureScores, index: int, candidate: np.ndarray, significant: np.ndarray, rank_by: RankBy
) -> np.ndarray:
    """Order of the candidates: significant first, then by score; ties by AUROC, mean difference, number."""
    score = getattr(scored, rank_by.value)[index, candidate]
    if rank_by is not RankBy.P:
        score = -score
    return np.lexsort(
        (
            candidate,
            -scored.mean_difference[index, candidate],
            -scored.auroc[index, candidate],
            score,
            ~significant,
        )
    )


def _remark(n_words: int, n_significant: int, n_selected: int, config: SelectionConfig) -> str:
    if n_words < config.min_support:
        return f"{n_words} words are fewer than the minimum support of {config.min_support}; nothing selected"
    if not n_selected:
        return "no feature passes the filters"
    if n_significant < n_selected:
        return f"{n_selected - n_significant} of {n_selected} selected features are not significant"
    return ""
