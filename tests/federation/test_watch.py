"""Watching: what is put into a folder is acted upon soon, and fedkit's own writing wakes nobody for ever."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.events import (
    Approved,
    DataFound,
    Event,
    Notice,
    Problem,
    ProjectDone,
    ProjectLaunched,
    RequestSent,
    RoundAggregated,
    Trained,
    Waiting,
)
from fedkit.base.files import write_bytes, write_dataset
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import walk
from fedkit.federation.watch import snapshot, watch
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve
from tests.support.helpers import (
    ALICE,
    BOB,
    LINEAR,
    PROJECT,
    held_out,
    posix,
    put_launch,
    shard,
    small,
    solo,
)

PATIENCE_S = 20.0  # of a test that fails; a passing one never waits so long
QUIET_S = 0.8

# Passes the launch's try on two images, and breaks on any other batch: a step that fails after it has written.
BREAKS = LINEAR.replace(
    "return self.fc", "assert len(images) == 2, 'breaks while it trains'\n        return self.fc"
)


class Seen:
    """What a running watch has reported so far, and how often it has called advance()."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.advances = 0
        self.stop = threading.Event()
        self.error: BaseException | None = None

    def until(self, kind: type[Event], count: int = 1) -> Any:
        """Wait until `count` events of a kind were reported; returns the last one."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = [event for event in list(self.events) if isinstance(event, kind)]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.01)
        raise AssertionError(f"no {kind.__name__} number {count} among {self.events}")

    def quiet(self) -> int:
        """Wait until advance() is not called any more for a while; returns how often it was called in all."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            before = self.advances
            time.sleep(QUIET_S)
            if self.advances == before:
                return before
        raise AssertionError(f"advance() was called {self.advances} times and goes on")


@contextmanager
def watching(site: Datasite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """A watch in a thread of its own."""
    seen = Seen()
    real = node.advance

    def counted(*args: Any, **options: Any) -> list[Event]:
        seen.advances += 1
        return real(*args, **options)

    monkeypatch.setattr(node, "advance", counted)
    # within QUIET_S, so that quiet() covers it
    monkeypatch.setattr("fedkit.federation.watch._SECOND_LOOK_S", 0.2)

    def run() -> None:
        try:
            watch(site, seen.stop, on_event=seen.events.append)
        except BaseException as error:
            seen.error = error

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        seen.stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_whole_project_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Datasite.create(tmp_path / "data", ALICE)
    box = site.client()
    with watching(site, monkeypatch) as seen:
        put_launch(site)
        seen.until(RequestSent)
        shutil.copytree(box.request / PROJECT, box.running / PROJECT)
        seen.until(Approved)
        write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *held_out())
        write_shard(site.private_client, shard([0, 1, 2]))
        seen.until(DataFound)
        seen.until(ProjectDone, 2)
    assert seen.error is None
    assert (box.done / PROJECT).is_dir()
    assert (site.aggregator().done / PROJECT).is_dir()
    # each thing that was waited for was said once
    said = [event for event in seen.events if isinstance(event, Waiting)]
    assert len({(e.role, e.whom, e.what) for e in said}) == len(said)
    assert not [event for event in seen.events if isinstance(event, Problem)]


def test_a_file_is_acted_upon_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quickest of several tries counts: a busy machine may be late now and then, a sleeping loop always is."""
    site = Datasite.create(tmp_path / "data", ALICE)
    delays = []
    with watching(site, monkeypatch) as seen:
        seen.quiet()
        for number in range(3):
            config = small(project_name=f"P{number}", aggregator=ALICE, participants=[ALICE])
            began = time.monotonic()
            put_launch(site, config)
            seen.until(ProjectLaunched, number + 1)
            delays.append(time.monotonic() - began)
    assert min(delays) < 1.0


def test_a_step_that_fails_after_it_wrote_does_not_wake_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = solo(tmp_path / "data")
    with watching(site, monkeypatch) as seen:
        put_launch(site, model=BREAKS)
        seen.until(RequestSent)
        shutil.copytree(site.client().request / PROJECT, site.client().running / PROJECT)
        problem = seen.until(Problem)
        assert "breaks while it trains" in str(problem.error)
        quiet = seen.quiet()
        assert len([e for e in seen.events if isinstance(e, Problem)]) == 1
        # what a person does next is still noticed
        write_shard(site.private_client, shard([3]))
        end = time.monotonic() + PATIENCE_S
        while seen.advances == quiet and time.monotonic() < end:
            time.sleep(0.01)
        assert seen.advances > quiet
        seen.quiet()


def test_what_is_not_ours_to_see_wakes_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Datasite.create(tmp_path / "data", ALICE)
    with watching(site, monkeypatch) as seen:
        before = seen.quiet()
        write_bytes(site.own / "x", b"1")
        write_bytes(site.public / ".hidden", b"1")
        write_bytes(site.client().request / ".git" / "x", b"1")
        write_bytes(site.private_client / "copying.tmp", b"1")
        write_bytes(site.data_dir / "apps" / "other" / "x", b"1")
        assert seen.quiet() == before
        write_bytes(site.private_client / "seen", b"1")
        end = time.monotonic() + PATIENCE_S
        while seen.advances == before and time.monotonic() < end:
            time.sleep(0.01)
        assert seen.advances > before


def test_a_wait_that_ends_by_itself_ends_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round with a quorum ends when its time is over: nobody touches a file at that moment."""
    site = solo(tmp_path / "data")
    late = Datasite.create(site.data_dir, BOB)  # ready, but its client never runs
    quorum = {"min_participants": 1, "round_timeout_s": 1.5, "rounds": 1}
    config = small(aggregator=ALICE, participants=[ALICE, BOB], **quorum)
    with watching(site, monkeypatch) as seen:
        put_launch(site, config)
        seen.until(RequestSent, 2)
        approve(late, PROJECT)
        approve(site, PROJECT)
        seen.until(Trained)
        began = time.monotonic()
        assert seen.until(RoundAggregated).participants == (ALICE,)
        assert time.monotonic() - began > 0.5  # it did wait


def test_another_process_at_work_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Datasite.create(tmp_path / "data", ALICE)
    with node.locked(site), watching(site, monkeypatch) as seen:
        assert "another process" in seen.until(Notice).text
        put_launch(site)
        time.sleep(0.3)
    # it has stopped, although the lock is still taken, and it has done nothing
    assert [type(event) for event in seen.events] == [Notice]
    assert seen.error is None


def test_it_goes_on_when_the_other_process_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Datasite.create(tmp_path / "data", ALICE)
    lock = node.locked(site)
    lock.__enter__()
    with watching(site, monkeypatch) as seen:
        seen.until(Notice)
        put_launch(site)
        lock.__exit__(None, None, None)
        seen.until(ProjectLaunched)


def test_a_datasite_that_is_removed_is_a_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Datasite.create(tmp_path / "data", ALICE)
    with watching(site, monkeypatch) as seen:
        seen.quiet()
        shutil.rmtree(site.datasites)
        assert seen.stop.wait(PATIENCE_S)
    assert isinstance(seen.error, FedkitError)
    assert "is gone" in str(seen.error)


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda d: (d / "new").write_bytes(b""), True),
        (lambda d: (d / "file").write_bytes(b"two"), True),
        (lambda d: (d / "file").unlink(), True),
        (lambda d: (d / "file").chmod(0o600), True),
        (lambda d: (d / "folder" / "in").mkdir(), True),
        (lambda d: (d / "folder").rmdir(), True),
        (lambda d: (d / "link").symlink_to(d / "file"), True),
        (lambda d: (d / "file").read_bytes(), False),
        (lambda d: (d / ".new").write_bytes(b""), False),
        (lambda d: (d / "folder" / "x.tmp").write_bytes(b""), False),
        (lambda d: None, False),
    ],
)
def test_a_snapshot_shows_what_changed(tmp_path: Path, change: Change, shows: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"one")
    (tmp_path / "file").chmod(0o644)
    before = snapshot([tmp_path])
    change(tmp_path)
    assert (snapshot([tmp_path]) != before) is shows


def test_a_snapshot_of_nothing_is_empty(tmp_path: Path) -> None:
    assert snapshot([tmp_path / "nowhere"]) == {}


def test_slow_folders_are_walked_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty clients on one network share must not keep it busy by looking."""
    site = Datasite.create(tmp_path / "data", ALICE)
    pauses = []

    def watched(*_: Any, poll_delay_ms: int, **__: Any) -> Iterator[set[Any]]:
        pauses.append(poll_delay_ms)
        return iter(())

    monkeypatch.setattr("watchfiles.watch", watched)
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    watch(site, threading.Event(), on_event=print)
    real = walk
    monkeypatch.setattr("fedkit.federation.watch.walk", lambda at: time.sleep(0.1) or real(at))
    watch(site, threading.Event(), on_event=print)
    assert pauses[0] >= 300  # milliseconds
    assert pauses[1] >= 9 * 200 > pauses[0]  # nine times as long as the walk over two folders


@posix
def test_a_name_that_is_no_text_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may put one into request/; what comes afterwards is seen all the same."""
    site = Datasite.create(tmp_path, ALICE)
    strange = os.fsencode(site.client().request) + b"/\xff.txt"
    os.close(os.open(strange, os.O_CREAT | os.O_WRONLY))
    monkeypatch.setattr("fedkit.federation.watch._LOOK_S", 0.05)
    with watching(site, monkeypatch) as seen:
        put_launch(site, small(aggregator=ALICE, participants=[ALICE]))
        seen.until(ProjectLaunched)
    assert seen.error is None
