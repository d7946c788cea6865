"""Every edition of every lesson from its one source: learner's, solved, both in other languages, and one that installs.

Building is a pure function of the sources and catalogues: same sources, same bytes. Cells keep ids that depend on what is
in them, so that a change in one cell changes no other line of the file, and are the same in all editions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import EDITIONS, HOSTED, About, edition_dir, editions, lesson_paths
from tools.course import overview, timetable
from tools.course.card import Edition, card, relinked
from tools.course.effort import minutes
from tools.course.hosted import install_cell
from tools.course.lesson import Cell, Lesson, Problem, read_lesson
from tools.course.stub import solved, strange_lines, stub
from tools.course.translation import languages, name_of, read_translation

__all__ = ["about", "build", "drift", "render"]

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
REBUILD = "change the source under src/, then run: python -m tools.course build"


def build(src_dir: Path, out_dir: Path, language: str | None = None) -> list[Path]:
    """Build every edition of every lesson in `src_dir`, and what pages say of the course; returns the files that changed.

    language : build that translation's notebooks and nothing else. Raises FedkitError if a source or a catalogue can't be
    read, an exercise's markers don't pair, or the language has no catalogue.
    """
    changed = []
    for path, data in _everything(src_dir, out_dir, language).items():
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
            problems += _strange_stubs(path, path.parent / EDITIONS[1] / path.name)
    for edition in editions(out_dir):
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


def render(lesson: Lesson, edition: Edition, course: Sequence[Lesson]) -> bytes:
    """One edition of a lesson as the bytes of an .ipynb file (nbformat 4.5, no outputs, UTF-8, `\n`).

    lesson : in the edition's language, and so is `course`, all lessons, where the edition has them.
    """
    cells = []
    for cell, name in zip(lesson.cells, lesson.ids, strict=True):
        source = _source(lesson, cell, edition)
        if cell is lesson.cells[0]:
            source += "\n\n" + card(lesson, edition, course)
        make = new_code_cell if cell.kind == "code" else new_markdown_cell
        metadata = {"tags": list(cell.tags)} if cell.tags else {}
        cells.append(make(source, id=name, metadata=metadata))
    if edition.name == HOSTED:
        first = f"{lesson.number:02d}-install"
        cells.insert(1, new_code_cell(install_cell(), id=first, metadata={"tags": ["install"]}))
    said = about(lesson, edition.name).model_dump()
    notebook = new_notebook(
        cells=cells,
        metadata={"fedkit": said, "kernelspec": KERNEL, "language_info": {"name": "python"}},
    )
    notebook.nbformat_minor = 5
    return f"{nbformat.writes(notebook)}\n".encode()


def _everything(src_dir: Path, out_dir: Path, language: str | None = None) -> dict[Path, bytes]:
    course = [read_lesson(path) for path in lesson_paths(src_dir, (), ".py")]
    found = {
        edition_dir(out_dir, edition.name) / f"{lesson.name}.ipynb": render(lesson, edition, told)
        for edition, told in _editions(out_dir, course, language)
        for lesson in told
        if lesson.name in edition.lessons
    }
    return found if language else found | overview.pages(course, out_dir) | timetable.pages(course)


def _editions(
    out_dir: Path, course: Sequence[Lesson], language: str | None
) -> Iterator[tuple[Edition, Sequence[Lesson]]]:
    """Every edition, with all lessons in its language, English where there is no other."""
    there = languages(out_dir)
    if language is not None and language not in there:
        raise FedkitError(
            f"has no catalogue in {language}",
            file=out_dir / "locale",
            remedy=f"begin one: python -m tools.course translate --lang {language} 00",
        )
    translations = [read_translation(out_dir, code, course) for code in there]
    names = frozenset(lesson.name for lesson in course)
    others = {name_of(t.language): (t.language, frozenset(t.lessons)) for t in translations}
    if language is None:
        for kind in EDITIONS:
            yield Edition(kind, names, others=others), course
        yield Edition(HOSTED, names), course
    for each in translations:
        if language in (None, each.language):
            told = [each.lessons.get(lesson.name, lesson) for lesson in course]
            for name in (each.language, f"{each.language}/{EDITIONS[1]}"):
                yield Edition(name, frozenset(each.lessons), each.phrases), told


def _on_disk(path: Path) -> bytes:
    # a git that turns newlines into Windows' own has not changed the notebook
    return path.read_bytes().replace(b"\r\n", b"\n")


def _source(lesson: Lesson, cell: Cell, edition: Edition) -> str:
    if cell.kind == "markdown":
        return relinked(cell.source, edition)
    if "exercise" not in cell.tags:
        return cell.source
    try:
        return solved(cell.source) if edition.solved else stub(cell.source)
    except FedkitError as error:
        raise FedkitError(
            error.what, file=lesson.path, field=f"cell {cell.number}", remedy=error.remedy
        ) from error


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
