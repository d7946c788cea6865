"""FedAvg: the weighted mean of the participants' weights (McMahan et al. 2017). Built by hand in notebook 04."""

from __future__ import annotations

from collections.abc import Sequence

from fedkit.models import StateDict
from fedkit.records import Update

__all__ = ["fedavg", "mixing_weights"]


def mixing_weights(updates: Sequence[Update], weighting: str = "samples") -> list[float]:
    """Each update's share of the average; the shares add up to 1.

    n_k / n   (McMahan et al. 2017, algorithm 1)   with weighting "samples", where every sample count is known;
    1 / K     with weighting "equal", or where one is unknown (the real apps do not tell theirs).
    """
    counts = [update.num_samples or 0 for update in updates]
    if weighting == "equal" or 0 in counts:
        return [1 / len(updates)] * len(updates)
    return [count / sum(counts) for count in counts]


def fedavg(updates: Sequence[Update], weighting: str = "samples") -> StateDict:
    """The mean of the participants' weights, by samples or equally.

    w = sum_k (n_k / n) w_k   (McMahan et al. 2017, algorithm 1)

    Summed in float64 in the order given, then rounded once, to the dtype that each tensor came with.
    """
    shares = mixing_weights(updates, weighting)
    average = {}
    for name, tensor in updates[0].state.items():
        parts = [share * u.state[name].double() for share, u in zip(shares, updates, strict=True)]
        total = sum(parts[1:], start=parts[0])
        average[name] = (total if tensor.is_floating_point() else total.round()).to(tensor.dtype)
    return average
