"""What was planted, as tables: the answers that the stages of the pipeline should find."""

from __future__ import annotations

import math

import polars as pl

from emosae.phantom.world import Language, load_world

__all__ = ["emotion_truth", "planted_distance", "planted_facts", "word_truth"]


def emotion_truth() -> pl.DataFrame:
    """Return the planted emotions: emotion, label_en, label_zh, valence, arousal (0 to 1)."""
    return pl.DataFrame(
        [
            {
                "emotion": emotion.name,
                "label_en": emotion.name,
                "label_zh": emotion.label_zh,
                "valence": emotion.valence,
                "arousal": emotion.arousal,
            }
            for emotion in load_world().emotions.values()
        ]
    )


def word_truth() -> pl.DataFrame:
    """Return every word with planted values.

    Returns:
        Columns word, language, kind (emotion, adjective, event), form, emotion ("" where none), sense,
        valence and arousal (0 to 1). A word stands once per language.
    """
    world = load_world()
    rows: list[dict[str, object]] = []
    for emotion in world.emotions.values():
        words = [*emotion.words, *((emotion.specific_zh,) if emotion.specific_zh else ())]
        for word in words:
            rows.append(
                {
                    "word": word.text,
                    "language": word.language.value,
                    "kind": "emotion",
                    "form": word.form,
                    "emotion": emotion.name,
                    "sense": word.sense,
                    "valence": word.valence,
                    "arousal": word.arousal,
                }
            )
    for kind, key in (("adjective", "adjectives"), ("event", "events")):
        for item in world.graded[key]:
            assert item.valence is not None
            for language in Language:
                rows.append(
                    {
                        "word": item.text(language),
                        "language": language.value,
                        "kind": kind,
                        "form": "noun" if kind == "event" else "adjective",
                        "emotion": "",
                        "sense": "",
                        "valence": item.valence,
                        "arousal": item.arousal,
                    }
                )
    return pl.DataFrame(rows).unique(["language", "word"], keep="first", maintain_order=True)


def planted_distance() -> pl.DataFrame:
    """Return the planted distance of every pair of emotions, in scipy's `pdist` order.

    The distance is Euclidean in valence and arousal, each divided by its standard deviation over the
    emotions, for the grammar's companions weigh the two alike.

    Returns:
        Columns first, second, distance, valence_difference, arousal_difference.
    """
    table = emotion_truth()
    spread_v = float(table["valence"].to_numpy().std())
    spread_a = float(table["arousal"].to_numpy().std())
    emotions = table.rows(named=True)
    rows = []
    for i, first in enumerate(emotions):
        for second in emotions[i + 1 :]:
            dv = abs(first["valence"] - second["valence"])
            da = abs(first["arousal"] - second["arousal"])
            rows.append(
                {
                    "first": first["emotion"],
                    "second": second["emotion"],
                    "distance": math.hypot(dv / spread_v, da / spread_a),
                    "valence_difference": dv,
                    "arousal_difference": da,
                }
            )
    return pl.DataFrame(rows)


def planted_facts() -> list[dict[str, str]]:
    """Return the facts that were planted as tests, each with the emotion it is about."""
    facts = []
    for emotion in load_world().emotions.values():
        if emotion.body_of:
            facts.append(
                {
                    "fact": "shared bodily signs",
                    "emotion": emotion.name,
                    "detail": f"those of {emotion.body_of}",
                }
            )
        if emotion.specific_zh is not None:
            facts.append(
                {
                    "fact": "a word of one language",
                    "emotion": emotion.name,
                    "detail": emotion.specific_zh.text,
                }
            )
        if emotion.situations_b:
            halves = {
                s: [w.text for w in emotion.words if w.language is Language.ZH and w.sense == s]
                for s in ("", "b")
            }
            facts.append(
                {
                    "fact": "two senses in Chinese",
                    "emotion": emotion.name,
                    "detail": f"{halves[''][0]} after a blunder, {halves['b'][0]} before kind eyes",
                }
            )
    return facts
