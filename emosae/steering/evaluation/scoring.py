"""Scores of groups of texts with intervals: every number is computed again on resampled openings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.steering.evaluation.judging import UNSTEERED
from emosae.steering.scores import (
    DISTINCT_2_RATIO,
    PERPLEXITY_RATIO,
    REPEATED_4_FLOOR,
    REPEATED_4_RATIO,
)

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["ALL", "Numbers", "Scorer", "harmonic", "interval_of", "mean_over_emotions"]

ALL = "all"
"""In place of a language or an emotion: the mean over them."""

Numbers = dict[str, np.ndarray]

_SUMS = ("n", "hit", "second_hit", "content", "overlap", "nll", "n_tokens", "n_pairs", "n_distinct", "n_runs",
         "n_repeated", "valence", "n_valence", "arousal", "n_arousal")  # fmt: skip
_INTERVALS = ("rate", "content", "fluency", "score")


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores of the texts of one part of a study.

    The first of the draws takes each opening once and gives the scores; the others resample the openings of each
    language, the same for all methods, emotions and doses, so that differences are paired.

    Attributes:
        texts: Rows of `TEXT_SCHEMA`, the unsteered ones among them.
        emotions: The emotions; unsteered text is scored for each.
        draws: Language -> how often each opening counts, `[1 + n_resamples, n_openings]`.
        has_second: Whether there was a second classifier.
    """

    texts: pl.DataFrame
    emotions: Sequence[str]
    draws: dict[str, Float[np.ndarray, "draws openings"]]
    has_second: bool

    @classmethod
    def of(
        cls, texts: pl.DataFrame, emotions: Sequence[str], n_resamples: int, seed: int, has_second: bool
    ) -> Scorer:
        """Draw the openings and make the scorer; 0 resamples give no intervals."""
        rng = np.random.default_rng(seed)
        draws = {}
        for (language,), own in texts.group_by("language", maintain_order=True):
            n = own["prompt"].n_unique()  # they are numbered from 0
            again = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)
            draws[str(language)] = np.vstack([np.ones((1, n)), again]).astype(float)
        return cls(texts, list(emotions), draws, has_second)

    def group(self, method: str, emotion: str, dose: float | None = None) -> dict[str, Numbers]:
        """Score one method, emotion and dose: by language and, under `all`, their mean.

        Args:
            method: The method; texts of the method for no emotion count for each.
            emotion: The emotion that is meant.
            dose: The dose; None takes all there are.

        Returns:
            For each language rate, second_rate, content, overlap, fluency, score, perplexity_ratio,
            distinct_2_ratio, repeated_4, valence, arousal, each `[draws]`. Empty where there is no such text.
        """
        own = self.texts.filter((pl.col("method") == method) & pl.col("emotion").is_in([emotion, ""]))
        own = own if dose is None else own.filter(pl.col("dose") == dose)
        found: dict[str, Numbers] = {}
        for language in self.draws:
            part = own.filter(pl.col("language") == language)
            if part.height:
                plain = self.texts.filter((pl.col("method") == UNSTEERED) & (pl.col("language") == language))
                sums = self._sums(part, emotion, language)
                found[language] = _numbers(sums, self._sums(plain, emotion, language), self.has_second)
        if found:
            found[ALL] = _mean_over_languages(list(found.values()))
        return found

    def row(self, numbers: Numbers) -> dict[str, float | None]:
        """Write scores as one row: each value, and the ends of its interval where there are resamples."""
        row: dict[str, float | None] = {}
        for name, values in numbers.items():
            row[name] = _finite(values[0])
            if name in _INTERVALS:
                row[f"{name}_low"], row[f"{name}_high"] = interval_of(values)
        return row

    def _sums(self, texts: pl.DataFrame, emotion: str, language: str) -> Numbers:
        by_prompt = (
            texts.with_columns(
                pl.lit(1.0).alias("n"),
                (pl.col("label") == emotion).fill_null(False).alias("hit"),
                (pl.col("second_label") == emotion).fill_null(False).alias("second_hit"),
                (pl.col("loss").fill_null(0.0) * pl.col("n_tokens")).alias("nll"),
                pl.col("valence").is_not_null().alias("n_valence"),
                pl.col("arousal").is_not_null().alias("n_arousal"),
            )
            .group_by("prompt")
            .agg(pl.col(*_SUMS).cast(pl.Float64).sum())
        )
        draws = self.draws[language]
        table = np.zeros((draws.shape[1], len(_SUMS)))
        table[by_prompt["prompt"].to_numpy()] = by_prompt.select(_SUMS).to_numpy()
        return dict(zip(_SUMS, (draws @ table).T, strict=True))


def _numbers(own: Numbers, plain: Numbers, has_second: bool) -> Numbers:
    flow, base = _flow(own), _flow(plain)
    rate, content = _ratio(own["hit"], own["n"]), _ratio(own["content"], own["n"])
    fluency = _fluency(flow, base, own["n_tokens"], plain["n_tokens"])
    missing = np.full(len(rate), np.nan)
    return {
        "rate": rate,
        "second_rate": _ratio(own["second_hit"], own["n"]) if has_second else missing,
        "content": content,
        "overlap": _ratio(own["overlap"], own["n"]),
        "fluency": fluency,
        "score": harmonic(rate, content, fluency),
        "perplexity_ratio": _ratio(flow["perplexity"], base["perplexity"]),
        "distinct_2_ratio": _ratio(flow["distinct_2"], base["distinct_2"]),
        "repeated_4": flow["repeated_4"],
        "valence": _ratio(own["valence"], own["n_valence"]),
        "arousal": _ratio(own["arousal"], own["n_arousal"]),
    }


def _flow(sums: Numbers) -> Numbers:
    perplexity = np.exp(np.minimum(_ratio(sums["nll"], sums["n_tokens"]), 700.0))
    return {
        "perplexity": perplexity,
        "distinct_2": np.nan_to_num(_ratio(sums["n_distinct"], sums["n_pairs"])),
        "repeated_4": np.nan_to_num(_ratio(sums["n_repeated"], sums["n_runs"])),
    }


def _fluency(own: Numbers, plain: Numbers, n_own: np.ndarray, n_plain: np.ndarray) -> np.ndarray:
    """`emosae.steering.scores.fluency` of many draws at once."""
    low, high = PERPLEXITY_RATIO
    ratio = _ratio(own["perplexity"], plain["perplexity"])
    allowed = np.maximum(REPEATED_4_RATIO * plain["repeated_4"], REPEATED_4_FLOOR)
    parts = [
        np.ones(len(ratio)),
        ratio / low,
        _ratio(np.full(len(ratio), high), ratio),
        np.where(
            plain["distinct_2"] > 0, _ratio(own["distinct_2"], DISTINCT_2_RATIO * plain["distinct_2"]), 1.0
        ),
        np.where(own["repeated_4"] > 0, _ratio(allowed, own["repeated_4"]), 1.0),
    ]
    found = np.min(np.stack(parts), axis=0)
    return np.where((n_own > 0) & (n_plain > 0), found, 0.0)


def harmonic(*parts: np.ndarray) -> np.ndarray:
    """Give the harmonic mean of scores from 0 to 1, draw by draw; one that is 0 makes it 0."""
    stacked = np.stack(parts)
    with np.errstate(divide="ignore"):
        return np.where((stacked > 0).all(0), len(parts) / (1.0 / stacked).sum(0), 0.0)


def mean_over_emotions(each: Sequence[Numbers]) -> Numbers:
    """Average scores of several emotions, draw by draw."""
    return {name: np.mean(np.stack([numbers[name] for numbers in each]), axis=0) for name in each[0]}


def _mean_over_languages(each: Sequence[Numbers]) -> Numbers:
    """Average scores of several languages; the harmonic mean is that of the mean parts, as in calibration."""
    mean = mean_over_emotions(each)
    return mean | {"score": harmonic(mean["rate"], mean["content"], mean["fluency"])}


def interval_of(values: np.ndarray) -> tuple[float | None, float | None]:
    """Give the 95 % percentile interval of draws, of which the first is the value itself; None without resamples."""
    again = values[1:][np.isfinite(values[1:])]
    if not len(again):
        return None, None
    low, high = np.quantile(again, [0.025, 0.975])
    return float(low), float(high)


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full(np.shape(over), np.nan), where=under > 0)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
