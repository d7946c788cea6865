"""The course as a whole: its pages list what there is, and its ways lead from lesson to lesson."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import hours
from tests.support import ROOT
from tests.support.lessons import HEADER, LESSON, write_lesson
from tools.course.build import build, drift
from tools.course.effort import minutes
from tools.course.lesson import Lesson, read_lesson, source_paths
from tools.course.overview import passed_over, problems, short_path

pytestmark = pytest.mark.usefixtures("two_checks")


@pytest.fixture(scope="module")
def course() -> list[Lesson]:
    return [read_lesson(path) for path in source_paths(ROOT / "notebooks")]


def test_hours_are_said_as_people_say_them():
    assert [hours(n) for n in (0, 45, 60, 170)] == ["0 min", "45 min", "1 h", "2 h 50 min"]


def test_every_row_is_brought_up_to_date_and_drift_is_named(tmp_path):
    write_lesson(tmp_path / "notebooks/src")
    page = tmp_path / "README.md"
    row = "| 01 | [A title](notebooks/01_one.ipynb) | {} | is mine |\n"
    page.write_text(row.format(99) + "| 07 | [Gone](x) | 3 | stays |\n", encoding="utf-8")
    said = [str(problem) for problem in drift(tmp_path / "notebooks/src", tmp_path / "notebooks")]
    assert any("README.md" in problem and " -> " in problem for problem in said)
    build(tmp_path / "notebooks/src", tmp_path / "notebooks")
    long = minutes(read_lesson(tmp_path / "notebooks/src/01_one.py"))
    assert long != 99
    assert page.read_text("utf-8") == row.format(long) + "| 07 | [Gone](x) | 3 | stays |\n"
    assert drift(tmp_path / "notebooks/src", tmp_path / "notebooks") == []


def test_an_unknown_block_is_refused(tmp_path):
    write_lesson(tmp_path / "src")
    (tmp_path / "README.md").write_text("<!-- built: nothing -->\n<!-- end -->\n", encoding="utf-8")
    with pytest.raises(FedkitError, match="nobody builds"):
        build(tmp_path / "src", tmp_path)


def lessons(folder: Path, **headers: str) -> list[Lesson]:
    """Lessons named by number, each with some more lines in its header."""
    for name, more in headers.items():
        header = HEADER.removesuffix("# ---\n") + more + "# ---\n"
        path = folder / f"{name.strip('_')}.py"
        path.write_text(LESSON.replace(HEADER, header), encoding="utf-8")
    return [read_lesson(path) for path in sorted(folder.glob("*.py"))]


def test_a_jump_of_the_short_path_is_said(tmp_path):
    on, off, told = "#     short_path: []\n", "", '#     short_path:\n#       - "01: x"\n'
    found = lessons(tmp_path, _00_a=on, _01_b=off, _02_c=told, _03_d=on)
    assert [lesson.number for lesson in short_path(found)] == [0, 2, 3]
    assert [[x.number for x in passed_over(lesson, found)] for lesson in found] == [[], [], [1], []]
    assert problems(found) == []
    found = lessons(tmp_path, _00_a=on, _01_b=off, _02_c=on, _03_d=told)
    assert [(p.path.stem, "01" in p.what, "jumped" in p.what) for p in problems(found)] == [
        ("02_c", True, False),
        ("03_d", False, True),
    ]


def test_a_lesson_needs_only_what_comes_before(tmp_path):
    found = lessons(tmp_path, _00_a="", _01_b="", _02_c="")
    needs = {"00_a": "fedkit", "01_b": "notebooks 00 to 02", "02_c": "notebook 01; 07 for a part"}
    for name, said in needs.items():
        path = tmp_path / f"{name}.py"
        path.write_text(path.read_text("utf-8").replace("an installed fedkit", said), "utf-8")
    found = [read_lesson(lesson.path) for lesson in found]
    assert [lesson.needed for lesson in found] == [([], []), ([0, 1, 2], []), ([1], [7])]
    assert [(p.path.stem, re.findall(r"\d\d", p.what)) for p in problems(found)] == [
        ("01_b", ["01"]),
        ("01_b", ["02"]),
        ("02_c", ["07"]),
    ]


# ------------------------------------------------------------------------------------- the real course
def test_the_short_path_fits_an_afternoon_and_leads_on(course: list[Lesson]):
    path = short_path(course)
    assert [lesson.number for lesson in path] == [0, 3, 4, 8, 9]
    assert sum(map(minutes, path)) <= 4 * 60
    cards = {
        lesson.number: nbformat.read(ROOT / f"notebooks/{lesson.name}.ipynb", as_version=4).cells[0]
        for lesson in course
    }
    for before, after in ((0, 3), (4, 8)):
        assert f"goes on with [{after:02d} " in cards[before].source
        assert "you have passed over" in cards[after].source
    assert not any("short path" in cards[n].source.lower() for n in cards if n not in (0, 3, 4, 8))


def test_each_step_of_the_tutorial_leads_to_a_section_that_there_is(course: list[Lesson]):
    page = (ROOT / "notebooks/README.md").read_text("utf-8")
    rows = re.findall(r"^\|.*\| \[(\d\d)\]\((\S+)\) \| (.+?) \|$", page, re.MULTILINE)
    assert len(rows) >= 12
    for number, link, heading in rows:
        lesson = next(lesson for lesson in course if lesson.number == int(number))
        assert link == f"{lesson.name}.ipynb"
        assert any(f"## {heading}" in cell.source.splitlines() for cell in lesson.cells), heading
