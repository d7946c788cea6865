"""One model, three ways: between datasites, in memory one by one, and in memory as it comes. All mean the same.

One by one gives the datasites' bits. As it comes gives them too where participants can't be trained at once, and agrees
but for rounding where they can.
"""

from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.learning.models import load_model, state_of
from fedkit.learning.stackable import stackable
from fedkit.learning.stacked import NotStackable
from fedkit.privacy.dp.noise import SeededNoise
from fedkit.privacy.dp.training import dp_sgd
from tests.support.digits import seeded
from tests.support.helpers import ALICE, BOB, held_out, shard, small
from tests.support.kinds import KINDS, Kind

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*weight_norm.*")
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
ROUNDING = 1e-5
"""float32, after two rounds of a few steps with a large rate."""


def mixed(digits: list[int], count: int) -> fk.Shard:
    """So many digits that are not sorted by label, and whose order matters."""
    images, labels = shard(digits, count)
    order = torch.randperm(len(labels), generator=seeded(len(labels)))[:count]
    assert not bool((labels[order].diff() >= 0).all())
    return images[order], labels[order]


SHARDS = {ALICE: mixed([3, 0, 1], 9), BOB: mixed([9, 2, 1], 6)}


@each_kind
def test_a_simulation_means_what_the_datasites_do(kind: Kind, tmp_path: Path) -> None:
    config = small(rounds=2, batch_size=4, epoch=1, learning_rate=0.2)
    net = fk.Network.create(
        tmp_path, aggregator=config.aggregator, participants=config.participants
    )
    for email, own in SHARDS.items():
        net.give_data(email, own)
    net.give_test(*held_out())
    net.launch(config, kind.source)
    disk = net.run(approve=fk.approve_all)
    assert disk.done
    states: dict[bool, fk.StateDict] = {}
    history = {
        exact: fk.simulate(
            config,
            SHARDS,
            held_out(),
            model=kind.source,
            exact=exact,
            on_round=lambda _, state, exact=exact: states.__setitem__(exact, state),  # type: ignore[misc]
        )
        for exact in (True, False)
    }
    assert history[True].rounds == disk.rounds  # every update's SHA-256 among them
    for name, value in states[True].items():
        if kind.stacked:
            torch.testing.assert_close(states[False][name], value, rtol=0, atol=ROUNDING)
        else:
            assert torch.equal(states[False][name], value), name
    one, other = ([record.loss for record in history[exact]] for exact in (True, False))
    assert one == pytest.approx(other, abs=ROUNDING)


@each_kind
def test_what_is_trained_at_once_is_what_means_the_same(kind: Kind) -> None:
    model = load_model(kind.source)
    before = {name: id(value) for name, value in vars(model).items()}
    refused = None
    try:
        stackable(model, state_of(model), held_out())
    except NotStackable as error:
        refused = str(error)
    assert (refused is None) == kind.stacked, refused
    assert {name: id(value) for name, value in vars(model).items()} == before


class Nobody(SeededNoise):
    """No image is drawn into any step."""

    def uniform(self, count: int) -> torch.Tensor:
        return torch.ones(count)


@each_kind
def test_a_step_into_which_no_image_is_drawn_is_its_noise(kind: Kind) -> None:
    model = load_model(kind.source)
    start, data = state_of(model), SHARDS[ALICE]
    trained = [name for name, p in model.named_parameters() if p.requires_grad]

    def train(sigma: float) -> fk.StateDict:
        own = {"noise": SeededNoise(1), "sample": Nobody(2), "noise_multiplier": sigma}
        rest = {"epochs": 1, "steps": 2, "learning_rate": 0.1, "clip": 0.5}
        return dp_sgd(load_model(kind.source), start, data, **own, **rest)[0]  # type: ignore[arg-type]

    if kind.mixes:
        with pytest.raises(FedkitError, match="single image"):
            train(1.0)
        return
    noisy, plain = train(1.0), train(0.0)
    for name, value in plain.items():
        assert torch.equal(value, start[name]), name
    moved = torch.cat([(noisy[name] - start[name]).flatten() for name in trained])
    expected = 2**0.5 * 0.1 * 0.5 / (0.5 * len(data[1]))  # two steps of eta sigma C / (q N)
    assert float(moved.std()) == pytest.approx(expected, rel=0.2)
