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

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.data.standardise import standardised
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.device import place_of
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import StateDict, buffer_names, distance, distances
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.strategies.base import LocalRun, ServerState, Strategy
from fedkit.learning.strategies.fedavg import fedavg
from fedkit.learning.surroundings import surroundings_kept
from fedkit.learning.training import fitting_batch, judged, local_steps, trained_names
from fedkit.learning.update import Update
from fedkit.learning.validated import validated
from fedkit.privacy.dp.banded import in_turn
from fedkit.privacy.dp.noisy_mean import chosen_in_private
from fedkit.rounds.history import Contribution, RoundRecord
from fedkit.rounds.personal import hold_out

__all__ = ["as_seen", "capped", "draw", "local_update", "plan_round", "server_step", "too_far"]


def plan_round(config: FLConfig, able: Sequence[str], n: int) -> RoundPlan:
    """Fix round n. able : who can take part, in the config's order."""
    return RoundPlan.of(config, n, draw(config, able, n))


def draw(config: FLConfig, able: Sequence[str], n: int) -> list[str]:
    """Who trains in round n: all that can, or a random `participants_per_round` of them, in the given order.

    (McMahan et al. 2017: a random set S_t of max(C K, 1) clients.)
    """
    turns = in_turn(config, able, n)
    private = chosen_in_private(config, able, n) if turns is None else turns
    if private is not None:
        return private
    count = config.participants_per_round
    if count is None or count >= len(able):
        return list(able)
    order = torch.randperm(len(able), generator=generator(config.seed, "sample", n)).tolist()
    return [able[position] for position in sorted(order[:count])]


def as_seen(plan: RoundPlan, who: str, shard: Shard) -> Shard:
    """The shard of `who` as its task standardises it, for `local_update`.

    What is kept back has no part in "own" statistics. Raises FedkitError where there are too few samples to keep one back.
    """
    alone = plan.validation is not None and plan.task.standardise == "own"
    return standardised(shard, plan.task, _kept_back(plan, who, shard)[0][0] if alone else None)


@surroundings_kept()  # a forward() may set them too
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
    Raises FedkitError where there are too few samples to keep one back.
    """
    place, begin = place_of(model), strategy.begin(start, memory)
    early = dict[str, Any]()
    shard, held = _kept_back(plan, who, shard)
    batch_size = fitting_batch(model, shard[0].to(place), plan.batch_size)

    def judge(weights: Mapping[str, Tensor]) -> tuple[dict[str, float], float]:
        return judged(model, weights, *held, plan.task)

    if plan.validation is not None and plan.validation.patience is not None:
        early = {
            "patience": plan.validation.patience,
            "validate": lambda weights: judge(weights)[1],
        }
    if trained is None:
        terms = strategy.terms(sent, memory)
        trained = strategy.trainer(who, plan.round)(
            model,
            {name: value.to(place) for name, value in begin.items()},
            (shard[0].to(place), shard[1].to(place)),
            epochs=plan.epoch,
            learning_rate=plan.learning_rate,
            batch_size=batch_size,
            generator=generator(plan.seed, who, plan.round),
            on_epoch=on_epoch,
            stop=stop,
            mu=terms.mu,
            shift=terms.shift,
            loss_of=criterion_of(plan.task),
            optimizer=plan.optimizer,
            **early,
        )
    weights, losses = trained
    state = {name: value.cpu() for name, value in weights.items()}
    if strategy.keeps_buffers:
        state |= {name: start[name].clone() for name in buffer_names(model)}
    num_samples, num_held = len(shard[1]), len(held[1])
    # those behind the weights that are sent: training may have ended early
    steps = local_steps(num_samples, len(losses), batch_size)
    # after the training, which starts from a model that nobody has called
    measured = validated(plan.task, num_held, judge(begin), judge(state)) if num_held else None
    extra: StateDict = {}
    after: StateDict = {}
    if strategy.two_sided:
        first, last = ({k: s[k] for k in trained_names(model)} for s in (begin, state))
        run = LocalRun(first, last, steps, plan.learning_rate, sent, memory)
        extra, after = strategy.report(run)
    state, kept = strategy.divide(start, state)
    after |= kept
    told = None if strategy.quiet else losses[-1]
    update = Update(who, plan.round, state, num_samples, told, steps, extra, validation=measured)
    if strategy.hides_counts:
        update = replace(update, num_samples=None, steps=None)
    return update, after


def _kept_back(plan: RoundPlan, who: str, shard: Shard) -> tuple[Shard, Shard]:
    """(what `who` trains on, what it keeps back), the same in every round. Raises FedkitError."""
    if plan.validation is None:
        return shard, (shard[0][:0], shard[1][:0])
    if len(shard[1]) < 2:
        raise FedkitError(
            f"keeps one sample back, and {who} has no other one",
            field="validation",
            remedy="give it at least two samples, or leave validation out",
        )
    random = generator(plan.seed, who, "validation")
    return hold_out(shard, plan.validation.share, generator=random)


def server_step(
    strategy: Strategy,
    plan: RoundPlan,
    state: ServerState,
    updates: Sequence[Update],
    *,
    mean: Update | None = None,
    refused: Mapping[str, str] | None = None,
    absent: Sequence[str] = (),
    buffers: Collection[str] = (),
) -> tuple[ServerState, RoundRecord]:
    """The aggregator's step: the next state, and the round's record (not evaluated yet).

    updates : those that arrived and are sound, in the plan's order. mean : where masks hide them, all that the aggregator
    sees. refused : whose update was not sound, and why. absent : who has sent none. buffers : what of the model no rule may
    optimise (`buffer_names`).
    """
    claimed, updates = updates, [capped(update, plan) for update in updates]
    turned_away = dict(refused or {})
    while True:
        after, diagnostics = strategy.apply(state, updates if mean is None else [mean])
        if mean is not None or not updates or _finite(after, diagnostics):
            break
        far = max(updates, key=lambda update: _size(update, state.model))
        turned_away[far.participant] = "its numbers are so large that the mean overflows"
        updates = [update for update in updates if update is not far]
        if not updates:
            raise FedkitError(
                f"of round {plan.round} can't be averaged: {', '.join(turned_away)} sent numbers that overflow",
                field="updates",
                remedy="take a smaller learning_rate, or set max_update_norm",
            )
    if strategy.keeps_buffers:  # exactly: neither rounding nor the noise on a mean moves them
        after = replace(
            after, model={**after.model, **{name: state.model[name] for name in buffers}}
        )
    elif buffers and strategy.averages_buffers:
        sound = updates if mean is None else [mean]
        parts = [replace(u, state={name: u.state[name] for name in buffers}) for u in sound]
        after = replace(after, model={**after.model, **fedavg(parts, plan.weighting)})
    shares = mixing_weights(updates, plan.weighting) if updates else []
    shown = [update for update in updates if update.state]
    norms = dict(zip(map(id, shown), distances([u.state for u in shown], state.model), strict=True))
    contributions = tuple(
        Contribution(
            participant=update.participant,
            weight=share if update.state else None,
            num_samples=update.num_samples,
            loss=update.loss,
            norm=norms.get(id(update)),
            sha256=update.sha256,
            seconds=update.seconds,
            validation=update.validation,
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


def too_far(
    update: Update,
    model: Mapping[str, Tensor],
    plan: RoundPlan,
    strategy: Strategy,
    sent: Mapping[str, Tensor],
) -> str | None:
    """Why an update moves the model, or what the strategy remembers, further than the config allows; None where it does
    not. sent : what went to everybody beside the model."""
    if plan.max_update_norm is None:
        return None
    norm = distance(update.state, model)
    if norm > plan.max_update_norm:
        return f"moves the model by {norm:.3g}, more than the {plan.max_update_norm:g} that the config allows"
    beside = _norm(update.extra)
    most = strategy.most_beside(sent, plan.max_update_norm, plan.learning_rate)
    if beside <= most * _ROUNDING:
        return None
    return f"comes with numbers of norm {beside:.3g}, more than the {most:.3g} that an allowed update has"


_ROUNDING = 1.001


def _norm(state: Mapping[str, Tensor]) -> float:
    return distance(state, {name: torch.zeros_like(value) for name, value in state.items()})


def _size(update: Update, model: Mapping[str, Tensor]) -> float:
    """How large an update is, or what comes beside it; infinite where that is no number."""
    sizes = distance(update.state, model), _norm(update.extra)
    return math.inf if any(map(math.isnan, sizes)) else max(sizes)


def _finite(after: ServerState, diagnostics: Mapping[str, float]) -> bool:
    """Does the aggregator's state hold numbers only, and what is said of it?"""
    parts = [after.model, *after.memory.values()]
    finite = all(bool(torch.isfinite(value).all()) for part in parts for value in part.values())
    return finite and all(map(math.isfinite, diagnostics.values()))
