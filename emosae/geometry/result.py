"""What a study of the emotion space finds: its tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from emosae.geometry.control import CONTROL_MAP_SCHEMA, CONTROL_RDM_SCHEMA, CONTROL_SCHEMA
from emosae.geometry.latents import CEBRA_MAP_SCHEMA, CEBRA_SCHEMA
from emosae.geometry.raters import RATERS_SCHEMA, RATERS_SUMMARY_SCHEMA
from emosae.geometry.runs import RUNS_SCHEMA

__all__ = ["Geometry"]


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
        raters: space, role, comparator (the first), rater, rho_model, rho_others, disattenuated, n_pairs: every
            space beside each rater; see `emosae.geometry.raters`.
        raters_summary: space, and whether it is closer to some raters than to others: means, disattenuated,
            reliability_others, spread with what one shared truth gives (spread_expected, spread_low,
            spread_high), spread_beyond, p, n_raters, n_simulations.
        control: The concepts without feeling, space by space: r_valence (emotions' valence predicted without
            the emotion itself, against what it is), share (spread of the control concepts along that
            direction over the emotions' own) with ci_low, ci_high; statistic (share of the control concepts'
            variance on the direction), expected (its mean for shuffled valence), p; n_concepts, n_control,
            n_permutations. See `emosae.geometry.control`.
        control_rdms: space, concept_a, concept_b, dissimilarity of the control concepts.
        control_coordinates: space, concept, axis_1 ..., explained_1 ... (MDS), valence_predicted.
        runs: Every space beside that of other models' runs (`geometry.compare`): run, model, other_site, space,
            other_space, kind, comparator, score, ci_low, ci_high, p, n_concepts; see `emosae.geometry.runs`.
        cebra: CEBRA latents, fitted to labels and to shuffled ones: see `emosae.geometry.latents`.
        cebra_coordinates: space, labels (true or shuffled, one of the shuffles), concept, latent_1 ....
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
    raters_summary: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RATERS_SUMMARY_SCHEMA))
    control: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTROL_SCHEMA))
    control_rdms: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTROL_RDM_SCHEMA))
    control_coordinates: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONTROL_MAP_SCHEMA))
    runs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RUNS_SCHEMA))
    cebra: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CEBRA_SCHEMA))
    cebra_coordinates: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CEBRA_MAP_SCHEMA))

    def _repr_html_(self) -> str:
        from emosae.notebook import result_html

        return result_html(self)
