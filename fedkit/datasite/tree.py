"""Looking at a folder: which files are there, and which version of each, without opening them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from fedkit.base.files import read_bytes, sha256_bytes
from fedkit.base.tensors import MAX_STATE_BYTES

__all__ = [
    "REJECTED",
    "Stamp",
    "Tree",
    "digest_of",
    "remove_empty_folders",
    "scan",
    "stamp",
    "travels",
]


Stamp = tuple[int, int, int]
"""(size in bytes, time of the last change in ns, number of the file): clocks tick in milliseconds, but whoever writes
whole files makes a new one each time."""

Tree = dict[str, Stamp]
"""Path relative to the folder, with "/" on every system -> stamp."""

REJECTED = ".syftrejected"
"""Marks a local change that the owner's permissions refused, as in `name.syftrejected.ext`."""


def travels(name: str) -> bool:
    """Does a file or folder of this name travel?"""
    return not (name.startswith(".") or name.endswith(".tmp") or REJECTED in name)


def scan(root: Path) -> Tree:
    """Every file under `root` that travels, with its stamp; links are not followed, 1 GiB is the most that travels."""
    tree: Tree = {}
    todo: list[tuple[str, str]] = [(str(root), "")]
    while todo:
        folder, prefix = todo.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not travels(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        todo.append((entry.path, f"{prefix}{entry.name}/"))
                    elif entry.is_file(follow_symlinks=False):
                        version = stamp(entry.stat(follow_symlinks=False))
                        if version[0] <= MAX_STATE_BYTES:
                            tree[prefix + entry.name] = version
        except OSError:  # a folder moved away while we look: the next pass sees it
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
