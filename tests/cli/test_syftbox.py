"""`fedkit client --syftbox` and `fedkit syftbox install`, with the files of a SyftBox client, and none that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
from tests.support.cli import fedkit, running
from tests.support.helpers import ALICE, posix, put_launch, snapshot, solo


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """What a SyftBox 0.4.0 client has written after its first start."""
    data_dir = tmp_path / "box"
    (data_dir / "apps").mkdir(parents=True)
    (data_dir / ".metadata.json").write_text('{"version": "0.4.0"}')
    path = tmp_path / "config.json"
    theirs = {"data_dir": str(data_dir), "email": ALICE, "server_url": "http://127.0.0.1:1/",
              "client_url": "http://127.0.0.1:7938/", "access_token": "secret", "client_timeout": 5.0}  # fmt: skip
    path.write_text(json.dumps(theirs))
    return path


def test_the_clients_own_file_is_only_read(config: Path) -> None:
    before = config.read_bytes(), config.stat().st_mtime_ns
    output = fedkit("client", "--syftbox", config, "--once")
    assert "Made the datasite" in output
    assert (config.read_bytes(), config.stat().st_mtime_ns) == before
    site = Datasite.load(config)
    assert (site.email, site.road.name, site.road.others_can_write) == (ALICE, "syftbox", False)
    assert json.loads((site.data_dir / "private" / "road.json").read_text()) == {"road": "syftbox"}
    assert "secret" not in output


def test_a_project_under_way_takes_this_road_too(config: Path) -> None:
    """Before this option, `fedkit client` was run in the same data dir: there the folders are the same."""
    site = solo(config.parent / "box")
    put_launch(site)
    node.advance(site)
    fedkit("client", "--syftbox", config, "--once", code=3)
    assert Datasite.load(config).road.name == "syftbox"


def test_syftbox_is_started_first(config: Path) -> None:
    """Of a folder that it does not know, it offers to remove what is there, `private/` too."""
    (config.parent / "box" / ".metadata.json").unlink()
    before = snapshot(config.parent)
    for words in (["client", "--once", "--syftbox"], ["syftbox", "install", "--config_path"]):
        output = fedkit(*words, config, code=1)
        assert "start the SyftBox client first" in output
        assert "private/ too" in output
        assert "start the SyftBox client once" in fedkit(*words, config.parent / "none", code=1)
    assert snapshot(config.parent) == before


@pytest.mark.parametrize("more", [["--synced"], ["--email", ALICE], ["--data-dir", "x"]])
def test_nothing_else_says_who_and_where(config: Path, more: list[str]) -> None:
    before = snapshot(config.parent)
    assert "leave out" in fedkit("client", "--syftbox", config, *more, "--once", code=2)
    assert snapshot(config.parent) == before


@posix
def test_it_takes_any_free_port_and_ends_with_its_parent(config: Path, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with running(tmp_path, "client", "--syftbox", config, "--parent", parent.pid) as client:
        said = client.until("Watching")
        assert "localhost:0/" not in said
        assert "localhost:7938/" not in said
        parent.communicate(b"\n")
        assert client.process.wait(60) == 0
    assert "Stopped." in client.said()


@posix
def test_an_app_is_started_once_and_ends_with_the_client(config: Path) -> None:
    fedkit("syftbox", "install", "--config_path", config)
    folder = config.parent / "box" / "apps" / "fedkit"
    assert [path.name for path in folder.iterdir()] == ["run.sh"]
    assert f"\n{sys.executable} -m fedkit client" in (folder / "run.sh").read_text()
    # a client that starts its apps again and again, each time as SyftBox does: with few variables, waiting for the script
    code = "import os, subprocess, sys; env = {'PATH': os.environ['PATH'], 'SYFTBOX_CLIENT_CONFIG_PATH': sys.argv[1]}\n"
    code += "for _ in sys.stdin: print(subprocess.run(['sh', 'run.sh'], env=env, capture_output=True), flush=True)"
    client = subprocess.Popen(
        [sys.executable, "-c", code, config],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    workers = set()
    for _ in range(2):
        client.stdin.write("\n")
        client.stdin.flush()
        assert "returncode=0, stdout=b'', stderr=b''" in client.stdout.readline()
        told, worker = map(int, (folder / "running").read_text().split())
        assert told == client.pid
        workers.add(worker)
    (worker,) = workers
    try:
        wait_for(lambda: "Watching" in (folder / "fedkit.log").read_text())
        before = (folder / "run.sh").read_bytes()
        fedkit("syftbox", "install", "--config_path", config)  # once more, beside the running one
        assert (folder / "run.sh").read_bytes() == before
        client.communicate("")
        wait_for(lambda: "Stopped." in (folder / "fedkit.log").read_text())
    finally:
        if (folder / "fedkit.log").read_text().count("Stopped.") == 0:
            os.kill(worker, signal.SIGKILL)


def wait_for(true: object, seconds: float = 60.0) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
