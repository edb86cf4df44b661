"""What was planted and what each stage found of it: for runs of the phantom only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emosae.report.names import language_name
from emosae.report.page import Column, Paragraph, Section, Table
from emosae.report.source import Run, Stage, part
from emosae.report.text import clean, number, p_value

__all__ = ["recovery_section"]

_STAGES = {"select": "Features", "geometry": "Emotion space", "ratings": "Ratings"}
_QUESTIONS = {
    "emotions with a feature": "emotions (of 27) with a feature that passes the exact test",
    "space against planted distance": "emotion space against planted distance, Spearman's rho",
    "English against Chinese": "English against Chinese emotion space, Spearman's rho",
    "axis 1 against valence": "axis 1 against planted valence, size of r",
    "axis 2 or 3 against arousal": "axis 2 or 3 against planted arousal, size of r",
    "valence of words": "valence of held-out words, r as a share of the planted values' own r",
    "arousal of words": "arousal of held-out words, r as a share of the planted values' own r",
    "emotion space over matched control, valence": "valence, r of the emotion space above its matched control's",
}


def recovery_section(run: Run, stages: Mapping[str, Stage], anchor: str) -> Section | None:
    """Set the planted truth beside what was found; None where the run is not one of the planted world."""
    if not run.is_phantom or part(run.config, "concepts").get("name") != "phantom27":
        return None
    from emosae.phantom.recovery import N_SHUFFLES, recovery

    tables = {
        name: stages[name].tables if name in stages else {} for name in ("select", "geometry", "ratings")
    }
    found = recovery(tables["select"], tables["geometry"], tables["ratings"])
    if found.is_empty():
        return None
    met = int(found["met"].sum())
    return Section(
        anchor=anchor,
        title="What was planted, and what was found",
        blocks=[
            Paragraph(
                f"The emotions of this model were planted, so each answer can be checked: {met} of {found.height} "
                "reach their goal."
            ),
            Table(
                caption="How much of the planted truth each stage finds",
                columns=[
                    Column("Question", number=False),
                    Column("Stage", number=False),
                    Column("Language", number=False),
                    Column("Found"),
                    Column("Goal"),
                    Column("By chance"),
                    Column("p"),
                    Column("Reached", number=False),
                ],
                rows=[_cells(row) for row in found.iter_rows(named=True)],
            ),
            Paragraph(
                f"By chance: the 95th percentile over {N_SHUFFLES} shuffles of the planted labels. The words are read "
                "in sentences of the planted world; what the features tell of whole passages, and how well they "
                "steer, stands in the phantom's model card.",
                quiet=True,
            ),
        ],
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    languages = " and ".join(language_name(code) for code in row["language"].split(", ") if code)
    counted = row["question"] == "emotions with a feature"
    compared = row["p"] is not None
    return [
        _QUESTIONS.get(row["question"], clean(row["question"])),
        _STAGES.get(row["stage"], clean(row["stage"])),
        languages,
        f"{row['found']:.0f}" if counted else number(row["found"]),
        f"{row['goal']:.0f}" if counted else "above 0, p < .01" if compared else number(row["goal"]),
        number(row["chance"]) if row["chance"] is not None else "",
        p_value(row["p"]) if compared else "",
        "yes" if row["met"] else "no",
    ]
