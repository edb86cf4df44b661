"""The emotion space beside people's judgements: how like, compared with what, and on which axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, Role, draw_bars, draw_intervals
from emosae.report.names import language_name, readable, role, split_language
from emosae.report.page import Block, Canvas, Column, Missing, Paragraph, Section, Table
from emosae.report.sections.space import FEATURES, HUMAN_MAP, emotion_maps, rdm_pair
from emosae.report.source import Run, Stage
from emosae.report.tables import finite, generic_table
from emosae.report.text import count, interval, number, p_value, shorten

__all__ = ["Likeness", "geometry_section", "likeness"]

_NEEDED = ("space", "comparator", "score")
_ROLES: Mapping[str, Role] = {"baseline": "baseline", "control": "control", "attribute": "human"}
_ORDER = ["features", "subset", "baseline", "control", "human"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """How like people the features of one language are, beside what they must be compared with.

    Attributes:
        language: Empty where the study reads one language.
        comparator: Which measure of likeness.
        row: The row of the table.
        beside: Scores of the baselines of the same language and of valence alone, by readable name.
        ceiling: Lower and upper bound of the best possible score, None where not known.
    """

    language: str
    comparator: str
    row: Mapping[str, Any]
    beside: Sequence[tuple[str, float | None]]
    ceiling: tuple[float, float] | None


def likeness(run: Run, stage: Stage | None) -> list[Likeness]:
    """Read the headline scores of each feature space, none where there was nothing to compare with."""
    if stage is None:
        return []
    rsa = _headline_rows(stage)
    rows = {row["space"]: row for row in rsa.iter_rows(named=True)}
    found = []
    for name, row in rows.items():
        base, language = split_language(name, run.languages)
        if base != FEATURES:
            continue
        # valence alone first, since it is what most of people's judgements follow
        others = sorted(rows, key=lambda each: each != "valence")
        beside = [
            (readable(split_language(other, run.languages)[0]), finite(rows[other]["score"]))
            for other in others
            if other == "valence"
            or (
                _role(rows[other], run.languages) in {"baseline", "control"}
                and split_language(other, run.languages)[1] == language
            )
        ]
        found.append(
            Likeness(
                language=language,
                comparator=str(row["comparator"]),
                row=row,
                beside=beside,
                ceiling=_ceiling(row),
            )
        )
    return found


def geometry_section(run: Run, stage: Stage | None, canvas: Canvas, anchor: str) -> Section:
    """Build the section on the emotion space."""
    title = "The emotion space beside people"
    if stage is None:
        return Section(
            anchor=anchor,
            title=title,
            blocks=[Missing("This run did not look at the emotion space.", "emosae geometry")],
        )
    blocks: list[Block] = [
        Paragraph(
            "Each emotion is described by how strongly the selected features fire on its words. Two "
            "emotions are near each other when the same features fire for both. The question is whether "
            "emotions that are near in the model are those that people call similar.",
            quiet=True,
        )
    ]
    blocks += [Paragraph(text) for text in (_in_words(one) for one in likeness(run, stage)) if text]
    blocks += emotion_maps(run, stage, canvas)
    blocks += rdm_pair(run, stage, canvas)
    rsa = stage.table("rsa", *_NEEDED)
    if rsa.height:
        blocks += [_bars(run, stage, canvas), *_tables(run, stage)]
    else:
        blocks.append(
            Missing(
                "Not compared with people: no human similarity judgements are named.",
                "emosae geometry norms=[…]",
            )
        )
    blocks += _beyond(run, stage) + _axes(run, stage, canvas) + _between(run, stage)
    return Section(anchor=anchor, title=title, blocks=blocks)


def _headline_rows(stage: Stage) -> pl.DataFrame:
    rsa = stage.table("rsa", *_NEEDED)
    if rsa.is_empty():
        return rsa
    comparator = stage.values.get("comparator") or rsa["comparator"][0]
    return rsa.filter(pl.col("comparator") == comparator)


def _role(row: Mapping[str, Any], languages: Sequence[str]) -> Role:
    named = str(row.get("role") or "")
    return _ROLES.get(named) or role(split_language(str(row["space"]), languages)[0])


def _ceiling(row: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = finite(row.get("ceiling_lower")), finite(row.get("ceiling_upper"))
    return None if low is None or high is None else (low, high)


def _in_words(one: Likeness) -> str:
    value = finite(one.row.get("score"))
    if value is None:
        return ""
    where = f"In {language_name(one.language)}, the" if one.language else "The"
    facts = [one.comparator]
    if finite(one.row.get("ci_low")) is not None:
        facts.append(f"interval {interval(one.row['ci_low'], one.row.get('ci_high'))}")
    if finite(one.row.get("p")) is not None:
        facts.append(f"p = {p_value(one.row['p'])}")
    text = f"{where} features agree with a single rater by {number(value)} on average ({'; '.join(facts)})"
    share = finite(one.row.get("share_of_ceiling"))
    if one.ceiling is not None and share is not None:
        text += f", {share:.0%} of the {number(one.ceiling[1])} that people's own disagreement allows"
    valence = dict(one.beside).get(readable("valence"))
    return text + (
        f". Valence alone, without a model, reaches {number(valence)}." if valence is not None else "."
    )


def _bars(run: Run, stage: Stage, canvas: Canvas) -> Block:
    rows = [row for row in _headline_rows(stage).iter_rows(named=True) if row.get("role") != "ceiling"]
    rows.sort(key=lambda row: _ORDER.index(_role(row, run.languages)))
    comparator = str(rows[0]["comparator"]) if rows else ""
    panels = []
    for title, value, low, high, ceiling in (
        ("with single raters, averaged", "score", "ci_low", "ci_high", _ceiling(rows[0])),
        (
            "with the mean of all raters",
            "score_mean_rdm",
            "ci_low_mean_rdm",
            "ci_high_mean_rdm",
            _mean_ceiling(rows[0]),
        ),
    ):
        bars = [
            Bar(
                name=readable(row["space"], run.languages),
                role=_role(row, run.languages),
                value=finite(row.get(value)),
                low=finite(row.get(low)),
                high=finite(row.get(high)),
            )
            for row in rows
        ]
        if any(bar.value is not None for bar in bars):
            panels.append(
                Panel(title=title, bars=bars, axis=f"Likeness to people ({comparator})", ceiling=ceiling)
            )
    return canvas.add(
        draw_bars(panels),
        "rsa",
        title="Likeness of each space to people's judgements",
        caption=(
            "Left, every bar is the same measure as the green band: agreement with one rater at a time, "
            "averaged. Right, agreement with the mean of all raters, which is higher for everything and "
            "has a ceiling of its own; the two panels must not be mixed. A model that knew only how "
            "pleasant each emotion is would reach the orange bar of valence."
        ),
        alt="; ".join(
            f"{panel.title}: " + ", ".join(f"{bar.name} {number(bar.value)}" for bar in panel.bars)
            for panel in panels
        ),
    )


def _mean_ceiling(row: Mapping[str, Any]) -> tuple[float, float] | None:
    value = finite(row.get("ceiling_mean_rdm"))
    return None if value is None else (value, value)


def _tables(run: Run, stage: Stage) -> list[Block]:
    rsa = stage.table("rsa", *_NEEDED)
    first = _headline_rows(stage)["comparator"][0]
    comparators = [first, *(each for each in dict.fromkeys(rsa["comparator"].to_list()) if each != first)]
    return [
        _table(run, rsa.filter(pl.col("comparator") == each), folded=each != first) for each in comparators
    ]


def _table(run: Run, rsa: pl.DataFrame, *, folded: bool) -> Table:
    listed = [row for row in rsa.iter_rows(named=True) if row.get("role") != "ceiling"]
    listed.sort(key=lambda row: _ORDER.index(_role(row, run.languages)))
    partial = any(finite(row.get("partial_rho_given_valence")) is not None for row in listed)
    rows = []
    for row in listed:
        cells = [readable(row["space"], run.languages), number(row["score"])]
        cells += [interval(row.get("ci_low"), row.get("ci_high")), p_value(row.get("p"))]
        cells += [number(row.get("score_mean_rdm"))]
        cells += [
            interval(row.get("ci_low_mean_rdm"), row.get("ci_high_mean_rdm")),
            p_value(row.get("p_mean_rdm")),
        ]
        value = row.get("partial_rho_given_valence")
        cells += [number(value) if finite(value) is not None else "\u2013"] if partial else []
        rows.append(cells)
    return Table(
        caption=_table_caption(listed[0] if listed else {}),
        columns=[
            Column("Space", False),
            Column("by raters"),
            Column("interval"),
            Column("p"),
            Column("mean of raters"),
            Column("interval"),
            Column("p"),
            *([Column("partial \u03c1 given valence (a description)")] if partial else []),
        ],
        rows=rows,
        marked=frozenset(i for i, row in enumerate(listed) if _role(row, run.languages) == "features"),
        folded=folded,
    )


def _table_caption(row: Mapping[str, Any]) -> str:
    text = f"Likeness to people's similarity judgements by {row.get('comparator', 'the measure of this run')}"
    sizes = [
        f"{count(row[name])} {what}"
        for name, what in (("n_concepts", "emotions"), ("n_raters", "raters"))
        if row.get(name)
    ]
    text += f" ({', '.join(sizes)})." if sizes else "."
    ceiling, pooled = _ceiling(row), finite(row.get("ceiling_mean_rdm"))
    text += f" Ceiling by raters {interval(*ceiling)}" if ceiling else ""
    text += (
        f"{', with' if ceiling else ' Ceiling with'} their mean {number(pooled)}"
        if pooled is not None
        else ""
    )
    return text + ("." if ceiling or pooled is not None else "")


def _beyond(run: Run, stage: Stage) -> list[Block]:
    tests = stage.table("tests", "test", "space", "statistic", "p")
    if tests.is_empty():
        return []
    beyond = tests.filter(pl.col("test") == "beyond_valence")
    blocks: list[Block] = []
    if beyond.height:
        rows = [
            [
                readable(row["space"], run.languages),
                number(row["statistic"]),
                number(row.get("expected")),
                p_value(row["p"]),
                count(row.get("n_permutations")),
            ]
            for row in beyond.iter_rows(named=True)
        ]
        blocks += [
            Paragraph(
                "Is there more than pleasant against unpleasant? What valence explains is taken out of "
                "the model's space, what is left is shuffled over the emotions, and the likeness to "
                "people computed again. A small p says that the model shares more with people than "
                "valence.",
                quiet=True,
            ),
            Table(
                caption="Likeness beyond valence",
                columns=[
                    Column("Space", False),
                    Column("likeness"),
                    Column("expected from valence alone"),
                    Column("p"),
                    Column("permutations"),
                ],
                rows=rows,
                marked=_features(run, beyond),
            ),
        ]
    turned = (
        tests.filter((pl.col("test") == "procrustes") & (pl.col("other") == HUMAN_MAP))
        if "other" in tests.columns
        else tests.head(0)
    )
    if turned.height:
        rows = [
            [readable(row["space"], run.languages), number(row["statistic"]), p_value(row["p"])]
            for row in turned.iter_rows(named=True)
        ]
        blocks.append(
            Table(
                caption="How well each map fits people's when turned onto it (Procrustes, leading axes)",
                columns=[Column("Space", False), Column("correlation"), Column("p")],
                rows=rows,
                marked=_features(run, turned),
                folded=True,
            )
        )
    return blocks


def _features(run: Run, table: pl.DataFrame) -> frozenset[int]:
    names = [split_language(name, run.languages)[0] for name in table["space"].to_list()]
    return frozenset(index for index, name in enumerate(names) if name == FEATURES)


def _axes(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    axes = stage.table("axes", "space", "method", "axis", "attribute", "r")
    if axes.is_empty():
        return []
    groups: dict[str, dict[str, tuple[float | None, float | None, float | None]]] = {}
    shown = axes.filter(pl.col("method") == "mds")
    for row in shown.iter_rows(named=True):
        base = split_language(row["space"], run.languages)[0]
        if base not in {FEATURES, HUMAN_MAP}:
            continue
        share = finite(row.get("explained"))
        name = f"{readable(row['space'], run.languages)}, axis {row['axis']}" + (
            f" ({share:.0%})" if share is not None else ""
        )
        groups.setdefault(name, {})[row["attribute"]] = (
            finite(row["r"]),
            finite(row.get("ci_low")),
            finite(row.get("ci_high")),
        )
    blocks: list[Block] = []
    if groups:
        blocks.append(
            canvas.add(
                draw_intervals(groups, axis="Correlation of the axis with people's ratings (size of r)"),
                "axes",
                title="What the axes of each map mean",
                caption=(
                    "How strongly the emotions' places on each axis follow their valence and their "
                    "arousal as people rate them. The share in brackets is what the axis holds of the "
                    "map. The sign of an axis is arbitrary, so sizes are shown; an interval that reaches "
                    "below zero means that the sign is not settled."
                ),
                alt="; ".join(
                    f"{name}: " + ", ".join(f"{key} {number(value[0])}" for key, value in group.items())
                    for name, group in groups.items()
                ),
            )
        )
    named = axes.with_columns(
        pl.col("space").map_elements(lambda name: readable(name, run.languages), return_dtype=pl.String)
    )
    blocks.append(
        generic_table(named, "Axes of every space and their correlation with people's ratings", folded=True)
    )
    return blocks


def _between(run: Run, stage: Stage) -> list[Block]:
    between = stage.table("between", "space_a", "space_b", "score")
    if between.is_empty():
        return []
    blocks: list[Block] = []
    for row in between.iter_rows(named=True):
        (a, one), (b, other) = (split_language(row[side], run.languages) for side in ("space_a", "space_b"))
        if a == b == FEATURES and one and other:
            text = f"The feature spaces of {language_name(one)} and {language_name(other)} are alike by "
            text += f"{number(row['score'])} ({shorten(row.get('comparator', ''), 20)}"
            if finite(row.get("ci_low")) is not None:
                text += f", interval {interval(row['ci_low'], row.get('ci_high'))}"
            text += f", p = {p_value(row['p'])})." if finite(row.get("p")) is not None else ")."
            blocks.append(Paragraph(text))
    named = between.with_columns(
        pl.col("space_a", "space_b").map_elements(
            lambda name: readable(name, run.languages), return_dtype=pl.String
        )
    )
    caption = "Likeness of every two spaces to each other, people left out"
    return [*blocks, generic_table(named, caption, folded=True)]
