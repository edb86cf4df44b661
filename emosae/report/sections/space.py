"""The maps of the emotions and the matrices behind them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from emosae.report.emotion_map import Layer, draw_emotion_map
from emosae.report.matrices import draw_rdms, leaf_order
from emosae.report.names import language_name, readable, split_language
from emosae.report.page import Block, Canvas
from emosae.report.source import Run, Stage
from emosae.report.text import concept_name

__all__ = ["FEATURES", "HUMAN_MAP", "emotion_maps", "human_attributes", "rdm_pair", "several_raters"]

FEATURES, HUMAN_MAP = "features", "human"
_UNITS = {"correlation": "1 \u2212 r", "cosine": "1 \u2212 cosine", "euclidean": "activation"}


def human_attributes(stage: Stage) -> tuple[dict[str, dict[str, float]], bool]:
    """Return valence and arousal of the concepts as people rate them, and whether their zero is known.

    A run without a table of them still holds their differences between every two concepts, from which they
    follow but for their zero and their direction; zero is then the mean of the concepts. The direction is
    that of the human map, on which pleasant is to the right and exciting is up.
    """
    table = stage.table("attributes", "concept")
    if table.height:
        return {
            name: dict(table.select("concept", name).drop_nulls().iter_rows())
            for name in ("valence", "arousal")
            if name in table.columns
        }, True
    coordinates = stage.table("coordinates", "space", "concept", "axis_1", "axis_2").filter(
        pl.col("space") == HUMAN_MAP
    )
    found = {}
    for name, axis in (("valence", "axis_1"), ("arousal", "axis_2")):
        rdm, concepts = _square(stage, name)
        if coordinates.is_empty() or len(concepts) < 2:
            continue
        start = int(np.unravel_index(np.argmax(rdm), rdm.shape)[0])
        values = rdm[start] - rdm[start].mean()
        place = dict(coordinates.select("concept", axis).iter_rows())
        along = np.array([place.get(concept, 0.0) for concept in concepts])
        values = -values if values @ (along - along.mean()) < 0 else values
        found[name] = dict(zip(concepts, values.tolist(), strict=True))
    return found, False


def _square(stage: Stage, space: str, only: list[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Return a space's dissimilarities as a square matrix, and its concepts."""
    rows = stage.table("rdms", "space", "concept_a", "concept_b", "dissimilarity").filter(
        pl.col("space") == space
    )
    if rows.is_empty():
        return np.zeros((0, 0)), []
    concepts = list(dict.fromkeys([*rows["concept_a"].to_list(), *rows["concept_b"].to_list()]))
    if only is not None:
        concepts = [concept for concept in only if concept in set(concepts)]
    place = {concept: index for index, concept in enumerate(concepts)}
    rdm = np.zeros((len(concepts), len(concepts)))
    for a, b, value in rows.select("concept_a", "concept_b", "dissimilarity").iter_rows():
        if a in place and b in place:
            rdm[place[a], place[b]] = rdm[place[b], place[a]] = np.nan if value is None else value
    return rdm, concepts


def _feature_spaces(run: Run, names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if split_language(name, run.languages)[0] == FEATURES]


def emotion_maps(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Draw the model's map with all its languages, and the reference's in the same frame."""
    table = stage.table("coordinates", "space", "concept")
    aligned = {"aligned_1", "aligned_2"} <= set(table.columns)
    columns = ("aligned_1", "aligned_2") if aligned else ("axis_1", "axis_2")
    if table.is_empty() or not set(columns) <= set(table.columns):
        return []
    attributes, has_zero = human_attributes(stage)
    layers = {name: _layer(run, table, name, columns) for name in dict.fromkeys(table["space"].to_list())}
    model = [layers[name] for name in _feature_spaces(run, list(layers))]
    reference = str(stage.values.get("reference") or "")
    onto_people = aligned and reference == HUMAN_MAP
    unit = (
        f"unit of {run.voice.judgements}"
        if onto_people
        else _UNITS.get(str(stage.values.get("dissimilarity")), "own unit")
    )
    axis_names = (f"Axis 1 ({unit})", f"Axis 2 ({unit})")
    since = "" if has_zero else " (difference from the mean emotion)"
    blocks: list[Block] = []
    drawings = [("emotion_map", "Emotion map of the model", model)]
    if HUMAN_MAP in layers:
        drawings.append(("emotion_map_reference", f"Emotion map of {run.voice.who}", [layers[HUMAN_MAP]]))
    for name, title, shown in drawings:
        shown = [layer for layer in shown if layer.positions]  # noqa: PLW2901
        if not shown:
            continue
        concepts = list(dict.fromkeys(concept for layer in shown for concept in layer.positions))
        figure = draw_emotion_map(
            shown,
            valence=attributes.get("valence", {}),
            arousal=attributes.get("arousal", {}),
            axis_names=axis_names,
            valence_name=f"Valence, {run.voice.ratings}{since}",
            arousal_name="arousal",
        )
        blocks.append(
            canvas.add(
                figure,
                name,
                lead=(
                    f"Which emotions are alike for {run.voice.who}?"
                    if name == "emotion_map_reference"
                    else "Which emotions are alike for the model?"
                ),
                title=title,
                caption=_caption(run, name, shown, attributes, onto_people, has_zero),
                alt=_alt(title, shown),
                fallback={
                    concept_name(concept, 30): f"concept {index}"
                    for index, concept in enumerate(concepts, start=1)
                },
            )
        )
    return blocks


def _layer(run: Run, table: pl.DataFrame, space: str, columns: tuple[str, str]) -> Layer:
    rows = table.filter(pl.col("space") == space).select("concept", *columns).drop_nulls()
    language = split_language(space, run.languages)[1]
    return Layer(
        name=language_name(language) if language else readable(space, run.languages),
        positions={
            concept: (x, y) for concept, x, y in rows.iter_rows() if np.isfinite(x) and np.isfinite(y)
        },
    )


def _caption(
    run: Run,
    name: str,
    layers: list[Layer],
    attributes: Mapping[str, object],
    onto_people: bool,
    has_zero: bool,
) -> str:
    voice = run.voice
    if name == "emotion_map_reference":
        return f"The same emotions where {voice.judgements} put them, in the same frame and colors."
    text = (
        "Emotions that stand close fire the same features. The map shows two dimensions of more, so look at "
    )
    text += "neighbors rather than at exact distances."
    if "valence" in attributes:
        text += f" Color is how pleasant the emotion is in {voice.ratings}"
        text += ", size how arousing" if "arousal" in attributes else ""
        text += "." if has_zero else ", both as differences from the mean emotion."
    if len(layers) > 1:
        text += " A line joins one emotion in its languages; short lines mean that the languages agree."
    if onto_people:
        text += (
            f" The map was turned, mirrored and scaled as a whole onto {voice.map}; nothing was moved in it."
        )
    if run.is_phantom:
        text += " This model's emotions were planted."
    return text


def _alt(title: str, layers: list[Layer]) -> str:
    parts = []
    for layer in layers:
        names = list(layer.positions)
        points = np.array([layer.positions[name] for name in names])
        order = np.argsort(points[:, 0])
        ends = min(3, len(names) // 2)
        left = ", ".join(concept_name(names[i]) for i in order[:ends])
        right = ", ".join(concept_name(names[i]) for i in order[len(names) - ends :])
        parts.append(f"{layer.name}: {len(names)} emotions; furthest left {left}; furthest right {right}")
    return f"{title}. " + ". ".join(parts) + "."


def several_raters(stage: Stage) -> bool:
    """Tell whether the judgements come from more than one rater, who then have a ceiling and single scores."""
    rsa = stage.table("rsa", "n_raters")
    return bool(rsa.height and (rsa["n_raters"].max() or 0) > 1)  # type: ignore[operator]


def rdm_pair(run: Run, stage: Stage, canvas: Canvas) -> list[Block]:
    """Draw the dissimilarities of the model and its reference over the concepts that both have, in one order."""
    rdms = stage.table("rdms", "space", "concept_a", "concept_b", "dissimilarity")
    if rdms.is_empty():
        return []
    names = list(dict.fromkeys(rdms["space"].to_list()))
    spaces = _feature_spaces(run, names)
    human, judged = _square(stage, HUMAN_MAP)
    if not spaces:
        return []
    concepts = judged or _square(stage, spaces[0])[1]
    known = set(concepts)
    for name in spaces:
        known &= set(_square(stage, name)[1])
    concepts = [concept for concept in concepts if concept in known]
    if len(concepts) < 3:
        return []
    shown: dict[str, np.ndarray] = {}
    for name in spaces:
        language = split_language(name, run.languages)[1]
        shown[f"Model, {language_name(language)}" if language else "Model"] = _square(stage, name, concepts)[
            0
        ]
    if judged:
        human = _square(stage, HUMAN_MAP, concepts)[0]
        name = run.voice.judgements
        shown[f"{name[0].upper()}{name[1:]}{' (mean over raters)' if several_raters(stage) else ''}"] = human
    order = leaf_order(human if judged else next(iter(shown.values())))
    by = run.voice.judgements if judged else "the model's dissimilarities"
    return [
        canvas.add(
            draw_rdms(shown, concepts, order),
            "rdms",
            lead=(
                f"Does the model group emotions as {run.voice.judgements} do?"
                if judged
                else "Which emotions does the model group together?"
            ),
            title="Dissimilarity of every two emotions"
            + (f", model beside {run.voice.who}" if judged else ""),
            caption=(
                "Dark blue: similar; yellow: unlike. Both axes list the emotions in one order, found by "
                f"clustering {by}, so that groups show as dark squares along the diagonal. Each matrix is "
                "ranked within itself, which makes them comparable whatever their units. Where the same "
                f"squares appear, the model groups emotions as {by} do."
                if judged
                else f"Dark blue: similar; yellow: unlike. The order is found by clustering {by}."
            ),
            alt=f"{len(shown)} matrices of the dissimilarities of {len(concepts)} emotions, in the order "
            + ", ".join(concept_name(concepts[index]) for index in order)
            + "; the likeness of the matrices is in the next figure and table.",
            fallback={
                concept_name(concept, 26): f"concept {index}"
                for index, concept in enumerate(concepts, start=1)
            },
        )
    ]
