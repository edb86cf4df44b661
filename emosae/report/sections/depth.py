"""Several sites of one model side by side: likeness to people over depth, and what the choice of a site is worth."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from emosae.report.curves import Curve, CurvePanel, draw_curves
from emosae.report.names import language_name, order_names, readable, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Section, Table
from emosae.report.sections.depth_layers import layer_blocks
from emosae.report.sections.depth_ratings import rating_curves
from emosae.report.sections.likeness import (
    ROLE_ORDER,
    headline_rows,
    raters_ceiling,
    space_role,
)
from emosae.report.sections.space import FEATURES, several_raters
from emosae.report.sections.wording import counted, curves_in_words, interval_name, range_of
from emosae.report.source import Run
from emosae.report.tables import finite
from emosae.report.text import interval, number, p_value, shorten

__all__ = ["depth_section"]

_NEEDED = ("space", "role", "score", "best")
_LAYER = re.compile(r"(\d+)\.(?:attn\.)?hook_(\w+)$")
_MOST_TICKS = 12


def depth_section(run: Run, canvas: Canvas) -> Section | None:
    """Set the sites of a run side by side; None where it read one."""
    if len(run.stages) < 2:
        return None
    place, axis, ticks = _places(run)
    blocks = [
        *_geometry(run, canvas, place, axis, ticks),
        *layer_blocks(run, canvas, place),
        *rating_curves(run, canvas, place, axis, ticks),
    ]
    return Section(anchor="depth", title="Sites side by side", blocks=blocks) if blocks else None


def _places(run: Run) -> tuple[dict[str, float], str, list[tuple[float, str]]]:
    """Return where each site stands on the axis, the axis' name, and its ticks."""
    found = {site: _LAYER.search(site) for site in run.stages}
    streams = {match.group(2) if match else "" for match in found.values()}
    if all(found.values()) and len(streams) == 1:
        layers = {site: float(match.group(1)) for site, match in found.items() if match}
        step = -(-len(layers) // _MOST_TICKS)
        ticks = [
            (layer, "" if at % step else f"{layer:g}") for at, layer in enumerate(sorted(layers.values()))
        ]
        return layers, f"Layer (block, counted from 0; {streams.pop()})", ticks
    order = sorted(run.stages, key=lambda site: int(found[site].group(1)) if found[site] else 0)  # type: ignore[union-attr]
    names = [f"{m.group(1)}\n{m.group(2)}" if (m := found[site]) else shorten(site, 16) for site in order]
    return (
        {site: float(place) for place, site in enumerate(order)},
        "Site (layer and stream)",
        [(float(place), name) for place, name in enumerate(names)],
    )


def _sites_table(run: Run) -> pl.DataFrame:
    parts = [
        stages["geometry"].table("sites", *_NEEDED).with_columns(pl.lit(site).alias("site"))
        for site, stages in run.stages.items()
        if "geometry" in stages and stages["geometry"].table("sites", *_NEEDED).height
    ]
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def _geometry(
    run: Run, canvas: Canvas, place: Mapping[str, float], axis: str, ticks: Sequence[tuple[float, str]]
) -> list[Block]:
    table = _sites_table(run)
    if table.is_empty():
        return []
    order = sorted(place, key=place.__getitem__)
    comparator = str(table["comparator"][0]) if "comparator" in table.columns else "likeness"
    languages = list(
        dict.fromkeys(split_language(name, run.languages)[1] for name in table["space"].to_list())
    )
    panels = []
    for language in languages:
        curves = [
            _curve(table, space, run, place, order)
            for space in order_names(table["space"].to_list(), run.languages)
            if split_language(space, run.languages)[1] == language
        ]
        curves.sort(key=lambda curve: ROLE_ORDER.index(curve.role))
        curves += _random(run, language, order, place)
        flat, ceiling = _without_model(run, order, place)
        panels.append(
            CurvePanel(
                title=language_name(language) if language else f"Likeness to {run.voice.judgements}",
                curves=[*curves, *flat],
                axis=f"Likeness ({comparator})",
                ceiling=ceiling,
            )
        )
    n = range_of(table["n_concepts"].to_list(), "emotion") if "n_concepts" in table.columns else ""
    whom = "single raters, averaged" if _raters(run) else run.voice.judgements
    figure = canvas.add(
        draw_curves(
            panels,
            axis=axis,
            ticks=ticks,
            band=interval_name(run, "geometry", "emotions"),
            ring="highest of the sites",
        ),
        "depth_geometry",
        lead=f"Where in the model do emotions stand to each other as in {run.voice.judgements}?",
        title=f"Likeness to {run.voice.judgements} over the depth of the model",
        caption=(
            f"Likeness to {whom}{f', {n}' if n else ''}, at every site that was read; the baselines are read at the "
            "same sites. 0 is what emotions in random order give on average. The ring marks the highest site of the "
            "features; the highest of several is too high by choice, so its p is corrected below."
        ),
        alt=curves_in_words(panels),
    )
    said = [Paragraph(text) for text in _best(run, table)]
    return [figure, *said, _table(run, table, order)]


def _raters(run: Run) -> bool:
    return any(several_raters(stages["geometry"]) for stages in run.stages.values() if "geometry" in stages)


def _curve(
    table: pl.DataFrame, space: str, run: Run, place: Mapping[str, float], order: Sequence[str]
) -> Curve:
    rows = {row["site"]: row for row in table.filter(pl.col("space") == space).iter_rows(named=True)}
    sites = [site for site in order if site in rows]
    base = split_language(space, run.languages)[0]
    own = base == FEATURES
    return Curve(
        name=readable(base),
        role=space_role(rows[sites[0]], run.languages),
        x=[place[site] for site in sites],
        y=[finite(rows[site]["score"]) for site in sites],
        low=[finite(rows[site].get("ci_low")) for site in sites] if own else (),
        high=[finite(rows[site].get("ci_high")) for site in sites] if own else (),
        ringed=[at for at, site in enumerate(sites) if own and rows[site]["best"]],
    )


def _random(run: Run, language: str, order: Sequence[str], place: Mapping[str, float]) -> list[Curve]:
    """Return the mean of the random sets of features at each site, which the table of sites does not hold."""
    name = f"random_{language}" if language else "random"
    found = {}
    for site in order:
        stage = run.stages[site].get("geometry")
        rows = headline_rows(stage).filter(pl.col("space") == name) if stage else pl.DataFrame()
        if rows.height:
            found[site] = finite(rows["score"][0])
    if not found:
        return []
    x = [place[site] for site in found]
    return [Curve(name=readable("random"), role="control", x=x, y=list(found.values()))]


def _without_model(
    run: Run, order: Sequence[str], place: Mapping[str, float]
) -> tuple[list[Curve], tuple[float, float] | None]:
    """Return valence alone, the same at every site, and the raters' ceiling."""
    for site in order:
        rows = (
            headline_rows(run.stages[site]["geometry"]) if "geometry" in run.stages[site] else pl.DataFrame()
        )
        known = {row["space"]: row for row in rows.iter_rows(named=True)}
        value = finite(known.get("valence", {}).get("score"))
        if value is not None:
            x = [place[each] for each in order]
            curve = Curve(name=readable("valence"), role="human", x=x, y=[value] * len(x))
            return [curve], raters_ceiling(known["valence"])
    return [], None


def _best(run: Run, table: pl.DataFrame) -> list[str]:
    texts = []
    for row in table.filter(pl.col("best") & (pl.col("role") == "model")).iter_rows(named=True):
        base, language = split_language(row["space"], run.languages)
        if base != FEATURES:
            continue
        where = f"In {language_name(language)} the" if language else "The"
        text = f"{where} highest of {counted(row.get('n_sites'), 'site')} is {shorten(row['site'], 60)} with "
        text += f"{number(row['score'])}; corrected for having looked at all of them, "
        text += f"p = {p_value(row.get('p_max'))}."
        if finite(row.get("chosen")) is not None:
            text += f" Chosen on half of the emotions it is picked in {row['chosen']:.0%} of the splits"
            held = finite(row.get("held_out"))
            text += f", and then reaches {number(held)} on the other half." if held is not None else "."
        texts.append(text)
    return texts


def _table(run: Run, table: pl.DataFrame, order: Sequence[str]) -> Table:
    rows: list[list[str]] = []
    marked = []
    for space in order_names(table["space"].to_list(), run.languages):
        own = {row["site"]: row for row in table.filter(pl.col("space") == space).iter_rows(named=True)}
        for row in (own[site] for site in order if site in own):
            if split_language(space, run.languages)[0] == FEATURES:
                marked.append(len(rows))
            chosen = finite(row.get("chosen"))
            rows.append(
                [
                    readable(space, run.languages),
                    shorten(row["site"], 60),
                    number(row["score"]),
                    interval(row.get("ci_low"), row.get("ci_high")),
                    p_value(row.get("p")),
                    p_value(row.get("p_max")),
                    f"{chosen:.0%}" if chosen is not None else "\u2013",
                    number(row["held_out"]) if finite(row.get("held_out")) is not None else "\u2013",
                ]
            )
    return Table(
        caption="Every space at every site. The corrected p holds for the best of the sites; chosen is how often a "
        "site is the best on one half of the emotions, held out its score on the other half then.",
        columns=[
            Column("Space", False),
            Column("Site", False),
            Column("likeness"),
            Column("interval"),
            Column("p"),
            Column("p, corrected over sites"),
            Column("chosen"),
            Column("held out"),
        ],
        rows=rows,
        marked=frozenset(marked),
        folded=True,
    )
