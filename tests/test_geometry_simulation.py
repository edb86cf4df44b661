"""Do p-values and intervals hold? Fast checks of a few hundred trials; the full ones are marked slow.

Stored results of the slow runs (1,000 trials, numpy 2.4, seed 0) stand beside each bound.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist

from emosae.geometry import compute_rdm
from emosae.geometry.axes import correlate_axes
from emosae.geometry.bootstrap import bootstrap_scores, draw_multiplicities, fisher_interval
from emosae.geometry.comparators import mean_over_raters
from emosae.geometry.permutation import label_permutations, mantel_test
from emosae.geometry.procrustes import procrustes_test
from emosae.geometry.valence import beyond_valence

FEW, MANY = 200, 1000
TRIALS = [pytest.param(FEW, id="fast"), pytest.param(MANY, id="full", marks=pytest.mark.slow)]


def _raters(points: np.ndarray, rng: np.random.Generator, n_raters: int = 6) -> np.ndarray:
    distance = pdist(points)
    return np.round(distance + rng.standard_normal((n_raters, len(distance))), 1)  # with ties, as scales have


def _uniform(p: list[float]) -> bool:
    """Kolmogorov-Smirnov at the 0.1 % level: a test that fails by chance once in a thousand seeds."""
    return bool(stats.kstest(p, "uniform").pvalue > 1e-3)


def _rate(hits: list[bool], nominal: float) -> bool:
    """The rate is within four standard errors of the nominal one."""
    return bool(abs(np.mean(hits) - nominal) < 4 * np.sqrt(nominal * (1 - nominal) / len(hits)))


@pytest.mark.parametrize("n_trials", TRIALS)
@pytest.mark.parametrize("method", ["rho-a", "pearson"])
def test_mantel_p_is_uniform_when_nothing_is_shared(method: str, n_trials: int) -> None:
    """Stored: 5.3 % (rho-a) and 5.1 % (pearson) at the 5 % level."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(n_trials):
        rdm = compute_rdm(rng.standard_normal((12, 8)))
        found = mantel_test(
            rdm, _raters(rng.standard_normal((12, 2)), rng), method, n_permutations=199, seed=rng
        )
        p.append(found.p[0])
    assert _uniform(p)
    assert _rate([one <= 0.05 for one in p], 0.05)


@pytest.mark.parametrize("n_trials", TRIALS)
def test_procrustes_and_axis_p_are_uniform_when_nothing_is_shared(n_trials: int) -> None:
    rng = np.random.default_rng(0)
    aligned, axis, best = [], [], []
    for _ in range(n_trials):
        orders = label_permutations(10, 199, rng)
        a, b = rng.standard_normal((2, 10, 2))
        aligned.append(procrustes_test(a, b, orders)[1])
        found = correlate_axes(a, b[:, 0], orders, n_bootstrap=0)
        axis.append(found.p[0])
        best.append(found.p_max[found.r.argmax()])
    assert _uniform(aligned)
    assert _uniform(axis)
    assert _uniform(best)


@pytest.mark.parametrize(
    ("signal", "n_trials"),
    [(1.0, FEW), *(pytest.param(signal, MANY, marks=pytest.mark.slow) for signal in (0.0, 1.0, 2.5))],
)
def test_bootstrap_interval_covers(signal: float, n_trials: int) -> None:
    """The truth is the score over very many concepts of the same world; 27 concepts are seen."""
    rng = np.random.default_rng(0)

    def world(n: int) -> tuple[np.ndarray, np.ndarray]:
        points = rng.standard_normal((n, 2))
        space = np.hstack([signal * points, rng.standard_normal((n, 6))])
        return pdist(space)[None], _raters(points, rng, 8)

    truth = np.mean([mean_over_raters(*world(400))[0] for _ in range(4)])
    covered = []
    for _ in range(n_trials):
        rdms, raters = world(27)
        samples = bootstrap_scores(rdms, raters, "rho-a", draw_multiplicities(27, 400, rng))
        low, high = fisher_interval(mean_over_raters(rdms, raters), samples, 27)
        covered.append(bool(low[0] <= truth <= high[0]))
    margin = 3 * np.sqrt(0.05 * 0.95 / n_trials)
    assert 0.93 - margin <= np.mean(covered) <= 0.97 + margin


@pytest.mark.parametrize("n_trials", TRIALS)
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_axis_interval_covers(rho: float, n_trials: int) -> None:
    rng = np.random.default_rng(0)
    orders = label_permutations(27, 1)
    covered = []
    for _ in range(n_trials):
        axis, noise = rng.standard_normal((2, 27))
        attribute = rho * axis + np.sqrt(1 - rho**2) * noise
        sign = np.sign(axis @ attribute - axis.sum() * attribute.mean())
        found = correlate_axes(axis[:, None], attribute, orders, n_bootstrap=400, seed=rng)
        covered.append(bool(found.low[0] <= sign * rho <= found.high[0]))
    margin = 3 * np.sqrt(0.05 * 0.95 / n_trials)
    assert 0.93 - margin <= np.mean(covered) <= 0.97 + margin


def _beyond(rng: np.random.Generator, *, share: float, residuals: str) -> float:
    """Raters see valence and two more dimensions; the space has valence, bent, and `share` of the others."""
    valence, more = rng.standard_normal(27), rng.standard_normal((27, 2))
    raters = _raters(np.column_stack([1.5 * valence, 0.8 * more]), rng)
    hidden = np.column_stack(
        [1.5 * valence, np.tanh(2 * valence), rng.standard_normal((27, 4)), share * more]
    )
    matrix = hidden @ rng.standard_normal((8, 120)) + rng.standard_normal((27, 120))
    return beyond_valence(matrix, valence, raters, residuals=residuals, n_permutations=99, seed=rng).p


@pytest.mark.parametrize("n_trials", TRIALS)
@pytest.mark.parametrize("residuals", ["permutation", "rotation"])
def test_beyond_valence_rejects_no_more_than_it_may(residuals: str, n_trials: int) -> None:
    rng = np.random.default_rng(0)
    rejected = np.mean([_beyond(rng, share=0.0, residuals=residuals) <= 0.05 for _ in range(n_trials)])
    assert rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n_trials)


@pytest.mark.parametrize(("residuals", "least"), [("permutation", 0.45), ("rotation", 0.6)])
def test_beyond_valence_finds_what_is_shared_beyond_it(residuals: str, least: float) -> None:
    """Stored: 57 % by permutation, 88 % by rotation, for two more dimensions at half of valence's weight."""
    rng = np.random.default_rng(0)
    found = np.mean([_beyond(rng, share=0.8, residuals=residuals) <= 0.05 for _ in range(FEW)])
    assert found > least


def test_a_partial_mantel_test_would_not_hold() -> None:
    """What `beyond_valence` is for: partial rho under permuted labels rejects when all is valence."""
    from emosae.geometry.permutation import pair_orders
    from emosae.geometry.valence import partial_rho

    rng = np.random.default_rng(0)
    rejected = []
    for _ in range(30):
        valence = rng.standard_normal(20) ** 3
        raters = pdist(np.tanh(valence)[:, None])[None] + 0.1 * rng.standard_normal((1, 190))
        rdm, given = pdist(np.tanh(2 * valence)[:, None]), pdist(valence[:, None])
        orders = pair_orders(label_permutations(20, 39, rng).orders)
        null = np.array([partial_rho(rdm[order], raters, given) for order in orders])
        rejected.append((1 + (null >= partial_rho(rdm, raters, given)).sum()) / 40 <= 0.05)
    assert np.mean(rejected) > 0.25
