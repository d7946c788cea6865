"""A pile of files becomes notebooks that know whose they are and which lesson they are; nothing in them is run.

Whose: the folder's name, as a teacher's system made it; else what stands beside the lesson's name in the file's; else what
the notebook's metadata say. Which lesson: the ids of its cells, else its title, else its file's name.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes
from fedkit.base.text import how_many, one_line
from fedkit.experiments.notebooks import CHECK_MIME, QUIZ_MIME
from fedkit.teaching.grade.exercises import Lesson

__all__ = ["MAX_BYTES", "Cell", "Submission", "pile"]


MAX_BYTES = 64 * 2**20
"""A lesson with all its pictures has less than 4 MB."""
MAX_CELLS = 1_000
MAX_CODE = 200_000
"""Characters in all code cells together: the longest lesson, solved, has a tenth of them."""
MAX_FILES, MAX_SAID = 20_000, 2_000
_NOT_PEOPLE = {
    "submitted",
    "submissions",
    "notebooks",
    "learner",
    "solutions",
    "colab",
    "executed",
    "runs",
}
_MEANT = ("zip", "rar", "7z", "gz", "tgz", "tar", "json", "txt", "html", "pdf", "py")
_ATTEMPT = re.compile(
    r"[ _-]*(\(\d+\)|copy ?\d*|attempt[ _-]?\d+|versuch[ _-]?\d+|v\d+)$", re.IGNORECASE
)
_MOODLE = re.compile(r"_\d+_assignsubmission.*$")


@dataclass(frozen=True)
class Cell:
    """A cell of somebody's notebook: its number from 1, id, text, and of its outputs what checks and quizzes left."""

    number: int
    id: str
    code: bool
    source: str
    outputs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Submission:
    """One file of the pile. `problem`: why it can't be read; `notes`: what a teacher should know of it."""

    path: Path
    learner: str
    lesson: str | None
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None


def pile(folder: Path, course: Mapping[str, Lesson]) -> list[Submission]:
    """Every notebook below `folder`, in the order of names. Raises FedkitError where there is none."""
    if not folder.is_dir():
        raise FedkitError("is no folder", file=folder, remedy="give the folder with the notebooks")
    paths, others = _files(folder)
    if not paths:
        raise FedkitError(
            "holds no notebook",
            file=folder,
            why=_and_others(others),
            remedy="give a folder with files that end in .ipynb, in folders of their own or not; unpack archives first",
        )
    return [_read(path, folder, course) for path in paths]


def left_out(folder: Path) -> str | None:
    """The files of a pile that are no notebooks by their names, in words; None where all are."""
    return _and_others(_files(folder)[1])


def _and_others(others: list[Path]) -> str | None:
    if not others:
        return None
    some = ", ".join(one_line(path.name)[:60] for path in others[:3])
    rest = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
    are = "is no notebook" if len(others) == 1 else "are no notebooks"
    return f"{how_many(len(others), 'file')} {are} by the name: {some}{rest}"


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The notebooks below a folder, and what may be meant as one: text, JSON and archives."""
    seen = 0
    found: list[Path] = []
    others: list[Path] = []
    for place, folders, names in os.walk(folder):  # links to folders are not followed
        folders[:] = sorted(
            f for f in folders if not f.startswith((".", "__")) and not f.endswith("_files")
        )
        for name in sorted(names):
            seen += 1
            if seen > MAX_FILES:
                raise FedkitError(
                    f"holds more than {MAX_FILES:,} files",
                    file=folder,
                    remedy="give the folder of one class",
                )
            end = name.lower().rpartition(".")[2]
            if not name.startswith(".") and end in ("ipynb", *_MEANT):
                (found if end == "ipynb" else others).append(Path(place, name))
    return found, others


def _read(path: Path, folder: Path, course: Mapping[str, Lesson]) -> Submission:
    by_name = _lesson_in(path.stem, course)
    try:
        size = path.lstat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"has {size / 2**20:,.0f} MB, and more than {MAX_BYTES / 2**20:.0f} MB are not read; clear its outputs "
                "and hand it in again"
            )
        # a byte-order mark is read as what it is
        notebook = json.loads(read_bytes(path, max_bytes=MAX_BYTES))
        cells = _cells(notebook)
    except FedkitError as error:  # a link, a pipe, a device
        return Submission(path, _learner(path, folder, {}, by_name), by_name, problem=error.what)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        said = str(error) if str(error).startswith(("is ", "has ")) else _not_json(error)
        return Submission(
            path, _learner(path, folder, {}, by_name), by_name, problem=one_line(said)
        )
    metadata = notebook["metadata"] if isinstance(notebook.get("metadata"), dict) else {}
    lesson, notes = _which(cells, metadata, by_name, course)
    named = _in_metadata(metadata)
    learner = _learner(path, folder, metadata, lesson)
    if named and named.casefold() != learner.casefold():
        notes.append(f"its metadata name {named} as its author")
    if _number(notebook.get("nbformat")) < 4:
        notes.append("is in an old format (nbformat 3), which keeps no word of checks")
    problem = None if lesson else "is no lesson of the course, by its cells, its title or its name"
    return Submission(path, learner, lesson, cells, tuple(notes), problem)


def _not_json(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"can't be opened: {error.strerror}"
    return f"is no notebook that can be read ({type(error).__name__}: {str(error)[:120]})"


def _cells(notebook: Any) -> tuple[Cell, ...]:
    if not isinstance(notebook, dict):
        raise ValueError("is JSON, but no notebook: it has no cells")
    raw = notebook.get("cells")
    if raw is None:  # nbformat 3
        sheets = notebook.get("worksheets")
        sheets = sheets if isinstance(sheets, list) else []
        raw = [
            cell for s in sheets if isinstance(s, dict) for cell in _list(s.get("cells"))
        ] or None
    if not isinstance(raw, list) or not raw:
        raise ValueError("is JSON, but no notebook: it has no cells")
    if len(raw) > MAX_CELLS:
        raise ValueError(f"has {len(raw):,} cells, and a lesson has fewer than a hundred")
    cells = tuple(
        Cell(
            number,
            str(cell.get("id", ""))[:100],
            cell.get("cell_type") == "code",
            _text(cell.get("source", cell.get("input", ""))),
            tuple(_left_by_checks(_list(cell.get("outputs")))),
        )
        for number, cell in enumerate(raw, 1)
        if isinstance(cell, dict)
    )
    code = sum(len(cell.source) for cell in cells if cell.code)
    if code > MAX_CODE:
        raise ValueError(
            f"has {code:,} characters of code, and more than {MAX_CODE:,} are not read"
        )
    return cells


def _left_by_checks(outputs: list[Any]) -> Iterator[dict[str, Any]]:
    """The data of outputs that speak of a check or a quiz; a class's pictures and prints would fill the memory."""
    for output in outputs:
        data = output.get("data") if isinstance(output, dict) else None
        if isinstance(data, dict) and (CHECK_MIME in data or QUIZ_MIME in data):
            kept = {kind: data[kind] for kind in (CHECK_MIME, QUIZ_MIME) if kind in data}
            yield kept | {"text/plain": _text(data.get("text/plain"))[:MAX_SAID]}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 4


# -------------------------------------------------------------------------------------- which lesson
def _which(
    cells: tuple[Cell, ...],
    metadata: Mapping[str, Any],
    by_name: str | None,
    course: Mapping[str, Lesson],
) -> tuple[str | None, list[str]]:
    ids, notes = Counter(cell.id for cell in cells if cell.id), []
    told = metadata.get("fedkit")
    title = told.get("title") if isinstance(told, dict) else None
    share = {name: len(lesson.ids & set(ids)) / len(lesson.ids) for name, lesson in course.items()}
    best = max(share, key=lambda name: share[name])
    by_title = next(
        (name for name, lesson in course.items() if title and lesson.title == title), None
    )
    found = best if share[best] >= 0.5 else by_title or by_name or (best if share[best] else None)
    if found and by_name and by_name != found:
        notes.append(f"its file is named {by_name[:2]}, its cells are those of {found[:2]}")
    twice = sorted(i for i, n in ids.items() if n > 1)
    if twice:
        notes.append(
            f"{how_many(len(twice), 'id')} of cells stand{'s' if len(twice) == 1 else ''} in it more than once"
        )
    return found, notes


def _lesson_in(text: str, course: Mapping[str, Lesson]) -> str | None:
    whole = next((name for name in course if name in text), None)
    match = re.search(r"(?<!\d)(\d\d)(?!\d)", text)
    return whole or next((name for name in course if match and name[:2] == match[1]), None)


# --------------------------------------------------------------------------------------------- whose
def _learner(path: Path, folder: Path, metadata: Mapping[str, Any], lesson: str | None) -> str:
    around = [p for p in path.relative_to(folder).parts[:-1] if not _is_shelf(p, lesson)]
    if around:
        return _name(_MOODLE.sub("", around[0]))
    stem, moodle = path.stem, _MOODLE.sub("", path.stem)
    if moodle != stem:
        return _name(moodle)
    stem = _ATTEMPT.sub("", stem)
    rest = (
        stem.replace(lesson, "")
        if lesson and lesson in stem
        else re.sub(r"^\d\d(?=\D|$)", "", stem)
    )
    rest = _ATTEMPT.sub("", rest).strip(" _-.")
    return _name(rest) or _in_metadata(metadata) or _name(folder.resolve().name) or "somebody"


def _is_shelf(part: str, lesson: str | None) -> bool:
    """A folder of a lesson or of an edition, not a person's."""
    return (
        part.lower() in _NOT_PEOPLE
        or part == lesson
        or bool(re.fullmatch(r"(lesson[ _-]?)?\d\d?", part.lower()))
    )


def _in_metadata(metadata: Mapping[str, Any]) -> str:
    """`metadata.authors`, as nbformat has it, or `metadata.learner`."""
    authors = _list(metadata.get("authors"))
    first = (
        authors[0].get("name")
        if authors and isinstance(authors[0], dict)
        else metadata.get("learner")
    )
    return _name(first) if isinstance(first, str) else ""


def _name(text: str) -> str:
    """As a person's name is written; a Mac's file names have ü as two signs."""
    return one_line(unicodedata.normalize("NFC", text[:1000])).strip()[:80]
