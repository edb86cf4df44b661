"""Placing labels beside points so that few of them overlap."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["place_labels"]

# Where a label may start from its point, best first: right, left, above, below, then the diagonals.
_SIDES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)], dtype=float)


def place_labels(
    points: Float[np.ndarray, "n 2"],
    radii: Float[np.ndarray, " n"],
    sizes: Float[np.ndarray, "n 2"],
    bounds: tuple[float, float, float, float],
    *,
    obstacles: Float[np.ndarray, "m 2"] | None = None,
    rounds: int = 300,
    gap: float = 2.0,
) -> Float[np.ndarray, "n 2"]:
    """Return the centre of each label's box.

    Each label first takes the side of its point where it covers least, in a fixed order; then boxes that still
    overlap push each other and the points away, while a spring holds each near its point. Everything is
    deterministic.

    Args:
        points: Where the points are, in the unit of a screen (dots), y upwards.
        radii: Radius of each point's marker.
        sizes: Width and height of each label.
        bounds: Left, bottom, right and top that boxes stay inside of.
        obstacles: More points that labels should not cover.
        rounds: Most rounds of pushing.
        gap: Least distance between boxes and markers.

    Example:
        >>> place_labels(np.zeros((1, 2)), np.ones(1), np.array([[10.0, 4.0]]), (-50, -50, 50, 50))
        array([[8., 0.]])
    """
    n = len(points)
    if n == 0:
        return np.zeros((0, 2))
    half = sizes / 2
    others = points if obstacles is None or len(obstacles) == 0 else np.concatenate([points, obstacles])
    spread = np.concatenate([radii, np.full(len(others) - n, radii.mean())])
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    centre = _first_guess(points, radii, half, others, spread, low, high, gap)
    for _ in range(rounds):
        push = _from_boxes(centre, half, gap) + _from_points(centre, half, others, spread, gap)
        moving = np.abs(push).max(axis=1) > 0.05
        if not moving.any():
            break
        centre = centre + push
        home = np.where(moving[:, None], points - centre, 0.0)
        reach = np.maximum(np.abs(home) - half - radii[:, None] - gap, 0.0) * np.sign(home)
        centre = np.clip(centre + 0.08 * reach, low + half, np.maximum(high - half, low + half))
    return centre


def _first_guess(
    points: np.ndarray,
    radii: np.ndarray,
    half: np.ndarray,
    others: np.ndarray,
    spread: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    gap: float,
) -> np.ndarray:
    """Take for each label the side that covers least; the crowded points choose first."""
    n = len(points)
    distance = np.linalg.norm(points[:, None] - others[None], axis=2)
    crowded = np.argsort(np.sort(distance, axis=1)[:, : min(6, len(others))].sum(axis=1), kind="stable")
    centre = points.copy()
    placed: list[int] = []
    for index in crowded:
        candidates = points[index] + _SIDES * (half[index] + radii[index] + gap)
        # on a diagonal the corner of the box may come closer than its side would
        candidates[4:] -= _SIDES[4:] * 0.3 * radii[index]
        cost = 0.02 * np.arange(len(_SIDES))
        for side, candidate in enumerate(candidates):
            cost[side] += _covered(candidate, half[index], centre[placed], half[placed])
            free = np.maximum(np.abs(candidate - others) - half[index], 0.0)
            inside = np.linalg.norm(free, axis=1) < spread
            inside[index] = False
            cost[side] += 0.6 * inside.sum()
            cost[side] += 5.0 * bool(((candidate - half[index] < low) | (candidate + half[index] > high)).any())
        centre[index] = candidates[int(np.argmin(cost))]
        placed.append(int(index))
    assert len(placed) == n
    return np.clip(centre, low + half, np.maximum(high - half, low + half))


def _covered(centre: np.ndarray, half: np.ndarray, centres: np.ndarray, halves: np.ndarray) -> float:
    """Share of a box that other boxes cover."""
    if len(centres) == 0:
        return 0.0
    overlap = np.maximum(half + halves - np.abs(centre - centres), 0.0)
    return float(overlap.prod(axis=1).sum() / (4 * half.prod()))


def _from_boxes(centre: np.ndarray, half: np.ndarray, gap: float) -> np.ndarray:
    """Push overlapping boxes apart along the axis on which they overlap less."""
    n = len(centre)
    difference = centre[:, None] - centre[None]
    overlap = half[:, None] + half[None] + gap / 2 - np.abs(difference)
    both = (overlap > 0).all(axis=2) & ~np.eye(n, dtype=bool)
    # boxes on one spot part by their order
    order = np.sign(np.arange(n)[:, None] - np.arange(n)[None])[..., None]
    direction = np.where(difference != 0, np.sign(difference), order)
    # text is wide and low, so that up and down is nearly always the short way out
    along = np.where((overlap[..., :1] < overlap[..., 1:]), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    return np.asarray((both[..., None] * along * direction * overlap).sum(axis=1) * 0.3)


def _from_points(
    centre: np.ndarray, half: np.ndarray, points: np.ndarray, spread: np.ndarray, gap: float
) -> np.ndarray:
    """Push boxes off the markers."""
    difference = centre[:, None] - points[None]
    reach = half[:, None] + spread[None, :, None] + gap / 2
    overlap = reach - np.abs(difference)
    inside = (overlap > 0).all(axis=2)
    along = np.where((overlap[..., :1] < overlap[..., 1:]), np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    direction = np.where(difference != 0, np.sign(difference), 1.0)
    return np.asarray((inside[..., None] * along * direction * overlap).sum(axis=1) * 0.2)
