"""Statistics of features against numpy on the whole, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emosae.errors import MissingFileError, UserError
from emosae.phantom.sae_training import Architecture, SAERecipe, SAEWeights, save_sae
from emosae.saes import SparseAutoencoder, find_stats, verify
from emosae.saes.stats import LEVELS, FeatureStats, StatsBuilder, stats_path


def dense(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 1.5, size=(n, d)) * (rng.random((n, d)) < rng.random(d))


def counted(x: np.ndarray, norms: np.ndarray, cuts: list[int]) -> FeatureStats:
    builder = StatsBuilder(x.shape[1], "corpus")
    for part, norm in zip(np.split(x, cuts), np.split(norms, cuts), strict=True):
        _, columns = part.nonzero()
        builder.add(columns, part[part > 0], norm)
    return builder.result()


@given(st.integers(1, 300), st.integers(1, 5), st.integers(0, 999), st.lists(st.integers(0, 300), max_size=3))
@settings(max_examples=40, deadline=None)
def test_counts_are_numpy_s_however_the_corpus_is_cut(n: int, d: int, seed: int, cuts: list[int]) -> None:
    x, norms = dense(n, d, seed), np.random.default_rng(seed).uniform(1, 90, n)
    found = counted(x, norms, sorted(min(c, n) for c in cuts))
    assert found.n_tokens == n
    assert found.density == pytest.approx((x > 0).mean(0), rel=1e-6)
    assert found.maximum == pytest.approx(x.max(0), rel=1e-6)
    assert found.residual_norm == pytest.approx(np.quantile(norms, 0.5, method="inverted_cdf"), rel=0.023)
    for i in range(d):
        active = x[:, i][x[:, i] > 0]
        if len(active):
            wanted = np.quantile(active, LEVELS, method="inverted_cdf")
            assert found.quantiles[:, i] == pytest.approx(wanted, rel=0.023)
        else:
            assert not found.quantiles[:, i].any()


def test_file_gives_back_what_was_written(tmp_path: Path) -> None:
    found = counted(dense(50, 4, 0), np.ones(50), [])
    found.save(tmp_path / "stats.safetensors")
    back = FeatureStats.load(tmp_path / "stats.safetensors")
    for name in ("corpus", "n_tokens", "residual_norm", "levels"):
        assert getattr(back, name) == getattr(found, name)
    for name in ("density", "maximum", "quantiles"):
        assert np.array_equal(getattr(back, name), getattr(found, name))
    assert np.array_equal(back.quantile(0.75), back.quantiles[LEVELS.index(0.75)])


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="No statistics"):
        FeatureStats.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="cannot be read"):
        FeatureStats.load(tmp_path / "bad.safetensors")
    from safetensors.numpy import save_file

    save_file({"density": np.zeros(2, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds no statistics"):
        FeatureStats.load(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no tokens"):
        StatsBuilder(3, "empty").result()
    with pytest.raises(UserError, match="must be one that was kept"):
        counted(dense(5, 2, 0), np.ones(5), []).quantile(0.3)


def test_statistics_are_found_beside_the_folder_and_in_the_cache(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "sae"
    recipe = SAERecipe(layer=0, architecture=Architecture.JUMPRELU)
    weights = SAEWeights(
        recipe=recipe, W_enc=torch.eye(3), W_dec=torch.eye(3), b_enc=torch.zeros(3), b_dec=torch.zeros(3),
        threshold=torch.zeros(3), explained_variance=1.0, l0=3.0, live=3,
    )  # fmt: skip
    save_sae(weights, folder, "toy")
    sae = SparseAutoencoder.load_from_disk(folder)
    with pytest.raises(MissingFileError, match="no statistics from running text"):
        find_stats(sae)
    stats = counted(dense(40, 3, 0), np.ones(40), [])
    stats.save(stats_path(folder, "corpus"))
    assert find_stats(sae).corpus == find_stats(sae, "corpus").corpus == "corpus"
    with pytest.raises(MissingFileError, match="no statistics of 'other' from running text"):
        find_stats(sae, "other")
    stats.save(stats_path(sae.homes[0], "a second/one"))
    with pytest.raises(UserError, match="2 corpora"):
        find_stats(sae)
    assert find_stats(SparseAutoencoder.load_from_disk(folder), "a second/one").n_tokens == 40
    assert all(each.ok for each in verify())
