"""The first screen: the headline, and each score beside what it must be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emosae.report.names import language_name, order_names, readable, role
from emosae.report.page import Column, Table
from emosae.report.sections.data_sets import scores_by_data_set
from emosae.report.sections.headline import sentences
from emosae.report.sections.likeness import likeness
from emosae.report.sections.ratings_names import cells_of
from emosae.report.sections.steering_summary import STEERING_BESIDE, steering_tile
from emosae.report.source import Run, Stage
from emosae.report.tables import finite
from emosae.report.text import count, interval, number, shorten

__all__ = ["Tile", "glance"]

_BESIDE = 4
_OVERVIEW = ("interval", readable("valence"), readable("residual"), "ceiling", *STEERING_BESIDE.values())


@dataclass(frozen=True, slots=True)
class Tile:
    """One score: what it is, its value, and names and values of what stands beside it."""

    what: str
    value: str
    beside: Sequence[tuple[str, str]]


def glance(run: Run) -> dict[str, Any]:
    """Return the headline, the lines that the run printed, and tiles, or for several sites a table of them."""
    by_site = {
        site: [
            *_space(run, stages.get("geometry")),
            *_ratings(stages.get("ratings")),
            *_steered(stages.get("steer")),
            *_selected(stages.get("select")),
        ]
        for site, stages in run.stages.items()
    }
    several = len(by_site) > 1
    headline = run.manifest.get("headline") or []
    printed = [str(line) for line in ([headline] if isinstance(headline, str) else headline)]
    own = sentences(run)
    return {
        "headline": own or printed,
        "printed": printed if own else [],
        "tiles": [] if several else next(iter(by_site.values()), []),
        "overview": _overview(by_site) if several and any(by_site.values()) else None,
    }


def _overview(by_site: dict[str, list[Tile]]) -> Table:
    """Set the sites side by side, each score followed by what it is compared with."""
    known = {site: {tile.what: tile for tile in tiles} for site, tiles in by_site.items()}
    rows: list[list[str]] = []
    marked = []
    for what in dict.fromkeys(tile.what for tiles in by_site.values() for tile in tiles):
        marked.append(len(rows))
        tiles = [known[site].get(what) for site in by_site]
        rows.append([what, *(tile.value if tile else "\u2013" for tile in tiles)])
        for name in _OVERVIEW:
            values = [dict(tile.beside).get(name) if tile else None for tile in tiles]
            if any(values):
                rows.append([name, *(value or "\u2013" for value in values)])
    return Table(
        caption="Every site beside its baselines. None is named the best: picking the highest score of several "
        "sites overstates it, unless the choice is corrected for or made on other emotions than those reported.",
        columns=[Column("Score", False), *(Column(shorten(site, 60)) for site in by_site)],
        rows=rows,
        marked=frozenset(marked),
    )


def _space(run: Run, stage: Stage | None) -> list[Tile]:
    tiles = []
    for own in likeness(run, stage):
        beside = []
        if finite(own.row.get("ci_low")) is not None:
            beside.append(("interval", interval(own.row["ci_low"], own.row.get("ci_high"))))
        beside += [(shorten(name, 40), number(value)) for name, value in own.beside[:_BESIDE]]
        if own.ceiling is not None:
            beside.append(("ceiling", interval(*own.ceiling)))
        where = f", {language_name(own.language)}" if own.language else ""
        what = f"Likeness to {run.voice.judgements}{where}, {own.comparator}"
        tiles.append(Tile(what, number(own.row["score"]), beside))
    return tiles


def _ratings(stage: Stage | None) -> list[Tile]:
    tiles = []
    for data_set, scores in scores_by_data_set(stage):
        for language, target in cells_of(scores):
            rows = {row["predictor"]: row for row in scores.filter(target=target).iter_rows(named=True)}
            names = order_names(rows)
            if not names or role(names[0]) != "features":
                continue
            own = rows[names[0]]
            beside = []
            if finite(own.get("r_low")) is not None:
                beside.append(("interval", interval(own["r_low"], own.get("r_high"))))
            baselines = [name for name in names if role(name) == "baseline"]
            beside += [(shorten(readable(name), 40), number(rows[name]["r"])) for name in baselines[:_BESIDE]]
            if finite(own.get("ceiling")) is not None:
                beside.append(("ceiling", number(own["ceiling"])))
            what = f"{str(target).capitalize()} of words predicted, {language_name(language)}"
            what += f" ({data_set})" if data_set else ""
            tiles.append(Tile(f"{what}, r", number(own["r"]), beside))
    return tiles


def _steered(stage: Stage | None) -> list[Tile]:
    found = steering_tile(stage)
    return [] if found is None else [Tile(*found)]


def _selected(stage: Stage | None) -> list[Tile]:
    if stage is None:
        return []
    sets = stage.table("sets", "set", "feature")
    sizes = {
        name: table["feature"].n_unique() for (name,), table in sets.group_by("set", maintain_order=True)
    }
    if "space" not in sizes:
        return []
    apart = {"space", "universal", "control"}
    listed = [name for name in sizes if name not in apart and not name.endswith("_only")]
    beside = [(f"in {language_name(name)}", count(sizes[name])) for name in listed[:_BESIDE]]
    if "universal" in sizes and len(listed) > 1:
        beside.append(("in each language", count(sizes["universal"])))
    total = stage.values.get("n_features")
    if total:
        beside.append(("of all features", count(total)))
    return [Tile("Features selected for the emotions", count(sizes["space"]), beside)]
