"""How a project trains locally is the same in both worlds, to the bit, and after a restart in the middle."""

from pathlib import Path
from typing import Any

import pytest

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.base.events import UpdateValidated
from fedkit.base.files import sha256_bytes
from fedkit.base.tensors import state_bytes
from tests.support.helpers import (
    ALICE,
    BOB,
    LINEAR,
    final_model,
    held_out,
    launched,
    shard,
    small,
)
from tests.support.tasks import KINDS

SHARDS = {ALICE: shard([0, 1]), BOB: shard([2, 3])}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "momentum": 0.9, "nesterov": True, "clip_norm": 1.0},
    "adam": {"name": "adam", "betas": [0.8, 0.95]},
    "adamw": {"name": "adamw", "weight_decay": 0.1},
}
SCHEDULES: list[dict[str, Any]] = [
    {"name": "cosine", "final": 0.1},
    {"name": "step", "every": 1, "factor": 0.5},
    {"name": "warmup", "rounds": 4},
]
STRATEGIES = ["fedavg", "fedprox", "fedadam"]


def in_memory(exact: bool = True, **changes: Any) -> tuple[fk.History, bytes]:
    models: list[fk.StateDict] = []
    history = fk.simulate(
        small(**changes),
        SHARDS,
        held_out(),
        model=LINEAR,
        exact=exact,
        on_round=lambda record, model: models.append(model),
    )
    return history, state_bytes(models[-1])


def the_same_in_both_worlds(root: Path, **changes: Any) -> fk.History:
    """A run between datasites, stopped after its first round and opened again, is a run in memory."""
    memory, model = in_memory(**changes)
    net = launched(root, **changes)
    net.run(approve=fk.approve_all, until_round=1)
    history = fk.Network.open(root).run(approve=fk.approve_all)
    assert history.done, history.waiting
    assert history.rounds == memory.rounds
    assert sha256_bytes(final_model(net)) == sha256_bytes(model)
    default, same = in_memory(exact=False, **changes)
    assert same == model
    assert [r.loss for r in default] == [r.loss for r in memory]
    return history


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer(tmp_path: Path, optimizer: str, strategy: str) -> None:
    the_same_in_both_worlds(
        tmp_path,
        optimizer=OPTIMIZERS[optimizer],
        strategy={"name": strategy},
        epoch=2,
        learning_rate=0.01,
    )


@pytest.mark.parametrize("strategy", [*STRATEGIES, "scaffold"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: str(schedule["name"]))
def test_a_schedule(tmp_path: Path, schedule: dict[str, Any], strategy: str) -> None:
    """Stacked training knows the rate of each round too; there it agrees but for rounding, as without a schedule."""
    changes: dict[str, Any] = {"schedule": schedule, "strategy": {"name": strategy}}
    memory, model = in_memory(**changes)
    net = launched(tmp_path, **changes)
    net.run(approve=fk.approve_all, until_round=1)
    history = fk.Network.open(tmp_path).run(approve=fk.approve_all)
    assert history.done, history.waiting
    assert history.rounds == memory.rounds
    assert sha256_bytes(final_model(net)) == sha256_bytes(model)
    default, _ = in_memory(exact=False, **changes)
    for one, other in zip(default, memory, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-4)
        assert one.learning_rate == other.learning_rate
    assert len({record.learning_rate for record in memory}) == 2


def test_an_optimizer_with_a_schedule(tmp_path: Path) -> None:
    the_same_in_both_worlds(
        tmp_path, optimizer=OPTIMIZERS["adam"], schedule=SCHEDULES[0], learning_rate=0.01
    )


def test_an_optimizer_under_masks(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "optimizer": {"name": "adam"},
        "secure_aggregation": {"threshold": 2},
    }
    _, model = in_memory(**changes)
    net = launched(tmp_path, **changes)
    assert net.run(approve=fk.approve_all).done
    assert final_model(net) == model


@pytest.mark.parametrize("unit", ["example", "participant"])
def test_an_optimizer_with_noise(tmp_path: Path, unit: str) -> None:
    changes: dict[str, Any] = {
        "optimizer": {"name": "adam"},
        "learning_rate": 0.01,
        "weighting": "equal",
        "dp": {"unit": unit, "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0},
    }
    _, model = in_memory(**changes)
    net = launched(tmp_path, **changes)
    assert net.run(approve=fk.approve_all).done
    assert final_model(net) == model
    assert in_memory(**(changes | {"optimizer": {"name": "sgd"}}))[1] != model


def test_a_gradient_does_not_follow_from_steps_of_adam(tmp_path: Path) -> None:
    net = launched(tmp_path, optimizer={"name": "adam"}, rounds=1)
    assert net.run(approve=fk.approve_all).done
    seen = fk.privacy.evidence(net, ALICE)
    with pytest.raises(FedkitError, match="steps of adam") as caught:
        _ = seen.gradient
    assert caught.value.remedy


VALIDATION = {"share": 0.3, "patience": 1}


@pytest.mark.parametrize("strategy", [*STRATEGIES, "scaffold", "fednova"])
@pytest.mark.parametrize("patience", [None, 1])
def test_what_is_kept_back(tmp_path: Path, strategy: str, patience: int | None) -> None:
    """Strategies that count steps get those behind the weights that are sent."""
    history = the_same_in_both_worlds(
        tmp_path,
        validation={"share": 0.3, "patience": patience},
        strategy={"name": strategy},
        epoch=4,
        learning_rate=0.5,
        batch_size=2,
    )
    frame = history.contributions_frame()
    assert list(frame["num_samples"]) == [4] * 4
    assert list(frame["validation_samples"]) == [2] * 4
    assert frame[["received_loss", "trained_loss", "trained_accuracy"]].notna().all(axis=None)


def test_all_three_at_once(tmp_path: Path) -> None:
    the_same_in_both_worlds(
        tmp_path,
        optimizer=OPTIMIZERS["adamw"],
        schedule=SCHEDULES[0],
        validation=VALIDATION,
        epoch=3,
        learning_rate=0.05,
    )


@pytest.mark.parametrize("name", ["a table", "a regression"])
def test_the_tasks_metrics_are_told_of_both_models(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    config = kind.config(validation={"share": 0.4})
    memory = fk.simulate(config, kind.shards, kind.test, model=kind.model, exact=True)
    net = fk.Network.create(
        tmp_path, aggregator=config.aggregator, participants=config.participants
    )
    for email, own in zip(config.participants, kind.shards, strict=True):
        net.give_data(email, own, kind.task)
    net.give_test(*kind.test)
    net.launch(config, kind.model)
    happened: list[fk.Event] = []
    history = net.run(approve=fk.approve_all, on_event=happened.append)
    assert history.rounds == memory.rounds
    for part in history.rounds[0].contributions:
        assert part.validation is not None
        assert part.validation.num_samples == 14
        assert part.num_samples == 21
        for told in (part.validation.received, part.validation.trained):
            assert set(told) == {"loss", *kind.task.metrics}
    said = [fk.render(event) for event in happened if isinstance(event, UpdateValidated)]
    assert len(said) == 4
    assert all("14 samples kept back" in line for line in said)
    history.save(tmp_path / "h.json")
    assert fk.History.load(tmp_path / "h.json").rounds == history.rounds


def test_nothing_of_it_is_published_and_its_size_says_nothing(tmp_path: Path) -> None:
    net = launched(tmp_path, validation=VALIDATION)
    history = net.run(approve=fk.approve_all)
    place = net[net.aggregator].aggregator().project(history.project, "done")
    sizes = {place.update_info(who, n).stat().st_size for who in SHARDS for n in (1, 2)}
    assert len(sizes) == 1
    results = net[net.aggregator].public_results(history.project)
    assert "valid" not in "".join(path.read_text() for path in results.glob("*.json"))
    assert "validation" in place.record(1).read_text()


def test_without_the_key_no_record_mentions_it(tmp_path: Path) -> None:
    net = launched(tmp_path)
    history = net.run(approve=fk.approve_all)
    place = net[net.aggregator].aggregator().project(history.project, "done")
    assert "validation" not in place.record(1).read_text()
    history.save(tmp_path / "h.json")
    assert "validation" not in (tmp_path / "h.json").read_text()
    assert "validation" not in " ".join(history.contributions_frame().columns)


def test_one_sample_can_not_be_kept_back(tmp_path: Path) -> None:
    alone = {ALICE: (SHARDS[ALICE][0][:1], SHARDS[ALICE][1][:1]), BOB: SHARDS[BOB]}
    config = small(validation=VALIDATION)
    with pytest.raises(FedkitError, match=ALICE) as caught:
        fk.simulate(config, alone, held_out(), model=LINEAR)
    assert caught.value.field == "validation"
    net = launched(tmp_path, validation=VALIDATION)
    net.give_data(ALICE, alone[ALICE])
    history = net.run(approve=fk.approve_all)
    assert not history.rounds
    assert f"{ALICE} has no other one" in str(history)


def test_a_checkpoint_keeps_what_was_measured(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"validation": VALIDATION, "rounds": 3}
    whole, _ = in_memory(**changes)
    for stop in (2, 4):
        again = fk.simulate(
            small(**changes),
            SHARDS,
            held_out(),
            model=LINEAR,
            exact=True,
            checkpoint=tmp_path,
            every=1,
            until=lambda history, stop=stop: len(history) == stop,  # type: ignore[misc]
        )
    assert again.rounds == whole.rounds


def test_own_statistics_of_what_is_trained_on_in_both_worlds(tmp_path: Path) -> None:
    kind = KINDS["a table"]
    config = kind.config(
        rounds=2,
        epoch=2,
        validation={"share": 0.3, "patience": 1},
        task={**kind.written, "standardise": "own"},
    )
    shards = dict(zip(config.participants, kind.shards, strict=True))
    memory = fk.simulate(config, shards, kind.test, model=kind.model, exact=True)
    net = fk.Network.create(
        tmp_path, aggregator=config.aggregator, participants=config.participants
    )
    for email, data in shards.items():
        net.give_data(email, data, config.task)
    net.give_test(*kind.test, name=config.test_dataset)
    net.launch(config, kind.model, fk.seed_weights(kind.model, config.seed))
    history = net.run(approve=fk.approve_all)
    assert history.done, history.waiting
    assert history.rounds == memory.rounds
