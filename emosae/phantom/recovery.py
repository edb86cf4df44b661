"""How much of what was planted each stage of a study finds again, beside what chance would give."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr

from emosae.phantom.truth import emotion_truth, planted_distance, word_truth

__all__ = ["COLUMNS", "GOALS", "N_SHUFFLES", "chance_of", "planted_ratings", "recovery"]

N_SHUFFLES = 200
"""Shuffles of the planted values behind each `chance`."""

GOALS = {
    "emotions with a feature": 25.0,
    "space against planted distance": 0.7,
    "English against Chinese": 0.7,
    "axis 1 against valence": 0.9,
    "axis 2 or 3 against arousal": 0.7,
    "valence among concepts without feeling": 0.05,
    "valence of words": 0.85,
    "arousal of words": 0.7,
    "emotion space over matched control, valence": 0.0,
}
"""What a phantom that shows every emotion should reach. For concepts without feeling it is the least p that says that
their differences do not lie along the emotions' valence; the last one is a difference with p < .01."""

COLUMNS = {
    "stage": pl.String,
    "question": pl.String,
    "language": pl.String,
    "found": pl.Float64,
    "goal": pl.Float64,
    "chance": pl.Float64,
    "p": pl.Float64,
    "met": pl.Boolean,
}
"""`found` is a count, a correlation, a share of what can be reached or a p, as the question says; `chance` is the 95th
percentile over shuffles of the planted labels, `p` a test's where there is one."""

_Tables = Mapping[str, pl.DataFrame]


def recovery(select: _Tables, geometry: _Tables, ratings: _Tables, seed: int = 0) -> pl.DataFrame:
    """Compare the tables of one site with the planted truth.

    Args:
        select: Tables of the selection, by name; empty where the stage did not run.
        geometry: Tables of the geometry.
        ratings: Tables of the ratings.
        seed: Seed of the shuffles.

    Returns:
        A row a question and language, with the columns of `COLUMNS`.
    """
    rows: list[dict[str, object]] = []
    if "summary" in select:
        rows += _selection(select["summary"])
    if "rdms" in geometry:
        rows += _geometry(geometry["rdms"], geometry["coordinates"], np.random.default_rng(seed))
    if "control" in geometry:
        rows += _control(geometry["control"])
    if "predictions" in ratings:
        rows += _ratings(ratings["predictions"], ratings["comparisons"], np.random.default_rng(seed))
    return pl.DataFrame(rows, schema=COLUMNS)


def _row(
    stage: str, question: str, language: str, found: float, *,
    chance: float | None = None, p: float | None = None,
) -> dict[str, object]:  # fmt: skip
    goal = GOALS[question]
    met = found >= goal and (chance is None or found > chance) and (p is None or p < 0.01)
    return {
        "stage": stage, "question": question, "language": language, "found": found,
        "goal": goal, "chance": chance, "p": p, "met": met,
    }  # fmt: skip


def chance_of(score: Callable[[np.ndarray], float], n: int, rng: np.random.Generator) -> float:
    """Return the 95th percentile of `score` over `N_SHUFFLES` orders of `n` labels."""
    return float(np.quantile([score(rng.permutation(n)) for _ in range(N_SHUFFLES)], 0.95))


def planted_ratings(table: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows on the phantom's own ratings: another data set that a study names is no planted truth."""
    return table.filter(pl.col("norms").str.starts_with("phantom")) if "norms" in table.columns else table


def _selection(summary: pl.DataFrame) -> list[dict[str, object]]:
    return [
        _row(
            "select", "emotions with a feature", str(language),
            float(own.filter(pl.col("n_significant") > 0).height),
        )
        for (language,), own in summary.group_by("language", maintain_order=True)
    ]  # fmt: skip


def _geometry(
    rdms: pl.DataFrame, coordinates: pl.DataFrame, rng: np.random.Generator
) -> list[dict[str, object]]:
    rows, squares = [], {}
    truth = emotion_truth()
    names = truth["emotion"].to_list()
    planted = squareform(planted_distance()["distance"].to_numpy())
    upper = np.triu_indices(len(names), 1)
    for space in [s for s in rdms["space"].unique(maintain_order=True) if s.startswith("features")]:
        own = rdms.filter(pl.col("space") == space)
        pairs = {
            frozenset((a, b)): d for a, b, d in own.select("concept_a", "concept_b", "dissimilarity").rows()
        }
        if any(frozenset((names[i], names[j])) not in pairs for i, j in zip(*upper, strict=True)):
            continue
        language = space.removeprefix("features").strip("_")
        square = np.array([[0.0 if a == b else pairs[frozenset((a, b))] for b in names] for a in names])
        squares[language] = square

        def rho(order: np.ndarray, square: np.ndarray = square) -> float:
            return float(spearmanr(square[upper], planted[np.ix_(order, order)][upper]).statistic)

        identity = np.arange(len(names))
        rows.append(
            _row(
                "geometry", "space against planted distance", language, rho(identity),
                chance=chance_of(rho, len(names), rng),
            )
        )  # fmt: skip
        own_map = coordinates.filter(pl.col("space") == space)
        place = truth.select(pl.col("emotion").alias("concept")).join(own_map, on="concept", how="left")
        for question, axes, attribute in (
            ("axis 1 against valence", ["axis_1"], "valence"),
            ("axis 2 or 3 against arousal", ["axis_2", "axis_3"], "arousal"),
        ):
            values, wanted = place.select(axes).to_numpy().T, truth[attribute].to_numpy()

            def size(order: np.ndarray, values: np.ndarray = values, wanted: np.ndarray = wanted) -> float:
                return float(max(abs(np.corrcoef(axis, wanted[order])[0, 1]) for axis in values))

            rows.append(
                _row("geometry", question, language, size(identity), chance=chance_of(size, len(names), rng))
            )
    if {"en", "zh"} <= set(squares):

        def alike(order: np.ndarray) -> float:
            return float(
                spearmanr(squares["en"][upper], squares["zh"][np.ix_(order, order)][upper]).statistic
            )

        found = alike(np.arange(len(names)))
        chance = chance_of(alike, len(names), rng)
        rows.append(_row("geometry", "English against Chinese", "en, zh", found, chance=chance))
    return rows


def _control(control: pl.DataFrame) -> list[dict[str, object]]:
    own = control.filter(pl.col("space").str.starts_with("features") & pl.col("p").is_not_null())
    return [
        _row(
            "geometry", "valence among concepts without feeling",
            row["space"].removeprefix("features").strip("_"), row["p"],
        )
        for row in own.iter_rows(named=True)
    ]  # fmt: skip


def _ratings(
    predictions: pl.DataFrame, comparisons: pl.DataFrame, rng: np.random.Generator
) -> list[dict[str, object]]:
    rows = []
    predictions, comparisons = planted_ratings(predictions), planted_ratings(comparisons)
    truth = word_truth().select("word", "language", "valence", "arousal")
    for (language, target), cell in predictions.filter(pl.col("predictor") == "features").group_by(
        "language", "target", maintain_order=True
    ):
        joined = cell.join(truth, on=["word", "language"], how="inner")
        rating, predicted = joined["rating"].to_numpy(), joined["predicted"].to_numpy()
        best = float(np.corrcoef(rating, joined[str(target)].to_numpy())[0, 1])

        def share(
            order: np.ndarray, r: np.ndarray = rating, x: np.ndarray = predicted, b: float = best
        ) -> float:
            return float(np.corrcoef(r[order], x)[0, 1]) / b

        found = share(np.arange(len(rating)))
        rows.append(
            _row(
                "ratings",
                f"{target} of words",
                str(language),
                found,
                chance=chance_of(share, len(rating), rng),
            )
        )
        pair = comparisons.filter(
            (pl.col("language") == language) & (pl.col("target") == target) & (pl.col("test") == "corrected_t")
            & pl.col("a").is_in(["emotion_space", "matched_control"])
            & pl.col("b").is_in(["emotion_space", "matched_control"])
        )  # fmt: skip
        if target == "valence" and pair.height == 1:
            row = pair.row(0, named=True)
            sign = 1.0 if row["a"] == "emotion_space" else -1.0
            rows.append(
                _row(
                    "ratings", "emotion space over matched control, valence", str(language),
                    sign * row["difference"], p=row["p"],
                )
            )  # fmt: skip
    return rows
