"""What every aggregation rule is: `init` and `apply` on explicit state, pure, with its diagnostics.

A strategy is a small frozen dataclass; its fields are its parameters, and `fl_config.json` names both:
`"strategy": {"name": "fedadam", "server_lr": 0.01}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from fedkit.models import StateDict
from fedkit.records import Update
from fedkit.strategies.fedavg import mixing_weights

__all__ = ["Diagnostics", "ServerState", "Strategy", "deltas", "move", "over_floats", "stack"]

Diagnostics = dict[str, float]
"""Numbers that say what a rule did in a round."""


@dataclass(frozen=True)
class ServerState:
    """What the aggregator carries from round to round: the global model, and what the rule remembers besides.

    memory : named state dicts, such as {"momentum": {...}}; empty for rules without memory.
    """

    model: Mapping[str, Tensor]
    memory: Mapping[str, StateDict] = field(default_factory=dict)


class Strategy(Protocol):
    """An aggregation rule. Neither method changes its arguments."""

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """The state before the first round."""
        ...

    def apply(
        self, state: ServerState, updates: Sequence[Update]
    ) -> tuple[ServerState, Diagnostics]:
        """The state after a round in which these updates arrived."""
        ...


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
    shares = mixing_weights(updates, weighting)
    changes = deltas(model, updates)
    return {
        name: sum(
            (p * c[name] for p, c in zip(shares, changes, strict=True)),
            torch.zeros((), dtype=torch.float64),
        )
        for name in changes[0]
    }


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
