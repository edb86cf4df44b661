"""What a study reads before the model is opened: concept words and human data, so that mistakes show at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from emosae.concepts import Alignment, ConceptSet, align_names, from_config, load_concepts
from emosae.config import Config
from emosae.errors import UserError
from emosae.geometry import check_runs, require_cebra
from emosae.norms import HumanSimilarity, Kind, Ratings, load_ratings, load_similarity

__all__ = ["Inputs", "load_inputs", "match_concepts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """A study's words and human data.

    Attributes:
        concepts: The emotions and their words, in the study's languages.
        neutral: Neutral words: concept, language, word; None where the set names none.
        control: The non-affective control set; None where the set names none.
        ratings: Word ratings in the study's languages, in the order in which norms names them. Several data sets
            of one language are each a study of their own (`emosae.ratings.split_studies`).
        human: Human similarity judgements of the concepts; None where the study names none.
        notes: What the reader must know, in plain sentences.
    """

    concepts: ConceptSet
    neutral: ConceptSet | None
    control: ConceptSet | None
    ratings: list[Ratings]
    human: HumanSimilarity | None
    notes: list[str] = field(default_factory=list)

    def word_sets(self) -> dict[str, pl.DataFrame]:
        """Name the words that the features stage reads: the concepts', the neutral and the control words."""
        sets = [each for each in (self.concepts, self.neutral, self.control) if each is not None]
        return {each.name: each.words for each in sets}


def load_inputs(config: Config, *, need_ratings: bool, need_human: bool) -> Inputs:
    """Read the words and the human data that a study names.

    Args:
        config: The study.
        need_ratings: The ratings stage was asked for by name, so that having none is an error.
        need_human: Likewise for human similarity and the geometry stage.

    Returns:
        The inputs, restricted to the study's languages.

    Raises:
        UserError: An unknown set or language, a missing file, or human data that was asked for and not named.
    """
    concepts = from_config(config.concepts).restrict(languages=config.language)
    notes: list[str] = []
    ratings: list[Ratings] = []
    human: HumanSimilarity | None = None
    for name, entry in config.norms.items():
        if entry.kind is Kind.similarity:
            if human is not None:
                raise UserError(
                    f"A study compares with one set of similarity judgements, got {human.name} and {name}. "
                    "Leave one of them out of norms."
                )
            human = load_similarity(entry)
        elif entry.language not in config.language:
            notes.append(
                f"{name} holds {entry.language} words and the study reads {', '.join(config.language)}: left out."
            )
        else:
            ratings.append(load_ratings(entry))
            notes.append(ratings[-1].summary())
    if need_ratings and not ratings:
        raise UserError(
            f"The ratings stage needs human ratings in {' or '.join(config.language)}, and norms names none. "
            "Add one, for example norms=[warriner]; `emosae norms list` shows what there is."
        )
    notes += _several(ratings)
    if need_human and human is None:
        notes.append(
            "No human similarity judgements are named in norms, so geometry compares the model with itself only."
        )
    if need_human:  # what geometry would refuse is refused before the model is opened
        check_runs(config.geometry.compare, config.geometry.dissimilarity)
        if config.geometry.cebra:
            require_cebra()
    if human is not None:
        human, found = match_concepts(concepts, human)
        notes.append(f"{human.name} and {concepts.name}: {found.summary()}")
        others = [language for language in config.language if language != human.language]
        if others and human.language not in {"", "mul"}:  # mul: ISO 639 for several languages
            notes.append(
                f"The raters of {human.name} judged {human.language} words; the comparison with "
                f"{', '.join(others)} assumes that the words mean the same."
            )
    return Inputs(
        concepts=concepts,
        neutral=_companion(config.concepts.neutral, config.language),
        control=_companion(config.concepts.control, config.language),
        ratings=ratings,
        human=human,
        notes=notes,
    )


def _several(ratings: Sequence[Ratings]) -> list[str]:
    """Say what becomes of several data sets of one language."""
    by_language: dict[str, list[str]] = {}
    for each in ratings:
        by_language.setdefault(each.language, []).append(each.name)
    found = []
    for language, names in by_language.items():
        if len(names) < 2:
            continue
        text = f"Words in {language!r} are rated by {', '.join(names[:-1])} and {names[-1]}: each is a study of its "
        text += "own, on the same readings of the words, and nothing is averaged over them."
        if len(by_language) > 1:
            text += f" Transfer between languages is that of {names[0]}, which is named first."
        found.append(text)
    return found


def match_concepts(concepts: ConceptSet, human: HumanSimilarity) -> tuple[HumanSimilarity, Alignment]:
    """Call the concepts of human data by the keys of a concept set, where it is sure which is which.

    Args:
        concepts: The set, with its labels and synonyms.
        human: Similarity judgements.

    Returns:
        The judgements with the set's keys for names; a name that no concept takes for sure stays, marked where
        it would pass for a concept. And what was matched with what.
    """
    found = align_names(concepts, human.concepts, synonyms=concepts.synonyms)
    keys = {name: concept for concept, name in found.pairs.items()}
    keys |= {name: f"{name} (not matched)" for name in found.unused if name in set(concepts.concepts)}
    renamed = tuple(keys.get(name, name) for name in human.concepts)
    attributes = human.attributes.with_columns(pl.col("concept").replace(keys))
    return replace(human, concepts=renamed, attributes=attributes), found


def _companion(name: str | None, languages: list[str]) -> ConceptSet | None:
    return load_concepts(name).restrict(languages=languages) if name else None


def sources(inputs: Inputs) -> Mapping[str, Any]:
    """Describe the human data for the manifest: which file, and whether it is the one that was checked."""
    named: list[Any] = [*inputs.ratings, *([inputs.human] if inputs.human else [])]
    return {each.name: {"path": str(each.path), "checksum_ok": each.checksum_ok} for each in named}
