"""`fedkit class`: a room is opened, learners sit down with one command each, and the project is done."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.config.client_config import ClientConfig
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard, write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.road import write_road
from fedkit.federation.network import Network
from fedkit.federation.roads import pysyft
from fedkit.federation.seats import codes_of, look
from fedkit.protocol.approval import answer, approve_all
from tests.promises.test_synced_folder import bound
from tests.support import ROOT
from tests.support.cli import fedkit, free_port
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    final_model,
    held_out,
    posix,
    put_launch,
    shard,
    small,
)
from tests.support.processes import Processes
from tests.support.pysyft_network import pysyft_python
from tests.support.syftbox_network import SyftBoxNetwork

PEOPLE = [ALICE, BOB, CAROL]


def opened(root: Path, seats: int) -> Path:
    """A teacher's datasite on a synced road, with a room; returns its config.json."""
    config = root / "teacher.json"
    where = ("--data-dir", root / "teacher", "--config_path", config, "--port", 8080)
    fedkit("client", "--email", AGGREGATOR, *where, "--synced", "--once")
    how = ("--project", PROJECT, "--seats", seats, "--out", root / "invitations")
    said = fedkit("class", "open", "--name", "ROOM", *how, "--config_path", config)
    assert f"{seats} invitation" in said
    return config


def test_three_seats_sit_down_with_one_command_each(tmp_path: Path) -> None:
    config = opened(tmp_path, 3)
    files = sorted((tmp_path / "invitations").iterdir())
    assert [path.name for path in files] == ["codes.txt", *(f"seat-0{n}.txt" for n in (1, 2, 3))]
    by_code = files.pop(0).read_text().splitlines()[2].split()[1]
    shutil.copytree(tmp_path / "teacher" / "datasites", tmp_path / "seat3" / "datasites")
    for n, given in enumerate([*files[:2], by_code], start=1):
        where = ("--data-dir", tmp_path / f"seat{n}")
        said = fedkit("class", "join", given, *where, "--yes", "--once")
        assert f"Seat {n} of ROOM: seat-0{n}@example.org, for {PROJECT}." in said
        site = Datasite.load(tmp_path / f"seat{n}" / "config.json")
        assert site.road.name == "synced"
        shutil.copytree(site.root, tmp_path / "teacher" / "datasites" / site.email)
    said = fedkit("class", "seats", "ROOM", "--config_path", config)
    assert said.count("launch the project") == 3


def test_what_is_not_confirmed_makes_nothing(tmp_path: Path) -> None:
    opened(tmp_path, 1)
    invitation = tmp_path / "invitations" / "seat-01.txt"
    text = invitation.read_text()
    said = fedkit("class", "join", invitation, "--data-dir", tmp_path / "seat", code=1)
    assert "is not confirmed; nothing was made" in said
    for at in (3, 40):
        altered = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :].strip()
        said = fedkit("class", "join", altered, "--data-dir", tmp_path / "seat", "--yes", code=1)
        assert "is no invitation" in said
    assert not (tmp_path / "seat").exists()


def test_whose_seats_they_are_is_read_from_a_text(tmp_path: Path) -> None:
    config, people = opened(tmp_path, 1), tmp_path / "people.txt"
    how = ("--project", PROJECT, "--people", people, "--out", tmp_path / "out")

    def said(name: str, code: int = 1) -> str:
        return fedkit("class", "open", "--name", name, *how, "--config_path", config, code=code)

    assert "is not there" in said("A")
    for data, told in (
        (b"\xff\xfe\x00", "is no text"),
        (b"ann@example.org\nAnn@Example.org\n", "more than one seat for ann@example.org"),
        (b"", "has no seats"),
    ):
        people.write_bytes(data)
        assert told in said("A")
    assert not (tmp_path / "out").exists()
    people.write_bytes(b"\xef\xbb\xbfann@example.org\r\nbob@example.org\r\n")
    assert "2 invitations" in said("A", code=0)


def test_a_room_says_what_its_road_needs(tmp_path: Path) -> None:
    opened(tmp_path, 1)
    join = ("class", "join", tmp_path / "invitations" / "seat-01.txt", "--yes", "--once")
    config = tmp_path / "teacher.json"
    for option in (("--syftbox", config), ("--drive", tmp_path), ("--token", config)):
        said = fedkit(*join, "--data-dir", tmp_path / "seat", *option, code=2)
        assert f"{option[0]} is for another road than this room's, 'synced'" in said
    assert not (tmp_path / "seat").exists()


def test_a_room_on_pysyft_meets_its_seats_before_any_project(tmp_path: Path) -> None:
    write_road(tmp_path / "teacher", "pysyft")
    board = Datasite.create(tmp_path / "teacher", AGGREGATOR)
    ClientConfig(board.data_dir, AGGREGATOR).save(tmp_path / "teacher.json")
    how = ("--project", PROJECT, "--seats", 2, "--out", tmp_path / "invitations")
    fedkit("class", "open", "--name", "ROOM", *how, "--config_path", tmp_path / "teacher.json")
    assert pysyft.people(board) == {"seat-01@example.org", "seat-02@example.org"}


def test_a_data_dir_serves_one_seat(tmp_path: Path) -> None:
    opened(tmp_path, 2)
    first, second = sorted((tmp_path / "invitations").glob("seat-*.txt"))
    where = ("--data-dir", tmp_path / "seat", "--yes", "--once")
    fedkit("class", "join", first, *where)
    assert "is the data dir of seat-01@example.org" in fedkit(
        "class", "join", second, *where, code=1
    )


# ------------------------------------------------------------------- from `class open` to a finished project


def digits(seat: int) -> Shard:
    """What lies at a seat, which are counted from 0."""
    return shard([2 * seat % 10, (2 * seat + 1) % 10])


def at_home(root: Path, config: FLConfig) -> str:
    """The hash of the last global model of the same project on fedkit's own network."""
    net = Network.create(root, aggregator=AGGREGATOR, participants=config.participants, workers=1)
    for seat, email in enumerate(config.participants):
        net.give_data(email, digits(seat))
    net.give_test(*held_out())
    net.launch(config, LINEAR)
    assert net.run(approve=approve_all).done
    return sha256_bytes(final_model(net))


def teacher(root: Path, *road: object) -> tuple[object, ...]:
    """The arguments of a teacher's client on a road."""
    where = ("--email", AGGREGATOR, "--data-dir", root / "teacher", "--port", free_port())
    return ("client", *where, *road, "--config_path", root / "teacher.json")


class Class:
    """A teacher's client and a `fedkit class join` for each seat, as processes, on any road.

    teacher : arguments of the teacher's client; the last one is its config.json. seats : e-mail -> its config.json, in the
    order of the seats.
    """

    def __init__(
        self, root: Path, teacher: Sequence[object], seats: Mapping[str, Path], python: Path
    ) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        self.root, self.seats = root, dict(seats)
        self.processes = Processes(root / "class", env)
        self.command = [str(python), "-m", "fedkit.cli.main"]
        self.teacher = [str(part) for part in teacher]
        once = [*self.command, *self.teacher, "--once"]
        subprocess.run(once, env=env, check=True, capture_output=True)
        (root / "people.txt").write_text("\n".join(seats))
        how = ("--project", PROJECT, "--people", root / "people.txt", "--out", root / "invitations")
        board = self.teacher[-1]
        fedkit("class", "open", "--name", "ROOM", *how, "--config_path", board)
        self.board, self.sites = Datasite.load(Path(board)), dict[str, Datasite]()
        self.patience_s = 120.0 + 20.0 * len(seats)

    def start(self, name: str, *command: object) -> None:
        self.processes.start(name, *self.command, *map(str, command))

    def join(self, email: str, *how: object) -> None:
        """Where there are codes, every second seat is taken by its own, the others by their files."""
        seat = [*self.seats].index(email) + 1
        given: object = self.root / "invitations" / f"seat-{seat:02d}.txt"
        if seat % 2 == 0:
            given = codes_of(self.board, "ROOM").get(email, given)
        self.start(email, "class", "join", given, "--yes", *how)

    def told(self) -> set[str]:
        return {seat.what for seat in look(self.board, "ROOM")}

    def finish(self, config: FLConfig) -> None:
        """Everybody sits down, then the project is launched, and run until all are done, with the same model as at home."""
        write_dataset(self.board.private_aggregator / config.test_dataset, *held_out())
        self.start("teacher", *self.teacher)
        wait = self.processes.wait
        wait(lambda: self.told() == {"launch the project"}, "all sit", self._move, self.patience_s)
        for pid in self.processes.pids():  # who waits has not imported what trains
            mapped = Path(f"/proc/{pid}/maps")
            assert not mapped.is_file() or "libtorch" not in mapped.read_text()
        put_launch(self.board, config)
        wait(self._done, "all are done", self._move, self.patience_s)
        assert self.told() == {"nothing: the project is done"}
        places = [self.board.aggregator().project(PROJECT, "done")]
        places += [site.client().project(PROJECT, "done") for site in self.sites.values()]
        last = [sha256_bytes(p.global_model(config.rounds).read_bytes()) for p in places]
        assert last == [at_home(self.root / "home", config)] * (len(self.seats) + 1)

    def _done(self) -> bool:
        boxes = [self.board.aggregator(), *(site.client() for site in self.sites.values())]
        return len(boxes) > len(self.seats) and all((b.done / PROJECT).is_dir() for b in boxes)

    def _move(self) -> None:
        """What people do: give data as soon as they sit, say yes to what they are asked."""
        assert self.processes.alive(), self.processes.said()
        for seat, (email, config) in enumerate(self.seats.items()):
            if email not in self.sites and config.is_file():
                site = Datasite.load(config)
                if has_permission_file(site.client().request):
                    write_shard(site.private_client, digits(seat))
                    self.sites[email] = site
        for site in self.sites.values():
            answer(site, approve_all)
        time.sleep(len(self.seats) / 30)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("seats", [3, 30])
def test_a_process_for_each_seat_over_one_folder(tmp_path: Path, seats: int) -> None:
    """Each data dir has the same `datasites`, mounted there: a share, as in a room with a file server."""
    people = [f"seat-{n:02d}@example.org" for n in range(1, seats + 1)]
    with contextlib.ExitStack() as stack:
        for name in ("teacher", *people):
            stack.enter_context(bound(tmp_path / name / "datasites", tmp_path / "share"))
        configs = {who: tmp_path / who / "config.json" for who in people}
        room = Class(tmp_path, teacher(tmp_path, "--synced"), configs, Path(sys.executable))
        stack.callback(room.processes.end)
        for who in people:
            room.join(who, "--data-dir", tmp_path / who, "--port", free_port())
        room.finish(small(participants=people, rounds=1 if seats > 3 else 2))


@posix
@pytest.mark.slow
def test_three_seats_over_syftbox(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(SyftBoxNetwork(tmp_path / "net", [AGGREGATOR, *PEOPLE]))
        client = ("client", "--syftbox", net.configs[AGGREGATOR])
        configs = {who: net.configs[who] for who in PEOPLE}
        room = Class(tmp_path, client, configs, Path(sys.executable))
        stack.callback(room.processes.end)
        for who in PEOPLE:
            room.join(who, "--syftbox", net.configs[who])
        room.finish(small(participants=PEOPLE))


@posix
@pytest.mark.slow
def test_three_seats_over_pysyft(tmp_path: Path) -> None:
    """A folder plays the drive."""
    drive = ("--drive", tmp_path / "drive")
    client = teacher(tmp_path, "--transport", "pysyft", *drive)
    configs = {who: tmp_path / who / "config.json" for who in PEOPLE}
    with contextlib.ExitStack() as stack:
        room = Class(tmp_path, client, configs, pysyft_python())
        stack.callback(room.processes.end)
        for who in PEOPLE:
            room.join(who, "--data-dir", tmp_path / who, "--port", free_port(), *drive)
        room.finish(small(participants=PEOPLE))
