"""FedAvg: the weighted mean of the participants' weights (McMahan et al. 2017). Built by hand in notebook 04."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedkit.learning.models import StateDict
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.strategies.base import LocalTerms, ServerState, Step, Strategy
from fedkit.learning.update import Update

__all__ = ["FedAvg", "FedProx", "fedavg"]


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


_PIECE = 2**16


def _in_pieces(updates: Sequence[Update], weighting: str) -> StateDict:
    """`fedavg` of so many numbers at a time: the same bits, and its float64 never leaves the processor's cache."""
    average = {}
    for name, tensor in updates[0].state.items():
        cut = [update.state[name].flatten().split(_PIECE) for update in updates]
        means = [
            fedavg(
                [replace(u, state={name: p}) for u, p in zip(updates, pieces, strict=True)],
                weighting,
            )[name]
            for pieces in zip(*cut, strict=True)
        ]
        average[name] = torch.cat(means).view(tensor.shape)
    return average


@dataclass(frozen=True)
class FedAvg(Strategy):
    """The weighted mean (McMahan et al. 2017, algorithm 1). weighting : "samples" or "equal"."""

    weighting: str = "samples"

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """`fedavg`."""
        return ServerState(_in_pieces(updates, self.weighting)), {}


@dataclass(frozen=True)
class FedProx(FedAvg):
    """FedAvg whose participants add (mu / 2) ||w - w_global||^2 to their loss.

    (Li et al. 2020, "Federated optimization in heterogeneous networks", algorithm 2; the term is squared, so its gradient
    is mu (w - w_global).) mu : default 0.01; 0 is FedAvg.
    """

    mu: float = 0.01

    def terms(self, received: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> LocalTerms:
        """The proximal term."""
        return LocalTerms(mu=self.mu)
