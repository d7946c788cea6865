"""Small batches, exactly: eight images by rows of the first layer, by algebra alone. Five seeds each."""

from __future__ import annotations

import pytest
import torch

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import SEEDS, draw, first_layer_of


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_of_eight_exactly(seed: int) -> None:
    """From the saved files of one step: all eight, at least 60 dB (a trial: more than 130)."""
    shard = draw(8, seed)
    rebuilt = privacy.exact_batch(*first_layer_of(shard, seed), generator=fk.generator(seed))
    assert len(rebuilt) == 8
    assert privacy.score(rebuilt, shard[0]).psnr.min() > 80


@pytest.mark.parametrize("epochs", [5, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_four_images_from_up_to_twenty_epochs(seed: int, epochs: int) -> None:
    shard = draw(4, seed)
    rebuilt = privacy.exact_batch(
        *first_layer_of(shard, seed, epochs), generator=fk.generator(seed)
    )
    assert len(rebuilt) == 4
    assert privacy.score(rebuilt, shard[0]).psnr.min() > 70


def test_an_exact_batch_by_hand() -> None:
    """Z and X are given; Z has a zero wherever one of two images leaves a unit off."""
    draw_from = torch.Generator().manual_seed(0)
    images = torch.rand(2, 12, generator=draw_from, dtype=torch.float64)
    done = torch.randn(20, 2, generator=draw_from, dtype=torch.float64)
    done[:7, 0] = 0
    done[7:14, 1] = 0
    rebuilt = privacy.exact_batch(done @ images, done.sum(1), generator=draw_from, guesses=500)
    order = rebuilt[:, 0].argsort()[images[:, 0].argsort().argsort()]
    torch.testing.assert_close(rebuilt[order], images)


def test_a_batch_without_zeros_is_not_rebuilt() -> None:
    draw_from = torch.Generator().manual_seed(0)
    images = torch.rand(3, 12, generator=draw_from, dtype=torch.float64)
    done = torch.randn(20, 3, generator=draw_from, dtype=torch.float64)
    rebuilt = privacy.exact_batch(done @ images, done.sum(1), generator=draw_from, guesses=500)
    assert rebuilt.shape == (0, 12)
