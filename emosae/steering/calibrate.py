"""Calibration: which dose expresses a concept best while content and fluency are kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emosae.errors import UserError
from emosae.progress import progress
from emosae.steering.choice import languages_of
from emosae.steering.clamp import Clamp, Op
from emosae.steering.classifiers import Classifier, get_classifier
from emosae.steering.dose import check_dose, dose_stats
from emosae.steering.emotions import Recipe, dosed, read_op, steer_lens
from emosae.steering.generate import Written, check_prompts, write
from emosae.steering.scope import Scope
from emosae.steering.scores import (
    Flow,
    concept_rate,
    embedding_similarity,
    flow_of,
    fluency,
    harmonic_mean,
    mean_losses,
)
from emosae.steering.settings import steering_settings
from emosae.steering.stored import TABLE_SCHEMA, Calibration, save_calibration
from emosae.steering.words import concepts_of

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site

__all__ = ["calibrate_lens", "stable_range"]

log = logging.getLogger(__name__)

STABLE_SHARE = 0.8
"""In the stable range the concept's rate is more than this share of its best."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Plain:
    """Unsteered text of one language, which steered text is compared with."""

    prompts: list[str]
    written: Written
    flow: Flow


def calibrate_lens(
    lens: Lens,
    concept: str,
    site: Site | str | None,
    recipe: Recipe,
    *,
    scope: Any = "generated",
    doses: Sequence[float] | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
    classifier: Any = None,
    seed: int = 0,
    store: bool = True,
    **options: Any,
) -> Calibration:
    """Find a concept's best dose; `Lens.calibrate` says what the arguments mean."""
    settings = steering_settings(lens.preset)
    tried = sorted({check_dose(concept, dose) for dose in (settings.doses if doses is None else doses)})
    if not tried:
        raise UserError("Calibration must try at least one dose, got none. Give e.g. doses=[0.5, 1.0, 2.0].")
    op = read_op(recipe.op)
    if op is Op.ABLATE:
        raise UserError("An ablation has no dose, got op='ablate'. Calibrate op='set' or 'add'.")
    where = lens.steering_site(site)
    absolute = isinstance(recipe.features.get(concept), Mapping)
    stats = None if absolute else dose_stats(lens.saes[where], recipe.corpus)
    targets = dosed(lens, concept, where, recipe, stats).targets
    texts = _prompts(lens, recipe, settings.prompts_in, prompts)
    called, classify = get_classifier(
        settings.classifier if classifier is None else classifier,
        tokenizer=lens.tokenizer,
        concepts=concepts_of(lens),
    )
    decoding = {**settings.decoding, **options}
    plain = {language: _unsteered(lens, own, decoding, seed) for language, own in texts.items()}
    anchor = _anchor(lens, plain.values())
    rows: list[dict[str, Any]] = []
    with progress(f"calibrating {concept}", (len(tried) + 1) * len(texts)) as step:
        for dose in [0.0, *tried]:
            clamps = [Clamp(f, op, dose * target, sae=lens.saes[where]) for f, target in targets.items()]
            for language, base in plain.items():
                block = (
                    steer_lens(lens, clamps, where, recipe, scope=scope, trace=False)
                    if dose
                    else nullcontext()
                )
                with block:
                    written = write(lens.model, lens.tokenizer, base.prompts, seed=seed, **decoding)
                rows.append(
                    {"language": language, "dose": dose} | _scores(lens, base, written, classify, concept)
                )
                step(1)
    table = _with_means(pl.DataFrame(rows))
    means = table.filter((pl.col("language") == "all") & (pl.col("dose") > 0)).sort("dose")
    best = int(
        np.argmax(means["score"].to_numpy())
    )  # the smallest of equals: more push than needed costs text
    if not means["score"][best] > 0:
        greatest = float(np.max(means["concept"].to_numpy()))
        raise UserError(
            f"Some dose of {concept!r} must express it with content and fluency kept, got a score of 0 from "
            f"{tried[0]:g} to {tried[-1]:g} (greatest rate {greatest:.2f} by {called}). Try another "
            "site, language= or classifier=."
        )
    found = Calibration(
        concept=concept,
        dose=float(means["dose"][best]),
        score=float(means["score"][best]),
        stable=stable_range(
            means["dose"].to_list(), means["concept"].to_list(), means["fluency"].to_list(), best
        ),
        table=table,
        site=str(where),
        op=op.value,
        scope=Scope.parse(scope).kind.value,
        classifier=called,
        content="cosine of mean hidden states with the unsteered text; unsteered texts of different prompts reach "
        f"{anchor:.2f}",
        n_texts=sum(len(each.written.answers) for each in plain.values()),
        seed=seed,
    )
    if found.stable is None:
        log.warning(
            "%s: at the best dose, %g, not every bound of fluency holds: there is no stable range. Compare other sites "
            "or features.",
            concept,
            found.dose,
        )
    if store:
        log.info("kept in %s", save_calibration(lens, where, targets, found))
    return found


def stable_range(
    doses: Sequence[float], rates: Sequence[float], fluencies: Sequence[float], best: int
) -> tuple[float, float] | None:
    """Give the ends of the run of doses around the best in which rate and fluency hold; None if the best's do not.

    Example:
        >>> stable_range([0.5, 1.0, 2.0, 3.0], [0.2, 0.9, 1.0, 1.0], [1.0, 1.0, 1.0, 0.4], 2)
        (1.0, 2.0)
    """
    least = STABLE_SHARE * max(rates)
    holds = [rate > least and flow >= 1.0 for rate, flow in zip(rates, fluencies, strict=True)]
    if not holds[best]:
        return None
    low = high = best
    while low and holds[low - 1]:
        low -= 1
    while high + 1 < len(holds) and holds[high + 1]:
        high += 1
    return doses[low], doses[high]


def _prompts(
    lens: Lens, recipe: Recipe, own: Any, given: Mapping[str, Sequence[str]] | None
) -> dict[str, list[str]]:
    if given is not None:
        if not isinstance(given, Mapping) or not given:
            raise UserError(
                f"Prompts must be a mapping of languages to texts, got {given!r}. Give e.g. {{'en': [...]}}."
            )
        return {language: check_prompts(list(texts)) for language, texts in given.items()}
    if recipe.features and recipe.language not in concepts_of(lens).languages:
        return {language: own(language) for language in lens.languages}
    known = concepts_of(lens).languages
    return {language: own(language) for language in languages_of(recipe.language, lens.languages, known)}


def _unsteered(lens: Lens, prompts: list[str], decoding: Mapping[str, Any], seed: int) -> _Plain:
    written = write(lens.model, lens.tokenizer, prompts, seed=seed, **decoding)
    if not any(written.answers):
        raise UserError(
            "Unsteered text must have tokens to be compared with, got empty answers only. Give other prompts, or more "
            "max_new_tokens."
        )
    losses = mean_losses(lens.model, written.prompts, written.answers)
    return _Plain(prompts=prompts, written=written, flow=flow_of(losses, written.answers))


def _anchor(lens: Lens, plain: Any) -> float:
    """What unsteered texts of different prompts have in common, by the measure of content."""
    found = []
    for each in plain:
        answers = each.written.answers
        if len(answers) > 1:
            found += embedding_similarity(lens.model, answers, [*answers[1:], answers[0]]).tolist()
    return float(np.mean(found)) if found else math.nan


def _scores(lens: Lens, base: _Plain, written: Written, classify: Classifier, concept: str) -> dict[str, Any]:
    flow = flow_of(mean_losses(lens.model, written.prompts, written.answers), written.answers)
    rate = concept_rate(list(classify(written.texts)), concept)
    content = float(embedding_similarity(lens.model, written.answers, base.written.answers).mean())
    smooth = fluency(flow, base.flow)
    return {
        "concept": rate,
        "content": content,
        "fluency": smooth,
        "score": harmonic_mean(rate, content, smooth),
        "perplexity_ratio": flow.perplexity / base.flow.perplexity,
        "distinct_2_ratio": flow.distinct_2 / base.flow.distinct_2 if base.flow.distinct_2 else None,
        "repeated_4": flow.repeated_4,
        "sample": written.full[0],
    }


def _with_means(table: pl.DataFrame) -> pl.DataFrame:
    """Add lines of language `all`: the languages' means, and the score of these."""
    means = table.group_by("dose", maintain_order=True).agg(
        pl.lit("all").alias("language"),
        pl.exclude("dose", "language", "sample", "score").mean(),
        pl.lit(None, dtype=pl.String).alias("sample"),
    )
    score = [harmonic_mean(*parts) for parts in means.select("concept", "content", "fluency").rows()]
    means = means.with_columns(pl.Series("score", score, dtype=pl.Float64))
    return pl.concat(
        [
            part.select(pl.col(name).cast(kind) for name, kind in TABLE_SCHEMA.items())
            for part in (table, means)
        ]
    )
