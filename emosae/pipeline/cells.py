"""What a study's ratings are predicted from: all features, sets of them, dense readings, and the word's surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from emosae.features import Reading
from emosae.ratings.design import Predictor
from emosae.selection import Selection

__all__ = ["rating_cells", "surface"]


def rating_cells(
    reading: Reading, selection: Selection, table: pl.DataFrame, languages: Sequence[str]
) -> tuple[dict[str, Predictor], dict[str, np.ndarray]]:
    """Name the predictors of a ratings study.

    A set of features that is empty stays in: its row in the scores says so.

    Args:
        reading: One row a rated word.
        selection: The feature sets, chosen by other words.
        table: The rated words, in the order of the reading.
        languages: The study's languages; the universal and the language-specific sets need two.

    Returns:
        The predictors, and the feature numbers in the columns of those that are sets of features.
    """
    csr = reading.features.csr
    sets = {"emotion_space": "space"}
    if len(languages) > 1:
        sets |= {"universal": "universal"} | {
            f"{language}_only": f"{language}_only" for language in languages
        }
    sets |= {"matched_control": "control"}
    columns = {"features": np.arange(csr.shape[1])} | {
        name: np.asarray(selection.features(which), dtype=np.int64) for name, which in sets.items()
    }
    predictors: dict[str, Predictor] = {name: csr[:, chosen] for name, chosen in columns.items()}
    predictors |= {name: np.asarray(values) for name, values in reading.dense.items()}
    return predictors | surface(table), columns


def surface(table: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return what a word shows without a model: its length, and its frequency where the ratings give it.

    Args:
        table: `word`, `language` and perhaps `frequency`.

    Returns:
        `length`, the number of characters without blanks, [n_words, 1]; and, where any word has one, `frequency`,
        [n_words, 2]: log10(1 + frequency), 0 for a word without, and 1 for a word without. Frequencies below 0
        can only be logarithms and stay. In a language that gives none all are NaN, which means not given.
    """
    length = table["word"].str.replace_all(r"\s", "").str.len_chars().cast(pl.Float64).to_numpy()
    found = {"length": length[:, None]}
    if "frequency" not in table.columns:
        return found
    given = table["frequency"].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    known = np.isfinite(given)
    if not known.any():
        return found
    languages = table["language"].to_numpy()
    values = np.full((table.height, 2), np.nan)
    for language in np.unique(languages[known]):
        here = languages == language
        own = given[here & known]
        values[here] = [0.0, 1.0]
        values[here & known, 0] = np.log10(1.0 + own) if own.min() >= 0 else own
        values[here & known, 1] = 0.0
    return found | {"frequency": values}
