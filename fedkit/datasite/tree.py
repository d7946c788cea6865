"""Looking at a folder: what lies in it now, and which version of each file, without opening any.

Everybody looks through here: the sync, the watch, the pictures, the listers of projects. A folder that moves away while it
is looked at holds nothing, and the next look finds it where it is.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

from fedkit.base.files import read_bytes, sha256_bytes
from fedkit.base.scratch import patiently
from fedkit.base.tensors import MAX_STATE_BYTES

__all__ = [
    "REJECTED",
    "Stamp",
    "Tree",
    "digest_of",
    "entries",
    "folder_names",
    "left_by_a_sync",
    "remove_empty_folders",
    "scan",
    "set_aside",
    "stamp",
    "travels",
    "walk",
]


Stamp = tuple[int, int, int]
"""(size in bytes, time of the last change in ns, number of the file): clocks tick in milliseconds, but whoever writes
whole files makes a new one each time."""

Tree = dict[str, Stamp]
"""Path relative to the folder, with "/" on every system -> stamp."""

REJECTED = ".syftrejected"
"""Marks a local change that the owner's permissions refused, as in `name.syftrejected.ext`."""


_LEFT_BY_A_SYNC = re.compile(
    r"\.sync-conflict-\d{8}-\d{6}(-[A-Z2-7]{7})?(\.|$)"  # Syncthing
    r"|^\.?~?syncthing[~.].+\.tmp$|^\.st(folder|ignore|versions)$"
    r"|\((.*'s )?(case |widersprüchliche )?conflict(ed copy|s)?\b[^)]*\)"  # Dropbox, Nextcloud
    r"|^~\$|^\.~lock\.|\.(part|partial|crdownload|gstmp)$"
    r"| \(\d{1,3}\)(\.[A-Za-z]{1,8})?$",  # a second copy, as Google Drive and browsers name it
    re.IGNORECASE,
)

_LONGEST_NAME = 255  # bytes, on most disks


def travels(name: str) -> bool:
    """Does a file or folder of this name travel?"""
    return not (name.startswith(".") or name.endswith(".tmp") or REJECTED in name)


def set_aside(path: Path) -> None:
    """Rename a file that was refused to `name.syftrejected.ext`; a hash stands for a name that is too long for that.

    Raises OSError.
    """
    name = f"{path.stem}{REJECTED}{path.suffix}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f"{sha256_bytes(os.fsencode(path.name))}{REJECTED}"
    patiently(lambda: path.replace(path.with_name(name)))


def entries(folder: Path) -> list[Path]:
    """What lies in one folder, by name; nothing where it is gone, or can't be looked into."""
    try:
        return sorted(folder.iterdir(), key=attrgetter("name"))
    except OSError:
        return []


def folder_names(folder: Path) -> list[str]:
    """The names of the folders in it that are neither hidden nor a sync's own, in alphabetical order."""
    names = (path.name for path in entries(folder) if path.is_dir())
    return [name for name in names if name[0] != "." and not left_by_a_sync(name)]


def left_by_a_sync(name: str) -> bool:
    """Is it the name of what a sync puts aside, of a conflict's loser or of a file that is under way? No file of a project
    has one: rounds are read from whole names."""
    return _LEFT_BY_A_SYNC.search(name) is not None


def walk(root: Path, unseen: set[str] | None = None) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Whatever lies below `root` and travels, with its path from there; nothing is opened, and no link is followed.

    unseen : gets the paths ("" for `root`, else ending in "/") of the folders that are there and can't be looked into.
    """
    todo = [(str(root), "")]
    while todo:
        folder, prefix = todo.pop()
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if travels(entry.name):
                        yield prefix + entry.name, entry
                        if entry.is_dir(follow_symlinks=False):
                            todo.append((entry.path, f"{prefix}{entry.name}/"))
        except (FileNotFoundError, NotADirectoryError):  # moved away while we look
            continue
        except OSError:
            if unseen is not None:
                unseen.add(prefix)


def scan(root: Path, unseen: set[str] | None = None) -> Tree:
    """Every file under `root` that travels, with its stamp; 1 GiB is the most that travels. unseen : as for `walk`."""
    tree: Tree = {}
    for path, entry in walk(root, unseen):
        try:
            if entry.is_file(follow_symlinks=False):
                version = stamp(entry.stat(follow_symlinks=False))
                if version[0] <= MAX_STATE_BYTES:
                    tree[path] = version
        except OSError:  # moved away while we look
            continue
    return tree


def stamp(info: os.stat_result) -> Stamp:
    """What tells two versions of a file apart without reading them."""
    return info.st_size, info.st_mtime_ns, info.st_ino


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none."""
    try:
        return sha256_bytes(read_bytes(path))
    except FileNotFoundError:
        return None


def remove_empty_folders(root: Path) -> None:
    """Folders of a copy that hold nothing any more; the owner's own empty folders are never touched."""
    for folder, _, _ in sorted(os.walk(root), reverse=True):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
