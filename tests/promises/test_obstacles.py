"""Whatever lies where a file or a folder belongs, in folders that another one writes: its owner is harmed, the others end.

One shared tree, as on one machine without a sync in between: nothing puts right what Bob has put there.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.events import Event, Problem, render
from fedkit.base.files import write_dataset
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from fedkit.rounds.history import read_history
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    PROJECT,
    by_the_modes,
    held_out,
    posix,
    put_launch,
    shard,
    small,
)

pytestmark = posix


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def a_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # endless zeros
    except PermissionError:
        pytest.skip("only root makes devices")


def a_full_folder(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_text("x", encoding="utf-8")


THINGS: dict[str, Callable[[Path], object]] = {
    "a full folder": a_full_folder,
    "an empty folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a socket": a_socket,
    "a device": a_device,
    "a link nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link out": lambda path: path.symlink_to("/etc/hostname"),
    "a file": lambda path: path.write_bytes(b"mine"),
}

BOX = f"{BOB}/app_data/fl_client"
RUNNING = f"{BOX}/running/{PROJECT}"
INBOX = f"{AGGREGATOR}/app_data/fl_aggregator/running/{PROJECT}/fl_clients/{BOB}"
PLAIN: list[tuple[int, str]] = [
    (0, f"{BOX}/request/{PROJECT}"),
    (0, f"{BOX}/request/{PROJECT}/fl_config.json"),
    (0, f"{BOX}/request/{PROJECT}/model.py"),
    (0, f"{BOX}/declined"),
    (0, f"{BOX}/running"),
    (0, f"{BOX}/done"),
    (1, f"{RUNNING}"),
    (1, f"{RUNNING}/agg_weights"),
    (1, f"{RUNNING}/agg_weights/agg_model_round_1.pt"),
    (1, f"{RUNNING}/agg_weights/round_2.json"),
    (1, f"{RUNNING}/agg_weights/syft.pub.yaml"),
    (1, f"{RUNNING}/state"),
    (1, f"{RUNNING}/state/state.json"),
    (1, f"{BOX}/declined"),
    (1, f"{BOX}/done/{PROJECT}"),
    (1, INBOX),
    (1, f"{INBOX}/trained_model_round_2.pt"),
    (1, f"{INBOX}/trained_model_round_2.json"),
    (1, f"{INBOX}/dataset_size.json"),
    (1, f"{INBOX}/syftperm.yaml"),
    (1, f"{INBOX}/_.syftperm"),
]
SCAFFOLD = [(1, f"{RUNNING}/agg_weights/extra_round_2.bin"), (1, f"{INBOX}/extra_round_2.bin")]
MASKED = [
    *((0, f"{BOB}/public/{name}") for name in ("keys", "keys/fl_client.json")),
    (1, f"{RUNNING}/agg_weights/secagg_2_roster.json"),
    (1, f"{RUNNING}/agg_weights/secagg_2_survivors.json"),
    (1, f"{INBOX}/secagg_2_keys.msg"),
    (1, f"{INBOX}/secagg_2_masked.msg"),
    (1, f"{INBOX}/secagg_2_revealed.msg"),
]
ROADS: dict[str, tuple[list[tuple[int, str]], dict[str, Any]]] = {
    "plain": (PLAIN, {}),
    "scaffold": (SCAFFOLD, {"strategy": {"name": "scaffold"}}),
    "masked": (MASKED, {"secure_aggregation": {"threshold": 2}}),
}
EVERYWHERE = ("a full folder",)
"""Put at each place; of the other things, each place gets one, in turn."""


def rows() -> list[Any]:
    others = [kind for kind in THINGS if kind not in EVERYWHERE]
    found = [(road, *row) for road, (places, _) in ROADS.items() for row in places]
    chosen = []
    for number, (road, after, place) in enumerate(found):
        kinds = [*EVERYWHERE, others[number % len(others)]]
        if os.environ.get("FEDKIT_FUZZ"):
            kinds = list(THINGS)
        for kind in kinds:
            if not (kind == "a file" and Path(place).suffix):
                name = f"{road}-{after}-{place.split('@')[-1][12:]}-{kind}"
                chosen.append(pytest.param(road, after, place, kind, id=name))
    return chosen


CLOSED = [
    (road, place, mode)
    for mode in (0o000, 0o555)
    for road, place in (
        *(("plain", place) for place in (RUNNING, BOX, f"{BOX}/request/{PROJECT}", INBOX)),
        *(("plain", f"{RUNNING}/{name}") for name in ("agg_weights", "state")),
        *((road, INBOX) for road in ("scaffold", "masked")),
    )
]


@pytest.mark.parametrize(("road", "place", "mode"), CLOSED)
def test_a_folder_that_its_owner_closed_harms_its_owner_alone(
    tmp_path: Path, road: str, place: str, mode: int
) -> None:
    target = tmp_path / "datasites" / place
    try:
        with by_the_modes():
            first = 0 if "request" in place else 1
            others_end(
                tmp_path, road, first, lambda: target.chmod(mode) if target.is_dir() else None
            )
    finally:
        if target.is_dir():
            target.chmod(0o755)


def crew(root: Path, **changes: Any) -> list[Datasite]:
    emails = (AGGREGATOR, ALICE, BOB, CAROL)
    sites = [Datasite.create(root, email) for email in emails]
    write_shard(sites[0].private_client, shard([0], 2))
    write_dataset(sites[0].private_aggregator / "mnist_test_dataset.pt", *held_out(20))
    quorum = {"min_participants": 2, "approval": "quorum", "linger_s": 0}
    put_launch(sites[0], small(participants=[ALICE, BOB, CAROL], **(quorum | changes)))
    return sites


def put(path: Path, kind: str) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if path.parent.is_dir():
        THINGS[kind](path)


@pytest.mark.parametrize(("road", "after", "place", "kind"), rows())
def test_the_others_end(tmp_path: Path, road: str, after: int, place: str, kind: str) -> None:
    """after : the round after which the thing lies there."""
    target = tmp_path / "datasites" / place

    def lay() -> None:
        if after == 0:
            target.parent.mkdir(parents=True, exist_ok=True)
        put(target, kind)

    others_end(tmp_path, road, after, lay)


def others_end(root: Path, road: str, after: int, lay: Callable[[], None]) -> None:
    """Everybody but Bob gets both rounds, whatever `lay` does before round 1, or after it."""
    home, alice, bob, carol = crew(root, **ROADS[road][1])
    if after == 0:
        lay()
    events: list[Event] = []
    for _ in range(60):
        events = node.advance(home, until_round=after or None, patient=False)
        for site in (alice, bob, carol):
            events += answer(site, approve_all) + node.advance(site)
        if after and home.aggregator().project(PROJECT).global_model(after).is_file():
            lay()
            after = 0
        if home.aggregator().project(PROJECT, "done").path.is_dir():
            break
    said = "\n".join(render(event) for event in events)
    assert home.aggregator().project(PROJECT, "done").path.is_dir(), said
    rounds = read_history(home).rounds
    assert len(rounds) == 2, said
    assert {ALICE, CAROL} <= {part.participant for part in rounds[-1].contributions}
    for event in events:
        assert not (isinstance(event, Problem) and event.email != BOB), said
    assert "fedkit did not expect this" not in said
