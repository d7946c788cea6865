"""What lies open on a disk: found where it is as it is, in files and databases, and not under masks or encryption."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_state
from fedkit.base.keys import new_secret, seal
from fedkit.federation.network import Network
from fedkit.federation.roads.disks import (
    Thing,
    could_open,
    count_kinds,
    traces_of,
    traces_of_states,
    watched,
)
from fedkit.protocol.approval import approve_all
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched

STATES = {
    Thing("update", who, n): {"w": torch.cat([torch.zeros(40), torch.full((60,), value)])}
    for who, n, value in ((ALICE, 1, 1.0), (ALICE, 2, 2.0), (BOB, 1, 3.0))
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Network:
    network = launched(tmp_path_factory.mktemp("home"))
    network.run(approve=approve_all)
    return network


def test_everybody_has_what_the_protocol_gives_and_no_more(home: Network) -> None:
    traces = traces_of(home, PROJECT)
    assert count_kinds(traces) == {"global model": 3, "images": 2, "update": 4}
    assert len(set(traces.values())) == len(traces)
    seen = {email: could_open(site.data_dir, traces) for email, site in home.sites.items()}
    models = {thing for thing in traces if thing.kind == "global model"}
    updates = {thing for thing in traces if thing.kind == "update"}
    assert seen[AGGREGATOR] == models | updates
    for who in (ALICE, BOB):
        own = {thing for thing in traces if thing.who == who}
        assert seen[who] == models | own


def test_masks_hide_updates_and_are_seen_themselves(tmp_path: Path) -> None:
    people = [ALICE, BOB, "carol@example.org"]
    masks = {"secure_aggregation": {"threshold": 2}, "participants": people, "rounds": 1}
    network = launched(tmp_path, **masks)
    network.run(approve=approve_all)
    traces = traces_of(network, PROJECT)
    assert count_kinds(traces) == {"global model": 2, "images": 3, "masked update": 3, "update": 3}
    found = count_kinds(could_open(network[AGGREGATOR].data_dir, traces))
    assert found == {"global model": 2, "masked update": 3}


def test_traces_stand_where_no_two_models_are_alike() -> None:
    """Weights of pixels that are always black never change: the first 40 are the same in all."""
    traces = traces_of_states(STATES)
    assert [piece for piece in traces.values() if not any(piece)] == []
    assert {len(piece) for piece in traces.values()} == {64}
    alike = {thing: {"w": torch.zeros(100)} for thing in STATES}
    with pytest.raises(FedkitError, match="at no place do all of these models differ"):
        traces_of_states(alike)


def test_a_database_shows_it_and_encryption_does_not(tmp_path: Path) -> None:
    traces = traces_of_states(STATES)
    thing, state = next(iter(STATES.items()))
    plain = write_state(tmp_path / "plain" / "x.pt", state)
    database = tmp_path / "database" / "messages.db"
    database.parent.mkdir()
    with sqlite3.connect(database) as connection:
        connection.execute("create table objects (content blob)")
        connection.execute("insert into objects values (?)", (plain,))
    connection.close()
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "x.bin").write_bytes(seal(new_secret(), plain, b""))
    assert could_open(tmp_path / "plain", traces) == {thing}
    assert could_open(tmp_path / "database", traces) == {thing}
    assert could_open(tmp_path / "sealed", traces) == set()


def test_what_lay_there_for_a_moment_was_seen(tmp_path: Path) -> None:
    traces = traces_of_states(STATES)
    passing, staying = list(STATES)[:2]
    with watched({"server": tmp_path / "s", "nobody": tmp_path / "absent"}, traces) as seen:
        write_state(tmp_path / "s" / "message.pt", STATES[passing])
        until = time.monotonic() + 30
        while passing not in seen["server"] and time.monotonic() < until:
            time.sleep(0.05)
        (tmp_path / "s" / "message.pt").unlink()
        write_state(tmp_path / "s" / "last.pt", STATES[staying])
    assert seen == {"server": {passing, staying}, "nobody": set()}


def test_what_is_not_done_has_no_traces(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="is not done"):
        traces_of(launched(tmp_path), PROJECT)
