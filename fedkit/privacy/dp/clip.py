"""What clips an update, and by how much noise: cut what one can change, add Gaussian noise to the sum, divide by a fixed
number. Participant-level privacy by hand.

McMahan et al. 2018, "Learning differentially private recurrent language models", algorithm 1; the clipping norm that
follows a quantile: Andrew et al. 2021, "Differentially private learning with adaptive clipping". Notebook 09 writes the
first two functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fedkit.learning.models import StateDict
from fedkit.learning.strategies.arithmetic import delta, move, stack, unstack
from fedkit.privacy.dp.noise import Noise

__all__ = ["clip_rows", "next_clip", "noisy_mean", "share_of_noise", "split_noise"]


def clip_rows(changes: Tensor, clip: float) -> Tensor:
    """Each row cut to L2 norm `clip`: x min(1, C / ||x||). Shorter rows stay as they are. [K, D] to [K, D]."""
    norms = changes.norm(dim=1, keepdim=True)
    return changes * torch.clamp(clip / norms, max=1)


def noisy_mean(
    changes: Tensor, clip: float, noise_multiplier: float, expected: float, noise: Noise
) -> Tensor:
    """(sum_k clip(x_k) + N(0, (sigma C)^2)) / expected, [D].   (McMahan et al. 2018, algorithm 1, with f~_f)

    changes : float64 [K, D], one row a participant. expected : how many rows there are on average; a number that depends on
    who is there would tell that. One row more or less moves the sum by at most C, whatever stands in it.
    """
    total = clip_rows(changes, clip).sum(dim=0)
    total = total + noise.normal(total.shape, noise_multiplier * clip)
    return total / expected


def share_of_noise(
    before: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    clip: float,
    noise_multiplier: float,
    shares: int,
    noise: Noise,
) -> StateDict:
    """At the participant: its change cut to norm C, plus its share of the noise, N(0, (sigma C)^2 / shares).

    The sum of `shares` such updates carries the noise of the whole. One alone carries less: this protects where an
    aggregator sees sums only. Floating point tensors change, counters stay as they are before.
    """
    change = delta(before, trained)
    row = clip_rows(stack([change]), clip)[0]
    row = row + noise.normal(row.shape, noise_multiplier * clip / math.sqrt(shares))
    return move(before, unstack(row, change))


def split_noise(noise_multiplier: float, count_noise: float) -> float:
    """The noise multiplier that is left for the updates when the count of unclipped ones gets noise of its own.

    z_Delta = (z^-2 - (2 sigma_b)^-2)^(-1/2)   (Andrew et al. 2021, theorem 1); z < 2 sigma_b. Larger than z.
    It holds for a count that one participant moves by 1/2, as the centred sum_k (b_k - 1/2) is; not for sum_k b_k.
    """
    return float((noise_multiplier**-2 - (2 * count_noise) ** -2) ** -0.5)


def next_clip(
    clip: float, unclipped: float, expected: float, quantile: float, learning_rate: float
) -> float:
    """C exp(-eta_C (b~ - gamma)): the norm shrinks while more than `quantile` of the updates stay unclipped.

    unclipped : their count, from the centred sum_k (b_k - 1/2) + expected / 2, with noise.
    (Andrew et al. 2021, algorithm 1)
    """
    return clip * math.exp(-learning_rate * (unclipped / expected - quantile))
