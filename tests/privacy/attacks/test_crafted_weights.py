"""A malicious seed model bins the images, and a person at the desk notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit import privacy
from fedkit.base.events import Event
from fedkit.base.files import write_state
from fedkit.datasite.datasite import Datasite
from tests.support.attacks import SEEDS, change, draw, own_images, update_of
from tests.support.helpers import ALICE, PROJECT, launched
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
    assert caught.alike == 1


@pytest.mark.parametrize("seed", seeds(0, 1))
def test_no_honest_model_is_suspicious_in_any_round(seed: int) -> None:
    """Few images and many epochs, large steps, one label alone: rows come nearer to each other, and never to 0.9."""
    images, labels = draw(100, seed)
    few = labels == labels[0]
    for shard, epochs, rate in (
        ((images[:20], labels[:20]), 100, 0.1),
        ((images, labels), 40, 0.5),
        ((images[few], labels[few]), 40, 0.3),
    ):
        for state in update_of(shard, seed, epochs, 16, rate):
            found = privacy.check_seed(state, fk.SAMPLE_MODEL, seed)
            assert not found.suspicious
            assert found.alike == 0


@pytest.mark.parametrize("round_number", [1, 2, 3])
def test_a_trap_is_found_in_whatever_round_it_comes(round_number: int, tmp_path: Path) -> None:
    """In the client's own files: suspicious from the round in which the trap came, since training does not undo it."""
    net = launched(tmp_path, fk.SAMPLE_MODEL, participants=[ALICE], rounds=3, seed=7)
    net.give_data(ALICE, draw(60, 0))
    trap = privacy.crafted_weights(fk.seed_weights(fk.SAMPLE_MODEL, 7), own_images(500))
    set_in: list[int] = []

    def act(site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        path = site.client().project(PROJECT).global_model(round_number - 1)
        if path.is_file() and not set_in:
            set_in.append(round_number)
            write_state(path, trap)
        return go()

    net.run(approve=fk.approve_all, actor=act)
    place = net[ALICE].client().project(PROJECT, "done")
    looks = [
        privacy.check_seed(fk.read_state(place.global_model(n)), fk.SAMPLE_MODEL, 7)
        for n in range(3)
    ]
    assert [look.suspicious for look in looks] == [n + 1 >= round_number for n in range(3)]


def hidden(seed: int) -> fk.StateDict:
    """Bins in a third of the units, in no order, some rows and biases turned and stretched; the others are honest."""
    honest = fk.seed_weights(fk.SAMPLE_MODEL, seed)
    crafted = privacy.crafted_weights(honest, own_images(500), seed)
    random = torch.Generator().manual_seed(seed)
    where = torch.randperm(128, generator=random)[:43]
    factor = torch.rand(43, generator=random) + 0.5
    honest["fc1.weight"][where] = factor[:, None] * crafted["fc1.weight"][:43]
    honest["fc1.bias"][where] = factor * crafted["fc1.bias"][:43]
    return honest


@pytest.mark.parametrize("seed", SEEDS)
def test_a_trap_in_some_of_the_units_is_found(seed: int) -> None:
    found = privacy.check_seed(hidden(seed), fk.SAMPLE_MODEL, seed)
    assert found.suspicious
    assert found.alike == pytest.approx(43 / 128)


def test_biases_of_a_small_or_a_blank_model_are_in_order_by_chance() -> None:
    source = "from torch import nn\n\n\nclass FLModel(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.fc = nn.Linear(784, {})\n"
    few = fk.seed_weights(source.format(3), 0)
    few["fc.bias"] = torch.tensor([0.1, 0.2, 0.3])
    assert not privacy.check_seed(few, source.format(3), 0).suspicious
    blank = fk.seed_weights(source.format(64), 0)
    blank["fc.bias"] = torch.zeros(64)
    assert not privacy.check_seed(blank, source.format(64), 0).suspicious
