"""What a participant says of itself, or sends, moves the global model no further than the config allows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.base.events import ClaimCapped, Event, Problem, UpdateRefused
from fedkit.base.files import write_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.models import StateDict
from fedkit.learning.update import Update
from fedkit.learning.validated import Validated
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import read_history
from fedkit.rounds.round import server_step
from fedkit.rounds.strategy import strategy_of
from tests.support.aggregator import World
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    held_out,
    launched,
    shard,
    small,
)

THREE = [ALICE, BOB, CAROL]
LIAR = 999_999_999


def three(root: Path, **changes: Any) -> World:
    world = World(root, participants=THREE, **changes).launch()
    world.ready()
    world.advance()
    return world


def bias(world: World, n: int = 1) -> torch.Tensor:
    return world.model(n)["fc.bias"]


# ------------------------------------------------------------------------------ samples and steps
def test_without_a_cap_one_claim_takes_all_the_weight(tmp_path: Path) -> None:
    world = three(tmp_path)
    for email, value, samples in ((ALICE, 0.0, 10), (BOB, 0.0, 10), (CAROL, 9.0, LIAR)):
        world.send(email, 1, value, info={"num_samples": samples})
    world.advance()
    assert bias(world).min() > 8.99


def test_with_a_cap_a_claim_weighs_what_is_believed_and_that_is_said(tmp_path: Path) -> None:
    world = three(tmp_path, max_samples=20)
    for email, value, samples in ((ALICE, 0.0, 10), (BOB, 0.0, 10), (CAROL, 9.0, LIAR)):
        world.send(email, 1, value, info={"num_samples": samples})
    events = world.advance()
    torch.testing.assert_close(bias(world), torch.full((10,), 9.0 * 20 / 40))
    (event,) = [event for event in events if isinstance(event, ClaimCapped)]
    assert (event.participant, event.claimed, event.counted) == (CAROL, LIAR, 20)
    assert "999,999,999" in fk.render(event)
    (record,) = read_history(world.site).rounds
    assert record.capped == {CAROL: LIAR}
    assert {part.participant: part.num_samples for part in record.contributions}[CAROL] == 20


def test_claimed_steps_are_bounded_by_the_samples_that_are_believed(tmp_path: Path) -> None:
    """FedNova divides by the steps: too many of them would make an honest update vanish beside the others."""
    models = []
    for steps in (3, LIAR):
        world = three(
            tmp_path / str(steps),
            strategy={"name": "fednova"},
            max_samples=24,
            batch_size=8,
            epoch=1,
        )
        for email in THREE:
            told = steps if email == CAROL else 3
            world.send(email, 1, 1.0, info={"num_samples": 24, "steps": told})
        world.advance()
        models.append(bias(world))
    assert torch.equal(*models)


def simulated(on_the_way: Any, **changes: Any) -> tuple[fk.History, StateDict]:
    kept: list[StateDict] = []
    history = fk.simulate(
        small(participants=THREE, rounds=1, **changes),
        [shard([0, 1]), shard([2, 3]), shard([4, 5])],
        held_out(),
        model=LINEAR,
        exact=True,
        on_the_way=on_the_way,
        on_round=lambda record, state: kept.append(state),
    )
    return history, kept[-1]


def test_in_memory_the_same_is_believed() -> None:
    def lies(state: StateDict, updates: list[Update]) -> list[Update]:
        return [replace(u, num_samples=LIAR) if u.participant == CAROL else u for u in updates]

    honest, model = simulated(lambda state, updates: updates, max_samples=6)
    capped, same = simulated(lies, max_samples=6)
    assert capped.rounds[0].capped == {CAROL: LIAR}
    assert honest.rounds[0].capped == {}
    for name, value in model.items():
        assert torch.equal(same[name], value)


def test_under_masks_each_participant_cuts_its_own_claim(tmp_path: Path) -> None:
    """The same sum as in memory, where the shards differ and the cap is below the larger one."""
    config = small(participants=THREE, rounds=1, max_samples=4, secure_aggregation={"threshold": 2})
    shards = [shard([0, 1]), shard([2]), shard([3, 4, 5])]
    network = fk.Network.create(tmp_path, aggregator=config.aggregator, participants=THREE)
    for email, part in zip(THREE, shards, strict=True):
        network.give_data(email, part)
    network.give_test(*held_out())
    network.launch(config, LINEAR)
    assert network.run(approve=approve_all).done
    done = network[network.aggregator].aggregator().project(config.project_name, "done")
    there = fk.read_state(done.global_model(1))
    kept: list[StateDict] = []
    fk.simulate(
        config,
        shards,
        held_out(),
        model=LINEAR,
        exact=True,
        on_round=lambda record, state: kept.append(state),
    )
    for name, value in there.items():
        assert torch.equal(kept[-1][name], value)


def test_what_is_claimed_of_samples_kept_back_is_believed_where_it_makes_sense(
    tmp_path: Path,
) -> None:
    world = three(tmp_path, validation={"share": 0.2})
    honest = {"num_samples": 2, "received": {"loss": 2.3}, "trained": {"loss": 1.0, "accuracy": 1}}
    lies = {**honest, "trained": {"loss": "low"}}
    many = {**honest, "received": {f"metric {k}": 0.5 for k in range(20_000)}}
    for email, told in ((ALICE, honest), (BOB, lies), (CAROL, many)):
        world.send(email, 1, 1.0, info={"num_samples": 10, "validation": told})
    world.advance()
    (record,) = read_history(world.site).rounds
    found = {part.participant: part.validation for part in record.contributions}
    assert found[ALICE] == Validated(2, {"loss": 2.3}, {"loss": 1.0, "accuracy": 1.0})
    assert found[BOB] is found[CAROL] is None
    assert {part.num_samples for part in record.contributions} == {10}


def test_what_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    world = three(tmp_path)
    told = {"num_samples": 2, "received": {"loss": 2.3}, "trained": {"loss": 1.0}}
    for email in THREE:
        world.send(email, 1, 1.0, info={"num_samples": 10, "validation": told})
    world.advance()
    (record,) = read_history(world.site).rounds
    assert [part.validation for part in record.contributions] == [None] * 3
    assert "validation" not in world.place.record(1).read_text()


# ------------------------------------------------------------------------------------------ norms
def refused(events: list[Event]) -> dict[str, str]:
    return {e.participant: e.reason for e in events if isinstance(e, UpdateRefused)}


def test_an_update_that_goes_too_far_is_refused_and_the_others_count(tmp_path: Path) -> None:
    world = three(tmp_path, max_update_norm=1e4, min_participants=2)
    for email, value in ((ALICE, 1.0), (BOB, 3.0), (CAROL, 3e37)):
        world.send(email, 1, value)
    events = world.advance(patient=False)
    assert "more than the 10000 that the config allows" in refused(events)[CAROL]
    assert torch.equal(bias(world), torch.full((10,), 2.0))


def test_a_mean_that_overflows_is_never_taken_and_its_sender_is_named(tmp_path: Path) -> None:
    """Each number is finite, and the server's step with their mean is not; no bound stands in the config."""
    world = three(tmp_path, min_participants=2, strategy={"name": "fedavgm", "server_lr": 1000.0})
    for email, value in ((ALICE, 0.001), (BOB, 0.003), (CAROL, 3.4e38)):
        world.send(email, 1, value)
    events = world.advance()
    assert "the mean overflows" in refused(events)[CAROL]
    assert bool(bias(world).isfinite().all())
    (record,) = read_history(world.site).rounds
    assert {part.participant for part in record.contributions} == {ALICE, BOB}


def test_below_the_quorum_an_overflow_stops_the_round_and_says_who(tmp_path: Path) -> None:
    world = three(tmp_path, strategy={"name": "fedavgm", "server_lr": 1000.0})
    for email, value in ((ALICE, 1.0), (BOB, 3.0), (CAROL, 3.4e38)):
        world.send(email, 1, value)
    problems = [event for event in world.advance() if isinstance(event, Problem)]
    assert problems
    assert CAROL in str(problems[0].error)
    assert not world.place.global_model(1).is_file()


SCAFFOLD = {"name": "scaffold"}


def test_what_comes_beside_an_update_is_bounded_with_it(tmp_path: Path) -> None:
    """A control variate of 3e38 goes to everybody in the next round, and their training would end in infinite numbers."""
    network = launched(
        tmp_path, participants=THREE, strategy=SCAFFOLD, max_update_norm=10.0, min_participants=2
    )
    inbox = network[AGGREGATOR].aggregator().project(PROJECT).inbox(CAROL)

    def spoiled(site: Any, go: Any) -> list[Event]:
        moved: list[Event] = go()
        for path in (site.datasites / inbox.relative_to(network[AGGREGATOR].datasites)).glob(
            "*.bin"
        ):
            if site.email == CAROL:
                write_state(
                    path, {n: torch.full_like(v, 3e38) for n, v in fk.read_state(path).items()}
                )
        return moved

    history = network.run(approve=approve_all, actor=spoiled)
    assert history.done
    for record in history.rounds:
        assert {part.participant for part in record.contributions} == {ALICE, BOB}
        assert "numbers of norm" in record.refused[CAROL]


def test_the_bound_refuses_no_honest_control_variate(tmp_path: Path) -> None:
    network = launched(
        tmp_path, participants=THREE, strategy=SCAFFOLD, max_update_norm=1.0, rounds=4, epoch=2
    )
    history = network.run(approve=approve_all)
    assert history.done
    assert not any(record.refused for record in history.rounds)


@pytest.mark.parametrize("name", ["fedavgm", "scaffold"])
def test_what_can_not_be_written_down_of_a_mean_is_an_overflow_too(name: str) -> None:
    """In float64 the model is finite, and the norm of its step is not; of a control variate, its own sender is named."""
    strategy = strategy_of(small(participants=THREE, strategy={"name": name}))
    plan = RoundPlan.of(small(participants=THREE), 1, THREE)
    model = {"w": torch.zeros(4, dtype=torch.float64)}
    huge = {"w": torch.full((4,), 1e200, dtype=torch.float64)}
    fine = {"w": torch.full((4,), 0.5, dtype=torch.float64)}
    sent = {who: (huge if who == CAROL else fine) for who in THREE}
    beside = name == "scaffold"
    updates = [
        Update(who, 1, fine if beside else sent[who], 10, extra=sent[who] if beside else {})
        for who in THREE
    ]
    _, record = server_step(strategy, plan, strategy.init(model), updates)
    assert list(record.refused) == [CAROL]
    assert all(map(math.isfinite, record.diagnostics.values()))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_samples": 0}, "max_samples"),
        ({"max_samples": 1.5}, "max_samples"),
        ({"max_samples": 10**10}, "max_samples"),
        ({"max_update_norm": 0}, "max_update_norm"),
        ({"max_update_norm": float("inf")}, "max_update_norm"),
        ({"max_update_norm": 1.0, "secure_aggregation": {"threshold": 2}}, "max_update_norm"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(FedkitError) as caught:
        FLConfig.from_dict(small(participants=THREE).model_dump() | changes)
    assert caught.value.field == field


def test_who_is_refused_remembers_nothing_of_that_round() -> None:
    """SCAFFOLD: an update that goes too far is as if it had never arrived, in what its participant remembers too."""

    def run(on_the_way: Any) -> list[StateDict]:
        kept: list[StateDict] = []
        fk.simulate(
            small(
                participants=THREE, rounds=2, strategy={"name": "scaffold"}, max_update_norm=100.0
            ),
            [shard([0, 1]), shard([2, 3]), shard([4, 5])],
            held_out(),
            model=LINEAR,
            exact=True,
            on_the_way=on_the_way,
            on_round=lambda record, state: kept.append(state),
        )
        return kept

    def far(state: StateDict, updates: list[Update]) -> list[Update]:
        return [
            replace(u, state={k: v + 1e6 for k, v in u.state.items()})
            if u.participant == CAROL and u.round == 1
            else u
            for u in updates
        ]

    def lost(state: StateDict, updates: list[Update]) -> list[Update]:
        return [u for u in updates if u.participant != CAROL or u.round != 1]

    for one, other in zip(run(far), run(lost), strict=True):
        for name, value in one.items():
            assert torch.equal(value, other[name])
