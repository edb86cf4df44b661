"""Ratings in the report beyond the scores: transfer between languages, groups of raters, and which regression."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_cases import SITE, make_run, manifest, read_page

from emosae.report import draw
from emosae.report.sections.methods import methods_section
from emosae.report.source import read_run


def transfer_rows() -> list[dict[str, Any]]:
    """Two predictors, both languages; English to Chinese has no number for arousal."""
    rows = []
    for predictor, lift in (("embedding", -0.2), ("features", 0.0)):
        for target in ("valence", "arousal"):
            for train, test in (("en", "en"), ("en", "zh"), ("zh", "en"), ("zh", "zh")):
                apart = train != test
                r = 0.8125 + lift - (0.3 if apart else 0.0)
                lost = target == "arousal" and (train, test) == ("en", "zh")
                rows.append(
                    {
                        "predictor": predictor,
                        "target": target,
                        "train_language": train,
                        "test_language": test,
                        "n_train": 300,
                        "n_words": 254 if test == "en" else 232,
                        "linked": 0.25,
                        "r": None if lost else r,
                        "r_low": None if lost else r - 0.1,
                        "r_high": None if lost else r + 0.1,
                        "ceiling": 0.95,
                        "r_within": 0.8125 + lift,
                        "difference": -0.3 if apart and not lost else None,
                        "low": -0.4 if apart and not lost else None,
                        "high": -0.2 if apart and not lost else None,
                        "p": 0.01 if apart and not lost else None,
                        "p_adjusted": 0.0211 if apart and not lost else None,
                    }
                )
    return rows


def group_rows() -> list[dict[str, Any]]:
    """Women's arousal is shared more than one truth explains; nothing else is."""
    rows = []
    for predictor in ("residual", "features"):
        for target in ("valence", "arousal"):
            real = target == "arousal"
            rows.append(
                {
                    "language": "en",
                    "target": target,
                    "predictor": predictor,
                    "a": "male",
                    "b": "female",
                    "n_words": 13_000,
                    "r_a": 0.4,
                    "r_b": 0.5,
                    "reliability_a": 0.393,
                    "reliability_b": 0.583,
                    "r_disattenuated_a": 0.638,
                    "r_disattenuated_b": 0.655,
                    "difference": -0.1234 if real else -0.02,
                    "expected": -0.0234,
                    "beyond": -0.1 if real else 0.0034,
                    "low": -0.15 if real else -0.04,
                    "high": -0.05 if real else 0.05,
                    "p": 0.004 if real else 0.6,
                    "n_simulations": 250,
                    "p_adjusted": 0.0077 if real else 0.6,
                }
            )
    unknown = {"target": "valence", "predictor": "features", "language": "en", "a": "north", "b": "south"}
    return [*rows, unknown]  # error exceeds variance: nothing was compared


def write(run: Path, name: str, rows: list[dict[str, Any]]) -> None:
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.lit(SITE).alias("site"))
    table.write_parquet(run / "tables" / f"{name}.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("ratings") / "run", languages=["en", "zh"], stages=("ratings",))
    write(folder, "ratings_transfer", transfer_rows())
    write(folder, "ratings_groups", group_rows())
    path = folder / "tables" / "ratings_scores.parquet"
    scores = pl.read_parquet(path)
    lost = {"predictor": "zh_only", "target": "valence", "language": "zh", "n_words": 232, "site": SITE}
    lost["note"] = "2 features are fewer than the 3 that a set needs"
    pl.concat([scores, pl.DataFrame([lost])], how="diagonal_relaxed").write_parquet(path)
    draw(folder)
    return folder


def svg_texts(run: Path, name: str) -> list[str]:
    svg = (run / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    return [text.strip() for text in re.findall(r">([^<>]+)</text>", svg)]


def test_the_page_is_whole(run: Path) -> None:
    page = read_page(run / "report.html")
    assert page.faults == []
    assert re.search(r"\b(nan|None)\b", page.text) is None
    assert len(page.all("figure")) == 4


def test_transfer_is_drawn_beside_the_languages_own_model_and_its_baseline(run: Path) -> None:
    texts = svg_texts(run, "ratings_transfer")
    assert {"Valence: English to Chinese", "Arousal: Chinese to English"} <= set(texts)
    assert {"SAE features", "static embedding", "the test language's own model"} <= set(texts)
    assert texts.index("SAE features") < texts.index("static embedding")
    assert texts.count("Correlation r with ratings") == 4
    assert texts.count("not computed") == 2  # arousal, English to Chinese, by either predictor
    assert "232 to 254 words tested." in read_page(run / "report.html").text


def test_the_matrix_sets_training_against_test_language(run: Path) -> None:
    text = read_page(run / "report.html").text
    assert "tested on English tested on Chinese" in text
    # 0.8125 and 0.5125 of the table, rounded as the report rounds
    cells = r"valence, SAE features English 0\.81[23] \(0\.71[23] to 0\.91[23]\) 0\.51[23] \(0\.41[23] to 0\.61[23]\)"
    assert re.search(cells, text)
    assert re.search(r"valence, static embedding Chinese 0\.31[23] \(.{14}\) 0\.61[23] \(", text)
    assert re.search(r"arousal, SAE features English 0\.81[23] \(.{14}\) not computed arousal", text)


def test_a_cell_without_a_number_says_why(run: Path) -> None:
    text = read_page(run / "report.html").text
    assert "No transfer between languages:" in text
    assert (
        "Chinese-only features, trained on Chinese: 2 features are fewer than the 3 that a set needs." in text
    )


def test_translations_that_were_held_out_are_told(run: Path) -> None:
    text = read_page(run / "report.html").text
    assert "25% of the English words against Chinese" in text
    assert "25% of the Chinese words against English" in text
    assert "may have seen a test word's translation" not in text


def test_without_translations_the_report_warns(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", languages=["en", "zh"], stages=("ratings",))
    write(run, "ratings_transfer", [row | {"linked": 0.0} for row in transfer_rows()])
    assert "may have seen a test word's translation" in read_page(draw(run)).text


def test_groups_of_raters_stand_beside_what_one_truth_gives(run: Path) -> None:
    texts = svg_texts(run, "rater_groups")
    assert {"arousal: men − women", "valence: men − women"} <= set(texts)
    assert not [text for text in texts if "north" in text]  # nothing was compared
    assert {"SAE features", "raw residual", "expected if both share one truth"} <= set(texts)
    assert texts.index("SAE features") < texts.index("raw residual")
    text = read_page(run / "report.html").text
    assert "13,000 words, the same for both groups." in text
    assert "from 250 simulations, is that null" in text


def test_groups_are_told_apart_in_words_and_in_full(run: Path) -> None:
    text = read_page(run / "report.html").text
    assert "the model shares the arousal of women rather than men (adjusted p = 0.008)." in text
    assert "men − women arousal SAE features 0.400, 0.500 0.393, 0.583 0.638, 0.655 −0.123" in text
    assert "north − south valence SAE features not computed" in text


def test_groups_that_feel_alike_are_said_to(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("ratings",))
    write(run, "ratings_groups", [row for row in group_rows()[:4] if row["target"] == "valence"])
    text = read_page(draw(run)).text
    assert "no group's ratings are shared more than the other's" in text
    assert "adjusted p at least 0.600" in text


def test_one_language_and_one_group_have_neither_figure(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("ratings",))
    text = read_page(draw(run)).text
    assert {path.stem for path in (run / "figures").glob("*.svg")} == {"ratings_scatter", "ratings_bars"}
    assert "Trained on one language" not in text


def name_data_sets(run: Path, rows: list[dict[str, Any]]) -> None:
    """Let a run's ratings be those of data sets: one copy of the tables for each, r moved by `lift`."""
    write(run, "ratings_data_sets", [{k: v for k, v in row.items() if k != "lift"} for row in rows])
    for name in ("scores", "predictions", "weights"):
        path = run / "tables" / f"ratings_{name}.parquet"
        table, parts = pl.read_parquet(path), []
        for row in rows:
            part = table.filter(pl.col("language") == row["language"])
            part = part.with_columns(pl.lit(row["norms"]).alias("norms"))
            if name == "scores":
                part = part.with_columns(pl.col("r") + row["lift"], n_words=pl.lit(row["n_words"]))
            parts.append(part)
        pl.concat(parts).write_parquet(path)


def data_set(norms: str, study: int, n_words: int, lift: float, language: str = "en") -> dict[str, Any]:
    return {
        "norms": norms,
        "language": language,
        "study": study,
        "n_words": n_words,
        "n_excluded": 7 + study,
        "lift": lift,
    }


def test_each_data_set_is_shown_under_its_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("ratings",))
    name_data_sets(run, [data_set("warriner", 0, 1300, 0.0), data_set("glasgow", 1, 500, -0.1)])
    pair = {"a": "warriner", "b": "glasgow", "language": "en", "target": "arousal", "n_words": 400}
    write(run, "ratings_agreement", [pair | {"r": 0.6123, "ceiling_a": 0.8312, "ceiling_b": None}])
    page = read_page(draw(run))
    assert page.faults == []
    assert re.search(r"\b(nan|None)\b", page.text) is None
    figures = {path.stem for path in (run / "figures").glob("*.svg")}
    assert figures == {"ratings_data_sets"} | {
        f"{name}-ratings_{kind}" for name in ("warriner", "glasgow") for kind in ("scatter", "bars")
    }
    assert "No ceiling is known for arousal in English" in page.text  # its column holds one number and a dash
    # the first screen, the figure, the table and each data set's own section tell them apart
    assert (
        "of 1,300 English words in warriner are predicted from the features: valence with r = 0.721"
        in page.text
    )
    assert (
        "of 500 English words in glasgow are predicted from the features: valence with r = 0.621" in page.text
    )
    assert "Valence of words predicted, English (glasgow), r 0.621" in page.text
    assert {"Valence, warriner, English", "Arousal, glasgow, English"} <= set(
        svg_texts(run, "ratings_data_sets")
    )
    assert "glasgow, English arousal 500 0.462" in page.text
    assert "warriner and glasgow English arousal 400 0.612 0.831 \u2013" in page.text
    first, second = page.text.index("Ratings of warriner"), page.text.rindex("Ratings of glasgow")
    assert "7 rated words left" in page.text[first:second]
    assert "8 rated words left" in page.text[second:]
    assert "people's ratings (glasgow)" in page.text[second:]
    assert len({each["id"] for each in page.all("section")}) == len(page.all("section"))


def test_one_data_set_a_language_is_one_study_under_both_names(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("ratings",), languages=["en", "zh"])
    name_data_sets(run, [data_set("warriner", 0, 1300, 0.0), data_set("cvaw3", 0, 500, 0.0, "zh")])
    text = read_page(draw(run)).text
    assert {path.stem for path in (run / "figures").glob("*.svg")} == {"ratings_scatter", "ratings_bars"}
    assert "people's ratings (warriner and cvaw3)" in text
    assert "of 1,300 English words are predicted" in text


def test_data_sets_over_depth_are_panels_of_their_own(tmp_path: Path) -> None:
    sites = [SITE, "blocks.5.hook_resid_post"]
    run = make_run(tmp_path / "run", stages=("ratings",), sites=sites)
    name_data_sets(run, [data_set("warriner", 0, 1300, 0.0), data_set("glasgow", 1, 500, -0.1)])
    table = pl.read_parquet(run / "tables" / "ratings_data_sets.parquet").drop("site")
    both = pl.concat([table.with_columns(pl.lit(site).alias("site")) for site in sites])
    both.write_parquet(run / "tables" / "ratings_data_sets.parquet")
    draw(run)
    texts = svg_texts(run, "depth_ratings")
    assert {"Valence, English (warriner)", "Arousal, English (glasgow)"} <= set(texts)


@pytest.mark.parametrize(
    ("model", "says", "never", "cites"),
    [
        ("pls", "by partial least squares with nested cross-validation", "ridge regression", "Wold, S."),
        ("ridge", "by ridge regression with nested cross-validation", "least squares", "Hoerl"),
        (None, "by ridge regression with nested cross-validation", "least squares", "Hoerl"),
    ],
)
def test_methods_name_the_regression_that_was_used(
    tmp_path: Path, model: str | None, says: str, never: str, cites: str
) -> None:
    config = manifest(["en"])["config"]
    config["ratings"] = config["ratings"] | {"components": 12} | ({"model": model} if model else {})
    run = make_run(tmp_path / "run", stages=("ratings",), about={"config": config})
    blocks = methods_section(read_run(run)).blocks
    text = " ".join(next(block.texts for block in blocks if block.kind == "copy"))  # type: ignore[union-attr]
    works = " ".join(ref.text for block in blocks if block.kind == "references" for ref in block.references)  # type: ignore[union-attr]
    assert says in text
    assert never not in text
    assert ("number of components, at most 12" in text) == (model == "pls")
    assert cites in works
    assert ("Hoerl" in works) == (model != "pls")


def test_groups_are_compared_by_ridge_whatever_the_model(run: Path) -> None:
    assert "Groups of raters were compared by ridge regression" in read_page(run / "report.html").text
