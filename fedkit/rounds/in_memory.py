"""A round's participants trained in one memory: side by side in threads, and where the model allows it, stacked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.models import StateDict, load_model
from fedkit.learning.randomness import remember_draws
from fedkit.learning.stacked import StackedModel, train_stacked
from fedkit.learning.strategies.base import Strategy
from fedkit.learning.training import train
from fedkit.learning.update import Update
from fedkit.rounds.round import as_seen, local_update

__all__ = ["World", "groups_of", "train_round"]


_STACK_NUMBERS = 1_000_000
"""So many weights are trained in one stack: more of them leave the processor's cache."""


@dataclass(frozen=True)
class World:
    """What stays the same in all rounds. source : of the model. stacked : None where all are trained one by one.

    drawing : see `lasting`. idle : models that last, and train nobody now.
    """

    config: FLConfig
    strategy: Strategy
    shard: Callable[[str], Shard]
    source: str
    model: nn.Module
    stacked: StackedModel | None
    device: torch.device
    pool: ThreadPoolExecutor
    drawing: bool | None
    idle: list[nn.Module] = field(default_factory=list)

    @contextmanager
    def at_hand(self) -> Iterator[nn.Module]:
        """A model to train one participant: a fresh one, or where nobody could tell, one that has trained others."""
        lasts = self.drawing is not None
        try:
            model = self.idle.pop() if lasts else self._fresh()
        except IndexError:  # all that there are train somebody
            model = remember_draws(self._fresh(), bool(self.drawing))
        yield model
        if lasts:  # and no error was raised
            self.idle.append(model)

    def _fresh(self) -> nn.Module:
        config = self.config
        return load_model(self.source, config.model_class_name, task=config.task).to(self.device)


def train_round(
    world: World,
    plan: RoundPlan,
    state: StateDict,
    sent: Mapping[str, Tensor],
    memory: Mapping[str, Mapping[str, Tensor]],
) -> Iterator[tuple[Update, StateDict]]:
    """(update, what is remembered then) of each participant of a round, in the plan's order."""
    strategy, stacked, place = world.strategy, world.stacked, world.device
    chosen = plan.participants

    def one(who: str) -> tuple[Update, StateDict]:
        shard = as_seen(plan, who, world.shard(who))
        with world.at_hand() as model:
            return local_update(strategy, plan, who, model, state, shard, sent, memory[who])

    if not chosen:  # a Poisson sample may be empty
        return
    # a batched product knows plain SGD only
    if stacked is None or any(strategy.trainer(who, plan.round) is not train for who in chosen):
        yield from world.pool.map(one, chosen)
        return

    def several(group: Sequence[str]) -> list[tuple[Update, StateDict]]:
        shards = [as_seen(plan, who, world.shard(who)) for who in group]
        terms = [strategy.terms(sent, memory[who]) for who in group]
        trained = train_stacked(
            stacked,
            {name: value.to(place) for name, value in state.items()},
            [(images.to(place), labels.to(place)) for images, labels in shards],
            epochs=plan.epoch,
            learning_rate=plan.learning_rate,
            batch_size=plan.batch_size,
            generators=[generator(plan.seed, who, plan.round) for who in group],
            mu=terms[0].mu,
            shifts=[own.shift for own in terms],
            task=plan.task,
        )
        return [
            local_update(
                *(strategy, plan, who, world.model, state, shard, sent, memory[who]), trained=own
            )
            for who, shard, own in zip(group, shards, trained, strict=True)
        ]

    groups = groups_of(chosen, sum(value.numel() for value in state.values()))
    for group in world.pool.map(several, groups):
        yield from group


def groups_of(chosen: Sequence[str], numbers: int) -> list[Sequence[str]]:
    """Participants to be stacked together; the same groups however many workers there are, so that the bits stay."""
    most = min(max(_STACK_NUMBERS // numbers, 1), 64)
    count = max(math.ceil(len(chosen) / most), min(2, len(chosen) // 4), 1)
    cuts = [len(chosen) * k // count for k in range(count + 1)]
    return [chosen[a:b] for a, b in pairwise(cuts)]
