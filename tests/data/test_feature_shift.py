"""Looks that differ, and how much datasites differ: a share of images, from 0 for alike."""

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.data.feature_shift import heterogeneity, label_counts, shift_features
from fedkit.data.label_skew import split_dirichlet, split_groups
from fedkit.data.mnist import load_mnist
from fedkit.data.partition import take
from fedkit.data.shards import as_float
from tests.support.helpers import complaint

LABELS = torch.arange(10).repeat_interleave(60)[torch.randperm(600, generator=generator(0, "l"))]


def test_heterogeneity_is_the_share_of_images_that_would_change_hands() -> None:
    def holding(*counts: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        labels = [torch.arange(len(c)).repeat_interleave(torch.tensor(c)) for c in counts]
        return [(torch.zeros(len(part), 1, 28, 28), part) for part in labels]

    # mixtures 3:1 and 1:3 of equal sizes: one of four each must be swapped
    assert heterogeneity(holding([3, 1], [1, 3])) == pytest.approx(0.25)
    # 8 against 4 images: everybody's mixture is 2:1, which the first has too little of by 2 in 8
    assert heterogeneity(holding([4, 4], [4, 0])) == pytest.approx((8 * 1 / 6 + 4 * 1 / 3) / 12)
    assert heterogeneity(holding([3, 1], [0, 0], [1, 3])) == pytest.approx(0.25)
    with pytest.raises(FedkitError, match="hold no images"):
        heterogeneity(holding([0, 0]))


def shards_of(parts: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.zeros(len(part), 1, 28, 28), LABELS[part]) for part in parts]


def test_heterogeneity_orders_partitions_and_has_its_limits() -> None:
    def measured(alpha: float) -> float:
        parts = split_dirichlet(LABELS, 6, alpha, generator=generator(1, "h"))
        return heterogeneity(shards_of(parts))

    assert measured(0.1) > measured(1.0) > measured(100.0)
    assert heterogeneity(shards_of(split_groups(LABELS))) == pytest.approx(0.9)
    assert heterogeneity(shards_of([torch.arange(600)] * 3)) == 0
    counts = label_counts(shards_of(split_groups(LABELS)))
    assert torch.equal(counts, 60 * torch.eye(10).long())


@pytest.mark.parametrize("kind", ["rotation", "contrast", "noise"])
def test_a_shift_grows_from_participant_to_participant_and_keeps_labels(kind: str) -> None:
    digits = load_mnist()
    pair = take(digits.train_images, digits.train_labels, [torch.arange(0, 40)] * 3)
    shifted = shift_features(pair, kind, generator=generator(3))
    moved = [
        float((new - old).abs().mean()) for (new, _), (old, _) in zip(shifted, pair, strict=True)
    ]
    assert moved[0] == 0
    assert 0 < moved[1] < moved[2]
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x, _ in shifted)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(shifted, pair, strict=True))
    assert as_float(digits.train_images[:1]).shape == (1, 1, 28, 28)


def test_yes_or_no_are_two_classes_and_measured_numbers_are_none() -> None:
    samples = torch.zeros(4, 3)
    yes = (samples, torch.tensor([0.0, 1.0, 1.0, 1.0]))
    assert label_counts([yes], classes=2).tolist() == [[1, 3]]
    assert heterogeneity([yes, yes], classes=2) == 0
    for labels, says in (
        (torch.tensor([0.5, 1.0, 0.0, 0.0]), "no classes"),
        (torch.zeros(4, 2), "no classes"),
        (torch.tensor([0, 1, 2, 12]), "from 0 to 12, not 0 to 9"),
    ):
        assert says in complaint(lambda given=labels: label_counts([(samples, given)])).what


@pytest.mark.parametrize("kind", ["rotation", "contrast", "noise"])
def test_only_images_can_look_different(kind: str) -> None:
    table = [(torch.zeros(4, 30), torch.zeros(4))]
    error = complaint(lambda: shift_features(table, kind, generator=torch.Generator()))
    assert "no images" in error.what
    colours = [(torch.rand(4, 3, 8, 8), torch.zeros(4)) for _ in range(2)]
    shifted = shift_features(colours, kind, generator=torch.Generator())
    assert [images.shape for images, _ in shifted] == [(4, 3, 8, 8)] * 2
