"""Where the noise of differential privacy comes from: a seed, for learning, or the operating system, for real.

`SeededNoise` repeats to the last bit and derives from the config's seed. It is no secret: whoever reads the config can draw
the same noise and subtract it, and torch's Mersenne Twister can be predicted from its own output. Its numbers have the
right distribution, so that accuracy, attacks and audits come out as they would; the protection itself is for show.

`SystemNoise` draws from the operating system's generator (`os.urandom`), which nobody can repeat, not even its owner. What
fedkit adds from it is discrete Gaussian noise on whole numbers (`grid.py`), whose proof is about what the computer
calculates. `normal` gives floating point numbers, which no such proof covers: each is half the sum of four Gaussians, so
that the known way to take it apart fails (Holohan and Braghin 2021, "Secure random sampling in differential privacy",
section 5.1; n = 2). Neither source stops an attack on the time that drawing takes.
"""

from __future__ import annotations

import math
import os
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedkit.base.seeds import generator

__all__ = ["Noise", "SeededNoise", "SystemNoise", "noise_source"]


_MANTISSA = 53


class Noise(Protocol):
    """A source of random numbers."""

    def normal(self, shape: torch.Size | tuple[int, ...], std: float) -> Tensor:
        """Gaussian numbers of mean 0, float64."""
        ...

    def uniform(self, count: int) -> Tensor:
        """Numbers in [0, 1), float64 [count]."""
        ...

    def words(self, count: int) -> NDArray[np.int64]:
        """Numbers of 63 fair bits, int64 [count], for `discrete_gaussian`."""
        ...


class SeededNoise:
    """Noise that repeats: from a generator of its own for (seed, *keys). Not secure; see the module."""

    def __init__(self, seed: int, *keys: str | int) -> None:
        self.generator = generator(seed, *keys)

    def normal(self, shape: torch.Size | tuple[int, ...], std: float) -> Tensor:
        """Gaussian numbers of mean 0, float64."""
        return std * torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def uniform(self, count: int) -> Tensor:
        """Numbers in [0, 1), float64 [count]."""
        return torch.rand(count, generator=self.generator, dtype=torch.float64)

    def words(self, count: int) -> NDArray[np.int64]:
        """Numbers of 63 fair bits, int64 [count]."""
        drawn = torch.empty(count, dtype=torch.int64).random_(generator=self.generator)
        return np.asarray(drawn.numpy())


class SystemNoise:
    """Noise that nobody can repeat: from the operating system's generator."""

    def uniform(self, count: int) -> Tensor:
        """Numbers in [0, 1), float64 [count]: multiples of 2^-53."""
        drawn = torch.from_numpy(self.words(count) & (2**_MANTISSA - 1)).double()
        return drawn * 2.0**-_MANTISSA

    def words(self, count: int) -> NDArray[np.int64]:
        """Numbers of 63 fair bits, int64 [count]."""
        return np.frombuffer(os.urandom(8 * count), np.int64) & (2**63 - 1)

    def normal(self, shape: torch.Size | tuple[int, ...], std: float) -> Tensor:
        """Gaussian numbers of mean 0, float64: half the sum of four, each by Box and Muller."""
        count = 4 * math.prod(shape)
        pairs = (count + 1) // 2
        radius = (-2 * (1 - self.uniform(pairs)).log()).sqrt()
        angle = 2 * math.pi * self.uniform(pairs)
        drawn = torch.cat([radius * angle.cos(), radius * angle.sin()])[:count]
        return std * drawn.view(4, *shape).sum(0) / 2


def noise_source(secure: bool, seed: int, *keys: str | int) -> Noise:
    """`SystemNoise`, or `SeededNoise(seed, *keys)`."""
    return SystemNoise() if secure else SeededNoise(seed, *keys)
