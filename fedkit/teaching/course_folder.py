"""The course in a folder of one's own: put there, brought up to date, and never over anybody's work.

What a file held when fedkit put it there is kept as its SHA-256, in `.fedkit-course.json`. A file that still has it is
replaced by a newer one; any other is somebody's work and stays, and the newer one comes beside it: `03_train (new).ipynb`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedkit.base.distribution import VERSION, course_files
from fedkit.base.errors import FedkitError
from fedkit.base.files import (
    is_file,
    read_bytes,
    read_object,
    refuse_links,
    sha256_bytes,
    write_bytes,
    write_json,
)
from fedkit.experiments.lessons import HOSTED, STATE, edition_dir, editions, lesson_paths

__all__ = ["FIRST", "Placed", "copy_lessons", "is_course", "put_course"]

FIRST = "00_start_here.ipynb"
MAX_FILE_BYTES = 2**26
"""Nothing of the course is larger; what is, is somebody's own."""
_BESIDE = ("*.md", "pictures/*", "teaching/*")


@dataclass(frozen=True)
class Placed:
    """What became of a file of the course.

    name : its path below the course. path : where it lies now. what : "new", "replaced", "same" (as it is already),
    "kept" (somebody's work on this very version), or "beside" (somebody's work stays, this is the newer one).
    """

    name: str
    path: Path
    what: Literal["new", "replaced", "same", "kept", "beside"]


def is_course(folder: Path) -> bool:
    """Was the course put into this folder?"""
    return is_file(folder / STATE)


def put_course(folder: Path) -> list[Placed]:
    """Put every file of the course into `folder`, or bring it up to date: editions, glossary, pictures, notes.

    Raises FedkitError where the folder can't be made or written to, or is a file.
    """
    source = course_files() / "notebooks"
    here = [edition for edition in editions(source) if edition != HOSTED]  # fedkit is installed
    lessons = [path for edition in here for path in lesson_paths(edition_dir(source, edition))]
    others = [path for pattern in _BESIDE for path in sorted(source.glob(pattern))]
    _refuse_what_is_no_folder(folder)
    if folder.resolve() == source.resolve():
        return []
    with _keeping(folder) as memory:
        return [
            _place(folder, path.relative_to(source).as_posix(), path, memory)
            for path in (*lessons, *others)
            if path.is_file()
        ]


def copy_lessons(folder: Path, wanted: Sequence[str], edition: str = "learner") -> list[Placed]:
    """A fresh copy of each lesson in `wanted` (as `lesson_paths` takes them), beside whatever is there.

    Raises FedkitError for a lesson that is not there, or a folder that can't be written to.
    """
    paths = lesson_paths(edition_dir(course_files() / "notebooks", edition), wanted)
    with _keeping(folder, make=False) as memory:
        source = course_files() / "notebooks"
        return [  # another edition has its own place in the course: it is no newer version of a lesson
            _place(
                folder,
                path.relative_to(source).as_posix() if is_course(folder) else path.name,
                path,
                memory,
                asked=True,
            )
            for path in paths
        ]


@dataclass
class _Memory:
    """put : file -> SHA-256 of what fedkit put there last. offered : file -> that of the newest version given beside it."""

    put: dict[str, str] = field(default_factory=dict)
    offered: dict[str, str] = field(default_factory=dict)


@contextmanager
def _keeping(folder: Path, make: bool = True) -> Iterator[_Memory]:
    """What is known of the folder; written down again at the end, whatever happens. make : also where nothing is."""
    _refuse_what_is_no_folder(folder)
    known = read_object(folder / STATE)
    memory = _Memory(_digests(known.get("put")), _digests(known.get("offered")))
    try:
        yield memory
    finally:
        if folder.is_dir() and (make or is_course(folder)):
            about = {"fedkit": VERSION, "put": memory.put, "offered": memory.offered}
            write_json(folder / STATE, about)


def _refuse_what_is_no_folder(folder: Path) -> None:
    remedy = "name a folder, a new one or an old one"
    try:
        folder.resolve()
        if folder.exists():
            wrong = None if folder.is_dir() else "is a file"
        else:
            wrong = "is a link that leads nowhere" if folder.is_symlink() else None
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a link to itself
        why = str(getattr(error, "strerror", None) or error)
        raise FedkitError("can't be a folder", file=folder, why=why, remedy=remedy) from error
    if wrong is not None:
        raise FedkitError(wrong, file=folder, remedy=remedy)


def _digests(told: Any) -> dict[str, str]:
    values = told if isinstance(told, dict) else {}
    return {name: digest for name, digest in values.items() if isinstance(digest, str)}


def _place(folder: Path, name: str, source: Path, memory: _Memory, asked: bool = False) -> Placed:
    """asked : by the learner, for this lesson; then it is given again, though they have had this version."""
    data = source.read_bytes()
    digest = sha256_bytes(data)
    target = folder / name
    what = _put(folder, name, data, digest, memory)
    if what is not None:
        return Placed(name, target, what)
    if not asked and digest in (memory.offered.get(name), memory.put.get(name)):
        return Placed(name, target, "kept")
    for number in range(1, 1000):
        word = "new" if number == 1 else f"new {number}"
        beside = target.with_name(f"{target.stem} ({word}){target.suffix}")
        its_name = beside.relative_to(folder).as_posix()
        if _put(folder, its_name, data, digest, memory) is not None:
            memory.offered[name] = digest
            return Placed(name, beside, "beside")
    raise FedkitError(
        "has a thousand newer ones beside it",
        file=target,
        remedy="remove those that you don't need",
    )


def _put(
    folder: Path, name: str, data: bytes, digest: str, memory: _Memory
) -> Literal["new", "replaced", "same"] | None:
    """Put it there unless that would be over somebody's work; then None. Nothing behind a link in `folder` is touched."""
    target = folder / name
    refuse_links(target.parent, folder)
    there = _digest_of(target)
    if there is not None and there not in (digest, memory.put.get(name)):
        return None
    if there != digest:
        write_bytes(target, data, root=folder)
    memory.put[name] = digest
    return "new" if there is None else "same" if there == digest else "replaced"


def _digest_of(path: Path) -> str | None:
    """SHA-256 of a file; "" for what is there and is none that could be ours; None where nothing is."""
    if not os.path.lexists(path):
        return None
    try:
        return sha256_bytes(read_bytes(path, max_bytes=MAX_FILE_BYTES))
    except (OSError, FedkitError):
        return ""
