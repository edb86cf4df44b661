"""The direction of valence that emotions show, and whether other concepts lie along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from emosae.errors import UserError
from emosae.geometry.permutation import label_permutations, permutation_p

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["MIN_EMOTIONS", "PENALTIES", "ValenceAxis", "spread_interval", "valence_axis"]

MIN_EMOTIONS = 8
"""With fewer emotions no direction of valence can be told from noise."""

PENALTIES = np.logspace(-2, 3, 11)
"""In units of the mean squared length of an emotion's standardised coordinates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValenceAxis:
    """The direction of valence that the emotions show, and where the control concepts lie on it.

    Attributes:
        emotions: Each emotion's valence as predicted without that emotion, in the ratings' unit.
        control: Each control concept's, by the direction of all emotions.
        r_valence: Correlation of `emotions` with their valence. Near -1 it says that nothing was learnt: each
            prediction is then the mean of the others.
        learnt: Whether the squared error of the predictions is below the variance of valence; where not,
            there is no direction, and `share`, `statistic`, `expected` and `p` are NaN.
        share: Standard deviation of `control` over that of `emotions`.
        statistic: Share of the control concepts' variance, over all coordinates, that lies on the direction.
        expected: Its mean for directions learnt from valence shuffled over the emotions.
        p: Share of shuffles whose direction holds as much or more of it; small where the control concepts
            do lie along valence.
        n_permutations: Shuffles tried.
    """

    emotions: Float[np.ndarray, " concepts"]
    control: Float[np.ndarray, " control"]
    r_valence: float
    learnt: bool
    share: float
    statistic: float
    expected: float
    p: float
    n_permutations: int


def valence_axis(
    emotions: Float[np.ndarray, "concepts k"],
    valence: Float[np.ndarray, " concepts"],
    control: Float[np.ndarray, "control k"],
    *,
    n_permutations: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> ValenceAxis:
    """Test whether concepts without feeling lie along the direction of valence that emotions show.

    The direction is ridge regression's of valence on the emotions' standardised coordinates, its penalty the
    one with the least leave-one-out error. Shuffled valence gives directions that the same emotions offer for
    nothing; where the true one holds no more of the control concepts' variance than those, they show no
    valence. Failing to reject is no proof: read `share` with its interval beside it.

    Args:
        emotions: Coordinates of the emotions.
        valence: Their valence.
        control: Coordinates of the control concepts on the same features.
        n_permutations: Shuffles of valence.
        seed: Seed of the shuffles.

    Raises:
        UserError: Fewer than `MIN_EMOTIONS` emotions or two control concepts, or other coordinates.

    Source: methods.md, section 6; Hoerl & Kennard (1970) for ridge; Allen (1974) for its leave-one-out error.
    """
    if len(emotions) < MIN_EMOTIONS or len(control) < 2 or emotions.shape[1] != control.shape[1]:
        raise UserError(
            f"The valence axis must have at least {MIN_EMOTIONS} emotions and 2 control concepts on the same "
            f"coordinates, got {emotions.shape} and {control.shape}. Use larger sets, read in the same space."
        )
    centre, spread = emotions.mean(axis=0), emotions.std(axis=0)
    live = spread > 1e-12 * np.maximum(np.abs(emotions).max(axis=0), 1e-300)
    z = (emotions[:, live] - centre[live]) / spread[live]
    other = (control[:, live] - centre[live]) / spread[live]
    orders = label_permutations(len(valence), n_permutations, seed)
    y = np.column_stack([valence, valence[orders.orders].T])
    centred = y - y.mean(axis=0)
    dual, left_out = _ridge(z @ z.T, centred)
    cross = other @ z.T
    projected = cross @ dual
    length = np.einsum("np,nm,mp->p", dual, z @ z.T, dual, optimize=True)
    total = other.var(axis=0).sum()
    held = projected.var(axis=0) / np.where(length > 0, length, np.nan) / (total if total > 0 else np.nan)
    own = left_out[:, 0]
    error = ((centred[:, 0] - own) ** 2).sum()
    learnt = bool(error < (centred[:, 0] ** 2).sum() and np.isfinite(held[0]))
    nothing = float("nan")
    return ValenceAxis(
        emotions=own + valence.mean(),
        control=projected[:, 0] + valence.mean(),
        r_valence=float(np.corrcoef(own, valence)[0, 1]) if np.ptp(own) > 0 else nothing,
        learnt=learnt,
        share=float(projected[:, 0].std() / own.std()) if learnt else nothing,
        statistic=float(held[0]) if learnt else nothing,
        expected=float(np.nanmean(held[1:])) if learnt else nothing,
        p=float(permutation_p(held[0], held[1:], exact=orders.exact)) if learnt else nothing,
        n_permutations=len(orders.orders),
    )


def _ridge(
    inner: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n p"]
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n p"]]:
    """Fit every centred target at its best penalty: dual weights, and predictions without the concept itself."""
    n = len(inner)
    values, vectors = np.linalg.eigh(inner)
    values = np.maximum(values, 0.0)
    turned = vectors.T @ targets
    least = np.full(targets.shape[1], np.inf)
    dual, predicted = np.zeros_like(targets), np.zeros_like(targets)
    for penalty in PENALTIES * max(values.sum() / n, 1e-300):
        shrunk = values / (values + penalty)
        fitted = vectors @ (shrunk[:, None] * turned)
        leverage = 1 / n + vectors**2 @ shrunk  # the intercept takes 1/n
        error = (targets - fitted) / (1 - leverage)[:, None]
        loss = (error**2).sum(axis=0)
        better = loss < least
        least[better] = loss[better]
        dual[:, better] = vectors @ (turned[:, better] / (values + penalty)[:, None])
        predicted[:, better] = (targets - error)[:, better]
    return dual, predicted


def spread_interval(
    emotions: Float[np.ndarray, " n"], control: Float[np.ndarray, " m"], confidence: float
) -> tuple[float, float]:
    """Return the interval of the ratio of the standard deviations, control over emotions.

    The jackknife gives the standard error of each logarithm; with 27 and 27 values it covers 92 to 96 %.

    Args:
        emotions: Values of the emotions.
        control: Values of the control concepts.
        confidence: Coverage.
    """
    if min(len(emotions), len(control)) < 4 or not (np.ptp(emotions) > 0 and np.ptp(control) > 0):
        return float("nan"), float("nan")
    error = np.sqrt(_jackknife(emotions) + _jackknife(control))
    reach = student.ppf((1 + confidence) / 2, min(len(emotions), len(control)) - 1) * error
    middle = np.log(control.std() / emotions.std())
    return float(np.exp(middle - reach)), float(np.exp(middle + reach))


def _jackknife(values: np.ndarray) -> float:
    """Squared standard error of the logarithm of the standard deviation."""
    n = len(values)
    logs = np.log(np.array([np.delete(values, row).std(ddof=1) for row in range(n)]))
    return float((n - 1) / n * ((logs - logs.mean()) ** 2).sum())
