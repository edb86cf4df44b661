"""The ways of steering that stand side by side, each as clamps at a dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from emosae.selection.sets import match_control
from emosae.steering.clamp import Clamp, Op
from emosae.steering.dose import LEVEL, SHARE, push_norm
from emosae.steering.vectors import Directions, decoder_sum, directions, random_direction

if TYPE_CHECKING:
    from emosae.saes import FeatureStats, SparseAutoencoder

__all__ = ["Method", "Targets", "Tools", "make_tools", "matched_control", "random_features"]

Targets = Mapping[str, Mapping[int, float]]
"""Emotion -> feature -> target at dose 1."""


class Method(StrEnum):
    """A way of steering."""

    UNSTEERED = "unsteered"
    WORD_FEATURES = "word_features"
    PASSAGE_FEATURES = "passage_features"
    DIFF_MEAN = "diff_mean"
    DECODER_SUM = "decoder_sum"
    PROMPT = "prompt"
    RANDOM_FEATURES = "random_features"
    RANDOM_DIRECTION = "random_direction"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What each method does to the model at dose 1.

    Attributes:
        sae: The SAE whose features are clamped.
        targets: Method -> emotion -> feature -> target.
        basis: The directions, each named `method/emotion`.
        unit: Norm of a direction at dose 1, that of the features' push: half the median residual norm.
        op: How features are held at their targets: set, at_least or add.
    """

    sae: SparseAutoencoder
    targets: Mapping[Method, Targets]
    basis: Directions
    unit: float
    op: Op = Op.SET

    def clamps(self, method: Method, emotion: str, dose: float) -> tuple[Clamp, ...]:
        """Give the clamps of a method at a dose."""
        if method in self.targets:
            return self.set_to(self.targets[method][emotion], dose)
        name = f"{method}/{emotion}"
        return (self.basis.clamp(name, dose * self.unit),) if name in self.basis.names else ()

    def set_to(self, targets: Mapping[int, float], dose: float) -> tuple[Clamp, ...]:
        """Give the clamps that hold features at their targets times a dose."""
        return tuple(
            Clamp(feature, self.op, dose * target, sae=self.sae.fingerprint)
            for feature, target in targets.items()
        )


def make_tools(
    sae: SparseAutoencoder,
    stats: FeatureStats,
    targets: Mapping[Method, Targets],
    residuals: Mapping[str, np.ndarray],
    seed: int,
    op: Op = Op.SET,
) -> Tools:
    """Make every method that needs no prompt.

    Args:
        sae: The SAE.
        stats: Its statistics on running text.
        targets: The methods that clamp chosen features; the last of them gives the decoder rows that are summed, and
            the size of the random sets.
        residuals: Emotion -> difference of mean residuals.
        seed: Seed of what is random.
        op: How features are held at their targets.
    """
    rng = np.random.default_rng(seed)
    chosen = list(targets.values())[-1]
    vectors = {f"{Method.DIFF_MEAN}/{emotion}": vector for emotion, vector in residuals.items()}
    for emotion, own in chosen.items():
        vectors[f"{Method.DECODER_SUM}/{emotion}"] = decoder_sum(sae, list(own))
        vectors[f"{Method.RANDOM_DIRECTION}/{emotion}"] = random_direction(sae.d_out, rng)
    random = {emotion: random_features(sae, stats, own, rng) for emotion, own in chosen.items()}
    return Tools(
        sae=sae,
        targets={**targets, Method.RANDOM_FEATURES: random},
        basis=directions(vectors, sae.site_out, device=str(sae.device)),
        unit=SHARE * stats.residual_norm,
        op=op,
    )


def random_features(
    sae: SparseAutoencoder, stats: FeatureStats, like: Mapping[int, float], rng: np.random.Generator
) -> dict[int, float]:
    """Draw features that fire in running text, as many as `like` has, with its targets scaled to the same push."""
    live = np.setdiff1d(np.flatnonzero(stats.maximum > 0), list(like))
    drawn = rng.choice(live, size=min(len(like), len(live)), replace=False)
    return _same_push(sae, stats, dict(zip(map(int, drawn), like.values(), strict=False)), like)


def matched_control(
    sae: SparseAutoencoder, stats: FeatureStats, sets: Targets, selected: Sequence[int]
) -> dict[str, dict[int, float]]:
    """Match each feature of the emotions' sets with one of like density and activation that no emotion selects.

    Args:
        sae: The SAE.
        stats: Its statistics on running text, which density and the upper quartile of activation are from.
        sets: The emotions' features; what several share has one match.
        selected: Features that some emotion selects, which are no control.

    Returns:
        Emotion -> feature -> target at dose 1, scaled to the push of the emotion's own; an emotion none of whose
        features found a match is absent.
    """
    space = np.unique([feature for own in sets.values() for feature in own])
    allowed = np.ones(sae.d_sae, dtype=bool)
    allowed[[*map(int, selected), *space]] = False
    quartile = stats.quantile(LEVEL).astype(float)
    density = np.where(quartile > 0, stats.density, 0.0)
    found, match = match_control(space, allowed, density, quartile)
    partner = dict(zip(found.tolist(), match.tolist(), strict=True))
    return {
        emotion: _same_push(
            sae, stats, {partner[f]: target for f, target in own.items() if f in partner}, own
        )
        for emotion, own in sets.items()
        if any(f in partner for f in own)
    }


def _same_push(
    sae: SparseAutoencoder, stats: FeatureStats, targets: Mapping[int, float], like: Mapping[int, float]
) -> dict[int, float]:
    push = push_norm(sae, targets, stats.residual_norm)
    factor = push_norm(sae, like, stats.residual_norm) / push if push > 0 else 1.0
    return {feature: factor * target for feature, target in targets.items()}
