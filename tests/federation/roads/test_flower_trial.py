"""A network's project over a real SuperLink: what its disk showed, and a SuperNode that is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkit.base.files import sha256_bytes
from fedkit.federation.network import Network
from fedkit.federation.roads.disks import count_kinds, traces_of
from fedkit.federation.roads.flower_trial import over_flower
from fedkit.protocol.approval import approve_all
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, PROJECT, launched

PEOPLE = [ALICE, BOB, CAROL]


def models(network: Network) -> tuple[str, ...]:
    place = network[AGGREGATOR].aggregator().project(PROJECT, "done")
    return tuple(sha256_bytes(place.global_model(n).read_bytes()) for n in range(4))


@pytest.mark.slow
def test_the_same_models_every_update_on_its_disk_and_a_death(tmp_path: Path) -> None:
    changes = {"participants": PEOPLE, "rounds": 3, "min_participants": 2}
    home = launched(tmp_path / "home", **changes)
    home.run(approve=approve_all)
    traces = traces_of(home, PROJECT)
    trial = over_flower(home, PROJECT, tmp_path / "whole", traces=traces)
    assert trial.sha256 == models(home)
    assert trial.absent == {}
    # nobody trains from the last model, so it never goes through the SuperLink
    assert count_kinds(trial.seen) == {"global model": 3, "update": 9}

    died = over_flower(home, PROJECT, tmp_path / "killed", dies=(CAROL, 1), patience_s=20)
    first = min(died.absent)
    assert set(died.absent.values()) == {(CAROL,)}

    def gone(site, go):
        came = site.client().project(PROJECT).global_model(first - 1).is_file()
        return [] if site.email == CAROL and came else go()

    without = launched(tmp_path / "without", **changes)
    without.run(approve=approve_all, actor=gone)
    assert models(without) == died.sha256 != trial.sha256
