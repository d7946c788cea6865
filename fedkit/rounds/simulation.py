"""The same rounds in memory: hundreds or thousands of participants, no files, the same seeds.

`simulate` trains, averages and evaluates exactly as the datasites do; with `exact=True` its global models are theirs to the
last bit. Otherwise participants whose model allows it are trained stacked (see `fedkit.learning.stacked`), which is faster
and sums
in another order. Only the participants of a round are in memory at once, and what a strategy remembers of each (SCAFFOLD).

The data of a simulation, in whatever form it is handed over.

Local training in a simulation: the participants of a round, one by one or stacked, and the strategy's part at each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.base.seeds import generator
from fedkit.base.tensors import state_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.learning.models import (
    SAMPLE_MODEL,
    StateDict,
    check_state,
    distance,
    load_model,
    seed_weights,
    state_of,
)
from fedkit.learning.stacked import NotStackable, StackedModel, train_stacked
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.strategies.base import ServerState
from fedkit.learning.strategies.registry import make_strategy
from fedkit.learning.training import evaluate, trained_names
from fedkit.learning.update import Update
from fedkit.privacy.dp.noisy_mean import protected
from fedkit.privacy.dp.training import keeps_quiet, trainer
from fedkit.privacy.secagg.fixedpoint import fixed_point_mean
from fedkit.rounds.checkpoints import Memories, resume, save_checkpoint
from fedkit.rounds.history import Contribution, History, RoundRecord
from fedkit.rounds.round import draw

__all__ = [
    "OnTheWay",
    "Shards",
    "World",
    "numbered_participants",
    "shards_by_email",
    "simulate",
    "train_round",
]


OnTheWay = Callable[[StateDict, list[Update]], Sequence[Update]]
"""(the global model before the round, its updates) -> the updates that arrive at the aggregator."""


def numbered_participants(count: int) -> list[str]:
    """`count` e-mails, p0001@example.org and so on."""
    width = max(4, len(str(count)))
    return [f"p{number:0{width}d}@example.org" for number in range(1, count + 1)]


def simulate(
    config: FLConfig,
    shards: Shards,
    test: Shard,
    *,
    model: str = SAMPLE_MODEL,
    weights: StateDict | None = None,
    exact: bool = False,
    device: str = "cpu",
    workers: int | None = None,
    checkpoint: Path | None = None,
    every: int = 10,
    progress: bool = False,
    until: Callable[[History], bool] | None = None,
    on_the_way: OnTheWay | None = None,
    on_round: Callable[[RoundRecord, StateDict], None] | None = None,
) -> History:
    """Run all rounds of a config in memory.

    shards, test : images float32 [N,1,28,28] in 0..1, labels int64 [N]. weights : seed weights, by default the model's own.
    exact : one participant after the other (side by side in threads), the same bits as `network.run()`.
    device : "cuda" where it is there and wanted. until : stop as soon as it says yes. checkpoint : a folder; every `every`
    rounds the state is written there, and a call with the same config goes on from it, to the same bits.
    on_the_way : sees the updates of each round before they are averaged, and returns those that arrive; it may keep them,
    change them (`fk.poisoned`) or lose some. on_round : called after each round with its record and its global model.

    Ctrl-C returns the history so far. Raises FedkitError if shards are missing or the weights don't fit the model.
    """
    built = load_model(model, config.model_class_name)
    state = dict(weights) if weights else seed_weights(model, config.seed, config.model_class_name)
    misfit = check_state(state_of(built), state)
    if misfit:
        raise FedkitError(
            f"does not fit the model: {misfit}", field="weights", remedy="save them from this model"
        )
    place = torch.device(device)
    server, records = protected(make_strategy(config), config).init(state), list[RoundRecord]()
    memories = Memories(config, trained_names(built))
    if checkpoint is not None:
        server, records = resume(checkpoint, config, server, memories)
    images, labels = (part.to(place) for part in test)
    judge = built.to(place)
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    together = None if exact or keeps_quiet(config) else _stacked(built)
    by_email = shards_by_email(config, shards)
    world = World(config, by_email, model, together, place, pool, memories)
    rounds = range(len(records) + 1, config.rounds + 1)
    bar = tqdm(total=config.rounds, initial=len(records), unit="round", disable=not progress)
    with bar:
        try:
            for n in rounds:
                server, record = _round(world, server, n, exact, on_the_way)
                on_device = {name: value.to(place) for name, value in server.model.items()}
                accuracy, loss = evaluate(judge, on_device, images, labels, pool)
                records.append(replace(record, accuracy=accuracy, loss=loss))
                if on_round is not None:
                    on_round(records[-1], dict(server.model))
                bar.set_postfix(accuracy=f"{accuracy:.3f}")
                bar.update()
                if checkpoint is not None and (n % every == 0 or n == config.rounds):
                    save_checkpoint(checkpoint, config, server, records, memories)
                if until is not None and until(_history(config, records)):
                    break
        except KeyboardInterrupt:
            pass
        finally:
            pool.shutdown(cancel_futures=True)
    return _history(config, records)


def _round(
    world: World, server: ServerState, n: int, exact: bool, on_the_way: OnTheWay | None
) -> tuple[ServerState, RoundRecord]:
    config, state = world.config, dict(server.model)
    chosen = draw(config, config.participants, n)
    world.memories.begin(server)
    updates = list(train_round(world, state, chosen, n))
    if on_the_way is not None:
        updates = list(on_the_way(state, updates))
        if not updates:
            raise FedkitError(
                f"lets no update of round {n} arrive", field="on_the_way", remedy="let one through"
            )
    world.memories.end(updates)
    shown = updates
    if config.secure_aggregation is not None:  # the sum of fixed-point numbers, as under its masks
        shown = [fixed_point_mean(updates, config.weighting, len(chosen))]
    after, diagnostics = protected(make_strategy(config), config).apply(server, shown)
    shares = mixing_weights(updates, config.weighting) if updates else []
    contributions = tuple(
        Contribution(
            participant=update.participant,
            weight=share,
            num_samples=update.num_samples,
            loss=update.loss,
            norm=distance(update.state, state),
            sha256=sha256_bytes(state_bytes(update.state)) if exact else "",
        )
        for update, share in zip(updates, shares, strict=True)
    )
    record = RoundRecord(
        n,
        contributions,
        diagnostics=diagnostics,
        learning_rate=config.learning_rate,
        local_epochs=config.epoch,
    )
    return after, record


def _stacked(model: nn.Module) -> StackedModel | None:
    try:
        return StackedModel(model)
    except NotStackable:
        return None


def _history(config: FLConfig, records: Sequence[RoundRecord]) -> History:
    return History(config.project_name, tuple(records), config.rounds)


Shards = Mapping[str, Shard] | Sequence[Shard] | Callable[[str], Shard]
"""Data by e-mail, or one shard a participant in the config's order, or a function that makes a participant's shard."""


def shards_by_email(config: FLConfig, shards: Shards) -> Callable[[str], Shard]:
    """A function that gives a participant's shard. Raises FedkitError where one is missing."""
    if callable(shards):
        return shards
    if not isinstance(shards, Mapping):
        if len(shards) != len(config.participants):
            raise FedkitError(
                f"are {len(shards)}, the config names {len(config.participants)} participants",
                field="shards",
                remedy="give one shard a participant, in the config's order",
            )
        shards = dict(zip(config.participants, shards, strict=True))
    missing = [email for email in config.participants if email not in shards]
    if missing:
        raise FedkitError(f"there is none for {missing[0]}", field="shards", remedy="add it")
    return shards.__getitem__


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
