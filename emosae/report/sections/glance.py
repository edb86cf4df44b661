"""The first screen: the headline, and each score beside what it must be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emosae.report.names import language_name, order_names, readable, role
from emosae.report.sections.geometry import likeness
from emosae.report.source import Run, Stage, part
from emosae.report.tables import finite
from emosae.report.text import clean, count, interval, number, shorten

__all__ = ["Tile", "Tiles", "glance"]

_BESIDE = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """One score: what it is, its value, and names and values of what stands beside it."""

    what: str
    value: str
    beside: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The scores of one site; the title is empty where there is one site only."""

    title: str
    tiles: Sequence[Tile]


def glance(run: Run) -> dict[str, Any]:
    """Return headline lines, tiles by site, and what must be said beside them."""
    several = len(run.stages) > 1
    tiles = []
    for site, stages in run.stages.items():
        found = [
            *_space(run, stages.get("geometry")),
            *_ratings(stages.get("ratings")),
            *_selected(stages.get("select")),
        ]
        if found:
            tiles.append(Tiles(f"Site {clean(site)}" if several else "", found))
    notes = []
    if several and tiles:
        notes.append(
            "The sites stand side by side; none is named the best. Picking the highest score of several "
            "sites overstates it, unless the choice is corrected for or made on other emotions than those "
            "reported."
        )
    headline = run.manifest.get("headline") or []
    printed = [str(line) for line in ([headline] if isinstance(headline, str) else headline)]
    own = sentences(run)
    return {"headline": own or printed, "printed": printed if own else [], "tiles": tiles, "notes": notes}


def sentences(run: Run) -> list[str]:
    """Say in plain words what the numbers of one site say; nothing for several, which the tiles show."""
    if len(run.stages) != 1:
        return []
    stages = next(iter(run.stages.values()))
    name = "the phantom" if run.is_phantom else _name(run)
    return [*_space_sentences(name, run, stages.get("geometry")), *_rating_sentences(stages.get("ratings"))]


def _name(run: Run) -> str:
    named = part(run.manifest, "inputs").get("name") or part(run.config, "model").get("name") or "the model"
    return shorten(named, 60)


def _space_sentences(name: str, run: Run, stage: Stage | None) -> list[str]:
    known = [own for own in likeness(run, stage) if finite(own.row["score"]) is not None]
    if not known:
        return []
    first = known[0]
    n = first.row.get("n_concepts")
    scores = [
        number(own.row["score"]) + (f" for {language_name(own.language)} words" if own.language else "")
        for own in known
    ]
    what = f"{count(n)} emotions" if n else "emotions"
    text = f"The features of {name} place {what} in a way that agrees with "
    text += f"a single person's view by {' and '.join(scores)}"
    if first.ceiling:
        text += f"; people's own disagreement allows at most {number(first.ceiling[1])}"
    valence = dict(first.beside).get(readable("valence"))
    return [
        text
        + (
            f", and valence alone, without a model, reaches {number(valence)}."
            if valence is not None
            else "."
        )
    ]


def _rating_sentences(stage: Stage | None) -> list[str]:
    scores = stage.table("scores", "predictor", "target", "language", "r") if stage else None
    if scores is None or scores.is_empty():
        return []
    texts = []
    for language in dict.fromkeys(scores["language"].to_list()):
        parts = []
        for row in scores.iter_rows(named=True):
            if row["language"] != language or row["predictor"] != "features" or finite(row["r"]) is None:
                continue
            beside = [
                f"{readable(other['predictor'])} {number(other['r'])}"
                for other in scores.iter_rows(named=True)
                if other["language"] == language
                and other["target"] == row["target"]
                and other["predictor"] == "residual"
            ]
            if finite(row.get("ceiling")) is not None:
                beside.append(f"ceiling {number(row['ceiling'])}")
            parts.append(
                f"{row['target']} with r = {number(row['r'])}" + (f" ({', '.join(beside)})" if beside else "")
            )
            n = row.get("n_words")
        if parts:
            words = f"{count(n)} {language_name(language)} words" if n else f"{language_name(language)} words"
            texts.append(
                f"What people feel about {words} is predicted from the features: {' and '.join(parts)}."
            )
    return texts


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
        what = f"Likeness to people's view of the emotions{where}, {own.comparator}"
        tiles.append(Tile(what, number(own.row["score"]), beside))
    return tiles


def _ratings(stage: Stage | None) -> list[Tile]:
    if stage is None:
        return []
    scores = stage.table("scores", "predictor", "target", "language", "r")
    tiles = []
    for language, target in dict.fromkeys(scores.select("language", "target").iter_rows()):
        rows = {
            row["predictor"]: row
            for row in scores.iter_rows(named=True)
            if row["language"] == language and row["target"] == target
        }
        names = order_names(rows)
        if not names or role(names[0]) != "features":
            continue
        own = rows[names[0]]
        beside = []
        if finite(own.get("r_low")) is not None:
            beside.append(("interval", interval(own["r_low"], own.get("r_high"))))
        beside += [
            (shorten(readable(name), 40), number(rows[name]["r"]))
            for name in names
            if role(name) == "baseline"
        ][:_BESIDE]
        if finite(own.get("ceiling")) is not None:
            beside.append(("ceiling", number(own["ceiling"])))
        tiles.append(
            Tile(
                f"{str(target).capitalize()} of words predicted, {language_name(language)}, r",
                number(own["r"]),
                beside,
            )
        )
    return tiles


def _selected(stage: Stage | None) -> list[Tile]:
    if stage is None:
        return []
    sets = stage.table("sets", "set", "feature")
    if sets.is_empty():
        return []
    sizes = {
        name: table["feature"].n_unique() for (name,), table in sets.group_by("set", maintain_order=True)
    }
    if "space" not in sizes:
        return []
    listed = [
        (name, size)
        for name, size in sizes.items()
        if name not in {"space", "universal", "control"} and not name.endswith("_only")
    ]
    beside = [(f"in {language_name(name)}", count(size)) for name, size in listed[:_BESIDE]]
    if "universal" in sizes and len(beside) > 1:
        beside.append(("in each language", count(sizes["universal"])))
    total = stage.values.get("n_features")
    if total:
        beside.append(("of all features", count(total)))
    return [Tile("Features selected for the emotions", count(sizes["space"]), beside)]
