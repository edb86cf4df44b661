"""The tables of a study of steering, made of scored texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from emosae.steering.calibrate import stable_range
from emosae.steering.evaluation.methods import Method
from emosae.steering.evaluation.scoring import ALL, Numbers, Scorer, interval_of, mean_over_emotions

__all__ = ["dose_rows", "expressed_rows", "method_rows", "score_rows", "transfer_rows", "verdict"]

Doses = Mapping[tuple[Method, str], float]
_NAMES = {
    Method.UNSTEERED: "no steering",
    Method.WORD_FEATURES: "SAE features chosen by words",
    Method.PASSAGE_FEATURES: "SAE features chosen by passages",
    Method.DIFF_MEAN: "DiffMean",
    Method.DECODER_SUM: "the sum of decoder rows",
    Method.PROMPT: "the prompt",
    Method.RANDOM_FEATURES: "random features",
    Method.RANDOM_DIRECTION: "a random direction",
}


def score_rows(scorer: Scorer, part: str, asked: Sequence[tuple[str, str, float]]) -> list[dict[str, Any]]:
    """Score each method, emotion and dose by language."""
    rows = []
    for method, emotion, dose in asked:
        for language, numbers in scorer.group(method, emotion, dose).items():
            about = {"part": part, "method": method, "emotion": emotion, "language": language, "dose": dose}
            rows.append(about | scorer.row(numbers))
    return rows


def dose_rows(
    doses: Doses, chosen_scores: Mapping[tuple[Method, str], float], scores: pl.DataFrame, main: Method
) -> pl.DataFrame:
    """List the chosen doses, with the stable range of the main method on the reported openings."""
    rows = []
    for (method, emotion), dose in doses.items():
        stable = None
        if method is main:
            own = scores.filter(
                (pl.col("part") == "report") & (pl.col("method") == str(method))
                & (pl.col("emotion") == emotion) & (pl.col("language") == ALL)
            ).sort("dose")  # fmt: skip
            best = int(np.argmax(own["score"].fill_null(0.0).to_numpy()))
            rates = own["rate"].fill_null(0.0).to_list()
            if rates and max(rates) > 0:
                stable = stable_range(own["dose"].to_list(), rates, own["fluency"].to_list(), best)
        low, high = stable or (None, None)
        rows.append((str(method), emotion, dose, chosen_scores.get((method, emotion)), low, high))
    schema = {
        "method": pl.String, "emotion": pl.String, "dose": pl.Float64, "choose_score": pl.Float64,
        "stable_low": pl.Float64, "stable_high": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def method_rows(
    scorer: Scorer, methods: Sequence[Method], emotions: Sequence[str], doses: Doses, main: Method
) -> tuple[pl.DataFrame, dict[Method, Numbers]]:
    """Average each method over emotions at the chosen doses, and hold it against the main one.

    Returns:
        The table, and each method's numbers over all languages.
    """
    found: dict[Method, dict[str, Numbers]] = {}
    counts: dict[Method, int] = {}
    for method in methods:
        groups = [scorer.group(method, emotion, doses.get((method, emotion), 0.0)) for emotion in emotions]
        groups = [group for group in groups if group]
        if groups:
            counts[method] = len(groups)
            found[method] = {
                language: mean_over_emotions([group[language] for group in groups if language in group])
                for language in groups[0]
            }
    rows = []
    for method, by_language in found.items():
        for language, numbers in by_language.items():
            difference = numbers["score"] - found[main][language]["score"]
            low, high = interval_of(difference)
            rows.append(
                {"method": str(method), "language": language, "n_emotions": counts[method]}
                | scorer.row(numbers)
                | {"difference": float(difference[0]), "difference_low": low, "difference_high": high}
            )
    return pl.DataFrame(rows, infer_schema_length=None), {m: own[ALL] for m, own in found.items()}


def verdict(numbers: Mapping[Method, Numbers], main: Method) -> tuple[Method, str]:
    """Say which method has the greatest score, whether it stands clear of the next, and where the SAE's features are.

    Args:
        numbers: Each method's scores over all languages.
        main: The SAE's method; where it is neither of the two its score is said too, and random features' beside it.
    """
    order = sorted(numbers, key=lambda method: -float(numbers[method]["score"][0]))
    first, second = order[0], order[1]
    gap = numbers[first]["score"] - numbers[second]["score"]
    low, high = interval_of(gap)
    text = (
        f"{_capital(_NAMES[first])} has the best score, {numbers[first]['score'][0]:.2f}, before {_NAMES[second]} with "
        f"{numbers[second]['score'][0]:.2f}"
    )
    if low is not None and high is not None:
        clear = "a clear lead" if low > 0 else "no clear lead"
        text += f": {clear} (difference {gap[0]:.2f}, 95 % interval {low:.2f} to {high:.2f})"
    rest = [m for m in (main, Method.RANDOM_FEATURES) if m in numbers and m not in (first, second)]
    beside = " and ".join(f"{_NAMES[m]} {numbers[m]['score'][0]:.2f}" for m in rest)
    return first, f"{text}. {_capital(beside)}." if beside else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def expressed_rows(
    texts: pl.DataFrame, methods: Sequence[Method], emotions: Sequence[str], doses: Doses
) -> pl.DataFrame:
    """Count what the texts meant for each emotion are called."""
    parts = []
    for method in methods:
        for emotion in emotions:
            own = texts.filter((pl.col("method") == str(method)) & pl.col("emotion").is_in([emotion, ""]))
            dose = doses.get((method, emotion))
            own = own if dose is None else own.filter(pl.col("dose") == dose)
            total = pl.len().over("language")
            parts.append(
                own.with_columns(
                    pl.lit(str(method)).alias("method"),
                    pl.lit(emotion).alias("intended"),
                    pl.col("label").fill_null("none").replace("neutral", "none").alias("expressed"),
                    (1 / total).alias("share"),
                )
                .group_by("method", "language", "intended", "expressed", maintain_order=True)
                .agg(pl.col("share").sum())
            )
    return pl.concat(parts)


def transfer_rows(
    scorer: Scorer,
    sets: Mapping[str, tuple[str, Mapping[str, Mapping[int, float]]]],
    doses: Mapping[str, float],
) -> pl.DataFrame:
    """Score each set of features in each language that was written.

    Args:
        scorer: Scores texts of the methods `transfer/SET`.
        sets: Set -> the languages it was chosen from, and its features by emotion.
        doses: Emotion -> dose.
    """
    rows: list[dict[str, Any]] = []
    for name, (source, own) in sets.items():
        groups = {e: scorer.group(f"transfer/{name}", e, doses[e]) for e in own}
        for language in scorer.draws:
            each = {e: group[language] for e, group in groups.items() if language in group}
            if not each:
                continue
            lines = {**each, ALL: mean_over_emotions(list(each.values()))}
            for emotion, numbers in lines.items():
                size = len(own[emotion]) if emotion in own else sum(len(own[e]) for e in each) / len(each)
                about = {"set": name, "chosen_from": source, "emotion": emotion, "language": language}
                rows.append(about | {"n_features": float(size)} | scorer.row(numbers))
    return pl.DataFrame(rows, infer_schema_length=None)


def finite(value: float) -> float | None:
    """Give a number, None where it is not finite."""
    return float(value) if math.isfinite(value) else None
