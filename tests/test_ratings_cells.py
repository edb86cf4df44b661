"""Sets that cannot be fitted, other regressions, and input that says little: a right answer or a plain refusal."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from emosae.errors import UserError
from emosae.pipeline.cells import rating_cells, surface
from emosae.ratings import RatingsConfig, study_ratings

QUICK = RatingsConfig(folds=4, inner_folds=3, penalties=6, bootstrap=100, components=4, workers=1)


def words(n: int = 200, p: int = 30, seed: int = 0, name: str = "en") -> tuple[sp.csr_array, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n, p)) < 0.3, rng.exponential(size=(n, p)), 0.0)
    valence = 5 + x[:, :4] @ [2.0, -2.0, 1.5, -1.5] + rng.standard_normal(n)
    names = [f"{name}qx{i:04d}" for i in range(n)]
    return sp.csr_array(x.astype(np.float32)), pl.DataFrame(
        {"word": names, "language": [name] * n, "valence": valence}
    )


def study(predictors: dict[str, Any], table: pl.DataFrame, config: RatingsConfig = QUICK) -> Any:
    return study_ratings(predictors, table, targets=["valence"], config=config)


@pytest.mark.parametrize("model", ["ridge", "pls"])
def test_a_set_that_cannot_be_fitted_gets_a_row_that_says_so(model: str) -> None:
    x, table = words()
    silent = sp.csr_array((200, 9), dtype=np.float32)
    sets = {"features": x, "universal": x[:, :0], "en_only": x[:, :1], "zh_only": x[:, :2], "silent": silent}
    result = study(sets | {"frequency": np.full((200, 1), np.nan)}, table, replace(QUICK, model=model))
    notes = dict(result.scores.select("predictor", "note").iter_rows())
    assert notes == {
        "features": None,
        "universal": "the set holds no features; at least 3 are needed",
        "en_only": "the set holds 1 feature; at least 3 are needed",
        "zh_only": "the set holds 2 features; at least 3 are needed",
        "silent": "none of its 9 features fires on these words",
        "frequency": "not given for these words",
    }
    without = result.scores.filter(pl.col("note").is_not_null())
    assert without["r"].null_count() == without["r2"].null_count() == without["penalty"].null_count() == 5
    assert dict(without.select("predictor", "n_features").iter_rows())["zh_only"] == 2
    assert without["n_words"].to_list() == [200] * 5
    assert set(result.predictions["predictor"]) == set(result.weights["predictor"]) == {"features"}
    assert result.comparisons.is_empty()
    smaller = study(sets, table, replace(QUICK, model=model, min_features=1)).scores
    assert set(smaller.filter(pl.col("note").is_null())["predictor"]) == {"features", "en_only", "zh_only"}


def test_nothing_but_sets_that_cannot_be_fitted_is_refused() -> None:
    x, table = words()
    with pytest.raises(
        UserError, match=r"at least one predictor that can be fitted, got none \(universal: the"
    ):
        study({"universal": x[:, :0]}, table)


def test_a_number_missing_for_some_words_is_still_refused() -> None:
    x, table = words()
    some = np.where(np.arange(200) < 3, np.nan, 1.0)[:, None]
    with pytest.raises(UserError, match="'frequency' must hold finite numbers only, got 3 NaN"):
        study({"features": x, "frequency": some}, table)


def test_partial_least_squares_goes_through_the_whole_study() -> None:
    x, table = words()
    ridge, pls = (
        study({"features": x, "control": x[:, 10:]}, table, replace(QUICK, model=m)) for m in ("ridge", "pls")
    )
    assert pls.scores["components"].is_between(1, 4).all()
    assert pls.scores["penalty"].is_nan().all()
    assert ridge.scores["components"].null_count() == 2
    assert ridge.scores["penalty"].is_finite().all()
    assert pls.folds["components"].is_between(1, 4).all()
    r = dict(pls.scores.select("predictor", "r").iter_rows())
    assert r["features"] == pytest.approx(ridge.scores["r"][0], abs=0.03)
    assert abs(r["control"]) < 0.25
    assert set(pls.weights.filter(predictor="features").head(4)["feature"]) == {0, 1, 2, 3}
    assert pls.predictions["fold"].to_list() == ridge.predictions["fold"].to_list()


@pytest.mark.parametrize("model", ["ridge", "pls"])
def test_a_hundred_times_more_features_than_words(model: str) -> None:
    x, table = words(120, 12_000)
    result = study({"features": x}, table, replace(QUICK, model=model))
    row = result.scores.row(0, named=True)
    assert row["n_features"] == 100 * row["n_words"]
    assert np.isfinite([row["r"], row["r2"], row["rmse"]]).all()
    assert abs(row["r"]) < 0.5  # four carriers among twelve thousand cannot be found from 120 words
    predicted = result.predictions["predicted"]
    assert predicted.is_between(table["valence"].min() - 5, table["valence"].max() + 5).all()


@pytest.mark.parametrize("missing", ["both", "n", "some"])
def test_ceilings_need_deviations_and_numbers_of_raters(missing: str) -> None:
    x, table = words()
    sd = pl.Series("valence_sd", [1.0] * 200)
    n = pl.Series("valence_n", [20] * 100 + [None] * 100)
    table = table.with_columns({"both": [], "n": [sd], "some": [sd, n]}[missing])
    row = study({"features": x}, table).scores.row(0, named=True)
    if missing == "some":
        assert row["ceiling"] == pytest.approx(np.sqrt(1 - 0.05 / table["valence"].var()))
    else:
        assert np.isnan(row["ceiling"])
        assert np.isnan(row["r_disattenuated"])
    assert np.isfinite(row["r"])


def test_configurations_of_the_regression_are_checked() -> None:
    with pytest.raises(UserError, match=r"no ratings\.model 'ridgy'\. Did you mean 'ridge'"):
        RatingsConfig(model="ridgy")
    with pytest.raises(UserError, match=r"ratings\.components must be at least 1, got 0"):
        RatingsConfig(components=0)
    with pytest.raises(UserError, match=r"ratings\.min_features must be at least 1, got 0"):
        RatingsConfig(min_features=0)


def test_the_surface_of_words() -> None:
    table = pl.DataFrame(
        {
            "word": ["joy", "ice cream", "sea", "快樂", "海"],
            "language": ["en", "en", "en", "zh", "zh"],
            "frequency": [99.0, None, 0.0, None, None],
        }
    )
    found = surface(table)
    assert found["length"].tolist() == [[3.0], [8.0], [3.0], [2.0], [1.0]]
    np.testing.assert_allclose(found["frequency"][:3], [[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert np.isnan(found["frequency"][3:]).all()
    logs = table.with_columns(pl.Series("frequency", [-1.5, 2.0, None, None, None]))
    np.testing.assert_allclose(surface(logs)["frequency"][:3], [[-1.5, 0.0], [2.0, 0.0], [0.0, 1.0]])
    assert set(surface(table.drop("frequency"))) == {"length"}
    assert set(surface(table.with_columns(frequency=pl.lit(None, dtype=pl.Float64)))) == {"length"}


def test_the_cells_of_a_study() -> None:
    x, table = words(20)
    sets = {"space": [1, 2, 3], "control": [7], "universal": [2], "en_only": [1, 3], "zh_only": []}
    selection = SimpleNamespace(features=lambda name: np.array(sets[name], dtype=np.int64))
    reading = SimpleNamespace(features=SimpleNamespace(csr=x), dense={"residual": np.ones((20, 4))})
    predictors, columns = rating_cells(reading, selection, table, ["en", "zh"])  # type: ignore[arg-type]
    assert list(predictors) == [
        "features",
        "emotion_space",
        "universal",
        "en_only",
        "zh_only",
        "matched_control",
        "residual",
        "length",
    ]
    assert {name: v.tolist() for name, v in columns.items() if name != "features"} == {
        "emotion_space": [1, 2, 3],
        "universal": [2],
        "en_only": [1, 3],
        "zh_only": [],
        "matched_control": [7],
    }
    np.testing.assert_array_equal(predictors["en_only"].toarray(), x.toarray()[:, [1, 3]])
    assert predictors["zh_only"].shape == (20, 0)
    alone = rating_cells(reading, selection, table, ["en"])[0]  # type: ignore[arg-type]
    assert list(alone) == ["features", "emotion_space", "matched_control", "residual", "length"]
