"""`emosae browse`, `emosae top` and `emosae card` on the phantom, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from browse_cases import read_call, unpack

from emosae import cli
from emosae.config import compose

SMALL = ["browse.tokens=4000", "browse.contexts=3", "browse.examples=1", "features.use_cache=true"]
SITE = "blocks.2.hook_resid_post"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a cache of its own, in which one browser was built."""
    root = tmp_path_factory.mktemp("browse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSAE_CACHE", str(root / "cache"))
        patch.chdir(root)
        assert cli.main(["browse", "preset=phantom", f"browse.site={SITE}", *SMALL]) == 0
        yield root


@pytest.fixture
def inside(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOSAE_CACHE", str(here / "cache"))
    monkeypatch.chdir(here)
    return here


def test_the_phantom_gets_a_page_with_its_emotions(here: Path) -> None:
    folder = next((here / "outputs" / "browse").iterdir())
    assert (folder / "index.html").is_file()
    assert json.loads((folder / "status.json").read_text())["status"] == "done"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest["inputs"]["saes"]) == [SITE]
    index = unpack(read_call(folder / "data" / "blocks-2-hook-resid-post" / "index.js")[1])
    assert {"joy", "fear"} < set(index["concepts"])
    assert {"en", "zh"} <= set(index["languages"])
    for concept in ("joy", "fear"):
        features, auroc = index["sets"][concept]
        assert features
        assert max(auroc) > 0.7
    scored = [score for score in index["columns"]["output_score"] if score is not None]
    assert scored
    assert all(0 <= score <= 1 for score in scored)
    assert "valence" not in index["columns"]  # no ratings were studied
    contexts = [
        "".join(piece if isinstance(piece, str) else piece[0] for piece in context[2])
        for path in (folder / "data").rglob("0*.js")
        for card in read_call(path)[2]
        for context in card["top"]
    ]
    assert len(contexts) > 200
    assert not any("<s>" in text or "</s>" in text for text in contexts)
    assert any(re.search("[\u4e00-\u9fff]", text) for text in contexts)


def test_top_prints_the_features_of_an_emotion(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["top", "joy", f"browse.site={SITE}", "top.n=3", "language=en"]) == 0
    shown = capsys.readouterr().out
    assert f"joy in en at {SITE}" in shown
    rows = re.findall(r"^ *(\d+) +(0?\.\d+|1\.00)", shown, re.M)
    assert len(rows) == 3
    assert "\x1b[" not in shown  # plain where it is no terminal
    folder = next((inside / "outputs" / "browse").iterdir())
    index = unpack(read_call(folder / "data" / "blocks-2-hook-resid-post" / "index.js")[1])
    assert {int(number) for number, _ in rows} <= set(index["sets"]["joy"][0])


def test_a_card_is_printed_with_its_contexts(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = next((inside / "outputs" / "browse").iterdir())
    index = unpack(read_call(folder / "data" / "blocks-2-hook-resid-post" / "index.js")[1])
    feature = int(np.argmax(index["columns"]["density"]))
    capsys.readouterr()
    assert cli.main(["card", str(feature), f"browse.site={SITE}", *SMALL]) == 0
    shown = capsys.readouterr().out
    maximum = index["columns"]["maximum"][feature]
    assert f"feature {feature} of " in shown
    assert f"maximum {maximum:.3g}" in shown  # as on the page, which read all features
    assert re.search(r"\[[^\]]+\]", shown)
    assert "Promoted: " in shown
    assert "Neighbours: " in shown


def test_a_run_gives_selection_and_ratings(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from emosae.artifacts import save_result, write_json
    from emosae.browse.facts import facts_of_run
    from emosae.ratings import RatingsResult
    from emosae.ratings.tables import WEIGHTS
    from emosae.selection import select_features

    rng = np.random.default_rng(0)
    from scipy import sparse

    words = [f"{concept}{number}" for concept in ("joy", "fear") for number in range(12)]
    items = pl.DataFrame({"word": words, "language": ["en"] * len(words)})
    dense = rng.random((len(words), 20)) * (rng.random((len(words), 20)) < 0.3)
    dense[:, 5] = [*(1 + rng.random(12)), *[0.0] * 12]
    concepts = pl.DataFrame({"concept": ["joy"] * 12 + ["fear"] * 12, "language": ["en"] * 24, "word": words})
    selection = select_features(sparse.csr_array(dense), items, concepts, None)
    empty = pl.DataFrame(schema=WEIGHTS)
    row = {"predictor": "features", "language": "en", "target": "valence", "feature": 5, "weight": 2.0}
    row |= {"spread": 0.1, "stability": 1.0, "importance": 0.5, "rank": 1}
    weights = pl.concat(
        [empty, pl.DataFrame([row, {**row, "predictor": "universal", "feature": 6}], schema=WEIGHTS)]
    )
    blank = pl.DataFrame({"predictor": ["features"]})
    ratings = RatingsResult(
        scores=blank,
        folds=blank,
        predictions=blank,
        comparisons=blank,
        weights=weights,
        config={},
        n_excluded=0,
    )
    run = inside / "run"
    write_json(run / "manifest.json", {"inputs": {}})
    save_result(run, "select", {SITE: selection})
    only = facts_of_run(run)[SITE]
    assert only.weights.is_empty()
    assert "has no ratings" in only.notes[0]
    save_result(run, "ratings", {SITE: ratings})
    found = facts_of_run(run)[SITE]
    assert found.concepts == ("joy", "fear")
    assert found.weights.select("feature", "importance").rows() == [
        (5, 0.5)
    ]  # of the ridge on all features alone
    capsys.readouterr()
    assert cli.main(["top", "joy", f"run={run}", "language=en"]) == 0
    assert re.search(r"^ *5 +1\.00", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["browse", "model=nothing", "sae=nothing"], r"The browser needs a corpus"),
        (["browse", "corpus=missing.txt"], r"The corpus is not at 'missing.txt'"),
        (["browse", "browse.contexts=0"], r"browse.contexts must be at least 1"),
        (["browse", "browse.contxts=3"], r"no setting 'browse.contxts'. Did you mean 'browse.contexts'"),
        (["browse", "run=missing", "browse.tokens=100"], r"missing/manifest.json"),
        (["browse", "-m", "language=[en],[zh]"], r"builds one browser at a time. Leave out -m"),
        (["top"], r"`emosae top` needs an emotion, for example `emosae top joy`"),
        (["top", "joyy"], r"no emotion 'joyy'. Did you mean 'joy'"),
        (["top", "joy", "top.n=x"], r"whole number from 1 is needed, got 'x'"),
        (["card"], r"`emosae card` needs a feature's number"),
        (["card", "joy"], r"whole number from 0 is needed, got 'joy'"),
        (["card", "999999"], r"A feature must be 0 to 1023"),
        (["card", "12", "phantom"], r"'phantom' is not a setting. Write key=value"),
    ],
)
def test_mistakes_are_one_sentence(
    inside: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    before = set((inside / "outputs" / "browse").iterdir())
    capsys.readouterr()
    assert cli.main(words) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(said, line), line
    assert set((inside / "outputs" / "browse").iterdir()) == before  # nothing half-written


def test_an_emotion_that_there_is_not_is_refused_before_the_model_is_opened(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emosae.browse.stage.open_study", lambda _config: pytest.fail("the model was opened"))
    assert cli.main(["top", "joyy"]) == 2
    assert "Did you mean 'joy'" in capsys.readouterr().err


def test_corpus_and_run_are_settings_of_the_browser() -> None:
    config = compose(["corpus=my texts.txt", "run=outputs/run/1"])
    assert (config.browse.corpus, config.browse.run) == ("my texts.txt", "outputs/run/1")
    assert config.preset == "phantom"


def test_the_help_of_the_stage_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["browse", "--help"]) == 0
    shown = capsys.readouterr().out
    for part in ("corpus=FILE|NAME", "run=FOLDER", "browse.tokens", "index.html", "Example: emosae browse"):
        assert part in shown
    assert max(map(len, shown.splitlines())) <= 120
