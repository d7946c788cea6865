"""What is recorded of roads: real rows that agree with each other, kept as they were, and refused where they are none."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.federation.roads import runs as module
from fedkit.federation.roads.runs import (
    INSTALL,
    Death,
    Machine,
    missing,
    project_digest,
    record,
    recorded,
    this_machine,
)
from tests.support.helpers import held_out, shard, small


def test_all_rows_are_one_project_with_the_same_bits_on_one_machine() -> None:
    runs = recorded()
    own = runs["own"]
    assert {"own"} <= set(runs) <= {"own", *INSTALL}
    for road, run in runs.items():
        assert run.road == road
        assert (run.project, run.sha256, run.of) == (own.project, own.sha256, own.of), road
        assert run.machine.same_bits(own.machine), road
        assert min(run.seconds, run.bytes, run.memory_mb or 1) > 0
        assert not any("images" in found for found in run.sees.values()), road
    assert own.sees == {"the aggregator": {"global model": 4, "update": 9}}


def test_who_is_in_the_middle_could_read_every_update() -> None:
    runs = recorded()
    middle = {"syftbox": "its server", "flower": "its SuperLink"}
    for road, who in ((road, who) for road, who in middle.items() if road in runs):
        assert runs[road].sees[who]["update"] == runs[road].of["update"] == 9


def test_who_died_left_the_rounds_of_those_who_stayed() -> None:
    for death in (run.death for run in recorded().values() if run.death is not None):
        assert death.sha256 == death.own_sha256
        assert death.sha256[-1] != recorded()["own"].sha256[-1]
        assert death.absent == {2: (death.who,), 3: (death.who,)}


def test_rows_are_kept_and_replaced_one_by_one(tmp_path: Path) -> None:
    path, own = tmp_path / "recorded.json", recorded()["own"]
    death = Death("carol@example.org", {2: ("carol@example.org",)}, ("a",), ("a",), 9.5)
    other = replace(own, road="flower", death=death)
    record([own], path)
    record([other], path)
    changed = replace(own, seconds=1.5)
    record([changed], path)
    assert recorded(path) == {"own": changed, "flower": other}
    path.write_text('[{"road": "own"}]')
    with pytest.raises(FedkitError, match="is no list of recorded runs"):
        recorded(path)
    with pytest.raises(FedkitError, match="roads --record"):
        recorded(tmp_path / "none.json")


def test_a_project_is_its_config_its_samples_and_its_test_set() -> None:
    one, other, test = shard([0]), shard([1]), held_out()
    digest = project_digest(small(), [one, other], test)
    assert digest == project_digest(small(), [one, other], test)
    others = [
        project_digest(small(rounds=1), [one, other], test),
        project_digest(small(), [other, one], test),
        project_digest(small(), [one], test),
        project_digest(small(), [one, other], one),
    ]
    assert len({digest, *others}) == 5


def test_machines_are_alike_by_processor_and_torch() -> None:
    here = this_machine()
    assert here.same_bits(Machine(here.processor, here.torch, "2001-01-01"))
    assert not here.same_bits(replace(here, torch="1.0"))
    assert not here.same_bits(replace(here, processor="abacus"))


def test_what_is_not_installed_has_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ("flower" in missing()) == (not list(metadata.distributions(name="flwr")))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert missing() == INSTALL
