"""A model for each group: found by what updates say alone, and trained by the rounds of the simulation itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.config.tutorial import tutorial_participants
from fedkit.data.shards import Shard
from fedkit.rounds.clustered import (
    ClusteredSimulation,
    Split,
    groups_of,
    simulate_clustered,
)
from fedkit.rounds.simulation import Simulation
from tests.support.helpers import LINEAR, held_out, shard, small

PEOPLE = tutorial_participants(6)


def around(*directions: Sequence[float], spread: float = 0.05) -> torch.Tensor:
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    return torch.tensor([directions[k % len(directions)] for k in range(6)]) + spread * noise


def test_groups_are_found_by_direction_or_by_distance() -> None:
    rows = dict(zip(PEOPLE, around((1.0, 0.0), (-1.0, 0.0)), strict=True))
    for by in ("cosine", "distance"):
        assert groups_of(rows, PEOPLE, Split(2, by)) == (tuple(PEOPLE[::2]), tuple(PEOPLE[1::2]))
    lengths = dict(zip(PEOPLE, around((0.1, 0.0), (9.0, 0.0), (0.0, 9.0), spread=0), strict=True))
    assert groups_of(lengths, PEOPLE, Split(2, "cosine"))[1] == (PEOPLE[2], PEOPLE[5])
    assert groups_of(lengths, PEOPLE, Split(3, "distance"))[0] == (PEOPLE[0], PEOPLE[3])


@pytest.mark.parametrize("by", ["cosine", "distance"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_groups_are_those_of_complete_linkage(by: str, count: int) -> None:
    rows = torch.randn(6, 7, generator=torch.Generator().manual_seed(count))
    found = groups_of(dict(zip(PEOPLE, rows, strict=True)), PEOPLE, Split(count, by))
    metric = "cosine" if by == "cosine" else "euclidean"
    tree = linkage(rows.double().numpy(), "complete", metric)
    marks = fcluster(tree, count, "maxclust").tolist()
    theirs = {tuple(w for w, m in zip(PEOPLE, marks, strict=True) if m == mark) for mark in marks}
    assert set(found) == theirs
    assert found[0][0] == PEOPLE[0]


def test_who_was_not_heard_joins_the_largest_group_and_silence_makes_none() -> None:
    rows = dict(zip(PEOPLE, around((1.0, 0.0), (1.0, 0.0), (-1.0, 0.0)), strict=True))
    heard = {who: rows[who] for who in PEOPLE[1:]}
    assert PEOPLE[0] in groups_of(heard, PEOPLE, Split(2))[0]
    assert sorted(map(len, groups_of(heard, PEOPLE, Split(2)))) == [2, 4]
    still = {who: torch.zeros(2) for who in PEOPLE}
    assert len(groups_of(still, PEOPLE, Split(2))) == 2
    with pytest.raises(FedkitError, match="1 participant whose updates arrived there"):
        groups_of({PEOPLE[0]: rows[PEOPLE[0]]}, PEOPLE, Split(2))


def world(**changes: Any) -> tuple[fk.FLConfig, dict[str, Shard]]:
    """Six participants; every second one calls a 3 a 5 and the other way round."""
    config = small(participants=PEOPLE, rounds=4, **changes)
    shards = {who: shard([3, 5], 6, 6 * k) for k, who in enumerate(PEOPLE)}
    for who in PEOPLE[1::2]:
        shards[who] = (shards[who][0], 8 - shards[who][1])
    return config, shards


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedadam"])
def test_each_group_goes_on_as_the_simulation_does(strategy: str) -> None:
    """To the bit: all together up to the split, then a simulation of the members, from where all stood."""
    config, shards = world(strategy={"name": strategy})
    split = Split(2, "cosine", 2)
    together = Simulation(config, shards, held_out(), model=LINEAR)
    with together, ClusteredSimulation(config, shards, held_out(), split, model=LINEAR) as rounds:
        for _ in range(2):
            assert together.step() == rounds.step()
        assert sorted(who for members in rounds.groups for who in members) == sorted(PEOPLE)
        for _ in range(2):
            rounds.step()
        for members, model in zip(rounds.groups, rounds.models, strict=True):
            theirs = config.replace(participants=list(members))
            server, records, memories = together.standing
            private = {who: shards[who] for who in members}
            with Simulation(theirs, private, held_out(), model=LINEAR) as one:
                one.go_on_from((server, list(records), dict(memories)))
                for _ in range(2):
                    one.step()
                for name, value in one.model.items():
                    assert torch.equal(value, model[name]), name
        assert [record.round for record in rounds.history] == [1, 2, 3, 4]
        assert len(rounds.history.rounds[-1].contributions) == 6
        own = [part.history.rounds[-1].accuracy or 0 for part in rounds.parts]
        sizes = [len(members) for members in rounds.groups]
        mean = sum(n * a for n, a in zip(sizes, own, strict=True)) / 6
        assert rounds.history.rounds[-1].accuracy == pytest.approx(mean)
    history, groups = simulate_clustered(config, shards, held_out(), split, model=LINEAR)
    assert history == rounds.history
    assert groups == rounds.groups


def test_without_a_split_it_is_the_simulation() -> None:
    config, shards = world()
    with ClusteredSimulation(config, shards, held_out(), model=LINEAR) as rounds:
        while rounds.ended < config.rounds:
            rounds.step()
        assert rounds.history == fk.simulate(config, shards, held_out(), model=LINEAR)
        assert not rounds.parted


def test_a_group_whose_round_fails_does_not_run_ahead_of_the_others() -> None:
    config, shards = world()
    lost: set[str] = set()

    def on_the_way(model: Any, updates: list[fk.Update]) -> list[fk.Update]:
        return [update for update in updates if update.participant not in lost]

    split = Split(2, "cosine", 1)
    with ClusteredSimulation(
        config, shards, held_out(), split, model=LINEAR, on_the_way=on_the_way
    ) as rounds:
        rounds.step()
        lost |= {*rounds.groups[1]}
        with pytest.raises(FedkitError, match="lets no update of round 2 arrive"):
            rounds.step()
        lost.clear()
        while rounds.ended < config.rounds:
            rounds.step()
        whole = simulate_clustered(config, shards, held_out(), split, model=LINEAR)[0]
        assert rounds.history == whole


def test_what_hides_single_updates_is_refused() -> None:
    hidden: list[dict[str, Any]] = [
        {"secure_aggregation": {"threshold": 4}},
        {"dp": {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-5, "clip": 1.0}},
    ]
    for key in hidden:
        config, shards = world(weighting="equal", **key)
        with pytest.raises(FedkitError, match="are made of single updates"):
            ClusteredSimulation(config, shards, held_out(), Split())


@pytest.mark.parametrize(
    "values", [{"groups": 1}, {"groups": 2.0}, {"by": "sine"}, {"after": 0}], ids=str
)
def test_a_split_that_is_none_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(FedkitError):
        Split(**values)
