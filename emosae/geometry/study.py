"""A study of the emotion space: the model's, its baselines', and people's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from emosae.geometry.axes import Axes, classical_mds
from emosae.geometry.ceiling import mean_rdm
from emosae.geometry.config import GeometryConfig
from emosae.geometry.control import (
    CONTROL_MAP_SCHEMA,
    CONTROL_RDM_SCHEMA,
    CONTROL_SCHEMA,
    ControlSet,
    control_coordinates,
    control_rdms,
    control_table,
)
from emosae.geometry.draws import Draws, draw_rdms
from emosae.geometry.hypotheses import TEST_SCHEMA, beyond_rows, procrustes_rows
from emosae.geometry.inputs import Human, HumanData, Notes, Spaces, read_attributes, read_human, read_spaces
from emosae.geometry.latents import Words, latent_tables
from emosae.geometry.raters import RATERS_SCHEMA, RATERS_SUMMARY_SCHEMA, raters_tables
from emosae.geometry.result import Geometry
from emosae.geometry.rsa import RSA_SCHEMA, rsa_table
from emosae.geometry.runs import compare_runs
from emosae.geometry.tables import (
    attribute_rdms,
    axes_table,
    between_table,
    coordinates_table,
    rdm_table,
    space_axes,
)

__all__ = ["study_geometry"]


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
    words: Mapping[str, Words] | None = None,
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
        words: Single words of the concepts in the same spaces, for CEBRA's latents (`geometry.cebra`); None
            fits them to the concepts, with valence and arousal for labels.

    Returns:
        The tables, with a note for whatever was left out.

    Raises:
        UserError: The spaces do not fit the concepts, fewer than three concepts vary, the human data or an
            earlier run share fewer than four concepts with the study, or CEBRA is asked for and not installed.

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
    beside = compare_runs(spaces, config, notes)
    latents = latent_tables(spaces, people, known, known_rows, roles or {}, words, config, notes)
    of_raters, of_groups = (
        raters_tables(spaces, people, roles or {}, config, notes)
        if people
        else (pl.DataFrame(schema=RATERS_SCHEMA), pl.DataFrame(schema=RATERS_SUMMARY_SCHEMA))
    )
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
            [*beyond_rows(spaces, people, config, notes), *procrustes_rows(maps, config)],
            schema=TEST_SCHEMA,
            orient="row",
        ).with_columns(pl.col(pl.Float64).fill_nan(None)),
        notes=pl.DataFrame(notes, schema={"topic": pl.String, "note": pl.String}, orient="row"),
        reference=reference,
        dissimilarity=str(config.dissimilarity),
        comparator=str(config.comparators[0]),
        raters=of_raters,
        raters_summary=of_groups,
        control=tested,
        control_rdms=their_rdms,
        control_coordinates=their_map,
        runs=beside,
        cebra=latents[0],
        cebra_coordinates=latents[1],
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
