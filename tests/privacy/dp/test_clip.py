"""Clipping and noisy means by property: no norm rises, no row moves the sum by more than the clip."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkit.privacy.dp.clip import clip_rows, next_clip, noisy_mean, share_of_noise, split_noise
from fedkit.privacy.dp.noise import SeededNoise
from tests.support.privacy import Every


@given(
    rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=4),
    clip=st.floats(1e-6, 1e6),
)
@settings(max_examples=60)
def test_clipping_never_raises_a_norm(rows: list[list[float]], clip: float) -> None:
    changes = torch.tensor(rows, dtype=torch.float64)
    after = clip_rows(changes, clip)
    norms, before = after.norm(dim=1), changes.norm(dim=1)
    assert bool((norms <= before * (1 + 1e-12)).all())
    assert bool((norms <= clip * (1 + 1e-12)).all())
    short = before < clip * (1 - 1e-12)
    assert torch.equal(after[short], changes[short])


def test_one_row_moves_the_sum_by_at_most_the_clip() -> None:
    """The sensitivity that the noise is made for, with or without that participant."""
    changes = 10 * torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).double()
    for k in range(5):
        others = changes[[i for i in range(5) if i != k]]
        moved = noisy_mean(changes, 0.3, 1.0, 1, Every()) - noisy_mean(others, 0.3, 1.0, 1, Every())
        assert float(moved.norm()) == pytest.approx(0.3)


def test_noisy_mean_is_the_mean_and_noise_of_its_size() -> None:
    small_changes = torch.full((4, 10_000), 0.001, dtype=torch.float64)
    got = noisy_mean(small_changes, 0.5, 2.0, 8, SeededNoise(0))
    assert float(got.mean()) == pytest.approx(0.0005, abs=0.005)
    assert float(got.std()) == pytest.approx(2.0 * 0.5 / 8, rel=0.03)


def test_shares_of_noise_add_up_to_the_whole() -> None:
    """Variances add: K shares have the deviation of one noise, sigma C."""
    before = {"w": torch.zeros(20_000), "seen": torch.tensor(3)}
    trained = {"w": torch.full((20_000,), 7.0), "seen": torch.tensor(9)}
    total = torch.zeros(20_000, dtype=torch.float64)
    for k in range(4):
        sent = share_of_noise(before, trained, 0.1, 5.0, 4, SeededNoise(0, k))
        assert torch.equal(sent["seen"], before["seen"])
        total += sent["w"].double()
    assert float(total.std()) == pytest.approx(0.5, rel=0.03)
    assert float(total.mean() * math.sqrt(20_000)) == pytest.approx(0.4, abs=4 * 0.5)


def test_adaptive_clipping_divides_the_budget_and_finds_the_quantile() -> None:
    """Theorem 1: both noises together are worth the one. Without noise on the count, C goes to the quantile."""
    z, b = 0.8, 1.5
    assert split_noise(z, b) ** -2 + (2 * b) ** -2 == pytest.approx(z**-2)
    norms, clip = torch.linspace(0.1, 2.0, 101), 10.0
    for _ in range(200):
        clip = next_clip(clip, float((norms <= clip).sum()), 101, 0.5, 0.2)
    assert clip == pytest.approx(1.05, rel=0.05)
