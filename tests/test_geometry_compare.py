"""RDMs, comparators, ceilings and weighted ranks: against rsatoolbox, scipy and resampling by hand."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
import rsatoolbox
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from scipy.spatial.distance import pdist, squareform

from emosae.errors import UserError
from emosae.geometry import Comparator, Dissimilarity, compare, compute_rdm, concept_matrix
from emosae.geometry.bootstrap import (
    bootstrap_scores,
    draw_multiplicities,
    fisher_interval,
    weighted_ranks,
)
from emosae.geometry.ceiling import mean_rdm, mean_rdm_ceiling, noise_ceiling
from emosae.geometry.comparators import mean_over_raters
from emosae.geometry.rdm import n_conditions, pair_indices, pair_numbers

RSATOOLBOX = {"rho-a": "rho-a", "spearman": "spearman", "tau-a": "tau-a", "pearson": "corr"}


def _tied(seed: int, k: int, n_pairs: int = 45) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 9, (k, n_pairs)).astype(float)


def _rsa(rdms: np.ndarray) -> rsatoolbox.rdm.RDMs:
    return rsatoolbox.rdm.RDMs(rdms)


@pytest.mark.parametrize("method", list(Comparator))
def test_comparators_equal_rsatoolbox_on_tied_rdms(method: Comparator) -> None:
    a, b = _tied(0, 3), _tied(1, 4)
    expected = rsatoolbox.rdm.compare(_rsa(a), _rsa(b), method=RSATOOLBOX[method])
    np.testing.assert_allclose(compare(a, b, method), expected, atol=1e-12)


def test_comparators_equal_scipy() -> None:
    a, b = _tied(0, 1)[0], _tied(1, 1)[0]
    assert compare(a, b, "spearman")[0, 0] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert compare(a, b, "pearson")[0, 0] == pytest.approx(stats.pearsonr(a, b).statistic)
    untied = np.random.default_rng(0).random((2, 45))
    tau = stats.kendalltau(untied[0], untied[1]).statistic
    assert compare(untied[0], untied[1], "tau-a")[0, 0] == pytest.approx(tau)
    rho = stats.spearmanr(untied[0], untied[1]).statistic
    assert compare(untied[0], untied[1], "rho-a")[0, 0] == pytest.approx(rho)


def test_rho_a_is_the_mean_of_rho_over_random_orders_of_the_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = _tied(2, 2, n_pairs=15)
    broken = [
        stats.spearmanr(a + rng.random(15) * 1e-6, b + rng.random(15) * 1e-6).statistic for _ in range(3000)
    ]
    assert compare(a, b, "rho-a")[0, 0] == pytest.approx(np.mean(broken), abs=0.01)


@pytest.mark.parametrize("method", list(Comparator))
def test_missing_pairs_are_dropped_rater_by_rater(method: Comparator) -> None:
    a, b = _tied(0, 2), _tied(1, 5)
    b[1, :7] = np.nan
    b[3, ::5] = np.nan
    b[4, 0] = np.nan
    expected = np.column_stack(
        [compare(a[:, ~np.isnan(row)], row[~np.isnan(row)], method)[:, 0] for row in b]
    )
    np.testing.assert_allclose(compare(a, b, method), expected, atol=1e-12)
    np.testing.assert_allclose(mean_over_raters(a, b, method), expected.mean(axis=1), atol=1e-12)


@pytest.mark.parametrize("method", list(Comparator))
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 9), scale=st.floats(0.01, 100))
def test_comparison_is_symmetric_bounded_and_one_with_itself(
    method: Comparator, seed: int, n: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random(n * (n - 1) // 2), rng.random(n * (n - 1) // 2)
    assert compare(a, a, method)[0, 0] == pytest.approx(1.0)
    assert compare(a, -a, method)[0, 0] == pytest.approx(-1.0)
    there = compare(a, b, method)[0, 0]
    assert there == pytest.approx(compare(b, a, method)[0, 0])
    assert -1 <= there <= 1
    assert there == pytest.approx(compare(scale * a + 3, b, method)[0, 0], abs=1e-9)


def test_an_rdm_without_variation_has_no_rank_correlation() -> None:
    flat, other = np.ones(10), np.arange(10.0)
    assert np.isnan(compare(flat, other, "spearman")[0, 0])
    assert np.isnan(compare(np.full(10, 0.1), other, "pearson")[0, 0])
    assert compare(flat, other, "rho-a")[0, 0] == 0
    assert compare(flat, other, "tau-a")[0, 0] == 0
    assert np.isnan(compare(np.r_[1.0, np.full(9, np.nan)], other, "rho-a")[0, 0])


def test_rdms_over_other_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="same pairs, got 3 and 6"):
        compare(np.ones(3), np.ones(6))


@pytest.mark.parametrize("method", list(Dissimilarity))
def test_rdm_equals_pdist_and_orders_pairs_as_rsatoolbox_does(method: Dissimilarity) -> None:
    matrix = np.random.default_rng(0).random((7, 12))
    rdm = compute_rdm(matrix, method)
    np.testing.assert_allclose(rdm, pdist(matrix, method.value))
    if method is not Dissimilarity.COSINE:  # which rsatoolbox lacks
        theirs = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(matrix), method=method.value).get_vectors()[
            0
        ]
        mine = rdm**2 / 12 if method is Dissimilarity.EUCLIDEAN else rdm
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_rdms_are_invariant_as_promised(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((5, 6))
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    rows = rng.random(5)[:, None] + 0.5
    np.testing.assert_allclose(
        compute_rdm(matrix @ rotation + shift, "euclidean"), compute_rdm(matrix, "euclidean")
    )
    np.testing.assert_allclose(
        compute_rdm(rows * matrix @ rotation, "cosine"), compute_rdm(matrix, "cosine"), atol=1e-9
    )
    np.testing.assert_allclose(
        compute_rdm(scale * rows * matrix + shift, "correlation"),
        compute_rdm(matrix, "correlation"),
        atol=1e-9,
    )
    assert (compute_rdm(np.vstack([matrix, matrix[0]]), "correlation") >= 0).all()


def test_rows_without_variation_are_refused_by_number() -> None:
    matrix = np.random.default_rng(0).random((4, 5))
    matrix[2] = 0.1
    with pytest.raises(UserError, match=re.escape("rows [2]")):
        compute_rdm(matrix, "correlation")
    matrix[2] = 0
    with pytest.raises(UserError, match=re.escape("rows [2]")):
        compute_rdm(matrix, "cosine")
    assert compute_rdm(matrix, "euclidean").shape == (6,)
    matrix[1, 1] = np.nan
    with pytest.raises(UserError, match="finite"):
        compute_rdm(matrix, "euclidean")
    with pytest.raises(UserError, match="at least 2 rows"):
        compute_rdm(matrix[:1])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_pairs_are_in_the_order_of_squareform(n: int) -> None:
    vector = np.arange(n * (n - 1) // 2)
    square = squareform(vector)
    first, second = pair_indices(n)
    np.testing.assert_array_equal(square[first, second], vector)
    number = pair_numbers(n)
    np.testing.assert_array_equal(number + np.eye(n), square)
    assert n_conditions(len(vector)) == n
    with pytest.raises(UserError, match="n\\(n-1\\)/2"):
        n_conditions(4)


def test_concepts_are_the_weighted_mean_of_their_words() -> None:
    items = pl.DataFrame({"word": ["a", "b", "c", "a"], "language": ["en", "en", "en", "zh"]})
    words = pl.DataFrame(
        {
            "concept": ["joy", "joy", "joy", "fear", "joy"],
            "language": ["en", "en", "en", "en", "zh"],
            "word": ["a", "b", "lost", "c", "a"],
            "weight": [1.0, 3.0, 9.0, 2.0, 1.0],
        }
    )
    values = np.array([[4.0, 0, 1], [0, 8, 2], [5, 5, 3], [9, 9, 9]])
    expected = np.array([[5.0, 5, 3], [1, 6, 1.75]])
    for matrix in (values, sparse.csr_array(values)):
        rows = concept_matrix(matrix, items, words, language="en", concepts=["fear", "joy"])
        np.testing.assert_allclose(rows, expected)
        chosen = concept_matrix(
            matrix, items, words, language="en", concepts=["joy"], features=np.array([2, 0])
        )
        np.testing.assert_allclose(chosen, [[1.75, 1]])
    with pytest.raises(UserError, match="'pride'"):
        concept_matrix(values, items, words, language="en", concepts=["joy", "pride"])
    with pytest.raises(UserError, match="at least one feature"):
        concept_matrix(
            values, items, words, language="en", concepts=["joy"], features=np.array([], dtype=int)
        )


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau")
@pytest.mark.parametrize("method", list(Comparator))
def test_noise_ceiling_equals_rsatoolbox(method: Comparator) -> None:
    truth = np.random.default_rng(0).random(45)
    raters = np.round(truth * 6 + np.random.default_rng(1).normal(0, 1, (6, 45)))
    expected = rsatoolbox.inference.noise_ceiling.boot_noise_ceiling(_rsa(raters), method=RSATOOLBOX[method])
    np.testing.assert_allclose(noise_ceiling(raters, method), expected, atol=1e-12)


def test_ceilings_take_missing_judgements_and_one_rater() -> None:
    truth = np.random.default_rng(0).random(45)
    raters = truth + np.random.default_rng(1).normal(0, 0.1, (6, 45))
    raters[0, :10] = np.nan
    lower, upper = noise_ceiling(raters, "spearman")
    full = noise_ceiling(raters[1:], "spearman")
    assert full[0] - 0.1 < lower < upper < 1
    assert np.isnan(noise_ceiling(raters[:1])).all()
    assert np.isnan(mean_rdm_ceiling(raters[:1]))
    assert mean_rdm(raters)[0] == pytest.approx(raters[1:, 0].mean())
    assert np.isnan(mean_rdm(np.full((2, 3), np.nan))).all()


def test_mean_rdm_ceiling_is_the_true_correlation_with_a_noisy_mean() -> None:
    """Raters are truth plus noise: the ceiling must estimate how well the truth itself would do."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(600)
    raters = truth + rng.normal(0, 3, (16, 600))
    reached = compare(truth, mean_rdm(raters), "pearson")[0, 0]
    assert mean_rdm_ceiling(raters, "pearson") == pytest.approx(reached, abs=0.03)
    assert reached < 0.85


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 4), min_size=1, max_size=12), data=st.data())
def test_weighted_ranks_are_the_ranks_of_the_repeated_values(values: list[int], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    ranks = weighted_ranks(np.array(values, dtype=float), np.array(times, dtype=float)[:, None])[:, 0]
    repeated = stats.rankdata(np.repeat(values, times)) if sum(times) else np.array([])
    present = np.array(times) > 0
    np.testing.assert_allclose(np.repeat(ranks, times), repeated)
    assert present.sum() == len(set(np.flatnonzero(present)))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("method", list(Comparator))
def test_bootstrap_equals_resampling_by_hand_without_pairs_of_a_concept_with_itself(
    method: Comparator, missing: bool
) -> None:
    n = 8
    rdms, raters = _tied(0, 2, 28), _tied(1, 3, 28)
    if missing:
        raters[0, 3:6] = np.nan
    counts = draw_multiplicities(n, 20, 3)
    found = bootstrap_scores(rdms, raters, method, counts)
    for sample, count in enumerate(counts):
        drawn = np.repeat(np.arange(n), count)
        first, second = np.triu_indices(n, 1)
        different = drawn[first] != drawn[second]
        pairs = pair_numbers(n)[drawn[first][different], drawn[second][different]]
        expected = compare(rdms[:, pairs], raters[:, pairs], method).mean(axis=1)
        np.testing.assert_allclose(found[:, sample], expected, atol=1e-9)


def test_bootstrap_samples_have_three_concepts_at_least() -> None:
    counts = draw_multiplicities(3, 500, 0)
    assert (counts.sum(axis=1) == 3).all()
    assert ((counts > 0).sum(axis=1) == 3).all()


def test_interval_is_fishers_for_a_normal_sample_of_z() -> None:
    """With the standard error that theory gives z, 1/sqrt(n - 3), the interval is the textbook one but for t."""
    n, r = 403, 0.6
    z = np.arctanh(r) + stats.norm.ppf((np.arange(2000) + 0.5) / 2000) / np.sqrt(n - 3)
    low, high = fisher_interval(np.array(r), np.tanh(z), n, 0.9)
    expected = np.tanh(np.arctanh(r) + np.array([-1, 1]) * stats.norm.ppf(0.95) / np.sqrt(n - 3))
    np.testing.assert_allclose([low, high], expected, atol=1e-3)
    wide = fisher_interval(np.array(r), np.tanh(z), 5, 0.9)
    assert wide[0] < low < high < wide[1], "few concepts: Student's t"


def test_interval_leaves_out_undefined_samples_and_stays_in_bounds() -> None:
    samples = np.array([[0.1, 0.3, np.nan], [np.nan, np.nan, np.nan], [1.0, 1.0, 0.9]])
    low, high = fisher_interval(np.array([0.2, 0.2, 1.0]), samples, 10)
    expected = fisher_interval(np.array(0.2), np.array([0.1, 0.3]), 10)
    np.testing.assert_allclose([low[0], high[0]], expected)
    assert np.isnan([low[1], high[1]]).all()
    assert -1 <= low[2] < high[2] <= 1
