"""Audits that bite: less noise than promised, a bias unclipped, batches drawn wrongly are caught, and the right code never.

Each broken mechanism is the real one with one fault. Power, in ten seeds (`make test-all`): nine at least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.privacy.dp.account import Mechanism, epsilon_of, noise_for
from fedkit.privacy.dp.audit import Audit
from fedkit.privacy.dp.noise import SeededNoise
from fedkit.privacy.dp.worst_case import WorstCaseAudit, audit_dp_sgd, audit_strategy, judge
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import small
from tests.support.run_lesson import seeds

DELTA, CLAIM = 1e-5, 4.0
SEEDS = seeds(0, 1)


class Batches(SeededNoise):
    """Fixed batches: each image once an epoch, and always in the same step."""

    def __init__(self, steps: int, seed: int) -> None:
        super().__init__(seed, "batches")
        self.steps, self.at = steps, 0

    def uniform(self, count: int) -> Tensor:
        place = torch.arange(count) % self.steps
        self.at += 1
        return (place != (self.at - 1) % self.steps).double()


def halved(training: Any, by: float) -> Callable[..., Any]:
    return lambda *a, noise_multiplier, **k: training(
        *a, noise_multiplier=noise_multiplier * by, **k
    )


def of_examples(seed: int, fault: str, monkeypatch: pytest.MonkeyPatch) -> WorstCaseAudit:
    from opacus.optimizers import DPOptimizer

    from fedkit.privacy.dp.training import dp_sgd

    steps, epochs = (20, 10) if fault in ("batches", "poisson") else (1, 3)
    claimed = Mechanism(
        1 / steps, noise_for(CLAIM, DELTA, 1 / steps, steps * epochs), steps * epochs
    )
    training: Any = dp_sgd
    if fault == "halved":
        training = halved(dp_sgd, 0.5)
    if fault == "forgotten":
        training = halved(dp_sgd, 1e-9)
    if fault == "bias":
        whole = DPOptimizer.clip_and_accumulate

        def all_but_the_bias(self: Any) -> None:
            bias = self.params[-1]
            loud = bias.grad_sample.sum(0)
            whole(self)
            bias.summed_grad = loud

        monkeypatch.setattr(DPOptimizer, "clip_and_accumulate", all_but_the_bias)
    sample = Batches(steps, seed) if fault == "batches" else SeededNoise(seed, "sample")
    return audit_dp_sgd(
        claimed,
        epochs=epochs,
        clip=1.0,
        noise=SeededNoise(seed, "noise"),
        sample=sample,
        generator=generator(seed, "coins"),
        canaries=1000,
        delta=DELTA,
        training=training,
    )


def of_participants(seed: int, fault: str, monkeypatch: pytest.MonkeyPatch) -> WorstCaseAudit:
    claimed = Mechanism(1.0, noise_for(CLAIM, DELTA, 1.0, 2), 2)
    by = {"halved": 0.5, "forgotten": 0.01}.get(fault, 1.0)
    config = small(
        participants=[f"p{k}@example.org" for k in range(400)],
        rounds=2,
        seed=seed,
        weighting="equal",
        dp={
            "unit": "participant",
            "noise_multiplier": claimed.noise_multiplier * by,
            "delta": DELTA,
            "clip": 1.0,
        },
    )
    if fault == "bias":
        from fedkit.privacy.dp import clip

        whole = clip.clip_rows

        def all_but_the_bias(changes: Tensor, norm: float) -> Tensor:
            people = len(changes)
            return torch.cat([whole(changes[:, :-people], norm), changes[:, -people:]], 1)

        monkeypatch.setattr(clip, "clip_rows", all_but_the_bias)
    coins = generator(seed, "coins")
    return audit_strategy(strategy_of(config), config, claimed, generator=coins, delta=DELTA)


FAULTS = [
    (of_examples, "halved"),
    (of_examples, "forgotten"),
    (of_examples, "bias"),
    (of_examples, "batches"),
]
FAULTS += [(of_participants, "halved"), (of_participants, "forgotten"), (of_participants, "bias")]


@pytest.mark.parametrize(("audit", "fault"), FAULTS)
def test_a_broken_promise_is_caught(
    audit: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for seed in SEEDS:
        with monkeypatch.context() as patch:
            found.append(audit(seed, fault, patch))
    assert sum(f.refuted for f in found) >= 0.9 * len(SEEDS), [str(f) for f in found]
    assert all(f.epsilon <= f.ceiling for f in found)
    assert all(f"{f.ceiling:.3g} at most" in str(f) for f in found)


@pytest.mark.parametrize("audit", [of_examples, of_participants])
@pytest.mark.parametrize("kind", ["right", "poisson"])
def test_what_keeps_its_promise_never_is(
    audit: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in SEEDS:
        found = audit(seed, kind, monkeypatch)
        assert not found.refuted, str(found)
        assert found.epsilon < CLAIM * 1.01
        assert found.ceiling > 2 * CLAIM  # so that it could have been


def test_the_bound_is_tight_and_seldom_too_high() -> None:
    """Against the Gaussian mechanism itself: mu = 1 / sigma, hundreds of times."""
    claimed, wrong, bounds = Mechanism(1.0, 1.0, 1), 0, []
    for seed in range(60):
        draw = generator(seed, "gauss")
        present = torch.rand(1000, generator=draw) < 0.5
        told = present.double() + torch.randn(1000, generator=draw, dtype=torch.float64)
        found = judge(told[None], present, claimed, delta=DELTA)
        bounds.append(found.epsilon)
        wrong += found.refuted
    assert wrong <= 0.05 * 60 + 3
    assert sorted(bounds)[30] > epsilon_of(replace(claimed, noise_multiplier=1.7), DELTA)


def test_what_can_not_be_judged_is_refused() -> None:
    with pytest.raises(FedkitError):
        judge(torch.zeros(1, 20), torch.ones(20, dtype=torch.bool), Mechanism(1.0, 1.0, 1))
    chance: dict[str, Any] = {"noise": SeededNoise(0), "sample": SeededNoise(1)}
    with pytest.raises(FedkitError):
        audit_dp_sgd(Mechanism(0.3, 1.0, 3), epochs=1, clip=1.0, generator=generator(0), **chance)


def test_guesses_say_how_much_they_could_have_shown() -> None:
    """A hundred guesses, all right, show 3.49: no claim of 4 falls by them."""
    audit = Audit(200, 100, 60, 0.0, 0.0, 0.95)
    assert audit.ceiling == pytest.approx(3.49, abs=0.01)
    assert "3.49 at most" in str(audit)
