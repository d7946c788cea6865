"""Points in the plane: small data whose every decision can be seen. Moons, circles and blobs are scikit-learn's.

The playground deals them out; a model of a hundred weights learns them in a second.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from fedkit.config.task import Task
from fedkit.data.shards import Shard, wrong

__all__ = ["POINTS", "points", "points_task"]

POINTS = {"moons": 2, "circles": 2, "spirals": 2, "blobs": 3}
"""Kind of points -> how many classes it has."""

_TURNS = 1.25
"""How far an arm of the spirals winds around the middle."""


def points_task(kind: str) -> Task:
    """What the samples and labels of these points are, as `"task"` in fl_config.json. Raises FedkitError."""
    _known(kind)
    return Task(samples="vectors", shape=(2,), outputs=POINTS[kind])


def points(kind: str, count: int, spread: float = 0.15, *, generator: torch.Generator) -> Shard:
    """`count` points of one of `POINTS`, the same number of each class but for one: (float32 [N, 2], int64 [N]).

    spread : standard deviation of the noise on each coordinate, where the figure is about 2 wide and high around the
    origin. Raises FedkitError for another kind, fewer points than classes, or a spread below 0.
    """
    from sklearn import datasets  # slow to import

    _known(kind)
    if type(count) is not int or count < POINTS[kind]:
        raise wrong("count", f"{count!r} points are too few", f"take at least {POINTS[kind]}")
    if not math.isfinite(spread) or spread < 0:
        raise wrong("spread", f"must be a number from 0, not {spread!r}", "try 0.15")
    chance = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    start = int(chance.integers(2**31))
    if kind == "moons":
        where, labels = datasets.make_moons(count, random_state=start)
        where = where - np.array([0.5, 0.25])
    elif kind == "circles":
        where, labels = datasets.make_circles(count, factor=0.45, random_state=start)
    elif kind == "blobs":
        turns = np.arange(3) * 2 * np.pi / 3 + np.pi / 2
        middles = 0.9 * np.stack([np.cos(turns), np.sin(turns)], 1)
        where, labels = datasets.make_blobs(
            count, centers=middles, cluster_std=0.15, random_state=start
        )
    else:
        where, labels = _spirals(count, chance)
    noisy = where + chance.normal(0.0, spread, where.shape)
    return torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))


def _spirals(count: int, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two arms of Archimedes' spiral, each the other one turned by half a turn."""
    labels = np.arange(count) % 2
    along = np.sqrt(chance.uniform(0.02, 1.0, count))  # evenly along the arm
    angle = along * _TURNS * 2 * np.pi + labels * np.pi
    return 1.3 * along[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), labels


def _known(kind: str) -> None:
    if kind not in POINTS:
        raise wrong("kind", f"{kind!r:.40} are no points", f"one of {', '.join(POINTS)}")
