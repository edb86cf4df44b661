"""Placing labels beside points so that as few as possible overlap."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["place_labels"]

# Directions from a point to its label, best first: right, left, above, below, then what lies between.
_DEGREES = np.array([0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 300, 240])
_DISTANCES = (0.0, 5.0, 12.0, 22.0, 34.0)  # beyond touching, in multiples of `unit`
_ON_LABEL, _ON_MARKER, _OUTSIDE = 40.0, 6.0, 60.0


def place_labels(
    points: Float[np.ndarray, "n 2"],
    radii: Float[np.ndarray, " n"],
    sizes: Float[np.ndarray, "n 2"],
    bounds: tuple[float, float, float, float],
    *,
    obstacles: Float[np.ndarray, "m 2"] | None = None,
    unit: float = 1.0,
    sweeps: int = 40,
) -> Float[np.ndarray, "n 2"]:
    """Return the centre of each label's box.

    Every label has some sixty places around its point: near ones before far ones, right and left before
    above and below. Labels take turns, the crowded ones first, each moving to the place where it covers
    least of the other labels and the markers, until none wants to move. Nothing is random.

    Args:
        points: Where the points are, in the unit of a screen (dots), y upwards.
        radii: Radius of each point's marker.
        sizes: Width and height of each label.
        bounds: Left, bottom, right and top that boxes stay inside of.
        obstacles: More points that labels should not cover.
        unit: Dots in a typographic point; scales the distances.
        sweeps: Most turns of each label.

    Example:
        >>> place_labels(np.zeros((1, 2)), np.ones(1), np.array([[10.0, 4.0]]), (-50, -50, 50, 50))
        array([[8., 0.]])
    """
    n = len(points)
    if n == 0:
        return np.zeros((0, 2))
    half = sizes / 2
    markers = points if obstacles is None or len(obstacles) == 0 else np.concatenate([points, obstacles])
    spread = np.concatenate([radii, np.full(len(markers) - n, radii.mean())]) + unit
    places, cost = _candidates(points, radii, half, unit)
    low, high = np.array(bounds[:2]), np.array(bounds[2:])
    outside = ((places - half[:, None] < low) | (places + half[:, None] > high)).any(axis=2)
    cost = cost + _OUTSIDE * outside + _ON_MARKER * _markers_hit(places, half, markers, spread)
    chosen = cost.argmin(axis=1)
    distance = np.linalg.norm(points[:, None] - markers[None], axis=2)
    turns = np.argsort(np.sort(distance, axis=1)[:, : min(6, len(markers))].sum(axis=1), kind="stable")
    for _ in range(sweeps):
        moved = False
        for index in turns:
            centres = places[np.arange(n), chosen]
            others = np.arange(n) != index
            covered = _covered(places[index], half[index], centres[others], half[others])
            best = int(np.argmin(cost[index] + _ON_LABEL * covered))
            moved |= best != chosen[index]
            chosen[index] = best
        if not moved:
            break
    return np.asarray(places[np.arange(n), chosen])


def _candidates(
    points: np.ndarray, radii: np.ndarray, half: np.ndarray, unit: float
) -> tuple[Float[np.ndarray, "n k 2"], Float[np.ndarray, "n k"]]:
    """Return the places of each label and what each costs by itself."""
    angles = np.deg2rad(_DEGREES)
    direction = np.column_stack([np.cos(angles), np.sin(angles)]).round(12)
    places, cost = [], []
    for far, distance in enumerate(_DISTANCES):
        # the box touches the marker along the direction: its centre is as far off as the box reaches that way
        with np.errstate(divide="ignore"):
            reach = np.minimum(
                np.where(direction[:, 0] != 0, half[:, None, 0] / np.abs(direction[:, 0]), np.inf),
                np.where(direction[:, 1] != 0, half[:, None, 1] / np.abs(direction[:, 1]), np.inf),
            )
        length = reach + radii[:, None] + 2.0 * unit + distance * unit
        places.append(points[:, None] + length[..., None] * direction)
        cost.append(np.broadcast_to(2.0 * far + 0.12 * np.arange(len(_DEGREES)), length.shape))
    return np.concatenate(places, axis=1), np.concatenate(cost, axis=1)


def _markers_hit(places: np.ndarray, half: np.ndarray, markers: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Count the markers that each place of each label covers."""
    gap = np.maximum(np.abs(places[:, :, None] - markers) - half[:, None, None], 0.0)
    return np.asarray((np.linalg.norm(gap, axis=3) < spread).sum(axis=2))


def _covered(places: np.ndarray, half: np.ndarray, centres: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Sum over the other labels of the share of the box that they cover, and of touching at all."""
    overlap = np.maximum(half + halves - np.abs(places[:, None] - centres), 0.0)
    area = overlap.prod(axis=2)
    return np.asarray((area / (4 * half.prod()) + 0.2 * (area > 0)).sum(axis=1))
