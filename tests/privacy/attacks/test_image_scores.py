"""Scores of rebuilt images, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import draw


def ssim_by_loops(x: Tensor, y: Tensor) -> float:
    """Wang et al. 2004, window by window, with numpy's weighted averages."""
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line)
    values = []
    for top in range(18):
        for left in range(18):
            a, b = (
                v.reshape(28, 28)[top : top + 11, left : left + 11].double().numpy() for v in (x, y)
            )
            m, n = np.average(a, weights=weights), np.average(b, weights=weights)
            var_a = np.average((a - m) ** 2, weights=weights)
            var_b = np.average((b - n) ** 2, weights=weights)
            cov = np.average((a - m) * (b - n), weights=weights)
            values.append(
                ((2 * m * n + 1e-4) * (2 * cov + 9e-4))
                / ((m**2 + n**2 + 1e-4) * (var_a + var_b + 9e-4))
            )
    return float(np.mean(values))


def test_ssim_against_its_definition() -> None:
    images, _ = draw(4, 0)
    noisy = images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    for original, rebuilt in zip(images, noisy, strict=True):
        expected = ssim_by_loops(rebuilt, original)
        assert privacy.ssim(rebuilt[None], original[None]).item() == pytest.approx(expected)
    assert privacy.ssim(images[:2], images[2:]).max() < 0.6
    torch.testing.assert_close(privacy.ssim(images, images), torch.ones(4, dtype=torch.float64))


def test_psnr_in_decibels() -> None:
    images, _ = draw(2, 0)
    off = torch.tensor([0.1, 0.001])[:, None, None, None]
    torch.testing.assert_close(
        privacy.psnr(images + off, images), torch.tensor([20.0, 60.0]).double(), rtol=0, atol=1e-3
    )
    assert privacy.mse(images + off, images)[0].item() == pytest.approx(0.01, rel=1e-4)
    assert privacy.psnr(images, images).tolist() == [200, 200]


def test_a_batch_is_paired_in_the_best_way() -> None:
    images, _ = draw(8, 1)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    got = privacy.score(images[order] * 0.98, images)
    assert order[got.order].tolist() == list(range(8))
    assert (got.psnr > 30).all()
    assert math.isclose(got.mse[0].item(), (0.02 * images[0]).square().mean().item(), rel_tol=1e-5)
    with pytest.raises(fk.FedkitError, match="are 7, the originals 8"):
        privacy.score(images[:7], images)
