"""What every strategy is: `init` and `apply` on explicit state, pure, with diagnostics; and its part at the participants.

A strategy is a small frozen dataclass; its fields are its parameters, and `fl_config.json` names both:
`"strategy": {"name": "fedadam", "server_lr": 0.01}`. Most strategies only aggregate. One that also changes local training
says so with `terms`; one that sends something beside the weights, or that remembers something at each participant, with
`beside`, `broadcast` and `report`. In memory and file by file, nothing else is asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from fedkit.models import StateDict
from fedkit.records import Update
from fedkit.strategies.fedavg import mixing_weights

__all__ = [
    "Diagnostics",
    "LocalRun",
    "LocalTerms",
    "ServerState",
    "Strategy",
    "deltas",
    "mean_delta",
    "move",
    "norm_of",
    "over_floats",
    "stack",
    "unstack",
    "weighted_sum",
]

Diagnostics = dict[str, float]
"""Numbers that say what a rule did in a round."""


@dataclass(frozen=True)
class ServerState:
    """What the aggregator carries from round to round: the global model, and what the rule remembers besides.

    memory : named state dicts, such as {"momentum": {...}}; empty for rules without memory.
    """

    model: Mapping[str, Tensor]
    memory: Mapping[str, StateDict] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalTerms:
    """What is added to each gradient of local training: mu (w - w_global) + shift.

    shift : by name of the parameter, in the form of `Strategy.beside`; empty for none.
    """

    mu: float = 0.0
    shift: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalRun:
    """A participant's finished round: weights before and after, steps of SGD, their size, what it was sent and knew.

    start, end : of the parameters that were trained; no buffers, and nothing that is frozen.
    received : what `broadcast` gave. memory : what `report` gave when this participant's update last counted.
    Both in the form of `Strategy.beside`.
    """

    start: Mapping[str, Tensor]
    end: Mapping[str, Tensor]
    steps: int
    learning_rate: float
    received: Mapping[str, Tensor]
    memory: Mapping[str, Tensor]


class Strategy:
    """An aggregation rule, and its part at the participants. No method changes its arguments."""

    two_sided: ClassVar[bool] = False
    """Does anything travel beside the weights? Else `beside`, `broadcast` and `report` are never asked."""

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """The state before the first round; as it stands here, nothing is remembered."""
        return ServerState(dict(model))

    def apply(
        self, state: ServerState, updates: Sequence[Update]
    ) -> tuple[ServerState, Diagnostics]:
        """The state after a round in which these updates arrived."""
        raise NotImplementedError

    def beside(self, model: Mapping[str, Tensor]) -> StateDict:
        """Zeros in the form of what travels beside the weights, both ways; each participant's memory at first."""
        return {}

    def broadcast(self, state: ServerState) -> StateDict:
        """What goes to the participants of the next round beside the global model."""
        return {}

    def terms(self, received: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> LocalTerms:
        """What a participant adds to its gradients, from what it was sent and what it remembers."""
        return LocalTerms()

    def report(self, run: LocalRun) -> tuple[StateDict, StateDict]:
        """(what the participant sends beside its update, what it remembers from now on)."""
        return {}, {}


def over_floats(model: Mapping[str, Tensor], change: Callable[[str, Tensor], Tensor]) -> StateDict:
    """A state dict in which every floating point tensor is `change(name, tensor)`; counters stay as they are."""
    return {
        name: change(name, value).to(value.dtype) if value.is_floating_point() else value.clone()
        for name, value in model.items()
    }


def deltas(model: Mapping[str, Tensor], updates: Sequence[Update]) -> list[StateDict]:
    """Delta_k = w_k - w of each update, in float64."""
    return [
        {n: u.state[n].double() - w.double() for n, w in model.items() if w.is_floating_point()}
        for u in updates
    ]


def mean_delta(model: Mapping[str, Tensor], updates: Sequence[Update], weighting: str) -> StateDict:
    """sum_k p_k Delta_k in float64, with the shares p_k of `mixing_weights`."""
    return weighted_sum(mixing_weights(updates, weighting), deltas(model, updates))


def weighted_sum(shares: Sequence[float], changes: Sequence[StateDict]) -> StateDict:
    """sum_k p_k c_k in float64, in the order given."""
    return {
        name: sum(
            (p * c[name] for p, c in zip(shares, changes, strict=True)),
            torch.zeros((), dtype=torch.float64),
        )
        for name in changes[0]
    }


def norm_of(state: Mapping[str, Tensor]) -> float:
    """L2 norm over all tensors."""
    return float(torch.cat([value.flatten() for value in state.values()]).norm())


def move(model: Mapping[str, Tensor], delta: Mapping[str, Tensor]) -> StateDict:
    """w + delta, rounded once to the model's dtype."""
    return over_floats(model, lambda name, value: value.double() + delta[name])


def stack(changes: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """K changes as one matrix, float64 [K, D]."""
    return torch.stack([torch.cat([value.flatten() for value in c.values()]) for c in changes])


def unstack(row: Tensor, like: Mapping[str, Tensor]) -> StateDict:
    """One row of `stack` back in the shapes of `like`."""
    parts = row.split([value.numel() for value in like.values()])
    return {n: part.view(v.shape) for (n, v), part in zip(like.items(), parts, strict=True)}
