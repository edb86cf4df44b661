"""A study of the emotion space: the model's, its baselines', and people's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from emosae.geometry.axes import Axes, classical_mds
from emosae.geometry.ceiling import mean_rdm
from emosae.geometry.config import GeometryConfig
from emosae.geometry.control import (
    CONTROL_SCHEMA,
    ControlSet,
    control_coordinates,
    control_rdms,
    control_table,
)
from emosae.geometry.draws import Draws, draw_rdms
from emosae.geometry.inputs import Human, HumanData, Notes, Spaces, read_attributes, read_human, read_spaces
from emosae.geometry.permutation import label_permutations
from emosae.geometry.procrustes import procrustes_test
from emosae.geometry.rsa import RATERS_SCHEMA, RSA_SCHEMA, raters_table, rsa_table
from emosae.geometry.tables import (
    attribute_rdms,
    axes_table,
    between_table,
    coordinates_table,
    rdm_table,
    space_axes,
)
from emosae.geometry.valence import MIN_CONCEPTS, beyond_valence

__all__ = ["Geometry", "study_geometry"]

logger = logging.getLogger(__name__)

TEST_SCHEMA = {
    "test": pl.String,
    "space": pl.String,
    "other": pl.String,
    "comparator": pl.String,
    "statistic": pl.Float64,
    "expected": pl.Float64,
    "p": pl.Float64,
    "n_permutations": pl.Int64,
    "exact": pl.Boolean,
    "n_concepts": pl.Int64,
}
CONTROL_RDM_SCHEMA = {
    "space": pl.String,
    "concept_a": pl.String,
    "concept_b": pl.String,
    "dissimilarity": pl.Float64,
}
CONTROL_MAP_SCHEMA = {"space": pl.String, "concept": pl.String, "valence_predicted": pl.Float64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """The emotion space of a model beside people's, and what can be said of the likeness.

    Attributes:
        rsa: One row per space and comparator, empty without human data. space; role: model, baseline,
            control, attribute (valence, arousal, valence_arousal themselves) or ceiling (ceiling_lower,
            ceiling_upper); comparator; score: mean over raters of the similarity to the single rater, with
            ci_low, ci_high (bootstrap over concepts), p (label permutation) and p_max (the same, for the best
            of all model spaces); ceiling_lower, ceiling_upper of that score; share_of_ceiling: score over
            ceiling_upper; score_mean_rdm, ci_low_mean_rdm, ci_high_mean_rdm, p_mean_rdm, ceiling_mean_rdm:
            the same against the mean of all raters; partial_rho_given_valence: a description, see `tests` for
            the test; n_concepts, n_raters. A row of random draws is the mean over them, with n_draws and
            draws_sd, draws_low, draws_high over single draws; p_random of the space that they stand beside is
            the share of draws that score as well or better.
        between: space_a, space_b, comparator, score, ci_low, ci_high, p, n_concepts: every two spaces.
        rdms: space, concept_a, concept_b, dissimilarity; also for human (the mean over raters), valence,
            arousal and valence_arousal.
        axes: space, method (mds or pca), axis, explained, attribute, r (its size), ci_low, ci_high (below
            zero where the sign is not settled), p, p_max (over the axes), n_concepts.
        coordinates: space, concept, axis_1 ...: MDS; aligned_1 ...: the leading ones turned by Procrustes
            onto `reference`, for one map of all spaces.
        tests: test (beyond_valence, procrustes), space, other, comparator, statistic, expected (its mean
            under permutation, null for procrustes), p, n_permutations, exact, n_concepts.
        notes: topic, note: what was left out, and why.
        reference: The space whose map the others are turned onto: human, or the first one.
        dissimilarity: How the spaces' RDMs are made.
        comparator: The first comparator, for headlines.
        raters: space, role, comparator (the first), rater, score: every space's similarity to each rater.
        control: The concepts without feeling, space by space: r_valence (emotions' valence predicted without
            the emotion itself, against what it is), share (spread of the control concepts along that
            direction over the emotions' own) with ci_low, ci_high; statistic (share of the control concepts'
            variance on the direction), expected (its mean for shuffled valence), p; n_concepts, n_control,
            n_permutations. See `emosae.geometry.control`.
        control_rdms: space, concept_a, concept_b, dissimilarity of the control concepts.
        control_coordinates: space, concept, axis_1 ..., explained_1 ... (MDS), valence_predicted.
    """

    rsa: pl.DataFrame
    between: pl.DataFrame
    rdms: pl.DataFrame
    axes: pl.DataFrame
    coordinates: pl.DataFrame
    tests: pl.DataFrame
    notes: pl.DataFrame
    reference: str
    dissimilarity: str
    comparator: str
    raters: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RATERS_SCHEMA))
    control: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTROL_SCHEMA))
    control_rdms: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTROL_RDM_SCHEMA))
    control_coordinates: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTROL_MAP_SCHEMA))


def study_geometry(
    concept_matrices: Mapping[str, np.ndarray],
    concepts: Sequence[str],
    human: HumanData | None = None,
    config: GeometryConfig | None = None,
    *,
    attributes: pl.DataFrame | None = None,
    roles: Mapping[str, str] | None = None,
    draws: Mapping[str, Draws] | None = None,
    control: ControlSet | None = None,
) -> Geometry:
    """Compare emotion spaces with human similarity judgements and with each other.

    Human data that speak of some of the concepts only are compared on those; the other tables use all. With
    few concepts all orders are permuted: three concepts have six, so that p is never below 1/6.

    Args:
        concept_matrices: Concepts x coordinates by name: the model's features, baselines such as static
            embeddings or random features, other languages. The first one is the main space.
        concepts: Their rows.
        human: Similarity judgements; None compares the spaces with each other only.
        config: Measures and numbers; None for the defaults.
        attributes: Columns concept, valence, arousal; None takes those of the human data.
        roles: Role of a space in the table: model, baseline or control; a space that is not named is a model.
        draws: Random sets of features by the name of their row, for instance `random`; see `random_draws`.
        control: Concepts without feeling in the same spaces; None leaves their tables empty.

    Returns:
        The tables, with a note for whatever was left out.

    Raises:
        UserError: The spaces do not fit the concepts, fewer than three concepts vary, or the human data share
            fewer than four concepts with the study.

    Source: methods.md, section 6; Kriegeskorte, Mur & Bandettini (2008).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> spaces = {"en": rng.random((5, 8)), "zh": rng.random((5, 8))}
        >>> study_geometry(spaces, ["joy", "fear", "anger", "love", "pride"]).between.height
        1
    """
    config = config or GeometryConfig()
    notes: Notes = []
    spaces = read_spaces(concept_matrices, concepts, config.dissimilarity, notes)
    people = None if human is None else read_human(human, spaces.concepts, attributes, notes)
    if people is None:
        notes.append(("human", "No human similarity data: spaces are compared with each other only."))
    known = people.attributes if people else read_attributes(attributes, spaces.concepts, notes)
    known_rows = people.rows if people else np.arange(len(spaces.concepts))
    if len(known_rows) < config.min_concepts_interval:
        notes.append(("intervals", f"Left out: {len(known_rows)} concepts are too few for a bootstrap."))

    axes = space_axes(spaces, config.n_axes)
    maps = {name: (spaces.concepts, axes[name, "mds"]) for name in spaces.rdms}
    judged = _human_axes(people, known, config, notes)
    if people and judged:
        maps["human"] = (people.concepts, judged)
    reference = "human" if judged else next(iter(maps))
    maps[reference] = maps.pop(reference)  # the last map is the one that the others are turned onto
    related = {key: (one, known_rows) for key, one in axes.items()}
    if judged:
        related["human", "mds"] = (judged, np.arange(len(known_rows)))
    shown = pl.concat([rdm_table(spaces.concepts, spaces.rdms)])
    drawn = (
        {
            name: (draws[name].of, rdms)
            for name, rdms in draw_rdms(draws, spaces, list(concepts), config.dissimilarity, notes).items()
        }
        if draws
        else {}
    )
    tested, their_rdms, their_map = _control(control, spaces, known, known_rows, config, notes)
    if people:
        own = {"human": mean_rdm(people.raters)} | attribute_rdms(people.attributes)
        shown = pl.concat([shown, rdm_table(people.concepts, own)])
    return Geometry(
        rsa=rsa_table(spaces, people, roles or {}, config, drawn)
        if people
        else pl.DataFrame(schema=RSA_SCHEMA),
        between=between_table(spaces, config),
        rdms=shown,
        axes=axes_table(related, known, config),
        coordinates=coordinates_table(maps, config),
        tests=pl.DataFrame(
            [*_beyond(spaces, people, config, notes), *_procrustes(maps, config)],
            schema=TEST_SCHEMA,
            orient="row",
        ).with_columns(pl.col(pl.Float64).fill_nan(None)),
        notes=pl.DataFrame(notes, schema={"topic": pl.String, "note": pl.String}, orient="row"),
        reference=reference,
        dissimilarity=str(config.dissimilarity),
        comparator=str(config.comparators[0]),
        raters=raters_table(spaces, people, roles or {}, config.comparators[0])
        if people
        else pl.DataFrame(schema=RATERS_SCHEMA),
        control=tested,
        control_rdms=their_rdms,
        control_coordinates=their_map,
    )


def _control(
    control: ControlSet | None,
    spaces: Spaces,
    known: Mapping[str, np.ndarray],
    rows: np.ndarray,
    config: GeometryConfig,
    notes: Notes,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Look at the concepts without feeling: the valence axis, their RDMs, their map."""
    empty = pl.DataFrame(schema=CONTROL_RDM_SCHEMA), pl.DataFrame(schema=CONTROL_MAP_SCHEMA)
    if control is None:
        return pl.DataFrame(schema=CONTROL_SCHEMA), *empty
    table, projected = control_table(spaces, known, rows, control, config, notes)
    names = [name for name in control.matrices if name in spaces.matrices]
    rdms = control_rdms(control, names, config.dissimilarity, notes)
    return table, *(control_coordinates(control, rdms, projected, config) if rdms else empty)


def _human_axes(
    people: Human | None, attributes: Mapping[str, np.ndarray], config: GeometryConfig, notes: Notes
) -> Axes | None:
    if people is None:
        return None
    average = mean_rdm(people.raters)
    if np.isnan(average).any():
        notes.append(("human", "No map of the human data: some pairs were judged by nobody."))
        return None
    axes = classical_mds(average, config.n_axes)
    # Signs are arbitrary; on the map, pleasant is to the right and exciting is up, where that is known.
    for axis, name in enumerate(("valence", "arousal")):
        if name in attributes and axis < config.n_axes:
            column = axes.coordinates[:, axis]
            if column @ (attributes[name] - attributes[name].mean()) < 0:
                column *= -1
    return axes


def _beyond(
    spaces: Spaces, people: Human | None, config: GeometryConfig, notes: Notes
) -> list[tuple[object, ...]]:
    if people is None or "valence" not in people.attributes:
        return []
    if len(people.concepts) < MIN_CONCEPTS:
        notes.append(
            ("beyond_valence", f"Left out: {len(people.concepts)} concepts, {MIN_CONCEPTS} are needed.")
        )
        return []
    rows: list[tuple[object, ...]] = []
    for name, matrix in spaces.matrices.items():
        found = beyond_valence(
            matrix[people.rows],
            people.attributes["valence"],
            people.raters,
            dissimilarity=config.dissimilarity,
            method=config.comparators[0],
            residuals=config.residuals,
            n_permutations=config.n_permutations,
            seed=config.seed,
        )
        rows.append(
            (
                "beyond_valence",
                name,
                "human",
                str(config.comparators[0]),
                found.score,
                found.expected,
                found.p,
                found.n_permutations,
                False,
                len(people.concepts),
            )
        )
    return rows


def _procrustes(
    maps: Mapping[str, tuple[list[str], Axes]], config: GeometryConfig
) -> list[tuple[object, ...]]:
    k = min(config.n_aligned, config.n_axes)
    rows: list[tuple[object, ...]] = []
    names = list(maps)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            (concepts, axes), (others, other_axes) = maps[name], maps[other]
            shared = [concept for concept in concepts if concept in set(others)]
            permutations = label_permutations(len(shared), config.n_permutations, config.seed)
            correlation, p = procrustes_test(
                axes.coordinates[[concepts.index(c) for c in shared], :k],
                other_axes.coordinates[[others.index(c) for c in shared], :k],
                permutations,
            )
            rows.append(
                (
                    "procrustes",
                    name,
                    other,
                    None,
                    correlation,
                    None,
                    p,
                    len(permutations.orders),
                    permutations.exact,
                    len(shared),
                )
            )
    return rows
