"""What the report says of steering: each number beside what it must be compared with, from tables made by hand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from report_cases import SITE, Page, make_run, manifest, read_page

from emosae.artifacts import save_result
from emosae.report import draw
from emosae.report.sections import steering_texts
from emosae.report.source import Run, Stage
from emosae.steering.evaluation import SteeringResult
from emosae.steering.evaluation.necessity import NECESSITY_SCHEMA
from emosae.steering.evaluation.sense import SENSE_SCHEMA

SCORES = {
    "passage_features": 0.5217, "word_features": 0.2111, "decoder_sum": 0.4333, "diff_mean": 0.6444, "prompt": 0.6052,
    "random_features": 0.0833, "random_direction": 0.0912, "unsteered": 0.0,
}  # fmt: skip
RATES = {
    "passage_features": 0.625,
    "diff_mean": 0.99,
    "prompt": 0.79,
    "random_features": 0.04,
    "unsteered": 0.0,
}
SETTINGS = {
    "doses": [1.0, 2.0], "n_features": 8, "n_passages": 20, "op": "at_least", "scope": "generated",
}  # fmt: skip
VERDICT = "DiffMean has the best score, 0.64, before the prompt with 0.61."


def row(method: str, **more: Any) -> dict[str, Any]:
    """Scores of one method, the same content and fluency for all."""
    score = SCORES[method]
    return {
        "method": method, "score": score, "score_low": score - 0.01 if score else None,
        "score_high": score + 0.01 if score else None, "rate": RATES.get(method, 0.3), "rate_low": None,
        "rate_high": None, "second_rate": 0.25, "content": 0.4, "content_low": None, "content_high": None,
        "fluency": 0.9, "fluency_low": None, "fluency_high": None, "overlap": 0.1, "perplexity_ratio": 1.1,
        "distinct_2_ratio": 1.0, "repeated_4": 0.0, "valence": 0.1, "arousal": 0.2,
    } | more  # fmt: skip


def result(**changes: Any) -> SteeringResult:
    """A study of joy and anger in English and Chinese."""
    emotions, languages = ("joy", "anger"), ("en", "zh", "all")
    each = [(emotion, language) for emotion in emotions for language in languages]
    scores = [
        row(method, part="choose", emotion=emotion, language=language, dose=dose)
        for method in ("passage_features", "word_features", "diff_mean", "decoder_sum")
        for emotion, language in each
        for dose in (1.0, 2.0)
    ]
    scores += [
        row("passage_features", part="report", emotion=emotion, language=language, dose=dose, rate=0.3 * dose)
        for emotion, language in each
        for dose in (1.0, 2.0)
    ]
    scores += [row("unsteered", part="report", emotion=e, language=y, dose=0.0) for e, y in each]
    difference = {"difference": 0.1, "difference_low": 0.0, "difference_high": 0.2, "n_emotions": 2}
    texts = [
        {
            "part": "report", "method": method, "emotion": "" if method == "unsteered" else emotion,
            "language": language,
            "dose": 0.0 if method in ("unsteered", "prompt") else 1.0, "prompt": 0, "seed": 0,
            "opening": f"opening in {language}", "text": f"{method} {emotion} {language}", "label": None,
        }
        for method in SCORES for emotion in emotions for language in ("en", "zh")
    ]  # fmt: skip
    dosed = [method for method in SCORES if method not in ("prompt", "unsteered")]
    doses = [(method, e, 1.0, 0.5, 1.0, 1.0 if e == "joy" else 2.0) for method in dosed for e in emotions]
    necessity = [
        (a, b, y, 4, -2.0, 0.5 if a == b else 0.1, 0.05, 0.45, 0.3, 0.6, 0.9, 0.5)
        for a in emotions for b in emotions for y in ("en", "zh")
    ]  # fmt: skip
    sense = [
        (name, emotion, language, 5, 5, 2, area, area - 0.1, min(1.0, area + 0.1))
        for name, area in (("passage_features", 0.93), ("control", 0.52))
        for emotion in emotions for language in ("en", "zh")
    ]  # fmt: skip
    given: dict[str, Any] = {
        "texts": pl.DataFrame(texts),
        "scores": pl.DataFrame(scores, infer_schema_length=None),
        "doses": pl.DataFrame(
            doses, schema=["method", "emotion", "dose", "choose_score", "stable_low", "stable_high"], orient="row"
        ),
        "methods": pl.DataFrame(
            [row(method, language=language) | difference for method in SCORES for language in languages],
            infer_schema_length=None,
        ),
        "expressed": pl.DataFrame(
            [("passage_features", y, e, e, 1.0) for y in ("en", "zh") for e in emotions],
            schema=["method", "language", "intended", "expressed", "share"], orient="row",
        ),
        "features": pl.DataFrame({"method": ["passage_features"], "emotion": ["joy"], "feature": [3], "target": [1.0]}),
        "transfer": pl.DataFrame(
            [row("passage_features", set=name, chosen_from="en", emotion="all", language=y, n_features=8.0)
             for name in ("universal", "en", "control") for y in ("en", "zh")], infer_schema_length=None,
        ),
        "necessity": pl.DataFrame(necessity, schema=NECESSITY_SCHEMA, orient="row"),
        "sense": pl.DataFrame(sense, schema=SENSE_SCHEMA, orient="row"),
        "main": "passage_features", "best": "diff_mean", "verdict": VERDICT, "classifier": "some/model",
        "second_classifier": "norms", "sae": "toy", "scope": "generated", "corpus": "toy", "residual_norm": 12.0,
        "content_anchor": 0.5678, "n_prompts": 12, "n_seeds": 1, "n_resamples": 1000,
        "notes": ["Something was left out."],
    }  # fmt: skip
    return SteeringResult(**given | changes)


def drawn(folder: Path, found: SteeringResult | None = None, **settings: Any) -> Page:
    about = {"config": manifest(["en", "zh"])["config"] | {"steering": SETTINGS | settings}}
    run = make_run(folder, languages=["en", "zh"], stages=(), about=about)
    save_result(run, "steer", {SITE: found or result()})
    return read_page(draw(run))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("steered") / "run"


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return drawn(folder)


def test_the_tile_sets_the_features_beside_every_other_way(page: Page) -> None:
    assert (
        "Steering by SAE features: harmonic mean of concept, content and fluency 0.522 interval 0.512 to 0.532 "
        "DiffMean 0.644 prompt instruction 0.605 sum of decoder rows 0.433 as many random features 0.083"
    ) in page.text


def test_the_headline_says_the_rate_who_told_it_and_who_wins(page: Page) -> None:
    assert (
        "Clamping SAE features of example model turns 62% of the texts to the emotion that is meant, told by the "
        "classifier some/model (DiffMean 99%, prompt instruction 79%, random features 4%, unsteered 0%). "
        + VERDICT
    ) in page.text


def test_every_part_has_its_figure(folder: Path, page: Page) -> None:
    assert page.faults == []
    names = {path.stem for path in (folder / "figures").glob("steering_*.svg")}
    parts = ("methods", "doses", "tried", "expressed", "transfer", "sense", "necessity")
    assert names == {f"steering_{part}" for part in parts}
    for name in names:
        svg = (folder / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert "(0 to 1)" in svg or "0 to 1" in svg or "nats" in svg or "0.5 is chance" in svg, name
    methods = (folder / "figures" / "steering_methods.svg").read_text(encoding="utf-8")
    assert "content that unsteered texts of different openings share" in methods
    assert "target rate by norms" in methods
    assert "matched control" in (folder / "figures" / "steering_sense.svg").read_text(encoding="utf-8")
    assert re.search(r"\b(nan|None(?!: no emotion)|NaN|inf)\b", page.text) is None
    assert "Something was left out." in page.text


def test_stable_ranges_and_samples_are_told(page: Page) -> None:
    assert re.search(r"joy 1 1 only .* anger 1 1 to 2 ", page.text)
    assert page.text.index("passage_features joy en") < page.text.index("prompt joy en")
    assert page.text.index("prompt joy en") < page.text.index("unsteered anger en")


def test_sense_is_told_beside_its_control(page: Page) -> None:
    assert "SAE features, by passages joy English 5 5 2 0.93 0.83 to 1.00" in page.text
    assert "matched control joy English 5 5 2 0.52 0.42 to 0.62" in page.text
    assert "left out (at most 2 of one emotion)" in page.text


def test_the_methods_can_be_pasted(page: Page) -> None:
    for part in (
        "at most 8 features were held at no less than their targets at the tokens that were generated",
        "matching pursuit of what 20 passages of the emotion in each language add to others",
        "Beside them stand the difference of mean residuals (DiffMean), the sum of the features' decoder rows, as many "
        "random features, a random direction and an instruction before the opening.",
        "Doses (1, 2) were chosen for each way and emotion on openings of their own; reported are 12 other openings",
        "told by the classifier some/model and, reported beside it, by the emotion whose words lie nearest",
        "Intervals (95%) are from 1,000 resamples of the openings.",
        "features chosen in English or Chinese alone",
        "Passages that do not name their emotion",
    ):
        assert part in page.text, part


def test_works_are_cited_where_they_were_used(page: Page, tmp_path: Path) -> None:
    links = {attributes["href"] for attributes in page.all("a")}
    assert {"https://arxiv.org/abs/2501.17148", "https://arxiv.org/abs/2310.06824"} <= links
    assert "https://doi.org/10.1109/ACSSC.1993.342465" in links
    methods = result().methods.filter(~pl.col("method").is_in(["diff_mean", "passage_features"]))
    few = drawn(tmp_path / "run", result(methods=methods, main="word_features"), passages=None)
    links = {attributes["href"] for attributes in few.all("a")}
    assert "https://arxiv.org/abs/2501.17148" in links
    assert "https://arxiv.org/abs/2310.06824" not in links
    assert "https://doi.org/10.1109/ACSSC.1993.342465" not in links
    assert "the difference of mean residuals (DiffMean)" not in few.text
    assert "matching pursuit" not in few.text


def test_of_several_sites_the_one_that_was_steered_is_named(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", languages=["en", "zh"], sites=[SITE, "blocks.5.hook_mlp_out"], stages=("select",)
    )
    save_result(run, "steer", {SITE: result()})
    text = read_page(draw(run)).text
    assert f"Clamping SAE features of example model at {SITE} turns 62% of the texts" in text
    assert (
        "prompt instruction 0.605 \u2013 sum of decoder rows 0.433 \u2013 as many random features 0.083 \u2013"
        in text
    )


def test_a_run_that_did_not_steer_says_nothing_of_it(tmp_path: Path) -> None:
    text = read_page(draw(make_run(tmp_path / "run", languages=["en", "zh"]))).text
    assert "Steering" not in text
    assert "Clamping" not in text
    assert "AxBench" not in text


def test_emotions_that_are_expressed_as_often_stand_in_the_tables_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = ["fear", "love", "pride", "awe", "grief", "relief", "disgust", "boredom"]
    rows = [
        {"method": "m", "language": "en", "intended": "joy", "expressed": name, "share": 0.125}
        for name in others
    ]
    columns: list[list[str]] = []
    monkeypatch.setattr(
        steering_texts, "draw_heatmaps", lambda _matrices, _rows, names, **_: columns.append(names)
    )
    stage = Stage(tables={"expressed": pl.DataFrame(rows)}, values={"main": "m"})
    run = Run(folder=Path(), manifest={"config": {"language": ["en"]}}, stages={})
    steering_texts.expressed_blocks(run, stage, SimpleNamespace(add=lambda *_args, **_options: None))  # type: ignore[arg-type]
    assert columns == [["joy", *others, "none"]]
