"""The folder in which a notebook's datasites lie: one for each notebook file, never emptied under a kernel that uses it.

A kernel holds a lock on its folder, which dies with it: after a restart the next one takes the folder over. A copy of the
notebook, or a second kernel of the same one, gets a folder of its own beside it (`runs/04-2`), and says so.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_object, write_json
from fedkit.base.scratch import patiently
from fedkit.teaching.notebook import break_between_words, publish

__all__ = ["ENVIRONMENT", "running_notebook", "what_is_missing", "workspace"]


ENVIRONMENT = "FEDKIT_WORKSPACE"  # `fedkit course run` gives every notebook a place of its own
MARKER = ".fedkit-workspace"
LOCK = ".fedkit-workspace.lock"
MOST = 20  # folders of one name, side by side

_HELD: dict[Path, tuple[Path, FileLock]] = {}
"""What this kernel works in: the folder that was asked for -> the one that it got, and the lock on that."""


def workspace(name: str) -> Path:
    """An empty folder for a notebook's datasites: `runs/<name>` beside it, or `runs/<name>-2` where that is taken.

    Whatever an earlier run of the same notebook left there is removed, so that a second run starts as the first did. With
    a name such as "05/quorum" only that part is emptied. A folder that another kernel works in, that belongs to another
    notebook, or that `workspace` has not made, is never emptied. Raises FedkitError where the last is in the way, where
    the disk refuses, or for a name with anything but letters, digits, `_` and `-`.
    """
    if not isinstance(name, str) or not re.fullmatch(
        r"[A-Za-z0-9_-]{1,60}(/[A-Za-z0-9_-][A-Za-z0-9_ -]{0,59})?", name
    ):
        raise FedkitError(
            f"{name!r} can't name a workspace",
            field="name",
            remedy="use letters, digits, _ and - only, such as fk.workspace('04')",
        )
    whole, _, part = name.partition("/")
    asked = Path(os.environ.get(ENVIRONMENT, "runs")) / whole
    key = asked.absolute()
    mine = _HELD.get(key)
    if mine is None or not mine[0].is_dir():
        mine = _HELD[key] = _taken(asked)
        _empty(mine[0])
        _say(asked, mine[0])
        if ENVIRONMENT not in os.environ:  # a page that somebody reads
            break_between_words()
    elif not part:
        _empty(mine[0])
    if not part:
        return mine[0]
    folder = mine[0] / part
    _empty(folder)
    return folder


def what_is_missing(error: OSError) -> str | None:
    """A line for a file that a cell looks for in its workspace in vain, as cells do out of order; else None."""
    named = error.filename or next(iter(error.args), None)
    path = Path(os.fsdecode(named)) if isinstance(named, str | bytes | os.PathLike) else None
    held = [folder for folder, _ in _HELD.values()]
    if path is None or not any(path.absolute().is_relative_to(f.absolute()) for f in held):
        return None
    return (
        f"{path.name} is not there (yet): the folder was emptied, or a cell above has not run -> start again at the cell "
        f"with fk.workspace, and run the cells from there down to this one ({path})"
    )


def _taken(asked: Path) -> tuple[Path, FileLock]:
    """The first folder of this name that is this notebook's, or nobody's; locked."""
    for number in range(1, MOST + 1):
        folder = asked if number == 1 else asked.with_name(f"{asked.name}-{number}")
        if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
            if number > 1:
                continue
            raise FedkitError(
                "is not a workspace of fedkit, and won't be emptied",
                file=folder,
                remedy="move it away, or choose another name",
            )
        lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(NotImplementedError):  # a disk without locks: nobody can tell
                lock.acquire()
        except Timeout:
            continue
        except OSError as error:
            raise _refused("can't be made", folder, error) from error
        notebook = running_notebook()
        before = read_object(folder / MARKER).get("notebook")
        if isinstance(before, str) and notebook not in (None, before) and Path(before).is_file():
            lock.release()
            continue
        write_json(folder / MARKER, {"notebook": notebook, "process": os.getpid()})
        return folder, lock
    raise FedkitError(
        f"is in use, and so are {MOST - 1} more folders beside it",
        file=asked,
        remedy="shut down the kernels that you don't need, or choose another name",
    )


def _is_ours(folder: Path) -> bool:
    marked = any((folder / name).is_file() for name in (MARKER, LOCK))
    return folder.is_dir() and (marked or not any(folder.iterdir()))


def _empty(folder: Path) -> None:
    """Remove what lies in a folder of this kernel, and let go of the networks that lay there."""
    control = sys.modules.get("fedkit.teaching.control.control")
    if control is not None:
        control.Control.retire_below(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                patiently(partial(shutil.rmtree, path))
            elif path.name not in (MARKER, LOCK):
                patiently(path.unlink)
    except OSError as error:
        raise _refused("can't be emptied", folder, error) from error


def _refused(what: str, folder: Path, error: OSError) -> FedkitError:
    return FedkitError(
        f"{what} ({error.strerror})",
        file=folder,
        remedy="copy the notebook into a folder that you may write in, or close what still uses this one; "
        "then start again at the cell with fk.workspace",
    )


def running_notebook() -> str | None:
    """The notebook file that this kernel runs, where the front end tells: Jupyter's server and VS Code do."""
    told = os.environ.get("JPY_SESSION_NAME")
    ipython = sys.modules.get("IPython")
    with suppress(AttributeError):
        told = ipython.get_ipython().user_ns.get("__vsc_ipynb_file__", told)  # type: ignore[union-attr]
    return str(Path(told).absolute()) if told and told.endswith(".ipynb") else None


def _say(asked: Path, got: Path) -> None:
    if got == asked:
        return
    other = read_object(asked / MARKER)
    whose = Path(str(other.get("notebook") or "another notebook")).name
    publish(
        {
            "text/plain": f"{asked} belongs to {whose} (process {other.get('process')}), and stays as it is. "
            f"This notebook works in {got}: look there wherever the text says {asked}."
        }
    )
