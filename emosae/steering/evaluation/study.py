"""The evaluation of steering: choose on some openings, report on others, every method side by side."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emosae.errors import UserError
from emosae.models import is_decoder
from emosae.steering.clamp import Op
from emosae.steering.classifiers import Classifier
from emosae.steering.dose import dose_stats
from emosae.steering.evaluation.affect import AffectLexicon
from emosae.steering.evaluation.choosing import (
    Chooser,
    choose_by_words,
    feature_rows,
    read_contrast,
    word_contrast,
)
from emosae.steering.evaluation.judging import UNSTEERED, judge
from emosae.steering.evaluation.methods import Method, Tools, make_tools, matched_control
from emosae.steering.evaluation.necessity import NECESSITY_SCHEMA, measure_necessity
from emosae.steering.evaluation.passages import read_passages
from emosae.steering.evaluation.result import SteeringResult
from emosae.steering.evaluation.scoring import ALL, Scorer
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
from emosae.steering.evaluation.writing import Ask, Text, Writer

if TYPE_CHECKING:
    from emosae.concepts import ConceptSet
    from emosae.features import Reading
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.steering.config import SteeringConfig

__all__ = ["study_steering"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Desk:
    """What texts are written and judged with."""

    writer: Writer
    tools: Tools
    first: Classifier
    second: Classifier | None
    affect: AffectLexicon
    seeds: Sequence[int]

    def asks(
        self, openings: Mapping[str, Sequence[str]], method: str, emotion: str, dose: float, **more: Any
    ) -> list[Ask]:
        """Ask for one text of each opening and seed."""
        before: Mapping[str, str] = more.get("before", {})
        return [
            Ask(
                method=method, emotion=emotion, language=language, dose=dose, prompt=number, seed=seed,
                opening=opening, before=before.get(language, ""), clamps=more.get("clamps", ()),
            )
            for language, texts in openings.items()
            for number, opening in enumerate(texts)
            for seed in self.seeds
        ]  # fmt: skip

    def done(self, part: str, asks: Sequence[Ask], what: str) -> tuple[pl.DataFrame, list[Text]]:
        """Write and judge texts."""
        texts = self.writer.write(asks, what)
        return judge(self.writer.lens, part, asks, texts, self.first, self.second, self.affect), texts


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
    called, first = first_classifier(config, lens, concepts, affect)
    second, second_name = second_classifier(config, lens, concepts, affect, notes)

    passages = None
    if config.passages:
        passages = read_passages(
            config.passages, emotions, lens.languages, config.n_passages, config.n_necessity
        )
    contrast = None if passages is None else read_contrast(lens, site, passages, emotions, max_tokens)
    chooser = Chooser(lens=lens, site=site, stats=stats, config=config, contrast=contrast)
    by_words = choose_by_words(chooser, emotions, notes)
    emotions = list(by_words)
    targets: dict[Method, Any] = {Method.WORD_FEATURES: by_words}
    if contrast is None:
        notes.append(
            "The study names no passages, so features were chosen by words alone, DiffMean is that of words, and "
            "necessity was not measured. Give steering.passages=FILE."
        )
        residuals = word_contrast(lens, words, emotions, neutral)
    else:
        by_passages, none = chooser.sets(Method.PASSAGE_FEATURES, "universal", emotions)
        if none:
            notes.append(f"No feature fires more in passages of {', '.join(none)} than in others: left out.")
            emotions = [emotion for emotion in emotions if emotion in by_passages]
            targets[Method.WORD_FEATURES] = {emotion: by_words[emotion] for emotion in emotions}
        targets[Method.PASSAGE_FEATURES] = by_passages
        residuals = {emotion: contrast.of_residual(emotion, lens.languages) for emotion in emotions}
    tools = make_tools(sae, stats, targets, residuals, seed, Op(config.op))
    desk = _Desk(
        writer=Writer(
            lens=lens, saes=(sae, tools.basis.sae), scope=config.scope, decoding=config.decoding,
            batch_rows=config.batch_rows, use_cache=use_cache,
        ),
        tools=tools, first=first, second=second, affect=affect, seeds=config.seeds,
    )  # fmt: skip

    choose, doses, tried, main = _choose(desk, chosen_on, emotions, list(targets), config.doses)
    sets = _transfer_sets(chooser, main, emotions, targets[main], stats, notes) if config.transfer else {}
    asks = _report_asks(desk, reported, emotions, concepts, doses, main, config, sets)
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
    scores = pl.DataFrame([*choose, *score_rows(scorer, "report", asked)], infer_schema_length=None)
    methods, numbers = method_rows(scorer, shown, emotions, doses, main)
    best, said = verdict(numbers)
    held = {emotion: doses[main, emotion] for emotion in emotions}
    transfer = transfer_rows(scorer, sets, held) if sets else pl.DataFrame(schema={"set": pl.String})
    return SteeringResult(
        texts=report,
        scores=scores,
        doses=dose_rows(doses, tried, scores, main),
        methods=methods,
        expressed=expressed_rows(report, shown, emotions, doses),
        features=feature_rows(tools.targets),
        transfer=transfer,
        necessity=_necessity(
            lens, site, chooser, passages, concepts, targets[main], config, max_tokens, seed
        ),
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


def _choose(
    desk: _Desk,
    openings: Mapping[str, Sequence[str]],
    emotions: Sequence[str],
    featured: Sequence[Method],
    doses: Sequence[float],
) -> tuple[list[dict[str, Any]], dict[tuple[Method, str], float], dict[tuple[Method, str], float], Method]:
    """Choose each method's dose for each emotion, and the SAE's better method; controls get that one's doses."""
    tuned = [*featured, Method.DIFF_MEAN, Method.DECODER_SUM]
    asks = desk.asks(openings, UNSTEERED, "", 0.0)
    for method in tuned:
        for emotion in emotions:
            for dose in doses:
                clamps = desk.tools.clamps(method, emotion, dose)
                asks += desk.asks(openings, str(method), emotion, dose, clamps=clamps)
    table, _ = desk.done("choose", asks, "choosing doses")
    scorer = Scorer.of(table, emotions, 0, 0, desk.second is not None)
    rows = score_rows(scorer, "choose", [(str(m), e, d) for m in tuned for e in emotions for d in doses])
    score = {(r["method"], r["emotion"], r["dose"]): r["score"] or 0.0 for r in rows if r["language"] == ALL}
    chosen: dict[tuple[Method, str], float] = {}
    reached: dict[tuple[Method, str], float] = {}
    for method in tuned:
        for emotion in emotions:
            own = [score[str(method), emotion, dose] for dose in doses]
            at = int(np.argmax(own))  # the smallest of equals: more push than needed costs text
            chosen[method, emotion], reached[method, emotion] = doses[at], own[at]
    main = max(featured, key=lambda method: sum(reached[method, emotion] for emotion in emotions))
    for control in (Method.RANDOM_FEATURES, Method.RANDOM_DIRECTION):
        chosen |= {(control, emotion): chosen[main, emotion] for emotion in emotions}
    return rows, chosen, reached, main


def _report_asks(
    desk: _Desk,
    openings: Mapping[str, Sequence[str]],
    emotions: Sequence[str],
    concepts: ConceptSet,
    doses: Mapping[tuple[Method, str], float],
    main: Method,
    config: SteeringConfig,
    sets: Mapping[str, tuple[str, Mapping[str, Mapping[int, float]]]],
) -> list[Ask]:
    asks = desk.asks(openings, UNSTEERED, "", 0.0)
    for emotion in emotions:
        for (method, of), dose in doses.items():
            if of == emotion:
                own = {dose, *config.doses} if method is main else {dose}
                for each in sorted(own):
                    clamps = desk.tools.clamps(method, emotion, each)
                    asks += desk.asks(openings, str(method), emotion, each, clamps=clamps)
        if config.instruction.keys() >= openings.keys():
            before = {
                language: config.instruction[language].format(
                    emotion=concepts.labels[language].get(emotion, emotion)
                )
                for language in openings
            }
            asks += desk.asks(openings, str(Method.PROMPT), emotion, 0.0, before=before)
        for name, (_, features) in sets.items():
            if emotion in features:
                dose = doses[main, emotion]
                clamps = desk.tools.set_to(features[emotion], dose)
                asks += desk.asks(openings, f"transfer/{name}", emotion, dose, clamps=clamps)
    return asks


def _transfer_sets(
    chooser: Chooser, main: Method, emotions: Sequence[str], own: Any, stats: Any, notes: list[str]
) -> dict[str, tuple[str, Mapping[str, Mapping[int, float]]]]:
    """Choose features from each language alone, those of that language only, and matched controls."""
    languages = chooser.lens.languages
    if len(languages) < 2:
        notes.append("Transfer needs two languages, so it was left out. Add one with language=[en,zh].")
        return {}
    sets: dict[str, tuple[str, Mapping[str, Mapping[int, float]]]] = {
        "universal": (", ".join(languages), own)
    }
    for which in [*languages, *(f"{language}_only" for language in languages)]:
        found, none = chooser.sets(main, which, emotions)
        if found:
            sets[which] = (which.removesuffix("_only"), found)
        if none:
            notes.append(f"Transfer: no feature is in the set {which} for {', '.join(none)}.")
    sae = chooser.lens.saes[chooser.site]
    control = matched_control(sae, stats, own, chooser.selected())
    if control:
        sets["control"] = ("", control)
    return sets


def _necessity(
    lens: Lens,
    site: Site,
    chooser: Chooser,
    passages: pl.DataFrame | None,
    concepts: ConceptSet,
    own: Mapping[str, Mapping[int, float]],
    config: SteeringConfig,
    max_tokens: int,
    seed: int,
) -> pl.DataFrame:
    if passages is None:
        return pl.DataFrame(schema=NECESSITY_SCHEMA)
    sae = lens.saes[site]
    controls = matched_control(sae, chooser.stats, own, chooser.selected())
    return measure_necessity(
        lens,
        sae,
        passages.filter(pl.col("part") == "necessity"),
        concepts,
        config.question,
        {emotion: list(features) for emotion, features in own.items()},
        {emotion: list(features) for emotion, features in controls.items()},
        n_resamples=config.n_resamples,
        seed=seed,
        max_tokens=max_tokens,
    )
