"""Lessons that make the model go by its own states.

A model that has read the grammar knows at every token what a passage feels, but does not go by it: it looks back at
the words that were said, so that nothing written into one layer turns a text. The last round teaches it to go by its
own states. Half of a step is plain text, in which a readout, thrown away afterwards, names the emotion at each token
from the residual. In the other half the mean state of an emotion is written into the residual of a neutral opening,
and the text that follows is of that emotion. What a state *is* stays the model's own affair: it is measured anew every
few steps.

Source: after the interchange-intervention training of Geiger et al., "Inducing causal structure for interpretable
neural networks", ICML 2022; as in InterpBench (Gupta et al. 2024), a model whose causes are known by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.distance import squareform
from torch import Tensor, nn

from emosae.phantom.blocks import block_output, reading
from emosae.phantom.corpus import passages
from emosae.phantom.head_loss import head_loss
from emosae.phantom.language_model import Portion, Round, Text, n_tokens, steps_of, train_model
from emosae.phantom.lessons import IGNORED, groups, pad
from emosae.phantom.passage import Kind, Role
from emosae.phantom.states import LANGUAGES, Row, States, encode_rows
from emosae.phantom.truth import emotion_truth, planted_distance

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["StateRound", "likeness", "teach_states"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StateRound(Round):
    """A round in which the model learns to go by its states.

    Attributes:
        layer: The block after which states are written and read.
        split: Text of the passages whose openings are neutral and whose state is written.
        n_passages: How many of them are drawn; those that begin with their turn, or with a heading, are left out.
        doses: Least and largest multiple of a state that is written.
        noise: Norm of what is added to a written state at random, as a share of the state's: a few features write
            a state only roughly, and bring along what else they say, a language or a thing.
        blur: The same among the emotions' states, where most of what a few features get wrong lies.
        readout: Weight of the readout's loss beside that of the text.
        alike: Share of an answer of the readout that goes to emotions of like valence and arousal.
        width: How far these lie, in planted distance (standard deviation).
        per_emotion: Passages of an emotion and language from which its state is measured.
        every: Steps after which the states are measured anew.
    """

    layer: int = 1
    split: str = "turned"
    n_passages: int = 39_000
    doses: tuple[float, float] = (0.8, 3.0)
    noise: float = 0.35
    blur: float = 0.2
    readout: float = 0.5
    alike: float = 0.25
    width: float = 0.7
    per_emotion: int = 6
    every: int = 40


def likeness(width: float, alike: float) -> Tensor:
    """Say which emotions a readout should name for each, rows that sum to 1, [n_emotions, n_emotions].

    An emotion itself, and in part those of like planted valence and arousal: a readout that knew no degrees would
    drive all emotions equally far apart.
    """
    distance = torch.from_numpy(squareform(planted_distance()["distance"].to_numpy()))
    near = torch.softmax(-distance.square() / (2 * width * width), dim=1)
    return ((1 - alike) * torch.eye(len(near)) + alike * near).float()


@dataclass(frozen=True, slots=True)
class _Told:
    """Text whose emotion, where it has one, the readout names at each token."""

    text: Text
    feelings: Tensor
    likeness: Tensor
    readout: nn.Parameter
    share: float
    layer: int

    @property
    def weight(self) -> int:
        return self.text.weight

    def loss(self, model: LlamaForCausalLM, device: str) -> Tensor:
        with reading(model, self.layer) as kept:
            foreseen = self.text.loss(model, device)
        real = (self.feelings != IGNORED).to(device)
        if not real.any():
            return foreseen
        x = kept[0][real]
        logits = (x / x.square().mean(-1, keepdim=True).sqrt()) @ self.readout.T
        wanted = self.likeness.to(device)[self.feelings.to(device)[real]]
        told = nn.functional.cross_entropy(logits, wanted)
        return foreseen + self.share * told


@dataclass(frozen=True, slots=True)
class _Turned:
    """Text that turns to an emotion whose state is written from the opening's last token on.

    From there on it is to be foreseen, the beginnings of its sentences, where the state decides, with the same weight
    as all the rest. `share` is how much of the state is the English one, `dose` its multiple, both [rows]. What is
    added in shares of the state's norm: `noise` [rows, d_model], shaped by the states' spread, and, `blur` long, a
    mixture of the emotions by the weights `among`, [rows, n_emotions].
    """

    text: Text
    openers: Tensor
    tokens: int
    emotion: Tensor
    share: Tensor
    dose: Tensor
    noise: Tensor
    among: Tensor
    blur: float
    written: Tensor
    states: States

    @property
    def weight(self) -> int:
        return self.tokens

    def loss(self, model: LlamaForCausalLM, device: str) -> Tensor:
        english, chinese = self.states.by_language[:, self.emotion.to(device)]
        share = self.share[:, None].to(device)
        state = share * english + (1 - share) * chinese
        noise = self.noise.to(device) @ self.states.spread
        every = self.states.by_language.mean(0)
        among = self.blur * nn.functional.normalize(self.among.to(device) @ (every - every.mean(0)))
        state = state + (noise + among) * state.norm(dim=1, keepdim=True)
        state = self.dose[:, None].to(device) * state
        push = self.written[:, :, None].to(device) * state[:, None]

        def write(_module: object, _args: object, output: object) -> object:
            x = block_output(output) + push
            return x if isinstance(output, Tensor) else (x, *output[1:])  # type: ignore[index]

        handle = model.model.layers[self.states.layer].register_forward_hook(write)
        try:
            hidden = model.model(input_ids=self.text.ids.to(device), use_cache=False).last_hidden_state[
                :, :-1
            ]
        finally:
            handle.remove()
        target = self.text.labels[:, 1:].to(device)
        first = self.openers[:, 1:].to(device)
        rest = (target != IGNORED) & ~first
        head = model.lm_head.weight
        return (
            head_loss(hidden[first], head, target[first]) + head_loss(hidden[rest], head, target[rest])
        ) / 2


def _text(rows: list[Row]) -> Text:
    ids = [row.ids for row in rows]
    return Text(pad(ids, 0), pad(ids, IGNORED))


def _lengths(rows: list[Row]) -> np.ndarray:
    return np.array([len(row.ids) for row in rows])


def teach_states(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: StateRound,
    batch_tokens: int,
    *,
    seed: int,
    parts: int,
    device: str = "cpu",
) -> int:
    """Teach the model to go by its states, for one round.

    Args:
        model: The model, changed in place.
        tokenizer: Its tokenizer.
        recipe: Text, layer and schedule; the round's `lessons` are the plain half.
        batch_tokens: Padded tokens of a step.
        seed: Text, order, doses and the readout's first weights.
        parts: Batches that make a step, half of them plain.
        device: Where to train.

    Returns:
        The number of tokens that were predicted.
    """
    names = emotion_truth()["emotion"].to_list()
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(names), model.config.hidden_size, generator=generator)
    readout = nn.Parameter((0.1 * start).to(device))
    states = States(tokenizer, names, recipe.layer, recipe.per_emotion, seed)
    told = [
        row
        for lesson in recipe.lessons
        for row in encode_rows(tokenizer, passages(lesson.split, lesson.n_passages, seed), names)
    ]
    turned = encode_rows(
        tokenizer,
        (
            passage
            for passage in passages(recipe.split, recipe.n_passages, seed, kind=Kind.EMOTIONAL)
            if passage.layout in LANGUAGES and passage.spans[0].role is Role.NEUTRAL
        ),
        names,
    )
    like = likeness(recipe.width, recipe.alike)
    size, half = batch_tokens // parts, parts // 2
    plain: list[Portion] = []
    for group in groups(_lengths(told), size, rng):
        rows = [told[i] for i in group]
        feelings = pad([row.feelings for row in rows], IGNORED)
        text = _text(rows)
        plain.append(_Told(text, feelings, like, readout, recipe.readout, recipe.layer))
    written: list[Portion] = []
    for group in groups(_lengths(turned), size, rng):
        rows = [turned[i] for i in group]
        text = _text(rows)
        turn = torch.tensor([row.turn for row in rows])
        place = torch.arange(text.ids.shape[1])
        text.labels[place < turn[:, None]] = IGNORED
        after = (place >= turn[:, None] - 1).float()
        openers = pad([row.openers for row in rows], 0).bool()
        share = torch.from_numpy(rng.random(len(rows))).float()
        dose = torch.from_numpy(rng.uniform(*recipe.doses, len(rows))).float()
        emotion = torch.tensor([row.emotion for row in rows])
        noise = recipe.noise * torch.randn(len(rows), model.config.hidden_size, generator=generator)
        among = torch.randn(len(rows), len(names), generator=generator)
        n = int(_lengths(rows).sum())
        written.append(
            _Turned(text, openers, n, emotion, share, dose, noise, among, recipe.blur, after, states)
        )
    halves = zip(steps_of(plain, half), steps_of(written, parts - half), strict=False)
    plan = [[*a, *b] for a, b in halves]

    def before_step(step: int) -> None:
        if step % recipe.every == 0:
            states.measure(model, device)

    train_model(model, plan, recipe, device=device, helpers=[readout], before_step=before_step)
    return n_tokens(plan)
