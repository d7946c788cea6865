"""The same rounds in memory: hundreds or thousands of participants, no files, the same seeds.

`simulate` is a loop around `round.py`, so it trains, averages and evaluates exactly as the datasites do; with `exact=True`
its global models are theirs to the last bit. Otherwise participants whose model allows it are trained stacked (see
`learning/stacked.py`), which is faster and sums in another order; any other model is trained one by one, to the same bits.
Only the participants of a round are in memory at once, and what a strategy remembers of each (SCAFFOLD).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from torch import nn
from tqdm import tqdm

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.base.tensors import state_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.data.standardise import standardised, stated
from fedkit.learning.device import find_device
from fedkit.learning.lasting import lasting
from fedkit.learning.models import (
    SAMPLE_MODEL,
    StateDict,
    buffer_names,
    check_state,
    fitting_model,
    load_model,
    seed_weights,
)
from fedkit.learning.randomness import NOT_REPEATABLE, is_repeatable, remember_draws
from fedkit.learning.stackable import stackable
from fedkit.learning.stacked import NotStackable, StackedModel
from fedkit.learning.strategies.base import ServerState
from fedkit.learning.training import judged
from fedkit.learning.update import Update
from fedkit.privacy.secagg.fixedpoint import fixed_point_mean
from fedkit.rounds.checkpoints import Checkpoint
from fedkit.rounds.history import History, RoundRecord
from fedkit.rounds.in_memory import World, train_round
from fedkit.rounds.inputs import Shards, check_arguments, check_counts, shards_by_email, sound
from fedkit.rounds.round import capped, plan_round, server_step, too_far
from fedkit.rounds.strategy import strategy_of
from fedkit.rounds.trial_step import try_out

__all__ = ["OnTheWay", "Shards", "Simulation", "numbered_participants", "simulate"]


T = TypeVar("T")
OnTheWay = Callable[[StateDict, list[Update]], Sequence[Update]]
"""(the global model before the round, its updates) -> the updates that arrive at the aggregator."""
Standing = tuple[ServerState, list[RoundRecord], dict[str, StateDict]]
"""What the aggregator carries, the rounds that have ended, what each participant remembers."""


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
    check_counts({"every": every})
    rounds = Simulation(
        config,
        shards,
        test,
        model=model,
        weights=weights,
        exact=exact,
        device=device,
        workers=workers,
        on_the_way=on_the_way,
    )
    saved = None if checkpoint is None else Checkpoint(checkpoint, config)
    if saved is not None:
        rounds.go_on_from(saved.resume())
    bar = tqdm(total=config.rounds, initial=rounds.ended, unit="round", disable=not progress)
    with bar, rounds:
        try:
            while rounds.ended < config.rounds:
                record = rounds.step()
                if on_round is not None:
                    on_round(record, rounds.model)
                scores = {"accuracy": record.accuracy, **record.metrics, "loss": record.loss}
                bar.set_postfix({k: f"{v:.3f}" for k, v in scores.items() if v is not None})
                bar.update()
                if saved is not None and (
                    record.round % every == 0 or record.round == config.rounds
                ):
                    saved.save(*rounds.standing)
                if until is not None and until(rounds.history):
                    break
        except KeyboardInterrupt:
            pass
    return rounds.history


class Simulation:
    """The rounds of a config, one `step()` at a time: what `simulate` takes to the end.

    Arguments, and the errors raised, are those of `simulate`. Use it in a `with`, or `close()` it: it keeps threads.
    """

    def __init__(
        self,
        config: FLConfig,
        shards: Shards,
        test: Shard,
        *,
        model: str | None = None,
        weights: StateDict | None = None,
        exact: bool = False,
        device: str = "cpu",
        workers: int | None = None,
        on_the_way: OnTheWay | None = None,
    ) -> None:
        source = SAMPLE_MODEL if model is None else model
        check_arguments(config, source, weights, {"workers": workers})
        private, place = shards_by_email(config, shards), find_device(device)
        test = sound(test, config.task, "test")
        self.config = config = stated(config, map(private, config.participants))
        test = standardised(test, config.task)
        if weights is None:
            weights = seed_weights(source, config.seed, config.model_class_name)
        state = dict(weights)
        built = fitting_model(
            *(source, state, config.model_class_name),
            field="weights",
            remedy="save them from this model",
            task=config.task,
        )
        kind = _kind(config, source, test)
        known = _STACKED.get(kind) is not None or _LASTING.get(kind) is not None
        repeatable = known or is_repeatable(built, test[0])
        if not repeatable:
            warnings.warn(NOT_REPEATABLE, stacklevel=3)
        strategy = strategy_of(config)
        try_out(config, source)
        self._server, self._records = strategy.init(state), list[RoundRecord]()
        self._memories = dict[str, StateDict]()
        images, labels = (part.to(place) for part in test)
        judge = built.to(place)
        together = None
        # a batched product knows plain SGD only, and the same number of steps for all
        plain = config.optimizer is None and config.validation is None
        if repeatable and not exact and plain:
            together = _together(config, source, judge, state, (images, labels))
        drawing = None if together is None else False  # a chain of layers that draws is none
        if repeatable and together is None:
            drawing = _lasting(config, source, judge, state, (images, labels))
        if drawing is not None:
            remember_draws(judge, drawing)
        pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        self._judge, self._test = judge, (images, labels)
        self._exact, self._on_the_way = exact, on_the_way
        self._world = World(
            config, strategy, private, source, judge, together, place, pool, drawing
        )

    @property
    def ended(self) -> int:
        """How many rounds have ended."""
        return len(self._records)

    @property
    def model(self) -> StateDict:
        """The global model now."""
        return dict(self._server.model)

    @property
    def history(self) -> History:
        """The rounds that have ended."""
        return History(self.config.project_name, tuple(self._records), self.config.rounds)

    @property
    def standing(self) -> Standing:
        """All that the next round needs to know of those before it."""
        return self._server, self._records, self._memories

    def go_on_from(self, standing: Standing | None) -> None:
        """Go on where an earlier run of the same config stood; None for the beginning."""
        if standing is not None:
            self._server, self._records, self._memories = standing

    def step(self) -> RoundRecord:
        """One round more; its record, evaluated on the test set."""
        world, config, task = self._world, self.config, self.config.task
        self._server, record = _round(
            *(world, self._server, self._memories, self.ended + 1, self._exact, self._on_the_way)
        )
        on_device = {name: value.to(world.device) for name, value in self._server.model.items()}
        if (
            world.stacked is None and world.drawing is None
        ):  # a forward() that remembers starts anew
            fresh = load_model(world.source, config.model_class_name, task=task)
            self._judge = fresh.to(world.device)
        scores = judged(self._judge, on_device, *self._test, task, world.pool)
        self._records.append(record.with_scores(*scores))
        return self._records[-1]

    def close(self) -> None:
        """End its threads."""
        self._world.pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
    world: World,
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
    for update, remembered in train_round(world, plan, state, sent, before):
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
    endless = {u.participant: why for u in updates if (why := check_state(u.state, u.state))}
    sound = [update for update in updates if update.participant not in endless]
    if endless and not sound:
        raise FedkitError(
            f"of round {n} can't be averaged: {'; '.join(f'{w}: {why}' for w, why in endless.items())}",
            field="updates",
            why="Weights grow without bound where a step is too large",
            remedy="take a smaller learning_rate",
        )
    far = {u.participant: why for u in sound if (why := too_far(u, state, plan, strategy, sent))}
    updates = [update for update in sound if update.participant not in far]
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
        strategy,
        plan,
        server,
        updates,
        mean=mean,
        refused=endless | far,
        buffers=buffer_names(world.model),
    )
    if strategy.two_sided:  # whose update did not count remembers what it remembered before
        counted = [part.participant for part in record.contributions]
        memories.update((who, fresh[who]) for who in counted if who in fresh)
    return after, record
