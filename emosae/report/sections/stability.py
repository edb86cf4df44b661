"""Would other words have chosen the same features? Agreement of two halves of the words, beside chance."""

from __future__ import annotations

from typing import Any

import polars as pl

from emosae.report.curves import Curve, CurvePanel, draw_curves
from emosae.report.intervals import Cell, draw_intervals
from emosae.report.names import language_name
from emosae.report.page import Block, Canvas, Column, Table
from emosae.report.sections.wording import range_of
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import concept_name, count, number

__all__ = ["set_name", "stability_blocks"]

_NEEDED = ("set", "fraction", "n_words", "jaccard", "jaccard_chance")
# column, what it is called, what it is to the study
_WHICH = (
    ("jaccard_concepts", "an emotion's own features", "features"),
    ("jaccard", "all emotions' features together", "subset"),
    ("jaccard_mismatched", "features of two different emotions", "baseline"),
    ("jaccard_chance", "random sets as large as all together", "control"),
)
_ORDER = (
    ("rank_correlation", "an emotion's own features", "features"),
    ("rank_mismatched", "features of two different emotions", "baseline"),
)


def stability_blocks(run: Run, stage: Stage, concepts: list[str], canvas: Canvas) -> list[Block]:
    """Show how far two halves of the words select the same features; nothing where it was not looked at."""
    table = stage.table("stability", *_NEEDED)
    if table.is_empty():
        return []
    whole = table.filter(pl.col("concept").is_null()) if "concept" in table.columns else table
    languages = [each for each in run.languages if each in set(whole["set"].to_list())]
    blocks: list[Block] = []
    if languages:
        blocks.append(_curves(whole, languages, canvas))
    if languages and "concept" in table.columns:
        blocks += _by_emotion(table.drop_nulls("concept"), languages, concepts, canvas)
    return [*blocks, _table(whole)]


def set_name(name: str) -> str:
    """Return the name of a set of features as a person would write it.

    Example:
        >>> set_name("zh_only"), set_name("space")
        ('selected in Chinese only', 'emotion space: every feature selected in any language')
    """
    meaning = {
        "space": "emotion space: every feature selected in any language",
        "universal": "universal: selected in each language",
        "control": "control: outside the space, matched in number, density and mean activation",
    }
    own = f"selected in {language_name(name.removesuffix('_only'))}"
    return meaning.get(name, own + (" only" if name.endswith("_only") else ""))


def _curves(whole: pl.DataFrame, languages: list[str], canvas: Canvas) -> Block:
    panels = []
    for language in languages:
        own = whole.filter(pl.col("set") == language).sort("fraction")
        name = language_name(language)
        which = _lines(own, _WHICH)
        if which:
            panels.append(CurvePanel(title=f"{name}: the same features?", curves=which, axis="Jaccard index"))
        order = _lines(own, _ORDER)
        if order:
            title = f"{name}: the same order of all features?"
            panels.append(CurvePanel(title=title, curves=order, axis="Spearman's \u03c1 of the AUROC"))
    splits = range_of(whole["n_splits"].to_list(), "random split") if "n_splits" in whole.columns else ""
    return canvas.add(
        draw_curves(
            panels, axis="Words of an emotion in a half (mean number)", band="\u00b1 1 SD over splits"
        ),
        "stability",
        lead="Would another list of words for the same emotions have picked the same features?",
        title="Agreement of the features that two halves of the words select, by number of words",
        caption=(
            f"The words were halved at random{f' ({splits})' if splits else ''} and each half chose features on its "
            "own. Left: the share of features that both halves chose, of those that either chose. Right: how alike the "
            "halves rank all features. The dotted line is the null: random sets as large as all emotions' "
            "features together. The dashed one tells how much two "
            "different emotions share. A line that still rises says that more words would help. A half has half of the "
            "words, so the whole list agrees better with a new one than the last point shows."
        ),
        alt="; ".join(
            f"{panel.title} "
            + ", ".join(f"{c.name} from {number(c.y[0])} to {number(c.y[-1])}" for c in panel.curves)
            for panel in panels
        ),
    )


def _lines(own: pl.DataFrame, wanted: tuple[tuple[str, str, str], ...]) -> list[Curve]:
    x = own["n_words"].to_list()
    curves = []
    for column, name, role in wanted:
        if column not in own.columns:
            continue
        y = [finite(value) for value in own[column].to_list()]
        sd = f"{column}_sd"
        spread = [finite(value) for value in own[sd].to_list()] if sd in own.columns else []
        ends = [
            (a - s, a + s) if a is not None and s is not None else (None, None)
            for a, s in zip(y, spread, strict=False)
        ]
        if any(value is not None for value in y):
            low, high = [end[0] for end in ends], [end[1] for end in ends]
            curves.append(Curve(name=name, role=role, x=x, y=y, low=low, high=high))
    return curves


def _by_emotion(
    table: pl.DataFrame, languages: list[str], concepts: list[str], canvas: Canvas
) -> list[Block]:
    last = {
        (row["set"], row["concept"]): row
        for row in table.sort("fraction", maintain_order=True).iter_rows(named=True)
    }
    groups: dict[str, dict[str, Cell]] = {}
    chance: dict[str, dict[str, float | None]] = {}
    numbers = []
    for concept in concepts:
        for language in languages:
            row = last.get((language, concept))
            if row is None or finite(row["jaccard"]) is None:
                continue
            value, sd = finite(row["jaccard"]), finite(row.get("jaccard_sd"))
            ends = (
                (None, None) if sd is None or value is None else (max(value - sd, 0.0), min(value + sd, 1.0))
            )
            shown, name = concept_name(concept, 26), language_name(language)
            groups.setdefault(shown, {})[name] = (value, *ends)
            chance.setdefault(shown, {})[name] = finite(row["jaccard_chance"])
            numbers.append((value or 0.0) - (finite(row["jaccard_chance"]) or 0.0))
    if not groups:
        return []
    above = sum(each > 0 for each in numbers)
    return [
        canvas.add(
            draw_intervals(
                groups,
                axis="Agreement of two halves of the words (Jaccard index)",
                expected=chance,
                expected_name="random sets of the same size",
                row_height=0.26,
            ),
            "stability_emotions",
            lead="Which emotions have features that do not depend on the choice of words?",
            title="Agreement emotion by emotion",
            caption=(
                "Filled: the share of an emotion's features that both halves of its words chose, with one standard "
                "deviation over the splits to either side. Hollow: the null, random sets of the same size. "
                f"{count(above)} of {count(len(numbers))} lie above it."
            ),
            alt="; ".join(
                f"{concept}: " + ", ".join(f"{name} {number(cell[0], 2)}" for name, cell in group.items())
                for concept, group in groups.items()
            ),
            fallback={name: f"concept {index}" for index, name in enumerate(groups, start=1)},
        )
    ]


def _table(whole: pl.DataFrame) -> Table:
    last: dict[str, dict[str, Any]] = {
        row["set"]: row for row in whole.sort("fraction", maintain_order=True).iter_rows(named=True)
    }
    columns = {
        "n_words": ("words of an emotion in a half", 1),
        "n_features": ("features", 1),
        "jaccard": ("Jaccard index", 3),
        "jaccard_sd": ("SD over splits", 3),
        "jaccard_chance": ("random sets", 3),
        "jaccard_concepts": ("emotion by emotion", 3),
        "jaccard_mismatched": ("different emotions", 3),
        "rank_correlation": ("\u03c1 of the AUROC", 3),
        "rank_mismatched": ("\u03c1, different emotions", 3),
    }
    used = [name for name in columns if name in whole.columns]
    rows = [
        [
            set_name(name),
            *(
                number(row[each], columns[each][1]) if finite(row[each]) is not None else "\u2013"
                for each in used
            ),
        ]
        for name, row in last.items()
    ]
    return Table(
        caption="Agreement of every set of features between two halves of the words, with all words of each half",
        columns=[Column("Set", False), *(Column(columns[name][0]) for name in used)],
        rows=rows,
        folded=True,
    )
