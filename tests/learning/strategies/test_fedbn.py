"""FedBN: what belongs to batch normalisation stays with each participant, and everything else is FedAvg's."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.base.files import read_state, sha256_bytes
from fedkit.base.seeds import generator
from fedkit.base.tensors import state_bytes
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import load_model, seed_weights
from fedkit.learning.strategies.fedbn import FedBN
from fedkit.learning.training import train
from tests.support.helpers import AGGREGATOR, ALICE, BOB, final_model, problems
from tests.support.tasks import KINDS, Kind

COLOUR = KINDS["colour images"]
NORM = {
    f"norm.{part}"
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}
SPEC: dict[str, Any] = {"strategy": {"name": "fedbn"}}


def network(root: Path, kind: Kind, config: fk.FLConfig) -> fk.Network:
    net = fk.Network.create(root, aggregator=AGGREGATOR, participants=[ALICE, BOB])
    for email, shard in zip((ALICE, BOB), kind.shards, strict=True):
        net.give_data(email, shard, kind.task)
    net.give_test(*kind.test)
    net.launch(config, kind.model)
    return net


def by_hand(config: fk.FLConfig) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Algorithm 1 of the paper: (the averaged layers, each participant's own batch normalisation)."""
    common = seed_weights(COLOUR.model, config.seed)
    own = {who: {k: common[k] for k in NORM} for who in config.participants}
    for n in range(1, config.rounds + 1):
        ends = {}
        for who, shard in zip(config.participants, COLOUR.shards, strict=True):
            model = load_model(COLOUR.model, task=COLOUR.task)
            ends[who], _ = train(
                model,
                common | own[who],
                shard,
                epochs=config.epoch,
                learning_rate=config.learning_rate,
                batch_size=config.batch_size,
                generator=generator(config.seed, who, n),
                loss_of=criterion_of(COLOUR.task),
            )
            own[who] = {k: ends[who][k] for k in NORM}
        for name in set(common) - NORM:
            common[name] = sum(e[name].double() for e in ends.values()).div(len(ends)).float()  # type: ignore[union-attr]
    return common, own


def test_between_datasites_in_memory_and_by_hand_the_same(tmp_path: Path) -> None:
    config = COLOUR.config(rounds=3, **SPEC)
    states: list[fk.StateDict] = []
    updates: list[fk.Update] = []

    def see(_: object, arrived: list[fk.Update]) -> list[fk.Update]:
        updates.extend(arrived)
        return arrived

    memory = fk.simulate(
        config,
        COLOUR.shards,
        COLOUR.test,
        model=COLOUR.model,
        exact=True,
        on_the_way=see,
        on_round=lambda _, state: states.append(state),
    )
    net = network(tmp_path, COLOUR, config)
    happened: list[fk.Event] = []
    disk = net.run(approve=fk.approve_all, on_event=happened.append)
    assert problems(happened) == []
    assert disk.rounds == memory.rounds
    assert sha256_bytes(final_model(net)) == sha256_bytes(state_bytes(states[-1]))
    common, own = by_hand(config)
    seed = seed_weights(COLOUR.model, config.seed)
    for name, value in states[-1].items():
        torch.testing.assert_close(value, common[name], rtol=0, atol=1e-6)
    for state in [*states, *(update.state for update in updates)]:
        assert all(torch.equal(state[name], seed[name]) for name in NORM)  # nothing of it ever left
    kept = {}
    for who in (ALICE, BOB):
        place = net.sites[who].client().project(config.project_name, "done")
        kept[who] = read_state(place.memory(config.rounds))
        assert set(kept[who]) == NORM | {"nothing"}
        for name in NORM:
            torch.testing.assert_close(kept[who][name], own[who][name], rtol=0, atol=1e-6)
    assert not torch.equal(kept[ALICE]["norm.running_mean"], kept[BOB]["norm.running_mean"])
    for path in tmp_path.rglob("*"):  # beside the weights, one zero crosses
        if path.is_file() and "extra" in path.name:
            assert path.stat().st_size < 4000
    tuned = fk.fine_tune(
        states[-1],
        *(COLOUR.shards[0], COLOUR.shards[0], COLOUR.test),
        generator=generator(0),
        model=COLOUR.model,
        task=COLOUR.task,
        home=kept[ALICE],
    )
    judge = load_model(COLOUR.model, task=COLOUR.task).eval()
    judge.load_state_dict(FedBN().begin(states[-1], kept[ALICE]))
    with torch.no_grad():
        images, labels = COLOUR.shards[0]
        assert tuned.own_before == pytest.approx(
            float((judge(images).argmax(1) == labels).float().mean())
        )


def test_who_is_not_drawn_keeps_what_it_had(tmp_path: Path) -> None:
    config = COLOUR.config(rounds=4, participants_per_round=1, **SPEC)
    memory = fk.simulate(config, COLOUR.shards, COLOUR.test, model=COLOUR.model, exact=True)
    disk = network(tmp_path, COLOUR, config).run(approve=fk.approve_all)
    assert len({c.participant for record in disk for c in record.contributions}) == 2
    assert disk.rounds == memory.rounds


def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = COLOUR.config(rounds=3, **SPEC)

    def run(folder: Path, **more: Any) -> fk.History:
        given = {"model": COLOUR.model, "exact": True, "checkpoint": folder, "every": 1} | more
        return fk.simulate(config, COLOUR.shards, COLOUR.test, **given)

    run(tmp_path / "cut", until=lambda history: len(history) == 1)
    assert run(tmp_path / "cut").rounds == run(tmp_path / "whole").rounds


@pytest.mark.parametrize("name", ["a table", "nine classes of grey images"])
def test_a_model_without_batch_normalisation_is_refused_at_its_launch(
    tmp_path: Path, name: str
) -> None:
    kind = KINDS[name]
    config = kind.config(**SPEC)
    with pytest.raises(FedkitError, match="no batch normalisation that could stay"):
        fk.simulate(config, kind.shards, kind.test, model=kind.model)
    net = network(tmp_path, kind, config)
    with pytest.raises(FedkitError, match=r"strategy.name.*no batch normalisation.*take fedavg"):
        net.run(approve=fk.approve_all)
    assert net.projects() == []


@pytest.mark.parametrize(
    "more",
    [
        {"secure_aggregation": {"threshold": 2}},
        {"dp": {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_masks_and_dp_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(FedkitError, match="fedbn"):
        COLOUR.config(**SPEC, **more)
