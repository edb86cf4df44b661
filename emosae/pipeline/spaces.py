"""The spaces that a site's geometry compares: the emotion space, its controls and baselines, language by language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emosae.concepts import ConceptSet
from emosae.features import Reading
from emosae.geometry import ControlSet, Draws, GeometryConfig, concept_matrix, random_draws
from emosae.selection import Selection

__all__ = ["concept_spaces", "control_spaces", "random_spaces"]

# what a space that is not a baseline is to the study
_ROLES = {"features": "model", "matched_control": "control"}


def concept_spaces(
    concepts: ConceptSet, reading: Reading, selection: Selection, languages: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Describe each concept by the emotion space, by matched features outside it, and by each baseline.

    Args:
        concepts: The emotions and their words.
        reading: One row a word.
        selection: The feature sets.
        languages: The study's languages; with several, a space's name ends in its language.

    Returns:
        The spaces by name, and the role of each.
    """
    spaces: dict[str, np.ndarray] = {}
    roles: dict[str, str] = {}
    for language, end in _ends(languages):
        made = _matrices(concepts, reading, selection, language)
        spaces |= {name + end: matrix for name, matrix in made.items()}
        roles |= {name + end: _ROLES.get(name, "baseline") for name in made}
    return spaces, roles


def random_spaces(
    concepts: ConceptSet,
    reading: Reading,
    selection: Selection,
    languages: Sequence[str],
    config: GeometryConfig,
) -> dict[str, Draws]:
    """Draw random sets of features, as many as the emotion space has, for each language."""
    size = len(selection.features("space"))
    if not size or not config.n_random:
        return {}
    found = {}
    for language, end in _ends(languages):
        everything = concept_matrix(
            reading.features.csr,
            reading.features.items,
            concepts.words,
            language=language,
            concepts=concepts.concepts,
        )
        found[f"random{end}"] = random_draws(
            everything,
            f"features{end}",
            size,
            n_draws=config.n_random,
            dissimilarity=config.dissimilarity,
            seed=config.seed,
        )
    return found


def control_spaces(
    control: ConceptSet, reading: Reading, selection: Selection, languages: Sequence[str]
) -> ControlSet:
    """Describe the concepts without feeling in the spaces of the emotions.

    Not in that of the matched control features: those hardly fire on emotions, so that their direction of
    valence is made of the smallest differences, and whatever fires them lies far out on it.
    """
    matrices = {
        name + end: matrix
        for language, end in _ends(languages)
        for name, matrix in _matrices(control, reading, selection, language).items()
        if name != "matched_control"
    }
    return ControlSet(concepts=control.concepts, matrices=matrices)


def _matrices(
    concepts: ConceptSet, reading: Reading, selection: Selection, language: str
) -> dict[str, np.ndarray]:
    """Average the words of each concept of a set, in every space of one language."""
    sets = {"features": selection.features("space"), "matched_control": selection.features("control")}
    columns = {name: (reading.features.csr, chosen) for name, chosen in sets.items() if len(chosen)}
    dense = {name: (np.asarray(values), None) for name, values in reading.dense.items()}
    return {
        name: concept_matrix(
            values,
            reading.features.items,
            concepts.words,
            language=language,
            concepts=concepts.concepts,
            features=features,
        )
        for name, (values, features) in (columns | dense).items()
    }


def _ends(languages: Sequence[str]) -> list[tuple[str, str]]:
    """The languages, with what the names of their spaces end in: nothing where there is one language."""
    return [(language, f"_{language}" if len(languages) > 1 else "") for language in languages]
