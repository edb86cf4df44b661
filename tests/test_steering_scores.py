"""Scores of steered text: by hand, against plain forwards, and their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_zoo import build

from emosae.concepts import load_concepts
from emosae.errors import UserError
from emosae.steering.classifiers import get_classifier, lexicon
from emosae.steering.scores import (
    Flow,
    concept_rate,
    embedding_similarity,
    flow_of,
    fluency,
    harmonic_mean,
    mean_losses,
    token_overlap,
)

TOKENS = st.lists(st.integers(0, 5), max_size=12)
PROMPTS, ANSWERS = [[2, 20], [2, 30, 31, 32], [2]], [[21, 22, 23, 24, 25], [], [40, 41]]


def flow(
    perplexity: float = 10.0, distinct_2: float = 0.9, repeated_4: float = 0.0, n_tokens: int = 99
) -> Flow:
    return Flow(perplexity=perplexity, distinct_2=distinct_2, repeated_4=repeated_4, n_tokens=n_tokens)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_the_harmonic_mean_lies_between_and_no_part_makes_up_for_another(parts: list[float]) -> None:
    found = harmonic_mean(*parts)
    assert min(parts) - 1e-12 <= found <= max(parts) + 1e-12
    assert found <= len(parts) * min(parts) + 1e-12
    assert found == pytest.approx(harmonic_mean(*parts[::-1]))


def test_scores_that_were_not_measured_are_refused() -> None:
    with pytest.raises(UserError, match="Scores must be numbers from 0"):
        harmonic_mean(0.5, math.nan)
    assert concept_rate(["joy", None, "fear", "joy"], "joy") == 0.5
    assert math.isnan(concept_rate([], "joy"))


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text"])
@torch.no_grad()
def test_losses_are_those_of_each_text_alone(name: str) -> None:
    model = build(name)
    found = mean_losses(model, PROMPTS, ANSWERS, max_tokens=8)
    for prompt, answer, loss in zip(PROMPTS, ANSWERS, found, strict=True):
        if not answer:
            assert math.isnan(loss)
            continue
        logp = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        each = [-float(logp[len(prompt) + at - 1, token]) for at, token in enumerate(answer)]
        assert loss == pytest.approx(np.mean(each), rel=1e-4)
    by_hand = math.exp((5 * found[0] + 2 * found[2]) / 7)
    assert flow_of(found, ANSWERS).perplexity == pytest.approx(by_hand)
    assert mean_losses(model, [], []).shape == (0,)


def test_counts_by_hand() -> None:
    # pairs ab bc ca ab bc: 3 of 5 differ; runs abca bcab cabc: none twice. Then aaaaa: 1 of 4, runs 1 of 2 again
    found = flow_of([1.0, 1.0], ["abcabc", "aaaaa"])
    assert found.distinct_2 == pytest.approx(4 / 9)
    assert found.repeated_4 == pytest.approx(1 / 5)
    assert found.n_tokens == 11
    assert math.isnan(flow_of([math.nan], [[]]).perplexity)


@pytest.mark.parametrize(
    ("steered", "wanted"),
    [
        (flow(), 1.0),
        (flow(perplexity=15.0), 1.0),
        (flow(perplexity=6.7), 1.0),
        (flow(perplexity=30.0), 0.5),
        (flow(perplexity=3.35), 0.5),
        (flow(distinct_2=0.72), 1.0),
        (flow(distinct_2=0.36), 0.5),
        (flow(repeated_4=0.02), 1.0),
        (flow(repeated_4=0.04), 0.5),
        (flow(perplexity=30.0, repeated_4=0.08), 0.25),
        (flow(n_tokens=0), 0.0),
    ],
)
def test_fluency_holds_inside_its_bounds_and_falls_outside(steered: Flow, wanted: float) -> None:
    assert fluency(steered, flow()) == pytest.approx(wanted)


def test_what_repeats_itself_is_not_fluent_however_likely_it_is() -> None:
    repeated = flow_of([1.0], [[1, 2, 3, 4, 5] * 10])
    plain = flow_of([1.0], [list(range(50))])
    assert repeated.perplexity == plain.perplexity
    assert fluency(repeated, plain) < 0.2


@given(TOKENS, TOKENS)
def test_overlap_is_symmetric_and_1_for_the_same_tokens_only(a: list[int], b: list[int]) -> None:
    found = token_overlap(a, b)
    assert 0.0 <= found <= 1.0
    assert found == token_overlap(b, a)
    assert (found == 1.0) == (sorted(a) == sorted(b))


@torch.no_grad()
def test_similarity_is_the_cosine_of_mean_states_and_1_with_oneself() -> None:
    model, other = build("llama"), [[50, 51], [60], [21, 22, 23]]
    assert embedding_similarity(model, ANSWERS, ANSWERS, max_tokens=6) == pytest.approx([1.0, 0.0, 1.0])
    found = embedding_similarity(model, ANSWERS, other)
    a, b = (
        model(input_ids=torch.tensor([text]), output_hidden_states=True).hidden_states[2][0].mean(0)
        for text in (ANSWERS[0], other[0])
    )
    cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
    assert found[0] == pytest.approx(max(cosine, 0.0), abs=1e-5)


@pytest.mark.parametrize("name", ["llama", "bert"])  # a model that looks both ways would see the padding
def test_a_text_is_the_same_beside_longer_ones(name: str) -> None:
    model, texts = build(name), [[21, 22, 23, 24, 25], [30], [40, 41]]
    other = [[21, 22], [30, 31, 32], [40]]  # of shared tokens, so that the cosine is above 0
    alone = [float(embedding_similarity(model, [a], [b])[0]) for a, b in zip(texts, other, strict=True)]
    assert embedding_similarity(model, texts, other) == pytest.approx(alone, abs=1e-6)
    assert 0.0 < min(alone) < 1.0


def test_the_lexicon_counts_whole_words() -> None:
    tell = lexicon(load_concepts("ekman6"))
    texts = ["JOY and fear, joy.", "Enjoyable killjoys.", "", "fear and joy", "他很高兴", "no word of it"]
    assert tell(texts) == ["joy", None, None, "fear", "joy", None]


def test_classifiers_that_are_none_are_refused() -> None:
    concepts = load_concepts("ekman6")
    named, _ = get_classifier("lexicon", tokenizer=None, concepts=concepts)
    assert named == "lexicon"
    for wrong in (3, "", None):
        with pytest.raises(UserError, match="The classifier must be"):
            get_classifier(wrong, tokenizer=None, concepts=concepts)
    with pytest.raises(UserError, match=r"got '/nowhere/model'"):
        get_classifier("/nowhere/model", tokenizer=None, concepts=concepts)
