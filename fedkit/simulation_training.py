"""Local training in a simulation: the participants of a round, one by one or stacked, and the strategy's part at each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise

import torch

from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict, load_model
from fedkit.learning.stacked import StackedModel, train_stacked
from fedkit.learning.update import Update
from fedkit.memories import Memories
from fedkit.privacy.dp.training import keeps_quiet, trainer

__all__ = ["World", "train_round"]

_STACK_NUMBERS = 1_000_000
"""So many weights are trained in one stack: more of them leave the processor's cache."""


@dataclass(frozen=True)
class World:
    """What stays the same in all rounds. stacked : None where participants are trained one by one."""

    config: FLConfig
    shard: Callable[[str], Shard]
    source: str
    stacked: StackedModel | None
    device: torch.device
    pool: Executor
    memories: Memories


def train_round(world: World, state: StateDict, chosen: Sequence[str], n: int) -> Iterator[Update]:
    """The updates of a round, in the order of `chosen`."""
    stacked = world.stacked
    if stacked is None:
        yield from world.pool.map(lambda email: _train_one(world, state, email, n), chosen)
        return
    groups = _groups(chosen, sum(value.numel() for value in state.values()))
    for group in world.pool.map(lambda some: _train_group(world, stacked, state, some, n), groups):
        yield from group


def _groups(chosen: Sequence[str], numbers: int) -> list[Sequence[str]]:
    """Participants to be stacked together; the same groups however many workers there are, so that the bits stay."""
    most = min(max(_STACK_NUMBERS // numbers, 1), 64)
    count = max(math.ceil(len(chosen) / most), min(2, len(chosen) // 4), 1)
    cuts = [len(chosen) * k // count for k in range(count + 1)]
    return [chosen[a:b] for a, b in pairwise(cuts)]


def _train_one(world: World, state: StateDict, email: str, n: int) -> Update:
    config, (images, labels) = world.config, world.shard(email)
    model = load_model(world.source, config.model_class_name).to(world.device)
    terms = world.memories.terms(email)
    trained, losses = trainer(config, email, n)(
        model,
        {name: value.to(world.device) for name, value in state.items()},
        (images.to(world.device), labels.to(world.device)),
        epochs=config.epoch,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        generator=generator(config.seed, email, n),
        mu=terms.mu,
        shift=terms.shift,
    )
    loss = None if keeps_quiet(config) else losses[-1]
    update = Update(email, n, {k: v.cpu() for k, v in trained.items()}, len(labels), loss)
    return world.memories.finished(update, state, config.epoch)


def _train_group(
    world: World, stacked: StackedModel, state: StateDict, emails: Sequence[str], n: int
) -> list[Update]:
    config = world.config
    shards = [world.shard(email) for email in emails]
    terms = [world.memories.terms(email) for email in emails]
    trained = train_stacked(
        stacked,
        {name: value.to(world.device) for name, value in state.items()},
        [(images.to(world.device), labels.to(world.device)) for images, labels in shards],
        epochs=config.epoch,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        generators=[generator(config.seed, email, n) for email in emails],
        mu=terms[0].mu,
        shifts=[own.shift for own in terms],
    )
    updates = [
        Update(email, n, {k: v.cpu() for k, v in weights.items()}, len(shard[1]), losses[-1])
        for email, shard, (weights, losses) in zip(emails, shards, trained, strict=True)
    ]
    return [world.memories.finished(update, state, config.epoch) for update in updates]
