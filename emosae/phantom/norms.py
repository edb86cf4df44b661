"""Ratings, similarities and concept sets written from the planted world, for the pipeline to read.

`python -m emosae.phantom.norms` writes them again: `data/ratings_*.csv`, `data/similarity.csv` and
`data/attributes.csv` beside this module, and the three concept sets in `conf/concepts/`.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from pathlib import Path

import polars as pl

from emosae.phantom import PHANTOM
from emosae.phantom.truth import emotion_truth, planted_distance, word_truth
from emosae.phantom.world import Language, load_world

__all__ = ["CONTROL_SLOTS", "DATA", "concept_words", "control_words", "ratings", "similarity", "write"]

DATA = PHANTOM / "data"
"""Ratings and similarities as CSV files."""

N_RATERS = 24
"""Imagined raters of each word."""

_RATER_SPREAD = {"valence": 1.2, "arousal": 1.6}
_SOURCE = "Written from the planted world of emosae's phantom; it says nothing about people."
CONTROL_SLOTS = (
    "tool", "animal", "food", "drink", "fruit", "job", "clothes", "furniture", "instrument", "vehicle",
    "material", "sport", "tree", "flower", "colour", "place", "room", "city",
)  # fmt: skip
"""Categories of the neutral world that make the non-affective control set."""
_CONTROL_ZH = dict(
    zip(
        CONTROL_SLOTS,
        ("工具", "动物", "食物", "饮料", "水果", "职业", "衣物", "家具", "乐器", "交通工具", "材料", "运动",
         "树木", "花", "颜色", "地点", "房间", "城市"),
        strict=True,
    )
)  # fmt: skip


def ratings(seed: int = 0) -> pl.DataFrame:
    """Return a norm of every word with planted values, on a scale of 1 to 9.

    A planted value v becomes 1 + 8 v plus the error of a mean over `N_RATERS` raters, so that the norm has a
    reliability as human norms have.

    Returns:
        Columns word, language, valence, valence_sd, valence_n, arousal, arousal_sd, arousal_n.
    """
    rng = random.Random(f"{seed}/ratings")
    rows = []
    for row in word_truth().iter_rows(named=True):
        values: dict[str, object] = {"word": row["word"], "language": row["language"]}
        for name, spread in _RATER_SPREAD.items():
            mean = 1 + 8 * row[name] + rng.gauss(0, spread / math.sqrt(N_RATERS))
            values |= {
                name: round(min(9.0, max(1.0, mean)), 2),
                f"{name}_sd": round(max(0.3, spread + rng.gauss(0, 0.15)), 2),
                f"{name}_n": N_RATERS,
            }
        rows.append(values)
    return pl.DataFrame(rows)


def similarity() -> pl.DataFrame:
    """Return the planted distance as a square table: column `emotion`, then one column per emotion."""
    names = emotion_truth()["emotion"].to_list()
    square = {
        (row["first"], row["second"]): row["distance"] for row in planted_distance().iter_rows(named=True)
    }
    return pl.DataFrame(
        [
            {"emotion": a}
            | {b: 0.0 if a == b else round(square.get((a, b), square.get((b, a), 0.0)), 6) for b in names}
            for a in names
        ]
    )


def concept_words(language: Language) -> dict[str, list[str]]:
    """Return the single words that name each emotion in `language`."""
    return {
        emotion.name: list(
            dict.fromkeys(w.text for w in emotion.words if w.language is language and " " not in w.text)
        )
        for emotion in load_world().emotions.values()
    }


def control_words(language: Language) -> dict[str, list[str]]:
    """Return the words of each neutral category in `language`."""
    slots = load_world().slots
    return {slot: [entry.text(language) for entry in slots[slot]] for slot in CONTROL_SLOTS}


def _neutral_words(language: Language) -> dict[str, list[str]]:
    """Things of the neutral world that no control category holds."""
    slots = load_world().slots
    entries = [
        e for key in ("thing", "pot", "book", "kin", "mate", "month", "day", "part") for e in slots[key]
    ]
    return {"neutral": list(dict.fromkeys(entry.text(language) for entry in entries))}


def _concept_yaml(
    name: str, title: str, kind: str, description: str,
    labels: dict[Language, dict[str, str]], words: dict[Language, dict[str, list[str]]], extra: str = "",
) -> str:  # fmt: skip
    lines = [
        "# Written by `python -m emosae.phantom.norms`; change the world, not this file.",
        f"name: {name}",
        f"title: {title}",
        f"kind: {kind}",
        f"description: {description}",
        f"source: {_SOURCE}",
    ]
    if extra:
        lines.append(extra)
    lines.append("languages:")
    for language in Language:
        lines += [f"  {language.value}:", "    labels:"]
        lines += [f"      {concept}: {label}" for concept, label in labels[language].items()]
        lines.append("    words:")
        lines += [f"      {concept}: [{', '.join(listed)}]" for concept, listed in words[language].items()]
    return "\n".join(lines) + "\n"


def write(conf: Path, data: Path = DATA) -> list[Path]:
    """Write the ratings, the similarities and the concept sets.

    Args:
        conf: The folder `conf`; the sets go to `concepts/` in it.
        data: The folder of the CSV files.

    Returns:
        The files written.
    """
    en, zh = Language.EN, Language.ZH
    data.mkdir(parents=True, exist_ok=True)
    (conf / "concepts").mkdir(parents=True, exist_ok=True)
    rated = ratings()
    for language in Language:
        rated.filter(pl.col("language") == language.value).write_csv(data / f"ratings_{language.value}.csv")
    similarity().write_csv(data / "similarity.csv")
    attributes = emotion_truth().select(pl.col("emotion").alias("concept"), "valence", "arousal")
    attributes.write_csv(data / "attributes.csv")
    emotions = load_world().emotions
    texts = {
        "phantom27": _concept_yaml(
            "phantom27", "The phantom's 27 emotions", "emotion",
            "The words that name the 27 emotions of goemotions27 in the phantom's world.",
            {en: {n: n for n in emotions}, zh: {n: e.label_zh for n, e in emotions.items()}},
            {language: concept_words(language) for language in Language},
            "neutral: phantom_neutral\ncontrol: phantom_control",
        ),
        "phantom_control": _concept_yaml(
            "phantom_control", "The phantom's neutral categories", "control",
            "Categories of the phantom's neutral world, of the same shape as its emotions.",
            {en: {s: s for s in CONTROL_SLOTS}, zh: dict(_CONTROL_ZH)},
            {language: control_words(language) for language in Language},
        ),
        "phantom_neutral": _concept_yaml(
            "phantom_neutral", "The phantom's neutral words", "neutral",
            "Things, people and times of the phantom's world that carry no feeling.",
            {en: {"neutral": "neutral"}, zh: {"neutral": "中性"}},
            {language: _neutral_words(language) for language in Language},
        ),
    }  # fmt: skip
    files = [data / name for name in ("ratings_en.csv", "ratings_zh.csv", "similarity.csv", "attributes.csv")]
    for name, text in texts.items():
        path = conf / "concepts" / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        files.append(path)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write everything from the command line."""
    parser = argparse.ArgumentParser(prog="python -m emosae.phantom.norms", description=__doc__)
    parser.add_argument("--conf", type=Path, default=PHANTOM.parent.parent / "conf")
    for path in write(parser.parse_args(arguments).conf):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
