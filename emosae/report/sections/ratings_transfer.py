"""Trained in one language, tested in another: every predictor beside the test language's own model."""

from __future__ import annotations

from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name, order_names, role
from emosae.report.page import Block, Canvas, Column, Listing, Paragraph, Table
from emosae.report.sections.ratings_names import main_predictor, predictor_name
from emosae.report.sections.wording import bars_in_words, interval_name, range_of
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import interval, number, p_value

__all__ = ["transfer_blocks"]

_COLUMNS = ("predictor", "target", "train_language", "test_language", "r", "r_low", "r_high")


def transfer_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show how well a model trained in each language predicts the ratings of each; nothing for one language."""
    table = stage.table("transfer", *_COLUMNS)
    if table.is_empty():
        return []
    figure = _figure(run, table, canvas)
    return [*figure, _matrix(table), *_absent(stage, table), _explanation(table), _every_predictor(table)]


def _apart(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("train_language") != pl.col("test_language"))


def _figure(run: Run, table: pl.DataFrame, canvas: Canvas) -> list[Block]:
    apart = _apart(table)
    panels = []
    cells = apart.select("target", "train_language", "test_language").unique(maintain_order=True)
    for target, trained, tested in cells.iter_rows():
        rows = {
            row["predictor"]: row
            for row in apart.iter_rows(named=True)
            if (row["target"], row["train_language"], row["test_language"]) == (target, trained, tested)
        }
        top = next(
            (value for row in rows.values() if (value := finite(row.get("ceiling"))) is not None), None
        )
        panels.append(
            Panel(
                title=f"{target.capitalize()}: {language_name(trained)} to {language_name(tested)}",
                bars=[_bar(rows[name]) for name in order_names(rows)],
                axis="Correlation r with ratings",
                ceiling=None if top is None else (top, top),
            )
        )
    if not any(bar.value is not None for panel in panels for bar in panel.bars):
        return []
    n = range_of([row["n_words"] for row in apart.iter_rows(named=True) if row.get("n_words")], "word")
    return [
        canvas.add(
            draw_bars(
                panels,
                whisker=interval_name(run, "ratings", "words"),
                mark="the test language's own model",
            ),
            "ratings_transfer",
            lead="Does what was learnt about feeling from one language's words hold for the words of another?",
            title="Trained on one language, tested on another",
            caption=(
                f"{n + ' tested. ' if n else ''}Each bar is a model that never saw a rating in the language it is "
                "tested on; the diamond is the model of that language itself on the same words and folds, which is as "
                "far as transfer can be hoped to go. 0 is what a prediction that knows nothing gives."
            ),
            alt=bars_in_words(panels, mark="own"),
        )
    ]


def _bar(row: dict[str, Any]) -> Bar:
    return Bar(
        name=predictor_name(row["predictor"]),
        role=role(row["predictor"]),
        value=finite(row["r"]),
        low=finite(row["r_low"]),
        high=finite(row["r_high"]),
        mark=finite(row.get("r_within")),
    )


def _matrix(table: pl.DataFrame) -> Table:
    """Set the study's own predictor beside the first baseline, training language by test language."""
    names = order_names(table["predictor"].to_list())
    shown = [main_predictor(table), *[name for name in names if role(name) == "baseline"][:1]]
    tested = table["test_language"].unique(maintain_order=True).to_list()
    cells = {
        (row["predictor"], row["target"], row["train_language"], row["test_language"]): row
        for row in table.iter_rows(named=True)
    }
    rows: list[list[str]] = []
    marked = []
    for target in table["target"].unique(maintain_order=True).to_list():
        for name in shown:
            for trained in tested:
                if name == shown[0]:
                    marked.append(len(rows))
                row = [f"{target}, {predictor_name(name)}", language_name(trained)]
                for language in tested:
                    cell = cells.get((name, target, trained, language), {})
                    around = f" ({interval(cell['r_low'], cell['r_high'])})" if _has(cell) else ""
                    row.append(number(cell.get("r")) + around)
                rows.append(row)
    return Table(
        caption="Correlation r with the ratings of one language's words, trained on the same language or on another's, "
        "with its interval",
        columns=[
            Column("Rating and predictor", False),
            Column("trained on", False),
            *(Column(f"tested on {language_name(language)}") for language in tested),
        ],
        rows=rows,
        marked=frozenset(marked),
    )


def _has(cell: dict[str, Any]) -> bool:
    return all(finite(cell.get(name)) is not None for name in ("r", "r_low", "r_high"))


def _absent(stage: Stage, table: pl.DataFrame) -> list[Block]:
    """Say which predictors have no transfer, and why: the scores of a single language hold the reason."""
    scores = stage.table("scores", "predictor", "language", "note").filter(pl.col("note").is_not_null())
    pairs = set(_apart(table).select("predictor", "train_language").iter_rows())
    told = [
        f"{predictor_name(row['predictor'])}, trained on {language_name(row['language'])}: {row['note']}."
        for row in scores.iter_rows(named=True)
        if (row["predictor"], row["language"]) not in pairs
    ]
    return [Paragraph("No transfer between languages:"), Listing(list(dict.fromkeys(told)))] if told else []


def _explanation(table: pl.DataFrame) -> Paragraph:
    text = (
        "Every word is predicted by a model that was fitted, and its penalty chosen, on the training language "
        "alone. Ratings are expressed in standard deviations from their language's mean."
    )
    linked = [
        f"{row['linked']:.0%} of the {language_name(row['test_language'])} words against "
        f"{language_name(row['train_language'])}"
        for row in _apart(table)
        .unique(["train_language", "test_language"], maintain_order=True)
        .iter_rows(named=True)
        if row.get("linked")
    ]
    if linked:
        text += f" No model saw a test word's translation, where the ratings name it: {', '.join(linked)}."
    else:
        text += " The ratings do not say which words translate each other, so a model may have seen a test word's "
        text += "translation."
    return Paragraph(text, quiet=True)


def _every_predictor(table: pl.DataFrame) -> Table:
    apart = _apart(table)
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
