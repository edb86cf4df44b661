"""The tables on selected features: the best of each emotion, its first few, the sets, the words they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.names import language_name
from emosae.report.page import Column, Table, Word, Words
from emosae.report.sections.stability import set_name
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import concept_name, count, number, p_value, shorten

__all__ = ["best_table", "concept_table", "sets_table", "summary_table"]

_PER_CONCEPT = 5  # features listed for each concept and language; all of them are in tables/
_PER_FEATURE = 8  # words shown for each


def _fired(stage: Stage, language: str, concept: str, feature: int, most: int) -> Words:
    table = stage.table("words", "language", "concept", "feature", "word", "activation", "in_concept")
    rows = (
        table.filter(
            (pl.col("language") == language) & (pl.col("concept") == concept) & (pl.col("feature") == feature)
        )
        .sort("activation", descending=True, maintain_order=True)
        .head(most)
    )
    pairs = rows.select("word", "in_concept").iter_rows()
    return Words([Word(shorten(word, 40), bool(inside)) for word, inside in pairs], language)


def _named(run: Run, concept: str, language: str) -> str:
    label = run.label(concept, language)
    own = concept_name(concept)
    return own if label in {concept, own} else f"{own} ({shorten(label, 40)})"


def best_table(run: Run, stage: Stage, selected: pl.DataFrame, concepts: list[str], language: str) -> Table:
    """Set the best feature of each emotion beside what the emotion had to work with and the words that fire it."""
    overview = stage.table("overview", "language", "concept", "words", "passing")
    facts = {row["concept"]: row for row in overview.iter_rows(named=True) if row["language"] == language}
    agreed = any(finite(row.get("agreement")) is not None for row in facts.values())
    rows: list[list[str | Words]] = []
    for concept in concepts:
        row: list[str | Words] = [_named(run, concept, language), *_facts(facts, concept)]
        own = selected.filter((pl.col("language") == language) & (pl.col("concept") == concept))
        if own.is_empty():
            rows.append([*row, "none", "", "", *([""] * 2 if agreed else []), ""])
            continue
        first = own.row(0, named=True)
        row += [str(first["feature"]), number(first["auroc"], 2), p_value(first.get("p_adjusted"))]
        row += _agreement(facts.get(concept, {})) if agreed else []
        rows.append([*row, _fired(stage, language, concept, first["feature"], _PER_FEATURE)])
    caption = (
        f"The best feature of each emotion in {language_name(language)}, and the words that fire it most."
    )
    if facts:
        caption += " Passing: how many features pass the exact test."
    if agreed:
        caption += " Agreement: the share of the emotion's features that two halves of its words both select."
    return Table(
        caption=f"{caption} Words of the emotion's own list are set bold; the others were not meant and fire it all "
        "the same.",
        columns=[
            Column("Emotion", False),
            *([Column("words"), Column("passing")] if facts else []),
            Column("Feature"),
            Column("AUROC"),
            Column("adjusted p"),
            *([Column("agreement"), Column("by chance")] if agreed else []),
            Column("Words, strongest first", False),
        ],
        rows=rows,
    )


def _facts(facts: Mapping[str, Mapping[str, Any]], concept: str) -> list[str]:
    if not facts:
        return []
    row = facts.get(concept, {})
    missing = row.get("missing") or 0
    lost = f" ({count(missing)} not read)" if missing else ""
    return [count(row.get("words")) + lost, count(row.get("passing"))]


def _agreement(row: Mapping[str, Any]) -> list[str]:
    cells = (row.get("agreement"), row.get("agreement_chance"))
    return [number(cell, 2) if finite(cell) is not None else "\u2013" for cell in cells]


def concept_table(
    run: Run, stage: Stage, selected: pl.DataFrame, concept: str, languages: list[str], anchor: str
) -> Table | None:
    """List the first features of one emotion in each language; None where nothing was selected."""
    rows: list[list[str | Words]] = []
    for language in languages:
        own = selected.filter((pl.col("language") == language) & (pl.col("concept") == concept))
        for row in own.head(_PER_CONCEPT).iter_rows(named=True):
            rows.append(
                [
                    str(row["feature"]),
                    language_name(language),
                    number(row["auroc"], 2),
                    number(row.get("mean_difference"), 2),
                    p_value(row.get("p_adjusted")),
                    count(row.get("support")),
                    number(row.get("density"), 3),
                    _fired(stage, language, concept, row["feature"], _PER_FEATURE),
                ]
            )
    if not rows:
        return None
    shown = {language: run.label(concept, language) for language in languages}
    others = [shorten(label, 30) for label in shown.values() if label not in {concept, concept_name(concept)}]
    also = f" ({', '.join(others)})" if others else ""
    return Table(
        caption=f"{concept_name(concept)}{also}: the first {_PER_CONCEPT} features in each language",
        columns=[
            Column("Feature"),
            Column("Language", False),
            Column("AUROC"),
            Column("mean difference"),
            Column("adjusted p"),
            Column("own words that fire it"),
            Column("share of all words"),
            Column("Words, strongest first", False),
        ],
        rows=rows,
        folded=True,
    )


def sets_table(stage: Stage) -> Table | None:
    """Give the size of each set of features; None where there is none."""
    sets = stage.table("sets", "set", "feature")
    if sets.is_empty():
        return None
    sizes = sets.group_by("set", maintain_order=True).agg(pl.col("feature").n_unique().alias("n"))
    rows = [[shorten(set_name(name), 90), count(size)] for name, size in sizes.iter_rows()]
    return Table(
        caption="Sets of features that later stages use",
        columns=[Column("Set", False), Column("Features")],
        rows=rows,
    )


def summary_table(run: Run, summary: pl.DataFrame) -> Table:
    """Give the words and candidates of each emotion."""
    names = {
        "n_words": "words used",
        "n_missing": "words dropped",
        "n_shared": "words shared with other emotions",
        "n_negatives": "words compared with",
        "n_candidates": "candidate features",
        "n_significant": "significant",
        "n_selected": "selected",
    }
    used = [name for name in names if name in summary.columns]
    noted = "note" in summary.columns and any(summary["note"].to_list())
    rows = []
    for row in summary.iter_rows(named=True):
        cells = [_named(run, row["concept"], row["language"]), language_name(row["language"])]
        cells += [count(row[name]) for name in used] + (
            [shorten(row["note"] or "\u2013", 200)] if noted else []
        )
        rows.append(cells)
    return Table(
        caption="How many words and features each emotion had to work with",
        columns=[
            Column("Emotion", False),
            Column("Language", False),
            *(Column(names[name]) for name in used),
            *([Column("Note", False)] if noted else []),
        ],
        rows=rows,
        folded=len(rows) > 12,
    )
