"""What a study of steering finds, as tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

__all__ = ["SteeringResult"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SteeringResult:
    """How well a model is steered, by which method, and what its features are to it.

    In `scores`, `methods` and `transfer` stand rate (share of texts that the first classifier calls the emotion),
    second_rate, content, overlap, fluency, score (harmonic mean of rate, content and fluency), perplexity_ratio,
    distinct_2_ratio, repeated_4, valence and arousal; `_low` and `_high` are 95 % intervals over resampled openings.

    Attributes:
        texts: Every text, see `emosae.steering.evaluation.judging.TEXT_SCHEMA`.
        scores: part (choose or report), method, emotion, language (`all` is their mean), dose, and the scores; no
            intervals in the part that doses are chosen on.
        doses: method, emotion, dose (chosen), choose_score, stable_low and stable_high (for the main method, over
            the reported openings; null where no dose holds).
        methods: method, language, n_emotions, the scores' means over emotions at the chosen doses, and the difference
            of the score from the main method's with its interval.
        expressed: method, language, intended, expressed (`none` for no emotion), share of texts.
        features: method, emotion, feature, target (at dose 1, activation units).
        transfer: set, chosen_from, emotion (`all` is their mean), language (that is written), n_features, and the
            scores.
        necessity: See `emosae.steering.evaluation.necessity.NECESSITY_SCHEMA`.
        sense: See `emosae.steering.evaluation.sense.SENSE_SCHEMA`.
        main: The SAE's method with the best score on the openings that doses are chosen on.
        best: The method with the greatest mean score on the reported openings.
        verdict: Which method wins, in a sentence.
        classifier: What tells an emotion.
        second_classifier: What else does; empty for nothing.
        sae: The SAE's name.
        scope: Which tokens are steered.
        corpus: The corpus that doses are measured on.
        residual_norm: Median norm of the residual; dose 1 pushes by half of it.
        content_anchor: Content that unsteered texts of different openings have in common.
        n_prompts: Openings of each language that are reported.
        n_seeds: Seeds of each.
        n_resamples: Resamples of the openings.
        notes: What was left out, in plain sentences.
    """

    texts: pl.DataFrame
    scores: pl.DataFrame
    doses: pl.DataFrame
    methods: pl.DataFrame
    expressed: pl.DataFrame
    features: pl.DataFrame
    transfer: pl.DataFrame
    necessity: pl.DataFrame
    sense: pl.DataFrame
    main: str
    best: str
    verdict: str
    classifier: str
    second_classifier: str
    sae: str
    scope: str
    corpus: str
    residual_norm: float
    content_anchor: float | None
    n_prompts: int
    n_seeds: int
    n_resamples: int
    notes: list[str] = field(default_factory=list)
