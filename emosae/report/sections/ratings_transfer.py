"""Trained in one language, tested in another: a small matrix, and every predictor in full."""

from __future__ import annotations

import polars as pl

from emosae.report.names import language_name, order_names
from emosae.report.page import Block, Column, Paragraph, Table
from emosae.report.sections.ratings_names import main_predictor, predictor_name
from emosae.report.source import Stage
from emosae.report.text import interval, number, p_value

__all__ = ["transfer_blocks"]

_COLUMNS = ("predictor", "target", "train_language", "test_language", "r", "r_low", "r_high")


def transfer_blocks(stage: Stage) -> list[Block]:
    """Show how well a model trained in each language predicts the ratings of each; nothing for one language."""
    table = stage.table("transfer", *_COLUMNS)
    if table.is_empty():
        return []
    return [_matrix(table), _explanation(table), _every_predictor(table)]


def _matrix(table: pl.DataFrame) -> Table:
    main = main_predictor(table)
    own = table.filter(pl.col("predictor") == main)
    tested = own["test_language"].unique(maintain_order=True).to_list()
    cells = {
        (row["target"], row["train_language"], row["test_language"]): row for row in own.iter_rows(named=True)
    }
    rows = []
    for target in own["target"].unique(maintain_order=True).to_list():
        for trained in tested:
            row = [f"{target}, trained on {language_name(trained)}"]
            for language in tested:
                cell = cells.get((target, trained, language), {})
                shown = number(cell.get("r"))
                if cell:
                    shown += f" ({interval(cell['r_low'], cell['r_high'])})"
                row.append(shown)
            rows.append(row)
    return Table(
        caption=f"Correlation r of {predictor_name(main)} trained on one language's words with the ratings of "
        "another's, with its interval; trained and tested on one language, the same words and folds",
        columns=[
            Column("Rating and training language", False),
            *(Column(f"tested on {language_name(language)}") for language in tested),
        ],
        rows=rows,
    )


def _explanation(table: pl.DataFrame) -> Paragraph:
    text = (
        "Every word is predicted by a model that was fitted, and its penalty chosen, on the training language "
        "alone. Ratings are expressed in standard deviations from their language's mean."
    )
    apart = table.filter(pl.col("train_language") != pl.col("test_language"))
    linked = [
        f"{row['linked']:.0%} of the {language_name(row['test_language'])} words against "
        f"{language_name(row['train_language'])}"
        for row in apart.unique(["train_language", "test_language"], maintain_order=True).iter_rows(
            named=True
        )
        if row.get("linked")
    ]
    if linked:
        text += f" No model saw a test word's translation, where the ratings name it: {', '.join(linked)}."
    else:
        text += " The ratings do not say which words translate each other, so a model may have seen a test word's "
        text += "translation."
    return Paragraph(text, quiet=True)


def _every_predictor(table: pl.DataFrame) -> Table:
    apart = table.filter(pl.col("train_language") != pl.col("test_language"))
    order = {name: at for at, name in enumerate(order_names(table["predictor"].to_list()))}
    rows = [
        [
            predictor_name(row["predictor"]),
            row["target"],
            language_name(row["train_language"]),
            language_name(row["test_language"]),
            number(row["r"]),
            interval(row["r_low"], row["r_high"]),
            number(row.get("r_within")),
            number(row.get("difference")),
            interval(row.get("low"), row.get("high")),
            p_value(row.get("p_adjusted", row.get("p"))),
        ]
        for row in sorted(apart.iter_rows(named=True), key=lambda row: order[row["predictor"]])
    ]
    return Table(
        caption="Every predictor across languages, beside the test language's own model on the same words and "
        "folds; differences by paired bootstrap",
        columns=[
            Column("Predictor", False),
            Column("Rating", False),
            Column("Trained on", False),
            Column("Tested on", False),
            Column("r"),
            Column("interval of r"),
            Column("own r"),
            Column("difference"),
            Column("interval"),
            Column("adjusted p"),
        ],
        rows=rows,
        folded=True,
    )
