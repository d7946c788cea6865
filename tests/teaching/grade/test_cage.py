"""In the cage a process can compute, and nothing else."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

TRY = """
import json, os, resource, socket, subprocess, sys, threading
from pathlib import Path
import numpy
from fedkit.teaching.grade import cage
if "elsewhere" in sys.argv:
    cage._MACHINES = {}
left = cage.enter(2 * 2**30)
mine = Path(sys.argv[1])
acts = {
    "write": lambda: open(mine / "new", "w"),
    "append": lambda: open(mine / "old", "a"),
    "remove": lambda: (mine / "old").unlink(),
    "rename": lambda: (mine / "old").rename(mine / "older"),
    "folder": lambda: (mine / "folder").mkdir(),
    "socket": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "unix": lambda: socket.socketpair(),
    "fork": os.fork,
    "program": lambda: subprocess.run(["true"]),
    "kill": lambda: os.kill(os.getppid(), 0),
    "limits": lambda: resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40)),
    "memory": lambda: bytearray(4 * 2**30),
    "read": lambda: (mine / "old").read_text(),
    "thread": lambda: threading.Thread(target=list).start(),
    "compute": lambda: float(numpy.ones(100) @ numpy.ones(100)),
    "import": lambda: __import__("sqlite3"),
}
def went(act):
    try:
        act()
    except (OSError, MemoryError, ValueError):
        return False
    return True
if "elsewhere" in sys.argv:
    acts = {}
print(json.dumps({"left": left, "went": {name: went(act) for name, act in acts.items()}}))
"""
KNOWN = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


def tried(*arguments: object) -> dict[str, object]:
    command = [sys.executable, "-c", TRY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not KNOWN, reason="the filter is for Linux on x86-64 and aarch64")
def test_it_can_compute_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("mine")
    found = tried(tmp_path)
    can = {name for name, went in dict(found["went"]).items() if went}  # type: ignore[call-overload]
    assert can == {"read", "thread", "compute", "import"}
    assert found["left"] == []


def test_where_it_can_not_be_forbidden_it_is_said(tmp_path: Path) -> None:
    (left,) = tried(tmp_path, "elsewhere")["left"]  # type: ignore[misc]
    assert "the network, other programs and writing files could not be forbidden here" in left  # type: ignore[has-type]
