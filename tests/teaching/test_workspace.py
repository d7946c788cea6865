"""A notebook's folder: empty each time, one for each notebook, never emptied under a kernel, and free when that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedkit.teaching.workspace as module
from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, read_object
from fedkit.teaching.control.control import Control
from fedkit.teaching.workspace import MARKER, what_is_missing, workspace
from tests.support import ROOT
from tests.support.helpers import small

OTHER_KERNEL = """
import sys
from fedkit.teaching.workspace import workspace
folder = workspace("04")
(folder / "mine.txt").touch()
print(folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def beside_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("FEDKIT_WORKSPACE", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    yield
    restart()


def restart() -> None:
    """What the end of its process does to a kernel: its locks are gone, and so is what it knew."""
    for _, lock in module._HELD.values():
        lock.release()
    module._HELD.clear()


def test_it_is_empty_each_time_and_never_anybody_elses(tmp_path: Path) -> None:
    folder = workspace("04")
    assert folder == Path("runs/04")
    (folder / "alice").mkdir()
    (folder / "alice" / "x.pt").touch()
    assert not (workspace("04") / "alice").exists()
    (tmp_path / "runs" / "mine").mkdir()
    (tmp_path / "runs" / "mine" / "thesis.txt").touch()
    for name in ["mine", "..", "a/b/c", "a/..", "", "x" * 99, 4, None, Path("04")]:
        with pytest.raises(FedkitError) as caught:
            workspace(name)  # type: ignore[arg-type]
        assert caught.value.remedy
    assert (tmp_path / "runs" / "mine" / "thesis.txt").exists()


def test_a_part_is_emptied_by_itself() -> None:
    for name in ("05/one", "05/two"):
        (workspace(name) / "x").touch()
    assert list(workspace("05/one").iterdir()) == []
    assert (Path("runs/05/two") / "x").is_file()
    assert list(workspace("05").glob("[!.]*")) == []


def test_after_a_restart_the_folder_is_taken_over() -> None:
    (workspace("04") / "left").touch()
    restart()
    assert workspace("04") == Path("runs/04")
    assert not Path("runs/04/left").exists()


def test_a_copy_of_the_notebook_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in (("04.ipynb", "runs/04"), ("04-Copy1.ipynb", "runs/04-2")):
        (tmp_path / name).touch()
        monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / name))
        assert workspace("04") == Path(folder)
        (Path(folder) / name).touch()
        restart()
    assert Path("runs/04/04.ipynb").is_file()
    assert workspace("04") == Path("runs/04-2"), "the same one, each time"
    restart()
    (tmp_path / "04.ipynb").unlink()  # renamed, or thrown away: nobody's any more
    assert workspace("04") == Path("runs/04")


def test_a_second_kernel_works_beside_the_first_which_may_be_killed() -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", OTHER_KERNEL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline().strip() == str(Path("runs/04"))
        assert workspace("04") == Path("runs/04-2")
        assert Path("runs/04/mine.txt").is_file()
        assert read_object(Path("runs/04") / MARKER)["process"] == first.pid
    finally:
        first.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        first.communicate()
    restart()
    assert workspace("04") == Path("runs/04"), "its lock has died with it"
    assert not Path("runs/04/mine.txt").exists()


def test_a_disk_that_refuses_is_one_line_and_locks_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = workspace("04")
    (folder / "alice").mkdir()

    def refuses(path: Path) -> None:
        raise OSError(39, "Directory not empty", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("fedkit.teaching.workspace.shutil.rmtree", refuses)
        with pytest.raises(FedkitError, match="can't be emptied") as caught:
            workspace("04")
    assert "start again" in str(caught.value)
    assert workspace("04") == folder
    assert not (folder / "alice").exists()


def test_a_folder_that_may_not_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:  # the tests' user may be root, whom nothing is forbidden
        patch.setattr(Path, "mkdir", refuses)
        with pytest.raises(FedkitError, match="can't be made") as caught:
            workspace("04")
    assert "copy the notebook into a folder" in str(caught.value)


def test_the_networks_of_an_emptied_folder_move_nothing_any_more() -> None:
    from fedkit.federation.network import Network

    def made() -> Network:
        config = small()
        people = list(config.participants)
        folder = workspace("04/a")
        return Network.create(folder, aggregator=config.aggregator, participants=people)

    old = Control.of(made())
    new = Control.of(made())
    assert new is not old
    for control in (old, Control.of(old.network)):
        control.run_round()
        assert "run the notebook's cells again" in control.wait().error
        with pytest.raises(FedkitError, match="emptied"):
            control.change(epoch=2)
    assert new.now.error == ""
    assert Control.of(new.network) is new


def test_a_file_that_is_missing_there_is_one_line() -> None:
    folder = workspace("04")
    for path in (folder / "alice" / "x.pt", (folder / "x.pt").absolute()):
        with pytest.raises(FileNotFoundError) as caught:
            path.read_text("utf-8")
        assert "start again at the cell with fk.workspace" in str(what_is_missing(caught.value))
        with pytest.raises(FileNotFoundError) as caught:
            read_bytes(path)
        assert what_is_missing(caught.value) is not None
    with pytest.raises(FileNotFoundError) as caught:
        Path("elsewhere").read_text("utf-8")
    assert what_is_missing(caught.value) is None
