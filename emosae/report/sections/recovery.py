"""What was planted and what each stage found of it: for runs of the phantom only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.names import language_name
from emosae.report.page import Block, Column, Paragraph, Section, Table
from emosae.report.source import Run, Stage, part
from emosae.report.text import clean, number, p_value

__all__ = ["recovery_section"]

_STAGES = {"features": "Words", "select": "Features", "geometry": "Emotion space", "ratings": "Ratings"}
_QUESTIONS = {
    "emotions with a feature": "emotions (of 27) with a feature that passes the exact test",
    "space against planted distance": "emotion space against planted distance, Spearman's rho",
    "English against Chinese": "English against Chinese emotion space, Spearman's rho",
    "axis 1 against valence": "axis 1 against planted valence, size of r",
    "axis 2 or 3 against arousal": "axis 2 or 3 against planted arousal, size of r",
    "valence among concepts without feeling": "concepts without feeling: p of the share of their differences that lies "
    "along the emotions' valence (small would mean that they show it)",
    "valence of words": "valence of held-out words, r as a share of the planted values' own r",
    "arousal of words": "arousal of held-out words, r as a share of the planted values' own r",
    "features of both languages": "features selected in both languages, number",
    "two senses of one emotion": "embarrassment, split in two in Chinese: cosine of words of one sense above that of "
    "words of two",
    "shared bodily signs": "excitement and fear, which share bodily signs: share of pairs that are less alike, given "
    "their planted distance",
    "a word of one language": "the word that only Chinese has, for a kind of sadness: share of rated words predicted "
    "to be more pleasant",
    "emotion space over matched control, valence": "valence, r of the emotion space above its matched control's",
}


def recovery_section(run: Run, stages: Mapping[str, Stage], anchor: str) -> Section | None:
    """Set the planted truth beside what was found; None where the run is not one of the planted world."""
    if not run.is_phantom or part(run.config, "concepts").get("name") != "phantom27":
        return None
    from emosae.phantom.recovery import N_SHUFFLES, recovery
    from emosae.phantom.recovery_languages import language_recovery

    tables = {
        name: stages[name].tables if name in stages else {}
        for name in ("features", "select", "geometry", "ratings")
    }
    found = recovery(tables["select"], tables["geometry"], tables["ratings"])
    between = language_recovery(tables["features"], tables["select"], tables["geometry"], tables["ratings"])
    if found.is_empty():
        return None
    met = int(found["met"].sum())
    blocks: list[Block] = [
        Paragraph(
            f"The emotions of this model were planted, so each answer can be checked: {met} of {found.height} "
            "reach their goal."
        ),
        _table("How much of the planted truth each stage finds", found),
    ]
    if between.height:
        seen = int(between["met"].sum())
        blocks += [
            Paragraph(
                "Most features were planted to serve both languages, and a few things were planted to differ: "
                f"{seen} of {between.height} rows show more than chance. What is planted in whole passages, such as "
                "bodily signs, need not show in single words."
            ),
            _table("What the languages share, and where they were planted to differ", between),
        ]
    blocks.append(
        Paragraph(
            f"By chance: the 95th percentile over {N_SHUFFLES} shuffles of the planted labels, for features of both "
            "languages that of as many features drawn at random. The words are read in sentences of the planted "
            "world; what the features tell of whole passages, and how well they steer, stands in the phantom's model "
            "card.",
            quiet=True,
        )
    )
    return Section(anchor=anchor, title="What was planted, and what was found", blocks=blocks)


def _table(caption: str, found: pl.DataFrame) -> Table:
    goals = found["goal"].is_not_null().any()
    rows = [_cells(row) for row in found.iter_rows(named=True)]
    return Table(
        caption=caption,
        columns=[
            Column("Question", number=False),
            Column("Stage", number=False),
            Column("Language", number=False),
            Column("Found"),
            *([Column("Goal")] if goals else []),
            Column("By chance"),
            *([Column("p")] if goals else []),
            Column("Reached" if goals else "Above chance", number=False),
        ],
        rows=rows if goals else [[*row[:4], row[5], row[7]] for row in rows],
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    languages = " and ".join(language_name(code) for code in row["language"].split(", ") if code)
    counted = row["question"] in {"emotions with a feature", "features of both languages"}
    compared = row["p"] is not None
    goal = row["goal"]
    return [
        _QUESTIONS.get(row["question"], clean(row["question"])),
        _STAGES.get(row["stage"], clean(row["stage"])),
        languages,
        f"{row['found']:.0f}" if counted else number(row["found"]),
        ""
        if goal is None
        else f"{goal:.0f}"
        if counted
        else "above 0, p < .01"
        if compared
        else number(goal),
        "" if row["chance"] is None else f"{row['chance']:.0f}" if counted else number(row["chance"]),
        p_value(row["p"]) if compared else "",
        "yes" if row["met"] else "no",
    ]
