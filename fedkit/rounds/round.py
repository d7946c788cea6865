"""One round of federated learning, without files: who takes part, what each of them sends, and what comes of it.

(McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data", algorithm 1.)

    plan = plan_round(config, able, n)                            # who takes part in round n, and with which settings
    sent = strategy.broadcast(state)                              # what goes to them beside the global model
    for who in plan.participants:
        update, memory[who] = local_update(strategy, plan, who, model, state.model, shards[who], sent, memory[who])
        updates.append(update)
    state, record = server_step(strategy, plan, state, updates)   # the next global model, and what is remembered

`simulation.simulate` is a loop around these lines. Between datasites they are the same lines with a file between each two
of them: `protocol/client/local_round.py` calls `local_update`, `protocol/aggregator/` the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.models import StateDict, distance
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.strategies.base import LocalRun, ServerState, Strategy
from fedkit.learning.training import local_steps, trained_names
from fedkit.learning.update import Update
from fedkit.privacy.dp.noisy_mean import chosen_in_private
from fedkit.rounds.history import Contribution, RoundRecord

__all__ = ["capped", "draw", "local_update", "plan_round", "server_step", "too_far"]


def plan_round(config: FLConfig, able: Sequence[str], n: int) -> RoundPlan:
    """Fix round n. able : who can take part, in the config's order."""
    return RoundPlan.of(config, n, draw(config, able, n))


def draw(config: FLConfig, able: Sequence[str], n: int) -> list[str]:
    """Who trains in round n: all that can, or a random `participants_per_round` of them, in the given order.

    (McMahan et al. 2017: a random set S_t of max(C K, 1) clients.)
    """
    private = chosen_in_private(config, able, n)
    if private is not None:
        return private
    count = config.participants_per_round
    if count is None or count >= len(able):
        return list(able)
    order = torch.randperm(len(able), generator=generator(config.seed, "sample", n)).tolist()
    return [able[position] for position in sorted(order[:count])]


def local_update(
    strategy: Strategy,
    plan: RoundPlan,
    who: str,
    model: nn.Module,
    start: Mapping[str, Tensor],
    shard: Shard,
    sent: Mapping[str, Tensor],
    memory: Mapping[str, Tensor],
    *,
    trained: tuple[StateDict, list[float]] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[Update, StateDict]:
    """One participant's round: local SGD from the global model `start` on its own shard.

    Returns its update, and what the strategy's part at this participant remembers once that update has counted.
    model : where the training happens, on whichever device. sent : what came beside the global model. memory : what this
    participant remembers. trained : weights, and the loss of each local epoch, where several participants were trained at
    once before. on_epoch, stop : as for `fedkit.learning.training.train`, which raises Stopped.
    """
    if trained is None:
        terms = strategy.terms(sent, memory)
        place = next((p.device for p in model.parameters()), torch.device("cpu"))
        trained = strategy.trainer(who, plan.round)(
            model,
            {name: value.to(place) for name, value in start.items()},
            (shard[0].to(place), shard[1].to(place)),
            epochs=plan.epoch,
            learning_rate=plan.learning_rate,
            batch_size=plan.batch_size,
            generator=generator(plan.seed, who, plan.round),
            on_epoch=on_epoch,
            stop=stop,
            mu=terms.mu,
            shift=terms.shift,
        )
    weights, losses = trained
    state = {name: value.cpu() for name, value in weights.items()}
    num_samples = len(shard[1])
    steps = local_steps(num_samples, plan.epoch, plan.batch_size)
    extra: StateDict = {}
    after: StateDict = {}
    if strategy.two_sided:
        first, last = ({k: s[k] for k in trained_names(model)} for s in (start, state))
        run = LocalRun(first, last, steps, plan.learning_rate, sent, memory)
        extra, after = strategy.report(run)
    told = None if strategy.quiet else losses[-1]
    return Update(who, plan.round, state, num_samples, told, steps, extra), after


def server_step(
    strategy: Strategy,
    plan: RoundPlan,
    state: ServerState,
    updates: Sequence[Update],
    *,
    mean: Update | None = None,
    refused: Mapping[str, str] | None = None,
    absent: Sequence[str] = (),
) -> tuple[ServerState, RoundRecord]:
    """The aggregator's step: the next state, and the round's record (not evaluated yet).

    updates : those that arrived and are sound, in the plan's order. mean : where masks hide them, all that the aggregator
    sees. refused : whose update was not sound, and why. absent : who has sent none.
    """
    claimed, updates = updates, [capped(update, plan) for update in updates]
    turned_away = dict(refused or {})
    while True:
        after, diagnostics = strategy.apply(state, updates if mean is None else [mean])
        if mean is not None or not updates or _finite(after):
            break
        far = max(updates, key=lambda update: distance(update.state, state.model))
        turned_away[far.participant] = "its numbers are so large that the mean overflows"
        updates = [update for update in updates if update is not far]
        if not updates:
            raise FedkitError(
                f"of round {plan.round} can't be averaged: {', '.join(turned_away)} sent numbers that overflow",
                field="updates",
                remedy="ask for smaller ones, or set max_update_norm",
            )
    shares = mixing_weights(updates, plan.weighting) if updates else []
    contributions = tuple(
        Contribution(
            participant=update.participant,
            weight=share if update.state else None,
            num_samples=update.num_samples,
            loss=update.loss,
            norm=distance(update.state, state.model) if update.state else None,
            sha256=update.sha256,
            seconds=update.seconds,
        )
        for update, share in zip(updates, shares, strict=True)
    )
    return after, RoundRecord(
        plan.round,
        contributions,
        turned_away,
        tuple(absent),
        diagnostics,
        plan.learning_rate,
        plan.epoch,
        capped={
            update.participant: told
            for update in claimed
            if plan.max_samples is not None and (told := update.num_samples or 0) > plan.max_samples
        },
    )


def capped(update: Update, plan: RoundPlan) -> Update:
    """The update with no larger claims than the config believes: samples, and the steps that follow from them."""
    most = plan.max_samples
    if most is None:
        return update
    steps = local_steps(most, plan.epoch, plan.batch_size)
    samples = None if update.num_samples is None else min(update.num_samples, most)
    return replace(
        update,
        num_samples=samples,
        steps=None if update.steps is None else min(update.steps, steps),
    )


def too_far(update: Update, model: Mapping[str, Tensor], plan: RoundPlan) -> str | None:
    """Why an update moves the model further than the config allows, None where it does not."""
    if plan.max_update_norm is None:
        return None
    norm = distance(update.state, model)
    if norm <= plan.max_update_norm:
        return None
    return f"moves the model by {norm:.3g}, more than the {plan.max_update_norm:g} that the config allows"


def _finite(after: ServerState) -> bool:
    """Does the aggregator's state hold numbers only?"""
    parts = [after.model, *after.memory.values()]
    return all(bool(torch.isfinite(value).all()) for part in parts for value in part.values())
