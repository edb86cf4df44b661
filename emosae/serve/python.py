"""The few lines of Python that do what the desk did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from emosae.config import Config, ModelConfig, list_of, load_preset

__all__ = ["PLAN_FILE", "lens_call", "python_lines"]

PLAN_FILE = "steering-plan.json"
"""What the page calls a plan that it saves."""


def python_lines(config: Config, prompt: str, options: Mapping[str, Any], *, steered: bool) -> str:
    """Write the lines.

    Args:
        config: What the lens was loaded by.
        prompt: The prompt.
        options: Options of `Lens.generate`.
        steered: Whether a plan is read, from the file that the page saves.
    """
    steer = {"steer": PLAN_FILE} if steered else {}
    given = ", ".join([repr(prompt), *_keywords({**steer, **options})])
    return f"import emosae\nlens = {lens_call(config)}\ntext = lens.generate({given})\nprint(text)\n"


def lens_call(config: Config) -> str:
    """Write the call of `emosae.load` that opens the model and the SAEs of a study."""
    model, sae = config.model, config.sae
    usual, plain = ModelConfig(), dataclasses.asdict(model)
    where = {
        name: plain[name] for name in ("device", "dtype", "device_map") if plain[name] != getattr(usual, name)
    }
    if config.preset != "custom":
        own = load_preset(config.preset)
        same = (own.model.name, own.model.revision, own.sae) == (model.name, model.revision, sae)
        if same:
            changed = {name: value for name, value in where.items() if value != getattr(own.model, name)}
            return f"emosae.load({', '.join([repr(config.preset), *_keywords(changed)])})"
    ids, paths = list_of(sae.sae_id), [str(each) for each in list_of(sae.path)]
    parts = {"model": model.name, "revision": model.revision}
    if sae.repo:
        revision = _keywords({"revision": sae.revision}) if sae.revision else []
        calls = [
            f"emosae.SparseAutoencoder.from_hf({', '.join([*map(repr, [sae.repo, each]), *revision])})"
            for each in ids or [None]
        ]
        saes = [f"sae=[{', '.join(calls)}]"]
    elif sae.release:
        saes = _keywords({"release": sae.release, "sae_id": ids})
    else:
        saes = _keywords({"sae": paths})
    named = _keywords({name: value for name, value in parts.items() if value is not None})
    return f"emosae.load({', '.join([*named, *saes, *_keywords(where)])})"


def _keywords(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in values.items()]
