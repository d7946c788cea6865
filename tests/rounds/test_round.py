"""One participant's round: what it keeps back, and what its update claims."""

from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.learning.models import distance, load_model, state_of
from fedkit.learning.strategies.registry import make_strategy
from fedkit.learning.training import evaluate, train
from fedkit.learning.update import Update
from fedkit.rounds.personal import hold_out
from fedkit.rounds.round import as_seen, local_update, plan_round
from fedkit.rounds.trial_step import try_out
from tests.support.helpers import ALICE, LINEAR, linear_weights, shard, small

DATA = shard([0, 1, 2], 5)
KEPT = {"share": 0.4}


def update_of(n: int = 1, **changes: Any) -> tuple[Update, fk.StateDict]:
    config: FLConfig = small(batch_size=2, learning_rate=0.5, **changes)
    strategy, start = make_strategy(config), linear_weights()
    plan = plan_round(config, config.participants, n)
    nothing = strategy.beside(start)
    return local_update(strategy, plan, ALICE, load_model(LINEAR), start, DATA, nothing, nothing)


def test_it_trains_on_the_rest_and_tries_both_models_on_what_is_kept_back() -> None:
    rest, held = hold_out(DATA, 0.4, generator=generator(0, ALICE, "validation"))
    assert (len(rest[1]), len(held[1])) == (9, 6)
    for n in (1, 2):  # the same samples in every round, whatever its shuffles
        update, _ = update_of(n, validation=KEPT)
        values: dict[str, Any] = {"epochs": 1, "learning_rate": 0.5, "batch_size": 2}
        model = load_model(LINEAR)
        wanted, _ = train(model, linear_weights(), rest, generator=generator(0, ALICE, n), **values)
        assert distance(wanted, update.state) == 0
        assert (update.num_samples, update.steps) == (9, 5)
        assert update.validation is not None
        assert update.validation.num_samples == 6
        for told, state in (
            (update.validation.received, linear_weights()),
            (update.validation.trained, update.state),
        ):
            accuracy, loss = evaluate(load_model(LINEAR), state, *held)
            assert told == {"loss": loss, "accuracy": accuracy}


def test_another_participant_and_another_seed_keep_back_others() -> None:
    splits = [
        hold_out(DATA, 0.4, generator=generator(seed, who, "validation"))[1][0]
        for seed, who in ((0, ALICE), (1, ALICE), (0, "bob@example.org"))
    ]
    assert not torch.equal(splits[0], splits[1])
    assert not torch.equal(splits[0], splits[2])


@pytest.mark.parametrize("name", ["fedavg", "fednova", "scaffold"])
def test_steps_are_those_behind_the_weights_that_are_sent(name: str) -> None:
    """SCAFFOLD's change of c_i is (x - y) / (K eta) with this K, where c and c_i are 0."""
    many: dict[str, Any] = {"epoch": 40, "strategy": {"name": name}}
    update, after = update_of(validation={**KEPT, "patience": 1}, **many)
    assert update.steps is not None
    assert update.steps % 5 == 0
    assert 0 < update.steps < 200
    short = {**many, "epoch": update.steps // 5}
    same, _ = update_of(validation=KEPT, **short)
    assert distance(update.state, same.state) == 0
    assert update.loss == same.loss
    if name == "scaffold":
        for key, start in linear_weights().items():
            mean = (start.double() - update.state[key].double()) / (update.steps * 0.5)
            torch.testing.assert_close(after[key].double(), mean, rtol=1e-5, atol=1e-9)


def test_a_model_that_needs_two_samples_is_launched_with_validation() -> None:
    """A trial step has one or two samples, of which nothing is kept back."""
    normed = LINEAR.replace("self.fc(images", "self.fc(self.norm(images").replace(
        "flatten(1))", "flatten(1)))"
    )
    normed = normed.replace("self.fc = ", "self.norm = nn.BatchNorm1d(784)\n        self.fc = ")
    for optimizer in ({"name": "adam"}, {"name": "sgd", "momentum": 0.9}):
        try_out(small(validation=KEPT, optimizer=optimizer), normed)


def test_without_the_key_all_samples_are_trained_on() -> None:
    update, _ = update_of()
    assert (update.num_samples, update.validation) == (15, None)
    assert state_of(load_model(LINEAR)).keys() == update.state.keys()


def test_what_is_kept_back_has_no_part_in_own_statistics() -> None:
    task = {"samples": "vectors", "shape": [2], "outputs": 2, "standardise": "own"}
    whole = torch.randn(20, 2, generator=generator(0, "x")) * 3 + 5, torch.arange(20) % 2
    rest, held = hold_out(whole, 0.4, generator=generator(0, ALICE, "validation"))
    config = small(task=task, validation=KEPT)
    plan = plan_round(config, config.participants, 1)
    trained, tried = hold_out(
        as_seen(plan, ALICE, whole), 0.4, generator=generator(0, ALICE, "validation")
    )
    assert torch.equal(trained[0], fk.standardised(rest, config.task)[0])
    assert torch.allclose(trained[0].mean(0), torch.zeros(2), atol=1e-6)
    assert not torch.allclose(tried[0].mean(0), torch.zeros(2), atol=1e-2)
    other = (whole[0].clone(), whole[1])
    held_rows = (whole[0][:, None] == held[0][None]).all(-1).any(1)
    other[0][held_rows] += 100
    assert torch.equal(as_seen(plan, ALICE, other)[0][~held_rows], trained[0])
