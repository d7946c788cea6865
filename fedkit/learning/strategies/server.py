"""Server optimisers: the mean change of a round is a gradient, and the aggregator takes an optimiser's step with it.

FedAvgM: Hsu, Qi, Brown 2019, "Measuring the effects of non-identical data distribution for federated visual
classification", section 4. FedAdagrad, FedAdam, FedYogi: Reddi et al. 2021, "Adaptive federated optimization", algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.learning.models import StateDict
from fedkit.learning.strategies.arithmetic import mean_delta, move, norm_of
from fedkit.learning.strategies.base import ServerState, Step, Strategy
from fedkit.learning.update import Update

__all__ = ["FedAdagrad", "FedAdam", "FedAvgM", "FedYogi"]


def _like(model: Mapping[str, Tensor], value: float) -> StateDict:
    return {
        name: torch.full_like(tensor, value, dtype=torch.float64)
        for name, tensor in model.items()
        if tensor.is_floating_point()
    }


@dataclass(frozen=True)
class FedAvgM(Strategy):
    """FedAvg with momentum at the server.

    v <- beta v + Delta,  w <- w + eta v   (Hsu et al. 2019, section 4; Delta is the mean change)

    server_lr : eta, default 1. momentum : beta in [0, 1), default 0.9. weighting : "samples" or "equal".
    """

    server_lr: float = 1.0
    momentum: float = 0.9
    weighting: str = "samples"

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """No velocity yet."""
        return ServerState(dict(model), {"velocity": _like(model, 0.0)})

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """One step with momentum."""
        delta = mean_delta(state.model, updates, self.weighting)
        velocity = {n: self.momentum * v + delta[n] for n, v in state.memory["velocity"].items()}
        step = {name: self.server_lr * value for name, value in velocity.items()}
        diagnostics = {"delta_norm": norm_of(delta), "step_norm": norm_of(step)}
        return ServerState(move(state.model, step), {"velocity": velocity}), diagnostics


@dataclass(frozen=True)
class _FedOpt(Strategy):
    """The common part of algorithm 2 of Reddi et al. 2021.

    m <- beta1 m + (1 - beta1) Delta,  w <- w + eta m / (sqrt(v) + tau);  the rules differ in v, which starts at tau^2.
    As in the paper there is no bias correction.
    """

    server_lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    weighting: str = "samples"

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """m = 0, v = tau^2."""
        return ServerState(dict(model), {"m": _like(model, 0.0), "v": _like(model, self.tau**2)})

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        raise NotImplementedError

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """One adaptive step."""
        delta = mean_delta(state.model, updates, self.weighting)
        m = {
            n: self.beta1 * old + (1 - self.beta1) * delta[n]
            for n, old in state.memory["m"].items()
        }
        v = {n: self._second(old, delta[n].square()) for n, old in state.memory["v"].items()}
        step = {n: self.server_lr * m[n] / (v[n].sqrt() + self.tau) for n in m}
        diagnostics = {"delta_norm": norm_of(delta), "step_norm": norm_of(step)}
        return ServerState(move(state.model, step), {"m": m, "v": v}), diagnostics


@dataclass(frozen=True)
class FedAdagrad(_FedOpt):
    """v <- v + Delta^2   (Reddi et al. 2021, algorithm 2; beta1 = 0 in the paper's experiments)."""

    beta1: float = 0.0

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        return v + square


@dataclass(frozen=True)
class FedAdam(_FedOpt):
    """v <- beta2 v + (1 - beta2) Delta^2   (Reddi et al. 2021, algorithm 2)."""

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        return self.beta2 * v + (1 - self.beta2) * square


@dataclass(frozen=True)
class FedYogi(_FedOpt):
    """v <- v - (1 - beta2) Delta^2 sign(v - Delta^2)   (Reddi et al. 2021, algorithm 2)."""

    def _second(self, v: Tensor, square: Tensor) -> Tensor:
        return v - (1 - self.beta2) * square * torch.sign(v - square)
