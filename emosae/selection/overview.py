"""A selection at a glance: what each emotion had to work with, its best feature, and whether other words agree."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from emosae.artifacts import load_result, write_table
from emosae.selection.study import Selection

__all__ = ["overview", "write_overview"]


def overview(selection: Selection) -> pl.DataFrame:
    """Summarise a selection, a row for each language and emotion.

    Args:
        selection: The selection, with its table of stability where a study asked for one.

    Returns:
        language, concept, words (read and used), missing (words without features), passing (candidates whose exact
        test passes at the selection's false discovery rate), best_feature (first in the order of selection, so the
        first that passes where one does), auroc, q (adjusted p) and word (that fires it most) of that feature, all
        null where there is no candidate; agreement (Jaccard index of the emotion's features in two halves of the
        words), agreement_chance, and agreement_by_words: the index beside the mean number of the emotion's words in
        a half, from few to many, as `2: .10  4: .33`, with – where nothing was selected. The last three are null
        without a table of stability.
    """
    best = selection.scores.filter(pl.col("rank") == 1).select(
        "language",
        "concept",
        pl.col("feature").alias("best_feature"),
        "auroc",
        pl.col("p_adjusted").alias("q"),
    )
    fired = (
        selection.words.sort("activation", descending=True, maintain_order=True)
        .unique(["language", "concept", "feature"], keep="first", maintain_order=True)
        .select("language", "concept", pl.col("feature").alias("best_feature"), "word")
    )
    table = selection.summary.select(
        "language",
        "concept",
        pl.col("n_words").alias("words"),
        pl.col("n_missing").alias("missing"),
        pl.col("n_significant").alias("passing"),
    )
    return (
        table.join(best, on=["language", "concept"], how="left", maintain_order="left")
        .join(fired, on=["language", "concept", "best_feature"], how="left", maintain_order="left")
        .join(_agreement(selection.stability), on=["language", "concept"], how="left", maintain_order="left")
    )


def write_overview(run: Path) -> dict[str, pl.DataFrame]:
    """Write the overview of a run's selection as `tables/select_overview`, Parquet and CSV.

    Args:
        run: The run's folder, with the stage `select` finished.

    Returns:
        Site to its overview.

    Raises:
        MissingFileError: The run has no selection.
    """
    tables = {site: overview(found) for site, found in load_result(run, "select", Selection).items()}
    stacked = [table.select(pl.lit(site).alias("site"), pl.all()) for site, table in tables.items()]
    write_table(run / "tables", "select_overview", pl.concat(stacked))
    return tables


def _agreement(stability: pl.DataFrame) -> pl.DataFrame:
    """Put the agreement of each emotion at all numbers of words into one row."""
    schema = {
        "language": pl.String,
        "concept": pl.String,
        "agreement": pl.Float64,
        "agreement_chance": pl.Float64,
        "agreement_by_words": pl.String,
    }
    if "concept" not in stability.columns:  # a selection that an earlier version wrote
        return pl.DataFrame(schema=schema)
    rows = []
    own = stability.drop_nulls("concept").sort("fraction", maintain_order=True)
    for (language, concept), part in own.group_by("set", "concept", maintain_order=True):
        points = part.select("n_words", "jaccard").iter_rows()
        line = "  ".join(f"{n:.2g}: {_short(value)}" for n, value in points)
        last = part.row(-1, named=True)
        rows.append((language, concept, last["jaccard"], last["jaccard_chance"], line))
    return pl.DataFrame(rows, schema=schema, orient="row")


def _short(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.2f}".removeprefix("0")
