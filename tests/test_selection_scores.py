"""Scores of features: against scipy, scikit-learn and hand counts, column by column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import mutual_info_score, roc_auc_score

from emosae.selection.exact import benjamini_hochberg, hypergeometric_tail, round_weights, weighted_tail
from emosae.selection.scores import mutual_information, score_features

WORDS, FEATURES, CONCEPTS = 60, 40, 4


def _world(seed: int, *, weighted: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dense activations with many ties, weights [words, concepts] with shared words, neutral words."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 4, (WORDS, FEATURES)) * (rng.random((WORDS, FEATURES)) < rng.random(FEATURES))
    weights = np.zeros((WORDS, CONCEPTS))
    for concept in range(CONCEPTS):
        weights[concept * 11 : concept * 11 + 13, concept] = 1.0  # two words shared with the next concept
    if weighted:
        weights *= rng.integers(1, 6, weights.shape)
    return dense.astype(np.float32), weights, np.arange(WORDS) >= 50


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_equal_scipy_and_sklearn_feature_by_feature(seed: int) -> None:
    dense, weights, neutral = _world(seed)
    scored = score_features(sparse.csr_array(dense), weights, neutral)
    shared = (weights > 0).sum(axis=1) > 1
    assert shared.sum() > 2, "the case needs words of several concepts"
    for concept in range(CONCEPTS):
        positive = weights[:, concept] > 0
        negative = (neutral | (weights > 0).any(axis=1)) & ~positive & ~shared
        used = positive | negative
        assert scored.n_positive[concept] == positive.sum()
        assert scored.n_negative[concept] == negative.sum()
        for at, feature in enumerate(scored.features):
            column, label = dense[used, feature], positive[used]
            active = column > 0
            table = [
                [(active & label).sum(), (active & ~label).sum()],
                [(~active & label).sum(), (~active & ~label).sum()],
            ]
            oracle = {
                "auroc": roc_auc_score(label, column),
                "mean_difference": np.mean(dense[positive, feature], dtype=float)
                - np.mean(dense[negative, feature], dtype=float),
                "mutual_information": mutual_info_score(label, active),
                "p": stats.fisher_exact(table, alternative="greater").pvalue,
                "support": table[0][0],
            }
            for name, expected in oracle.items():
                assert getattr(scored, name)[concept, at] == pytest.approx(expected, abs=1e-9), name
            u = stats.mannwhitneyu(column[label], column[~label]).statistic
            assert scored.auroc[concept, at] == pytest.approx(u / (label.sum() * (~label).sum()), abs=1e-12)


def test_only_features_that_fire_are_scored() -> None:
    dense, weights, neutral = _world(0)
    dense[:, [3, 7]] = 0
    matrix = sparse.csr_array(dense)
    matrix.data[matrix.indices == 5] = 0.0  # stored zeros are no activity
    scored = score_features(matrix, weights, neutral)
    assert not {3, 5, 7} & set(scored.features.tolist())
    assert len(scored.features) == FEATURES - 3


def test_adjusted_p_counts_every_feature_of_the_sae_and_every_concept() -> None:
    dense, weights, neutral = _world(0)
    dense[:, 20:] = 0
    dense[:, 0] = weights[:, 0]  # one that stays below 1 when adjusted
    scored = score_features(sparse.csr_array(dense), weights, neutral)
    everything = np.ones((CONCEPTS, FEATURES))
    everything[:, scored.features] = scored.p
    expected = stats.false_discovery_control(everything.ravel()).reshape(everything.shape)
    np.testing.assert_allclose(scored.p_adjusted, expected[:, scored.features], rtol=1e-9)
    assert 0 < scored.p_adjusted.min() < 0.01


def test_weighted_auroc_and_mean_difference_equal_repeated_words() -> None:
    """A weight of three is a word that is there three times."""
    dense, weights, neutral = _world(3, weighted=True)
    scored = score_features(sparse.csr_array(dense), weights, neutral)
    shared = (weights > 0).sum(axis=1) > 1
    for concept in range(CONCEPTS):
        positive = np.repeat(np.arange(WORDS), weights[:, concept].astype(int))
        negative = np.flatnonzero(
            (neutral | (weights > 0).any(axis=1)) & (weights[:, concept] == 0) & ~shared
        )
        label = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
        for at, feature in enumerate(scored.features):
            values = dense[np.r_[positive, negative], feature]
            assert scored.auroc[concept, at] == pytest.approx(roc_auc_score(label, values), abs=1e-9)
            difference = values[label == 1].mean() - values[label == 0].mean()
            assert scored.mean_difference[concept, at] == pytest.approx(difference, abs=1e-6)


def test_hypergeometric_tail_equals_scipy_far_into_the_tail() -> None:
    support, active = np.array([0, 1, 7, 15, 15]), np.array([40, 3, 30, 15, 200])
    p = hypergeometric_tail(support, active, n_positive=15, n_negative=785)
    expected = stats.hypergeom(800, 15, active).sf(support - 1)
    np.testing.assert_allclose(p, expected, rtol=1e-8)
    assert p[3] < 1e-30


def test_weighted_tail_equals_all_permutations_of_a_small_case() -> None:
    import itertools

    weights, n_negative, active = np.array([1.0, 2.0, 5.0]), 4, np.array([3, 3, 2])
    placed = np.r_[weights, np.zeros(n_negative)]
    sums = {
        k: [placed[list(chosen)].sum() for chosen in itertools.combinations(range(7), k)] for k in set(active)
    }
    observed = np.array([6.0, 0.0, 7.0])
    expected = [np.mean(np.array(sums[k]) >= s) for k, s in zip(active, observed, strict=True)]
    np.testing.assert_allclose(weighted_tail(weights, observed, active, n_negative=n_negative), expected)


def test_weighted_tail_equals_a_sampled_permutation_for_many_words() -> None:
    rng = np.random.default_rng(0)
    weights = round_weights(rng.gamma(1.0, 1.0, 20))
    placed = np.r_[weights, np.zeros(180)]
    draws = np.array([rng.permutation(placed)[:50].sum() for _ in range(20_000)])
    for quantile in (0.5, 0.9, 0.99):
        observed = np.quantile(draws, quantile)
        p = weighted_tail(weights, np.array([np.ceil(observed)]), np.array([50]), n_negative=180)
        assert p[0] == pytest.approx(np.mean(draws >= np.ceil(observed)), abs=0.012)


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_weighted_tail_with_equal_weights_is_the_exact_test(
    n_positive: int, n_negative: int, data: st.DataObject
) -> None:
    active = data.draw(st.integers(1, n_positive + n_negative))
    support = data.draw(st.integers(max(0, active - n_negative), min(active, n_positive)))
    units = round_weights(np.full(n_positive, 0.37))
    p = weighted_tail(units, np.array([support * units[0]]), np.array([active]), n_negative=n_negative)
    exact = hypergeometric_tail(
        np.array([support]), np.array([active]), n_positive=n_positive, n_negative=n_negative
    )
    assert p[0] == pytest.approx(exact[0], rel=1e-9)


def test_weights_are_rounded_to_units_of_their_sum() -> None:
    units = round_weights(np.array([0.5, 0.2999, 0.2, 1e-9]))
    np.testing.assert_array_equal(units, [500, 300, 200, 1])


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=30), st.integers(0, 200))
def test_benjamini_hochberg_equals_scipy_with_the_rest_at_one(p: list[float], n_more: int) -> None:
    full = np.r_[p, np.ones(n_more)]
    expected = stats.false_discovery_control(full)[: len(p)]
    np.testing.assert_allclose(benjamini_hochberg(np.array(p), len(full)), expected, rtol=1e-12)


def test_mutual_information_of_a_perfect_and_of_a_useless_feature() -> None:
    information = mutual_information(np.array([5, 1]), np.array([0, 1]), 5, 5)
    np.testing.assert_allclose(information, [np.log(2), 0.0], atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_scores_do_not_depend_on_the_order_of_the_words(seed: int) -> None:
    dense, weights, neutral = _world(seed % 7, weighted=bool(seed % 2))
    order = np.random.default_rng(seed).permutation(WORDS)
    one = score_features(sparse.csr_array(dense), weights, neutral)
    other = score_features(sparse.csr_array(dense[order]), weights[order], neutral[order])
    for name in ("features", "auroc", "mean_difference", "mutual_information", "p", "p_adjusted", "support"):
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12, err_msg=name
        )
