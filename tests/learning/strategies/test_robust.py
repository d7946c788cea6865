"""Robust rules by hand, and hostile updates that decide nothing."""

import itertools

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.learning.strategies.fedavg import FedAvg
from fedkit.learning.strategies.robust import (
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    NormClip,
    TrimmedMean,
)
from tests.support.strategies import change, updates

ROWS = ([1.0, 0.0, 0.0, 2.0], [3.0, 1.0, -1.0, 0.0], [-1.0, 2.0, 4.0, 1.0])
CLOSE = {"rtol": 0, "atol": 2e-6}


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
