"""The phantom's states and the lessons that make it go by them, on a small untrained model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emosae.phantom import WEIGHTS
from emosae.phantom.corpus import passages
from emosae.phantom.draw import Draw
from emosae.phantom.frames import AGAIN_RATE, fill
from emosae.phantom.language_model import ModelRecipe, Text, new_model
from emosae.phantom.lessons import IGNORED, pad
from emosae.phantom.passage import Kind, Layout, Role
from emosae.phantom.state_lessons import StateRound, _Told, _Turned, likeness, teach_states
from emosae.phantom.states import States, encode_rows
from emosae.phantom.truth import emotion_truth
from emosae.phantom.world import Frame, load_world

NAMES = emotion_truth()["emotion"].to_list()
SMALL = ModelRecipe(d_model=16, n_layers=3, n_heads=2, d_mlp=32)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(WEIGHTS / "model")


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    return new_model(tokenizer, SMALL).eval()


def some(kind: Kind, n: int = 6, layout: Layout = Layout.EN):
    return list(passages("tests/states", n, 1, kind=kind, layout=layout))


@pytest.mark.parametrize("layout", [Layout.EN, Layout.ZH, Layout.EN_TO_ZH])
def test_rows_know_the_turn_the_feelings_and_the_beginnings_of_sentences(tokenizer, layout: Layout) -> None:
    for passage in some(Kind.EMOTIONAL, layout=layout):
        (row,) = encode_rows(tokenizer, [passage], NAMES)
        assert row.emotion == NAMES.index(passage.emotions[0])
        turn = next(span for span in passage.spans if span.role is Role.SITUATION)
        before = tokenizer.decode(row.ids[1 : row.turn]).strip()
        assert passage.text.startswith(before)
        assert len(before) <= turn.start
        assert passage.text[len(before) :].strip().startswith(passage.text[turn.start : turn.start + 1])
        felt = [s for s in passage.spans if s.emotion and s.role is not Role.HEADING]
        assert set(row.feelings) <= {IGNORED, row.emotion}
        assert (row.feelings == IGNORED)[: row.turn].all()
        opened = np.flatnonzero(row.openers)
        assert opened.min() == row.turn
        # as many runs of openers as there are sentences of the feeling, where none is shorter than a run
        assert np.count_nonzero(np.diff(opened) > 1) + 1 <= len(felt)


def test_rows_of_neutral_text_feel_nothing(tokenizer) -> None:
    for row in encode_rows(tokenizer, some(Kind.NEUTRAL), NAMES):
        assert row.emotion == len(NAMES)
        assert (row.feelings == IGNORED).all()
        assert not row.openers.any()


def test_states_are_means_from_the_turn_on_less_neutral_text(tokenizer, model) -> None:
    states = States(tokenizer, NAMES, layer=1, per_emotion=2, seed=3)
    states.measure(model, "cpu")
    assert not model.model.layers[1]._forward_hooks
    assert states.by_language.shape == (2, len(NAMES), 16)

    def residual(row):
        ids = torch.tensor(row.ids)[None]
        return model.model(input_ids=ids, output_hidden_states=True).hidden_states[2][0].detach()

    def mean(**kwargs) -> torch.Tensor:
        rows = encode_rows(tokenizer, passages("states", layout=Layout.ZH, seed=3, **kwargs), NAMES)
        return torch.cat([residual(row)[row.turn : len(row.ids) - 1] for row in rows]).mean(0)

    joy = mean(n=2, kind=Kind.EMOTIONAL, emotion="joy") - mean(n=20, kind=Kind.NEUTRAL)
    torch.testing.assert_close(states.by_language[1, NAMES.index("joy")], joy)


def test_spread_is_half_neutral_texts_covariance_and_half_alike_everywhere(tokenizer, model) -> None:
    states = States(tokenizer, NAMES, layer=1, per_emotion=1, seed=3)
    states.measure(model, "cpu")
    read = []
    for layout in (Layout.EN, Layout.ZH):
        for row in encode_rows(tokenizer, passages("states", 10, 3, kind=Kind.NEUTRAL, layout=layout), NAMES):
            out = model.model(input_ids=torch.tensor(row.ids)[None], output_hidden_states=True)
            read.append(out.hidden_states[2][0, 1 : len(row.ids) - 1].detach().numpy())
    expected = np.cov(np.concatenate(read).T)
    expected = expected / np.trace(expected) / 2 + np.eye(16) / 32
    np.testing.assert_allclose((states.spread.T @ states.spread).numpy(), expected, rtol=1e-3, atol=1e-5)
    assert np.trace(expected) == pytest.approx(1.0)


def turned(
    tokenizer, states: States, dose: float, noise: torch.Tensor | None = None, blur: float = 0.0
) -> _Turned:
    rows = encode_rows(tokenizer, some(Kind.EMOTIONAL, 3), NAMES)
    ids, labels = pad([r.ids for r in rows], 0), pad([r.ids for r in rows], IGNORED)
    openers = pad([r.openers for r in rows], 0).bool()
    turn = torch.tensor([r.turn for r in rows])
    return _Turned(
        Text(ids, labels), openers, int((ids > 0).sum()), torch.tensor([r.emotion for r in rows]),
        torch.full((3,), 0.25), torch.full((3,), dose), torch.zeros(3, 16) if noise is None else noise,
        torch.arange(3.0 * len(NAMES)).reshape(3, -1), blur,
        (torch.arange(ids.shape[1]) >= turn[:, None] - 1).float(), states,
    )  # fmt: skip


def given_states(tokenizer) -> States:
    states = States(tokenizer, NAMES, layer=1, per_emotion=1, seed=0)
    generator = torch.Generator().manual_seed(1)
    states.by_language = torch.randn(2, len(NAMES), 16, generator=generator)
    states.spread = torch.randn(16, 16, generator=generator)
    return states


def what_is_written(model, lesson: _Turned) -> torch.Tensor:
    """What a plain hook after the lesson's own sees, less the same text without it."""
    seen: list[torch.Tensor] = []
    block = model.model.layers[2]
    handle = block.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach()))
    lesson.loss(model, "cpu")
    model.model(input_ids=lesson.text.ids, use_cache=False)
    handle.remove()
    return seen[0] - seen[1]


def test_a_state_is_written_from_the_openings_last_token_on(tokenizer, model) -> None:
    states = given_states(tokenizer)
    lesson = turned(tokenizer, states, dose=1.5)
    written = what_is_written(model, lesson)
    for r, emotion in enumerate(lesson.emotion):
        state = 0.25 * states.by_language[0, emotion] + 0.75 * states.by_language[1, emotion]
        first = int(lesson.written[r].argmax())
        torch.testing.assert_close(written[r, :first], torch.zeros(first, 16))
        torch.testing.assert_close(written[r, first], 1.5 * state, rtol=1e-4, atol=1e-5)
    assert not model.model.layers[1]._forward_hooks


def test_beginnings_of_sentences_count_as_much_as_all_the_rest(tokenizer, model) -> None:
    states = given_states(tokenizer)
    states.by_language = torch.zeros(2, len(NAMES), 16)
    lesson = turned(tokenizer, states, dose=1.0)
    logits = model(input_ids=lesson.text.ids).logits[:, :-1]
    each = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), lesson.text.labels[:, 1:].flatten(), reduction="none", ignore_index=IGNORED
    )
    real, first = (lesson.text.labels[:, 1:] != IGNORED).flatten(), lesson.openers[:, 1:].flatten()
    expected = (each[first].mean() + each[real & ~first].mean()) / 2
    torch.testing.assert_close(lesson.loss(model, "cpu"), expected)


def test_a_written_state_errs_by_noise_and_towards_other_emotions(tokenizer, model) -> None:
    states = given_states(tokenizer)
    noise = torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    lesson = turned(tokenizer, states, 2.0, noise, blur=0.3)
    written = what_is_written(model, lesson).double().numpy()
    english, chinese = states.by_language.double().numpy()
    own = (english + chinese) / 2
    for r, emotion in enumerate(lesson.emotion):
        state = 0.25 * english[emotion] + 0.75 * chinese[emotion]
        weights = np.arange(len(NAMES)) + r * len(NAMES)
        other = weights @ (own - own.mean(0))
        error = noise[r].double().numpy() @ states.spread.double().numpy() + 0.3 * other / np.linalg.norm(
            other
        )
        expected = 2.0 * (state + np.linalg.norm(state) * error)
        first = int(lesson.written[r].argmax())
        np.testing.assert_allclose(written[r, first], expected, rtol=1e-3, atol=1e-3)


def test_the_readout_learns_only_where_something_is_felt(tokenizer, model) -> None:
    readout, like = torch.nn.Parameter(torch.zeros(len(NAMES), 16)), likeness(0.25, 0.5)
    for kind, extra in ((Kind.NEUTRAL, 0.0), (Kind.EMOTIONAL, 0.5 * np.log(len(NAMES)))):
        rows = encode_rows(tokenizer, some(kind, 3), NAMES)
        text = Text(pad([r.ids for r in rows], 0), pad([r.ids for r in rows], IGNORED))
        told = _Told(text, pad([r.feelings for r in rows], IGNORED), like, readout, 0.5, 1)
        difference = told.loss(model, "cpu") - text.loss(model, "cpu")
        assert difference.item() == pytest.approx(extra, abs=1e-5)


def test_a_round_of_states_changes_the_model_and_leaves_no_hook(tokenizer, model) -> None:
    from emosae.phantom.lessons import Lesson

    before = model.lm_head.weight.detach().clone()
    recipe = StateRound(lessons=(Lesson(split="plain", n_passages=30),), n_passages=60, per_emotion=1)
    n = teach_states(model, tokenizer, recipe, 2048, seed=0, parts=4)
    assert n > 1000
    assert not torch.equal(before, model.lm_head.weight)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_neutral_text_comes_back_to_its_things_as_often_as_it_says() -> None:
    world = load_world()
    frame = Frame(en="the {tool} lay there", zh="{tool}在那里")
    back, draw = 0, Draw(0)
    for _ in range(2000):
        told: dict = {}
        first, second = (fill(frame, world, draw, told)[0] for _ in range(2))
        back += first == second
        assert len(told["tool"]) == 1 + (first != second)
    chance = AGAIN_RATE + (1 - AGAIN_RATE) / len(world.slots["tool"])
    assert back / 2000 == pytest.approx(chance, abs=0.04)


def test_coming_back_is_as_likely_as_the_grammar_says() -> None:
    world = load_world()
    frame, draw = Frame(en="{tool}", zh="{tool}"), Draw(1)
    n = len(world.slots["tool"])
    told: dict = {}
    first = fill(frame, world, draw, told)[0]
    assert draw.shared == pytest.approx(-np.log(n))
    draw.reset()
    again = fill(frame, world, draw, told)[0] == first
    p = (1 - AGAIN_RATE) / n + AGAIN_RATE * again
    assert draw.shared == pytest.approx(np.log(p))


def test_a_readouts_answer_goes_in_part_to_like_emotions() -> None:
    like = likeness(0.7, 0.5).numpy()
    assert like.sum(1) == pytest.approx(np.ones(len(NAMES)))
    truth = emotion_truth().select("valence", "arousal").to_numpy()
    truth = truth / truth.std(0)
    joy = NAMES.index("joy")
    assert like[joy].argmax() == joy
    assert like[joy, joy] > 0.5
    distance = np.linalg.norm(truth - truth[joy], axis=1)
    others = np.delete(np.arange(len(NAMES)), joy)
    order = others[np.argsort(distance[others])]
    assert (np.diff(like[joy, order]) <= 1e-6).all()
    assert likeness(0.25, 0.0).numpy() == pytest.approx(np.eye(len(NAMES)))
