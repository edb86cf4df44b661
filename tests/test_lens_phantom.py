"""The lens' promises on the phantom, as design.md writes them; no number of its behaviour is stored."""

from __future__ import annotations

import os
from collections.abc import Iterator

import polars as pl
import pytest
import torch
from torch import Tensor

import emosae
from emosae.lens import Lens
from emosae.saes import find_stats
from emosae.steering.settings import steering_settings

PROMPTS = ["The pilot sat by the window.", "Paul watered the azalea."]
GREEDY = {"do_sample": False, "max_new_tokens": 12}


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lens]:
    """The phantom, with a cache of the module's own."""
    before = os.environ.get("EMOSAE_CACHE")
    os.environ["EMOSAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    try:
        yield emosae.load("phantom")
    finally:
        os.environ.pop("EMOSAE_CACHE")
        if before is not None:
            os.environ["EMOSAE_CACHE"] = before


def test_the_contract(lens: Lens) -> None:
    assert lens.languages == ("en", "zh")
    text = lens.generate("Once", steer={"joy": 1.0}, max_new_tokens=12)
    assert isinstance(text, str)
    assert text.startswith("Once")
    inputs = lens.tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side="left")
    with lens.steer({"joy": 1.0}, language="universal", n_features=4, op="set", scope="generated") as applied:
        lens.model.generate(**inputs, **GREEDY)
    chosen = applied.chosen
    site = emosae.Site.parse(chosen.site)
    assert chosen.site == steering_settings("phantom").site
    norm = find_stats(lens.saes[site]).residual_norm
    assert chosen.doses["push"].to_list() == pytest.approx([norm / 2])
    features = chosen.features["feature"].to_list()
    assert 0 < len(features) <= 4
    for language in ("en", "zh"):
        ranked = lens.select("joy", language=language)
        assert set(features) <= set(ranked.filter("selected")["feature"])
        scored = ranked.filter(pl.col("output_score").is_not_null())
        assert scored["feature"].to_list() == ranked.filter("selected")["feature"].to_list()
        assert scored["output_score"].is_between(0, 1).all()
    lengths = inputs["attention_mask"].sum(1).tolist()
    steered = applied.trace.group_by("row").agg(pl.col("position").min()).sort("row")
    assert steered["position"].to_list() == lengths  # the first new token, and nothing of the prompt


def test_text_is_that_of_a_plain_hook(lens: Lens) -> None:
    with lens.steer({"joy": 1.5}, language="en", scope="from_last_prompt_token") as applied:
        found = lens.generate(PROMPTS, **GREEDY)
    site = emosae.Site.parse(applied.chosen.site)
    sae = lens.saes[site]
    wanted = {clamp.feature: clamp.value for clamp in applied.plan.rows[0]}
    features = torch.tensor(list(wanted))

    def hook(_module: object, _args: object, x: Tensor) -> Tensor:
        last = x[:, -1]
        f = sae.encode(last).to_dense()[:, features]
        edited = x.clone()
        edited[:, -1] = last + (torch.tensor(list(wanted.values())) - f) @ sae.W_dec[features]
        return edited

    handle = lens.model.model.layers[site.layer].register_forward_hook(hook)
    try:
        assert lens.generate(PROMPTS, **GREEDY) == found
    finally:
        handle.remove()
    assert lens.generate(PROMPTS, **GREEDY) != found
