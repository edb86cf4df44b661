"""Whose emotions? Every rater beside the space, and whether the space is closer to some than to others.

A rater who agrees little with the others agrees little with any model, so plain scores say more about the raters'
care than about whom the model resembles. Each rater's score therefore stands beside the rater's agreement with the
mean of the others, and the spread of the raters about what that agreement predicts is held against simulations in
which all raters share one truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from emosae.geometry.ceiling import others_agreement, others_reliability
from emosae.geometry.comparators import compare
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import Human, Notes, Spaces
from emosae.geometry.measures import Comparator
from emosae.geometry.one_truth import simulate_one_truth
from emosae.geometry.permutation import permutation_p
from emosae.geometry.tables import attribute_rdms

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["RATERS_SCHEMA", "RATERS_SUMMARY_SCHEMA", "rater_spread", "raters_tables"]

MIN_RATERS = 3
"""Two raters agree with each other equally: nothing tells them apart."""

LEAST_AGREEMENT = 0.1
"""A rater below it has no disattenuated value: dividing by next to nothing gives anything."""

RATERS_SCHEMA = {
    "space": pl.String,
    "role": pl.String,
    "comparator": pl.String,
    "rater": pl.Int64,
    "rho_model": pl.Float64,
    "rho_others": pl.Float64,
    "disattenuated": pl.Float64,
    "n_pairs": pl.Int64,
}
RATERS_SUMMARY_SCHEMA = {
    "space": pl.String,
    "role": pl.String,
    "comparator": pl.String,
    "rho_model": pl.Float64,
    "rho_others": pl.Float64,
    "disattenuated": pl.Float64,
    "reliability_others": pl.Float64,
    "spread": pl.Float64,
    "spread_expected": pl.Float64,
    "spread_low": pl.Float64,
    "spread_high": pl.Float64,
    "spread_beyond": pl.Float64,
    "p": pl.Float64,
    "n_raters": pl.Int64,
    "n_simulations": pl.Int64,
}


def raters_tables(
    spaces: Spaces, human: Human, roles: Mapping[str, str], config: GeometryConfig, notes: Notes
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compare every space, and valence and arousal themselves, with each rater.

    Raters are numbered from 0, those left out for saying nothing not counted. With tau-a nothing is
    disattenuated, which is for correlations only, and with fewer than three raters nothing is simulated.

    Args:
        spaces: The spaces and their RDMs.
        human: The raters' judgements.
        roles: Role of a space; a space that is not named is a model.
        config: Comparator (the first), number of simulations, coverage, seed.
        notes: Takes what is left out.

    Returns:
        A row for each space and rater: rho_model (similarity of the space to the rater; its mean over raters is
        the space's `score`), rho_others (of the rater to the mean of the other raters), disattenuated
        (rho_model / rho_others * the root of the reliability of the others' mean: what the similarity to the
        truth that the rater shares with the others would be; null below an agreement of 0.1), n_pairs (judged).
        And a row for each space: means of both; disattenuated (the slope of rho_model on rho_others through
        zero, times the same root); reliability_others; spread (standard deviation of the raters about that
        line); spread_expected, spread_low, spread_high (the same where all raters share one truth: root mean
        square and the middle of the simulations); spread_beyond (standard deviation of the disattenuated
        similarity among raters that one truth does not explain, 0 where it explains all); p (share of
        simulations with as large a spread); n_raters; n_simulations.

    Source: methods.md, section 7; Spearman (1904) for disattenuation.
    """
    comparator, raters = config.comparators[0], human.raters
    by_attribute = attribute_rdms(human.attributes)
    rdms = {name: rdm[human.pairs] for name, rdm in spaces.rdms.items()} | by_attribute
    role = {name: roles.get(name, "model") for name in spaces.rdms} | dict.fromkeys(by_attribute, "attribute")
    scores = compare(np.array(list(rdms.values())), raters, comparator)
    agreement, reliability = others_agreement(raters, comparator), others_reliability(raters, comparator)
    root = np.sqrt(reliability) if comparator is not Comparator.TAU_A else np.nan
    sure = np.where(agreement >= LEAST_AGREEMENT, agreement, np.nan)
    n_pairs = (~np.isnan(raters)).sum(axis=1)
    table = pl.concat(
        pl.DataFrame(
            {
                "space": [name] * len(raters),
                "role": [role[name]] * len(raters),
                "comparator": [str(comparator)] * len(raters),
                "rater": np.arange(len(raters)),
                "rho_model": scores[row],
                "rho_others": agreement,
                "disattenuated": scores[row] / sure * root,
                "n_pairs": n_pairs,
            },
            schema=RATERS_SCHEMA,
        )
        for row, name in enumerate(rdms)
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    null = _null(rdms, raters, config, len(human.concepts), notes)
    rows = []
    for row, name in enumerate(rdms):
        slope, spread = rater_spread(scores[row], agreement)
        one: dict[str, object] = {
            "space": name,
            "role": role[name],
            "comparator": str(comparator),
            "rho_model": scores[row].mean(),
            "rho_others": agreement.mean(),
            "disattenuated": float(slope * root),
            "reliability_others": reliability,
            "spread": float(spread),
            "n_raters": len(raters),
        }
        if null is not None and np.isfinite(spread):
            one |= _against(float(spread), null[row], root / agreement.mean(), config.confidence)
        rows.append(one)
    summary = pl.DataFrame(rows, schema=RATERS_SUMMARY_SCHEMA)
    return table, summary.with_columns(pl.col(pl.Float64).fill_nan(None))


def rater_spread(
    scores: Float[np.ndarray, "... raters"], agreement: Float[np.ndarray, "... raters"]
) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...]]:
    """Return the slope of scores on agreement through zero, and the standard deviation about that line.

    Raters who share one truth differ from the line by their noise alone: the similarity to a rater is that to
    the truth times the rater's own to the truth.

    Args:
        scores: Similarity of the space to each rater, along the last axis.
        agreement: Similarity of each rater to the mean of the others.

    Example:
        >>> [round(float(x), 3) for x in rater_spread(np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.4, 0.6]))]
        [0.5, 0.0]
    """
    square = (agreement**2).sum(axis=-1)
    slope = (scores * agreement).sum(axis=-1) / np.where(square > 0, square, np.nan)
    about = scores - slope[..., None] * agreement
    return slope, np.sqrt((about**2).sum(axis=-1) / max(scores.shape[-1] - 1, 1))


def _null(
    rdms: Mapping[str, np.ndarray], raters: np.ndarray, config: GeometryConfig, n_concepts: int, notes: Notes
) -> Float[np.ndarray, "spaces simulations"] | None:
    """The spread of each space where all raters share one truth; None where that cannot be simulated."""
    if (
        not config.n_rater_simulations or len(raters) < 2
    ):  # of one rater, or a mean, something is said elsewhere
        return None
    why = {
        f"it needs {MIN_RATERS} raters, got {len(raters)}": len(raters) < MIN_RATERS,
        f"it needs {config.min_concepts_interval} concepts, got {n_concepts}": n_concepts
        < config.min_concepts_interval,
        "tau-a is no correlation": config.comparators[0] is Comparator.TAU_A,
    }
    for reason, holds in why.items():
        if holds:
            notes.append(("raters", f"Whether the spaces are closer to some raters is not tested: {reason}."))
            return None
    scores, agreement = simulate_one_truth(
        np.array(list(rdms.values())),
        raters,
        config.comparators[0],
        n_simulations=config.n_rater_simulations,
        seed=config.seed,
    )
    return np.asarray(rater_spread(scores, agreement[None])[1])


def _against(spread: float, null: np.ndarray, unit: float, confidence: float) -> dict[str, object]:
    """Hold a spread against those of one shared truth."""
    expected = float(np.sqrt((null**2).mean()))
    low, high = np.quantile(null, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {
        "spread_expected": expected,
        "spread_low": float(low),
        "spread_high": float(high),
        "spread_beyond": float(np.sqrt(max(spread**2 - expected**2, 0.0)) * unit),
        "p": float(permutation_p(np.array(spread), null, exact=False)),
        "n_simulations": len(null),
    }
