"""What every strategy is: `init` and `apply` on explicit state, pure, with diagnostics; and its part at the participants.

A strategy is a small frozen dataclass; its fields are its parameters, and `fl_config.json` names both:
`"strategy": {"name": "fedadam", "server_lr": 0.01}`. Most strategies only aggregate. One that also changes local training
says so with `terms`; one that sends something beside the weights, or that remembers something at each participant, with
`beside`, `broadcast` and `report`. In memory and file by file, nothing else is asked of it. A toy, whole:

    @dataclass(frozen=True)
    class Overshoot(Strategy):  # goes `by` times as far as the mean of the participants
        by: float = 1.5

        def apply(self, state, updates):
            delta = mean_delta(state.model, updates, "samples")
            further = {name: self.by * value for name, value in delta.items()}
            return ServerState(move(state.model, further)), {"delta_norm": norm_of(delta)}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from torch import Tensor

from fedkit.learning.models import StateDict
from fedkit.learning.training import Trainer, train
from fedkit.learning.update import Update

__all__ = [
    "Around",
    "Diagnostics",
    "LocalRun",
    "LocalTerms",
    "ServerState",
    "Step",
    "Strategy",
    "pack",
    "unpack",
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


Step = tuple[ServerState, Diagnostics]
"""What comes of a round: the state after it, and what the rule says about it."""


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

    @property
    def two_sided(self) -> bool:
        """Does anything travel beside the weights? Else `beside`, `broadcast` and `report` are never asked."""
        return False

    @property
    def fewest_updates(self) -> int:
        """With fewer updates than this, a round can't be aggregated."""
        return 1

    @property
    def quiet(self) -> bool:
        """Must an update come without its loss and its time? They depend on the data, and no noise covers them."""
        return False

    @property
    def hides_counts(self) -> bool:
        """Must an update come without its numbers of samples and steps? Where a whole participant is what is protected,
        they are its own, and no noise covers them."""
        return False

    @property
    def averages_buffers(self) -> bool:
        """Are a model's buffers (batch normalisation's statistics) plainly averaged, whatever the rule does with weights?
        An optimiser's step has no business there: momentum drives a variance below zero."""
        return True

    @property
    def keeps_buffers(self) -> bool:
        """Do a model's buffers stay what they were, in every update and in every global model? They are calculated from
        samples outside any gradient, so under differential privacy nothing bounds or covers what they tell."""
        return False

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """The state before the first round; as it stands here, nothing is remembered."""
        return ServerState(dict(model))

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
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

    def begin(self, model: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> StateDict:
        """The weights that a participant trains from: the global model, or with parts of it that it remembers."""
        return dict(model)

    def divide(
        self, model: Mapping[str, Tensor], end: Mapping[str, Tensor]
    ) -> tuple[StateDict, StateDict]:
        """(the update, of the weights after training; what of them is remembered besides). model : the global one."""
        return dict(end), {}

    def report(self, run: LocalRun) -> tuple[StateDict, StateDict]:
        """(what the participant sends beside its update, what it remembers from now on)."""
        return {}, {}

    def most_beside(self, sent: Mapping[str, Tensor], norm: float, learning_rate: float) -> float:
        """The largest L2 norm of what comes beside an update whose own norm is at most `norm`; any, as it stands here.

        sent : what `broadcast` gave for this round.
        """
        return math.inf

    def trainer(self, who: str, n: int) -> Trainer:
        """How `who` trains in round n: `train`, or what is called as it is."""
        return train


@dataclass(frozen=True)
class Around(Strategy):
    """A strategy around another one; whatever it does not say itself is the inner one's."""

    inner: Strategy


def _inner_ones(name: str, hook: Any) -> Any:
    """A hook of `Strategy` that hands on to the inner strategy's."""
    if isinstance(hook, property):
        return property(lambda self: getattr(self.inner, name), doc=hook.__doc__)
    return wraps(hook)(lambda self, *given: getattr(self.inner, name)(*given))


# all that `Strategy` has, so that none can be forgotten
for _name, _hook in [pair for pair in vars(Strategy).items() if not pair[0].startswith("_")]:
    setattr(Around, _name, _inner_ones(_name, _hook))


_BETWEEN = "/"


def pack(memory: Mapping[str, Mapping[str, Tensor]]) -> StateDict:
    """Named state dicts as one flat state dict."""
    return {
        f"{part}{_BETWEEN}{name}": v for part, state in memory.items() for name, v in state.items()
    }


def unpack(flat: Mapping[str, Tensor]) -> dict[str, StateDict]:
    """The inverse of `pack`."""
    memory: dict[str, StateDict] = {}
    for key, value in flat.items():
        part, _, name = key.partition(_BETWEEN)
        memory.setdefault(part, {})[name] = value
    return memory
