"""Doses: hand computation, the SAE's own decoder as oracle, laws, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lens_cases import RESIDUAL_NORM, stats
from saes_cases import TRANSCODERS
from steering_cases import D_SAE, make_sae

from emosae.errors import MissingFileError, UserError
from emosae.saes import SparseAutoencoder, SparseFeatures
from emosae.saes.stats import LEVELS, stats_path
from emosae.steering.dose import check_dose, combine, dose_stats, push_norm, targets_at_dose_one

FEATURES = st.lists(st.integers(0, D_SAE - 1), min_size=1, max_size=6, unique=True)


def test_two_orthogonal_features_by_hand() -> None:
    weights = {"W_enc": torch.eye(2), "W_dec": torch.eye(2), "b_enc": torch.zeros(2), "b_dec": torch.ones(2)}
    sae = SparseAutoencoder.from_state_dict({"architecture": "standard", "d_in": 2, "d_sae": 2}, weights)
    quantiles = np.zeros((len(LEVELS), 2), np.float32)
    quantiles[LEVELS.index(0.75)] = [0.3, 0.4]
    measured = stats(quantiles=quantiles, maximum=np.ones(2, np.float32), residual_norm=10.0)
    # half of 10 is 5, and (0.3, 0.4) is 0.5 long
    assert targets_at_dose_one(sae, [0, 1], measured) == pytest.approx({0: 3.0, 1: 4.0})
    assert targets_at_dose_one(sae, [1], measured) == pytest.approx({1: 5.0})


@pytest.mark.parametrize("norm", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize(
    "architecture", ["standard", "jumprelu", "gated", "topk", "topk rescaled", *TRANSCODERS]
)
@given(features=FEATURES, seed=st.integers(0, 99))
@settings(max_examples=8)
def test_the_push_of_dose_one_is_half_the_residual_norm_by_the_decoder(
    architecture: str, norm: str, features: list[int], seed: int
) -> None:
    changes: dict[str, Any] = {"normalize_activations": norm}
    if "rescaled" in architecture:
        changes["rescale_acts_by_decoder_norm"] = True
    sae = make_sae(architecture.split(maxsplit=1)[0], **changes)
    targets = targets_at_dose_one(sae, features, stats(seed))
    x = torch.randn(1, sae.d_in, generator=torch.Generator().manual_seed(seed))
    x -= x.mean()  # the scale of layer_norm is told from the norm where the mean is 0
    x *= RESIDUAL_NORM / x.norm()
    held = torch.zeros(1, sae.d_sae)
    held[0, features] = torch.tensor([targets[feature] for feature in features])
    scale = {"scale": sae.normalize(x).scale} if sae.cfg.normalizes_by_input else {}
    push = sae.decode(SparseFeatures.from_dense(held, **scale)) - sae.decode(
        SparseFeatures.from_dense(torch.zeros_like(held), **scale)
    )
    assert float(push.norm()) == pytest.approx(RESIDUAL_NORM / 2, rel=1e-4)
    ratio = np.array([targets[f] for f in features]) / stats(seed).quantile(0.75)[features]
    assert ratio == pytest.approx(np.full(len(features), ratio[0]), rel=1e-5)


@given(FEATURES, FEATURES, st.floats(0.1, 4.0), st.floats(0.1, 4.0))
@settings(max_examples=30)
def test_the_push_of_several_concepts_is_the_sum_of_their_pushes(
    one: list[int], other: list[int], a: float, b: float
) -> None:
    sae = make_sae()
    first, second = (targets_at_dose_one(sae, features, stats()) for features in (one, other))

    def push(targets: dict[int, float]) -> np.ndarray:
        dense = np.zeros(D_SAE)
        dense[list(targets)] = list(targets.values())
        return dense @ sae.W_dec.double().numpy()

    both = combine([(a, first), (b, second)])
    assert push(both) == pytest.approx(a * push(first) + b * push(second), abs=1e-5)
    assert push_norm(sae, both, RESIDUAL_NORM) == pytest.approx(float(np.linalg.norm(push(both))), rel=1e-5)
    assert combine([(b, second), (a, first)]) == pytest.approx(both)


@given(FEATURES, st.floats(0.01, 50.0))
@settings(max_examples=20)
def test_the_unit_of_activations_does_not_matter(features: list[int], factor: float) -> None:
    sae, plain = make_sae(), stats()
    scaled = stats(quantiles=(factor * plain.quantiles).astype(np.float32))
    assert targets_at_dose_one(sae, features, scaled) == pytest.approx(
        targets_at_dose_one(sae, features, plain), rel=1e-4
    )


@pytest.mark.parametrize(
    ("dose", "message"),
    [
        (0, r"must be above 0, got 0.*op='ablate'"),
        (-1.0, "must be above 0, got -1.0"),
        (math.nan, "must be a finite number, got nan"),
        (math.inf, "must be a finite number, got inf"),
        ("1", "must be a finite number, got '1'.*'calibrated'"),
        (True, "must be a finite number, got True"),
        (None, "must be a finite number, got None"),
    ],
)
def test_a_dose_that_means_nothing_is_refused(dose: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"The dose of 'joy' {message}"):
        check_dose("joy", dose)


def test_features_without_a_dose_are_refused() -> None:
    sae, silent = make_sae(), stats().quantiles.copy()
    silent[:, 5] = 0.0
    with pytest.raises(UserError, match=r"fired in 'toy' to be dosed, got \[5\]"):
        targets_at_dose_one(sae, [3, 5], stats(quantiles=silent))
    with pytest.raises(UserError, match="at least one feature"):
        targets_at_dose_one(sae, [], stats())


def test_missing_statistics_say_the_command(tmp_path: Path) -> None:
    sae = make_sae()
    sae.homes = (tmp_path,)
    with pytest.raises(
        MissingFileError, match=rf"no statistics.*emosae stats model=toy sae={tmp_path} corpus=FILE"
    ):
        dose_stats(sae)
    stats(maximum=np.ones(3, np.float32)).save(stats_path(tmp_path, "short"))
    with pytest.raises(UserError, match=f"of its {D_SAE} features, got 3"):
        dose_stats(sae)
