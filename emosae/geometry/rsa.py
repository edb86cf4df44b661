"""The table of likeness: every space, its controls and baselines beside people, like with like."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from emosae.geometry.ceiling import mean_rdm, mean_rdm_ceiling, noise_ceiling
from emosae.geometry.comparators import compare, mean_over_raters
from emosae.geometry.config import GeometryConfig
from emosae.geometry.inputs import Human, Spaces
from emosae.geometry.permutation import (
    Permutations,
    label_permutations,
    mantel_null,
    permutation_p,
    score,
    target,
)
from emosae.geometry.tables import attribute_rdms, interval, multiplicities
from emosae.geometry.valence import partial_rho

__all__ = ["RSA_SCHEMA", "rsa_table"]

RSA_SCHEMA = {
    "space": pl.String,
    "role": pl.String,
    "comparator": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "p": pl.Float64,
    "p_max": pl.Float64,
    "ceiling_lower": pl.Float64,
    "ceiling_upper": pl.Float64,
    "share_of_ceiling": pl.Float64,
    "score_mean_rdm": pl.Float64,
    "ci_low_mean_rdm": pl.Float64,
    "ci_high_mean_rdm": pl.Float64,
    "p_mean_rdm": pl.Float64,
    "ceiling_mean_rdm": pl.Float64,
    "partial_rho_given_valence": pl.Float64,
    "n_concepts": pl.Int64,
    "n_raters": pl.Int64,
    "p_random": pl.Float64,
    "n_draws": pl.Int64,
    "draws_sd": pl.Float64,
    "draws_low": pl.Float64,
    "draws_high": pl.Float64,
}


def rsa_table(
    spaces: Spaces,
    human: Human,
    roles: Mapping[str, str],
    config: GeometryConfig,
    drawn: Mapping[str, tuple[str, np.ndarray]] | None = None,
) -> pl.DataFrame:
    """Compare every space, and valence and arousal themselves, with the raters: like with like.

    Every number of a row is the same measure for all rows: `score` the mean over raters of the similarity to
    the single rater, `score_mean_rdm` the similarity to the mean of all raters, each beside its own ceiling.

    Args:
        spaces: The spaces and their RDMs.
        human: The raters' judgements.
        roles: Role of a space; a space that is not named is a model.
        config: Measures and numbers.
        drawn: Random draws by the name of their row: the space that they are compared with, and their RDMs
            [draws, pairs]. Such a row is the mean over its draws in every column, permutations and bootstrap
            samples included; `draws_sd`, `draws_low`, `draws_high` tell how far single draws lie apart.
    """
    drawn = drawn or {}
    by_attribute = attribute_rdms(human.attributes)
    names = [*spaces.rdms, *by_attribute, *drawn]
    role = [
        *(roles.get(name, "model") for name in spaces.rdms),
        *("attribute" for _ in by_attribute),
        *("control" for _ in drawn),
    ]
    parts = [
        *(rdm[human.pairs][None] for rdm in spaces.rdms.values()),
        *(rdm[None] for rdm in by_attribute.values()),
        *(rdms[:, human.pairs] for _, rdms in drawn.values()),
    ]
    rdms = np.concatenate(parts)
    bounds = np.cumsum([0, *(len(part) for part in parts)])

    def merged(values: np.ndarray) -> np.ndarray:
        """Average the values of each row's RDMs: one RDM, or the draws of a random row."""
        return np.array([values[a:b].mean(axis=0) for a, b in itertools.pairwise(bounds)])

    average = mean_rdm(human.raters)[None]
    n = len(human.concepts)
    permutations = label_permutations(n, config.n_permutations, config.seed)
    counts = multiplicities(n, config)
    partial = [
        float(np.mean([partial_rho(rdm, human.raters, by_attribute["valence"]) for rdm in part]))
        if "valence" in by_attribute and not name.startswith("valence")
        else None
        for name, part in zip(names, parts, strict=True)
    ]
    rows = []
    for comparator in config.comparators:
        low, high = noise_ceiling(human.raters, comparator)
        single = mean_over_raters(rdms, human.raters, comparator)
        own, pooled = merged(single), merged(compare(rdms, average, comparator)[:, 0])
        spread = _spread(names, single, bounds, drawn, config.confidence)
        models = np.array(role) == "model"
        p, p_max = _permuted(rdms, human.raters, comparator, permutations, models, merged)
        p_pooled, _ = _permuted(rdms, average, comparator, permutations, np.zeros_like(models), merged)
        ci_low, ci_high = interval(own, rdms, human.raters, comparator, counts, config, merged)
        pooled_low, pooled_high = interval(pooled, rdms, average, comparator, counts, config, merged)
        ceiling_mean = mean_rdm_ceiling(human.raters, comparator, seed=config.seed)
        common = {
            "comparator": str(comparator),
            "ceiling_lower": low,
            "ceiling_upper": high,
            "ceiling_mean_rdm": ceiling_mean,
            "n_concepts": n,
            "n_raters": len(human.raters),
        }
        for index, name in enumerate(names):
            rows.append(
                common
                | {
                    "space": name,
                    "role": role[index],
                    "score": own[index],
                    "ci_low": ci_low[index],
                    "ci_high": ci_high[index],
                    "p": p[index],
                    "p_max": p_max[index],
                    "share_of_ceiling": own[index] / high if high > 0 else None,
                    "score_mean_rdm": pooled[index],
                    "ci_low_mean_rdm": pooled_low[index],
                    "ci_high_mean_rdm": pooled_high[index],
                    "p_mean_rdm": p_pooled[index],
                    "partial_rho_given_valence": partial[index],
                }
                | spread.get(name, {})
            )
        for name, bound, mean_bound in (("ceiling_lower", low, None), ("ceiling_upper", high, ceiling_mean)):
            rows.append(
                common | {"space": name, "role": "ceiling", "score": bound, "score_mean_rdm": mean_bound}
            )
    table = pl.DataFrame(rows, schema=RSA_SCHEMA)
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def _spread(
    names: list[str],
    single: np.ndarray,
    bounds: np.ndarray,
    drawn: Mapping[str, tuple[str, np.ndarray]],
    confidence: float,
) -> dict[str, dict[str, float | int]]:
    """Tell how single draws lie about their mean, and how often one reaches the space it stands beside."""
    found: dict[str, dict[str, float | int]] = {}
    for name, (of, rdms) in drawn.items():
        start = bounds[names.index(name)]
        scores = single[start : start + len(rdms)]
        low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
        found[name] = {
            "n_draws": len(rdms),
            "draws_sd": float(scores.std(ddof=1)) if len(rdms) > 1 else float("nan"),
            "draws_low": float(low),
            "draws_high": float(high),
        }
        beaten = permutation_p(single[bounds[names.index(of)]], scores, exact=False)
        found[of] = {"p_random": float(beaten), "n_draws": len(rdms)}
    return found


def _permuted(
    rdms: np.ndarray,
    raters: np.ndarray,
    comparator: str,
    permutations: Permutations,
    models: np.ndarray,
    merged: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Permutation p of each row, and for the models p of the best of them; NaN for the others."""
    aim = target(raters, comparator)
    observed, null = merged(score(rdms, aim)), merged(mantel_null(rdms, aim, permutations))
    p_max = np.full(len(observed), np.nan)
    if models.any():
        best = np.fmax.reduce(null[models], axis=0)
        p_max[models] = permutation_p(
            observed[models], np.broadcast_to(best, null[models].shape), exact=permutations.exact
        )
    return permutation_p(observed, null, exact=permutations.exact), p_max
