"""Scores of steered texts and their intervals, rated words, contrasts and controls: numbers without a model."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from lens_cases import stats
from steering_cases import D_SAE, make_sae

from emosae.concepts import load_concepts
from emosae.features import FeatureMatrix, Reading
from emosae.steering.dose import SHARE, push_norm
from emosae.steering.evaluation.affect import AffectLexicon, nearest_emotion
from emosae.steering.evaluation.contrast import contrast_of, strongest
from emosae.steering.evaluation.judging import TEXT_SCHEMA
from emosae.steering.evaluation.methods import Method, make_tools, matched_control, random_features
from emosae.steering.evaluation.noise import decoding_options
from emosae.steering.evaluation.scoring import Scorer
from emosae.steering.evaluation.tables import method_rows, verdict
from emosae.steering.scores import flow_of, fluency, harmonic_mean

TOKENS = st.lists(st.integers(0, 3), min_size=5, max_size=14)


def row(method: str, answer: list[int], **more: Any) -> dict[str, Any]:
    pairs = list(itertools.pairwise(answer))
    runs = [tuple(answer[i : i + 4]) for i in range(len(answer) - 3)]
    base: dict[str, Any] = {
        "part": "report", "method": method, "emotion": "" if method == "unsteered" else "joy", "language": "en",
        "dose": 0.0 if method == "unsteered" else 1.0, "prompt": 0, "seed": 0, "opening": "o", "text": "t",
        "label": None, "second_label": None, "loss": 1.0, "n_tokens": len(answer), "n_pairs": len(pairs),
        "n_distinct": len(set(pairs)), "n_runs": len(runs), "n_repeated": len(runs) - len(set(runs)),
        "content": 0.5, "overlap": 0.1, "valence": None, "arousal": None,
    }  # fmt: skip
    return base | more


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TEXT_SCHEMA)


@given(
    st.lists(st.tuples(TOKENS, st.floats(0.0, 6.0), st.booleans()), min_size=2, max_size=5),
    st.lists(st.tuples(TOKENS, st.floats(0.0, 6.0)), min_size=2, max_size=5),
)
def test_the_first_draw_is_what_the_plain_scores_say(steered: list[Any], plain: list[Any]) -> None:
    n = min(len(steered), len(plain))
    rows = [
        row(
            "diff_mean", answer, loss=loss, label="joy" if hit else "fear", prompt=at, content=0.25 + 0.1 * at
        )
        for at, (answer, loss, hit) in enumerate(steered[:n])
    ]
    rows += [row("unsteered", answer, loss=loss, prompt=at) for at, (answer, loss) in enumerate(plain[:n])]
    found = Scorer.of(table(rows), ["joy"], 20, 0, False).group("diff_mean", "joy", 1.0)["all"]
    own = flow_of([loss for _, loss, _ in steered[:n]], [answer for answer, _, _ in steered[:n]])
    base = flow_of([loss for _, loss in plain[:n]], [answer for answer, _ in plain[:n]])
    rate, content = np.mean([hit for *_, hit in steered[:n]]), np.mean([0.25 + 0.1 * at for at in range(n)])
    assert found["fluency"][0] == pytest.approx(fluency(own, base))
    assert found["rate"][0] == pytest.approx(rate)
    assert found["score"][0] == pytest.approx(harmonic_mean(float(rate), float(content), fluency(own, base)))
    assert found["perplexity_ratio"][0] == pytest.approx(own.perplexity / base.perplexity)
    assert found["rate"].shape == (21,)


def study(n: int = 12) -> pl.DataFrame:
    """A method that always hits, one that hits on half of the openings, and one like the first."""
    answer = list(range(10))
    rows = [row("unsteered", answer, prompt=at, content=1.0) for at in range(n)]
    for at in range(n):
        rows.append(row("passage_features", answer, prompt=at, label="joy"))
        rows.append(row("diff_mean", answer, prompt=at, label="joy" if at % 2 else None))
        rows.append(row("prompt", answer, prompt=at, label="joy", dose=0.0))
    return table(rows)


def test_intervals_hold_the_share_and_differences_are_paired() -> None:
    scorer = Scorer.of(study(), ["joy"], 400, 1, False)
    shown = [Method.UNSTEERED, Method.PASSAGE_FEATURES, Method.DIFF_MEAN, Method.PROMPT]
    doses = {(Method.PASSAGE_FEATURES, "joy"): 1.0, (Method.DIFF_MEAN, "joy"): 1.0}
    methods, numbers = method_rows(scorer, shown, ["joy"], doses, Method.PASSAGE_FEATURES)
    rows = {each["method"]: each for each in methods.filter(language="all").iter_rows(named=True)}
    half = rows["diff_mean"]
    assert half["rate"] == 0.5
    # the binomial's own 95 % interval of 6 of 12 is about .21 to .79; openings are resampled, so it is near that
    assert 0.15 < half["rate_low"] < 0.35 < 0.65 < half["rate_high"] < 0.85
    assert half["difference_high"] < 0
    same = rows["prompt"]
    assert (same["difference"], same["difference_low"], same["difference_high"]) == (0.0, 0.0, 0.0)
    assert rows["unsteered"]["rate"] == 0.0
    main = Method.PASSAGE_FEATURES
    best, said = verdict({m: numbers[m] for m in (Method.PASSAGE_FEATURES, Method.DIFF_MEAN)}, main)
    assert best is Method.PASSAGE_FEATURES
    assert said.startswith("SAE features chosen by passages has the best score")
    assert "a clear lead" in said
    assert said.endswith(").")
    assert (
        "no clear lead" in verdict({m: numbers[m] for m in (Method.PASSAGE_FEATURES, Method.PROMPT)}, main)[1]
    )


def test_the_verdict_says_where_the_features_stand_if_others_lead() -> None:
    score = {
        Method.DIFF_MEAN: 0.8,
        Method.PROMPT: 0.7,
        Method.WORD_FEATURES: 0.5,
        Method.RANDOM_FEATURES: 0.1,
    }
    numbers = {method: {"score": np.full(3, value)} for method, value in score.items()}
    best, said = verdict(numbers, Method.WORD_FEATURES)
    assert best is Method.DIFF_MEAN
    assert said.endswith("SAE features chosen by words 0.50 and random features 0.10.")
    assert said.count("0.70") == 1
    lone = {method: {"score": np.full(1, value)} for method, value in score.items() if value > 0.6}
    assert (
        verdict(lone, Method.PROMPT)[1] == "DiffMean has the best score, 0.80, before the prompt with 0.70."
    )


def test_noise_gives_each_row_a_sample_of_its_own_softmax() -> None:
    keys = [("en", number, 0) for number in range(4000)]
    options = decoding_options({"do_sample": True, "temperature": 0.5, "max_new_tokens": 3}, keys)
    assert (options["do_sample"], options["max_new_tokens"]) == (False, 3)
    logits = torch.tensor([0.0, 0.5, 1.0])
    chosen = options["logits_processor"](
        torch.zeros(len(keys), 1, dtype=torch.long), logits.expand(4000, 3)
    ).argmax(1)
    shares = np.bincount(chosen.numpy(), minlength=3) / len(keys)
    wanted = (logits / 0.5).softmax(0).numpy()
    assert np.abs(shares - wanted).max() < 4 * math.sqrt(0.25 / len(keys))
    mixed = decoding_options({"do_sample": True, "temperature": 0.5}, [keys[7], keys[3], keys[7]])
    again = mixed["logits_processor"](torch.zeros(3, 1, dtype=torch.long), logits.expand(3, 3)).argmax(1)
    assert again.tolist() == [int(chosen[7]), int(chosen[3]), int(chosen[7])]
    assert decoding_options({"do_sample": False, "num_beams": 2}, keys) == {
        "do_sample": False,
        "num_beams": 2,
    }


def test_rated_words_are_found_in_both_kinds_of_script() -> None:
    lexicon = AffectLexicon.of(
        [
            pl.DataFrame(
                {"word": ["glad", "Sad"], "valence_scaled": [0.8, -0.6], "arousal_scaled": [0.2, None]}
            ),
            pl.DataFrame(
                {"word": ["高兴", "高"], "valence_scaled": [0.6, 0.0], "arousal_scaled": [0.4, 0.0]}
            ),
        ]
    )
    assert lexicon.score("GLAD and sad.") == pytest.approx((0.1, 0.2))
    assert lexicon.score("他很高兴") == pytest.approx((0.6, 0.4))  # the longest word, not the one inside it
    assert all(map(math.isnan, lexicon.score("gladly")))
    assert not AffectLexicon.of([])
    ekman = load_concepts("ekman6").restrict(languages="en")
    words = {concept: ekman.words.filter(concept=concept)["word"][0] for concept in ("joy", "fear")}
    rated = pl.DataFrame(
        {
            "word": [*words.values(), "zebra"],
            "valence_scaled": [0.9, -0.8, -0.7],
            "arousal_scaled": [0.3, 0.6, 0.5],
        }
    )
    classify = nearest_emotion(AffectLexicon.of([rated]), ekman)
    assert classify is not None
    assert classify(["A zebra!", "nothing rated"]) == ["fear", None]
    assert nearest_emotion(AffectLexicon.of([rated.head(1)]), ekman) is None


def reading(rng: np.random.Generator) -> Reading:
    """Texts of joy fire features 3 and 9 on top of what all do, and lie 2 further along the first axis."""
    concepts = ["joy"] * 6 + ["fear"] * 6 + [""] * 6
    csr = rng.uniform(0.0, 0.05, (18, D_SAE))
    csr[:6, 3] += 2.0
    csr[:6, 9] += 1.0
    dense = rng.normal(0.0, 0.01, (18, 4))
    dense[:6, 0] += 2.0
    items = pl.DataFrame({"concept": concepts, "language": ["en"] * 18, "text": ["t"] * 18})
    features = FeatureMatrix(csr=sp.csr_array(csr), items=items)
    return Reading(features=features, dense={"residual": dense})


def test_what_texts_of_an_emotion_add_is_found_again() -> None:
    sae, known = make_sae(), stats()
    contrast = contrast_of(reading(np.random.default_rng(0)), ["joy", "fear"], ["en"])
    residual = contrast.of_residual("joy", ["en"])
    assert residual == pytest.approx([2.0, 0.0, 0.0, 0.0], abs=0.05)
    targets = strongest(contrast.of_features("joy", ["en"]), sae, known, 2)
    assert set(targets) == {3, 9}
    assert targets[3] / targets[9] == pytest.approx(2.0, rel=0.25)
    assert push_norm(sae, targets, known.residual_norm) == pytest.approx(SHARE * known.residual_norm)
    assert 3 not in strongest(contrast.of_features("joy", ["en"]), sae, known, 2, without=[3])


def test_controls_are_of_the_same_size_and_push_and_know_nothing() -> None:
    sae, known = make_sae(), stats()
    own = {"joy": {3: 2.0, 9: 1.0}, "fear": {9: 1.5, 20: 0.5}}
    push = {name: push_norm(sae, each, known.residual_norm) for name, each in own.items()}
    drawn = random_features(sae, known, own["joy"], np.random.default_rng(0))
    assert len(drawn) == 2
    assert not set(drawn) & {3, 9}
    assert push_norm(sae, drawn, known.residual_norm) == pytest.approx(push["joy"])
    control = matched_control(sae, known, own, selected=[1, 2, 4])
    assert set(control) == {"joy", "fear"}
    for name, each in control.items():
        assert not set(each) & {1, 2, 3, 4, 9, 20}
        assert len(each) == 2
        assert push_norm(sae, each, known.residual_norm) == pytest.approx(push[name])
    assert matched_control(sae, known, own, selected=range(D_SAE)) == {}


def test_every_method_pushes_alike_at_dose_one() -> None:
    sae, known = make_sae(), stats()
    wanted = SHARE * known.residual_norm
    targets = strongest(np.eye(D_SAE)[3] + np.eye(D_SAE)[9], sae, known, 2)
    tools = make_tools(sae, known, {Method.WORD_FEATURES: {"joy": targets}}, {"joy": np.ones(sae.d_out)}, 0)
    for method in (Method.DIFF_MEAN, Method.DECODER_SUM, Method.RANDOM_DIRECTION):
        (clamp,) = tools.clamps(method, "joy", 2.0)
        assert clamp.value == pytest.approx(2.0 * wanted)
        assert float(tools.basis.sae.decoder_norm[clamp.feature]) == pytest.approx(1.0, rel=1e-5)
    for method in (Method.WORD_FEATURES, Method.RANDOM_FEATURES):
        held = {clamp.feature: float(clamp.value or 0) for clamp in tools.clamps(method, "joy", 2.0)}
        assert push_norm(sae, held, known.residual_norm) == pytest.approx(2.0 * wanted)
    assert tools.clamps(Method.PROMPT, "joy", 1.0) == ()
