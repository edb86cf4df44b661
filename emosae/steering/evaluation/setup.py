"""What an evaluation of steering starts from: its emotions, openings and classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from emosae.errors import UserError, unknown_name
from emosae.steering.classifiers import Classifier, get_classifier, labels_of
from emosae.steering.evaluation.affect import AffectLexicon, nearest_emotion
from emosae.steering.evaluation.judging import UNSTEERED
from emosae.steering.evaluation.tables import finite
from emosae.steering.evaluation.writing import Ask, Text
from emosae.steering.scores import embedding_similarity

if TYPE_CHECKING:
    from emosae.concepts import ConceptSet
    from emosae.lens import Lens
    from emosae.steering.config import SteeringConfig

__all__ = [
    "check_apart",
    "content_anchor",
    "emotions_of",
    "first_classifier",
    "openings_of",
    "second_classifier",
]


def emotions_of(config: SteeringConfig, concepts: ConceptSet) -> list[str]:
    """Name the emotions that are steered: those that are asked for, or all."""
    for name in config.emotions:
        if name not in concepts.concepts:
            raise unknown_name("emotion", name, concepts.concepts, f"They are those of {concepts.name!r}.")
    return list(dict.fromkeys(config.emotions)) or concepts.concepts


def openings_of(
    given: Mapping[str, Sequence[str]], setting: str, languages: Sequence[str], n: int
) -> dict[str, list[str]]:
    """Take the first openings of each language.

    Raises:
        UserError: A language has none.
    """
    missing = [language for language in languages if not given.get(language)]
    if missing:
        raise UserError(
            f"{setting} must hold openings in each language of the study, got none in {', '.join(missing)}. "
            f"Add them, as in {setting}.{missing[0]}=['…','…']."
        )
    return {language: list(given[language])[:n] for language in languages}


def check_apart(chosen_on: Mapping[str, Sequence[str]], reported: Mapping[str, Sequence[str]]) -> None:
    """Make sure that nothing is reported of an opening that something was chosen on.

    Raises:
        UserError: An opening is in both.
    """
    for language, texts in chosen_on.items():
        both = set(texts) & set(reported[language])
        if both:
            raise UserError(
                f"Openings that are reported must be other ones than those that doses are chosen on, got {min(both)!r} "
                "in both. Take it out of steering.report_prompts."
            )


def first_classifier(
    config: SteeringConfig,
    lens: Lens,
    concepts: ConceptSet,
    emotions: Sequence[str],
    affect: AffectLexicon,
    notes: list[str],
) -> tuple[str, Classifier]:
    """Find the classifier that doses are chosen by, and what it is called; a note says which emotions it lacks.

    Raises:
        UserError: There is no such classifier, or it has a label for none of the emotions.
    """
    if config.classifier != "norms":
        found = get_classifier(config.classifier, tokenizer=lens.tokenizer, concepts=concepts)
        _check_labels(config.classifier, emotions, notes)
        return found
    nearest = nearest_emotion(affect, concepts)
    if nearest is None:
        raise UserError(
            "The classifier 'norms' needs ratings of the emotions' words, got none. Add norms=[…], or take 'lexicon'."
        )
    return "norms", nearest


def _check_labels(classifier: str, emotions: Sequence[str], notes: list[str]) -> None:
    labels = labels_of(classifier)
    if labels is None:
        return
    lacking = [emotion for emotion in emotions if emotion.casefold() not in labels]
    if len(lacking) == len(emotions):
        raise UserError(
            f"The labels of the classifier {classifier!r} must be names of the emotions that are steered, got "
            f"{', '.join(sorted(labels)[:8])}. Take another classifier, or other emotions with steering.emotions=."
        )
    if lacking:
        notes.append(
            f"The classifier {classifier} has no label for {', '.join(lacking)}, so by it no text expresses them."
        )


def second_classifier(
    config: SteeringConfig, lens: Lens, concepts: ConceptSet, affect: AffectLexicon, notes: list[str]
) -> tuple[Classifier | None, str]:
    """Find the classifier that stands beside it; a note says where there is none."""
    name = config.second_classifier
    if not name or name == config.classifier:
        return None, ""
    if name != "norms":
        return get_classifier(name, tokenizer=lens.tokenizer, concepts=concepts)[1], name
    found = nearest_emotion(affect, concepts)
    if found is None:
        notes.append(
            "The study names no ratings of its words, so the second classifier, norms, was left out."
        )
    return found, name if found is not None else ""


def content_anchor(lens: Lens, asks: Sequence[Ask], written: Sequence[Text]) -> float | None:
    """Say what unsteered texts of different openings have in common, by the measure of content."""
    plain: dict[str, list[list[int]]] = {}
    for ask, text in zip(asks, written, strict=True):
        if ask.method == UNSTEERED:
            plain.setdefault(ask.language, []).append(text.answer)
    pairs = [pair for answers in plain.values() for pair in pairwise(answers)]
    if not pairs:
        return None
    first, second = zip(*pairs, strict=True)
    return finite(float(embedding_similarity(lens.model, list(first), list(second)).mean()))
