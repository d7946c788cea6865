"""Hostile participants in memory are those of the faults, and nobody else's update is touched."""

from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.rounds.hostile import CHANGES, changed, flip_labels
from fedkit.teaching.control.control import Control
from fedkit.teaching.failures.faults import Fault
from tests.support.helpers import complaint

PEOPLE = fk.numbered_participants(3)


@pytest.fixture(scope="module")
def data() -> tuple[list[fk.Shard], fk.Shard]:
    digits = fk.load_mnist()
    shards = fk.iid(digits.train_images, digits.train_labels, 3, 40, generator=fk.generator(0, "s"))
    return shards, (fk.as_float(digits.test_images[::20]), digits.test_labels[::20])


CONFIG = fk.FLConfig(
    project_name="ROUNDS",
    aggregator="ana@example.org",
    participants=tuple(PEOPLE),
    rounds=2,
    epoch=1,
    learning_rate=0.1,
    model_arch="model.py",
    model_weight="global_model_weight.pt",
)


@pytest.mark.parametrize(("kind", "factor"), [("sign-flipped", 10.0), ("scaled", -3.0)])
def test_the_same_bits_as_the_fault_on_files(
    tmp_path: Path, data: tuple[list[fk.Shard], fk.Shard], kind: str, factor: float
) -> None:
    shards, test = data
    network = fk.Network.create(tmp_path, aggregator=CONFIG.aggregator, participants=PEOPLE)
    for email, shard in zip(PEOPLE, shards, strict=True):
        network.give_data(email, shard)
    network.give_test(*test)
    network.launch(CONFIG)
    control = Control.of(network, fk.approve_all)
    control.faults.set(PEOPLE[1], Fault(kind, factor=factor))
    control.run_all()
    on_disk = control.wait().history
    hook = fk.poisoned([PEOPLE[1]], kind, factor)
    in_memory = fk.simulate(CONFIG, shards, test, exact=True, on_the_way=hook)
    assert on_disk.rounds == in_memory.rounds  # every update's SHA-256 among them


def test_only_the_hostile_change_and_by_the_formula() -> None:
    before = {"w": torch.tensor([1.0, 2.0])}
    updates = [fk.Update(email, 1, {"w": torch.tensor([1.5, 1.0])}, 5) for email in PEOPLE]
    flipped = fk.poisoned(PEOPLE[:1])(before, updates)
    scaled = fk.poisoned(PEOPLE[1:], "scaled", -4.0)(before, updates)
    assert flipped[0].state["w"].tolist() == [0.5, 3.0]
    assert [u.state["w"].tolist() for u in scaled[1:]] == [[-1.0, 6.0]] * 2
    assert flipped[1:] == updates[1:]
    assert scaled[0] is updates[0]
    assert [u.num_samples for u in flipped] == [5, 5, 5]
    assert updates[0].state["w"].tolist() == [1.5, 1.0]


def test_flipped_labels_are_another_digit_and_flip_back() -> None:
    images, labels = torch.zeros(10, 1, 28, 28), torch.arange(10)
    same, flipped = fk.flip_labels((images, labels))
    assert same is images
    assert flipped.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert torch.equal(fk.flip_labels((images, flipped))[1], labels)


def test_what_arrives_is_what_the_hook_returns(data: tuple[list[fk.Shard], fk.Shard]) -> None:
    seen = []

    def first_two(model: fk.StateDict, updates: list[fk.Update]) -> list[fk.Update]:
        seen.append((model, [update.participant for update in updates]))
        return updates[:2]

    history = fk.simulate(CONFIG, *data, on_the_way=first_two)
    assert [who for _, who in seen] == [PEOPLE, PEOPLE]
    assert not torch.equal(fk.flatten(seen[0][0]), fk.flatten(seen[1][0]))
    assert [[p.participant for p in record.contributions] for record in history] == [PEOPLE[:2]] * 2
    with pytest.raises(fk.FedkitError, match="lets no update of round 1 arrive"):
        fk.simulate(CONFIG, *data, on_the_way=lambda model, updates: [])


def test_an_unknown_kind_is_answered() -> None:
    with pytest.raises(fk.FedkitError) as caught:
        fk.poisoned(PEOPLE, "rude")
    assert caught.value.field == "kind"


def test_yes_and_no_change_places_and_other_labels_are_refused() -> None:
    samples = torch.zeros(3, 2)
    assert flip_labels((samples, torch.tensor([0.0, 1.0, 1.0])), classes=2)[1].tolist() == [1, 0, 0]
    assert "0 to 9" in complaint(lambda: flip_labels((samples, torch.tensor([0, 1, 12])))).what


@pytest.mark.parametrize("kind", CHANGES)
def test_a_counter_keeps_its_number(kind: str) -> None:
    before = {"w": torch.ones(2), "count": torch.tensor(1)}
    sent = changed(kind, before, {"w": torch.zeros(2), "count": torch.tensor(3)}, 10.0)
    if kind != "wrong shape":
        assert sent["count"].dtype == torch.int64
        assert sent["count"] == 3
