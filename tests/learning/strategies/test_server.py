"""Optimisers at the server, against the papers' formulas: momentum and adaptive steps."""

import math

import pytest

from fedkit.learning.strategies.server import FedAdagrad, FedAdam, FedAvgM, FedYogi
from fedkit.learning.update import Update
from tests.support.strategies import MODEL, change, updates


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
