"""Sets of features that make up an emotion's state, and text that is written while they are clamped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from emosae.phantom.measure_text import continuations
from emosae.phantom.passage import Layout, Passage, Role
from emosae.steering import Clamp, steer
from emosae.steering.pursuit import pursue

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from emosae.saes import SparseAutoencoder

__all__ = ["FeatureSet", "from_the_turn", "random_like", "state_features", "steered"]

_LANGUAGE = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSet:
    """Features to hold at no less than `targets`, in activation units at dose 1."""

    features: tuple[int, ...]
    targets: tuple[float, ...]

    def clamps(self, dose: float) -> list[Clamp]:
        """Give the clamps of a dose."""
        pairs = zip(self.features, self.targets, strict=True)
        return [Clamp(feature, "at_least", dose * target) for feature, target in pairs]

    def times(self, dose: float) -> FeatureSet:
        """Give the set whose dose 1 is this one's `dose`."""
        return FeatureSet(features=self.features, targets=tuple(dose * target for target in self.targets))


@torch.inference_mode()
def from_the_turn(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    sae: SparseAutoencoder,
    found: list[Passage],
) -> np.ndarray:
    """Mean features of each passage over its tokens, from the turn on where there is one, [n_passages, d_sae]."""
    rows = []
    for passage in found:
        encoded = tokenizer(passage.text, return_offsets_mapping=True)
        spans = [span for span in passage.spans if span.role is not Role.HEADING]
        turn = next((span for span in spans if span.role is Role.SITUATION), spans[0])
        places = encoded["offset_mapping"]
        at = [i for i, (start, end) in enumerate(places) if start < end and end > turn.start]
        ids = torch.tensor([encoded["input_ids"]])
        states = model.model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        rows.append(sae.encode(states[sae.site.layer + 1][0, at]).to_dense().mean(0).numpy())
    return np.stack(rows)


def state_features(
    values: dict[Layout, np.ndarray],
    labels: dict[Layout, np.ndarray],
    names: list[str],
    decoder: np.ndarray,
    n_features: int,
    shared: float = 1.0,
) -> dict[str, FeatureSet]:
    """Choose for each emotion the features that together come nearest to its state, and their targets.

    An emotion's state is what its text adds to the mean residual of neutral text, as the SAE rebuilds it, over both
    languages. Features are taken one by one, each the one whose decoder row lies most along what is still missing,
    and the targets, none below zero, are fitted anew each time (orthogonal matching pursuit). A set of few features
    also says what an emotion does not: along the direction that tells the languages apart, where a wrong push turns
    English text Chinese, an error counts `_LANGUAGE` times. Dose 1 is the state itself.

    Args:
        values: Pooled features of training passages by language, [n_passages, d_sae].
        labels: Emotion of each passage, "" where neutral.
        names: The emotions.
        decoder: `W_dec` of the SAE, [d_sae, d_in].
        n_features: Largest size of a set.
        shared: How much of the mean of all emotions' states a state keeps: less of it leaves more of the set to what
            is an emotion's own.

    Returns:
        Emotion -> set.
    """
    mean = {(y, of): x[labels[y] == of].mean(0) @ decoder for y, x in values.items() for of in (*names, "")}
    first, second = values
    between = mean[first, ""] - mean[second, ""]
    between /= np.linalg.norm(between)
    stretch = np.eye(len(between)) + (_LANGUAGE - 1) * np.outer(between, between)
    states = np.mean([[mean[y, name] - mean[y, ""] for name in names] for y in values], axis=0)
    sets = {}
    for name, state in zip(names, states - (1 - shared) * states.mean(0), strict=True):
        taken, weights = pursue(decoder @ stretch, state @ stretch, n_features)
        sets[name] = FeatureSet(features=tuple(taken), targets=tuple(weights.tolist()))
    return sets


def random_like(
    sets: dict[str, FeatureSet], decoder: np.ndarray, live: np.ndarray, seed: int
) -> dict[str, FeatureSet]:
    """Random features out of `live` that are not the set's own for each set, as many and with the same push."""
    rng = np.random.default_rng(seed)
    result = {}
    for name, own in sets.items():
        features = rng.choice(np.setdiff1d(live, own.features), size=len(own.features), replace=False)
        targets = np.asarray(own.targets)
        want = np.linalg.norm(targets @ decoder[list(own.features)])
        have = np.linalg.norm(targets @ decoder[features])
        result[name] = FeatureSet(
            features=tuple(map(int, features)), targets=tuple(map(float, targets * want / have))
        )
    return result


def steered(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    sae: SparseAutoencoder,
    sets: dict[str, FeatureSet],
    openings: list[str],
    dose: float,
    seed: int,
) -> dict[str, list[str]]:
    """Continue every opening under every set, clamped from the opening's last token on."""
    n, names = len(openings), list(sets)
    rows = [sets[name].clamps(dose) for name in names for _ in openings]
    with steer(model, sae, rows, scope="from_last_prompt_token", trace=False):
        texts = continuations(model, tokenizer, openings * len(names), seed=seed)
    return {name: texts[i * n : (i + 1) * n] for i, name in enumerate(names)}
