"""Files appear whole, whoever else writes there; what dead writers leave is swept, what living ones hold is not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedkit.base import scratch
from fedkit.base.files import read_bytes, write_bytes
from tests.support import helpers
from tests.support.helpers import posix

WRITER = """
import sys
from pathlib import Path
from fedkit.base.files import write_bytes

path, byte = Path(sys.argv[1]), sys.argv[2].encode()
for size in range(150):
    write_bytes(path, byte * (200_000 + size))
"""

IN_BETWEEN = """
import sys
from pathlib import Path
from fedkit.base.files import write_bytes

def replace(self, target):
    print("written", flush=True)
    sys.stdin.readline()
    return self.rename(target)

Path.replace = replace
write_bytes(Path(sys.argv[1]), b"whole")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written `path`'s scratch file, and has not yet put it in its place."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", IN_BETWEEN, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"
            yield process
        finally:
            process.kill()


def test_two_writers_of_one_file_never_tear_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_bytes(path, b"a")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), byte], env=env) for byte in "bc"
    ]
    reads = torn = 0
    while any(writer.poll() is None for writer in writers):
        data = read_bytes(path)
        torn += len(set(data)) != 1 or not (len(data) == 1 or len(data) >= 200_000)
        reads += 1
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert reads > 20
    assert torn == 0
    assert names(tmp_path) == ["x"]


def test_threads_that_write_one_file_all_succeed(tmp_path: Path) -> None:
    failed = list[Exception]()

    def write(byte: bytes) -> None:
        try:
            for _ in range(50):
                write_bytes(tmp_path / "x", byte * 1000)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(bytes([b]),)) for b in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names(tmp_path) == ["x"]


@posix
def test_who_writes_next_sweeps_what_a_killed_writer_left(tmp_path: Path) -> None:
    with writing(tmp_path / "x") as process:
        write_bytes(tmp_path / "y", b"1")
        assert len(names(tmp_path)) == 2  # a living writer's scratch file is left alone
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert names(tmp_path) != ["y"]
    write_bytes(tmp_path / "z", b"1")
    assert names(tmp_path) == ["y", "z"]


def test_a_slow_writer_is_not_swept_by_others(tmp_path: Path) -> None:
    with writing(tmp_path / "x") as process:
        for _ in range(20):
            write_bytes(tmp_path / "x", b"other")
        process.communicate("go on\n", timeout=30)
        assert process.returncode == 0
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert names(tmp_path) == ["x"]


def test_what_the_version_before_left_is_swept_too(tmp_path: Path) -> None:
    (tmp_path / ".x.tmp").write_bytes(b"half")
    (tmp_path / ".other.tmp").write_bytes(b"not ours to judge")
    write_bytes(tmp_path / "x", b"1")
    assert names(tmp_path) == [".other.tmp", "x"]


def test_where_nothing_can_be_locked_only_old_files_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_lock", lambda number: None)
    young, old = tmp_path / ".fedkit-young.tmp", tmp_path / ".fedkit-old.tmp"
    young.touch()
    old.touch()
    os.utime(old, (1, 1))
    write_bytes(tmp_path / "x", b"1")
    assert names(tmp_path) == [".fedkit-young.tmp", "x"]


def test_a_scratch_file_swept_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, made = scratch._lock, list[int]()

    def late(number: int) -> bool | None:
        made.append(number)
        if len(made) == 1:
            next(tmp_path.glob(".fedkit-*")).unlink()
        return False if len(made) == 2 else lock(number)  # the second is being swept right now

    monkeypatch.setattr(scratch, "_lock", late)
    write_bytes(tmp_path / "x", b"1")
    assert len(made) == 3
    write_bytes(tmp_path / "x", b"2")
    assert names(tmp_path) == ["x"]


@posix
def test_pipes_links_and_folders_with_a_scratch_file_s_name_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".fedkit-pipe.tmp")
    (tmp_path / ".fedkit-link.tmp").symlink_to(tmp_path / "victim")
    (tmp_path / ".fedkit-folder.tmp").mkdir()
    before = names(tmp_path)
    write_bytes(tmp_path / "x", b"1")
    assert names(tmp_path) == [*before, "x"]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "n" * 251 + ".pt"])
def test_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name[:255], b"1")
    assert names(tmp_path) == [name[:255]]


def test_a_name_that_is_longer_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    error = helpers.complaint(lambda: write_bytes(tmp_path / ("n" * 256), b"1"))
    assert "too long" in error.what
    assert names(tmp_path) == []
