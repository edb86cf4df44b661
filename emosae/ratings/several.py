"""Several data sets of one language: each is a study of its own, and nothing is averaged over them.

The first data set named for each language goes into one study together, the only one with transfer between
languages; every further one stands alone. So a data set has the same folds and numbers whether or not another one
is named after it. The data sets read the same features, and what they say of the words they share stands beside
them as what it is: agreement between norms, not the ceiling of either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from emosae.ratings.scores import reliability_ceiling
from emosae.ratings.study import RatingsResult
from emosae.ratings.tables import AGREEMENT, DATA_SETS, errors_of

__all__ = ["agreement", "join_studies", "split_studies"]

_LEAST_SHARED = 3  # a correlation of fewer words says nothing


def split_studies(languages: Mapping[str, str]) -> list[list[str]]:
    """Say which data sets are studied together.

    Args:
        languages: Language of each data set, by its name, in the order in which a study names them.

    Returns:
        Names of the data sets of each study: first the first one of each language, then every other one alone.

    Example:
        >>> split_studies({"warriner": "en", "glasgow": "en", "cvaw3": "zh"})
        [['warriner', 'cvaw3'], ['glasgow']]
    """
    first: dict[str, str] = {}
    for name, language in languages.items():
        first.setdefault(language, name)
    chosen = list(first.values())
    return [chosen, *([name] for name in languages if name not in chosen)] if chosen else []


def join_studies(studies: Sequence[tuple[Mapping[str, str], RatingsResult]]) -> RatingsResult:
    """Stack studies into one result whose tables say which data set each row is about.

    Args:
        studies: For each study the data set of each of its languages, and what it found.

    Returns:
        The tables below each other with a column `norms` in front; in `transfer` it names the ratings that were
        predicted and `train_norms` those that were learnt from. `data_sets` has a row for each data set. The
        adjusted p-values stay those of each study.
    """
    results = [result for _, result in studies]
    tables: dict[str, Any] = {}
    for name in ("scores", "folds", "predictions", "comparisons", "weights", "groups"):
        parts = [_named(getattr(result, name), names, "language", "norms") for names, result in studies]
        tables[name] = pl.concat(parts)
    transfer = [
        _named(
            _named(result.transfer, names, "train_language", "train_norms"), names, "test_language", "norms"
        )
        for names, result in studies
    ]
    rows = [
        {
            "norms": norms,
            "language": language,
            "study": number,
            "n_words": result.scores.filter(pl.col("language") == language)["n_words"].max(),
            "n_excluded": result.n_excluded,
        }
        for number, (names, result) in enumerate(studies)
        for language, norms in names.items()
    ]
    return dataclasses.replace(
        results[0],
        **tables,
        transfer=pl.concat(transfer),
        n_excluded=sum(result.n_excluded for result in results),
        data_sets=pl.DataFrame(rows, schema=DATA_SETS),
    )


def _named(table: pl.DataFrame, names: Mapping[str, str], language: str, column: str) -> pl.DataFrame:
    """Put the data set of each row's language in front."""
    found = pl.col(language).replace_strict(dict(names), return_dtype=pl.String)
    return table.select(found.alias(column), pl.all())


def agreement(
    tables: Mapping[str, pl.DataFrame], targets: Sequence[str] = ("valence", "arousal")
) -> pl.DataFrame:
    """Correlate the ratings of the words that two data sets of one language share.

    This is no ceiling: two norms differ by their raters, years and instructions as well as by chance.

    Args:
        tables: Rated words of each data set, by name: `word`, `language`, the targets and, where known,
            `<target>_sd` and `<target>_n`.
        targets: The rated dimensions.

    Returns:
        `AGREEMENT`, a row for each pair, language and target with at least three words in both: Pearson's r over
        the shared words, and the root of each data set's own reliability over all its words (null where the norms
        do not give it).
    """
    rows: list[dict[str, object]] = []
    names = list(tables)
    for at, a in enumerate(names):
        for b in names[at + 1 :]:
            both = tables[a].join(tables[b], on=["language", "word"], how="inner", suffix="_b")
            for (language,), own in both.group_by("language", maintain_order=True):
                for target in targets:
                    if own.height < _LEAST_SHARED or not {target, f"{target}_b"} <= set(own.columns):
                        continue
                    pair = own.select(target, f"{target}_b").drop_nulls().cast(pl.Float64).to_numpy()
                    if len(pair) < _LEAST_SHARED or not pair.std(axis=0).all():
                        continue
                    rows.append(
                        {
                            "language": language,
                            "target": target,
                            "a": a,
                            "b": b,
                            "n_words": len(pair),
                            "r": float(np.corrcoef(pair.T)[0, 1]),
                            "ceiling_a": _ceiling(tables[a], str(language), target),
                            "ceiling_b": _ceiling(tables[b], str(language), target),
                        }
                    )
    return pl.DataFrame(rows, schema=AGREEMENT)


def _ceiling(table: pl.DataFrame, language: str, target: str) -> float | None:
    own = table.filter((pl.col("language") == language) & pl.col(target).is_not_null())
    found = reliability_ceiling(own[target].cast(pl.Float64).to_numpy(), *errors_of(own, target))
    return found if np.isfinite(found) else None
