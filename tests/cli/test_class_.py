"""`fedkit class`: a room is opened, learners sit down with one command each, and the project is done."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.config.client_config import ClientConfig
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.approval import answer, approve_all
from tests.promises.test_synced_folder import bound
from tests.support.cli import FEDKIT, fedkit
from tests.support.helpers import AGGREGATOR, PROJECT, held_out, posix, put_launch, shard, small


def opened(root: Path, seats: int) -> Path:
    """A teacher's datasite on a synced road, with a room; returns its config.json."""
    config = root / "teacher.json"
    where = ("--data-dir", root / "teacher", "--config_path", config, "--port", 8080)
    fedkit("client", "--email", AGGREGATOR, *where, "--synced", "--once")
    how = ("--project", PROJECT, "--seats", seats, "--out", root / "invitations")
    said = fedkit("class", "open", "--name", "ROOM", *how, "--config_path", config)
    assert f"{seats} invitations" in said
    return config


def test_three_seats_sit_down_with_one_command_each(tmp_path: Path) -> None:
    config = opened(tmp_path, 3)
    files = sorted((tmp_path / "invitations").iterdir())
    assert [path.name for path in files] == [f"seat-0{n}.txt" for n in (1, 2, 3)]
    for n, path in enumerate(files, start=1):
        said = fedkit("class", "join", path, "--data-dir", tmp_path / f"seat{n}", "--yes", "--once")
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
    altered = text.replace(text[40], "A" if text[40] != "A" else "B", 1)
    said = fedkit(
        "class", "join", altered.strip(), "--data-dir", tmp_path / "seat", "--yes", code=1
    )
    assert "is no invitation" in said
    assert not (tmp_path / "seat").exists()


def test_a_data_dir_serves_one_seat(tmp_path: Path) -> None:
    opened(tmp_path, 2)
    first, second = sorted((tmp_path / "invitations").iterdir())
    where = ("--data-dir", tmp_path / "seat", "--yes", "--once")
    fedkit("class", "join", first, *where)
    assert "is the data dir of seat-01@example.org" in fedkit(
        "class", "join", second, *where, code=1
    )


@posix
@pytest.mark.slow
@pytest.mark.parametrize("seats", [3, 30])
def test_a_process_for_each_seat_over_one_folder(tmp_path: Path, seats: int) -> None:
    """Each data dir has the same `datasites`, mounted there: a share, as in a room with a file server."""
    people = [f"seat-{n:02d}@example.org" for n in range(1, seats + 1)]
    share = tmp_path / "share"
    with contextlib.ExitStack() as stack:
        for name in ("teacher", *people):
            stack.enter_context(bound(tmp_path / name / "datasites", share))
        config = opened(tmp_path, seats)
        board = Datasite.load(config)
        write_dataset(board.private_aggregator / "mnist_test_dataset.pt", *held_out())
        files = sorted((tmp_path / "invitations").iterdir())
        commands = [
            ["class", "join", path, "--data-dir", tmp_path / who, "--yes", "--port", 9000 + n]
            for n, (who, path) in enumerate(zip(people, files, strict=True))
        ]
        commands.append(["client", "--config_path", config, *_settings(config, tmp_path)])
        for command in commands:
            process = subprocess.Popen(
                [*FEDKIT, *map(str, command)],
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                stdout=(tmp_path / f"{len(command)}.log").open("ab"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stack.callback(_end, process)
        put_launch(board, small(participants=people, rounds=1))
        sites = {}
        end = time.monotonic() + 60 + 20 * seats
        while not (board.aggregator().done / PROJECT).is_dir():
            assert time.monotonic() < end, fedkit("class", "seats", "ROOM", "--config_path", config)
            for n, who in enumerate(people):
                if who not in sites and (tmp_path / who / "config.json").is_file():
                    sites[who] = Datasite.load(tmp_path / who / "config.json")
                    write_shard(sites[who].private_client, shard([n % 10]))
                if who in sites:
                    answer(sites[who], approve_all)
            time.sleep(1)
        done = [site.client().done / PROJECT for site in sites.values()]
        while not all(folder.is_dir() for folder in done):
            assert time.monotonic() < end
            time.sleep(1)
        last = {
            sha256_bytes(s.client().project(PROJECT, "done").global_model(1).read_bytes())
            for s in sites.values()
        }
        assert len(last) == 1


def _settings(config: Path, root: Path) -> list[object]:
    known = ClientConfig.load(config)
    return ["--email", known.email, "--data-dir", root / "teacher", "--port", 8999]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
