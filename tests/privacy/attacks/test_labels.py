"""Label counts from the last layer, and which digits somebody holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import SEEDS, as_evidence, draw, own_images, pool


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_first(seed: int) -> None:
    """One label by its sign; the labels of 8 and of 64 by counting: at least 95 % right (a trial: all)."""
    alone = draw(1, seed)
    seen = as_evidence(alone, seed)
    assert privacy.label_of(privacy.last_bias(seen.gradient)) == int(alone[1])
    for size in (8, 64):
        batches = [draw(size, seed, start=size * place) for place in range(5)]
        right = 0
        for shard in batches:
            read = privacy.labels_of_batch(as_evidence(shard, seed), own_images(500))
            counts, truth = (torch.bincount(x, minlength=10) for x in (read, shard[1]))
            right += int(torch.minimum(counts, truth).sum())
        assert right >= 0.95 * size * len(batches)


def test_count_labels_by_hand() -> None:
    """Four samples with uniform predictions: labels 0, 0, 0, 2 of four classes."""
    prediction = torch.full((4,), 0.25)
    gradient = prediction - torch.tensor([0.75, 0.0, 0.25, 0.0])
    assert privacy.count_labels(gradient, prediction, 4).tolist() == [3, 0, 1, 0]


def test_what_does_not_follow_is_no_label() -> None:
    """More than one negative entry is no single sample's, and after more steps the bias is no mean of p - y."""
    with pytest.raises(fk.FedkitError, match="has 2 negative entries"):
        privacy.label_of(torch.tensor([-0.5, 0.1, -0.2, 0.6]))
    shard = draw(8, 0)
    with pytest.raises(fk.FedkitError, match="has 3 steps"):
        privacy.labels_of_batch(as_evidence(shard, 0, 3), own_images(10))
    silent = replace(as_evidence(shard, 0), num_samples=None)
    with pytest.raises(fk.FedkitError, match="an unknown number of steps"):
        privacy.labels_of_batch(silent, own_images(10))


@pytest.mark.parametrize(("size", "epochs"), [(100, 10), (600, 1), (600, 10)])
@pytest.mark.parametrize("seed", SEEDS)
def test_which_digits_does_bob_hold(seed: int, epochs: int, size: int) -> None:
    """Four digits in unequal numbers: all are named, no other is, and three quarters of the counts are right."""
    images, labels = pool()
    generator = fk.generator(seed, "bob")
    held = torch.randperm(10, generator=generator)[:4]
    shares = torch.tensor([0.4, 0.3, 0.2, 0.1])
    chosen = [
        (labels == digit).nonzero()[:, 0][: int(size * share)]
        for digit, share in zip(held, shares, strict=True)
    ]
    shard = images[torch.cat(chosen)], labels[torch.cat(chosen)]
    mnist = fk.load_mnist(full=False)
    own = fk.as_float(mnist.test_images[::4]), mnist.test_labels[::4]
    counts = privacy.count_digits(as_evidence(shard, seed, epochs), own)
    truth = torch.bincount(shard[1], minlength=10)
    assert counts.sum() == len(shard[1])
    assert ((counts > 0.03 * size) == (truth > 0)).all()
    assert torch.minimum(counts, truth).sum() > 0.75 * size
