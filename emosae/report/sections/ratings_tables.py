"""The tables on ratings: scores, comparisons, the words predicted worst, the features that carry most."""

from __future__ import annotations

import polars as pl

from emosae.report.names import language_name, order_names, role
from emosae.report.page import Block, Column, Listing, Paragraph, Table
from emosae.report.sections.ratings_names import cells_of, main_predictor, predictor_name, score_of
from emosae.report.source import Stage
from emosae.report.tables import known
from emosae.report.text import clean, concept_name, count, interval, number, p_value, shorten, words_of

__all__ = ["comparison_table", "extreme_words", "score_table", "strongest_features"]

_EXTREMES = 8
_STRONGEST = 10
_SHORT = 8  # rows; a longer table is folded


def score_table(scores: pl.DataFrame) -> list[Block]:
    """Tabulate every predictor; those that could not be fitted are said to be, with the reason."""
    optional = {
        "rho": "\u03c1",
        "r2": "R\u00b2",
        "rmse": "RMSE",
        "ceiling": "ceiling",
        "r_disattenuated": "r, dis\u00adattenuated",
    }
    scores = scores.with_columns(pl.selectors.float().fill_nan(None))
    # a data set without deviations has no ceiling: a column of nothing is left out and said below
    used = [name for name in optional if name in scores.columns and scores[name].is_not_null().any()]
    has_interval = {"r_low", "r_high"} <= set(scores.columns)
    order = order_names(scores["predictor"].to_list())
    rows: list[list[str]] = []
    marked = []
    for language, target in cells_of(scores):
        for name in order:
            row = score_of(scores, language, target, name)
            if not row:
                continue
            if role(name) == "features":
                marked.append(len(rows))
            cells = [
                predictor_name(name),
                target,
                language_name(language),
                count(row.get("n_words")),
                number(row.get("r")),
            ]
            cells += [interval(row["r_low"], row["r_high"])] if has_interval else []
            say = number if row.get("note") else known  # why a number is missing stands in the note
            rows.append(cells + [say(row.get(each)) for each in used])
    table = Table(
        caption="Held-out prediction of ratings, each predictor on the same words and folds",
        columns=[
            Column("Predictor", False),
            Column("Rating", False),
            Column("Language", False),
            Column("words"),
            Column("r"),
            *([Column("interval of r")] if has_interval else []),
            *(Column(optional[name]) for name in used),
        ],
        rows=rows,
        marked=frozenset(marked),
    )
    blocks: list[Block] = [table, *_without_ceiling(scores)]
    notes = scores.filter(pl.col("note").is_not_null()) if "note" in scores.columns else scores.clear()
    if notes.is_empty():
        return blocks
    told = list(
        dict.fromkeys(
            f"{predictor_name(row['predictor'])}, {language_name(row['language'])}: {clean(row['note'])}"
            for row in notes.iter_rows(named=True)
        )
    )
    return [*blocks, Paragraph("Not computed:"), Listing([f"{text}." for text in told])]


def _without_ceiling(scores: pl.DataFrame) -> list[Block]:
    """Say where no ceiling is known."""
    fitted = scores.filter(pl.col("r").is_not_null())
    if "ceiling" not in fitted.columns:
        return []
    lacking = [
        f"{target} in {language_name(language)}"
        for language, target in cells_of(fitted)
        if fitted.filter(language=language, target=target)["ceiling"].is_null().all()
    ]
    if not lacking:
        return []
    text = f"No ceiling is known for {' and '.join(lacking)}: these ratings come without deviations and numbers of "
    return [Paragraph(f"{text}raters, or their error is as large as their spread.", quiet=True)]


def comparison_table(stage: Stage) -> list[Block]:
    """Tabulate the differences between predictors by both tests."""
    table = stage.table("comparisons", "a", "b", "difference")
    if table.is_empty():
        return []
    tests = {"corrected_t": "corrected t, by fold", "paired_bootstrap": "paired bootstrap, by word"}
    rows = [
        [
            f"{predictor_name(row['a'])} \u2212 {predictor_name(row['b'])}",
            str(row.get("target", "")),
            language_name(str(row.get("language", ""))),
            tests.get(row.get("test", ""), words_of(row.get("test", ""))),
            number(row["difference"]),
            interval(row.get("low"), row.get("high")),
            p_value(row.get("p_adjusted", row.get("p"))),
        ]
        for row in table.iter_rows(named=True)
    ]
    return [
        Table(
            caption="Predictors compared with each other on the same words and folds: difference of r",
            columns=[
                Column("Compared", False),
                Column("Rating", False),
                Column("Language", False),
                Column("Test", False),
                Column("difference"),
                Column("interval"),
                Column("adjusted p" if "p_adjusted" in table.columns else "p"),
            ],
            rows=rows,
            folded=len(rows) > _SHORT,
        )
    ]


def extreme_words(predictions: pl.DataFrame) -> list[Block]:
    """List the words on which prediction and rating differ most, which show what the model lacks."""
    if predictions.is_empty():
        return []
    main = main_predictor(predictions)
    rows: list[list[str]] = []
    for language, target in cells_of(predictions):
        own = (
            predictions.filter(
                (pl.col("language") == language)
                & (pl.col("target") == target)
                & (pl.col("predictor") == main)
            )
            .filter(pl.col("rating").is_finite() & pl.col("predicted").is_finite())
            .with_columns((pl.col("predicted") - pl.col("rating")).alias("difference"))
            .sort("difference", "word")
        )
        if own.height < 4 * _EXTREMES:
            continue
        for row in [
            *own.head(_EXTREMES).iter_rows(named=True),
            *own.tail(_EXTREMES)[::-1].iter_rows(named=True),
        ]:
            rows.append(
                [
                    shorten(row["word"], 40),
                    language_name(language),
                    target,
                    number(row["rating"], 2),
                    number(row["predicted"], 2),
                    number(row["difference"], 2),
                ]
            )
    if not rows:
        return []
    columns = [Column("Word", False), Column("Language", False), Column("Rating", False)]
    return [
        Table(
            caption="Words on which prediction and rating differ most",
            columns=[*columns, Column("rated"), Column("predicted"), Column("difference")],
            rows=rows,
            folded=True,
        )
    ]


def strongest_features(stage: Stage, select: Stage | None) -> list[Block]:
    """List the features that carry the prediction most, with the emotions that selected them."""
    table = stage.table("weights", "feature", "weight", "language", "target")
    if table.is_empty():
        return []
    if "predictor" in table.columns:
        table = table.filter(pl.col("predictor") == order_names(table["predictor"].to_list())[0])
    size = "importance" if "importance" in table.columns else "weight"
    chosen: dict[int, list[str]] = {}
    if select is not None:
        space = select.table("sets", "set", "concept", "feature").filter(pl.col("set") == "space")
        for feature, concept in space.select("feature", "concept").drop_nulls().iter_rows():
            chosen.setdefault(feature, []).append(concept_name(concept))
    rows = []
    for language, target in cells_of(table):
        own = table.filter((pl.col("language") == language) & (pl.col("target") == target))
        strongest = own.sort(pl.col(size).abs(), "feature", descending=[True, False]).head(_STRONGEST)
        for row in strongest.iter_rows(named=True):
            rows.append(
                [
                    str(row["feature"]),
                    language_name(language),
                    target,
                    number(row["weight"]),
                    number(row["importance"]) if size == "importance" else "",
                    number(row["stability"], 2) if row.get("stability") is not None else "",
                    ", ".join(chosen.get(row["feature"], [])) or "\u2013",
                ]
            )
    return [
        Table(
            caption=f"The {_STRONGEST} features that carry each prediction most. A positive weight raises "
            "the predicted rating; importance is the weight times how much the feature varies over words; "
            "stability the share of folds that agree on its sign.",
            columns=[
                Column("Feature"),
                Column("Language", False),
                Column("Rating", False),
                Column("weight"),
                Column("importance"),
                Column("stability"),
                Column("Selected for", False),
            ],
            rows=rows,
            folded=True,
        )
    ]
