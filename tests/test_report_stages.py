"""The report of what the stages really write: the columns it relies on are theirs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from report_cases import SITE, make_run, read_page
from scipy import sparse
from scipy.spatial.distance import pdist

from emosae.artifacts import save_result
from emosae.geometry import GeometryConfig, study_geometry
from emosae.ratings import RatingsConfig, study_ratings
from emosae.report import draw
from emosae.report.source import read_run
from emosae.selection import select_features

CONCEPTS = [f"emotion{i}" for i in range(12)]
LANGUAGES = ["en", "zh"]


def study(run: Path) -> None:
    """Three small stages on planted numbers, written as the pipeline writes them."""
    rng = np.random.default_rng(0)
    members = [
        (language, c, f"{language}-{c}-{i}") for language in LANGUAGES for c in CONCEPTS for i in range(12)
    ]
    words = pl.DataFrame(members, schema=["language", "concept", "word"], orient="row")
    active = rng.random((words.height, 60)) * (rng.random((words.height, 60)) < 0.1)
    for row, (_, concept, _) in enumerate(members):
        active[row, CONCEPTS.index(concept)] += 3 + rng.random()
    csr = sparse.csr_array(active.astype(np.float32))
    items = words.select("language", "word")
    save_result(run, "select", {SITE: select_features(csr, items, words, None, languages=LANGUAGES)})

    place = np.column_stack([np.linspace(-1, 1, 12), rng.normal(0, 0.5, 12)])
    human = SimpleNamespace(
        concepts=CONCEPTS,
        language="en",
        raters=np.array([pdist(place) + rng.normal(0, 0.3, 66) for _ in range(6)]),
        attributes=pl.DataFrame({"concept": CONCEPTS, "valence": place[:, 0], "arousal": place[:, 1]}),
    )
    spaces = {
        f"{name}_{language}": np.abs(place @ rng.normal(size=(2, 20)) + noise * rng.normal(size=(12, 20)))
        for name, noise in (("features", 0.1), ("matched_control", 3.0), ("residual", 0.2))
        for language in LANGUAGES
    }
    roles = {
        name: "control" if "control" in name else "baseline" if "residual" in name else "model"
        for name in spaces
    }
    config = GeometryConfig(n_permutations=99, n_bootstrap=50)
    save_result(run, "geometry", {SITE: study_geometry(spaces, CONCEPTS, human, config, roles=roles)})

    valence = 5 + active[:96] @ rng.normal(size=60) / 3
    rated = pl.DataFrame(
        {
            "word": [f"{chr(97 + i % 26)}{chr(97 + i // 26)}qx{i}" for i in range(96)],
            "language": ["en"] * 96,
            "valence": valence,
            "arousal": 5 + rng.normal(size=96),
            "valence_sd": [1.0] * 96,
            "valence_n": [20] * 96,
        }
    )
    settings = RatingsConfig(folds=3, inner_folds=2, penalties=3, bootstrap=100, min_words=50, workers=1)
    predictors = {"features": csr[:96], "residual": rng.normal(size=(96, 5))}
    save_result(run, "ratings", {SITE: study_ratings(predictors, rated, config=settings)})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("stages") / "run", languages=LANGUAGES, stages=())
    study(folder)
    draw(folder)
    return folder


def test_every_figure_is_drawn_from_the_stages_own_tables(run: Path) -> None:
    assert {path.stem for path in (run / "figures").glob("*.svg")} == {
        "emotion_map",
        "emotion_map_reference",
        "rdms",
        "rsa",
        "raters",
        "beyond_valence",
        "axes",
        "ratings_scatter",
        "ratings_bars",
        "selection",
    }
    page = read_page(run / "report.html")
    assert page.faults == []
    assert re.search(r"\b(nan|None)\b", page.text) is None
    assert "adds it" not in page.text


def test_scores_of_the_tables_are_on_the_page(run: Path) -> None:
    text = read_page(run / "report.html").text
    stages = read_run(run).stages[SITE]
    rsa = stages["geometry"].tables["rsa"].filter(pl.col("space").str.starts_with("features"))
    for score in rsa["score"].to_list():
        assert f"{score:.3f}".replace("-", "−") in text
    scores = stages["ratings"].tables["scores"]
    assert scores.height == 4
    for column in ("r", "rho", "r2", "rmse"):
        for value in scores[column].to_list():
            assert f"{value:.3f}".replace("-", "−") in text, column
    best = stages["select"].tables["words"].filter(pl.col("in_concept"))["word"][0]
    assert best in text
    for note in stages["geometry"].tables["notes"]["note"].to_list():
        assert note in text


def test_comparisons_and_weights_are_told(run: Path) -> None:
    page = read_page(run / "report.html")
    assert "SAE features − raw residual" in page.text
    assert "corrected t, by fold" in page.text
    assert "paired bootstrap, by word" in page.text
    captions = [text for text in page.texts if "carry each prediction most" in text]
    assert captions
    assert "Likeness beyond valence" in page.text
    assert "feature spaces of English and Chinese are alike" in page.text


def test_a_run_writes_the_overview_of_its_selection(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emosae import pipeline
    from emosae.artifacts import load_result
    from emosae.selection import Selection

    chosen = load_result(run, "select", Selection)
    words = SimpleNamespace(coverage=pl.DataFrame({"language": ["en"], "n_words": [3]}))
    lens = SimpleNamespace(name="model", saes={})
    study = SimpleNamespace(
        features={SITE: words}, selection=chosen, rating_coverage=None, lens=lens, model_id="f00d"
    )
    inputs = SimpleNamespace(ratings=[], human=None, notes=[])
    stand_ins = {
        "load_inputs": lambda *_, **__: inputs,
        "Study": lambda *_: study,
        "headline": lambda *_: [],
        "sources": lambda *_: [],
        "redraw": lambda folder: folder / "report.html",
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(pipeline, name, value)
    ended: list[str] = []
    real = pipeline.save_result
    monkeypatch.setattr(
        pipeline,
        "save_result",
        lambda folder, stage, found: real(folder, stage, found) if stage == "select" else None,
    )

    def finish(stage: str) -> None:
        # the stage counts as done only with its overview, which a later report is drawn from
        assert stage != "select" or (tmp_path / "tables" / "select_overview.parquet").is_file()
        ended.append(stage)

    folder = SimpleNamespace(folder=tmp_path, manifest={}, finish_stage=finish, complete=lambda: None)
    pipeline.run(SimpleNamespace(), "select", folder)  # type: ignore[arg-type]
    assert ended == ["features", "select"]
    table = pl.read_parquet(tmp_path / "tables" / "select_overview.parquet")
    assert table.height == len(CONCEPTS) * len(LANGUAGES)
    assert {"site", "words", "passing", "best_feature"} <= set(table.columns)
    assert (tmp_path / "tables" / "select_overview.csv").is_file()
