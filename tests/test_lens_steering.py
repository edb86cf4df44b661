"""A lens that writes: text from prompts, seeds, calibration and what it stores, on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lens_cases import tiny_lens
from models_zoo import build

import emosae
from emosae.errors import UserError
from emosae.lens import Lens
from emosae.steering.calibrate import stable_range
from emosae.steering.emotions import steer_lens
from emosae.steering.scores import harmonic_mean
from emosae.steering.settings import steering_settings
from emosae.steering.stored import Calibration

PROMPTS = {"en": ["Once w20 w21", "my experience", "From w40 w41 w42 w43"]}
SAMPLED: dict[str, Any] = {"do_sample": True, "top_k": 0, "max_new_tokens": 6}


@pytest.fixture
def lens(tmp_path: Path, cache: Path) -> Lens:
    return tiny_lens(tmp_path)


def test_text_comes_back_as_it_was_given(lens: Lens) -> None:
    one = lens.generate("Once w20 w21", max_new_tokens=5)
    ids = torch.tensor([lens.tokenizer("Once w20 w21")["input_ids"]])
    out = lens.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False)
    answer = lens.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert one.split() == ["Once", "w20", "w21", *answer.split()]
    # padded at the left, each text is what it is alone
    assert lens.generate(PROMPTS["en"], max_new_tokens=5) == [
        lens.generate(each, max_new_tokens=5) for each in PROMPTS["en"]
    ]
    assert lens.generate(["Once w20 w21"], max_new_tokens=5) == [one]
    assert len(lens.generate("Once", num_return_sequences=3, **SAMPLED)) == 3
    assert lens.tokenizer.padding_side == "right"


def test_a_seed_gives_the_same_text_and_leaves_the_random_state_alone(lens: Lens) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = lens.generate("Once", seed=1, **SAMPLED)
    assert torch.equal(torch.get_rng_state(), before)
    assert lens.generate("Once", seed=1, **SAMPLED) == first
    assert len({lens.generate("Once", seed=seed, **SAMPLED) for seed in range(4)}) > 1


def test_steered_text_is_what_the_block_gives(lens: Lens) -> None:
    options: dict[str, Any] = {"output_score": False, "scope": "from_last_prompt_token"}
    found = lens.generate(PROMPTS["en"], steer={"joy": 3.0}, steering=options, max_new_tokens=6)
    with lens.steer({"joy": 3.0}, **options):
        assert lens.generate(PROMPTS["en"], max_new_tokens=6) == found
    assert found != lens.generate(PROMPTS["en"], max_new_tokens=6)
    rows = lens.generate(PROMPTS["en"], steer=[None, {"joy": 3.0}, None], steering=options, max_new_tokens=6)
    plain = lens.generate(PROMPTS["en"], max_new_tokens=6)
    assert (rows[0], rows[1], rows[2]) == (plain[0], found[1], plain[2])


def test_wrong_prompts_are_refused(lens: Lens, tmp_path: Path) -> None:
    for wrong in ([], 3, ["a", 3], None):
        with pytest.raises(UserError, match="Prompts must be a text or a list of texts"):
            lens.generate(wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="goes with steer="):
        lens.generate("Once", steering={"language": "en"})
    with pytest.raises(UserError, match="Only a decoder writes text, got BertModel"):
        tiny_lens(tmp_path, "bert").generate("Once")


class _Judge:
    """Calls as many texts joyful as it is told to, dose by dose, and keeps what it saw."""

    def __init__(self, joyful: Sequence[int]) -> None:
        self.joyful = list(joyful)
        self.seen: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[str | None]:
        self.seen.append(list(texts))
        n = self.joyful[len(self.seen) - 1]
        return ["joy"] * n + [None] * (len(texts) - n)


def calibrate(lens: Lens, judge: Any, **options: Any) -> Calibration:
    given: dict[str, Any] = {"output_score": False, "doses": [2.0, 0.5, 1.0], "prompts": PROMPTS} | SAMPLED
    return lens.calibrate("joy", classifier=judge, **(given | options))


def test_calibration_takes_the_dose_with_the_best_harmonic_mean(lens: Lens) -> None:
    judge = _Judge([0, 1, 3, 2])
    found = calibrate(lens, judge)
    assert len(judge.seen) == 4
    own = found.table.filter(pl.col("language") == "en")
    assert own["dose"].to_list() == [0.0, 0.5, 1.0, 2.0]
    assert own["concept"].to_list() == pytest.approx([0, 1 / 3, 1, 2 / 3])
    for row in own.iter_rows(named=True):
        assert row["score"] == pytest.approx(harmonic_mean(row["concept"], row["content"], row["fluency"]))
    assert (own["content"][0], own["fluency"][0], own["perplexity_ratio"][0]) == pytest.approx(
        (1.0, 1.0, 1.0)
    )
    best = own.filter(pl.col("dose") > 0).sort("score", descending=True).row(0, named=True)
    assert (found.dose, found.score) == pytest.approx((best["dose"], best["score"]))
    # what was judged at dose 1 is what the lens writes at dose 1
    texts = lens.generate(
        PROMPTS["en"], steer={"joy": 1.0}, steering={"output_score": False}, seed=0,
        **(steering_settings().decoding | SAMPLED),
    )  # fmt: skip
    answers = [text[len(prompt) :].strip() for text, prompt in zip(texts, PROMPTS["en"], strict=True)]
    assert judge.seen[2] == answers
    assert f"joy: dose {found.dose:g} at blocks.1.hook_resid_post (set, generated)" in str(found)


def test_each_dose_holds_features_at_its_multiple_of_their_targets(
    lens: Lens, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[dict[int, float | None]] = []

    def record(own: Lens, clamps: Sequence[emosae.Clamp], *args: Any, **options: Any) -> Any:
        held.append({clamp.feature: clamp.value for clamp in clamps})
        return steer_lens(own, clamps, *args, **options)

    monkeypatch.setattr("emosae.steering.calibrate.steer_lens", record)
    calibrate(lens, _Judge([0, 1, 3, 2]))
    (row,) = lens.steer({"joy": 1.0}, output_score=False).plan.rows
    assert len(held) == 3
    for dose, own in zip((0.5, 1.0, 2.0), held, strict=True):
        assert own == pytest.approx({clamp.feature: dose * (clamp.value or 0.0) for clamp in row})


def test_a_calibration_is_kept_and_found_for_the_same_features_only(lens: Lens, cache: Path) -> None:
    found = calibrate(lens, _Judge([0, 0, 3, 0]))
    assert found.dose == 1.0
    (kept,) = (cache / "steering").glob("joy-*.json")
    again = Calibration.from_dict(json.loads(kept.read_text()))
    assert again.table.equals(found.table, null_equal=True)
    assert (again.dose, again.stable, again.score) == (found.dose, found.stable, found.score)
    options: dict[str, Any] = {"output_score": False}
    for emotions in ("joy", {"joy": "calibrated"}):
        assert lens.steer(emotions, **options).plan.rows == lens.steer({"joy": 1.0}, **options).plan.rows
    for other in ({"op": "add"}, {"n_features": 2}, {"scope": "all"}):
        with pytest.raises(UserError, match="not calibrated for these features"):
            lens.steer("joy", **(options | other))


def test_a_concept_that_no_dose_expresses_is_said(lens: Lens, cache: Path) -> None:
    with pytest.raises(UserError, match=r"got a score of 0 from 0.5 to 2 \(greatest rate 0.00 by _Judge\)"):
        calibrate(lens, _Judge([0, 0, 0, 0]))
    assert not (cache / "steering").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"doses": []}, "at least one dose"),
        ({"doses": [0.0]}, "dose of 'joy' must be above 0"),
        ({"prompts": {}}, "Prompts must be a mapping of languages to texts"),
        ({"prompts": {"en": []}}, "Prompts must be a text or a list of texts"),
        ({"op": "ablate"}, "An ablation has no dose"),
        ({"op": "scale"}, "no operation for emotions 'scale'"),
    ],
)
def test_calibrations_that_mean_nothing_are_refused(
    lens: Lens, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        calibrate(lens, _Judge([0] * 9), **options)


def test_the_stable_range_is_the_run_around_the_best() -> None:
    doses = [0.5, 1.0, 1.5, 2.0, 3.0]
    assert stable_range(doses, [0.9, 0.9, 0.5, 1.0, 1.0], [1.0] * 5, 3) == (2.0, 3.0)
    assert stable_range(doses, [0.2, 0.9, 1.0, 1.0, 1.0], [1, 1, 1, 0.9, 1], 2) == (1.0, 1.5)
    assert stable_range(doses, [0.2, 0.9, 1.0, 1.0, 1.0], [1, 1, 0.9, 1, 1], 2) is None
    assert stable_range(doses, [0.8, 1.0, 0.8, 0.8, 0.8], [1.0] * 5, 1) == (1.0, 1.0)  # more than 0.8 of it


def test_settings_have_prompts_in_every_language_of_the_shipped_sets() -> None:
    default, phantom = steering_settings(), steering_settings("phantom")
    assert set(default.prompts) == {"en", "zh", "es", "fr", "de", "ja"}
    assert all(len(set(texts)) == len(texts) >= 8 for texts in default.prompts.values())
    assert set(phantom.prompts) == {"en", "zh"}
    assert phantom.site == "blocks.1.hook_resid_post"
    assert steering_settings("no such preset") == default
    with pytest.raises(UserError, match="no language with prompts of its own 'xx'"):
        default.prompts_in("xx")


def test_loading_prepares_the_model_for_compilation(tmp_path: Path) -> None:
    from lens_cases import tokenizer
    from saes_cases import write_folder
    from steering_cases import fitting

    import emosae
    from emosae.steering.hooks import When, check_not_compiled, frame_points

    model = build("llama")
    model.save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    sae = write_folder(tmp_path / "sae", *fitting("jumprelu"))
    lens = emosae.load(model=tmp_path / "model", sae=sae)
    assert (lens.languages, lens.preset, lens.concepts) == (("en",), "custom", "goemotions27")
    lens.model.forward = torch.compile(
        lens.model.forward, backend="eager"
    )  # nothing is compiled until it runs
    block = lens.model.model.layers[1]
    check_not_compiled(lens.model, [*frame_points(lens.model), (block, When.AFTER)])
    with pytest.raises(UserError, match="must be prepared before it is compiled"):
        check_not_compiled(lens.model, [(lens.model.model.layers[2], When.AFTER)])


def test_an_option_of_the_steering_is_not_taken_for_one_of_generate(tmp_path: Path) -> None:
    lens = tiny_lens(tmp_path)
    with pytest.raises(
        UserError, match=r"site= is an option of the steering.* Pass steering=\{'site': 'blocks.1"
    ):
        lens.generate("Once", steer={"joy": 1.0}, site="blocks.1.hook_resid_post")
