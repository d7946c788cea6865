"""A malicious seed model bins the images, and a person at the desk notices."""

from __future__ import annotations

import pytest
import torch

import fedkit as fk
from fedkit import privacy
from tests.support.attacks import SEEDS, change, draw, own_images
from tests.support.helpers import ALICE
from tests.support.run_lesson import seeds


@pytest.mark.parametrize("size", [64, 600])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_crafted_seed_model_bins_the_images(seed: int, size: int) -> None:
    """One local epoch on 64 or on 600 images: a dozen and more come out exactly, none by the honest seed's rows."""
    images, labels = draw(size, seed)
    model, honest = fk.load_model(fk.SAMPLE_MODEL), fk.seed_weights(fk.SAMPLE_MODEL, seed)
    exact = {}
    for name, before in (
        ("honest", honest),
        ("crafted", privacy.crafted_weights(honest, own_images(1000), seed)),
    ):
        after, _ = fk.train(
            model,
            before,
            (images, labels),
            epochs=1,
            learning_rate=0.1,
            batch_size=64,
            generator=fk.generator(seed, ALICE, 1),
        )
        weight, bias = privacy.first_layer(change(before, after))
        found = (
            privacy.read_bins(weight, bias)
            if name == "crafted"
            else privacy.invert_rows(weight, bias)
        )
        errors = torch.cdist(found, images.flatten(1).double()).square() / 784
        exact[name] = int((errors.min(0).values < 1e-6).sum())
        if name == "crafted":
            assert bool((errors.min(1).values < 1e-5).all())  # what it gives is somebody's image
    assert exact["crafted"] >= 20
    assert exact["honest"] <= 5


@pytest.mark.parametrize("seed", seeds(*SEEDS))
def test_a_bin_with_two_images_gives_none(seed: int) -> None:
    """Their blend goes from 0 to 1 as an image does; but an image's pixels are whole numbers of 255ths."""
    one, two = (image.flatten().double() for image in draw(2, seed)[0])
    active = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    blend = (torch.tensor([[0.3, 0.7]]) * active)[:1].T * torch.stack([one, two])
    weight = torch.stack([blend.sum(0), torch.zeros(784, dtype=torch.float64)])
    bias = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert len(privacy.read_bins(weight, bias, levels=None)) == 1
    assert len(privacy.read_bins(weight, bias)) == 0
    weight[0] = one
    torch.testing.assert_close(privacy.read_bins(weight, bias)[0], one)


def test_bins_by_hand() -> None:
    """Three units above rising thresholds; one image in each of the two upper bins, none in the lowest."""
    images = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    active = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])  # unit by image
    found = privacy.read_bins(active @ images, active.sum(1), levels=10)
    torch.testing.assert_close(found, images.double())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_person_at_the_desk_notices(seed: int) -> None:
    honest = fk.seed_weights(fk.SAMPLE_MODEL, seed)
    fine = privacy.check_seed(honest, fk.SAMPLE_MODEL, seed)
    assert fine.same_as_seed
    assert not fine.suspicious
    other = privacy.check_seed(fk.seed_weights(fk.SAMPLE_MODEL, seed + 100), fk.SAMPLE_MODEL, seed)
    assert not other.same_as_seed
    assert not other.suspicious
    crafted = privacy.crafted_weights(honest, own_images(500), seed)
    caught = privacy.check_seed(crafted, fk.SAMPLE_MODEL, seed)
    assert caught.suspicious
    assert caught.sorted_biases
    assert caught.alike > 0.99
