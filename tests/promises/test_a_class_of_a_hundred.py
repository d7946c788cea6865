"""A class as real datasites: files, ledger and work grow with the number of participants, not with its square.

Counts alone, so that no machine is too slow or too busy for it; `python -m benchmarks hundred` has the seconds.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedkit.datasite.permissions import Permissions
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve_all
from tests.support.helpers import AGGREGATOR, LINEAR, held_out, shard, small

SIZES = (5, 10, 20)


@dataclass
class Counted:
    """files, folders : on the disk. lines : of the ledger. calls : of functions, in the second of two rounds. idle : of
    functions, in a pass of the sync in which nothing is new."""

    network: Network
    files: int = 0
    folders: int = 0
    lines: int = 0
    calls: int = 0
    idle: int = 0


class Calls:
    """Counts the calls of functions in this thread and in those that it starts."""

    def __enter__(self) -> Calls:
        self.number = 0
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def _note(self, frame: Any, event: str, what: Any) -> None:
        self.number += event in ("call", "c_call")


def run(root: Path, size: int) -> Counted:
    people = [f"p{number:03d}@example.org" for number in range(size)]
    network = Network.create(root, aggregator=AGGREGATOR, participants=people, workers=1)
    for email in people:
        network.give_data(email, shard([0, 1], per_digit=2))
    network.give_test(*held_out(10))
    network.launch(small(participants=people), LINEAR)
    network.run(approve=approve_all, until_round=1)
    counted = Counted(network)
    with Calls() as calls:
        assert network.run(approve=approve_all).done
    counted.calls = calls.number
    with Calls() as calls:
        assert network.sync() == []
    counted.idle = calls.number
    for _, folders, files in os.walk(root):
        counted.files += len(files)
        counted.folders += len(folders)
    counted.lines = len(network.ledger())
    return counted


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> list[Counted]:
    run(tmp_path_factory.mktemp("first"), 2)  # what is imported and compiled once is not counted
    return [run(tmp_path_factory.mktemp(str(size)), size) for size in SIZES]


@pytest.mark.parametrize("what", ["files", "folders", "lines"])
def test_each_participant_adds_as_much_as_the_one_before(classes: list[Counted], what: str) -> None:
    first, second, third = (getattr(counted, what) for counted in classes)
    assert third - second == 2 * (second - first)
    assert third < 60 * SIZES[-1]


@pytest.mark.parametrize("what", ["calls", "idle"])
def test_the_work_grows_with_the_participants(classes: list[Counted], what: str) -> None:
    """Of the square, four times as much would be added in the second step."""
    first, second, third = (getattr(counted, what) for counted in classes)
    assert third - second < 2.1 * (second - first)


def test_nothing_goes_from_participant_to_participant(classes: list[Counted]) -> None:
    for counted in classes:
        assert all(AGGREGATOR in (line.sender, line.receiver) for line in counted.network.ledger())
        for email in counted.network.participants:
            lying = {path.name for path in counted.network[email].datasites.iterdir()}
            assert lying <= {email, AGGREGATOR}


def test_what_a_participant_shows_still_goes_to_all(classes: list[Counted]) -> None:
    """public/ is open without a permission file of its own, and a request can only come from the aggregator."""
    network = classes[0].network
    first, *others = network.participants
    (network[first].public / "hello.txt").write_text("hello", encoding="utf-8")
    assert network.sync() == []
    for email in (*others, AGGREGATOR):
        copy = network[email].datasites / first / "public" / "hello.txt"
        assert copy.read_text(encoding="utf-8") == "hello"
    may = Permissions(network[first].datasites).may
    request = f"{first}/app_data/fl_client/request/P/fl_config.json"
    assert may(AGGREGATOR, "create", request)
    assert not may(others[0], "create", request)
    assert not may(others[0], "read", request)
    assert not may(others[0], "create", f"{first}/public/x")
