"""Fine-tuning at home: what it gains there, what it costs abroad, and that it touches nothing."""

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.config.task import Task
from fedkit.learning.models import load_model, seed_weights
from fedkit.learning.training import evaluate, train
from tests.support.helpers import LINEAR, held_out, shard
from tests.support.tasks import KINDS


@pytest.fixture(scope="module")
def everybody() -> dict[str, torch.Tensor]:
    """A model that knows all ten digits a little."""
    start = seed_weights(LINEAR)
    options = {"epochs": 3, "learning_rate": 0.05, "batch_size": 20}
    digits = shard(range(10), 40)
    return train(load_model(LINEAR), start, digits, generator=fk.generator(0, "all"), **options)[0]


@pytest.mark.parametrize("seed", range(3))
def test_it_gains_at_home_and_loses_abroad(everybody: dict, seed: int) -> None:
    """Somebody who has only 3s and 8s: better on them, blind for the rest."""
    before = {name: value.clone() for name, value in everybody.items()}
    mine, own = fk.hold_out(shard([3, 8], 60, start=100), 0.5, generator=fk.generator(seed, "cut"))
    options = {"epochs": 5, "learning_rate": 0.1, "batch_size": 10, "model": LINEAR}
    got = fk.fine_tune(
        everybody, mine, own, held_out(200), generator=fk.generator(seed, "tune"), **options
    )
    assert got.own_after > got.own_before + 0.05
    assert got.common_after < got.common_before - 0.1
    assert all(torch.equal(everybody[name], value) for name, value in before.items())
    # what it says is what evaluation says
    model = load_model(LINEAR)
    assert got.own_after == evaluate(model, got.state, *own)[0]
    assert got.common_before == evaluate(model, everybody, *held_out(200))[0]
    again = fk.fine_tune(
        everybody, mine, own, held_out(200), generator=fk.generator(seed, "tune"), **options
    )
    assert all(torch.equal(again.state[name], value) for name, value in got.state.items())


def test_hold_out_takes_each_sample_once() -> None:
    images, labels = torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10)
    (x, y), (own_x, own_y) = fk.hold_out((images, labels), 0.3, generator=fk.generator(0, "cut"))
    assert len(own_y) == 3
    assert sorted([*y.tolist(), *own_y.tolist()]) == list(range(10))
    assert y.tolist() == sorted(y.tolist())
    assert torch.equal(x.flatten().long(), y)
    assert torch.equal(own_x.flatten().long(), own_y)
    one = fk.hold_out((images[:2], labels[:2]), 0.01, generator=fk.generator(0, "cut"))
    assert [len(part[1]) for part in one] == [1, 1]


def test_what_cannot_be_done_is_said(everybody: dict) -> None:
    data, cut = shard([1, 2]), fk.generator(0, "cut")
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(FedkitError, match="can't hold out"):
            fk.hold_out(data, share, generator=cut)
    with pytest.raises(FedkitError, match="can't hold out"):
        fk.hold_out((data[0][:1], data[1][:1]), generator=cut)
    with pytest.raises(
        FedkitError, match="does not fit the model"
    ):  # the default model is not LINEAR
        fk.fine_tune(everybody, data, data, data, generator=cut)
    with pytest.raises(FedkitError, match="is 0"):
        fk.fine_tune(everybody, data, data, data, generator=cut, epochs=0, model=LINEAR)


def test_fine_tuning_sees_samples_as_the_task_standardises_them() -> None:
    kind = KINDS["a table"]
    own = Task.model_validate({**kind.written, "standardise": "own"})
    parts = [*kind.shards, kind.test]
    state = fk.seed_weights(kind.model, 0)

    def tuned(task: Task, parts: list) -> fk.FineTuned:
        return fk.fine_tune(
            state, *parts, generator=fk.generator(0, "tune"), model=kind.model, task=task
        )

    by_task = tuned(own, parts)
    by_hand = tuned(
        kind.task,
        [
            fk.standardised(parts[0], own),
            fk.standardised(parts[1], own, parts[0][0]),
            fk.standardised(parts[2], own),
        ],
    )
    assert all(torch.equal(by_task.state[name], value) for name, value in by_hand.state.items())
    assert by_task.own_after == by_hand.own_after
    raw = tuned(kind.task, parts).state
    assert not all(torch.equal(by_task.state[name], value) for name, value in raw.items())
