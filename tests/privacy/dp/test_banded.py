"""Noise that later rounds take back: its matrix, its sensitivity by brute force, and the same bits in both worlds."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.federation.rewind import rewind
from fedkit.learning.update import Update
from fedkit.privacy.dp.account import epsilon_of
from fedkit.privacy.dp.banded import BandedMean, coefficients, in_turn, noised_sum
from fedkit.privacy.dp.budget import spent
from fedkit.privacy.dp.mechanism import participant_mechanism
from fedkit.privacy.dp.noise import SeededNoise, SystemNoise
from fedkit.privacy.guarantees import guarantees
from fedkit.protocol.approval import approve_all
from fedkit.rounds.round import draw
from fedkit.rounds.simulation import numbered_participants, simulate
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import AGGREGATOR, ALICE, BOB, LINEAR, held_out, launched, shard, small
from tests.support.privacy import PARTICIPANT, linear_state

IN_TURN: dict[str, Any] = {
    "dp": PARTICIPANT | {"mechanism": {"name": "banded"}},
    "weighting": "equal",
}


def config_of(people: int, count: int, rounds: int, **rule: Any) -> FLConfig:
    dp = PARTICIPANT | {"mechanism": {"name": "banded"} | rule}
    who = numbered_participants(people)
    return small(
        participants=who, participants_per_round=count, rounds=rounds, weighting="equal", dp=dp
    )


def matrix(bands: int, rounds: int) -> np.ndarray:
    """C of the lines in the module: column t is c, from row t on."""
    c = coefficients(bands).numpy()
    full = np.zeros((rounds, rounds))
    for row, column in itertools.product(range(rounds), repeat=2):
        if 0 <= row - column < bands:
            full[row, column] = c[row - column]
    return full


def test_the_matrix_is_the_square_root_of_sums() -> None:
    """C C = 1024^2 times the matrix of ones that adds up rounds, as far as the bands reach."""
    square = matrix(12, 12) @ matrix(12, 12) / 1024**2
    assert np.allclose(square, np.tril(np.ones((12, 12))), atol=2e-3)


def test_what_is_added_is_the_sum_and_noise_through_the_inverse() -> None:
    random = torch.Generator().manual_seed(1)
    rounds, bands, numbers = 9, 4, 5
    sums, noise = (
        torch.randn(rounds, numbers, generator=random, dtype=torch.float64) for _ in range(2)
    )
    last = seen = torch.zeros(bands - 1, numbers, dtype=torch.float64)
    got = []
    for t in range(rounds):
        got.append(noised_sum(sums[t], last, seen, noise[t]))
        last = torch.cat([sums[t][None], last])[: bands - 1]
        seen = torch.cat([got[-1][None], seen])[: bands - 1]
    wanted = sums + torch.from_numpy(np.linalg.solve(matrix(bands, rounds), noise.numpy()))
    assert torch.allclose(torch.stack(got), wanted)


@pytest.mark.parametrize(
    ("people", "count", "rounds"), [(6, 2, 9), (7, 3, 11), (5, 1, 12), (9, 4, 8)]
)
def test_a_participant_moves_the_mixtures_by_no_more_than_its_turns(
    people: int, count: int, rounds: int
) -> None:
    """Over all who come and all signs of what they send, each of norm 1: ||C x|| <= sqrt(k) ||c||, with k turns."""
    config = config_of(people, count, rounds)
    rule = config.dp.mechanism if config.dp else None
    assert rule is not None
    bands, turns = rule.bands_of(config), rule.turns(config)
    c, full = float(coefficients(bands).norm()), matrix(bands, rounds)
    most = 0.0
    for who in config.participants:
        mine = [
            n
            for n in range(1, rounds + 1)
            if who in (in_turn(config, config.participants, n) or ())
        ]
        assert all(b - a >= people // count for a, b in itertools.pairwise(mine))
        assert len(mine) <= turns
        for signs in itertools.product((-1, 1), repeat=len(mine)):
            sent = np.zeros(rounds)
            sent[[n - 1 for n in mine]] = signs
            most = max(most, float(np.linalg.norm(full @ sent)))
    assert most <= math.sqrt(turns) * c * (1 + 1e-12)
    assert participant_mechanism(config).steps == turns
    assert participant_mechanism(config).sampling_rate == 1.0


def test_more_bands_than_rounds_between_turns_would_cost_more() -> None:
    """Which is why they are refused: two turns then meet in one mixture."""
    full, sent = matrix(4, 8), np.array([1, 0, 1, 0, 1, 0, 1, 0])
    assert np.linalg.norm(full @ sent) > 1.2 * math.sqrt(4) * float(coefficients(4).norm())
    with pytest.raises(FedkitError, match="comes back after 2 rounds"):
        config_of(4, 2, 8, bands=4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"participants_per_round": None}, "in every round"),
        ({"dp": IN_TURN["dp"] | {"adaptive_clip": {}}}, "one clip"),
        ({"dp": IN_TURN["dp"] | {"noise_at": "participants"}}, "noise of an aggregator"),
        ({"dp": IN_TURN["dp"] | {"unit": "example"}}, "noise of an aggregator"),
        ({"dp": IN_TURN["dp"] | {"mechanism": "banded"}}, "is a text"),
    ],
    ids=["all", "adaptive", "shares", "example", "text"],
)
def test_what_does_not_go_with_it_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FedkitError, match=says):
        small(**(IN_TURN | {"participants_per_round": 1} | changes))


def test_turns_do_not_hang_on_who_is_there() -> None:
    config = config_of(6, 2, 6)
    everybody = list(config.participants)
    rounds = [draw(config, everybody, n) for n in range(1, 7)]
    assert sorted(itertools.chain(*rounds[:3])) == sorted(everybody)
    assert rounds[:3] == rounds[3:]
    assert [draw(config, everybody[1:], n) for n in range(1, 7)] == [
        [who for who in chosen if who != everybody[0]] for chosen in rounds
    ]


def test_sums_over_rounds_have_less_noise_and_single_rounds_more() -> None:
    """What it is for: after 40 rounds of ten people in turn, the noise in the model is a fraction of fresh noise's."""
    found = {}
    for bands in (1, 2, 10):
        c = coefficients(bands).norm().item()
        spread = np.linalg.inv(matrix(bands, 40)) * c  # of S~ for the same epsilon
        found[bands] = np.linalg.norm(spread.sum(0))
    assert found[10] < 0.45 * found[1]
    assert found[10] < found[2] < found[1]


@pytest.mark.parametrize("secure", [False, True])
def test_a_round_is_the_mean_of_those_in_turn_and_noise(secure: bool, monkeypatch: Any) -> None:
    """From a seed, the line of the module; where the noise is meant, whole numbers and no floating point noise."""
    config = config_of(4, 2, 2)
    if secure:
        dp = PARTICIPANT | {"mechanism": {"name": "banded"}, "secure_noise": True}
        config = config.replace(dp=dp)
        monkeypatch.setattr(SystemNoise, "normal", None)
    rule, model = strategy_of(config), linear_state()
    assert isinstance(rule, BandedMean)
    sent = {k: v + 1e-3 for k, v in model.items()}
    after, said = rule.apply(
        rule.init(model), [Update(w, 1, sent, 5) for w in config.participants[:2]]
    )
    moved = torch.cat([(after.model[k].double() - v).flatten() for k, v in model.items()])
    own = after.memory["banded"]
    count = sum(v.numel() for v in model.values())
    assert own["sums"].shape == own["seen"].shape == (1, count)
    assert bool((own["sums"] == own["sums"].round()).all()) == secure
    c = coefficients(2)
    if not secure:
        sigma = participant_mechanism(config).noise_multiplier * 0.5 * float(c.norm())
        drawn = SeededNoise(config.seed, AGGREGATOR, 1, "dp noise").normal((count,), sigma)
        assert torch.allclose(moved, (2 * 1e-3 + drawn / c[0]) / 2, atol=1e-6)
    assert float(moved.std()) == pytest.approx(said["noise_std"], rel=0.05)


def test_same_bits_in_both_worlds_and_after_a_rewind(tmp_path: Path) -> None:
    """Files, memory, and rounds that were taken back: the server's state is all that the noise hangs on."""
    settings = IN_TURN | {"participants_per_round": 1, "rounds": 4}
    net = launched(tmp_path, **settings)
    history = net.run(approve=approve_all)
    assert [[part.participant for part in r.contributions] for r in history.rounds] == [
        [ALICE],
        [BOB],
        [ALICE],
        [BOB],
    ]
    config = FLConfig.load(net[AGGREGATOR].aggregator().done / "MNIST_FL" / "fl_config.json")
    simulated = simulate(
        config, [shard([0, 1]), shard([2, 3])], held_out(), model=LINEAR, exact=True
    )
    assert [r.loss for r in simulated.rounds] == [r.loss for r in history.rounds]
    rewind(net, 2)
    assert [r.loss for r in net.run().rounds] == [r.loss for r in history.rounds]
    assert config.dp is not None
    account = spent(net[ALICE])
    assert account[0].epsilon == pytest.approx(
        epsilon_of(participant_mechanism(config), config.dp.delta)
    )
    row = guarantees(config, {})[1]
    assert row.epsilon == pytest.approx(account[0].epsilon)
    assert "at most 2 turns" in row.because


def test_noise_that_is_meant_does_not_go_back(tmp_path: Path) -> None:
    dp = IN_TURN["dp"] | {"secure_noise": True}
    net = launched(tmp_path, **(IN_TURN | {"dp": dp, "participants_per_round": 1}))
    assert net.run(approve=approve_all).done
    with pytest.raises(FedkitError, match="can't go back"):
        rewind(net, 1)
