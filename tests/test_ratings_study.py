"""The ratings study: tables, subsets, languages, refusals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from omegaconf import OmegaConf
from scipy import stats

from emosae.errors import UserError
from emosae.ratings import RatingsConfig, RatingsResult, study_ratings
from emosae.ratings.tables import COMPARISONS, FOLDS, PREDICTIONS, SCORES, WEIGHTS

QUICK = RatingsConfig(folds=5, inner_folds=3, penalties=8, bootstrap=200, workers=1)


def make_words(n: int, language: str = "en", seed: int = 0) -> tuple[sp.csr_array, pl.DataFrame]:
    """Words with 40 features, of which 0 to 4 carry valence and 5 to 9 arousal."""
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((n, 40)) < 0.3, rng.exponential(size=(n, 40)), 0.0)
    valence = x[:, :5] @ [2.0, -2.0, 1.5, -1.5, 1.0] + rng.standard_normal(n)
    arousal = x[:, 5:10] @ [1.0, 1.0, -1.0, 1.0, -1.0] + rng.standard_normal(n)
    table = pl.DataFrame(
        {
            "word": [f"{language}w{i:04d}" for i in range(n)],
            "language": [language] * n,
            "valence": 5 + valence,
            "arousal": 5 + arousal,
            "valence_sd": np.full(n, 1.5),
            "valence_n": np.full(n, 20),
        }
    )
    return sp.csr_array(x.astype(np.float32)), table


@pytest.fixture(scope="module")
def words() -> tuple[sp.csr_array, pl.DataFrame]:
    return make_words(300)


@pytest.fixture(scope="module")
def result(words: tuple[sp.csr_array, pl.DataFrame]) -> RatingsResult:
    x, table = words
    noise = np.random.default_rng(9).standard_normal((300, 10)).astype(np.float32)
    return study_ratings({"features": x, "control": x[:, 20:], "noise": noise}, table, config=QUICK)


def test_tables_have_the_promised_columns(result: RatingsResult) -> None:
    assert dict(result.scores.schema) == SCORES
    assert dict(result.folds.schema) == FOLDS
    assert dict(result.predictions.schema) == PREDICTIONS
    assert dict(result.comparisons.schema) == {**COMPARISONS, "p_adjusted": pl.Float64}
    assert dict(result.weights.schema) == WEIGHTS
    assert result.scores.height == 3 * 2
    assert result.folds.height == 3 * 2 * 5
    assert result.predictions.height == 3 * 2 * 300
    assert result.comparisons.height == 3 * 2 * 2
    assert result.n_excluded == 0
    assert result.config["folds"] == 5


def test_scores_are_those_of_the_predictions(result: RatingsResult) -> None:
    for row in result.scores.iter_rows(named=True):
        part = result.predictions.filter(predictor=row["predictor"], target=row["target"])
        own = pl.col("predicted")
        within = part.select(
            (pl.col("rating") - pl.col("rating").mean()).over("fold"),
            ((own - own.mean()) / own.std(ddof=0)).over("fold"),
        )
        r = stats.pearsonr(within["rating"], within["predicted"]).statistic
        assert row["r"] == pytest.approx(r, abs=1e-12)
        assert row["r_low"] < row["r"] < row["r_high"]
        by_fold = [stats.pearsonr(f["rating"], f["predicted"]).statistic for f in part.partition_by("fold")]
        assert row["r_folds"] == pytest.approx(np.mean(by_fold), abs=1e-12)
        folds = result.folds.filter(predictor=row["predictor"], target=row["target"])
        assert folds["n_words"].sum() == row["n_words"] == 300
        assert row["penalty"] == pytest.approx(folds["penalty"].median())


def test_what_carries_the_ratings_predicts_them_and_nothing_else_does(result: RatingsResult) -> None:
    r = {(row["predictor"], row["target"]): row["r"] for row in result.scores.iter_rows(named=True)}
    assert r["features", "valence"] > 0.8
    assert r["features", "arousal"] > 0.6
    for predictor in ("control", "noise"):
        for target in ("valence", "arousal"):
            assert abs(r[predictor, target]) < 0.2
    features = result.comparisons.filter(pl.col("a") == "features")
    assert features.height == 8
    assert (features["low"] > 0).all()
    assert (features["p_adjusted"] < 0.05).all()
    others = result.comparisons.filter(pl.col("a") == "control")
    assert (others["p"] > 0.01).all()
    for test in ("corrected_t", "paired_bootstrap"):
        part = result.comparisons.filter(test=test)
        np.testing.assert_allclose(part["p_adjusted"], stats.false_discovery_control(part["p"].to_numpy()))


def test_noise_scores_about_zero_on_average() -> None:
    x, table = make_words(150)
    config = replace(QUICK, penalty_high=1e5)
    found = []
    for seed in range(12):
        mixed = table.with_columns(pl.col("valence").shuffle(seed=seed))
        found.append(
            study_ratings({"features": x}, mixed, targets=["valence"], config=config).scores.row(
                0, named=True
            )
        )
    # across folds such predictions correlate at about -.2 with the ratings
    assert abs(np.mean([row["r"] for row in found])) < 0.08
    assert sum(row["r_low"] <= 0 <= row["r_high"] for row in found) >= 9
    assert np.mean([row["r2"] for row in found]) < 0.01


def test_ceilings_and_disattenuation(result: RatingsResult, words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    ceiling = np.sqrt(1 - 1.5**2 / 20 / words[1]["valence"].var())
    for row in result.scores.iter_rows(named=True):
        if row["target"] == "valence":
            assert row["ceiling"] == pytest.approx(ceiling)
            assert row["r_disattenuated"] == pytest.approx(row["r"] / ceiling)
        else:  # no SD given
            assert np.isnan(row["ceiling"])
            assert np.isnan(row["r_disattenuated"])


def test_weights_name_the_features_that_carry(result: RatingsResult) -> None:
    assert set(result.weights["predictor"]) == {"features", "control"}  # sparse ones only
    for target, carriers, signs in (
        ("valence", range(5), [1, -1, 1, -1, 1]),
        ("arousal", range(5, 10), [1, 1, -1, 1, -1]),
    ):
        top = result.weights.filter(predictor="features", target=target).head(5)
        assert top["rank"].to_list() == [1, 2, 3, 4, 5]
        assert set(top["feature"]) == set(carriers)
        for row in top.iter_rows(named=True):
            assert np.sign(row["weight"]) == signs[row["feature"] - carriers[0]]
            assert row["stability"] == 1.0
            assert row["spread"] < abs(row["weight"]) / 3
    size = result.weights.filter(predictor="features", target="valence")["importance"].abs()
    assert size.is_sorted(descending=True)


def test_weights_are_in_units_of_the_feature(words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    x, table = words
    for scaling in ("none", "sd"):
        config = replace(QUICK, scaling=scaling, penalty_low=1e-6, penalty_high=1e-5, penalties=2)
        weights = study_ratings({"features": x}, table, config=config).weights.filter(target="valence")
        first = weights.filter(feature=0).row(0, named=True)
        assert first["weight"] == pytest.approx(2.0, abs=0.3)
        assert first["importance"] == pytest.approx(first["weight"] * x.toarray()[:, 0].std(), rel=1e-4)


def test_a_subset_keeps_its_feature_numbers(words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    x, table = words
    columns = np.array([30, 2, 0, 7])
    cells = {"emotion space": x[:, columns], "residual": x.toarray()[:, :12]}
    chosen = study_ratings(cells, table, config=QUICK, features={"emotion space": columns})
    assert set(chosen.weights["predictor"]) == {"emotion space"}
    assert chosen.weights.filter(target="valence")["feature"].head(2).sort().to_list() == [0, 2]
    assert chosen.scores.filter(predictor="emotion space")["n_features"].unique().to_list() == [4]
    with pytest.raises(UserError, match=r"must number the 4 columns .* got 3 numbers"):
        study_ratings(cells, table, config=QUICK, features={"emotion space": [1, 2, 3]})
    with pytest.raises(UserError, match=r"no predictor 'emotion spice'\. Did you mean 'emotion space'"):
        study_ratings(cells, table, config=QUICK, features={"emotion spice": columns})


def test_languages_are_studied_apart_with_translations_in_one_fold() -> None:
    x, english = make_words(200)
    z, chinese = make_words(150, "zh", seed=5)
    table = pl.concat([english, chinese]).with_columns(
        pl.Series("concepticon_id", [*range(200), *range(100, 200), *[None] * 50])
    )
    both = sp.csr_array(sp.vstack([x, z]))
    result = study_ratings({"features": both}, table, targets=["valence"], config=QUICK)
    assert result.scores["language"].to_list() == ["en", "zh"]
    assert result.scores["n_words"].to_list() == [200, 150]
    assert (result.scores["r"] > 0.7).all()
    fold = dict(result.predictions.select("word", "fold").iter_rows())
    for i in range(100):
        assert fold[f"enw{100 + i:04d}"] == fold[f"zhw{i:04d}"]
    # mixing the languages' rows changes nothing
    order = np.random.default_rng(0).permutation(350)
    mixed = study_ratings({"features": both[order]}, table[order], targets=["valence"], config=QUICK)
    assert sorted(mixed.scores["n_words"].to_list()) == [150, 200]


def test_the_same_seed_gives_the_same_study(words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    x, table = words
    one, two = (study_ratings({"features": x}, table, config=QUICK) for _ in range(2))
    assert one.scores.equals(two.scores)
    assert one.predictions.equals(two.predictions)
    other = study_ratings({"features": x}, table, config=replace(QUICK, seed=1))
    assert not one.predictions["fold"].equals(other.predictions["fold"])


def test_excluded_words_are_in_no_table(words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    x, table = words
    result = study_ratings({"features": x}, table, config=QUICK, exclude=table["word"][:20].to_list())
    assert result.n_excluded == 20
    assert result.scores["n_words"].to_list() == [280, 280]
    assert not set(result.predictions["word"]) & set(table["word"][:20])
    # the rows that stay are those of the words that stay
    plain = study_ratings({"features": x[20:]}, table[20:], config=QUICK)
    assert plain.predictions.equals(result.predictions)


def test_the_transform_is_for_sparse_predictors_only(words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    x, table = words
    config = replace(QUICK, transform="sqrt")
    dense = x.toarray() - 1.0  # negative, as a residual is
    root = study_ratings({"features": x, "dense": dense}, table, config=config).scores
    plain = study_ratings({"features": x.sqrt(), "dense": dense}, table, config=QUICK).scores
    np.testing.assert_allclose(root["r"], plain["r"], rtol=1e-6)


def test_duplicated_words_stay_in_one_fold_and_are_said(
    words: tuple[sp.csr_array, pl.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    x, table = words
    twice = pl.concat([table, table[:10]])
    result = study_ratings({"features": sp.csr_array(sp.vstack([x, x[:10]]))}, twice, config=QUICK)
    assert "10 words occur more than once" in caplog.text
    assert result.predictions.group_by("word", "target").agg(pl.col("fold").n_unique())["fold"].max() == 1


def broken(table: pl.DataFrame, kind: str) -> pl.DataFrame:
    cases = {
        "nan": table.with_columns(
            pl.when(pl.col("word") == "enw0003").then(np.nan).otherwise("valence").alias("valence")
        ),
        "null": table.with_columns(
            pl.when(pl.col("word") == "enw0003").then(None).otherwise("arousal").alias("arousal")
        ),
        "text": table.with_columns(pl.lit("n/a").alias("valence")),
        "constant": table.with_columns(pl.lit(5.0).alias("arousal")),
        "column": table.drop("arousal"),
        "language": table.drop("language"),
        "no word": table.with_columns(pl.lit(None, dtype=pl.String).alias("word")),
        "family": table.with_columns(pl.lit("same").alias("word")),
    }
    return cases[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"'valence' must hold a number for every word, got 1 without one \('enw0003'\)"),
        ("null", r"'arousal' must hold a number for every word, got 1 without one \('enw0003'\)"),
        ("text", r"'valence' must be numeric, got String such as \['n/a'\]"),
        ("constant", r"Ratings of arousal in 'en' must vary, got 5 for all 300 words"),
        ("column", r"no column 'arousal'"),
        ("language", r"no column 'language'"),
        ("no word", r"Column 'word' must hold text in every row, got String with 300 empty cells"),
        ("family", r"at least 25 word families for 5 folds, got 1 in 300 words"),
    ],
)
def test_ratings_that_say_nothing_are_refused(
    words: tuple[sp.csr_array, pl.DataFrame], kind: str, message: str
) -> None:
    x, table = words
    with pytest.raises(UserError, match=message):
        study_ratings({"features": x}, broken(table, kind), config=QUICK)


def test_wrong_calls_are_refused_in_plain_words(words: tuple[sp.csr_array, pl.DataFrame]) -> None:
    x, table = words
    with pytest.raises(
        UserError, match=r"one row for each of the 299 words of the table, got shape \(300, 40\)"
    ):
        study_ratings({"features": x}, table[1:], config=QUICK)
    with pytest.raises(UserError, match="at least one matrix"):
        study_ratings({}, table, config=QUICK)
    with pytest.raises(UserError, match="at least one column of ratings"):
        study_ratings({"features": x}, table, targets=[], config=QUICK)
    with pytest.raises(UserError, match="Language 'en' must have at least 100 rated words, got 5"):
        study_ratings({"features": x[:5]}, table[:5], config=QUICK)
    with pytest.raises(UserError, match="did not choose the features, got none"):
        study_ratings({"features": x}, table, config=QUICK, exclude=table["word"])
    with pytest.raises(UserError, match=r"Predictor 'residual' must be a matrix .* at least one of each"):
        study_ratings({"features": x, "residual": np.empty((300, 0))}, table, config=QUICK)
    with pytest.raises(UserError, match="got 0 rows"):
        study_ratings({"features": x[:0]}, table[:0], config=QUICK)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transform": "squrt"}, "no ratings.transform 'squrt'. Did you mean 'sqrt'"),
        ({"scaling": "iqr"}, "no ratings.scaling 'iqr'"),
        ({"folds": 1}, "ratings.folds must be at least 2, got 1"),
        ({"penalty_low": 0.0}, "ratings.penalty_low must be above 0"),
        ({"penalty_low": 2.0, "penalty_high": 1.0}, "got 2.0 and 1.0"),
        ({"tolerance": 0.5}, "at most 0.01, got 0.5"),
        ({"confidence": 95}, "between 0 and 1, got 95"),
        ({"workers": 0}, "ratings.workers must be at least 1"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RatingsConfig(**values)  # type: ignore[arg-type]


def test_the_configuration_is_a_schema() -> None:
    merged = OmegaConf.merge(OmegaConf.structured(RatingsConfig), {"transform": "log1p", "workers": 2})
    config = OmegaConf.to_object(merged)
    assert isinstance(config, RatingsConfig)
    assert (config.transform, config.workers, config.folds, config.inner_folds) == ("log1p", 2, 10, 5)


def test_reading_the_schema_imports_no_numeric_library() -> None:
    heavy = ("scipy", "polars", "numpy", "torch")
    code = (
        f"import sys, emosae.ratings as r; r.RatingsConfig; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
