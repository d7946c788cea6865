"""One at a time: a lock between processes and threads, which belongs to the operating system and dies with its process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.files import read_object, write_json

__all__ = ["exclusive"]


@contextmanager
def exclusive(path: Path, busy: str, *, at: Path, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock `path` while the block runs.

    busy : what the other one does ("is being advanced"), and at : with what; both for the error. Raises Busy, with who
    holds it, if it is taken for longer than `timeout_s` seconds (below 0: waits for as long as it takes); FedkitError if it
    can't be made.
    """
    holder = path.with_suffix(".holder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=timeout_s, thread_local=False)
        lock.acquire()
    except Timeout:
        told = read_object(holder)
        who = (
            f"It is process {told['process']} ({told.get('program')})"
            if "process" in told
            else None
        )
        raise Busy(
            f"{busy} by another process",
            file=at,
            why=who,
            remedy="let that one work (perhaps `fedkit client` is running), or stop it first",
        ) from None
    except OSError as error:
        raise FedkitError(
            f"can't be locked ({error.strerror})",
            file=path,
            remedy="make the data dir writable for you",
        ) from error
    try:
        me = {"process": os.getpid(), "program": Path(sys.argv[0]).name or "python"}
        if read_object(holder) != me:
            with suppress(FedkitError):  # a courtesy: a full disk is said where it matters
                write_json(holder, me)
        yield
    finally:
        lock.release()
