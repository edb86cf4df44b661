"""How texts of an emotion differ from others: in features, and in the residual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from emosae.errors import UserError
from emosae.steering.dose import SHARE, decoder_rows, push_norm
from emosae.steering.pursuit import pursue
from emosae.steering.vectors import diff_mean

if TYPE_CHECKING:
    from jaxtyping import Float

    from emosae.features import Reading
    from emosae.saes import FeatureStats, SparseAutoencoder

__all__ = ["Contrast", "contrast_of", "strongest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """What texts of each emotion add to others, by language and emotion.

    Attributes:
        features: Mean activations of the emotion's texts less those of the others, `[d_sae]`.
        residual: The same of the residual, `[d]`.
    """

    features: Mapping[str, Mapping[str, Float[np.ndarray, " d_sae"]]]
    residual: Mapping[str, Mapping[str, Float[np.ndarray, " d"]]]

    def of_features(self, emotion: str, languages: Sequence[str]) -> Float[np.ndarray, " d_sae"]:
        """Give the mean over languages."""
        return np.mean([self.features[language][emotion] for language in languages], axis=0)

    def of_residual(self, emotion: str, languages: Sequence[str]) -> Float[np.ndarray, " d"]:
        """Give the mean over languages."""
        return np.mean([self.residual[language][emotion] for language in languages], axis=0)


def contrast_of(reading: Reading, emotions: Sequence[str], languages: Sequence[str]) -> Contrast:
    """Compare each emotion's texts with neutral ones, or with all others where none is neutral.

    Args:
        reading: A row a text, with `residual`; its items have `language` and `concept`, which is empty for a neutral
            text.
        emotions: The emotions.
        languages: The languages, each compared on its own.
    """
    items = reading.features.items
    concept, language = items["concept"].to_numpy(), items["language"].to_numpy()
    csr, dense = reading.features.csr, reading.dense["residual"]
    features: dict[str, dict[str, np.ndarray]] = {}
    residual: dict[str, dict[str, np.ndarray]] = {}
    for code in languages:
        here = language == code
        neutral = np.flatnonzero(here & (concept == ""))
        for emotion in emotions:
            inside = np.flatnonzero(here & (concept == emotion))
            outside = neutral if len(neutral) else np.flatnonzero(here & (concept != emotion))
            residual.setdefault(code, {})[emotion] = diff_mean(dense[inside], dense[outside])
            more = np.asarray(csr[inside].mean(axis=0)) - np.asarray(csr[outside].mean(axis=0))
            features.setdefault(code, {})[emotion] = more.reshape(-1).astype(float)
    return Contrast(features=features, residual=residual)


def strongest(
    more: Float[np.ndarray, " d_sae"],
    sae: SparseAutoencoder,
    stats: FeatureStats,
    n_features: int,
    without: Sequence[int] = (),
) -> dict[int, float]:
    """Choose the features that together come nearest to what texts of an emotion add, and their targets at dose 1.

    What the texts add, as the SAE rebuilds it, is the sum over features of how much more they fire times their decoder
    rows. Of the features that fire more they are taken one by one, each the one whose decoder row lies most along what
    is still missing, and the targets, none below zero, are fitted anew each time. Together they then push by half of
    the median residual norm, as `targets_at_dose_one`'s do.

    Args:
        more: Mean activations of the emotion's texts less those of the others.
        sae: The SAE.
        stats: Its statistics on running text.
        n_features: Most features.
        without: Features that are left out.

    Raises:
        UserError: No feature fires more.
    """
    fires = np.flatnonzero(more)
    rows = decoder_rows(sae, fires.tolist()) if len(fires) else np.zeros((0, sae.d_out))
    wanted = more[fires] @ rows
    able = np.flatnonzero(
        (more[fires] > 0) & ~np.isin(fires, list(without)) & (np.linalg.norm(rows, axis=1) > 0)
    )
    taken, weights = pursue(rows[able], wanted, n_features)
    chosen = {int(fires[able[at]]): float(w) for at, w in zip(taken, weights, strict=True)}
    push = push_norm(sae, chosen, stats.residual_norm)
    if not push > 0:
        raise UserError(
            "Some feature must fire more in an emotion's texts than in others, got none. Give more passages."
        )
    factor = SHARE * stats.residual_norm / push
    return {feature: factor * value for feature, value in chosen.items()}
