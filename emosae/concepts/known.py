"""How many of a set's words the tokenizer knows; a study of too few is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import polars as pl

from emosae.errors import CoverageError, UserError

__all__ = ["coverage"]

logger = logging.getLogger(__name__)


def coverage(
    words: pl.DataFrame,
    unknown_words: Iterable[str],
    threshold: float = 0.5,
    *,
    name: str = "the concept set",
) -> pl.DataFrame:
    """Count the words that the tokenizer knows, and refuse a language of which it knows too few.

    Args:
        words: Columns `word`, `language` and, for concept sets, `concept`.
        unknown_words: The words of which a token is unknown to the tokenizer; the study drops them.
        threshold: Smallest share of a language's distinct words that must be known, in [0, 1].
        name: What the words are, for the message.

    Returns:
        A row for each language, and for each concept of it where there are concepts: `language`, `concept`,
        `words`, `known`, `dropped`, `share` (known / words).

    Raises:
        CoverageError: A language below `threshold`.
        UserError: A concept of which no word is left, or no words at all.

    Example:
        >>> words = pl.DataFrame({"word": ["joy", "glee"], "language": ["en", "en"]})
        >>> coverage(words, ["glee"])["share"].to_list()
        [0.5]
    """
    if words.is_empty():
        raise UserError(f"There are no words in {name}. Give it some.")
    unknown = set(unknown_words)
    keys = [column for column in ("language", "concept") if column in words.columns]
    distinct = words.select(*keys, "word").unique(maintain_order=True)
    marked = distinct.with_columns(known=~pl.col("word").is_in(list(unknown)))
    for (language,), own in marked.group_by("language", maintain_order=True):
        once = own.unique("word")
        n_words, n_known = once.height, int(once["known"].sum())
        if n_known == 0 or n_known < threshold * n_words:
            raise CoverageError(
                f"The tokenizer must know at least {threshold:.0%} of the words of {name} in {language!r}, "
                f"and knows {n_known} of {n_words} ({n_known / n_words:.0%}). Leave the language out, or "
                "choose a model that reads it."
            )
    table = (
        marked.group_by(keys, maintain_order=True)
        .agg(pl.len().cast(pl.Int64).alias("words"), pl.col("known").sum().cast(pl.Int64))
        .with_columns(dropped=pl.col("words") - pl.col("known"), share=pl.col("known") / pl.col("words"))
    )
    if "concept" in keys:
        for row in table.filter(pl.col("share") < max(threshold, 0.5)).iter_rows(named=True):
            if row["known"] == 0:
                raise UserError(
                    f"The tokenizer knows none of the {row['words']} words of {row['concept']!r} in "
                    f"{row['language']!r} of {name}. Leave the concept out, or give it other words."
                )
            logger.warning(
                "%s in %s: the tokenizer knows %d of %d words",
                row["concept"],
                row["language"],
                row["known"],
                row["words"],
            )
    return table
