"""The texts of a study: which are asked for to choose doses and to report, and writing and judging them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emosae.steering.classifiers import Classifier
from emosae.steering.evaluation.affect import AffectLexicon
from emosae.steering.evaluation.choosing import TransferSets
from emosae.steering.evaluation.judging import UNSTEERED, judge
from emosae.steering.evaluation.methods import Method, Tools
from emosae.steering.evaluation.scoring import ALL, Scorer
from emosae.steering.evaluation.tables import score_rows
from emosae.steering.evaluation.writing import Ask, Text, Writer

if TYPE_CHECKING:
    from emosae.concepts import ConceptSet
    from emosae.steering.config import SteeringConfig

__all__ = ["ChosenDoses", "Desk", "choose_doses", "report_asks"]

Openings = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """What texts are written and judged with.

    Attributes:
        writer: Writes them.
        tools: What each method does to the model.
        first: The classifier that doses are chosen by.
        second: Another one; None for none.
        affect: Rated words.
        seeds: Each opening is continued once for each.
    """

    writer: Writer
    tools: Tools
    first: Classifier
    second: Classifier | None
    affect: AffectLexicon
    seeds: Sequence[int]

    def asks(self, openings: Openings, method: str, emotion: str, dose: float, **more: Any) -> list[Ask]:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenDoses:
    """The dose of each method and emotion.

    Attributes:
        rows: Scores of every dose that was tried.
        doses: (method, emotion) -> dose; controls have the main method's.
        reached: (method, emotion) -> the score at it, of the methods that were tried.
        main: The SAE's method with the best scores.
    """

    rows: list[dict[str, Any]]
    doses: dict[tuple[Method, str], float]
    reached: dict[tuple[Method, str], float]
    main: Method


def choose_doses(
    desk: Desk,
    openings: Openings,
    emotions: Sequence[str],
    featured: Sequence[Method],
    vectors: Sequence[Method],
    doses: Sequence[float],
) -> ChosenDoses:
    """Choose each method's dose for each emotion, and the SAE's better method.

    Args:
        desk: Writes and judges.
        openings: Openings that nothing is reported of.
        emotions: The emotions.
        featured: The methods that clamp chosen features; one of them becomes the main one.
        vectors: The methods that add a vector.
        doses: The doses that are tried, increasing.
    """
    tuned = [*featured, *vectors]
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
    return ChosenDoses(rows=rows, doses=chosen, reached=reached, main=main)


def report_asks(
    desk: Desk,
    openings: Openings,
    emotions: Sequence[str],
    concepts: ConceptSet,
    chosen: ChosenDoses,
    config: SteeringConfig,
    sets: TransferSets,
) -> list[Ask]:
    """Ask for what is reported: every method at its dose, the main one at all, the prompt, the sets of transfer.

    Args:
        desk: Asks.
        openings: Openings that nothing was chosen on.
        emotions: The emotions.
        concepts: Their names in each language.
        chosen: The doses.
        config: The study's settings.
        sets: The sets of transfer.
    """
    doses, main = chosen.doses, chosen.main
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
