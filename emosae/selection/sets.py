"""Feature sets of a selection: by language, universal, the emotion space, and a matched control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["SET_SCHEMA", "feature_sets", "match_control"]

SET_SCHEMA = pl.Schema({"set": pl.String, "concept": pl.String, "feature": pl.Int64})

UNIVERSAL, SPACE, CONTROL = "universal", "space", "control"


def feature_sets(selected: pl.DataFrame, languages: list[str]) -> pl.DataFrame:
    """Return the sets that the selected features of each language make.

    * `<language>`: its selected features, one row per concept that selected them;
    * `space`: the union over languages, one row per concept that selected them anywhere;
    * `universal`: features that every language selects, with the concept where all languages select them for
      the same one, and with a null concept where the languages agree on the feature but not on the concept;
    * `<language>_only`: features of that language that no other language selects for any concept.

    With one language `universal` is that language's set and there is no `_only` set.

    Args:
        selected: Columns language, concept, feature; the selected rows of the scores.
        languages: All languages of the study, also those that selected nothing.

    Returns:
        Columns set, concept (null where no one concept is meant), feature.
    """
    parts = []
    for language in languages:
        own = selected.filter(pl.col("language") == language)
        parts.append(_rows(language, own))
        if len(languages) > 1:
            others = selected.filter(pl.col("language") != language)
            only = own.join(others, on="feature", how="anti")
            parts.append(_rows(f"{language}_only", only))
    parts.append(_rows(SPACE, selected))
    parts.append(_rows(UNIVERSAL, _universal(selected, languages)))
    return pl.concat(parts)


def _universal(selected: pl.DataFrame, languages: list[str]) -> pl.DataFrame:
    everywhere = (
        selected.group_by("feature")
        .agg(pl.col("language").n_unique())
        .filter(pl.col("language") == len(languages))
    )
    agreed = (
        selected.group_by("concept", "feature")
        .agg(pl.col("language").n_unique())
        .filter(pl.col("language") == len(languages))
    )
    disagreed = everywhere.join(agreed, on="feature", how="anti").select(
        pl.lit(None, dtype=pl.String).alias("concept"), "feature"
    )
    return pl.concat([agreed.select("concept", "feature"), disagreed])


def _rows(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.select(
            pl.lit(name, dtype=pl.String).alias("set"),
            pl.col("concept").cast(pl.String),
            pl.col("feature").cast(pl.Int64),
        )
        .unique()
        .sort("concept", "feature", nulls_last=True)
    )


def match_control(
    space: Int[np.ndarray, " n"],
    allowed: Bool[np.ndarray, " features"],
    density: Float[np.ndarray, " features"],
    mean_activation: Float[np.ndarray, " features"],
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Match every feature of the space with one outside it of like density and mean activation.

    Nearest neighbours without replacement on the logarithms of both, each divided by its standard deviation.
    Features whose nearest neighbour is farthest are matched first, since they have the least choice.

    Args:
        space: Features of the emotion space.
        allowed: Features that may serve as control, by feature number.
        density: Share of all words on which each feature is active; above 0 for those used.
        mean_activation: Mean activation of each feature over the words on which it is active.

    Returns:
        The features of the space that found a match, and their matches, in the order of `space`; all of the
        space unless fewer features are allowed than it has.
    """
    pool = np.flatnonzero(allowed & (density > 0))
    space = space[density[space] > 0]
    if not len(space) or not len(pool):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    used = np.concatenate([space, pool])
    coordinates = np.log(np.column_stack([density[used], mean_activation[used]]))
    spread = coordinates.std(axis=0)
    coordinates /= np.where(spread > 0, spread, 1.0)
    targets, candidates = coordinates[: len(space)], coordinates[len(space) :]
    # As many neighbours as there are features to match: the greedy pass below can then never run out early.
    n_neighbours = min(len(space), len(pool))
    distance, neighbour = cKDTree(candidates).query(targets, k=n_neighbours)
    distance, neighbour = distance.reshape(len(space), -1), neighbour.reshape(len(space), -1)
    taken = np.zeros(len(pool), dtype=bool)
    match = np.full(len(space), -1)
    for row in np.argsort(-distance[:, 0], kind="stable"):
        free = neighbour[row][~taken[neighbour[row]]]
        if len(free):
            match[row] = free[0]
            taken[free[0]] = True
    found = match >= 0
    return space[found].astype(np.int64), pool[match[found]].astype(np.int64)
