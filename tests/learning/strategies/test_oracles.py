"""Aggregation rules beside independent implementations: Flower's strategies, SciPy's minimiser, PyTorch's clipping.

Seven participants' updates of a small model in float64, several rounds one after the other, agree to 1e-10. Where Flower
departs from the paper, or from us, its test says so and takes that difference out, and nothing else.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.common import (
    Code,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server import strategy as flower
from scipy.optimize import minimize
from torch import Tensor, nn

import fedkit as fk
from fedkit.learning.strategies.base import Strategy
from fedkit.learning.strategies.fedavg import FedAvg
from fedkit.learning.strategies.robust import (
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    NormClip,
    TrimmedMean,
)
from fedkit.learning.strategies.server import FedAdagrad, FedAdam, FedAvgM, FedYogi
from fedkit.learning.update import Update

K, ROUNDS = 7, 4
SHAPES = {"a.weight": (3, 4), "a.bias": (4,), "b.weight": (2, 3, 2), "c": ()}
COUNTS = [10, 25, 40, 5, 33, 60, 12]
EQUAL = [10] * K


def draw(n: int, scale: float = 0.1) -> dict[str, Tensor]:
    noise = fk.generator(n, "oracles")
    return {
        name: scale * torch.randn(shape, generator=noise, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def arrived(model: dict[str, Tensor], n: int, counts: Sequence[int]) -> list[Update]:
    """The updates of round n: the model with a change each, of which one is far away."""
    updates = []
    for k, count in enumerate(counts):
        change = draw(100 * n + k, 3.0 if k == 4 else 0.1)
        state = {name: model[name] + change[name] for name in model}
        updates.append(Update(f"p{k}@example.org", n, state, count))
    return updates


def parameters(state: dict[str, Tensor]) -> Parameters:
    return ndarrays_to_parameters([value.numpy() for value in state.values()])


def results(updates: Sequence[Update]) -> list[Any]:
    fine = Status(Code.OK, "")
    return [
        (None, FitRes(fine, parameters(dict(u.state)), u.num_samples or 0, {})) for u in updates
    ]


def hold_together(
    ours: Strategy,
    theirs: Any,
    counts: Sequence[int] = COUNTS,
    before: Callable[[Strategy, int], Strategy] = lambda strategy, n: strategy,
) -> None:
    """Both get the same updates for some rounds, each round's from where the round before ended."""
    state = ours.init(draw(0, 1.0))
    for n in range(1, ROUNDS + 1):
        updates = arrived(dict(state.model), n, counts)
        state, _ = before(ours, n).apply(state, updates)
        answer, _ = theirs.aggregate_fit(n, results(updates), [])
        for value, other in zip(state.model.values(), parameters_to_ndarrays(answer), strict=True):
            np.testing.assert_allclose(value.numpy(), other, rtol=0, atol=1e-10)


START = parameters(draw(0, 1.0))


def test_fedavg_is_flowers() -> None:
    hold_together(FedAvg(), flower.FedAvg())
    hold_together(FedAvg("equal"), flower.FedAvg(), EQUAL)


@pytest.mark.parametrize(("eta", "beta"), [(1.0, 0.9), (0.5, 0.3), (0.7, 0.0)])
def test_fedavgm_is_flowers(eta: float, beta: float) -> None:
    options = {"server_learning_rate": eta, "server_momentum": beta, "initial_parameters": START}
    hold_together(FedAvgM(eta, beta), flower.FedAvgM(**options))


def from_tau(theirs: Any, tau: float) -> Any:
    """Flower starts v at 0; Reddi et al. 2021, algorithm 2, wants v >= tau^2, and so we start there."""
    theirs.v_t = [np.full(shape, tau**2) for shape in SHAPES.values()]
    return theirs


def test_fedadagrad_is_flowers_from_the_papers_start() -> None:
    theirs = flower.FedAdagrad(initial_parameters=START, eta=0.1, tau=0.01)
    hold_together(FedAdagrad(server_lr=0.1, tau=0.01), from_tau(theirs, 0.01))


def test_fedyogi_is_flowers_from_the_papers_start() -> None:
    options = {"eta": 0.2, "beta_1": 0.8, "beta_2": 0.9, "tau": 0.02}
    theirs = flower.FedYogi(initial_parameters=START, **options)
    hold_together(FedYogi(0.2, 0.8, 0.9, 0.02), from_tau(theirs, 0.02))


def test_fedadam_is_flowers_without_its_bias_correction() -> None:
    """Flower corrects the step for the bias of m and v as Kingma and Ba 2015 do, with exponents one round ahead; the paper
    (Reddi et al. 2021, algorithm 2) and we do not. Our step size takes that factor here."""
    options = {"eta": 0.1, "beta_1": 0.8, "beta_2": 0.95, "tau": 0.02}
    theirs = from_tau(flower.FedAdam(initial_parameters=START, **options), 0.02)

    def corrected(strategy: Strategy, n: int) -> Strategy:
        factor = math.sqrt(1 - 0.95 ** (n + 1)) / (1 - 0.8 ** (n + 1))
        return replace(strategy, server_lr=0.1 * factor)  # type: ignore[type-var]

    hold_together(FedAdam(0.1, 0.8, 0.95, 0.02), theirs, before=corrected)


def test_the_median_is_flowers() -> None:
    hold_together(Median(), flower.FedMedian())
    hold_together(Median(), flower.FedMedian(), COUNTS[:6])  # an even number: the middle two's mean


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.2, 0.3, 0.45])
def test_the_trimmed_mean_is_flowers(beta: float) -> None:
    hold_together(TrimmedMean(beta), flower.FedTrimmedAvg(beta=beta))


@pytest.mark.parametrize("hostile", [0, 1, 2])
def test_krum_is_flowers(hostile: int) -> None:
    hold_together(Krum(hostile), flower.Krum(num_malicious_clients=hostile))


@pytest.mark.parametrize(("hostile", "keep"), [(1, 3), (2, 5), (1, None)])
def test_multi_krum_is_flowers_with_equal_counts(hostile: int, keep: int | None) -> None:
    """Flower weighs the chosen by their sample counts; we do not, since a count is a claim."""
    options = {"num_malicious_clients": hostile, "num_clients_to_keep": keep or K - hostile}
    hold_together(MultiKrum(hostile, keep), flower.Krum(**options), EQUAL)


@pytest.mark.parametrize("weighting", ["equal", "samples"])
def test_the_geometric_median_is_scipys_minimum(weighting: str) -> None:
    model = draw(0, 1.0)
    updates = arrived(model, 1, COUNTS)
    points = np.stack([torch.cat([v.flatten() for v in u.state.values()]) for u in updates])
    share = np.array(COUNTS if weighting == "samples" else EQUAL) / sum(
        COUNTS if weighting == "samples" else EQUAL
    )

    def distances(v: np.ndarray) -> float:
        return float(share @ np.linalg.norm(points - v, axis=1))

    best = minimize(distances, points.mean(0), method="BFGS", options={"gtol": 1e-9})
    ours = GeometricMedian(iterations=500, weighting=weighting)
    state, said = ours.apply(ours.init(model), updates)
    found = torch.cat([value.flatten() for value in state.model.values()]).numpy()
    np.testing.assert_allclose(found, best.x, rtol=0, atol=1e-5)
    assert said["distance"] == pytest.approx(best.fun, abs=1e-8)


def test_norm_clipping_is_pytorchs() -> None:
    model = draw(0, 1.0)
    updates = arrived(model, 1, COUNTS)
    ours = NormClip(0.6)
    state, said = ours.apply(ours.init(model), updates)
    total, cut = {name: torch.zeros_like(value) for name, value in model.items()}, 0
    for update in updates:
        parts = [nn.Parameter(torch.zeros_like(value)) for value in model.values()]
        for part, (name, value) in zip(parts, model.items(), strict=True):
            part.grad = update.state[name] - value
        cut += int(nn.utils.clip_grad_norm_(parts, 0.6) > 0.6)
        for part, name in zip(parts, model, strict=True):
            total[name] += part.grad / K  # type: ignore[operator]
    assert 0 < cut < K
    assert said["clipped"] == cut
    for name, value in model.items():  # PyTorch divides by the norm + 1e-6
        torch.testing.assert_close(state.model[name] - value, total[name], rtol=0, atol=1e-5)
