"""Dozens of images unmixed from one layer, and what ends it. Five seeds each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedkit import privacy
from tests.support.attacks import SEEDS, draw, first_layer_of, own_images


@pytest.mark.parametrize(("seed", "epochs"), [*[(seed, 1) for seed in SEEDS], (0, 10)])
def test_most_of_a_hundred_images_from_whole_epochs(seed: int, epochs: int) -> None:
    """One full local epoch, two batches, or ten: at least half of the images at 60 dB, and nothing that is no image."""
    images, labels = draw(100, seed)
    rebuilt = privacy.unmix(
        *first_layer_of((images, labels), seed, epochs), own_images(600), steps=250
    )
    errors = torch.cdist(rebuilt, images.flatten(1).double()).square() / 784
    nearest = errors.min(1)
    exact = nearest.values < 1e-6  # 60 dB
    assert len(set(nearest.indices[exact].tolist())) >= 45
    assert bool((nearest.values < 1e-3).all())  # 30 dB: whatever it gives is a training image


@pytest.mark.parametrize("seed", SEEDS)
def test_eight_images_by_rows_and_by_unmixing(seed: int) -> None:
    """A row is exact where its unit answers to one image alone; unmixing works after any number of epochs."""
    images, labels = draw(8, seed)

    def exact(found: Tensor) -> int:
        errors = torch.cdist(found, images.flatten(1).double()).square() / 784
        return int((errors.amin(0) < 1e-6).sum())

    assert exact(privacy.invert_rows(*first_layer_of((images, labels), seed))) >= 1
    rebuilt = privacy.unmix(*first_layer_of((images, labels), seed, 20), own_images(500), steps=250)
    assert len(rebuilt) <= 8
    assert exact(rebuilt) >= 6


def test_more_images_than_hidden_units_can_not_be_unmixed() -> None:
    assert len(privacy.unmix(*first_layer_of(draw(256, 0), 0), own_images(20), steps=50)) == 0


def test_noise_ends_the_unmixing() -> None:
    weight, bias = first_layer_of(draw(60, 0), 0)
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    noisy = weight + 0.03 * weight.norm() * noise / noise.norm()
    assert len(privacy.unmix(noisy, bias, own_images(50), steps=100, tolerance=0.02)) == 0
