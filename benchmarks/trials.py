"""Simulated studies of which the truth is known, one a call; `simulations.py` runs a thousand of each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats
from scipy.spatial.distance import pdist

from emosae.geometry import GeometryConfig, compare_sites, compute_rdm, random_draws, study_geometry
from emosae.geometry.axes import correlate_axes
from emosae.geometry.bootstrap import bootstrap_scores, draw_multiplicities, fisher_interval
from emosae.geometry.ceiling import others_agreement
from emosae.geometry.comparators import compare, mean_over_raters
from emosae.geometry.direction import spread_interval, valence_axis
from emosae.geometry.one_truth import simulate_one_truth
from emosae.geometry.permutation import label_permutations, mantel_test, permutation_p
from emosae.geometry.procrustes import procrustes_test
from emosae.geometry.raters import rater_spread
from emosae.geometry.valence import beyond_valence
from emosae.ratings.comparison import paired_bootstrap
from emosae.ratings.inner import inner_folds
from emosae.ratings.nested import nested_ridge
from emosae.ratings.ridge import penalty_grid
from emosae.ratings.scores import (
    bootstrap_pearson,
    overlap_factor,
    pearson,
    pearson_interval,
    within_folds,
)
from emosae.selection.exact import benjamini_hochberg, hypergeometric_tail, round_weights, weighted_tail

TESTS = Path(__file__).resolve().parent.parent / "tests"
SEED = 0

Trial = Callable[[np.random.Generator], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """One kind of simulated study.

    Attributes:
        kind: p, test, interval or wide: what a trial returns (p, or 1 where the interval holds the truth) and
            what must be true of it.
        trial: Draws a study and returns its number.
        rests_on: Modules whose code the result belongs to.
        steps: For p of k permutations, k + 1: as p has steps, it is spread within them before it is tested.
    """

    kind: str
    trial: Trial
    rests_on: tuple[str, ...]
    steps: int = 0


class People:
    """Similarity judgements of made-up people."""

    def __init__(self, concepts: list[str], raters: np.ndarray) -> None:
        self.concepts, self.raters, self.attributes = concepts, raters, pl.DataFrame()


def noisy_raters(points: np.ndarray, rng: np.random.Generator, n_raters: int = 6) -> np.ndarray:
    """Raters who see the distances of points with noise, on a scale with ties."""
    distance = pdist(points)
    return np.round(distance + rng.standard_normal((n_raters, len(distance))), 1)


def mantel(rng: np.random.Generator, *, method: str) -> float:
    """A space that shares nothing with the raters."""
    rdm = compute_rdm(rng.standard_normal((12, 8)))
    raters = noisy_raters(rng.standard_normal((12, 2)), rng)
    return float(mantel_test(rdm, raters, method, n_permutations=199, seed=rng).p[0])


def procrustes(rng: np.random.Generator) -> float:
    """Two maps that share nothing."""
    a, b = rng.standard_normal((2, 10, 2))
    return procrustes_test(a, b, label_permutations(10, 199, rng))[1]


def axis(rng: np.random.Generator, *, best: bool) -> float:
    """An axis, or the best of two, that has nothing to do with the attribute."""
    a, b = rng.standard_normal((2, 10, 2))
    found = correlate_axes(a, b[:, 0], label_permutations(10, 199, rng), n_bootstrap=0)
    return float(found.p_max[found.r.argmax()] if best else found.p[0])


def world(n: int, signal: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A space of which `signal` times two dimensions are what the raters see."""
    points = rng.standard_normal((n, 2))
    space = np.hstack([signal * points, rng.standard_normal((n, 6))])
    return pdist(space)[None], noisy_raters(points, rng, 8)


@cache
def true_similarity(signal: float) -> float:
    """The similarity over very many concepts of the same world."""
    rng = np.random.default_rng(SEED)
    return float(np.mean([mean_over_raters(*world(400, signal, rng))[0] for _ in range(4)]))


def similarity_interval(rng: np.random.Generator, *, signal: float) -> float:
    """Whether the bootstrap interval of 27 concepts holds the similarity over very many."""
    rdms, raters = world(27, signal, rng)
    samples = bootstrap_scores(rdms, raters, "rho-a", draw_multiplicities(27, 400, rng))
    low, high = fisher_interval(mean_over_raters(rdms, raters), samples, 27)
    return float(low[0] <= true_similarity(signal) <= high[0])


def axis_interval(rng: np.random.Generator, *, rho: float) -> float:
    """Whether the interval of an axis' correlation holds the true one."""
    values, noise = rng.standard_normal((2, 27))
    attribute = rho * values + np.sqrt(1 - rho**2) * noise
    sign = np.sign(values @ attribute - values.sum() * attribute.mean())
    found = correlate_axes(values[:, None], attribute, label_permutations(27, 1), n_bootstrap=400, seed=rng)
    return float(found.low[0] <= sign * rho <= found.high[0])


def beyond(rng: np.random.Generator, *, residuals: str, share: float = 0.0) -> float:
    """Raters see valence and two more dimensions; the space has valence, bent, and `share` of the others."""
    valence, more = rng.standard_normal(27), rng.standard_normal((27, 2))
    raters = noisy_raters(np.column_stack([1.5 * valence, 0.8 * more]), rng)
    parts = [1.5 * valence, np.tanh(2 * valence), rng.standard_normal((27, 4)), share * more]
    matrix = np.column_stack(parts) @ rng.standard_normal((8, 120)) + rng.standard_normal((27, 120))
    return beyond_valence(matrix, valence, raters, residuals=residuals, n_permutations=99, seed=rng).p


NAMES = [f"emotion{i}" for i in range(9)]
QUICK = GeometryConfig(n_permutations=99, n_bootstrap=0, n_rater_simulations=0, comparators=["pearson"])


def best_site(rng: np.random.Generator) -> float:
    """The best of four sites that share nothing with the raters: p corrected over them."""
    people = People(NAMES, rng.random((2, 36)))
    config = replace(QUICK, seed=int(rng.integers(1 << 30)))
    results = {
        f"layer {i}": study_geometry({"features": rng.standard_normal((9, 6))}, NAMES, people, config)
        for i in range(4)
    }
    found = compare_sites(results, people, config)
    return float(found.filter("best")["p_max"][0])


def random_set(rng: np.random.Generator) -> float:
    """A space that is itself a random set of features, among the random sets it is held against."""
    matrix = rng.random((8, 40))
    people = People(NAMES[:8], rng.random((2, 28)))
    draws = random_draws(matrix, "features", 10, n_draws=19, dissimilarity="euclidean", seed=rng)
    own = matrix[:, rng.choice(40, 10, replace=False)]
    config = replace(QUICK, dissimilarity="euclidean", n_permutations=1)
    found = study_geometry({"features": own}, NAMES[:8], people, config, draws={"draws": draws})
    return float(found.rsa.filter(space="features")["p_random"][0])


def affect(
    rng: np.random.Generator, control_valence: float, n: int = 27, m: int = 18, k: int = 80
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Emotions whose features follow valence; control concepts that follow it as much as asked."""
    direction, valence = rng.standard_normal(k), rng.standard_normal(n)
    emotions = valence[:, None] * direction + 1.5 * rng.standard_normal((n, k))
    control = control_valence * rng.standard_normal(m)[:, None] * direction + 1.5 * rng.standard_normal(
        (m, k)
    )
    return emotions, valence, control


def control_axis(rng: np.random.Generator) -> float:
    """Control concepts that have no valence."""
    return valence_axis(*affect(rng, 0.0), n_permutations=99, seed=rng).p


def control_share(rng: np.random.Generator) -> float:
    """Whether the interval of a ratio of spreads holds the true ratio, a half."""
    low, high = spread_interval(rng.normal(0, 2, 27), rng.normal(0, 1, 27), 0.95)
    return float(low <= 0.5 <= high)


def one_truth(rng: np.random.Generator) -> float:
    """Raters of one truth and unlike reliability, whose noise is other views of whole concepts; a space near it."""
    points = rng.standard_normal((14, 3))
    truth, views = pdist(points), []
    for size in rng.uniform(0.5, 1.5, 12):
        own = pdist(rng.standard_normal((14, 3)))
        views.append(stats.zscore(truth) + size * stats.zscore(own))
    raters = np.round(2 * np.array(views))
    rdm = pdist(points + 0.7 * rng.standard_normal((14, 3)))
    scores, agreement = simulate_one_truth(rdm[None], raters, "spearman", n_simulations=99, seed=rng)
    null = rater_spread(scores, agreement[None])[1][0]
    own_spread = rater_spread(compare(rdm, raters, "spearman")[0], others_agreement(raters, "spearman"))[1]
    return float(permutation_p(own_spread, null, exact=False))


def firing(rng: np.random.Generator, n_features: int) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Features that fire on words at random: on how many of 15 members, and on how many of 120 words."""
    fires = rng.random((120, n_features)) < rng.uniform(0.02, 0.4, n_features)
    return fires[:15].sum(axis=0), fires.sum(axis=0), {"n_positive": 15, "n_negative": 105}


def spread_p(p: np.ndarray, next_p: np.ndarray, rng: np.random.Generator) -> float:
    """Spread the p of a test of few values over its step, which makes it uniform if and only if it is exact."""
    return float((p - rng.random() * (p - next_p))[0])


def exact_test(rng: np.random.Generator, *, spread: bool) -> float:
    """A feature that fires on words at random, as it is, or spread over the steps of its p."""
    support, active, sizes = firing(rng, 1)
    p = hypergeometric_tail(support, active, **sizes)
    if not spread:
        return float(p[0])
    more = hypergeometric_tail(np.minimum(support + 1, 15), active, **sizes)
    return spread_p(p, np.where(support < 15, more, 0.0), rng)


def exact_test_adjusted(rng: np.random.Generator) -> float:
    """The least adjusted p of many such features."""
    support, active, sizes = firing(rng, 400)
    return float(benjamini_hochberg(hypergeometric_tail(support, active, **sizes), 400).min())


def weighted_test(rng: np.random.Generator) -> float:
    """A feature that fires at random, members of unlike weight, spread over the steps of its p."""
    weights = round_weights(rng.uniform(0.2, 1.0, 15))
    fires = rng.random(120) < rng.uniform(0.02, 0.4)
    active, found = np.array([fires.sum()]), np.array([weights[fires[:15]].sum()])
    p, more = (weighted_tail(weights, found + step, active, n_negative=105) for step in (0, 1))
    return spread_p(p, more, rng)


def rated(rng: np.random.Generator, n: int, truth: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ratings and k predictions that correlate with them as much as `truth` says."""
    ratings = rng.standard_normal(n)
    noise = rng.standard_normal((n, k))
    return ratings, truth * ratings[:, None] + np.sqrt(1 - truth**2) * noise


def r_interval(rng: np.random.Generator) -> float:
    """Whether the bootstrap interval over words holds the true correlation."""
    ratings, predicted = rated(rng, 300, 0.6, 1)
    drawn = bootstrap_pearson(ratings, predicted, n_resamples=600, seed=int(rng.integers(1 << 30)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low <= 0.6 <= high)


def cross_validated(rng: np.random.Generator, *, truth: float) -> float:
    """Whether the interval of a cross-validated r holds the mean r that its ten models have with any new words."""
    n, k = 300, 60
    x, weights = rng.standard_normal((n, k)), np.full(k, k**-0.5)
    ratings = truth * x @ weights + np.sqrt(1 - truth**2) * rng.standard_normal(n)
    outer = rng.permutation(n) % 10
    inner = inner_folds(np.arange(n), outer, 5, 0)
    fit = nested_ridge(x, ratings, outer, inner, penalty_grid(1e-3, 1e3, 10), workers=1)
    a, b = within_folds(ratings, outer), within_folds(fit.predicted, outer, scaled=True)
    drawn = bootstrap_pearson(a, b, n_resamples=400, seed=int(rng.integers(1 << 30)))[:, 0]
    low, high = pearson_interval(pearson(a, b[:, 0]), drawn, 0.95, overlap_factor(10))
    models = fit.weights.reshape(10, k)
    reached = truth * models @ weights / np.maximum(np.linalg.norm(models, axis=1), 1e-300)
    return float(low <= reached.mean() <= high)


def paired(rng: np.random.Generator) -> float:
    """Two predictors that are equally good."""
    ratings, predicted = rated(rng, 150, 0.55, 2)
    drawn = bootstrap_pearson(ratings, predicted, n_resamples=300, seed=int(rng.integers(1 << 30)))
    difference = pearson(ratings, predicted[:, 0]) - pearson(ratings, predicted[:, 1])
    return float(paired_bootstrap(difference, drawn[:, 0] - drawn[:, 1], 0.95, 1.0).p)


def groups(rng: np.random.Generator) -> float:
    """Four raters against twenty, of one truth: the study of the tests of rater groups."""
    sys.path.insert(0, str(TESTS))
    try:
        cases = importlib.import_module("test_ratings_groups")
    finally:
        sys.path.remove(str(TESTS))
    return float(cases._study(*cases._world(rng))["p"])


def all_simulations() -> dict[str, Simulation]:
    """Name every simulation, with what must be true of it and the code that it speaks of."""
    permutation = ("geometry.permutation", "geometry.comparators")
    bootstrap = ("geometry.bootstrap", "geometry.comparators")
    study = (*permutation, "geometry.sites", "geometry.rsa", "geometry.draws", "geometry.rdm")
    raters = ("geometry.one_truth", "geometry.raters", "geometry.ceiling", *permutation)
    words = ("ratings.scores", "ratings.comparison")
    fits = ("ratings.groups", "ratings.simulate", "ratings.nested", "ratings.ridge", "ratings.spectral")
    found = {
        f"mantel_{method.replace('-', '_')}": Simulation(
            kind="p", trial=partial(mantel, method=method), rests_on=permutation, steps=200
        )
        for method in ("rho-a", "pearson")
    }
    for name, best in (("axis", False), ("axis_best", True)):
        found[name] = Simulation(
            kind="p",
            trial=partial(axis, best=best),
            rests_on=("geometry.axes", "geometry.permutation"),
            steps=200,
        )
    for name, signal, kind in (
        ("nothing", 0.0, "wide"),
        ("some", 1.0, "interval"),
        ("much", 2.5, "interval"),
    ):
        trial = partial(similarity_interval, signal=signal)
        found[f"similarity_interval_{name}"] = Simulation(kind=kind, trial=trial, rests_on=bootstrap)
    for rho in (0.0, 0.5, 0.9):
        found[f"axis_interval_{rho:g}"] = Simulation(
            kind="interval",
            trial=partial(axis_interval, rho=rho),
            rests_on=("geometry.axes", "geometry.bootstrap"),
        )
    for residuals in ("permutation", "rotation"):
        found[f"beyond_valence_{residuals}"] = Simulation(
            kind="test",
            trial=partial(beyond, residuals=residuals),
            rests_on=("geometry.valence", *permutation),
        )
    return found | {
        "procrustes": Simulation(
            kind="p", trial=procrustes, rests_on=("geometry.procrustes", "geometry.permutation"), steps=200
        ),
        "best_site": Simulation(kind="p", trial=best_site, rests_on=study, steps=100),
        "random_set": Simulation(kind="p", trial=random_set, rests_on=study, steps=20),
        "control_axis": Simulation(kind="test", trial=control_axis, rests_on=("geometry.direction",)),
        "control_share": Simulation(kind="interval", trial=control_share, rests_on=("geometry.direction",)),
        "one_truth": Simulation(kind="p", trial=one_truth, rests_on=raters, steps=100),
        "exact_test": Simulation(
            kind="test", trial=partial(exact_test, spread=False), rests_on=("selection.exact",)
        ),
        "exact_test_spread": Simulation(
            kind="p", trial=partial(exact_test, spread=True), rests_on=("selection.exact",)
        ),
        "exact_test_adjusted": Simulation(
            kind="test", trial=exact_test_adjusted, rests_on=("selection.exact",)
        ),
        "weighted_test_spread": Simulation(kind="p", trial=weighted_test, rests_on=("selection.exact",)),
        "r_interval": Simulation(kind="interval", trial=r_interval, rests_on=words),
        "cross_validated_some": Simulation(
            kind="wide",
            trial=partial(cross_validated, truth=0.4),
            rests_on=("ratings.inner", *fits[2:], *words),
        ),
        "cross_validated_much": Simulation(
            kind="wide",
            trial=partial(cross_validated, truth=0.7),
            rests_on=("ratings.inner", *fits[2:], *words),
        ),
        "paired_bootstrap": Simulation(kind="p", trial=paired, rests_on=words),
        "groups": Simulation(kind="p", trial=groups, rests_on=(*fits, *words), steps=40),
    }


SIMULATIONS = all_simulations()
