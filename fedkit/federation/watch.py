"""Watching a datasite: what is put into its folders is acted upon at once, and nothing is looked at in between.

The operating system rings when something changes; then a snapshot of the folders (names, sizes, times) says whether it
concerns us, and `node.advance()` does the work. What advance() writes itself must not wake it for ever, so a change
that happened while it ran is looked at once more, and then taken for its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.events import Event, Notice, Problem, Progress, Waiting
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import stamp, travels, walk
from fedkit.protocol import advance as node

__all__ = ["Snapshot", "advance_in_turn", "is_polled", "snapshot", "watch"]


Snapshot = dict[str, tuple[int, int, int, int]]
"""Path -> (mode, size, time of the last change in ns, inode); of a folder only the mode."""

_GROUP_MS = 200
"""Changes that follow each other closely are acted upon together, after this time at the latest."""

_QUIET_MS = 20
_POLL_MS = 300
_REST = 9
"""Where nothing rings and the folders are walked again and again, so many times as long as a walk are the pauses."""
_LOOK_S = 1.0  # where nothing tells of changes, look so often
_SECOND_LOOK_S = 2.0
_SELDOM_S = 60.0
_STANDS_S = 0.3
"""A problem is one when it has lasted for so long: a folder that is being copied is not whole for a moment."""

_GOODBYE_S = 0.5


def snapshot(folders: Iterable[Path]) -> Snapshot:
    """What lies below the folders, without what never travels; links are not followed, nothing is opened."""
    found: Snapshot = {}
    for _, entry in (pair for folder in folders for pair in walk(folder)):
        with contextlib.suppress(OSError):  # moved away while we look: the bell rings again
            info = entry.stat(follow_symlinks=False)
            version = (0, 0, 0) if entry.is_dir(follow_symlinks=False) else stamp(info)
            found[entry.path] = (info.st_mode, *version)
    return found


def is_polled(site: Datasite) -> bool:
    """Are its folders walked again and again, because nothing tells of what others write there?"""
    return site.road.name == "synced" or bool(os.environ.get("WATCHFILES_FORCE_POLLING"))


def _pause_ms(folders: Iterable[Path]) -> int:
    """How long to rest between two walks over the folders, by what one takes: on a network share it may be seconds."""
    began = time.monotonic()
    snapshot(folders)
    return max(_POLL_MS, round(1000 * _REST * (time.monotonic() - began)))


def _has_a_name_that_is_no_text(folders: Iterable[Path]) -> bool:
    """Does something below the folders have a name that is no UTF-8?"""
    try:
        for path, _ in (pair for folder in folders for pair in walk(folder)):
            path.encode()
    except UnicodeEncodeError:
        return True
    return False


def advance_in_turn(
    site: Datasite,
    *,
    on_event: Callable[[Event], None],
    on_epoch: Progress | None = None,
    stop: threading.Event | None = None,
    timeout_s: float = -1,
) -> list[Event]:
    """`node.advance()`, which waits (and says so) while another process advances the same datasite.

    Raises Busy if that takes longer than `timeout_s` seconds; below 0 it may take for ever.
    """
    halted = stop.is_set if stop is not None else None
    go = partial(node.advance, site, on_event=on_event, on_epoch=on_epoch, stop=halted)
    try:
        return go()
    except Busy as busy:
        on_event(Notice(site.email, "", f"this datasite {busy.what}; waiting for its turn"))
        return go(timeout_s=timeout_s)


def watch(
    site: Datasite,
    stop: threading.Event,
    *,
    on_event: Callable[[Event], None],
    on_epoch: Progress | None = None,
) -> None:
    """Advance the datasite whenever something in it changes, until `stop` is set.

    on_event : called from a second thread with everything that happens; with what is waited for only when it is new,
    with a problem when it is new and has lasted for a moment. When this returns, that thread may be in the last moments
    of a step (an average, say); the process may end all the same, as every step can be cut off.
    Raises FedkitError if the folders can't be watched or are gone.
    """
    import watchfiles  # not every user of the package watches

    worker = _Worker(site, stop, on_event, on_epoch)
    worker.start()
    began = False
    try:
        for changes in watchfiles.watch(
            *worker.folders,
            watch_filter=lambda _, path: worker.concerns(path),
            debounce=_GROUP_MS,
            step=_QUIET_MS,
            stop_event=stop,
            rust_timeout=1000,
            yield_on_timeout=True,
            raise_interrupt=False,
            # a network share rings no bell for what others write
            force_polling=True if site.road.name == "synced" else None,
            poll_delay_ms=_pause_ms(worker.folders) if is_polled(site) else _POLL_MS,
        ):
            if changes or not began:  # once after the start too: what came before the watch stood
                worker.bell.set()
            began = True
    except (OSError, RuntimeError) as error:
        if not _has_a_name_that_is_no_text(worker.folders):
            raise FedkitError(
                f"can't be watched ({error})",
                file=site.data_dir,
                remedy="set WATCHFILES_FORCE_POLLING=true, or raise the limit fs.inotify.max_user_watches",
            ) from error
        # anybody may put such a file into request/: the watcher gives up over it, and we look ourselves
        while not stop.wait(_LOOK_S):
            worker.bell.set()
    finally:
        stop.set()
        worker.bell.set()
        worker.join(_GOODBYE_S)
    if worker.error is not None:
        raise worker.error


class _Worker(threading.Thread):
    """Advances the datasite each time that the bell has rung and the snapshot has changed."""

    def __init__(
        self,
        site: Datasite,
        stop: threading.Event,
        on_event: Callable[[Event], None],
        on_epoch: Progress | None,
    ) -> None:
        super().__init__(name=f"advance {site.email}", daemon=True)
        self.site, self.stop, self.on_event, self.on_epoch = site, stop, on_event, on_epoch
        self.folders = [p.resolve() for p in (site.datasites, site.private_client.parent)]
        self.bell = threading.Event()
        self.error: BaseException | None = None
        self._shown: set[_Gist] = set()
        self._since: dict[_Gist, float] = {}

    def concerns(self, path: str) -> bool:
        """Is a changed path one that advance() may look at?"""
        for folder in self.folders:
            if Path(path).is_relative_to(folder):
                return all(map(travels, Path(path).relative_to(folder).parts))
        return True

    def run(self) -> None:
        """The thread: ends when `stop` is set, or with `error`."""
        try:
            self._loop()
        except BaseException as error:
            self.error = error
            self.stop.set()

    def _loop(self) -> None:
        seen = snapshot(self.folders)
        ours: set[str] = set()
        delay = _SECOND_LOOK_S
        while not self.stop.is_set():
            limit = self._advance()
            now = snapshot(self.folders)
            changed = {p for p in seen.keys() | now.keys() if seen.get(p) != now.get(p)}
            seen = now
            if changed - ours:
                ours |= changed  # by advance() most likely, by somebody else perhaps: look again
                continue
            if changed:  # somebody else may have written there too: look again, ever more seldom
                limit, delay = min(limit, delay), min(2 * delay, _SELDOM_S)
            news = self._sleep(seen, limit)
            if news is not None:
                seen, ours, delay = news, set(), _SECOND_LOOK_S

    def _advance(self) -> float:
        """Advance; returns after how many seconds something will be due by itself."""
        if not self.site.root.is_dir():
            raise FedkitError(
                "is gone", file=self.site.root, remedy="start `fedkit client` again: it makes it"
            )
        events = advance_in_turn(
            self.site, on_event=self.on_event, on_epoch=self.on_epoch, stop=self.stop
        )
        stops = {_gist(e): e for e in events if isinstance(e, Waiting | Problem)}
        now = time.monotonic()
        self._shown &= stops.keys()
        self._since = {gist: self._since.get(gist, now) for gist in stops}
        due = [float("inf")]
        for gist, event in stops.items():
            left = self._since[gist] + _STANDS_S - now if isinstance(event, Problem) else 0.0
            if isinstance(event, Waiting) and event.seconds is not None:
                due.append(event.seconds)
            if gist in self._shown or self.stop.is_set():
                continue
            if left > 0:
                due.append(left)
            else:
                self._shown.add(gist)
                self.on_event(event)
        return min(due)

    def _sleep(self, seen: Snapshot, limit: float) -> Snapshot | None:
        """Wait for a change that the snapshot shows, and return the new one; None when the time is over."""
        end = time.monotonic() + limit + 0.05
        while not self.stop.is_set():
            left = end - time.monotonic()
            if left <= 0 or not self.bell.wait(min(left, threading.TIMEOUT_MAX)):
                return None
            self.bell.clear()
            now = snapshot(self.folders)
            if now != seen:
                return now
        return None


_Gist = tuple[str, ...]


def _gist(event: Waiting | Problem) -> _Gist:
    """What makes a stop a new one; the seconds that are left do not."""
    said = str(event.error) if isinstance(event, Problem) else f"{event.whom} {event.what}"
    return event.project, event.role, said
