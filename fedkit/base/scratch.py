"""A file or a folder appears whole or not at all: it is made where nobody looks, then takes its place.

A writer holds a lock on its scratch file; the lock dies with it. So whoever writes in that folder next knows what a killed
writer has left, and removes it. Two writers of one file never meet: the last one wins, whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from fedkit.base.errors import FedkitError

__all__ = ["WINDOWS", "appearing", "move", "patiently", "put"]


WINDOWS = os.name == "nt"
"""An open file can't be renamed or removed there, and a path has an end."""
_PREFIX, _SUFFIX = ".fedkit-", ".tmp"
_MOST_LOOKED_AT = 10_000  # names: others may fill a folder
_LONG_DEAD_S = 60.0  # where nothing can be locked; a write takes less than a second
_PAUSES_S = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
)  # as long as a reader, a scanner or a sync holds a file
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def put(path: Path, data: bytes, mode: int) -> None:
    """Write `data` to `path`, whole or not at all. Its folder is there; mode : as for `os.open`. Raises OSError."""
    _sweep(path)
    scratch, number = _make(path.parent, mode)
    try:
        with os.fdopen(number, "wb") as handle:
            handle.write(data)
            handle.flush()
            if WINDOWS:
                handle.close()
            patiently(lambda: scratch.replace(path))
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder to a name that is free. Raises OSError."""
    patiently(lambda: source.rename(target))


def patiently(action: Callable[[], object]) -> None:
    """Do what needs a file that nobody has open: on Windows, where somebody has, again for up to two seconds.

    A reader holds it for milliseconds there, and so does whoever looks for viruses, indexes, or syncs the folder to
    elsewhere. Raises OSError.
    """
    for pause in _PAUSES_S if WINDOWS else ():
        try:
            action()
            return
        except PermissionError:
            time.sleep(pause)
    action()


@contextmanager
def appearing(folder: Path, aside: Path, remedy: str) -> Iterator[Path]:
    """Build a folder aside, where nobody looks; then it appears in its place, whole.

    Raises FedkitError, with this remedy, if the disk refuses.
    """
    try:
        shutil.rmtree(aside, ignore_errors=True)
        yield aside
        folder.parent.mkdir(parents=True, exist_ok=True)
        _into_place(aside, folder)
    except OSError as error:
        raise FedkitError(
            f"can't be created ({error.strerror})", file=folder, remedy=remedy
        ) from error


def _into_place(aside: Path, folder: Path) -> None:
    """Rename a folder; from another disk, as a mailbox may be one, it is copied first, hidden beside its place."""
    try:
        move(aside, folder)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(near, ignore_errors=True)
        shutil.copytree(aside, near)
        move(near, folder)
        shutil.rmtree(aside, ignore_errors=True)


def _make(folder: Path, mode: int) -> tuple[Path, int]:
    """A new file, open and locked. Its name is short: a target's own may be as long as the disk allows."""
    while True:
        scratch = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        number = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
        if _lock(number) is not False and os.fstat(number).st_nlink:
            return scratch, number
        os.close(number)  # swept in the moment before it was locked


def _sweep(path: Path) -> None:
    """Remove what dead writers left beside `path`."""
    before = f".{path.name}.tmp"  # as scratch files were named in fedkit 0.1
    with os.scandir(path.parent) as found:
        left = [
            entry
            for entry in islice(found, _MOST_LOOKED_AT)
            if entry.name == before
            or (entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX))
        ]
    for entry in left:
        with contextlib.suppress(OSError):
            if entry.is_file(follow_symlinks=False):
                _remove_if_left(entry.path)


def _remove_if_left(path: str) -> None:
    """Remove a scratch file that no living writer holds."""
    number = os.open(path, os.O_RDWR | _FLAGS)
    try:
        mine = _lock(number)
        old = time.time() - os.fstat(number).st_mtime > _LONG_DEAD_S
        if mine:  # and it stays so until the file is gone
            os.unlink(path)  # noqa: PTH108 (an entry's path is text)
    finally:
        os.close(number)
    if mine is None and old:
        os.unlink(path)  # noqa: PTH108


def _lock(number: int) -> bool | None:
    """Lock an open file; False where somebody else holds it, None where files can't be locked."""
    try:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True
