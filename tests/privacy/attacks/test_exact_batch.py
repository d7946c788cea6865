"""Small batches, exactly: eight images by rows of the first layer, by algebra alone. And none that can't be proved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import ALICE, SEEDS, as_evidence, draw, on_file
from tests.support.helpers import small
from tests.support.run_lesson import seeds


def nearest(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Of each rebuilt image the PSNR against the original that it is closest to, float64 [n]."""
    errors = torch.cdist(rebuilt, images.flatten(1).double()).square().div(784)
    return -10 * errors.amin(1).clamp_min(1e-20).log10()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_of_eight_exactly(seed: int) -> None:
    """From the saved files of one step: all eight, at least 60 dB (a trial: more than 130)."""
    shard = draw(8, seed)
    rebuilt = privacy.exact_batch(as_evidence(shard, seed), generator=fk.generator(seed))
    assert len(rebuilt) == 8
    assert privacy.score(rebuilt, shard[0]).psnr.min() > 80


@pytest.mark.parametrize("seed", seeds(1, 4))
def test_what_it_gives_is_right_whatever_the_batch(seed: int) -> None:
    """All of up to ten images; of more, some or none, and never one that nobody has (a trial of ten seeds: 0 of 823)."""
    for size in (1, 2, 5, 10, 12, 14, 15, 16):
        shard = draw(size, seed)
        rebuilt = privacy.exact_batch(as_evidence(shard, seed), generator=fk.generator(seed))
        assert bool((nearest(rebuilt, shard[0]) > 55).all())
        assert len(rebuilt) == size or size > 10


@pytest.mark.parametrize("epochs", [5, 20])
@pytest.mark.parametrize("seed", SEEDS)
def test_four_images_from_up_to_twenty_epochs(seed: int, epochs: int) -> None:
    shard = draw(4, seed)
    rebuilt = privacy.exact_batch(as_evidence(shard, seed, epochs), generator=fk.generator(seed))
    assert len(rebuilt) == 4
    assert privacy.score(rebuilt, shard[0]).psnr.min() > 70


@pytest.mark.parametrize("seed", seeds(0))
def test_after_more_steps_it_is_all_or_nothing(seed: int) -> None:
    for size in (8, 14, 16):
        shard = draw(size, seed)
        rebuilt = privacy.exact_batch(as_evidence(shard, seed, 3), generator=fk.generator(seed))
        assert len(rebuilt) in (0, size)
        assert bool((nearest(rebuilt, shard[0]) > 55).all())


def test_a_batch_without_zeros_is_not_rebuilt() -> None:
    """With its units never off, a layer's rows say only where the images lie."""
    images, labels = draw(4, 0)
    model = fk.load_model(fk.SAMPLE_MODEL)
    before = fk.seed_weights(fk.SAMPLE_MODEL, 0)
    before["fc1.bias"] += 50
    how = {"epochs": 1, "learning_rate": 0.1, "batch_size": 64, "generator": fk.generator(0)}
    after, _ = fk.train(model, before, (images, labels), **how)  # type: ignore[arg-type]
    source = fk.SAMPLE_MODEL.encode()
    files = on_file(before), on_file(after)
    seen = privacy.Evidence(ALICE, 1, small(batch_size=64), source, *files, 0.1, 1, 4)
    assert privacy.exact_batch(seen, generator=fk.generator(0)).shape == (0, 784)
