"""Ridge for many training sets, penalties and targets at once, by block Lanczos in the space of words.

Ridge with an intercept is `(K + penalty I) a = y` on the centred training words, with `K = X X'` and the
weights `X' a`. All penalties share one Krylov space of `K`, because a shift leaves the space as it is; all
targets share it, because they start it together (a block method); all training sets share one pass over `X`,
because a training set is no more than zeros in the rows of the others. And a pass over `X` gives the held-out
rows of `K` for nothing, so that held-out predictions need no weights.

The basis is orthogonalised in full against itself, so the residual of each penalty is known at each step from
the small projected matrix alone.

Source: Golub & Van Loan, Matrix Computations (4th ed.), 10.1-10.3, for Lanczos; Frommer & Glässner, Restarted
GMRES for shifted linear systems, SIAM J. Sci. Comput. 19 (1998), for the shared space.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from emosae.ratings.design import Design
from emosae.ratings.problem import Problem

__all__ = ["KrylovSolver"]

_DROP = 1e-11  # of the largest eigenvalue: a new direction shorter than this is rounding
_TWICE = 0.1  # a vector that keeps less than this share of its length is orthogonalised again


def _orthonormal_rows(rows: np.ndarray, known: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Split `rows` [b, n], orthogonal to `known`, into `factor.T @ basis`, without directions below `floor`.

    A row that loses most of its length to the others is mostly rounding in the directions of `known`, so it
    is orthogonalised against them once more; without that the basis decays when the targets' directions meet.

    Returns:
        The basis [c, n] and the factor [c, b], c at most b.
    """
    basis = np.empty_like(rows)
    factor = np.zeros((len(rows), len(rows)))
    count = 0
    for column, row in enumerate(rows):
        rest, length = row.copy(), np.inf
        for _ in range(4):
            overlap = basis[:count] @ rest
            factor[:count, column] += overlap
            rest -= overlap @ basis[:count]
            # A trace of the mean would grow from step to step, since K is centred on one side only.
            rest -= rest.mean()
            before, length = length, float(np.linalg.norm(rest))
            if length <= floor or length > 0.5 * before:
                break
            rest -= (known @ rest) @ known
        if length > floor:
            factor[count, column] = length
            basis[count] = rest / length
            count += 1
    return basis[:count], factor[:count]


class _Space:
    """The Krylov space of one training set: its basis, and K on it, projected and on the held-out rows."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        block, self.start = _orthonormal_rows(problem.targets.T, np.empty((0, len(problem.train))), 1e-12)
        width = 16 * max(1, len(block))
        self.basis = np.empty((width, len(problem.train)))
        self.heldout = np.empty((width, len(problem.test)))
        self.projected = np.zeros((width, width))
        self.size = 0  # directions whose products with K are known
        self.scale = 0.0
        self.last = slice(0, 0)
        self.coupling = np.zeros((0, len(block)))
        self.block = slice(0, len(block))  # directions that wait for their products
        self.basis[self.block] = block
        self._spectrum: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def exhausted(self) -> bool:
        return self.block.start == self.block.stop

    def _reserve(self, width: int) -> None:
        if width <= len(self.basis):
            return
        new = max(width, 3 * len(self.basis) // 2)
        for name in ("basis", "heldout"):
            old = getattr(self, name)
            grown = np.empty((new, old.shape[1]))
            grown[: len(old)] = old
            setattr(self, name, grown)
        projected = np.zeros((new, new))
        projected[: len(self.projected), : len(self.projected)] = self.projected
        self.projected = projected

    def extend(self, train: np.ndarray, test: np.ndarray) -> None:
        """Take in the products of K with the waiting block: [b, n_train] and [b, n_test]."""
        mean = train.mean(axis=1, keepdims=True)
        train -= mean  # the centring of the columns of X, seen from the rows
        self.heldout[self.block] = test - mean
        size = self.block.stop
        basis = self.basis[:size]
        before = np.linalg.norm(train, axis=1)
        overlap = basis @ train.T
        train -= overlap.T @ basis
        if (np.linalg.norm(train, axis=1) < _TWICE * before).any():
            again = basis @ train.T
            train -= again.T @ basis
            overlap += again
        self.projected[:size, self.block] = overlap
        self.projected[self.block, :size] = overlap.T
        self.scale = max(self.scale, float(before.max(initial=0.0)))
        new, self.coupling = _orthonormal_rows(train, basis, _DROP * self.scale)
        room = max(len(self.problem.train) - 1 - size, 0)  # centred vectors of n words span n - 1 dimensions
        new, self.coupling = new[:room], self.coupling[:room]
        self.last, self.size = self.block, size
        self.block = slice(size, size + len(new))
        self._reserve(self.block.stop)
        self.basis[self.block] = new
        self.projected[self.block, self.last] = self.coupling
        self.projected[self.last, self.block] = self.coupling.T
        self._spectrum = None

    def coefficients(self, penalties: np.ndarray) -> np.ndarray:
        """Return the solution in the basis for each penalty: [n_penalties, size, n_targets]."""
        if self.size == 0:
            return np.zeros((len(penalties), 0, self.start.shape[1]))
        if self._spectrum is None:
            values, vectors = np.linalg.eigh(self.projected[: self.size, : self.size])
            self._spectrum = np.maximum(values, 0.0), vectors, vectors[: len(self.start)].T @ self.start
        values, vectors, right = self._spectrum
        shifted = values[None, :] + penalties[:, None]
        return np.asarray(vectors @ (right[None] / shifted[:, :, None]))

    def residuals(self, penalties: np.ndarray) -> np.ndarray:
        """Return norm((K + penalty) a - y) / norm(y): [n_penalties, n_targets]."""
        if self.size == 0:  # nothing was read yet, unless there is nothing to fit
            return np.full((len(penalties), self.start.shape[1]), 0.0 if self.exhausted else 1.0)
        return np.linalg.norm(self.coupling @ self.coefficients(penalties)[:, self.last], axis=1)


class KrylovSolver:
    """Ridge fits of several training sets, approached step by step."""

    def __init__(self, design: Design, problems: Sequence[Problem]) -> None:
        """Start the spaces.

        Args:
            design: The words x columns matrix.
            problems: One training set each.
        """
        self.design = design
        self.spaces = [_Space(problem) for problem in problems]

    def advance(self, which: Sequence[int], steps: int) -> None:
        """Enlarge the space of each of these problems by `steps` blocks."""
        for _ in range(steps):
            growing = [self.spaces[i] for i in which if not self.spaces[i].exhausted]
            if not growing:
                return
            sizes = [space.block.stop - space.block.start for space in growing]
            words = np.zeros((self.design.shape[0], sum(sizes)))
            edges = np.concatenate([[0], np.cumsum(sizes)])
            parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
            for space, part in zip(growing, parts, strict=True):
                words[space.problem.train, part] = space.basis[space.block].T
            columns = self.design.left(words)
            for space, part in zip(growing, parts, strict=True):
                if space.problem.scale is not None:
                    columns[:, part] *= (space.problem.scale**2)[:, None]
            words = self.design.right(columns)
            for space, part in zip(growing, parts, strict=True):
                train = np.ascontiguousarray(words[space.problem.train, part].T)
                space.extend(train, words[space.problem.test, part].T)

    def exhausted(self, problem: int) -> bool:
        """Tell whether the space of a problem cannot grow: the projected problem is the problem."""
        return self.spaces[problem].exhausted

    def residuals(self, problem: int, penalties: np.ndarray) -> np.ndarray:
        """Return the relative residual of each penalty and target of a problem: [n_penalties, n_targets]."""
        return self.spaces[problem].residuals(penalties)

    def predictions(
        self, problem: int, penalties: np.ndarray, rows: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return the predictions of some of a problem's held-out words: [n_penalties, n_rows, n_targets]."""
        space = self.spaces[problem]
        fitted = space.heldout[: space.size, rows].T @ space.coefficients(penalties)
        return space.problem.unscaled(fitted)

    def weights(self, problem: int, penalties: np.ndarray) -> np.ndarray:
        """Return the weights on the columns of X, target t at `penalties[t]`: [p, n_targets]."""
        space = self.spaces[problem]
        targets = np.arange(len(penalties))
        picked = space.coefficients(penalties)[targets, :, targets]
        words = np.zeros((self.design.shape[0], len(penalties)))
        words[space.problem.train] = (picked @ space.basis[: space.size]).T
        weights = self.design.left(words) * space.problem.norms
        return weights if space.problem.scale is None else weights * (space.problem.scale**2)[:, None]
