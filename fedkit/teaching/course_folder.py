"""The course in a folder of one's own: put there, brought up to date, and never over anybody's work.

What fedkit put there is known by its SHA-256, in `.fedkit-course.json`: of a notebook that of its cells, since JupyterLab
writes a file anew that was only opened. What still has it is replaced by a newer one; anything else is somebody's work and
stays, and the newer one comes beside it: `03_train (new).ipynb`. Whatever is replaced is kept in `.fedkit-before`: a file
that says what fedkit put there can be written by anybody, and nobody loses work by it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedkit.base.distribution import VERSION, course_files
from fedkit.base.errors import FedkitError
from fedkit.base.files import (
    MAX_JSON_BYTES,
    is_file,
    read_bytes,
    read_object,
    refuse_links,
    sha256_bytes,
    write_bytes,
    write_json,
)
from fedkit.experiments.lessons import HOSTED, STATE, edition_dir, editions, lesson_paths

__all__ = ["BEFORE", "FIRST", "Placed", "copy_lessons", "is_course", "put_course"]

FIRST = "00_start_here.ipynb"
BEFORE = ".fedkit-before"
"""The folder, in that of the course, of files that newer ones have replaced."""
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
    there = {p.relative_to(source).as_posix(): p for p in (*lessons, *others) if p.is_file()}
    with _keeping(folder) as memory:
        memory.announce({name: _content(path.read_bytes(), name) for name, path in there.items()})
        memory.write(
            folder
        )  # whoever is stopped in between knows what is fedkit's, whichever release comes next
        placed = [_place(folder, name, path, memory) for name, path in there.items()]
        memory.placing.clear()
        return placed


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
    """put : file -> SHA-256 of what fedkit put there last. offered : file -> that of the newest version given beside it.
    placing : file -> what was on its way there each time that fedkit was stopped since. written : as it lies on the disk.
    """

    put: dict[str, str] = field(default_factory=dict)
    offered: dict[str, str] = field(default_factory=dict)
    placing: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> _Memory:
        told = read_object(folder / STATE)
        lists = told.get("placing")
        placing = {
            name: [digest for digest in digests if isinstance(digest, str)]
            for name, digests in (lists if isinstance(lists, dict) else {}).items()
            if isinstance(digests, list)
        }
        return cls(_digests(told.get("put")), _digests(told.get("offered")), placing, told)

    def announce(self, coming: dict[str, str]) -> None:
        """Add what comes where something else was put and offered last, or nothing."""
        for name, digest in coming.items():
            known = (self.put.get(name), self.offered.get(name), *self.placing.get(name, ()))
            if digest not in known:
                self.placing.setdefault(name, []).append(digest)

    def write(self, folder: Path) -> None:
        """Unless it lies there as it is: a course that nobody may write in can be looked at."""
        about: dict[str, Any] = {"fedkit": VERSION, "put": self.put, "offered": self.offered}
        about |= {"placing": self.placing} if self.placing else {}
        if about != self.written:
            write_json(folder / STATE, about)
            self.written = json.loads(json.dumps(about))  # what changes later is no part of it


@contextmanager
def _keeping(folder: Path, make: bool = True) -> Iterator[_Memory]:
    """What is known of the folder; written down again at the end, whatever happens. make : also where nothing is."""
    _refuse_what_is_no_folder(folder)
    memory = _Memory.read(folder)
    keeps = make or is_course(folder)
    try:
        yield memory
    except BaseException:
        with suppress(FedkitError):  # what went wrong first is told
            if keeps:
                memory.write(folder)
        raise
    if keeps:
        memory.write(folder)


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
    digest = _content(data, name)
    target = folder / name
    what = _put(folder, name, data, digest, memory)
    if what is not None:
        return Placed(name, target, what)
    had = {memory.offered.get(name), memory.put.get(name)}
    if not asked and had & {digest, sha256_bytes(data)}:
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
    held = _held(target)
    digests = {None} if held is None else {sha256_bytes(held), _content(held, name)}
    what: Literal["new", "replaced", "same"] = "replaced"
    if digest in digests:
        what = "same"
    elif not os.path.lexists(target):
        what = "new"
    elif held is None or not digests & {memory.put.get(name), *memory.placing.get(name, ())}:
        return None
    else:
        kept = Path(BEFORE) / name
        kept = kept.with_name(f"{kept.stem}.{sha256_bytes(held)[:16]}{kept.suffix}")
        write_bytes(folder / kept, held, root=folder)
    if what != "same":
        write_bytes(target, data, root=folder)
    memory.put[name] = digest
    return what


def _held(path: Path) -> bytes | None:
    """What is in a file; None where nothing is, or what is none that could be ours."""
    try:
        return read_bytes(path, max_bytes=MAX_FILE_BYTES)
    except (OSError, FedkitError):
        return None


def _content(data: bytes, name: str) -> str:
    """SHA-256 of what somebody may have worked on.

    Of a notebook: its cells, with what they gave. JupyterLab writes a kernel's name, its own order of keys and marks of
    panels into a file that was only opened. Of a text: all but the kind of its line ends, which git changes on Windows.
    """
    if name.endswith(".md"):
        data = data.replace(b"\r\n", b"\n")
    if name.endswith(".ipynb") and len(data) <= MAX_JSON_BYTES:
        try:
            cells = [
                [
                    cell["cell_type"],
                    "".join(cell["source"]).replace("\r\n", "\n"),
                    [
                        cell.get(key) or None
                        for key in ("outputs", "execution_count", "attachments")
                    ],
                ]
                for cell in json.loads(data)["cells"]
            ]
            data = json.dumps(cells, sort_keys=True).encode()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass  # no notebook: its bytes, then
    return sha256_bytes(data)
