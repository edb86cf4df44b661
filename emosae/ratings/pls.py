"""Partial least squares of one rating at a time, on sparse features, without a dense or deflated copy of them.

The textbook algorithm deflates the feature matrix after each component, which would fill a sparse one. It need
not be touched: with orthonormal scores `t`, and `e` what they leave of the ratings, the next weight is `X'e` and
the next score is `X X'e` less its part in the scores before. So, as for ridge, everything happens in the space of
words, one product with `K = X X'` serves a component of every training set and target at once, and the same
product gives the held-out rows. Columns are centred and scaled implicitly.

Source: Wold, Ruhe, Wold & Dunn, The collinearity problem in linear regression, SIAM J. Sci. Stat. Comput. 5
(1984), for PLS1; Lindgren, Geladi & Wold, The kernel algorithm for PLS, J. Chemometrics 7 (1993), for K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emosae.errors import UserError
from emosae.ratings.config import Scaling
from emosae.ratings.design import Design, Predictor, as_design
from emosae.ratings.nested import NestedRidge, collect, solving_threads
from emosae.ratings.problem import OuterFit, Problem, make_problems
from emosae.ratings.ridge import SPECTRAL_LIMIT, checked_ratings
from emosae.ratings.spectral import dense_if_narrow

__all__ = ["PLSPath", "nested_pls", "pls_path"]

_EXHAUSTED = 1e-9  # of a score's length before it is orthogonalised: what is left is rounding
_FITTED = 1e-11  # of the ratings: nothing is left to explain


@dataclass(frozen=True, kw_only=True, slots=True)
class PLSPath:
    """Partial least squares on all words with 1, 2, … components.

    Attributes:
        weights: [n_components, n_columns, n_targets], on the columns as they were given.
        intercepts: [n_components, n_targets].
    """

    weights: np.ndarray
    intercepts: np.ndarray


class _Fit:
    """Components of one training set and target, in the space of words."""

    def __init__(self, problem: Problem, target: int, n_components: int) -> None:
        n = len(problem.train)
        self.problem, self.target = problem, target
        self.left = problem.targets[:, target].copy()  # what the scores leave of the ratings
        self.scores = np.empty((n_components, n))
        self.heldout = np.empty((n_components, len(problem.test)))
        self.words = np.empty((n_components, n))  # X'words[c] is a direction whose score is scores[c]
        self.loadings = np.zeros(n_components)
        self.size = 0
        self.open = bool(self.left.any())

    def extend(self, train: np.ndarray, test: np.ndarray) -> None:
        """Take in the product of K with what is left of the ratings, [n_train] and [n_test]."""
        mean = train.mean()
        score, heldout, words = train - mean, test - mean, self.left.copy()
        before = float(np.linalg.norm(score))
        for _ in range(2):  # once more, for the digits that the first time costs
            overlap = self.scores[: self.size] @ score
            score -= overlap @ self.scores[: self.size]
            heldout -= overlap @ self.heldout[: self.size]
            words -= overlap @ self.words[: self.size]
            score -= score.mean()
        length = float(np.linalg.norm(score))
        if not length > _EXHAUSTED * before:
            self.open = False
            return
        at = self.size
        self.scores[at], self.heldout[at], self.words[at] = score / length, heldout / length, words / length
        self.loadings[at] = self.scores[at] @ self.left
        self.left -= self.loadings[at] * self.scores[at]
        self.size += 1
        self.open = float(np.linalg.norm(self.left)) > _FITTED and self.size < len(self.scores)

    def predictions(self) -> np.ndarray:
        """Return the held-out predictions with 1, 2, … components, in ratings: [n_components, n_test].

        Where the components are exhausted, further ones add nothing.
        """
        steps = np.zeros_like(self.heldout)
        steps[: self.size] = self.loadings[: self.size, None] * self.heldout[: self.size]
        problem = self.problem
        return np.cumsum(steps, axis=0) * problem.norms[self.target] + problem.means[self.target]

    def direction(self, n_components: int) -> np.ndarray:
        """Return the words whose features, summed, are the weights: [n_train]."""
        used = min(n_components, self.size)
        return np.asarray(self.loadings[:used] @ self.words[:used])


def _solve(design: Design, problems: Sequence[Problem], n_components: int) -> list[list[_Fit]]:
    """Fit every target of every training set; returns the fits by problem, then by target."""
    fits = [
        [_Fit(problem, target, n_components) for target in range(problem.targets.shape[1])]
        for problem in problems
    ]
    flat = [fit for own in fits for fit in own]
    for _ in range(n_components):
        going = [fit for fit in flat if fit.open]
        if not going:
            break
        words = np.zeros((design.shape[0], len(going)))
        for column, fit in enumerate(going):
            words[fit.problem.train, column] = fit.left
        columns = design.left(words)
        for column, fit in enumerate(going):
            if fit.problem.scale is not None:
                columns[:, column] *= fit.problem.scale**2
        words = design.right(columns)
        for column, fit in enumerate(going):
            fit.extend(words[fit.problem.train, column], words[fit.problem.test, column])
    return fits


def _weights(design: Design, fits: Sequence[_Fit], n_components: Sequence[int]) -> np.ndarray:
    """Return the weights of a problem's targets on the columns as they were given, [p, n_targets]."""
    problem = fits[0].problem
    words = np.zeros((design.shape[0], len(fits)))
    for column, (fit, count) in enumerate(zip(fits, n_components, strict=True)):
        words[problem.train, column] = fit.direction(count)
    weights = design.left(words) * problem.norms
    return weights if problem.scale is None else weights * (problem.scale**2)[:, None]


def nested_pls(
    x: Predictor,
    y: np.ndarray,
    outer: np.ndarray,
    inner: Sequence[np.ndarray],
    n_components: int,
    *,
    scaling: Scaling = Scaling.NONE,
    workers: int | None = None,
    name: str = "x",
) -> NestedRidge:
    """Predict each word's ratings by partial least squares on the words of the other outer folds.

    Each target has components of its own. In each outer fold their number is the one with the least squared
    error over the inner folds, the smaller of equals.

    Args:
        x: Words x columns, dense or sparse.
        y: Ratings [n_words] or [n_words, n_targets].
        outer: Outer fold of each word, 0 .. n_folds - 1, [n_words].
        inner: For each outer fold the inner fold of each word, -1 for the words that it leaves out.
        n_components: Most components.
        scaling: What the columns are divided by.
        workers: Outer folds fitted at once; None means one for each processor, at most 4.
        name: What to call `x` in an error.

    Returns:
        Predictions, numbers of components and weights; the penalties are NaN.

    Raises:
        UserError: Features or ratings are not finite, shapes differ, or a target is constant.
    """
    design = as_design(x, name)
    ratings = checked_ratings(y, design.shape[0])
    design = dense_if_narrow(design, SPECTRAL_LIMIT)

    def fit(fold: int) -> OuterFit:
        inside, test = inner[fold], np.flatnonzero(outer == fold)
        sets = [
            (np.flatnonzero((inside >= 0) & (inside != part)), np.flatnonzero(inside == part))
            for part in range(int(inside.max()) + 1)
        ]
        problems = make_problems(design, ratings, [*sets, (np.flatnonzero(inside >= 0), test)], scaling)
        *trials, final = _solve(design, problems, n_components)
        predicted = np.stack([one.predictions() for one in final], axis=2)
        best = np.empty(len(final), dtype=np.int64)
        for target in range(len(final)):
            error = np.zeros(n_components)
            for own in trials:
                held = own[target].problem.test
                error += ((own[target].predictions() - ratings[held, target]) ** 2).sum(axis=1)
            best[target] = error.argmin()
        weights = _weights(design, final, (best + 1).tolist()).astype(np.float32)
        targets = np.arange(len(final))
        return OuterFit(
            test=test,
            predicted=predicted[best, :, targets].T,
            penalties=np.full(len(final), np.nan),
            relative=np.full(len(final), np.nan),
            components=np.minimum(best + 1, np.maximum([one.size for one in final], 1)),
            weights=weights,
            intercepts=problems[-1].intercepts(weights, design),
        )

    with solving_threads(len(inner), workers) as pool:
        return collect(design, ratings, list(pool.map(fit, range(len(inner)))))


def pls_path(x: Predictor, y: np.ndarray, n_components: int, *, scaling: Scaling = Scaling.NONE) -> PLSPath:
    """Fit partial least squares on all words with 1 to `n_components` components, each target by itself.

    Args:
        x: Words x columns, dense or sparse.
        y: Ratings [n_words] or [n_words, n_targets].
        n_components: Most components. Where fewer exhaust the features, further ones change nothing.
        scaling: What the columns are divided by.

    Returns:
        The fits.

    Raises:
        UserError: Features or ratings are not finite, shapes differ, a target is constant, or no component.

    Example:
        >>> import numpy as np
        >>> path = pls_path(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]), 1)
        >>> round(float(path.weights[0, 0, 0]), 9), round(float(path.intercepts[0, 0]), 9)
        (2.0, 1.0)
    """
    if n_components < 1:
        raise UserError(f"n_components must be at least 1, got {n_components!r}. Give a number such as 10.")
    design = as_design(x)
    ratings = checked_ratings(y, design.shape[0])
    everything, nothing = np.arange(design.shape[0]), np.arange(0)
    problem = make_problems(design, ratings, [(everything, nothing)], scaling)[0]
    with threadpool_limits(1, user_api="blas"):
        (fits,) = _solve(design, [problem], n_components)
        weights = np.stack(
            [_weights(design, fits, [count] * len(fits)) for count in range(1, n_components + 1)]
        )
    return PLSPath(weights=weights, intercepts=np.stack([problem.intercepts(w, design) for w in weights]))
