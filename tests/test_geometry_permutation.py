"""Permutation tests: the null by hand, exact enumeration, Procrustes, axes, and the test beyond valence."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist, squareform

from emosae.errors import UserError
from emosae.geometry import Comparator, compare, compute_rdm
from emosae.geometry.axes import classical_mds, correlate_axes, principal_components
from emosae.geometry.permutation import (
    Permutations,
    label_permutations,
    mantel_null,
    mantel_test,
    pair_orders,
    permutation_p,
    score,
    target,
)
from emosae.geometry.procrustes import align, procrustes_test
from emosae.geometry.valence import ResidualNull, beyond_valence, partial_rho, piecewise_linear_basis


def _rdms(seed: int, k: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 10, (k, n * (n - 1) // 2)).astype(float)


@pytest.mark.parametrize("method", list(Comparator))
def test_null_equals_permuting_the_rows_and_columns_of_each_rater(method: Comparator) -> None:
    n = 7
    rdms, raters = _rdms(0, 3, n), _rdms(1, 4, n)
    permutations = label_permutations(n, 30, seed=2)
    null = mantel_null(rdms, target(raters, method), permutations)
    for index, order in enumerate(permutations.orders):
        permuted = np.array([squareform(squareform(rater)[np.ix_(order, order)]) for rater in raters])
        np.testing.assert_allclose(null[:, index], compare(rdms, permuted, method).mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(
        score(rdms, target(raters, method)), compare(rdms, raters, method).mean(axis=1), atol=1e-12
    )


@pytest.mark.parametrize("method", list(Comparator))
def test_p_is_the_share_of_all_orders_when_concepts_are_few(method: Comparator) -> None:
    n = 4
    rdm, raters = _rdms(0, 1, n), _rdms(3, 2, n)
    found = mantel_test(rdm, raters, method)
    assert found.exact
    assert found.n_permutations == 24
    observed = compare(rdm, raters, method).mean()
    everything = [
        compare(squareform(squareform(rdm[0])[np.ix_(order, order)]), raters, method).mean()
        for order in itertools.permutations(range(n))
    ]
    assert found.p[0] == pytest.approx(np.mean(np.array(everything) >= observed - 1e-9))


def test_three_concepts_have_six_orders() -> None:
    found = mantel_test(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 2.0, 3.0]]))
    assert found.p[0] == pytest.approx(1 / 6)


def test_many_concepts_are_sampled_and_p_is_never_zero() -> None:
    rdm = _rdms(0, 1, 12)
    found = mantel_test(rdm, rdm, n_permutations=199)
    assert not found.exact
    assert found.p[0] == pytest.approx(1 / 200)


def test_same_seed_same_p_and_orders_are_orders() -> None:
    rdms, raters = _rdms(0, 2, 9), _rdms(1, 3, 9)
    one, two = (mantel_test(rdms, raters, n_permutations=300, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.p, two.p)
    other = mantel_test(rdms, raters, n_permutations=300, seed=5)
    assert (one.p != other.p).any()
    assert (np.sort(label_permutations(9, 50).orders, axis=1) == np.arange(9)).all()


def test_best_of_several_is_corrected_by_the_maximum() -> None:
    rdms, raters = _rdms(0, 20, 10), _rdms(1, 3, 10)
    found = mantel_test(rdms, raters, n_permutations=500)
    permutations = label_permutations(10, 500, 0)
    null = mantel_null(rdms, target(raters, "rho-a"), permutations)
    best = found.score.argmax()
    assert found.p_max[best] == pytest.approx(
        (1 + (null.max(axis=0) >= found.score[best] - 1e-10).sum()) / 501
    )
    assert (found.p_max >= found.p).all()
    assert found.p_max[best] > 3 * found.p[best]


def test_undefined_statistics_never_make_a_small_p() -> None:
    p = permutation_p(np.array([2.0, np.nan]), np.array([[1.0, np.nan, 1.0], [1.0, 1.0, 1.0]]), exact=False)
    assert p[0] == pytest.approx(2 / 4)
    assert np.isnan(p[1])


def test_missing_judgements_keep_the_observed_order_among_the_permuted() -> None:
    """The statistic of the test with gaps must be the same for the given order as for any other."""
    rdms, raters = _rdms(0, 2, 8), _rdms(1, 3, 8)
    raters[0, 4:9] = np.nan
    aim = target(raters, "spearman")
    given = Permutations(orders=np.arange(8)[None], exact=True)
    np.testing.assert_allclose(mantel_null(rdms, aim, given)[:, 0], score(rdms, aim))
    assert abs(score(rdms, aim) - compare(rdms, raters, "spearman").mean(axis=1)).max() < 0.1


def test_pair_orders_follow_the_concepts() -> None:
    order = np.array([[2, 0, 1]])
    square = squareform(np.array([10.0, 20.0, 30.0]))
    expected = squareform(square[np.ix_(order[0], order[0])])
    np.testing.assert_array_equal(np.array([10.0, 20.0, 30.0])[pair_orders(order)[0]], expected)


def test_ten_thousand_permutations_of_a_hundred_rdms_are_quick() -> None:
    """27 concepts: 1 s on two idle cores is the goal; processor time does not mind other programs."""
    rdms, raters = _rdms(0, 100, 27), _rdms(1, 60, 27)
    start = time.process_time()
    mantel_test(rdms, raters)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("seed", [0, 1])
def test_procrustes_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((9, 3)), rng.random((9, 3))
    _, _, disparity = procrustes(b, a)
    found = align(a, b)
    assert 1 - found.correlation**2 == pytest.approx(disparity)
    residual = ((found.apply(a) - b) ** 2).sum() / ((b - b.mean(axis=0)) ** 2).sum()
    assert residual == pytest.approx(disparity)


def test_a_turned_mirrored_stretched_map_is_aligned_exactly() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((6, 2))
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])
    found = align(a[:5], (3 * a @ turn + 7)[:5])
    np.testing.assert_allclose(found.apply(a), 3 * a @ turn + 7)
    assert found.correlation == pytest.approx(1.0)
    assert found.scale == pytest.approx(3.0)


def test_procrustes_p_is_the_share_of_all_orders() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 2)), rng.random((5, 2))
    correlation, p = procrustes_test(a, b, label_permutations(5, 10_000))
    everything = [align(a, b[list(order)]).correlation for order in itertools.permutations(range(5))]
    assert correlation == pytest.approx(everything[0])
    assert p == pytest.approx(np.mean(np.array(everything) >= everything[0] - 1e-9))
    assert np.isnan(procrustes_test(np.zeros((5, 2)), b, label_permutations(5, 10_000))).all()


def test_mds_recovers_points_in_the_plane_and_sorts_the_axes() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((9, 2)) * [3.0, 1.0]
    axes = classical_mds(pdist(points), 4)
    np.testing.assert_allclose(pdist(axes.coordinates[:, :2]), pdist(points))
    np.testing.assert_allclose(axes.coordinates[:, 2:], 0)
    assert axes.explained.sum() == pytest.approx(1.0)
    assert axes.explained[0] > axes.explained[1] > axes.explained[2] == 0
    assert (axes.coordinates[np.abs(axes.coordinates).argmax(axis=0), range(4)][:2] > 0).all()


def test_pca_equals_the_singular_values_of_the_centred_matrix() -> None:
    matrix = np.random.default_rng(0).random((6, 40))
    axes = principal_components(matrix, 3)
    _, spread, directions = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(
        np.abs(axes.coordinates), np.abs((matrix - matrix.mean(axis=0)) @ directions[:3].T)
    )
    np.testing.assert_allclose(axes.explained, (spread**2 / (spread**2).sum())[:3])


def test_axes_correlate_as_in_scipy_whatever_their_sign() -> None:
    rng = np.random.default_rng(0)
    valence = rng.standard_normal(20)
    axes = np.column_stack([-valence + 0.5 * rng.standard_normal(20), rng.standard_normal(20), np.ones(20)])
    orders = label_permutations(20, 2000)
    found = correlate_axes(axes, valence, orders)
    turned = correlate_axes(-axes, valence, orders)
    for axis in range(2):
        assert found.r[axis] == pytest.approx(abs(stats.pearsonr(axes[:, axis], valence).statistic))
    two_sided = stats.permutation_test(
        (axes[:, 1], valence),
        lambda x, y: abs(stats.pearsonr(x, y).statistic),
        permutation_type="pairings",
        n_resamples=2000,
        alternative="greater",
        rng=np.random.default_rng(1),
    ).pvalue
    assert found.p[1] == pytest.approx(two_sided, abs=0.04)
    assert (found.low < found.r)[:2].all()
    assert (found.r < found.high)[:2].all()
    assert found.low[0] > 0.5
    np.testing.assert_allclose([found.low, found.high], [turned.low, turned.high])
    assert np.isnan([found.r[2], found.p[2], found.low[2]]).all()
    assert (found.p_max >= found.p)[:2].all()


def test_partial_rho_is_the_rank_correlation_of_residuals() -> None:
    rng = np.random.default_rng(0)
    given = rng.random(45)
    rdm, raters = given + rng.random(45), given + rng.random((2, 45))

    def residual(values: np.ndarray) -> np.ndarray:
        ranks, by = stats.rankdata(values), stats.rankdata(given)
        slope, intercept, *_ = stats.linregress(by, ranks)
        return ranks - slope * by - intercept

    expected = np.mean([stats.pearsonr(residual(rdm), residual(rater)).statistic for rater in raters])
    assert partial_rho(rdm, raters, given) == pytest.approx(expected)


def test_piecewise_linear_basis_fits_any_function_with_those_knots() -> None:
    valence = np.random.default_rng(0).random(30)
    knots = np.quantile(valence, [0, 0.2, 0.4, 0.6, 0.8, 1])
    values = np.interp(valence, knots, [3.0, -1, 4, 1, -5, 9])
    basis = piecewise_linear_basis(valence)
    assert basis.shape == (30, 6)
    fitted = basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
    np.testing.assert_allclose(fitted, values, atol=1e-10)
    assert piecewise_linear_basis(np.repeat([0.0, 1.0], 8)).shape == (16, 2), "no knot at an end"


@pytest.mark.parametrize("dissimilarity", ["correlation", "cosine", "euclidean"])
def test_rdms_of_permuted_residuals_equal_those_rebuilt_by_hand(dissimilarity: str) -> None:
    """Only inner products are permuted; the expected score must be that of the rebuilt coordinates."""
    rng = np.random.default_rng(0)
    n = 14
    matrix, valence, raters = rng.random((n, 9)), rng.random(n), _rdms(1, 3, n)
    found = beyond_valence(
        matrix, valence, raters, dissimilarity=dissimilarity, method="spearman", n_permutations=60, seed=5
    )
    rows = matrix - matrix.mean(axis=1, keepdims=True) if dissimilarity == "correlation" else matrix
    if dissimilarity != "euclidean":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    basis = piecewise_linear_basis(valence)
    fit = basis @ np.linalg.pinv(basis) @ rows
    orders = np.random.default_rng(5).permuted(np.tile(np.arange(n), (60, 1)), axis=1)
    scores = []
    for order in orders:
        rebuilt = compute_rdm(fit + (rows - fit)[order], dissimilarity)
        scores.append(compare(rebuilt, raters, "spearman").mean())
    assert found.expected == pytest.approx(np.mean(scores), abs=1e-9)
    observed = compare(compute_rdm(matrix, dissimilarity), raters, "spearman").mean()
    assert found.score == pytest.approx(observed)
    assert found.p == pytest.approx((1 + np.sum(np.array(scores) >= observed)) / 61)


def test_rotated_residuals_stay_unrelated_to_valence_and_keep_their_size() -> None:
    from emosae.geometry.valence import _rotated_grams

    rng = np.random.default_rng(0)
    basis = piecewise_linear_basis(rng.random(14))
    rows = rng.standard_normal((14, 8))
    fit = basis @ np.linalg.pinv(basis) @ rows
    residual = rows - fit
    nothing = np.zeros((14, 14))
    grams = _rotated_grams((nothing, nothing, residual @ residual.T), basis, 50, rng)
    np.testing.assert_allclose(np.einsum("kb,okl,lc->obc", basis, grams, basis), 0, atol=1e-9)
    np.testing.assert_allclose(np.einsum("oii->o", grams), (residual**2).sum())
    assert np.ptp(grams, axis=0).max() > 0.5, "no two rotations alike"


@pytest.mark.parametrize("null", list(ResidualNull))
def test_a_second_shared_dimension_is_found_beyond_valence(null: ResidualNull) -> None:
    rng = np.random.default_rng(0)
    valence, other = rng.standard_normal(27), rng.standard_normal(27)
    raters = pdist(np.column_stack([valence, other])) + 0.3 * rng.standard_normal((5, 351))
    weights = rng.standard_normal((2, 50))
    with_other = np.column_stack([valence, other]) @ weights + rng.standard_normal((27, 50))
    without = np.column_stack([valence, rng.standard_normal(27)]) @ weights + rng.standard_normal((27, 50))
    p = [
        beyond_valence(matrix, valence, raters, residuals=null, n_permutations=300).p
        for matrix in (with_other, without)
    ]
    assert p[0] < 0.01
    assert p[1] > 0.05


def test_too_little_for_a_test_beyond_valence_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="at least 12 concepts, got 8"):
        beyond_valence(rng.random((8, 4)), rng.random(8), _rdms(0, 2, 8))
    matrix, valence, raters = rng.random((12, 4)), rng.random(12), _rdms(0, 2, 12)
    with pytest.raises(UserError, match="known for every concept"):
        beyond_valence(matrix, np.where(valence > 0.5, valence, np.nan), raters)
    matrix[3] = 1.0
    with pytest.raises(UserError, match="rows \\[3\\]"):
        beyond_valence(matrix, valence, raters)
