"""From words and their features to the features of each concept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from scipy import sparse

from emosae.errors import UserError, unknown_name
from emosae.selection.config import SelectionConfig
from emosae.selection.membership import check_features, read_membership
from emosae.selection.scores import score_features
from emosae.selection.sets import CONTROL, SET_SCHEMA, SPACE, UNIVERSAL, feature_sets, match_control
from emosae.selection.stability import STABILITY_SCHEMA
from emosae.selection.tables import column_statistics, firing_words, score_tables

__all__ = ["Selection", "select_features"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The features of each concept in each language, and how they were found.

    Attributes:
        scores: The best candidates of each language and concept, all selected ones included: language,
            concept, feature, auroc, mean_difference, mutual_information (nats), p (exact, one-sided),
            p_adjusted (Benjamini-Hochberg over all features x concepts of the language), support (members on
            which it is active), density (share of all words of the language on which it is active), rank
            (from 1, the order of selection), significant (p_adjusted <= alpha), selected.
        sets: set, concept, feature; see `feature_sets`, and `control`, features outside the space matched to
            it in number, density and mean activation, never significant for any concept.
        words: language, concept, feature, word, activation, in_concept: the words that fire each selected
            feature most, whether they belong to its concept or not.
        summary: One row per language and concept: n_words (members used), n_missing (members without
            features), n_shared (members that belong to other concepts too), n_negatives, n_candidates,
            n_significant (of the candidates), n_selected, note.
        matching: feature, control, density, control_density, mean_activation, control_mean_activation.
        notes: topic, note: what a reader must know, in plain sentences.
        n_features: Number of features of the SAE.
        alpha: False discovery rate of `significant`.
        stability: Split-half agreement of each set, see `emosae.selection.split_half_stability`; empty unless a
            study asked for it.
    """

    scores: pl.DataFrame
    sets: pl.DataFrame
    words: pl.DataFrame
    summary: pl.DataFrame
    matching: pl.DataFrame
    notes: pl.DataFrame
    n_features: int
    alpha: float
    stability: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=STABILITY_SCHEMA))

    def _repr_html_(self) -> str:
        from emosae.notebook import result_html

        return result_html(self)

    def features(self, name: str, concept: str | None = None) -> np.ndarray:
        """Return the distinct features of a set, increasing.

        Args:
            name: A set: a language, `universal`, `space`, `<language>_only` or `control`.
            concept: Only the features that the set holds for this concept; None for all.

        Raises:
            UserError: There is no such set or concept. A set that holds nothing is an empty array.
        """
        known = [*self.sets["set"].unique(), *self._set_names()]
        if name not in known:
            raise unknown_name("feature set", name, set(known))
        rows = self.sets.filter(pl.col("set") == name)
        if concept is not None:
            concepts = self.summary["concept"].unique().to_list()
            if concept not in concepts:
                raise unknown_name("concept", concept, concepts)
            rows = rows.filter(pl.col("concept") == concept)
        return np.unique(rows["feature"].to_numpy())

    def _set_names(self) -> list[str]:
        languages = self.summary["language"].unique().to_list()
        only = [f"{language}_only" for language in languages] if len(languages) > 1 else []
        return [*languages, *only, UNIVERSAL, SPACE, CONTROL]


def select_features(
    csr: sparse.csr_array,
    items: pl.DataFrame,
    words: pl.DataFrame,
    neutral: pl.DataFrame | None,
    *,
    languages: Sequence[str] | None = None,
    config: SelectionConfig | None = None,
) -> Selection:
    """Find the features that read each concept, language by language.

    The word is the unit: `csr` has one row per word, its readings already averaged. For every concept the
    members are compared with the words of the other concepts and the neutral words; a word of several
    concepts is a member of each and a non-member of none. All features are scored, AUROC ranks and the exact
    test on active words decides (see `SelectionConfig` for the order).

    The exact test is conservative with a dozen words, so a concept may have few significant features or none.
    Rather than an empty emotion space the best candidates then fill the set up to `min_features`, and
    `significant` says which rows passed: claims rest on those, description may use the others.

    Args:
        csr: Words x features, non-negative, one row per word and language.
        items: Columns word and language, one row for each row of `csr`. Words that belong to no concept and
            are not neutral count for density and among the words that fire a feature, and nothing else.
        words: Columns concept, language, word and, if weighted, weight (above 0). With unequal weights AUROC
            and the mean difference are weighted and p is the permutation p of the weight of active members.
        neutral: Columns language and word; None for no neutral words.
        languages: Languages to select in; None for those of `words`, in their order.
        config: Thresholds and sizes; None for the defaults.

    Returns:
        The selection, with a note for whatever a reader must know.

    Raises:
        UserError: Rows and items differ in number, a word occurs twice, activations are negative or not
            finite, a language or all words of a concept are missing, or a concept has nothing to be told
            from.

    Source: methods.md, section 5; Mann & Whitney (1947) for AUROC; Fisher (1935) for the exact test.
    """
    config = config or SelectionConfig()
    csr = check_features(csr, items)
    languages = list(dict.fromkeys(words["language"] if languages is None else languages))
    concepts = list(dict.fromkeys(words["concept"]))
    if not languages or not concepts:
        raise UserError(
            f"The concept words must hold at least one word, got {words.height} words in {languages}. "
            "Give words for each concept."
        )
    notes: list[tuple[str, str]] = []
    scores, fired, summaries, significant, rows = [], [], [], [], []
    for language in languages:
        membership = read_membership(items, words, neutral, language=language, concepts=concepts)
        if membership.n_neutral_shared:
            notes.append(
                (
                    language,
                    f"{membership.n_neutral_shared} neutral words also belong to a concept and count there.",
                )
            )
        scored = score_features(csr[membership.rows], membership.weights, membership.neutral)
        density, _ = column_statistics(csr, membership.language_rows)
        table, summary = score_tables(scored, density, membership, config)
        scores.append(table)
        summaries.append(summary)
        fired.append(firing_words(csr, items, membership, table.filter("selected"), config.n_words))
        significant.append(scored.features[(scored.p_adjusted <= config.alpha).any(axis=0)])
        rows.append(membership.language_rows)
        logger.info("%s: %d features scored for %d concepts", language, len(scored.features), len(concepts))
    all_scores, summary = pl.concat(scores), pl.concat(summaries)
    sets = feature_sets(all_scores.filter("selected"), languages)
    sets, matching = _add_control(csr, np.concatenate(rows), sets, np.concatenate(significant), config)
    notes += _notes(languages, sets, summary, matching, config)
    return Selection(
        scores=all_scores,
        sets=sets,
        words=pl.concat(fired),
        summary=summary,
        matching=matching,
        notes=pl.DataFrame(notes, schema={"topic": pl.String, "note": pl.String}, orient="row"),
        n_features=csr.shape[1],
        alpha=config.alpha,
    )


def _add_control(
    csr: sparse.csr_array,
    rows: np.ndarray,
    sets: pl.DataFrame,
    significant: np.ndarray,
    config: SelectionConfig,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    density, activation = column_statistics(csr, rows)
    space = np.unique(sets.filter(pl.col("set") == SPACE)["feature"].to_numpy())
    allowed = density <= config.max_density
    allowed[space] = False
    allowed[significant] = False
    matched, control = match_control(space, allowed, density, activation)
    matching = pl.DataFrame(
        {
            "feature": matched,
            "control": control,
            "density": density[matched],
            "control_density": density[control],
            "mean_activation": activation[matched],
            "control_mean_activation": activation[control],
        }
    )
    own = pl.DataFrame(
        {"set": [CONTROL] * len(control), "concept": [None] * len(control), "feature": np.sort(control)},
        schema=SET_SCHEMA,
    )
    return pl.concat([sets, own]), matching


def _notes(
    languages: list[str],
    sets: pl.DataFrame,
    summary: pl.DataFrame,
    matching: pl.DataFrame,
    config: SelectionConfig,
) -> list[tuple[str, str]]:
    notes = []
    size = dict(sets.group_by("set").agg(pl.col("feature").n_unique()).iter_rows())
    if len(languages) == 1:
        notes.append((UNIVERSAL, f"There is one language; the universal set is the set of {languages[0]!r}."))
    elif not size.get(UNIVERSAL):
        notes.append(
            (UNIVERSAL, f"No feature is selected in each of {', '.join(languages)}; the set is empty.")
        )
    filled = int((summary["n_selected"] - summary["n_significant"]).clip(lower_bound=0).sum())
    if filled:
        notes.append(
            (
                SPACE,
                f"{filled} of {summary['n_selected'].sum()} selections are not significant at a false "
                f"discovery rate of {config.alpha:g}; they fill concepts up to {config.min_features}.",
            )
        )
    without = summary.filter(pl.col("n_selected") == 0)
    if without.height:
        named = ", ".join(
            f"{concept} ({language})" for language, concept in without.select("language", "concept").rows()
        )
        notes.append((SPACE, f"Nothing is selected for {named}."))
    if matching.height < size.get(SPACE, 0):
        notes.append(
            (
                CONTROL,
                f"Only {matching.height} of {size[SPACE]} features of the space have a matched control.",
            )
        )
    return notes
