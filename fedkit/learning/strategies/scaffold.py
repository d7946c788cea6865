"""SCAFFOLD: control variates that take the drift out of local training.

(Karimireddy et al. 2020, "SCAFFOLD: stochastic controlled averaging for federated learning", algorithm 1 with option II)

A participant's own gradient leads to its own minimum. c_i estimates participant i's gradient, c the mean of all of them;
each local step adds c - c_i, and so follows what all participants want together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.learning.models import StateDict
from fedkit.learning.strategies.arithmetic import claims, mean_delta, move, norm_of, over_floats
from fedkit.learning.strategies.base import LocalRun, LocalTerms, ServerState, Step, Strategy
from fedkit.learning.update import Update

__all__ = ["Scaffold"]


@dataclass(frozen=True)
class Scaffold(Strategy):
    """FedAvg whose participants correct every local step by c - c_i   (Karimireddy et al. 2020, algorithm 1).

    y <- y - eta (g_i(y) + c - c_i)                          K local steps, from x
    c_i+ = c_i - c + (x - y) / (K eta)                       option II; c_i stays with the participant
    x <- x + eta_g mean(y - x),  c <- c + (|S| / N) mean(c_i+ - c_i)

    server_lr : eta_g, default 1. weighting : with "equal", as in the paper, every mean is plain and c is that of all N
    participants' c_i; with "samples" each counts n_i times, in c by the count that came with its first update, so that c
    stays the weighted mean of the c_i whoever takes part in a round. Who has not taken part yet has c_i = 0.
    population : N, from the config; None takes those seen so far.

    All c_i start at 0, so the first round is FedAvg's. An update whose change of c_i is missing leaves c as it is.
    The change tells nothing that the update does not: c_i+ - c_i = (x - y) / (K eta) - c, and the aggregator knows all of
    these. It is twice the bytes, and no defence.
    """

    server_lr: float = 1.0
    weighting: str = "samples"
    population: int | None = None

    @property
    def two_sided(self) -> bool:
        """Control variates travel both ways."""
        return True

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """No gradients are known. memory : the sum of n_i c_i, and every n_i."""
        zeros = {name: value.double() for name, value in self.beside(model).items()}
        return ServerState(dict(model), {"total": zeros, "counts": {}})

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """The mean change, and the mean change of the control variates."""
        delta = mean_delta(state.model, updates, self.weighting)
        step = {name: self.server_lr * value for name, value in delta.items()}
        counts = dict(state.memory.get("counts", {}))
        total = {name: value.clone() for name, value in state.memory["total"].items()}
        weighed = self.weighting == "samples"
        told = claims([update.num_samples if weighed else None for update in updates])
        for update, samples in zip(updates, told, strict=True):
            count = counts.setdefault(
                update.participant, torch.tensor(samples, dtype=torch.float64)
            )
            for name, change in update.extra.items():
                total[name].add_(change.double() * count)
        after = ServerState(move(state.model, step), {"total": total, "counts": counts})
        control = norm_of(self._control(after))
        return after, {"delta_norm": norm_of(delta), "control_norm": control}

    def _control(self, state: ServerState) -> StateDict:
        """c = sum_i n_i c_i / sum_i n_i, float64; the n_i of those not seen yet are taken to be average."""
        counts = [float(count) for count in state.memory.get("counts", {}).values()]
        everybody = sum(counts) / max(len(counts), 1) * (self.population or len(counts)) or 1.0
        return {name: value / everybody for name, value in state.memory["total"].items()}

    def beside(self, model: Mapping[str, Tensor]) -> StateDict:
        """A control variate has the form of the model's floating point tensors."""
        return {name: torch.zeros_like(v) for name, v in model.items() if v.is_floating_point()}

    def broadcast(self, state: ServerState) -> StateDict:
        """c, in the model's dtype."""
        control = self._control(state)
        return over_floats(self.beside(state.model), lambda name, _: control[name])

    def most_beside(self, sent: Mapping[str, Tensor], norm: float, learning_rate: float) -> float:
        """|| (x - y) / (K eta) - c ||, where K is at least 1."""
        return norm / learning_rate + norm_of(sent)

    def terms(self, received: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> LocalTerms:
        """c - c_i on every gradient."""
        return LocalTerms(shift={name: c - memory[name] for name, c in received.items()})

    def report(self, run: LocalRun) -> tuple[StateDict, StateDict]:
        """c_i+ - c_i for the aggregator, and c_i+, which stays; both rounded to the model's dtype."""

        def mean_gradient(name: str) -> Tensor:
            moved = run.start[name].double() - run.end[name].double()
            return moved / (run.steps * run.learning_rate)

        def own(name: str, before: Tensor) -> Tensor:
            if name not in run.end:  # a buffer: nothing descends along its gradient
                return before
            return before.double() - run.received[name].double() + mean_gradient(name)

        after = over_floats(run.memory, own)
        change = over_floats(run.memory, lambda n, before: after[n].double() - before.double())
        return change, after
