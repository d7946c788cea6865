"""The same rounds in memory: hundreds or thousands of participants, no files, the same seeds.

`simulate` is a loop around `round.py`, so it trains, averages and evaluates exactly as the datasites do; with `exact=True`
its global models are theirs to the last bit. Otherwise participants whose model allows it are trained stacked (see
`learning/stacked.py`), which is faster and sums in another order; any other model is trained one by one, to the same bits.
Only the participants of a round are in memory at once, and what a strategy remembers of each (SCAFFOLD).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.base.seeds import generator
from fedkit.base.tensors import state_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.data.standardise import standardised, stated
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.device import find_device
from fedkit.learning.lasting import lasting
from fedkit.learning.models import (
    SAMPLE_MODEL,
    StateDict,
    buffer_names,
    fitting_model,
    load_model,
    seed_weights,
)
from fedkit.learning.randomness import NOT_REPEATABLE, is_repeatable, remember_draws
from fedkit.learning.stackable import stackable
from fedkit.learning.stacked import NotStackable, StackedModel, train_stacked
from fedkit.learning.strategies.base import ServerState, Strategy
from fedkit.learning.training import judged, train
from fedkit.learning.update import Update
from fedkit.privacy.secagg.fixedpoint import fixed_point_mean
from fedkit.rounds.checkpoints import Checkpoint
from fedkit.rounds.history import History, RoundRecord
from fedkit.rounds.inputs import Shards, check_arguments, shards_by_email, sound
from fedkit.rounds.round import as_seen, capped, local_update, plan_round, server_step, too_far
from fedkit.rounds.strategy import strategy_of
from fedkit.rounds.trial_step import try_out

__all__ = ["OnTheWay", "Shards", "numbered_participants", "simulate"]


T = TypeVar("T")
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
    model: str | None = None,
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

    shards, test : images float32 [N,1,28,28] in 0..1, labels int64 [N]. model : source of a model.py, by default the
    tutorial's. weights : seed weights, by default the model's own.
    exact : one participant after the other (side by side in threads), the same bits as `network.run()`.
    device : where it trains and evaluates, such as "cuda"; the same bits are promised on the processor alone.
    until : stop as soon as it says yes. checkpoint : a folder; every `every` rounds the state is written there, and a call
    with the same config goes on from it, to the same bits.
    on_the_way : sees the updates of each round before they are averaged, and returns those that arrive; it may keep them,
    change them (`fk.poisoned`) or lose some. on_round : called after each round with its record and its global model.

    Ctrl-C returns the history so far. Raises FedkitError where a datasite would refuse what is given: shards (each
    participant's is named), the test set, the weights.
    """
    model = SAMPLE_MODEL if model is None else model
    check_arguments(config, model, weights, {"workers": workers, "every": every})
    private, place = shards_by_email(config, shards), find_device(device)
    test = sound(test, config.task, "test")
    config = stated(config, map(private, config.participants))
    test = standardised(test, config.task)

    if weights is None:
        weights = seed_weights(model, config.seed, config.model_class_name)
    state = dict(weights)
    built = fitting_model(
        *(model, state, config.model_class_name),
        field="weights",
        remedy="save them from this model",
        task=config.task,
    )
    kind = _kind(config, model, test)
    known = _STACKED.get(kind) is not None or _LASTING.get(kind) is not None
    repeatable = known or is_repeatable(built, test[0])
    if not repeatable:
        warnings.warn(NOT_REPEATABLE, stacklevel=2)
    strategy = strategy_of(config)
    try_out(config, model)
    server, records, memories = strategy.init(state), list[RoundRecord](), dict[str, StateDict]()
    saved = None if checkpoint is None else Checkpoint(checkpoint, config)
    if saved is not None:
        server, records, memories = saved.resume() or (server, records, memories)
    images, labels = (part.to(place) for part in test)
    judge = built.to(place)
    together = None
    # a batched product knows plain SGD only, and the same number of steps for all
    plain = config.optimizer is None and config.validation is None
    if repeatable and not exact and plain:
        together = _together(config, model, judge, state, (images, labels))
    drawing = None if together is None else False  # a chain of layers that draws is none
    if repeatable and together is None:
        drawing = _lasting(config, model, judge, state, (images, labels))
    if drawing is not None:
        remember_draws(judge, drawing)
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    world = _World(config, strategy, private, model, judge, together, place, pool, drawing)
    rounds = range(len(records) + 1, config.rounds + 1)
    bar = tqdm(total=config.rounds, initial=len(records), unit="round", disable=not progress)
    with bar:
        try:
            for n in rounds:
                server, record = _round(world, server, memories, n, exact, on_the_way)
                on_device = {name: value.to(place) for name, value in server.model.items()}
                if together is None and drawing is None:  # a forward() that remembers starts anew
                    judge = load_model(model, config.model_class_name, task=config.task).to(place)
                scores = judged(judge, on_device, images, labels, config.task, pool)
                records.append(record.with_scores(*scores))
                if on_round is not None:
                    on_round(records[-1], dict(server.model))
                bar.set_postfix(
                    {k: f"{v:.3f}" for k, v in [*scores[0].items(), ("loss", scores[1])]}
                )
                bar.update()
                if saved is not None and (n % every == 0 or n == config.rounds):
                    saved.save(server, records, memories)
                if until is not None and until(_history(config, records)):
                    break
        except KeyboardInterrupt:
            pass
        finally:
            pool.shutdown(cancel_futures=True)
    return _history(config, records)


_STACKED: dict[object, StackedModel | None] = {}
_LASTING: dict[object, bool | None] = {}
"""By model and kind of samples: what was tried once. Values don't decide, as a graph that branches on them is no graph."""

_REMEMBERED = 64


def _kind(config: FLConfig, source: str, samples: Shard) -> object:
    kinds = tuple((part.shape[1:], part.dtype, part.device) for part in samples)
    return source, config.model_class_name, config.task.model_dump_json(), kinds


def _together(
    config: FLConfig, source: str, model: nn.Module, state: StateDict, samples: Shard
) -> StackedModel | None:
    """The model to be trained stacked, None where that is not the same as one by one."""
    key = _kind(config, source, samples)
    if key not in _STACKED:
        try:
            _keep(_STACKED, key, stackable(model, state, samples, config.task))
        except NotStackable:
            _keep(_STACKED, key, None)
    return _STACKED[key]


def _lasting(
    config: FLConfig, source: str, model: nn.Module, state: StateDict, samples: Shard
) -> bool | None:
    """`lasting`, tried once."""
    key = _kind(config, source, samples)
    if key not in _LASTING:
        _keep(_LASTING, key, lasting(model, state, samples, config.task))
    return _LASTING[key]


def _keep(known: dict[object, T], key: object, found: T) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = found


def _round(
    world: _World,
    server: ServerState,
    memories: dict[str, StateDict],
    n: int,
    exact: bool,
    on_the_way: OnTheWay | None,
) -> tuple[ServerState, RoundRecord]:
    """One round; `memories` then has what was remembered by those whose update arrived."""
    config, strategy, state = world.config, world.strategy, dict(server.model)
    plan = plan_round(config, config.participants, n)
    sent = strategy.broadcast(server) if strategy.two_sided else {}
    nothing = strategy.beside(state)
    before = {who: memories.get(who, nothing) for who in plan.participants}
    updates, fresh = list[Update](), dict[str, StateDict]()
    for update, remembered in _train_round(world, plan, state, sent, before):
        updates.append(update)
        fresh[update.participant] = remembered
    if on_the_way is not None and updates:  # a Poisson sample may be empty
        updates = list(on_the_way(state, updates))
        if not updates:
            raise FedkitError(
                f"lets no update of round {n} arrive", field="on_the_way", remedy="let one through"
            )
    if exact:
        updates = [replace(u, sha256=sha256_bytes(state_bytes(u.state))) for u in updates]
    far = {u.participant: why for u in updates if (why := too_far(u, state, plan, strategy, sent))}
    updates = [update for update in updates if update.participant not in far]
    if far and not updates:
        raise FedkitError(
            f"of round {n} all move the model too far: {'; '.join(f'{w}: {why}' for w, why in far.items())}",
            field="max_update_norm",
            remedy="raise it",
        )
    mean = None
    if config.secure_aggregation is not None:  # the sum of fixed-point numbers, as under its masks
        mean = fixed_point_mean(
            [capped(u, plan) for u in updates], config.weighting, len(plan.participants), state
        )
    after, record = server_step(
        strategy, plan, server, updates, mean=mean, refused=far, buffers=buffer_names(world.model)
    )
    if strategy.two_sided:  # whose update did not count remembers what it remembered before
        counted = [part.participant for part in record.contributions]
        memories.update((who, fresh[who]) for who in counted if who in fresh)
    return after, record


def _history(config: FLConfig, records: Sequence[RoundRecord]) -> History:
    return History(config.project_name, tuple(records), config.rounds)


_STACK_NUMBERS = 1_000_000
"""So many weights are trained in one stack: more of them leave the processor's cache."""


@dataclass(frozen=True)
class _World:
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
    pool: Executor
    drawing: bool | None
    idle: list[nn.Module] = field(default_factory=list)

    @contextmanager
    def at_hand(self, strategy: Strategy, who: str, n: int) -> Iterator[nn.Module]:
        """A model to train one participant: a fresh one, or where nobody could tell, one that has trained others."""
        lasts = self.drawing is not None and strategy.trainer(who, n) is train
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


def _train_round(
    world: _World,
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
        with world.at_hand(strategy, who, plan.round) as model:
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

    groups = _groups(chosen, sum(value.numel() for value in state.values()))
    for group in world.pool.map(several, groups):
        yield from group


def _groups(chosen: Sequence[str], numbers: int) -> list[Sequence[str]]:
    """Participants to be stacked together; the same groups however many workers there are, so that the bits stay."""
    most = min(max(_STACK_NUMBERS // numbers, 1), 64)
    count = max(math.ceil(len(chosen) / most), min(2, len(chosen) // 4), 1)
    cuts = [len(chosen) * k // count for k in range(count + 1)]
    return [chosen[a:b] for a, b in pairwise(cuts)]
