"""The evaluation of steering: choose on some openings, report on others, every method side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from emosae.errors import UserError
from emosae.models import is_decoder
from emosae.steering.clamp import Op
from emosae.steering.dose import dose_stats
from emosae.steering.evaluation.affect import AffectLexicon
from emosae.steering.evaluation.choosing import (
    Chooser,
    choose_by_words,
    feature_rows,
    read_contrast,
    transfer_sets,
    word_contrast,
)
from emosae.steering.evaluation.desk import Desk, choose_doses, report_asks
from emosae.steering.evaluation.judging import UNSTEERED
from emosae.steering.evaluation.methods import Method, Targets, make_tools, matched_control
from emosae.steering.evaluation.necessity import NECESSITY_SCHEMA, measure_necessity
from emosae.steering.evaluation.passages import read_passages
from emosae.steering.evaluation.result import SteeringResult
from emosae.steering.evaluation.scoring import Scorer
from emosae.steering.evaluation.sense import SENSE_SCHEMA, measure_sense
from emosae.steering.evaluation.setup import (
    check_apart,
    content_anchor,
    emotions_of,
    first_classifier,
    openings_of,
    second_classifier,
)
from emosae.steering.evaluation.tables import (
    dose_rows,
    expressed_rows,
    method_rows,
    score_rows,
    transfer_rows,
    verdict,
)
from emosae.steering.evaluation.writing import Writer

if TYPE_CHECKING:
    import numpy as np

    from emosae.concepts import ConceptSet
    from emosae.features import Reading
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.steering.config import SteeringConfig

__all__ = ["study_steering"]


def study_steering(
    lens: Lens,
    site: Site,
    config: SteeringConfig,
    concepts: ConceptSet,
    *,
    words: Reading,
    neutral: pl.DataFrame | None,
    ratings: Iterable[pl.DataFrame] = (),
    max_tokens: int = 4096,
    use_cache: bool = True,
    seed: int = 0,
) -> SteeringResult:
    """Evaluate steering at one site of a model.

    Features, directions and doses are chosen on words, passages and openings of their own; what is reported are texts
    from other openings. Every method writes from the same openings with the same noise.

    Args:
        lens: The lens; its languages are those that are written.
        site: Where.
        config: Settings.
        concepts: The emotions and their words.
        words: The study's words, a row each, with `residual`.
        neutral: Neutral words: language, word; None where there are none.
        ratings: Tables of rated words, for valence and arousal of texts.
        max_tokens: Bound on a batch's tokens where passages are read.
        use_cache: Keep written texts, so that a study that was cut off goes on.
        seed: Seed of what is random: control features and directions, resamples.

    Raises:
        UserError: An encoder, an unknown emotion or classifier, openings that are missing, or no feature to steer by.
        MissingFileError: No statistics to measure doses by.
    """
    if not is_decoder(lens.model):
        raise UserError("Steering needs a model that writes, got an encoder. Leave out this stage.")
    sae, stats, notes = lens.saes[site], dose_stats(lens.saes[site], config.corpus), list[str]()
    emotions = emotions_of(config, concepts)
    chosen_on = openings_of(config.prompts, "steering.prompts", lens.languages, config.n_choose)
    reported = openings_of(config.report_prompts, "steering.report_prompts", lens.languages, config.n_report)
    check_apart(chosen_on, reported)
    affect = AffectLexicon.of(ratings)
    called, first = first_classifier(config, lens, concepts, emotions, affect, notes)
    second, second_name = second_classifier(config, lens, concepts, affect, notes)

    passages = None
    if config.passages:
        passages = read_passages(
            config.passages, emotions, lens.languages, config.n_passages, config.n_necessity
        )
    contrast = None if passages is None else read_contrast(lens, site, passages, emotions, max_tokens)
    chooser = Chooser(lens=lens, site=site, stats=stats, config=config, contrast=contrast)
    material = _material(chooser, emotions, words, neutral, notes)
    emotions = material.emotions
    tools = make_tools(sae, stats, material.targets, material.residuals, seed, Op(config.op))
    desk = Desk(
        writer=Writer(
            lens=lens, saes=(sae, tools.basis.sae), scope=config.scope, decoding=config.decoding,
            batch_rows=config.batch_rows, use_cache=use_cache,
        ),
        tools=tools, first=first, second=second, affect=affect, seeds=config.seeds,
    )  # fmt: skip

    vectors = [*([Method.DIFF_MEAN] if material.residuals else []), Method.DECODER_SUM]
    chosen = choose_doses(desk, chosen_on, emotions, list(material.targets), vectors, config.doses)
    doses, main = chosen.doses, chosen.main
    own = material.targets[main]
    sets = transfer_sets(chooser, main, emotions, own, notes) if config.transfer else {}
    asks = report_asks(desk, reported, emotions, concepts, chosen, config, sets)
    report, written = desk.done("report", asks, "writing steered text")
    scorer = Scorer.of(report, emotions, config.n_resamples, seed, second is not None)
    shown = [method for method in Method if (report["method"] == str(method)).any()]
    asked = [(UNSTEERED, e, 0.0) for e in emotions]
    asked += [(str(main), e, d) for e in emotions for d in sorted({*config.doses, doses[main, e]})]
    asked += [
        (str(m), e, doses.get((m, e), 0.0))
        for m in shown
        if m not in (main, Method.UNSTEERED)
        for e in emotions
    ]
    scores = pl.DataFrame([*chosen.rows, *score_rows(scorer, "report", asked)], infer_schema_length=None)
    methods, numbers = method_rows(scorer, shown, emotions, doses, main)
    best, said = verdict(numbers, main)
    held = {emotion: doses[main, emotion] for emotion in emotions}
    transfer = transfer_rows(scorer, sets, held) if sets else pl.DataFrame(schema={"set": pl.String})
    necessity, sense = _reading(chooser, passages, concepts, material, main, max_tokens, seed)
    return SteeringResult(
        texts=report,
        scores=scores,
        doses=dose_rows(doses, chosen.reached, scores, main),
        methods=methods,
        expressed=expressed_rows(report, shown, emotions, doses),
        features=feature_rows(tools.targets),
        transfer=transfer,
        necessity=necessity,
        sense=sense,
        main=str(main),
        best=str(best),
        verdict=said,
        classifier=called,
        second_classifier=second_name,
        sae=sae.name,
        scope=config.scope,
        corpus=stats.corpus,
        residual_norm=float(stats.residual_norm),
        content_anchor=content_anchor(lens, asks, written),
        n_prompts=min(map(len, reported.values())),
        n_seeds=len(config.seeds),
        n_resamples=config.n_resamples,
        notes=notes,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Material:
    """What methods are made of: the emotions that can be steered, features by method, and mean residuals."""

    emotions: list[str]
    targets: dict[Method, Targets]
    residuals: Mapping[str, np.ndarray]


def _material(
    chooser: Chooser, emotions: list[str], words: Reading, neutral: pl.DataFrame | None, notes: list[str]
) -> _Material:
    lens, contrast = chooser.lens, chooser.contrast
    by_words = choose_by_words(chooser, emotions, notes)
    emotions = list(by_words)
    targets: dict[Method, Targets] = {Method.WORD_FEATURES: by_words}
    if contrast is None:
        notes.append(
            "The study names no passages, so features were chosen by words alone, DiffMean is that of words, and "
            "necessity was not measured. Give steering.passages=FILE."
        )
    else:
        by_passages, none = chooser.sets(Method.PASSAGE_FEATURES, "universal", emotions)
        if none:
            notes.append(f"No feature fires more in passages of {', '.join(none)} than in others: left out.")
            emotions = [emotion for emotion in emotions if emotion in by_passages]
            targets[Method.WORD_FEATURES] = {emotion: by_words[emotion] for emotion in emotions}
        targets[Method.PASSAGE_FEATURES] = by_passages
    residuals: Mapping[str, np.ndarray]
    if lens.saes[chooser.site].cfg.architecture.is_transcoder:
        residuals = {}  # what a transcoder reads is another space than what it writes, even of the same width
        notes.append(
            "DiffMean was left out: the SAE is a transcoder, which writes elsewhere than it reads, so a difference of "
            "what it reads is no direction of what it writes. The sum of decoder rows stands, for these are written."
        )
    elif contrast is None:
        residuals = word_contrast(lens, words, emotions, neutral)
    else:
        residuals = {emotion: contrast.of_residual(emotion, lens.languages) for emotion in emotions}
    return _Material(emotions=emotions, targets=targets, residuals=residuals)


def _reading(
    chooser: Chooser,
    passages: pl.DataFrame | None,
    concepts: ConceptSet,
    material: _Material,
    main: Method,
    max_tokens: int,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read passages that chose nothing: what is lost without each emotion's features, and what these tell of them."""
    if passages is None:
        return pl.DataFrame(schema=NECESSITY_SCHEMA), pl.DataFrame(schema=SENSE_SCHEMA)
    lens, config, own = chooser.lens, chooser.config, material.targets[main]
    sae, held = lens.saes[chooser.site], passages.filter(pl.col("part") == "necessity")
    controls = matched_control(sae, chooser.stats, own, chooser.selected())
    necessity = measure_necessity(
        lens,
        sae,
        held,
        concepts,
        config.question,
        {emotion: list(features) for emotion, features in own.items()},
        {emotion: list(features) for emotion, features in controls.items()},
        n_resamples=config.n_resamples,
        seed=seed,
        max_tokens=max_tokens,
    )
    sets = {**{str(method): targets for method, targets in material.targets.items()}, "control": controls}
    sense = measure_sense(
        lens,
        chooser.site,
        held,
        concepts,
        sets,
        n_resamples=config.n_resamples,
        seed=seed,
        max_tokens=max_tokens,
    )
    return necessity, sense
