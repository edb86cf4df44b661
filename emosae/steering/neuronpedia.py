"""Feature lists and strengths in Neuronpedia's units, in and out, offline.

Neuronpedia adds `strength` times the feature's decoder row scaled to length 1; an SAE adds activation times
the row as it is. So `activation = strength / norm(W_dec[i])`.

Source: Neuronpedia's steering API (`modelId`, `layer`, `index`, `strength`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.steering.clamp import Clamp, Op, Unit
from emosae.steering.plan import Plan

if TYPE_CHECKING:
    from emosae.saes import SparseAutoencoder

__all__ = ["from_neuronpedia", "to_neuronpedia"]


def from_neuronpedia(
    features: Sequence[Mapping[str, Any]], sae: SparseAutoencoder, *, op: Op | str = Op.ADD
) -> list[Clamp]:
    """Read Neuronpedia's feature list as clamps.

    Args:
        features: Entries with `index` and `strength`, and, if they say so, `modelId` and `layer`.
        sae: The SAE that they are of.
        op: `add`, as Neuronpedia steers; `set` for values that are activations, such as `maxActApprox`.

    Returns:
        The clamps, in activation units.

    Raises:
        UserError: An entry is of another SAE, has no such feature, or lacks a number.

    Example:
        >>> entry = {"modelId": "gpt2-small", "layer": "8-res-jb", "index": 3, "strength": 10}
        >>> clamps = from_neuronpedia([entry], sae)  # doctest: +SKIP
    """
    clamps = []
    for entry in features:
        _check_source(entry, sae)
        try:
            index, strength = entry["index"], entry["strength"]
        except (KeyError, TypeError):
            raise UserError(
                f"Neuronpedia's entry must have index and strength, got {entry!r}. Copy it from the steering page."
            ) from None
        index = int(index) if isinstance(index, str) and index.isdigit() else index
        clamp = Clamp(index, op, strength, sae=sae)
        norm = _norm(clamp.feature, sae)
        assert clamp.value is not None
        clamps.append(Clamp(clamp.feature, op, clamp.value / norm, sae=sae))
    return clamps


def to_neuronpedia(clamps: Sequence[Clamp] | Plan, sae: SparseAutoencoder) -> list[dict[str, Any]]:
    """Write clamps that add as Neuronpedia's feature list.

    Args:
        clamps: The clamps, or a plan that is the same for all rows.
        sae: The SAE that they are of; clamps of a plan that are of others are left out.

    Returns:
        An entry a clamp: `modelId`, `layer`, `index`, `strength`.

    Raises:
        UserError: A clamp does something else than add an activation, or the SAE is not on Neuronpedia.
    """
    name = sae.cfg.neuronpedia_id
    if not name or "/" not in name:
        raise UserError(
            f"The SAE must be on Neuronpedia for its features to be named there, got {sae.name!r}, which says of none. "
            "Set metadata.neuronpedia_id in its cfg.json, as 'model/layer'."
        )
    model, layer = name.split("/", 1)
    if isinstance(clamps, Plan):
        if len(clamps.rows) != 1:
            raise UserError(
                f"The plan must be one for all rows, got {len(clamps.rows)} rows. Write one row at a time."
            )
        clamps = clamps.for_sae(sae.fingerprint)[0]
    entries = []
    for clamp in clamps:
        if clamp.op is not Op.ADD or clamp.unit is not Unit.ACTIVATION or clamp.only_if_active:
            raise UserError(
                f"A clamp must add an activation to be written for Neuronpedia, which only adds, got op "
                f"{str(clamp.op)!r} in {str(clamp.unit)!r} for feature {clamp.feature}. Save the plan as JSON instead."
            )
        assert clamp.value is not None
        strength = clamp.value * _norm(clamp.feature, sae)
        entries.append({"modelId": model, "layer": layer, "index": clamp.feature, "strength": strength})
    return entries


def _norm(feature: int, sae: SparseAutoencoder) -> float:
    if feature >= sae.d_sae:
        raise UserError(
            f"A feature must be 0 to {sae.d_sae - 1} in the SAE {sae.name!r}, got {feature}. "
            "Choose one of its features."
        )
    norm = 1.0 if sae.cfg.rescale_acts_by_decoder_norm else float(sae.decoder_norm[feature])
    if norm == 0:
        raise UserError(
            f"Feature {feature} of {sae.name!r} must write something, got a decoder row of zeros."
        )
    return norm


def _check_source(entry: Mapping[str, Any], sae: SparseAutoencoder) -> None:
    name = sae.cfg.neuronpedia_id
    if not name or not isinstance(entry, Mapping) or "layer" not in entry:
        return
    said = f"{entry.get('modelId', name.split('/', 1)[0])}/{entry['layer']}"
    if said != name:
        raise UserError(
            f"Neuronpedia's entry must be of the SAE {name!r}, got one of {said!r}. Load the SAE that it is of."
        )
