"""In the cage a process can compute, and nothing else."""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedkit.teaching.grade.cage import _COMPUTES, _REFUSED
from tests.support import ROOT

TRY = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading, time
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
    "signal": lambda: called(234, os.getppid(), os.getppid(), 0),
    "descriptor": lambda: called(424, os.open(f"/proc/{os.getppid()}", 0), 0, 0, 0),
    "group": lambda: os.setpgid(0, 0),
    "rights": lambda: os.fchmod(os.open(mine / "old", os.O_RDONLY), 0),
    "times": lambda: os.utime(mine / "old"),
    "shared": lambda: called(29, 77, 1000, 0o1600),
    "nameless": lambda: os.memfd_create("x"),
    "owner": lambda: __import__("fcntl").fcntl(0, 8, os.getppid()),
    "terminal": lambda: __import__("fcntl").ioctl(0, 0x5412, b"x"),
    "aligned": lambda: called(302, 0, 7, page(), 0),
    "mail": lambda: open("/etc/passwd").read(),
    "others": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "myself": lambda: signal.raise_signal(signal.SIGCHLD),
    "sleep": lambda: time.sleep(0.001),
    "limits": lambda: resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40)),
    "memory": lambda: bytearray(4 * 2**30),
    "read": lambda: (mine / "old").read_text(),
    "thread": lambda: threading.Thread(target=list).start(),
    "compute": lambda: float(numpy.ones(100) @ numpy.ones(100)),
    "import": lambda: __import__("sqlite3"),
}
libc = ctypes.CDLL(None, use_errno=True)
def called(*what):
    if libc.syscall(*what) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def page():
    "A place in memory whose address ends in zeros, as a null pointer would."
    number = [ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *number]
    return ctypes.c_void_p(libc.mmap(0x200000000, 4096, 3, 0x32, -1, 0))
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
    ours = {"thread", "compute", "import", "myself", "sleep"}
    assert can == ours | (set() if found["left"] == [] else {"read", "mail", "others"})
    assert found["left"] in (
        [],
        ["a learner's code can read here what you can read, and a reason may quote it"],
    )


def test_where_it_can_not_be_forbidden_it_is_said(tmp_path: Path) -> None:
    *_, left = tried(tmp_path, "elsewhere")["left"]  # type: ignore[misc]
    assert "the network, other programs and writing files could not be forbidden here" in left  # type: ignore[has-type]


HEADERS = [
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),
]


@pytest.mark.skipif(not all(map(Path.is_file, HEADERS)), reason="the kernel's headers are not here")
def test_calls_have_the_kernels_numbers() -> None:
    for column, header in enumerate(HEADERS):
        found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\n", header.read_text())
        known = {name: int(number) for name, number in found}
        known.setdefault("newfstatat", known.get("fstatat", -1))
        for table in (_COMPUTES, _REFUSED):
            for name, *numbers in map(str.split, table.split(",")):
                if numbers[column] != "-":
                    assert known[name] == int(numbers[column]), (name, header)
