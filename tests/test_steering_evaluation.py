"""The evaluation of steering from end to end on a tiny model: what is written, judged, kept and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from evaluation_cases import OPENINGS, REPORTED, SAMPLED, run, settings, write_passages
from lens_cases import SITE, tiny_lens

import emosae
from emosae.artifacts import load_result, save_result, write_json
from emosae.concepts import load_concepts
from emosae.errors import UserError
from emosae.features import extract
from emosae.lens import Lens
from emosae.models import Site
from emosae.report import draw
from emosae.steering.config import SteeringConfig
from emosae.steering.evaluation import SteeringResult, study_steering
from emosae.steering.evaluation.necessity import first_tokens, measure_necessity
from emosae.steering.evaluation.passages import read_passages
from emosae.steering.evaluation.writing import Ask, Writer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder and a cache that this file's tests share."""
    root = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOSAE_CACHE", str(root / "cache"))
        yield root


@pytest.fixture(scope="module")
def lens(place: Path) -> Lens:
    return tiny_lens(place, languages=("en", "zh"))


@pytest.fixture(scope="module")
def passages(place: Path) -> Path:
    return write_passages(place / "passages.jsonl")


@pytest.fixture(scope="module")
def found(lens: Lens, passages: Path) -> SteeringResult:
    return run(lens, settings(passages))


def test_every_method_writes_from_the_same_openings(found: SteeringResult) -> None:
    methods = {"unsteered", "word_features", "passage_features", "diff_mean", "decoder_sum", "prompt"}
    methods |= {"random_features", "random_direction"}
    assert set(found.methods["method"]) == methods
    assert set(found.methods["language"]) == {"en", "zh", "all"}
    keys = (
        found.texts.filter(pl.col("method") == "unsteered").select("language", "prompt", "opening").unique()
    )
    assert set(keys["opening"]) == {text for texts in REPORTED.values() for text in texts}
    for (_, emotion, _dose), own in found.texts.group_by("method", "emotion", "dose"):
        assert emotion in ("", "joy", "fear")
        assert (
            own.select("language", "prompt", "opening")
            .sort("language", "prompt")
            .equals(keys.sort("language", "prompt"))
        )
    assert found.main in ("word_features", "passage_features")
    assert found.best in methods
    assert found.verdict.endswith(".")
    shares = found.expressed.group_by("method", "language", "intended").agg(pl.col("share").sum())
    assert shares["share"].to_list() == pytest.approx([1.0] * shares.height)


def test_doses_are_chosen_on_other_openings_by_the_best_score(found: SteeringResult) -> None:
    choose = found.scores.filter((pl.col("part") == "choose") & (pl.col("language") == "all"))
    assert choose["rate_low"].null_count() == choose.height  # no interval is shown of what was chosen by
    for row in found.doses.filter(pl.col("choose_score").is_not_null()).iter_rows(named=True):
        own = choose.filter((pl.col("method") == row["method"]) & (pl.col("emotion") == row["emotion"])).sort(
            "dose"
        )
        assert row["choose_score"] == pytest.approx(own["score"].max())
        assert row["dose"] == own["dose"][own["score"].arg_max()]
    by_method = (
        choose.group_by("method", "emotion")
        .agg(pl.col("score").max())
        .group_by("method")
        .agg(pl.col("score").sum())
    )
    best = by_method.filter(pl.col("method").str.ends_with("_features")).sort("score", descending=True)
    assert dict(best.iter_rows())[found.main] == pytest.approx(best["score"][0])
    controls = found.doses.filter(pl.col("method") == "random_direction").sort("emotion")["dose"]
    assert controls.equals(found.doses.filter(pl.col("method") == found.main).sort("emotion")["dose"])


def test_transfer_sets_are_chosen_from_the_language_they_say(found: SteeringResult) -> None:
    assert {"universal", "en", "zh", "control"} <= set(found.transfer["set"])
    assert set(found.transfer.filter(set="en")["chosen_from"]) == {"en"}
    assert set(found.transfer["language"]) == {"en", "zh"}
    written = found.texts.filter(pl.col("method") == "transfer/control")
    assert written.height == 8


def test_what_was_written_is_kept_and_a_study_that_was_cut_off_goes_on(
    lens: Lens, passages: Path, monkeypatch: pytest.MonkeyPatch, found: SteeringResult
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(lens.model, "generate", fail)
    again = run(lens, settings(passages))
    assert again.texts.equals(found.texts, null_equal=True)
    assert again.methods.equals(found.methods, null_equal=True)
    with pytest.raises(AssertionError, match="written again"):
        run(lens, settings(passages, decoding=SAMPLED | {"temperature": 0.8}))


def test_a_text_does_not_depend_on_what_is_written_beside_it(lens: Lens) -> None:
    block = lens.steer({"joy": 3.0}, output_score=False)
    sae = lens.saes[Site.parse(SITE)]
    clamps = tuple(replace(clamp, sae=sae.fingerprint) for clamp in block.plan.rows[0])
    asks = [
        Ask(method="m", emotion="joy", language="en", dose=1.0, prompt=at % 3, seed=at % 2,
            opening=OPENINGS["en"][at % 3], clamps=clamps if at % 2 else ())
        for at in range(6)
    ]  # fmt: skip

    def written(rows: int) -> list[list[int]]:
        made = Writer(
            lens=lens, saes=[sae], scope="generated", decoding=SAMPLED, batch_rows=rows, use_cache=False
        )
        return [text.answer for text in made.write(asks, "texts")]

    together, alone = written(6), written(1)
    assert together == alone
    assert len({tuple(answer) for answer in together}) > 2


def test_necessity_is_the_fall_of_the_right_words_and_nothing_where_nothing_fires(lens: Lens) -> None:
    sae, concepts = lens.saes[Site.parse(SITE)], load_concepts("ekman6").restrict(languages=["en"])
    words = first_tokens(lens.tokenizer, concepts, ["joy", "fear", "anger"], "en", " w80")
    assert words == {"joy": [9], "fear": [10]}  # all other words are the unknown token, which tells nothing
    table = pl.DataFrame(
        {"concept": ["joy", "fear"], "language": ["en", "en"], "text": ["w20 w21 w22", "w23 w24"]}
    )
    ids = torch.tensor([lens.tokenizer("w20 w21 w22 w80")["input_ids"]])
    active = lens.encode(["w20 w21 w22 w80", "w23 w24 w80"], pooling="max").csr
    silent = [at for at in range(sae.d_sae) if not active[:, [at]].nnz][:2]
    loud = sorted(range(sae.d_sae), key=lambda at: -active[0, at])[:3]
    sets = {"joy": loud, "fear": silent or [0]}
    found = measure_necessity(
        lens,
        sae,
        table,
        concepts,
        {"en": " w80"},
        sets,
        {"joy": [loud[0]], "fear": silent or [0]},
        n_resamples=10,
    )
    rows = {(row["ablated"], row["emotion"]): row for row in found.iter_rows(named=True)}

    def log_p(features: Sequence[int]) -> float:
        clamps = [emosae.Clamp(feature, "ablate") for feature in features]
        with torch.no_grad(), emosae.steer(lens.model, sae, clamps, "all"):
            return float(lens.model(ids).logits[0, -1].log_softmax(-1)[9])

    own = rows["joy", "joy"]
    assert own["log_probability"] == pytest.approx(log_p([]), abs=1e-4)
    assert own["fall"] == pytest.approx(log_p([]) - log_p(loud), abs=1e-4)
    assert abs(own["fall"]) > 1e-3
    assert own["difference"] == pytest.approx(log_p([loud[0]]) - log_p(loud), abs=1e-4)
    if silent:
        assert rows["fear", "fear"]["fall"] == pytest.approx(0.0, abs=1e-5)


def test_the_result_is_stored_and_its_report_is_drawn_from_the_tables(
    found: SteeringResult, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    save_result(folder, "steer", {SITE: found})
    again = load_result(folder, "steer", SteeringResult)[SITE]
    assert again.methods.equals(found.methods, null_equal=True)
    assert (again.main, again.verdict, again.n_prompts) == (found.main, found.verdict, 2)
    write_json(folder / "manifest.json", {"config": {"language": ["en", "zh"]}, "headline": []})
    page = draw(folder).read_text(encoding="utf-8")
    for name in ("methods", "doses", "expressed", "transfer", "necessity"):
        assert (folder / "figures" / f"steering_{name}.svg").is_file()
    assert found.verdict in page
    assert "Samples side by side" in page
    sample = found.texts.filter((pl.col("method") == "unsteered") & (pl.col("prompt") == 0))["text"][0]
    assert sample in page


def test_without_passages_features_and_directions_are_made_of_words(lens: Lens, passages: Path) -> None:
    words = load_concepts("ekman6").words.filter(pl.col("language").is_in(["en", "zh"]))
    items = (
        words.group_by("concept", "language", maintain_order=True).head(2).select("language", "word").unique()
    )
    items = items.with_columns(pl.col("word").alias("text"), pl.lit(0).alias("start"))
    items = items.with_columns(pl.col("text").str.len_chars().cast(pl.Int64).alias("end"))
    site = Site.parse(SITE)
    reading = extract(lens.model, lens.tokenizer, lens.saes, items, baselines=True)[site]
    concepts = load_concepts("ekman6").restrict(languages=["en", "zh"])
    config = replace(settings(passages), passages=None, transfer=False)
    found = study_steering(lens, site, config, concepts, words=reading, neutral=None)
    assert found.main == "word_features"
    assert "passage_features" not in set(found.methods["method"])
    assert {"diff_mean", "decoder_sum"} <= set(found.methods["method"])
    assert found.necessity.is_empty()
    assert found.transfer.is_empty()
    assert any("names no passages" in note for note in found.notes)


def test_openings_are_never_both_chosen_on_and_reported(lens: Lens, passages: Path) -> None:
    shared = {"en": [OPENINGS["en"][0]], "zh": ["w59"]}
    with pytest.raises(
        UserError, match="must be other ones than those that doses are chosen on, got 'Once w20'"
    ):
        run(lens, settings(passages, report_prompts=shared))
    with pytest.raises(UserError, match=r"steering\.report_prompts must hold openings in each language"):
        run(lens, settings(passages, report_prompts={"en": ["w40"]}))
    with pytest.raises(UserError, match=r"no emotion 'joi'\. Did you mean 'joy'"):
        run(lens, settings(passages, emotions=["joi"]))


def test_passages_that_cannot_be_used_are_refused(tmp_path: Path, passages: Path) -> None:
    table = read_passages(str(passages), ["joy", "fear"], ["en"], 4, 2)
    assert table.group_by("part", "concept").len().sort("part", "concept").rows() == [
        ("features", "", 6), ("features", "fear", 4), ("features", "joy", 4),
        ("necessity", "fear", 2), ("necessity", "joy", 2),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"got none of anger \(en\)"):
        read_passages(str(passages), ["joy", "anger"], ["en"], 4, 2)
    (tmp_path / "bad.csv").write_text("emotion,text\njoy,hello\n")
    with pytest.raises(UserError, match="must have the columns concept, language and text"):
        read_passages(str(tmp_path / "bad.csv"), ["joy"], ["en"], 4, 2)
    with pytest.raises(UserError, match="file of passages is not at"):
        read_passages(str(tmp_path / "gone.csv"), ["joy"], ["en"], 4, 2)


def test_the_phantoms_passages_do_not_name_what_is_asked_for() -> None:
    table = read_passages("phantom", ["joy", "anger"], ["en", "zh"], 3, 5)
    held = table.filter(pl.col("part") == "necessity")
    assert held.height == 20
    words = load_concepts("phantom27").words.filter(pl.col("concept").is_in(["joy", "anger"]))
    for row in held.iter_rows(named=True):
        own = words.filter((pl.col("concept") == row["concept"]) & (pl.col("language") == row["language"]))[
            "word"
        ]
        assert not any(word in row["text"][row["start"] :].split() for word in own)
        assert row["end"] == len(row["text"])
    assert not set(held["text"]) & set(table.filter(pl.col("part") == "features")["text"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"doses": []}, "numbers above 0"), ({"doses": [0.0]}, "numbers above 0"), ({"seeds": []}, "at least one number"),
     ({"n_report": 0}, "must be at least 1")],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SteeringConfig(**wrong)


@pytest.mark.slow
def test_the_phantom_is_steered_by_what_was_planted(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emosae import cli

    monkeypatch.chdir(tmp_path)
    small = [
        "steering.emotions=[joy,anger]",
        "steering.doses=[1.5,2.5]",
        "steering.n_choose=2",
        "steering.n_report=3",
    ]
    small += ["steering.n_necessity=4", "steering.n_passages=8", "steering.n_resamples=100"]
    small += [
        "steering.classifier=lexicon",
        "steering.second_classifier=norms",
        "selection.stability_splits=0",
    ]
    one = "sae.path=[phantom:weights/sae_layer_1_jumprelu]"
    assert cli.main(["steer", "preset=phantom", one, *small]) == 0
    (folder,) = (tmp_path / "outputs" / "steer").iterdir()
    (found,) = load_result(folder, "steer", SteeringResult).values()
    rates = dict(found.methods.filter(language="all").select("method", "rate").rows())
    assert max(rates["diff_mean"], rates["decoder_sum"]) >= rates["random_features"] + 0.1
    assert rates["random_direction"] <= 0.25
    same = found.necessity.filter(pl.col("ablated") == pl.col("emotion"))
    other = found.necessity.filter(pl.col("ablated") != pl.col("emotion"))
    assert same["fall"].mean() > max(same["fall_control"].mean(), other["fall"].mean()) + 0.1
    assert (folder / "figures" / "steering_necessity.svg").is_file()
