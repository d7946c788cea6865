"""A strategy around a noisy mean: a round is clipped changes and the noise of its seed, in both worlds."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.config.fl_config import FLConfig
from fedkit.learning.update import Update
from fedkit.privacy.dp.noise import SeededNoise
from fedkit.protocol.approval import approve_all
from fedkit.rounds.round import draw
from fedkit.rounds.simulation import simulate
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    held_out,
    launched,
    shard,
    small,
)
from tests.support.privacy import Every, linear_state

EXAMPLE = {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 0.5, "delta": 1e-3, "clip": 0.1}


# ---------------------------------------------------------------------------------- noisy means
def test_adaptive_clipping_in_rounds(tmp_path: Path) -> None:
    """The clipping norm is remembered from round to round, on disk as in memory, and moves as the counts say."""
    dp = PARTICIPANT | {"noise_multiplier": 0.1, "clip": 50.0, "adaptive_clip": {}}
    net = launched(tmp_path, rounds=3, dp=dp, weighting="equal")
    told = [r.diagnostics for r in net.run(approve=approve_all).rounds]
    assert [d["clip"] for d in told][:2] == [
        50.0,
        pytest.approx(50 * math.exp(-0.2 * (told[0]["unclipped"] - 0.5))),
    ]
    assert told[0]["unclipped"] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("size", [0.01, 0.9], ids=["unclipped", "clipped"])
def test_both_noises_of_adaptive_clipping_are_worth_the_promised_one(
    size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far one participant moves the mean and the count, each in deviations of its noise: together at most 1 / z."""
    everybody = [f"{k}@example.org" for k in range(4)]
    dp = PARTICIPANT | {"adaptive_clip": {"count_noise": 0.3}, "noise_multiplier": 0.5}
    config = small(participants=everybody, weighting="equal", dp=dp)
    monkeypatch.setattr("fedkit.privacy.dp.noisy_mean.noise_source", lambda *_: Every())
    model = linear_state()
    sent = [{k: v + size * (-1) ** n for k, v in model.items()} for n in range(4)]
    sent[3] = {k: v + 1e-6 if size < 0.1 else v - size for k, v in model.items()}
    updates = [Update(e, 1, s, 5) for e, s in zip(everybody, sent, strict=True)]
    rule = strategy_of(config)
    (one, said), (other, without) = (
        rule.apply(rule.init(model), u) for u in (updates, updates[:3])
    )
    moved = torch.cat([(one.model[k].double() - other.model[k]).flatten() for k in model])
    count = 4 * (said["unclipped"] - without["unclipped"])
    deviations = math.hypot(float(moved.norm()) / said["noise_std"], count / 0.3)
    assert abs(count) == pytest.approx(0.5)  # whatever the participant's own bit is
    assert deviations <= 1 / 0.5 * (1 + 1e-4)


# -------------------------------------------------------------------------------- in both worlds
@pytest.mark.parametrize(
    "changes",
    [
        {"dp": EXAMPLE},
        {"dp": PARTICIPANT, "weighting": "equal", "strategy": {"name": "fedavgm"}},
        {"dp": PARTICIPANT, "weighting": "equal", "participants_per_round": 1},
        {"dp": PARTICIPANT | {"noise_at": "participants"}, "weighting": "equal"},
        {
            "dp": PARTICIPANT | {"noise_at": "participants"},
            "weighting": "equal",
            "secure_aggregation": {"threshold": 2},
        },
    ],
    ids=["example", "participant", "sampled", "shares", "shares in a sum"],
)
def test_same_bits_in_both_worlds(changes: dict[str, Any], tmp_path: Path) -> None:
    net = launched(tmp_path, **changes)
    history = net.run(approve=approve_all)
    assert history.done, history
    config = FLConfig.load(net[AGGREGATOR].aggregator().done / "MNIST_FL" / "fl_config.json")
    shards = [shard([0, 1]), shard([2, 3])]
    simulated = simulate(config, shards, held_out(), model=LINEAR, exact=True)
    assert simulated.accuracies == history.accuracies
    for ours, theirs in zip(simulated.rounds, history.rounds, strict=True):
        assert (ours.accuracy, ours.loss) == (theirs.accuracy, theirs.loss)
        if "secure_aggregation" not in changes:  # which hides what each has sent
            assert ours.contributions == theirs.contributions
            assert ours.diagnostics == theirs.diagnostics
    told = {part.loss for r in history.rounds for part in r.contributions}
    assert told <= {None}  # a loss depends on images, and no noise covers it
    counts = {part.num_samples for r in history.rounds for part in r.contributions}
    if "secure_aggregation" not in changes:
        assert counts <= ({6} if changes["dp"]["unit"] == "example" else {None})


def test_a_round_is_the_mean_of_clipped_changes_and_the_noise_of_its_seed() -> None:
    """w + (sum_k clip(Delta_k) + noise) / m, the noise drawn anew from (seed, aggregator, round)."""
    config = small(weighting="equal", dp=PARTICIPANT | {"clip": 10.0}, rounds=1)
    model = linear_state()
    far, near = ({k: v + move for k, v in model.items()} for move in (0.25, -0.01))
    updates = [Update(e, 1, sent, 5) for e, sent in ((ALICE, far), (BOB, near))]
    rule = strategy_of(config)
    after, said = rule.apply(rule.init(model), updates)
    count = sum(v.numel() for v in model.values())
    cut = min(1.0, 10.0 / (0.25 * math.sqrt(count)))
    noise = SeededNoise(config.seed, AGGREGATOR, 1, "dp noise").normal((count,), 0.5 * 10)
    wanted = ((cut * 0.25 - 0.01) + noise) / 2
    moved = torch.cat([(after.model[k] - model[k]).flatten() for k in model])
    assert torch.allclose(moved.double(), wanted, atol=1e-5)
    assert said == {"clip": 10.0, "noise_std": 2.5}


def test_nobody_at_all_is_a_round_too() -> None:
    config = small(weighting="equal", dp=PARTICIPANT, participants_per_round=1)
    rule = strategy_of(config)
    first = rule.init(linear_state())
    after, said = rule.apply(first, [])
    moved = torch.cat([(after.model[k] - first.model[k]).flatten() for k in after.model])
    assert float(moved.std()) == pytest.approx(said["noise_std"], rel=0.05)
    assert said["noise_std"] == pytest.approx(0.5 * 0.1 / 1)


def test_participants_are_drawn_each_on_their_own() -> None:
    """Counts vary, each takes part in its share of the rounds, and whoever is away changes nobody's draw."""
    everybody = [ALICE, BOB, CAROL, "dave@example.org"]
    config = small(
        participants=everybody, weighting="equal", dp=PARTICIPANT, participants_per_round=2
    )
    rounds = [draw(config, everybody, n) for n in range(1, 201)]
    assert {len(r) for r in rounds} == {0, 1, 2, 3, 4}
    for email in everybody:
        assert sum(email in r for r in rounds) == pytest.approx(100, abs=4 * math.sqrt(50))
    for n, chosen in itertools.islice(enumerate(rounds, 1), 20):
        assert draw(config, everybody[1:], n) == [e for e in chosen if e != ALICE]
