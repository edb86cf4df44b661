"""CEBRA's latent space: how like people's judgements it is, always beside fits to shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emosae.report.bars import Bar, Panel, draw_bars
from emosae.report.latent_map import Points, draw_points
from emosae.report.names import readable, split_language
from emosae.report.page import Block, Canvas, Column, Paragraph, Table
from emosae.report.sections.likeness import headline_rows, in_order, raters_ceiling, space_role
from emosae.report.sections.space import FEATURES, human_attributes
from emosae.report.sections.wording import bars_in_words, counted, range_of
from emosae.report.source import Run, Stage, part
from emosae.report.tables import finite, known
from emosae.report.text import concept_name, count, interval, number, p_value

__all__ = ["latent_blocks"]

_NEEDED = ("space", "labels", "loss", "loss_shuffled", "score", "score_shuffled")

Row = Mapping[str, Any]


def latent_blocks(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Show the latents beside their shuffled control; nothing where none were fitted."""
    table = stage.table("cebra", *_NEEDED)
    if table.is_empty():
        return []
    plain = {row["space"]: row for row in headline_rows(stage).iter_rows(named=True)}
    rows = in_order(
        ({**row, "role": plain.get(row["space"], {}).get("role")} for row in table.iter_rows(named=True)),
        run,
    )
    explained = Paragraph(
        "CEBRA trains a small network that puts items of like label near each other on a sphere. It can do so for any "
        "labels, so the latents say nothing by themselves: what counts is how far they are ahead of the same fit to "
        "shuffled labels. And the labels are part of the fit: where they are valence and arousal, likeness to "
        f"{run.voice.judgements} is partly theirs.",
        quiet=True,
    )
    return [
        explained,
        _figure(run, stage, rows, canvas),
        *_maps(run, stage, rows, canvas),
        _table(run, rows, plain),
    ]


def _figure(run: Run, stage: Stage, rows: list[Row], canvas: Canvas) -> Block:
    comparator = str(rows[0].get("comparator") or "likeness")
    likeness, losses = [], []
    for row in rows:
        name, role = readable(row["space"], run.languages), space_role(row, run.languages)
        low, high = finite(row.get("shuffled_low")), finite(row.get("shuffled_high"))
        likeness.append(
            Bar(
                name=name,
                role=role,
                value=finite(row["score"]),
                mark=finite(row["score_shuffled"]),
                spread=None if low is None or high is None else (low, high),
            )
        )
        losses.append(Bar(name=name, role=role, value=finite(row["loss"]), mark=finite(row["loss_shuffled"])))
    panels = [
        Panel(title="How hard the labels were to fit", bars=losses, axis="Loss (InfoNCE; lower fits better)")
    ]
    scored = any(bar.value is not None for bar in likeness)
    if scored:
        heads = headline_rows(stage)
        ceiling = raters_ceiling(heads.row(0, named=True)) if heads.height else None
        title = f"Likeness of the latents to {run.voice.who}"
        axis = f"Likeness to {run.voice.who} ({comparator})"
        panels.insert(0, Panel(title=title, bars=likeness, axis=axis, ceiling=ceiling))
    level = part(run.config, "geometry").get("confidence")
    share = f"{level:.0%} of the" if isinstance(level, float) else "the"
    shuffles = range_of([row.get("n_shuffles") for row in rows], "fit")  # type: ignore[misc]
    return canvas.add(
        draw_bars(
            panels,
            mark="mean of the fits to shuffled labels",
            spread=f"where {share} shuffled fits lie",
        ),
        "cebra",
        lead="Does a latent space fitted to the labels find more in the features than in labels dealt out at random?",
        title="CEBRA's latents beside fits to shuffled labels",
        caption=(
            f"Labels: {', '.join(dict.fromkeys(str(row['labels']) for row in rows))}. "
            + (f"The diamond is the mean of {shuffles} to shuffled labels. " if shuffles else "")
            + ("A bar within the pale band is what any labels would give. " if scored else "")
            + "A loss that is no lower than the diamond says that the features hold nothing of these labels that a "
            "network could not make up."
        ),
        alt=bars_in_words(panels, mark="shuffled"),
    )


def _maps(run: Run, stage: Stage, rows: list[Row], canvas: Canvas) -> list[Block]:
    """Draw where the concepts lie with true and with shuffled labels, for the feature spaces."""
    table = stage.table("cebra_coordinates", "space", "labels", "concept", "latent_1", "latent_2")
    axes = sorted(name for name in table.columns if name.startswith("latent_"))
    attributes, has_zero = human_attributes(stage)
    since = "" if has_zero else " (difference from the mean emotion)"
    panels = []
    for space in (row["space"] for row in rows):
        if split_language(space, run.languages)[0] != FEATURES:
            continue
        for kind in ("true", "shuffled"):
            own = table.filter((table["space"] == space) & (table["labels"] == kind)).drop_nulls(axes)
            if own.height < 3:
                continue
            places = _plane(own.select(axes).to_numpy())
            panels.append(
                Points(
                    title=f"{readable(space, run.languages)}, {kind} labels",
                    positions=dict(zip(own["concept"].to_list(), map(tuple, places.tolist()), strict=True)),
                )
            )
    if not panels:
        return []
    names = list(dict.fromkeys(concept for panel in panels for concept in panel.positions))
    return [
        canvas.add(
            draw_points(
                panels,
                valence=attributes.get("valence", {}),
                valence_name=f"Valence, {run.voice.ratings}{since}",
            ),
            "cebra_map",
            lead="What does the latent space look like, and what does one of pure chance look like?",
            title="The emotions in CEBRA's latent space",
            caption=(
                f"{counted(len(names), 'emotion')}, each the mean of its items, in the plane of greatest spread. "
                "Right, one fit to shuffled labels: groups and gradients there are the network's own making, and any "
                "structure on the left that looks alike is no finding. Directions mean nothing and differ between fits."
            ),
            alt="; ".join(f"{panel.title}: {len(panel.positions)} emotions" for panel in panels)
            + ". The table below has the numbers.",
            fallback={concept_name(name, 26): f"concept {at}" for at, name in enumerate(names, start=1)},
        )
    ]


def _plane(latents: np.ndarray) -> np.ndarray:
    """Turn latents so that the two directions in which they spread most are the plane of the paper."""
    centred = latents - latents.mean(axis=0)
    left, spread, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(left[:, :2] * spread[:2])


def _table(run: Run, rows: list[Row], plain: Mapping[str, Row]) -> Table:
    return Table(
        caption="CEBRA's latents. Likeness without CEBRA is that of the space itself; p is the share of fits to "
        "shuffled labels, the true one counted in, that do as well.",
        columns=[
            Column("Space", False),
            Column("Labels", False),
            Column("loss"),
            Column("shuffled"),
            Column("p"),
            Column("likeness"),
            Column("shuffled, range"),
            Column("p"),
            Column("likeness without CEBRA"),
            Column("items"),
            Column("shuffles"),
        ],
        rows=[
            [
                readable(row["space"], run.languages),
                str(row["labels"]),
                number(row["loss"]),
                number(row["loss_shuffled"]),
                p_value(row.get("p_loss")),
                known(row["score"]),
                interval(row.get("shuffled_low"), row.get("shuffled_high"))
                if finite(row["score"]) is not None
                else "\u2013",
                p_value(row["p"]) if finite(row.get("p")) is not None else "\u2013",
                known(plain.get(row["space"], {}).get("score")),
                count(row.get("n_items")),
                count(row.get("n_shuffles")),
            ]
            for row in rows
        ],
        marked=frozenset(
            at for at, row in enumerate(rows) if split_language(row["space"], run.languages)[0] == FEATURES
        ),
        folded=True,
    )
