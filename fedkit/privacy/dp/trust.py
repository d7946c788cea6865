"""Whom one has to trust, and what that costs: the same epsilon with local, shuffled, distributed and central noise.

Each of n participants has one sample and sends one vector, cut to norm C; all that is learned is their sum. The same
epsilon, for one vector replaced by another (so the sensitivity is 2 C), against an aggregator that

    local        sees every vector: each carries all of the noise, and the sum n times its variance
    shuffled     sees all vectors, and not whose they are: less noise in each is enough, for the crowd hides the rest
                 (Feldman, McMillan, Talwar 2021, "Hiding among the clones", and 2022, "Stronger privacy amplification by
                 shuffling for Renyi and approximate differential privacy")
    distributed  sees the sum alone, under masks: each adds its share, in a number that is enough without the colluders'
    central      is trusted with all of it, and adds the noise once
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.data.shards import Shard
from fedkit.privacy.dp.account import noise_for

__all__ = ["accuracy_by_trust", "noise_by_trust", "shuffled_epsilon"]


def shuffled_epsilon(local: float, participants: int, delta: float) -> float:
    """Epsilon at `delta` of n shuffled reports, each of which has `local` on its own; never more than `local`."""
    if _spilt(local, participants, 0.0) <= delta:
        return 0.0
    low, high = 0.0, local
    while high - low > 1e-4 * local:
        middle = (low + high) / 2
        enough = _spilt(local, participants, middle) <= delta
        low, high = (low, middle) if enough else (middle, high)
    return high


def _spilt(local: float, participants: int, epsilon: float) -> float:
    """Delta of n shuffled reports at `epsilon`: of the pair to which the 2022 paper reduces all of them.

    Of the others, C ~ Bin(n - 1, 2 / (e^l + 1)) look as if they were clones of the first one, A ~ Bin(C, 1/2) of them with
    its one answer: sum_x max(0, P - e^epsilon Q) of (A + D, C - A + 1 - D), where D = 1 has probability e^l / (e^l + 1)
    under P, and the rest under Q. Given C, P / Q grows with x.
    """
    from scipy.special import bdtr, bdtrc, gammaln  # slow to import

    if epsilon >= local:
        return 0.0
    clone, grown = 2 / (math.exp(local) + 1), math.exp(epsilon)
    mean, spread = (participants - 1) * clone, 9 * math.sqrt((participants - 1) * clone) + 40
    first, last = max(0, int(mean - spread)), min(participants - 1, int(mean + spread) + 1)
    c = np.arange(first, last + 1, dtype=float)
    log_c = gammaln(participants) - gammaln(c + 1) - gammaln(participants - c)
    weights = np.exp(log_c + c * math.log(clone) + (participants - 1 - c) * math.log1p(-clone))
    beyond = (bdtr(first - 1, participants - 1, clone) if first else 0.0) + bdtrc(
        last, participants - 1, clone
    )
    right, wrong = 1 - clone / 2, clone / 2
    ratio = (right * grown - wrong) / (right - grown * wrong)
    start = np.ceil(ratio * (c + 1) / (1 + ratio))  # from this x on, P > e^epsilon Q

    def at_least(x: NDArray[np.float64]) -> NDArray[np.float64]:
        """P[A >= x]."""
        inside = bdtrc(np.clip(x - 1, 0, c), c.astype(np.int64), 0.5)
        return np.where(x <= 0, 1.0, np.where(x > c, 0.0, inside))

    more, less = at_least(start - 1), at_least(start)
    each = right * more + wrong * less - grown * (wrong * more + right * less)
    return float((weights * np.maximum(each, 0)).sum() + beyond)


def noise_by_trust(
    epsilon: float, delta: float, participants: int, colluders: int = 0
) -> dict[str, float]:
    """Standard deviation of the noise in the sum of all, in clipping norms, by whom one trusts.

    colluders : so many participants may tell the aggregator their share of distributed noise, or which shuffled report is
    theirs. Raises FedkitError where nobody is left, or no noise gives this epsilon.
    """
    if not 0 <= colluders < participants:
        raise FedkitError(
            f"are {colluders} of {participants} participants",
            field="colluders",
            remedy="leave an honest one",
        )
    whole, honest = 2 * noise_for(epsilon, delta), participants - colluders
    return {
        "local": whole * math.sqrt(participants),
        "shuffled": 2 * _noise_shuffled(epsilon, delta, honest) * math.sqrt(participants),
        "distributed": whole * math.sqrt(participants / honest),
        "central": whole,
    }


def _noise_shuffled(epsilon: float, delta: float, honest: int) -> float:
    """The noise multiplier of each report: half of delta for the shuffling, the rest for the reports' own.

    (local, delta_0) of each give  delta / 2 + (e^epsilon + 1) (1 + e^-local / 2) n delta_0  in all (theorem 3.8 of 2021).
    """
    low, high = epsilon, epsilon + math.log(honest) + 1
    while high - low > 1e-3:  # the largest local epsilon that the crowd makes small enough
        middle = (low + high) / 2
        enough = _spilt(middle, honest, epsilon) <= delta / 2
        low, high = (middle, high) if enough else (low, middle)
    own = delta / 2 / ((math.exp(epsilon) + 1) * (1 + math.exp(-low) / 2) * honest)
    return min(
        noise_for(epsilon, delta), noise_for(low, own)
    )  # the first without help from the crowd


def accuracy_by_trust(
    train: Shard,
    test: Shard,
    epsilons: Sequence[float],
    *,
    delta: float = 1e-5,
    colluders: int = 0,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Accuracy over epsilon of the same classifier on the same samples, by whom one trusts; "without noise" beside it.

    train, test : samples float32 [N, ...], labels int64 [N], of which each participant has one of `train`. It sends its
    sample less its own mean, scaled to norm 1, at the place of its label; the sums of the classes, with noise, are their
    means up to a factor, and a test sample belongs to the nearest one (all classes are taken to be as large). The fewer
    numbers a sample has, the less noise is in its way: take `avg_pool2d(images, 4)` of MNIST. Noise is drawn for the sum at
    once, which has the distribution of all single ones' sum; each number is the mean of `repeats` draws.
    """

    def sent(samples: Tensor) -> Tensor:
        rows = samples.flatten(1).double()
        return F.normalize(rows - rows.mean(1, keepdim=True))

    labels, answers, asked = train[1], test[1], sent(test[0])
    classes = int(torch.cat([labels, answers]).max()) + 1
    sums = torch.zeros(classes, asked.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, sent(train[0]))

    def accuracy(noised: Tensor) -> float:
        means = noised * classes / len(labels)
        nearest = (asked @ means.T - means.square().sum(1) / 2).argmax(1)
        return float((nearest == answers).double().mean())

    found: dict[str, list[float]] = {"without noise": [accuracy(sums)] * len(epsilons)}
    for k, epsilon in enumerate(epsilons):
        for name, std in noise_by_trust(epsilon, delta, len(labels), colluders).items():
            random = generator(seed, "trust", name, k)
            draws = [
                torch.randn(sums.shape, generator=random, dtype=torch.float64)
                for _ in range(repeats)
            ]
            found.setdefault(name, []).append(
                sum(accuracy(sums + std * drawn) for drawn in draws) / repeats
            )
    return found
