"""Results of attacks: their interval is DeLong's, and an exact one near the ends."""

from __future__ import annotations

import math

import pytest
import torch

from fedkit.privacy.attacks.roc import attack_result


def test_an_attacks_interval_is_delongs() -> None:
    """Against the binormal case: the interval covers the true AUC about as often as it says."""
    draw, covered = torch.Generator().manual_seed(0), 0
    truth = 0.5 * (1 + math.erf(1 / 2))  # AUC of N(1, 1) against N(0, 1)
    for _ in range(200):
        inside, outside = torch.randn(60, generator=draw) + 1, torch.randn(40, generator=draw)
        found = attack_result("a", "b", inside, outside)
        assert found.low <= found.success <= found.high
        covered += found.low <= truth <= found.high
    assert 0.9 * 200 <= covered <= 199
    assert found.is_better_than_guessing


@pytest.mark.parametrize("count", [2, 20, 100])
def test_an_interval_never_collapses(count: int) -> None:
    """All of n pairs in order: Clopper and Pearson's lower end is (2.5 %)^(1/n), and never 1."""
    high, low = torch.ones(count), torch.zeros(10 * count)
    told, mixed = attack_result("a", "b", high, low), attack_result("a", "b", low, high)
    assert (told.success, told.high) == (1.0, 1.0)
    assert told.low == pytest.approx(0.025 ** (1 / count))
    assert (mixed.success, mixed.low) == (0.0, 0.0)
    assert mixed.high == pytest.approx(1 - 0.025 ** (1 / count))


def test_an_interval_near_one_covers_what_it_says() -> None:
    """AUC 0.993, where DeLong's interval is often a point."""
    draw, covered = torch.Generator().manual_seed(0), 0
    truth = 0.5 * (1 + math.erf(3.5 / 2))
    for _ in range(200):
        inside, outside = torch.randn(20, generator=draw) + 3.5, torch.randn(20, generator=draw)
        found = attack_result("a", "b", inside, outside)
        assert found.low < found.high
        covered += found.low <= truth <= found.high
    assert covered >= 190
