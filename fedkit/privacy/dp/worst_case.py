"""Audits that bite: canaries whose gradient, or update, is the worst there can be, and an auditor who sees all of it.

The promise holds for whatever data somebody has, so the auditor takes the data that show most: each canary has a direction
of its own, far longer than the clipping norm, through every tensor of a tiny model. A coin puts it in or blanks it.
One run of the real code gives as many observations as there are canaries, each of which the promised mechanism would blur
by exactly sigma. (White box, with inserted gradients: Nasr et al. 2023, "Tight auditing of differentially private machine
learning"; many canaries in one run, and what their directions' products with the models say of participants: Andrew et al.
2024, "One-shot empirical privacy estimation for federated learning".)

The lower bound is theirs too. Half of the canaries pick the auditor's rule, the other half are judged by it: how often is a
blank one called a canary, how often is a canary missed? Both rates get an exact upper bound (Clopper and Pearson 1934).
A mechanism with sampling rate q, noise multiplier sigma and T steps allows no rule below its trade-off curve; what lies
below it refutes sigma, and the smallest noise multiplier that is refuted gives epsilon. For q = 1 that is Gaussian
differential privacy (Dong et al. 2022), and mu = sqrt(T) / sigma. Notebook 09.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedkit.base.distribution import need_privacy
from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies.base import Strategy
from fedkit.learning.update import Update
from fedkit.privacy.dp.account import Mechanism, epsilon_of, event_of, quiet
from fedkit.privacy.dp.noise import Noise
from fedkit.privacy.dp.training import dp_sgd

__all__ = ["WorstCaseAudit", "audit_dp_sgd", "audit_strategy", "judge"]


_LOUD = 100.0
"""How many times the clipping norm a canary is long: what is not clipped can't be overlooked."""

_STEP = 1.05
"""Noise multipliers are tried in steps of 5 %; what lies between two of them is told as the larger noise."""

_TRIED = 40
"""So many steps on either side of the claim: a seventh of the noise to seven times as much."""

_EPSILONS = np.concatenate([np.linspace(0, 4, 41), np.geomspace(4.2, 400, 80)])
"""Where lines touch the trade-off curve; between them it lies higher, so a coarse choice refutes less, never more."""


@dataclass(frozen=True)
class WorstCaseAudit:
    """What a worst-case audit found.

    claimed : the mechanism that is said to run, and `claim` its epsilon at `delta`. present, blank : canaries that were
    judged, by their coin. misses, alarms : how many of the present were missed, how many of the blank ones called present.
    epsilon : the lower bound, the true one is below it with probability 1 - confidence at most. ceiling : the largest bound
    that so many observations could have given; a claim above it can't be refuted.
    """

    claimed: Mechanism
    claim: float
    present: int
    blank: int
    misses: int
    alarms: int
    epsilon: float
    ceiling: float
    delta: float
    confidence: float

    @property
    def refuted(self) -> bool:
        """Is the claim wrong? Its own noise is then too much to be true, so the true epsilon is above it."""
        return self.epsilon >= self.claim

    def __str__(self) -> str:
        return (
            f"{self.misses} of {self.present} canaries missed, {self.alarms} of {self.blank} blanks taken for one: "
            f"epsilon is at least {self.epsilon:.2f} at delta {self.delta:g} (zero-out neighbours, "
            f"{self.confidence:.0%} confidence; so many observations can show {self.ceiling:.3g} at most), "
            f"{self.claim:.2f} is claimed" + (": refuted" if self.refuted else "")
        )


class _Directions(nn.Module):
    """A model in which row i of the input is a gradient: the same numbers in a weight, in another one and in a bias."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.rows = nn.Linear(count, 1, bias=False)
        self.columns = nn.Linear(1, count)

    def forward(self, rows: Tensor) -> Tensor:
        """[N, canaries] to [N, 1]."""
        columns = self.columns(rows[:, :1] * 0 + 1)
        out: Tensor = self.rows(rows) + (columns * rows).sum(1, keepdim=True)
        return out


def _seen(state: dict[str, Tensor]) -> Tensor:
    """How far the weights lie along each canary's unit direction: float64 [canaries]."""
    parts = [state[name].detach().double().flatten() for name in state]
    return torch.stack(parts).sum(0) / math.sqrt(len(parts))


def _sum_of(out: Tensor, labels: Tensor, reduction: str = "sum") -> Tensor:
    """The loss whose gradient is the input itself."""
    return out.sum()


def audit_dp_sgd(
    mechanism: Mechanism,
    *,
    epochs: int,
    clip: float,
    noise: Noise,
    sample: Noise,
    generator: torch.Generator,
    canaries: int = 1000,
    delta: float = 1e-5,
    confidence: float = 0.95,
    training: Callable[..., Any] = dp_sgd,
) -> WorstCaseAudit:
    """Audit the step of DP-SGD inside a client: one real training on canaries, of which an auditor sees every step.

    mechanism : what is claimed; 1 / its sampling_rate is the number of steps in an epoch. noise, sample : as for `dp_sgd`.
    canaries : how many, each present or blank by a coin of `generator`. training : what is audited, called as `dp_sgd` is.
    Neighbours differ by one image that is there or blank. Raises FedkitError where epochs don't make the mechanism's steps.
    """
    per_epoch = round(1 / mechanism.sampling_rate)
    if per_epoch * epochs != mechanism.steps or abs(per_epoch * mechanism.sampling_rate - 1) > 1e-9:
        raise FedkitError(
            f"{epochs} epochs of {per_epoch} steps are not {mechanism.steps} steps at rate {mechanism.sampling_rate:g}",
            field="mechanism",
            remedy="take a sampling rate of 1 / (steps in an epoch), and their product with epochs as steps",
        )
    model, present = _Directions(canaries), torch.rand(canaries, generator=generator) < 0.5
    rows = torch.diag(present.float() * _LOUD * clip)
    seen: list[Tensor] = []

    def look() -> bool:
        seen.append(_seen(model.state_dict()))
        return False

    start = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    after, _ = training(
        model,
        start,
        (rows, torch.zeros(canaries, dtype=torch.int64)),
        epochs=epochs,
        steps=per_epoch,
        learning_rate=1.0,
        clip=clip,
        noise_multiplier=mechanism.noise_multiplier,
        noise=noise,
        sample=sample,
        stop=look,
        loss_of=_sum_of,
    )
    weights = torch.stack([*seen[: mechanism.steps], _seen(after)])
    sums = (weights[:-1] - weights[1:]) * mechanism.sampling_rate * canaries / clip  # [T, canaries]
    scores = _scores(sums.view(epochs, per_epoch, canaries), mechanism)
    return judge(scores, present, mechanism, delta=delta, confidence=confidence)


def audit_strategy(
    strategy: Strategy,
    config: FLConfig,
    mechanism: Mechanism,
    *,
    generator: torch.Generator,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> WorstCaseAudit:
    """Audit the aggregator's noise from outside: all rounds of the real strategy, of which only the models are looked at.

    strategy : what aggregates, as `strategy_of(config)` gives it. Each of the config's participants is a canary: its update
    goes in a direction of its own or is blank. mechanism : what is claimed, q = 1, since who is asked is no secret.
    The strategy has to pass on the mean it forms, as FedAvg does. `rounds` of the config are run.
    """
    people, clip = config.participants, config.dp.clip if config.dp is not None else 1.0
    model = _Directions(len(people))
    start = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    present = torch.rand(len(people), generator=generator) < 0.5
    state = strategy.init(start)
    for n in range(1, config.rounds + 1):
        updates = []
        for k, email in enumerate(people):
            trained = {name: value.clone() for name, value in state.model.items()}
            if present[k]:
                for value in trained.values():
                    value.view(-1)[k] += _LOUD * clip
            updates.append(Update(email, n, trained, 1))
        state, _ = strategy.apply(state, updates)
    share = (config.participants_per_round or len(people)) * _seen(dict(state.model)) / clip
    return judge(share[None], present, mechanism, delta=delta, confidence=confidence)


def _scores(sums: Tensor, claimed: Mechanism) -> Tensor:
    """What an auditor makes of the steps, [E, steps in an epoch, canaries] to [rules, canaries]: the larger, the likelier.

    The best rule where images are drawn as claimed, and the best ones for two ways of drawing them wrongly: each image once
    an epoch, and always at the same place.
    """
    q, steps = claimed.sampling_rate, sums.shape[1]
    # the logarithm of how much likelier it makes "drawn in this step"
    told = (sums - 0.5) / claimed.noise_multiplier**2
    if steps == 1:
        return told.sum((0, 1))[None]
    drawn = torch.logaddexp(told + math.log(q), torch.full_like(told, math.log1p(-q))).sum((0, 1))
    once = (torch.logsumexp(told, 1) - math.log(steps)).sum(0)
    one_place = torch.logsumexp(told.sum(0), 0) - math.log(steps)
    return torch.stack([drawn, once, one_place])


def judge(
    scores: Tensor,
    present: Tensor,
    claimed: Mechanism,
    *,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> WorstCaseAudit:
    """Epsilon from below. scores : float [rules, canaries], of several rules; present : bool [canaries].

    Even canaries pick a rule and a threshold, odd ones are judged, so that no choice is made on what it is judged by.
    """
    rule, threshold = _picked(scores[:, ::2], present[::2], claimed, confidence)
    called, there = scores[rule, 1::2] > threshold, present[1::2]
    inside, outside = int(there.sum()), int((~there).sum())
    if not inside or not outside:
        raise FedkitError(
            "are all present, or all blank", field="canaries", remedy="take a hundred or more"
        )
    misses, alarms = int((~called & there).sum()), int((called & ~there).sum())

    def bound(missed: int, alarmed: int) -> float:
        miss, alarm = (_above(k, n, confidence) for k, n in ((missed, inside), (alarmed, outside)))
        return _epsilon(float(miss), float(alarm), claimed, delta)

    counts = (inside, outside, misses, alarms)
    claim = epsilon_of(claimed, delta)
    return WorstCaseAudit(
        claimed, claim, *counts, bound(misses, alarms), bound(0, 0), delta, confidence
    )


def _picked(
    scores: Tensor, present: Tensor, claimed: Mechanism, confidence: float
) -> tuple[int, float]:
    """The rule and the threshold that lie farthest below the claimed curve, in deviations of a Gaussian."""
    from scipy.special import ndtri

    best = (-math.inf, 0, 0.0)
    for rule, row in enumerate(scores):
        tried = row.sort().values[:: max(1, len(row) // 200)]
        called = row[None] > tried[:, None]
        misses = (~called & present).sum(1).numpy()
        alarms = (called & ~present).sum(1).numpy()
        miss = _above(misses, int(present.sum()), confidence)
        alarm = _above(alarms, int((~present).sum()), confidence)
        below = ndtri(_least_missed(alarm, _curve(claimed))) - ndtri(np.minimum(miss, 1 - 1e-9))
        k = int(np.argmax(below))
        best = max(best, (float(below[k]), rule, float(tried[k])))
    return best[1], best[2]


def _above(count: Any, among: int, confidence: float) -> Any:
    """Clopper and Pearson's upper bounds on a rate; two of them are right together with `confidence`."""
    from scipy.special import betaincinv

    few = np.minimum(count, among - 1)
    found = betaincinv(few + 1, among - few, 1 - (1 - confidence) / 2)
    return np.where(np.asarray(count) >= among, 1.0, found)


@lru_cache(maxsize=4096)
def _curve(mechanism: Mechanism) -> Any:
    """The mechanism's delta at each of `_EPSILONS`, rounded up."""
    need_privacy()
    from dp_accounting import pld

    with quiet():
        accountant = pld.PLDAccountant(value_discretization_interval=1e-2)
        accountant.compose(event_of(mechanism))
        return np.array([accountant.get_delta(float(epsilon)) for epsilon in _EPSILONS])


def _least_missed(alarm: Any, deltas: Any) -> Any:
    """The smallest rate of misses at each rate of alarms: the trade-off curve, by the lines of all (epsilon, delta)."""
    alarm, grown = np.asarray(alarm)[..., None], np.exp(_EPSILONS)
    lines = np.maximum(1 - deltas - grown * alarm, (1 - deltas - alarm) / grown)
    return np.clip(lines.max(-1), 1e-12, 1 - 1e-9)


def _epsilon(miss: float, alarm: float, claimed: Mechanism, delta: float) -> float:
    """Epsilon of the smallest noise multiplier that these rates refute, on a grid through the claim; 0 for none."""

    def at(k: int) -> Mechanism:
        return replace(claimed, noise_multiplier=claimed.noise_multiplier * _STEP**k)

    low, high = -_TRIED - 1, _TRIED + 1  # the rates refute `high`, if any, and not `low`
    while high - low > 1:
        middle = (low + high) // 2
        if miss < _least_missed(alarm, _curve(at(middle))):
            high = middle
        else:
            low = middle
    if high > _TRIED:
        return 0.0
    return epsilon_of(at(high), delta)
