"""Analyses that stand beside the main ones: stability, random sets, beyond valence, concepts without feeling."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_cases import SITE, VALENCE, make_run, read_page

from emosae.report import draw

CONCEPTS = list(VALENCE)


def stability_rows() -> list[dict[str, Any]]:
    """Agreement that rises with the words, for the sets and for each emotion of two languages."""
    rows = []
    for place, fraction in enumerate((0.5, 1.0)):
        for name in ("en", "zh", "universal", "space"):
            rows.append(
                {
                    "set": name,
                    "concept": None,
                    "fraction": fraction,
                    "n_words": 3.0 * (place + 1),
                    "n_features": 20.0,
                    "jaccard": 0.2111 + 0.2 * place,
                    "jaccard_sd": 0.05,
                    "jaccard_chance": 0.0333,
                    "jaccard_concepts": 0.1777 + 0.1 * place,
                    "jaccard_mismatched": 0.0222,
                    "rank_correlation": 0.5 if name in {"en", "zh"} else None,
                    "rank_correlation_sd": 0.02 if name in {"en", "zh"} else None,
                    "rank_mismatched": 0.1 if name in {"en", "zh"} else None,
                    "n_splits": 5,
                }
            )
        rows += [
            {
                "set": language,
                "concept": concept,
                "fraction": fraction,
                "n_words": 3.0,
                "n_features": 4.0,
                "jaccard": None if concept == "calm" else 0.4 if concept != "anger" else 0.0,
                "jaccard_sd": None if concept == "calm" else 0.1,
                "jaccard_chance": 0.01,
                "n_splits": 5,
            }
            for language in ("en", "zh")
            for concept in CONCEPTS
        ]
    return rows


def control_rows() -> list[dict[str, Any]]:
    spaces = ("residual_en", "features_en", "error_en")
    return [
        {
            "space": space,
            "r_valence": 0.7,
            "share": None if space == "error_en" else 0.3456,
            "ci_low": None if space == "error_en" else 0.2,
            "ci_high": None if space == "error_en" else 0.5,
            "statistic": None if space == "error_en" else 0.0123,
            "expected": None if space == "error_en" else 0.0199,
            "p": None if space == "error_en" else 0.81,
            "n_concepts": 5,
            "n_control": 27,
            "n_permutations": 1000,
        }
        for space in spaces
    ]


def write(run: Path, name: str, table: pl.DataFrame) -> None:
    with_site = table.with_columns(pl.lit(SITE).alias("site"))
    with_site.write_parquet(run / "tables" / f"{name}.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(
        tmp_path_factory.mktemp("analyses") / "run", languages=["en", "zh"], stages=("select", "geometry")
    )
    write(folder, "select_stability", pl.DataFrame(stability_rows(), infer_schema_length=None))
    overview = [
        {
            "language": language,
            "concept": concept,
            "words": 41,
            "missing": 3 if concept == "joy" else 0,
            "passing": 17,
            "agreement": 0.31 if concept != "calm" else None,
            "agreement_chance": 0.02,
        }
        for language in ("en", "zh")
        for concept in CONCEPTS
    ]
    write(folder, "select_overview", pl.DataFrame(overview, infer_schema_length=None))
    write(folder, "geometry_control", pl.DataFrame(control_rows(), infer_schema_length=None))
    places = {"space": ["features_en"] * 8, "concept": [f"tool{i}" for i in range(8)]}
    write(
        folder,
        "geometry_control_coordinates",
        pl.DataFrame(places | {"valence_predicted": [float(i) for i in range(8)]}),
    )
    path = folder / "tables" / "geometry_rsa.parquet"
    rsa = pl.read_parquet(path)
    random = {
        "space": "random_en",
        "role": "control",
        "comparator": "rho-a",
        "score": 0.2,
        "n_concepts": 5,
        "n_raters": 40,
        "n_draws": 50,
        "draws_low": 0.1,
        "draws_high": 0.3,
        "site": SITE,
    }
    rsa = pl.concat([rsa, pl.DataFrame([random])], how="diagonal_relaxed")
    rsa.with_columns(pl.when(pl.col("space") == "features_en").then(0.0196).alias("p_random")).write_parquet(
        path
    )
    draw(folder)
    return folder


def svg_texts(run: Path, name: str) -> list[str]:
    svg = (run / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    return [text.strip() for text in re.findall(r">([^<>]+)</text>", svg)]


def test_every_figure_has_a_sentence_above_it_and_none_is_empty(run: Path) -> None:
    page = read_page(run / "report.html")
    assert page.faults == []
    figures, leads = page.all("figure"), [a for a in page.all("p") if a.get("class") == "lead"]
    assert len(figures) == len(leads) >= 9
    classes = [a.get("class") if tag == "p" else tag for tag, a in page.tags if tag in {"p", "figure"}]
    assert all(classes[at - 1] == "lead" for at, kind in enumerate(classes) if kind == "figure")
    for label in (a for tag, a in page.tags if tag == "svg"):
        assert len(label["aria-label"]) > 40
    assert re.search(r"\b(nan|None)\b", page.text) is None


def test_stability_stands_beside_random_sets_and_other_emotions(run: Path) -> None:
    texts = svg_texts(run, "stability")
    assert {
        "an emotion's own features",
        "features of two different emotions",
        "random sets as large as all together",
        "Jaccard index",
        "Words of an emotion in a half (mean number)",
        "± 1 SD over splits",
    } <= set(texts)
    assert {"English: the same features?", "Chinese: the same order of all features?"} <= set(texts)
    assert "5 random splits" in read_page(run / "report.html").text


def test_stability_emotion_by_emotion_leaves_out_what_was_not_selected(run: Path) -> None:
    texts = svg_texts(run, "stability_emotions")
    assert {"joy", "love", "fear", "anger", "random sets of the same size"} <= set(texts)
    assert "calm" not in texts
    # anger agrees less than random sets would, in both languages
    assert "6 of 8 lie above it." in read_page(run / "report.html").text


def test_the_best_features_stand_beside_words_tests_and_agreement(run: Path) -> None:
    page = read_page(run / "report.html")
    assert "joy 41 (3 not read) 17 1 0.80 0.012 0.31 0.02" in page.text
    assert "calm 41 17 41 0.80 0.012 – 0.02" in page.text


def test_without_an_overview_the_table_of_best_features_stays(tmp_path: Path) -> None:
    text = read_page(draw(make_run(tmp_path / "run", stages=("select",)))).text
    assert "joy 1 0.80 0.012 happy" in text
    assert "Passing:" not in text


def test_random_sets_show_their_spread_and_how_many_reach_the_features(run: Path) -> None:
    texts = svg_texts(run, "rsa")
    assert "random features (English)" in texts
    assert "where 95% of the single random sets lie" in texts
    page = read_page(run / "report.html")
    assert "mean of 50 sets of as many features" in page.text
    assert "random sets as good (share, p)" in page.text
    assert "0.020" in page.text


def test_beyond_valence_is_drawn_beside_its_null(run: Path) -> None:
    texts = svg_texts(run, "beyond_valence")
    assert "expected where valence is all that is shared" in texts
    assert "SAE features (English), p = 0.030" in texts
    assert "Likeness (rho-a)" in texts


def test_the_control_set_is_drawn_features_first_with_its_null(run: Path) -> None:
    texts = svg_texts(run, "control_set")
    names = [text for text in texts if text.endswith("(English)")]
    assert names == ["SAE features (English)", "raw residual (English)", "SAE error term (English)"]
    assert texts.count("not computed") == 2  # the error term shows no direction of valence
    assert "expected for shuffled valence" in texts
    assert {"Spread over the emotions' own (ratio)", "Share of their variance (0 to 1)"} <= set(texts)
    page = read_page(run / "report.html")
    assert "27 control concepts and 5 emotions." in page.text
    assert (
        "furthest to the unpleasant side lie tool0, tool1, tool2, tool3, to the pleasant side tool7"
        in page.text
    )


def test_what_was_not_looked_at_has_no_figure(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("select", "geometry"))
    text = read_page(draw(run)).text
    drawn = {path.stem for path in (run / "figures").glob("*.svg")}
    assert not drawn & {"stability", "stability_emotions", "control_set"}
    assert "two halves of the words" not in text  # nor an empty table
    assert "Concepts without feeling" not in text


def test_methods_tell_of_stability_and_controls(run: Path) -> None:
    text = read_page(run / "report.html").text
    assert "The words were halved at random" in text
    assert "Concepts without feeling went through the same steps" in text
    assert "random sets of as many features" in text
