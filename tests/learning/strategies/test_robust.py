"""Aggregation rules against their formulas, and their properties on updates of any size."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.learning.models import SAMPLE_MODEL, load_model, seed_weights
from fedkit.learning.strategies.fedavg import FedAvg
from fedkit.learning.strategies.registry import STRATEGIES, make_strategy
from fedkit.learning.strategies.robust import (
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    NormClip,
    TrimmedMean,
)
from fedkit.learning.strategies.server import FedAdagrad, FedAdam, FedAvgM, FedYogi
from fedkit.learning.training import train
from fedkit.learning.update import Update

MODEL = {"w": torch.tensor([1.0, -2.0, 0.5]), "b": torch.tensor([0.25]), "n": torch.tensor(7)}


def updates(*rows: list[float], counts: list[int] | None = None) -> list[Update]:
    """Updates whose change from MODEL is a row of four numbers (three for w, one for b)."""
    return [
        Update(
            f"p{k}@example.org",
            1,
            {
                "w": MODEL["w"] + torch.tensor(row[:3]),
                "b": MODEL["b"] + torch.tensor(row[3:]),
                "n": MODEL["n"],
            },
            counts[k] if counts else 10,
        )
        for k, row in enumerate(rows)
    ]


def change(strategy, *rounds: list[Update]) -> torch.Tensor:
    """How far the model has moved after these rounds, float64 [4]."""
    state = strategy.init(MODEL)
    for arrived in rounds:
        state, _ = strategy.apply(state, arrived)
    after = state.model
    assert after["n"] == 7
    assert after["n"].dtype == torch.int64
    assert after["w"].dtype == torch.float32
    moved = [(after[name] - MODEL[name]).double() for name in ("w", "b")]
    return torch.cat(moved)


ROWS = ([1.0, 0.0, 0.0, 2.0], [3.0, 1.0, -1.0, 0.0], [-1.0, 2.0, 4.0, 1.0])
CLOSE = {"rtol": 0, "atol": 2e-6}


def test_momentum_is_a_geometric_sum_of_equal_steps() -> None:
    arrived = updates([1.0, 0.0, -1.0, 2.0])
    beta, eta = 0.5, 2.0
    state, strategy = FedAvgM(eta, beta).init(MODEL), FedAvgM(eta, beta)
    moved = []
    for _ in range(3):  # the same Delta every round: v = 1, 1 + beta, 1 + beta + beta^2 times Delta
        before = state.model["w"].clone()
        shifted = [
            Update(
                "p",
                1,
                {k: state.model[k] + (v - MODEL[k]) for k, v in arrived[0].state.items()},
                10,
            )
        ]
        state, _ = strategy.apply(state, shifted)
        moved.append(float((state.model["w"] - before)[0]))
    assert moved == pytest.approx([2.0, 3.0, 3.5], abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "second"),
    [
        (FedAdagrad, lambda v, d: v + d * d),
        (FedAdam, lambda v, d: 0.99 * v + 0.01 * d * d),
        (FedYogi, lambda v, d: v - 0.01 * d * d * math.copysign(1, v - d * d)),
    ],
)
def test_adaptive_rules_take_the_papers_step(kind: type, second) -> None:
    eta, beta1, tau, delta = 0.1, 0.6, 0.01, 0.5
    strategy = kind(eta, beta1, 0.99, tau)
    m, v = (1 - beta1) * delta, second(tau**2, delta)
    first = eta * m / (math.sqrt(v) + tau)
    moved = change(strategy, updates([delta, 0.0, 0.0, 0.0]))
    assert float(moved[0]) == pytest.approx(first, abs=1e-6)
    assert moved[1:].abs().max() == 0


def test_rules_by_hand() -> None:
    arrived = updates(*ROWS)
    middle = torch.tensor([1.0, 1.0, 0.0, 1.0]).double()
    torch.testing.assert_close(change(Median(), arrived), middle, **CLOSE)
    torch.testing.assert_close(change(TrimmedMean(0.34), arrived), middle, **CLOSE)
    mean = torch.tensor(ROWS).double().mean(0)
    torch.testing.assert_close(change(TrimmedMean(0.0), arrived), mean, **CLOSE)
    torch.testing.assert_close(change(NormClip(1e9), arrived), mean, **CLOSE)
    norms = torch.tensor(ROWS).double().norm(dim=1, keepdim=True)
    unit = (torch.tensor(ROWS).double() / norms).mean(0)
    torch.testing.assert_close(change(NormClip(1.0), arrived), unit, **CLOSE)


def test_krum_takes_the_one_in_the_middle_of_the_crowd() -> None:
    crowd = [[x, 0.0, 0.0, 0.0] for x in (0.0, 0.1, 0.21, 0.35)]
    hostile = [[50.0, 0.0, 0.0, 0.0]]
    arrived = updates(*crowd, *hostile)
    # f = 1, K = 5: two nearest others; scores .0541, .0221, .0317, .0821 and huge
    assert float(change(Krum(1), arrived)[0]) == pytest.approx(0.1, abs=1e-6)
    assert float(change(MultiKrum(1), arrived)[0]) == pytest.approx(0.165, abs=1e-6)
    with pytest.raises(FedkitError, match="needs 5 updates"):
        change(Krum(1), arrived[:4])


def test_the_geometric_median_minimises_the_sum_of_distances() -> None:
    points = torch.randn(7, 4, generator=generator(0, "points")).double()
    found = change(GeometricMedian(iterations=200), updates(*points.tolist()))
    best = (points - found).norm(dim=1).sum()
    for shift in itertools.product((-0.01, 0.01), repeat=4):
        assert (points - found - torch.tensor(shift).double()).norm(dim=1).sum() > best


ROBUST = {
    "median": Median(),
    "trimmed_mean": TrimmedMean(0.3),
    "krum": Krum(3),
    "multi_krum": MultiKrum(3),
    "geometric_median": GeometricMedian(),
}


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("seed", range(3))
def test_three_hostile_of_ten_decide_nothing(name: str, seed: int) -> None:
    honest = torch.randn(7, 4, generator=generator(seed, "honest")) * 0.1 + 1
    arrived = updates(*honest.tolist(), *[[-100.0] * 4] * 3)
    assert (change(ROBUST[name], arrived) - 1).abs().max() < 0.5
    assert change(FedAvg(), arrived).max() < -10  # the mean follows them


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([*STRATEGIES]),
    st.lists(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4), min_size=5, max_size=8),
)
def test_no_rule_changes_what_it_is_given_and_order_hardly_matters(name: str, rows: list) -> None:
    strategy = make_strategy(config(strategy={"name": name}))
    arrived = updates(*rows)
    before = [u.state["w"].clone() for u in arrived]
    one = change(strategy, arrived)
    assert all(torch.equal(u.state["w"], w) for u, w in zip(arrived, before, strict=True))
    assert torch.equal(one, change(strategy, arrived))
    if name not in ("krum", "multi_krum"):  # ties go to whoever comes first
        torch.testing.assert_close(one, change(strategy, arrived[::-1]), rtol=0, atol=1e-4)


def config(**more: object) -> FLConfig:
    return FLConfig.from_dict(
        {
            "project_name": "T",
            "aggregator": "a@example.org",
            "participants": ["b@example.org"],
            "rounds": 1,
            "epoch": 1,
            "learning_rate": 0.1,
            "model_arch": "model.py",
            "model_weight": "w.pt",
        }
        | more
    )


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"name": "fedproxx"}, "strategy.name", "did you mean 'fedprox'"),
        ({"name": "nonsense"}, "strategy.name", "fedavg, fedprox"),
        ({}, "strategy.name", "None is no strategy"),
        ({"name": "fedprox", "nu": 1}, "strategy.nu", "it has mu"),
        ({"name": "scafold"}, "strategy.name", "did you mean 'scaffold'"),
        ({"name": "scaffold", "population": 3}, "strategy.population", "it has server_lr"),
        ({"name": "scaffold", "server_lr": -1}, "strategy.server_lr", "from 0"),
        ({"name": "fednova", "tau": 3}, "strategy.tau", "it has none"),
        ({"name": "fedprox", "mu": -1}, "strategy.mu", "correct the parameter"),
        ({"name": "fedprox", "mu": float("nan")}, "strategy.mu", "not a number"),
        ({"name": "trimmed_mean", "beta": 0.5}, "strategy.beta", "below 0.5"),
        ({"name": "krum", "hostile": 1.5}, "strategy.hostile", "whole number"),
        ({"name": "fedavgm", "momentum": True}, "strategy.momentum", "not a number"),
    ],
)
def test_a_wrong_strategy_is_answered(spec: dict, field: str, words: str) -> None:
    with pytest.raises(FedkitError) as caught:
        make_strategy(config(strategy=spec))
    assert caught.value.field == field
    assert words in str(caught.value)


def test_the_proximal_term_is_squared() -> None:
    """One full-batch step from w_global + s: its gradient is that of the loss, plus mu s."""
    shard = (torch.rand(8, 1, 28, 28, generator=generator(0, "x")), torch.arange(8))
    start = seed_weights(SAMPLE_MODEL)
    options = {"learning_rate": 0.1, "batch_size": 8}

    def trained(epochs: int, mu: float) -> dict[str, torch.Tensor]:
        model = load_model(SAMPLE_MODEL)
        return train(
            model, start, shard, epochs=epochs, mu=mu, generator=generator(0, "g"), **options
        )[0]

    one = trained(1, 0.0)
    assert all(torch.equal(value, trained(1, 5.0)[name]) for name, value in one.items())
    two, pulled = trained(2, 0.0), trained(2, 0.5)
    for name, value in two.items():
        expected = value - 0.1 * 0.5 * (one[name] - start[name])
        torch.testing.assert_close(pulled[name], expected, rtol=0, atol=1e-6)
