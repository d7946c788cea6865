"""Two editions of every lesson from its one source: the learner's and the solved one.

Building is a pure function of the sources: same sources, same bytes. Cells keep ids that depend on what is in them,
so that a change in one cell changes no other line of the file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import EDITIONS, About, edition_dir, lesson_paths
from tools.course import overview, timetable
from tools.course.effort import minutes
from tools.course.lesson import Cell, Lesson, Problem, read_lesson
from tools.course.stub import solved, strange_lines, stub

__all__ = ["about", "build", "drift", "render"]

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
REBUILD = "change the source under src/, then run: python -m tools.course build"


def build(src_dir: Path, out_dir: Path) -> list[Path]:
    """Build both editions of every lesson in `src_dir`, and what pages say of the course; returns the files that changed.

    Raises FedkitError if a source can't be read or an exercise's markers don't pair.
    """
    changed = []
    for path, data in _everything(src_dir, out_dir).items():
        if not path.is_file() or _on_disk(path) != data:
            write_bytes(path, data)
            changed.append(path)
    return changed


def drift(src_dir: Path, out_dir: Path) -> list[Problem]:
    """Where the built notebooks are not what the sources give."""
    try:
        expected = _everything(src_dir, out_dir)
    except FedkitError as error:
        return [
            Problem(
                error.file or src_dir,
                None,
                f"can't be built: {error.what}",
                error.remedy or REBUILD,
            )
        ]
    problems = []
    for path, data in expected.items():
        if not path.is_file():
            problems.append(Problem(path, None, "has not been built", REBUILD))
        elif _on_disk(path) != data:
            problems.append(Problem(path, None, "is not what its source gives", REBUILD))
            problems += _strange_stubs(path, edition_dir(out_dir, "solutions") / path.name)
    for edition in EDITIONS:
        for path in sorted(edition_dir(out_dir, edition).glob("*.ipynb")):
            if path not in expected:
                problems.append(
                    Problem(
                        path, None, "has no source", "remove it, or write its source under src/"
                    )
                )
    return problems


def about(lesson: Lesson, edition: str) -> About:
    """What a built notebook carries along, for those who run it and list it without its source."""
    return About(
        edition=edition,
        title=lesson.title,
        promise=lesson.promise,
        minutes=minutes(lesson),
        budget_s=lesson.card.budget_s,
    )


def render(lesson: Lesson, edition: str, course: Sequence[Lesson]) -> bytes:
    """One edition of a lesson as the bytes of an .ipynb file (nbformat 4.5, no outputs, UTF-8, `\\n`)."""
    seen: Counter[str] = Counter()
    cells = []
    for cell in lesson.cells:
        content = f"{lesson.name}\n{cell.kind}\n{cell.source}"
        seen[content] += 1  # equal cells need different ids
        digest = hashlib.sha256(f"{content}\n{seen[content]}".encode()).hexdigest()[:10]
        source = _source(lesson, cell, edition)
        if cell is lesson.cells[0]:
            source += "\n\n" + _card(lesson, edition, course)
        make = new_code_cell if cell.kind == "code" else new_markdown_cell
        metadata = {"tags": list(cell.tags)} if cell.tags else {}
        cells.append(make(source, id=f"{lesson.number:02d}-{digest}", metadata=metadata))
    said = about(lesson, edition).model_dump()
    notebook = new_notebook(
        cells=cells,
        metadata={"fedkit": said, "kernelspec": KERNEL, "language_info": {"name": "python"}},
    )
    notebook.nbformat_minor = 5
    return f"{nbformat.writes(notebook)}\n".encode()


def _everything(src_dir: Path, out_dir: Path) -> dict[Path, bytes]:
    course = [read_lesson(path) for path in lesson_paths(src_dir, (), ".py")]
    notebooks = {
        edition_dir(out_dir, edition) / f"{lesson.name}.ipynb": render(lesson, edition, course)
        for lesson in course
        for edition in EDITIONS
    }
    return notebooks | overview.pages(course, out_dir) | timetable.pages(course)


def _on_disk(path: Path) -> bytes:
    # a git that turns newlines into Windows' own has not changed the notebook
    return path.read_bytes().replace(b"\r\n", b"\n")


def _source(lesson: Lesson, cell: Cell, edition: str) -> str:
    if "exercise" not in cell.tags:
        return cell.source
    try:
        return stub(cell.source) if edition == "learner" else solved(cell.source)
    except FedkitError as error:
        raise FedkitError(
            error.what, file=lesson.path, field=f"cell {cell.number}", remedy=error.remedy
        ) from error


def _card(lesson: Lesson, edition: str, course: Sequence[Lesson]) -> str:
    """Minutes, needs, what one learns, and the way to the neighbours: generated, so that it is always right."""
    names = [other.name for other in course]
    here = names.index(lesson.name)
    other = f"[solved edition](solutions/{lesson.name}.ipynb)"
    if edition != "learner":
        other = f"[learner's edition](../{lesson.name}.ipynb)"
    ways = [f"Previous: {_link(course[here - 1])}" if here else "Previous: none, you start here"]
    ways += [
        f"Next: {_link(course[here + 1])}" if here + 1 < len(course) else "Next: none, you are done"
    ]
    lines = [
        f"**{minutes(lesson)} minutes** · **You need:** {lesson.card.needs}",
        "",
        "**You will learn**",
        "",
        *[f"* {point}" for point in lesson.card.learn],
        "",
        *_short_path(lesson, course),
        " · ".join([*ways, other]),
    ]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _short_path(lesson: Lesson, course: Sequence[Lesson]) -> list[str]:
    """On the short path: what the lessons between have told, and where it goes on."""
    path = overview.short_path(course)
    if lesson not in path:
        return []
    at, lines = path.index(lesson), []
    if overview.passed_over(lesson, course):
        lines = [f"**On the short path**, from {_link(path[at - 1])}, you have passed over:", ""]
        lines += [f"* {line}" for line in lesson.card.short_path or ()] + [""]
    after = path[at + 1 : at + 2]
    if after and overview.passed_over(after[0], course):
        lines += [f"The short path goes on with {_link(after[0])}.", ""]
    return lines


def _link(lesson: Lesson) -> str:
    return f"[{lesson.name[:2]} {lesson.title}]({lesson.name}.ipynb)"


def _strange_stubs(learner: Path, solutions: Path) -> list[Problem]:
    """Exercise cells of a built learner's edition with lines that the solved edition doesn't have."""
    if learner.parent == solutions.parent or not solutions.is_file():
        return []
    try:
        pair = [
            nbformat.reads(p.read_text("utf-8"), as_version=4).cells for p in (learner, solutions)
        ]
    except (ValueError, nbformat.ValidationError):
        return [Problem(learner, None, "is no notebook that can be read", REBUILD)]
    problems = []
    for number, (ours, theirs) in enumerate(zip(*pair, strict=False), 1):
        if "exercise" in ours.metadata.get("tags", []):
            for line in strange_lines(ours.source, theirs.source):
                cell = Cell(number, 0, "code", ours.source)
                what = f"`{line.strip()}` is neither a line of the solution nor `...`"
                problems.append(Problem(learner, cell, what, REBUILD))
    return problems
