"""Where noise comes from: the system's is Gaussian and uniform, and never the same."""

from __future__ import annotations

import pytest
import torch

from fedkit.privacy.dp.noise import SystemNoise


def test_system_noise_is_gaussian_and_uniform_and_never_the_same() -> None:
    noise = SystemNoise()
    drawn = noise.normal((20_000,), 2.0)
    assert float(drawn.std()) == pytest.approx(2.0, rel=0.03)
    assert float((drawn.abs() < 2).double().mean()) == pytest.approx(0.6827, abs=0.015)
    assert float(noise.uniform(20_000).mean()) == pytest.approx(0.5, abs=0.015)
    assert noise.uniform(0).shape == (0,)
    assert not torch.equal(noise.normal((4,), 1.0), noise.normal((4,), 1.0))
