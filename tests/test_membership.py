"""Was this image in the training data? The row-space test and the loss, over five seeds each."""

from __future__ import annotations

import pytest
import torch
from attacks import SEEDS, auc, change, draw, update_of

from fedkit import privacy


# -------------------------------------------------------------------------------- row-space test
def test_row_space_by_hand() -> None:
    """Two images span a plane: what lies in it has residual 0, what stands on it 1, between them the sine."""
    images = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    weight = torch.tensor([[2.0, 1.0], [1.0, -1.0], [0.5, 3.0], [1.0, 1.0]]) @ images
    asked = torch.tensor([[3.0, -2.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    expected = torch.tensor([0.0, 1.0, 0.5**0.5], dtype=torch.float64)
    torch.testing.assert_close(privacy.row_space_residual(weight, asked), expected)
    assert privacy.row_space(weight).shape == (2, 3)


def row_space_auc(count: int, seed: int, epochs: int) -> float:
    members, others = draw(count, seed), draw(1000, seed, start=count)
    weight, _ = privacy.first_layer(change(*update_of(members, seed, epochs)))
    residuals = [privacy.row_space_residual(weight, images) for images, _ in (members, others)]
    return auc(-residuals[0], -residuals[1])


@pytest.mark.parametrize("epochs", [1, 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_row_space_names_the_members_of_small_shards(seed: int, epochs: int) -> None:
    """100 images, 128 hidden units: every member lies in the row space, nobody else does."""
    assert row_space_auc(100, seed, epochs) == 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_more_images_than_hidden_units_fill_the_row_space(seed: int) -> None:
    """256 images: all 128 dimensions are taken, and still members lie nearer. 2,000: little is left."""
    assert row_space_auc(256, seed, 1) > 0.9
    assert row_space_auc(2000, seed, 1) < 0.65


@pytest.mark.parametrize("seed", SEEDS)
def test_it_takes_noise_as_large_as_the_change_to_end_the_row_space(seed: int) -> None:
    """Gaussian noise on the change, in multiples of its norm: 0.03 hides nothing, 1 much, 10 nearly all."""
    members, others = draw(100, seed), draw(1000, seed, start=100)
    weight, _ = privacy.first_layer(change(*update_of(members, seed)))
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))

    def told_apart(strength: float) -> float:
        noisy = weight + strength * weight.norm() * noise / noise.norm()
        residuals = [privacy.row_space_residual(noisy, images) for images, _ in (members, others)]
        return auc(-residuals[0], -residuals[1])

    assert told_apart(0.03) > 0.99
    assert 0.55 < told_apart(1) < 0.8
    assert told_apart(10) < 0.65
