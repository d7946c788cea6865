"""Results of attacks: their interval is DeLong's."""

from __future__ import annotations

import math

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
