"""Doses: how hard a concept's features are pushed, in a unit that compares across concepts, SAEs and models.

Each feature at its own maximum wrecks a text, so a concept's features are scaled together. At dose 1 the targets are
in proportion to the features' upper-quartile active values, and their push, `scale * norm(sum t_i W_dec[i])`, is half
the median norm of the residual at the SAE's site.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emosae.errors import MissingFileError, UserError
from emosae.saes import FeatureStats, find_stats
from emosae.saes.config import Normalization

if TYPE_CHECKING:
    from jaxtyping import Float

    from emosae.saes import SparseAutoencoder

__all__ = [
    "LEVEL",
    "SHARE",
    "check_dose",
    "combine",
    "decoder_rows",
    "dose_stats",
    "push_norm",
    "stats_command",
    "targets_at_dose_one",
]

LEVEL = 0.75
"""The quantile of a feature's active values that its target is in proportion to."""

SHARE = 0.5
"""The push of dose 1, as a share of the site's median residual norm."""


def check_dose(concept: str, dose: Any) -> float:
    """Read a dose.

    Args:
        concept: Whose dose it is, for the message.
        dose: A number above 0.

    Raises:
        UserError: It is none.

    Example:
        >>> check_dose("joy", 1)
        1.0
    """
    number = math.nan
    if not isinstance(dose, (bool, str)):
        try:
            number = float(dose)
        except (TypeError, ValueError):
            number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"The dose of {concept!r} must be a finite number, got {dose!r}. Give e.g. 1.0, or 'calibrated'."
        )
    if number <= 0:
        raise UserError(
            f"The dose of {concept!r} must be above 0, got {dose!r}. Leave the emotion out, or take it away with "
            "op='ablate'."
        )
    return number


def stats_command(sae: SparseAutoencoder) -> str:
    """Write the command that measures an SAE's features on a corpus."""
    cfg = sae.cfg
    model = f"model={cfg.model_name or 'MODEL'}"
    if cfg.release:
        return f"emosae stats {model} sae.release={cfg.release} sae.sae_id={cfg.sae_id} corpus=FILE"
    folder = sae.homes[-1] if sae.homes else "FOLDER"
    return f"emosae stats {model} sae={folder} corpus=FILE"


def dose_stats(sae: SparseAutoencoder, corpus: str | None = None, what: str = "A dose") -> FeatureStats:
    """Find what doses are measured by.

    Args:
        sae: The SAE.
        corpus: Which corpus' statistics; None takes the only ones there are.
        what: What is measured by them, for the message.

    Raises:
        MissingFileError: There are none; the message has the command that makes them.
        UserError: There are several and none was named, or they are of another number of features.
    """
    try:
        stats = find_stats(sae, corpus)
    except MissingFileError as error:
        of = f" of {corpus!r}" if corpus else ""
        raise MissingFileError(
            f"{what} is measured by how features fire on running text, and {sae.name!r} has no statistics{of}. "
            f"Make them with: {stats_command(sae)}"
        ) from error
    if len(stats.maximum) != sae.d_sae:
        raise UserError(
            f"The statistics of {sae.name!r} must be of its {sae.d_sae} features, got {len(stats.maximum)}. Make them "
            f"anew with: {stats_command(sae)}"
        )
    return stats


def push_norm(sae: SparseAutoencoder, targets: Mapping[int, float], residual_norm: float) -> float:
    """Give the norm of what targets add to a residual of a given norm, `scale * norm(sum t_i W_dec[i])`.

    An SAE that normalises its input multiplies what it writes with the input's scale. For `constant_norm_rescale`
    that is `residual_norm / sqrt(d_in)`; for `layer_norm` it is `residual_norm / sqrt(d_in - 1)` where the
    residual's mean is 0, and a little less elsewhere; for all others it is 1.

    Args:
        sae: The SAE.
        targets: Feature -> target, in activation units.
        residual_norm: Euclidean norm of what the SAE reads.
    """
    if not targets:
        return 0.0
    rows = decoder_rows(sae, list(targets))
    return _scale(sae, residual_norm) * float(np.linalg.norm(np.asarray([*targets.values()]) @ rows))


def targets_at_dose_one(
    sae: SparseAutoencoder, features: Sequence[int], stats: FeatureStats
) -> dict[int, float]:
    """Give the features' targets at dose 1.

    Args:
        sae: The SAE.
        features: The features, each once.
        stats: Their statistics on running text.

    Returns:
        Feature -> target in activation units, in the order given.

    Raises:
        UserError: No feature, one that never fired in the corpus, or decoder rows that cancel out.
    """
    if not len(features):
        raise UserError("A dose needs at least one feature, got none. Name features, or choose another set.")
    quartile = stats.quantile(LEVEL)[list(features)].astype(float)
    silent = [int(feature) for feature, value in zip(features, quartile, strict=True) if value <= 0]
    if silent:
        raise UserError(
            f"A feature must have fired in {stats.corpus!r} to be dosed, got {silent} of {sae.name!r}, which never "
            "did. Leave them out, or give them targets of your own."
        )
    plain = dict(zip(map(int, features), quartile.tolist(), strict=True))
    push = push_norm(sae, plain, stats.residual_norm)
    if not push > 0:
        raise UserError(
            f"The features {list(plain)} of {sae.name!r} write nothing together, so they have no dose. Choose others."
        )
    factor = SHARE * stats.residual_norm / push
    return {feature: factor * value for feature, value in plain.items()}


def combine(parts: Iterable[tuple[float, Mapping[int, float]]]) -> dict[int, float]:
    """Add up the targets of several concepts, each times its dose; a feature that two share gets both.

    So the push of several concepts together is the sum of their pushes.

    Example:
        >>> combine([(1.0, {3: 2.0, 4: 1.0}), (0.5, {4: 2.0})])
        {3: 2.0, 4: 2.0}
    """
    total: dict[int, float] = {}
    for dose, targets in parts:
        for feature, target in targets.items():
            total[feature] = total.get(feature, 0.0) + dose * target
    return total


def decoder_rows(sae: SparseAutoencoder, features: Sequence[int]) -> Float[np.ndarray, "n d_out"]:
    """Give what one unit of each feature's activation writes, before the input's scale."""
    held = sae.rows(features)
    rows = held.W_dec.double().cpu().numpy()
    if sae.cfg.rescale_acts_by_decoder_norm:
        norm = held.decoder_norm.double().cpu().numpy()[:, None]
        rows = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return rows


def _scale(sae: SparseAutoencoder, residual_norm: float) -> float:
    if not sae.cfg.normalizes_by_input:
        return 1.0
    if sae.cfg.normalize_activations is Normalization.LAYER_NORM:
        return residual_norm / math.sqrt(max(1, sae.d_in - 1))
    return residual_norm / math.sqrt(sae.d_in)
