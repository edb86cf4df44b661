"""The emotion space beside people's judgements: how like, compared with what, and on which axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.names import language_name, readable
from emosae.report.page import Block, Canvas, Column, Missing, Paragraph, Section, Table
from emosae.report.sections.axes import axes_blocks, between_blocks, beyond_blocks
from emosae.report.sections.control_set import control_blocks
from emosae.report.sections.latents import latent_blocks
from emosae.report.sections.likeness import (
    NEEDED,
    Likeness,
    draws_range,
    headline_rows,
    in_order,
    likeness,
    raters_ceiling,
    space_role,
)
from emosae.report.sections.other_runs import other_runs_blocks
from emosae.report.sections.raters import raters_blocks
from emosae.report.sections.space import emotion_maps, rdm_pair, several_raters
from emosae.report.sections.wording import bars_in_words, counted, interval_name
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import count, interval, number, p_value

__all__ = ["geometry_section"]


def geometry_section(run: Run, stage: Stage | None, canvas: Canvas, anchor: str) -> Section:
    """Build the section on the emotion space."""
    title = f"The emotion space beside {run.voice.who}"
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
            f"emotions that are near in the model are near in {run.voice.judgements} too.",
            quiet=True,
        )
    ]
    blocks += [
        Paragraph(text) for text in (_in_words(run, stage, one) for one in likeness(run, stage)) if text
    ]
    blocks += emotion_maps(run, stage, canvas)
    blocks += rdm_pair(run, stage, canvas)
    rsa = stage.table("rsa", *NEEDED)
    if rsa.height:
        blocks += [_bars(run, stage, canvas), *_tables(run, stage)]
    else:
        blocks.append(
            Missing(
                "Not compared: no similarity judgements are named.",
                "emosae geometry norms=[…]",
            )
        )
    blocks += beyond_blocks(run, stage, canvas) + control_blocks(run, stage, canvas)
    blocks += axes_blocks(run, stage, canvas) + between_blocks(run, stage)
    blocks += other_runs_blocks(run, stage, canvas) + raters_blocks(run, stage, canvas)
    blocks += latent_blocks(run, stage, canvas)
    return Section(anchor=anchor, title=title, blocks=blocks)


def _in_words(run: Run, stage: Stage, one: Likeness) -> str:
    value = finite(one.row.get("score"))
    if value is None:
        return ""
    where = f"In {language_name(one.language)}, the" if one.language else "The"
    facts = [one.comparator]
    if finite(one.row.get("ci_low")) is not None:
        facts.append(f"interval {interval(one.row['ci_low'], one.row.get('ci_high'))}")
    if finite(one.row.get("p")) is not None:
        facts.append(f"p = {p_value(one.row['p'])}")
    whom = "with a single rater" if several_raters(stage) else f"with {run.voice.judgements}"
    mean = " on average" if several_raters(stage) else ""
    text = f"{where} features agree {whom} by {number(value)}{mean} ({'; '.join(facts)})"
    share = finite(one.row.get("share_of_ceiling"))
    if one.ceiling is not None and share is not None:
        text += f", {share:.0%} of the {number(one.ceiling[1])} that the raters' own disagreement allows"
    valence = dict(one.beside).get(readable("valence"))
    return text + (
        f". Valence alone, without a model, reaches {number(valence)}." if valence is not None else "."
    )


def _bars(run: Run, stage: Stage, canvas: Canvas) -> Block:
    rows = in_order(
        (row for row in headline_rows(stage).iter_rows(named=True) if row.get("role") != "ceiling"), run
    )
    if not rows:
        return Missing("The likeness of the spaces could not be computed.")
    comparator = str(rows[0]["comparator"])
    single = ("score", "ci_low", "ci_high", raters_ceiling(rows[0]))
    pooled = ("score_mean_rdm", "ci_low_mean_rdm", "ci_high_mean_rdm", _mean_ceiling(rows[0]))
    kinds = {"with single raters, averaged": single, "with the mean of all raters": pooled}
    if not several_raters(stage):  # then both are one number
        name = run.voice.judgements
        kinds = {f"{name[0].upper()}{name[1:]}": single}
    panels = []
    for title, (value, low, high, ceiling) in kinds.items():
        bars = [
            Bar(
                name=readable(row["space"], run.languages),
                role=space_role(row, run.languages),
                value=finite(row.get(value)),
                low=finite(row.get(low)),
                high=finite(row.get(high)),
                spread=draws_range(row) if value == "score" else None,
            )
            for row in rows
        ]
        if any(bar.value is not None for bar in bars):
            axis = f"Likeness to {run.voice.who} ({comparator})"
            panels.append(Panel(title=title, bars=bars, axis=axis, ceiling=ceiling))
    if not panels:
        return Missing("The likeness of the spaces could not be computed.")
    return canvas.add(
        draw_bars(
            panels,
            whisker=interval_name(run, "geometry", "emotions"),
            spread="where 95% of the single random sets lie",
        ),
        "rsa",
        lead=(
            f"How much do the model's features agree with {run.voice.judgements}, and how much of that would any "
            "other reading of the same model, a random set of features or pleasantness alone give?"
        ),
        title=f"Likeness of each space to {run.voice.judgements}",
        caption=_bars_caption(rows, len(panels) > 1, any(panel.ceiling for panel in panels)),
        alt=bars_in_words(panels),
    )


def _bars_caption(rows: list[Mapping[str, Any]], two: bool, ceiling: bool) -> str:
    size = [counted(rows[0].get("n_concepts"), "emotion")]
    size += [counted(rows[0].get("n_raters"), "rater")] if (rows[0].get("n_raters") or 0) > 1 else []
    text = f"{' and '.join(each for each in size if each)}. " if any(size) else ""
    if two:
        text += "Left, agreement with one rater at a time, averaged; right, agreement with the mean of all raters, "
        text += (
            "which is higher for everything and has a ceiling of its own. The two panels must not be mixed. "
        )
    if ceiling:
        text += "Within a panel every bar is the same measure as the green band. "
    draws = max((row.get("n_draws") or 0 for row in rows), default=0)
    if draws and any(draws_range(row) for row in rows):
        text += (
            f"Random features are the mean of {count(draws)} sets of as many features as the emotion space has, drawn "
            "from all that fire; the band shows single sets. "
        )
    return text + (
        "A model that knew only how pleasant each emotion is would reach the bar of valence alone. "
        "0 is what emotions in random order give on average (the permutation test behind p)."
    )


def _mean_ceiling(row: Mapping[str, Any]) -> tuple[float, float] | None:
    value = finite(row.get("ceiling_mean_rdm"))
    return None if value is None else (value, value)


def _tables(run: Run, stage: Stage) -> list[Block]:
    rsa = stage.table("rsa", *NEEDED)
    first = headline_rows(stage)["comparator"][0]
    comparators = [first, *(each for each in dict.fromkeys(rsa["comparator"].to_list()) if each != first)]
    return [
        _table(run, stage, rsa.filter(pl.col("comparator") == each), folded=each != first)
        for each in comparators
    ]


def _table(run: Run, stage: Stage, rsa: pl.DataFrame, *, folded: bool) -> Table:
    listed = in_order((row for row in rsa.iter_rows(named=True) if row.get("role") != "ceiling"), run)
    random = any(finite(row.get("p_random")) is not None for row in listed)
    partial = any(finite(row.get("partial_rho_given_valence")) is not None for row in listed)
    several = several_raters(stage)
    rows = []
    for row in listed:
        cells = [readable(row["space"], run.languages), number(row["score"])]
        cells += [interval(row.get("ci_low"), row.get("ci_high")), p_value(row.get("p"))]
        if several:  # with one rater both are one number
            cells += [number(row.get("score_mean_rdm"))]
            cells += [
                interval(row.get("ci_low_mean_rdm"), row.get("ci_high_mean_rdm")),
                p_value(row.get("p_mean_rdm")),
            ]
        if random:
            cells.append(p_value(row["p_random"]) if finite(row.get("p_random")) is not None else "\u2013")
        value = row.get("partial_rho_given_valence")
        cells += [number(value) if finite(value) is not None else "\u2013"] if partial else []
        rows.append(cells)
    spread = [Column("interval"), Column("p")]
    return Table(
        caption=_table_caption(run, listed[0] if listed else {}),
        columns=[
            Column("Space", False),
            Column("by raters" if several else "likeness"),
            *spread,
            *([Column("mean of raters"), *spread] if several else []),
            *([Column("random sets as good (share, p)")] if random else []),
            *([Column("partial \u03c1 given valence (a description)")] if partial else []),
        ],
        rows=rows,
        marked=frozenset(i for i, row in enumerate(listed) if space_role(row, run.languages) == "features"),
        folded=folded,
    )


def _table_caption(run: Run, row: Mapping[str, Any]) -> str:
    text = f"Likeness to {run.voice.judgements} by {row.get('comparator', 'the measure of this run')}"
    sizes = [
        f"{count(row[name])} {what}"
        for name, what in (("n_concepts", "emotions"), ("n_raters", "raters"))
        if (row.get(name) or 0) > 1
    ]
    text += f" ({', '.join(sizes)})." if sizes else "."
    ceiling, pooled = raters_ceiling(row), finite(row.get("ceiling_mean_rdm"))
    text += f" Ceiling by raters {interval(*ceiling)}" if ceiling else ""
    text += (
        f"{', with' if ceiling else ' Ceiling with'} their mean {number(pooled)}"
        if pooled is not None
        else ""
    )
    return text + ("." if ceiling or pooled is not None else "")
