"""The course for nbgrader: its metadata by nbgrader's published rules, and the real nbgrader on real submissions."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from fedkit.base.errors import FedkitError
from fedkit.cli.course import app
from fedkit.teaching.grade import grade
from fedkit.teaching.grade.exercises import read_course
from fedkit.teaching.nbgrader_course import BEGIN, END, SCHEMA, export_nbgrader
from fedkit.teaching.quiz import read_quiz
from tests.support import ROOT
from tests.support.nbgrader_course import (
    grades,
    hand_in_to,
    nbgrader,
    notebook_of,
    source_of,
)

NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
# the rules of nbgrader/nbgraderformat/v3.json
RULES = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "schema_version": {"const": SCHEMA},
            "grade": {"type": "boolean"},
            "locked": {"type": "boolean"},
            "solution": {"type": "boolean"},
            "task": {"type": "boolean"},
            "grade_id": {"type": "string", "pattern": r"^[a-zA-Z0-9_\-]+$"},
            "points": {"type": "number", "minimum": 0},
        },
        "required": ["schema_version", "grade", "locked", "solution", "grade_id"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole course, exported."""
    out = tmp_path_factory.mktemp("nbgrader") / "course"
    export_nbgrader(out, NOTEBOOKS)
    return out


def about(cell: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cell["metadata"].get("nbgrader", {})
    return found


def released(source: str) -> str:
    """What nbgrader's ClearSolutions makes of a cell, with our stub."""
    lines, inside = [], False
    for line in source.splitlines():
        if "BEGIN SOLUTION" in line:
            assert not inside
            inside = True
            lines.append(re.match(r"\s*", line)[0] + "...")  # type: ignore[index]
        elif "END SOLUTION" in line:
            inside = False
        elif not inside:
            lines.append(line)
    assert not inside
    return "\n".join(lines)


@pytest.mark.parametrize("lesson", LESSONS)
def test_metadata_keeps_nbgraders_rules(course: Path, lesson: str) -> None:
    cells = notebook_of(course, "source", lesson)["cells"]
    ids = [about(cell)["grade_id"] for cell in cells if about(cell)]
    assert len(ids) == len(set(ids))
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        if not about(cell):
            assert cell["cell_type"] == "markdown", (
                "nbgrader puts every cell of code back but the learner's"
            )
            continue
        assert not list(RULES.iter_errors(about(cell)))
        kind = tuple(about(cell)[name] for name in ("grade", "solution", "locked"))
        # a test with points, a solution, or a cell that is put back; nothing is both
        assert kind in ((True, False, True), (False, True, False), (False, False, True))
        assert ("points" in about(cell)) == kind[0]
        assert cell["cell_type"] == "code" or kind == (False, False, True)
        assert (BEGIN in source_of(cell)) == (END in source_of(cell)) == kind[1]


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_is_released_is_the_learners_edition(course: Path, lesson: str) -> None:
    """Every line of code that a learner gets stands in the learner's edition, or calls a check or asks for letters."""
    cells = notebook_of(course, "source", lesson)["cells"]
    ours = json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text("utf-8"))["cells"]
    known = {line for cell in ours for line in source_of(cell).splitlines()}
    points: dict[str, float] = {}
    for cell in cells:
        text = released(source_of(cell))
        if cell["cell_type"] == "code":
            ast.parse(text)
            for line in text.splitlines() if about(cell)["solution"] else ():
                assert line in known or re.fullmatch(
                    r"(my_\w+|letters) = [(\[]|[)\]]|\s*\.\.\.", line
                ), line
        if about(cell).get("grade"):
            points[about(cell)["grade_id"]] = about(cell)["points"]
            assert text.startswith("# ")
            assert ".credit" in text
    checks = set(re.findall(r"fk\.check\.(\w+)\(", "".join(map(source_of, ours))))
    wanted = {f"test_{check}": 10.0 for check in checks}
    if any(source_of(cell).startswith("fk.quiz(") for cell in ours):
        wanted |= {f"test_quiz_{n}": 1.0 for n in range(1, 6)}
    assert points == wanted
    texts = "".join(source_of(cell) for cell in cells)
    assert "solved edition" not in texts
    assert (
        texts.count("\n### BEGIN SOLUTION") == 0
    )  # never at the edge: a solution stands in something


def test_links_lead_to_the_lessons_that_are_there(tmp_path: Path) -> None:
    export_nbgrader(tmp_path / "two", NOTEBOOKS, ["03", "04"])
    first = source_of(notebook_of(tmp_path / "two", "source", "04_aggregate")["cells"][0])
    assert "Previous: [03 Train as a client](../03_train/03_train.ipynb) · Next: 05 Round" in first


def test_points_are_the_teachers(tmp_path: Path) -> None:
    words = [
        "export",
        "nbgrader",
        str(tmp_path / "course"),
        "04",
        "--points",
        "3",
        "--quiz-points",
        "0",
    ]
    assert CliRunner().invoke(app, words).exit_code == 0
    cells = notebook_of(tmp_path / "course", "source", "04_aggregate")["cells"]
    graded = {about(c)["grade_id"]: about(c)["points"] for c in cells if about(c).get("grade")}
    assert graded == {"test_mixing_weights": 3.0, "test_fedavg": 3.0}
    config = (tmp_path / "course" / "nbgrader_config.py").read_text("utf-8")
    compile(config, "nbgrader_config.py", "exec")
    assert "3 points" in (tmp_path / "course" / "README.md").read_text("utf-8")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FedkitError, match="is not empty"):
        export_nbgrader(tmp_path, NOTEBOOKS)
    with pytest.raises(FedkitError, match="is not empty"):
        export_nbgrader(tmp_path / "mine.txt", NOTEBOOKS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(FedkitError, match="there is no lesson 99"):
        export_nbgrader(tmp_path / "new", NOTEBOOKS, ["99"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("points", [-1.0, float("nan"), float("inf")])
def test_points_are_numbers(tmp_path: Path, points: float) -> None:
    for which in ("points", "quiz_points"):
        with pytest.raises(FedkitError, match="numbers from 0 up"):
            export_nbgrader(tmp_path / "new", NOTEBOOKS, ["01"], **{which: points})  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_a_course_that_somebody_has_changed_is_told(tmp_path: Path) -> None:
    """Editions that don't fit each other, or can't be read: for nbgrader and for grading alike."""
    theirs = tmp_path / "notebooks"
    (theirs / "solutions").mkdir(parents=True)
    for place in ("", "solutions"):
        shutil.copy(NOTEBOOKS / place / "01_datasite.ipynb", theirs / place)
    path = theirs / "01_datasite.ipynb"
    notebook = json.loads(path.read_text("utf-8"))
    notebook["cells"].append({"cell_type": "markdown", "id": "m", "metadata": {}, "source": "mine"})
    for text, told in (
        (json.dumps(notebook), "other cells than its solved"),
        ("{", "is no notebook"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FedkitError, match=told):
            export_nbgrader(tmp_path / "new", theirs)
        with pytest.raises(FedkitError, match=told):
            read_course(theirs)
    assert not (tmp_path / "new").exists()


# ------------------------------------------------------------------------------- nbgrader itself
def solutions(course: Path, lesson: str) -> dict[str, str]:
    """The solved texts of a lesson, without nbgrader's marks."""
    cells = notebook_of(course, "source", lesson)["cells"]
    mine = [cell for cell in cells if about(cell).get("solution")]
    return {
        about(cell)["grade_id"]: source_of(cell)
        .replace(BEGIN, "# mine")
        .replace(END, "# until here")
        for cell in mine
    }


@pytest.mark.slow
def test_nbgrader_generates_every_assignment(course: Path) -> None:
    for lesson in LESSONS:
        nbgrader(course, "generate_assignment", lesson)
        for cell in notebook_of(course, "source", lesson)["cells"]:
            if about(cell).get("solution"):
                theirs = next(
                    other
                    for other in notebook_of(course, "release", lesson)["cells"]
                    if about(other).get("grade_id") == about(cell)["grade_id"]
                )
                assert source_of(theirs) == released(source_of(cell))


@pytest.mark.slow
def test_nbgrader_grades_what_learners_hand_in(tmp_path: Path) -> None:
    """Full points, none, and those of what is right; a test that a learner has changed counts as it was."""
    course = tmp_path / "course"
    export_nbgrader(course, NOTEBOOKS, ["00", "03", "04"])
    for lesson in ("00_start_here", "03_train", "04_aggregate"):
        nbgrader(course, "generate_assignment", lesson)
        done = solutions(course, lesson)
        hand_in_to(course, "solved", lesson, done)
        hand_in_to(course, "untouched", lesson, {})
    key = "".join(question.answer for question in read_quiz("04"))
    wrong = {
        "mixing_weights": solutions(course, "04_aggregate")["mixing_weights"],
        "fedavg": 'def fedavg(updates, weighting="samples"):\n    return updates[0].state',
        "test_fedavg": "None  # I am right",
        "quiz": f'letters = "{key[:3]}--"',
        "given_quiz": "",
    }
    hand_in_to(course, "mixed", "04_aggregate", wrong)
    for lesson in ("00_start_here", "03_train", "04_aggregate"):
        nbgrader(course, "autograde", lesson)
    got = grades(course)
    assert got["00_start_here", "solved"] == got["00_start_here", "untouched"] == (0, 0)
    assert got["03_train", "solved"] == (35, 35)
    assert got["04_aggregate", "solved"] == (25, 25)
    for lesson, most in (("03_train", 35), ("04_aggregate", 25)):
        assert got[lesson, "untouched"] == (0, most)
        outputs = [
            output
            for cell in notebook_of(course, "autograded/untouched", lesson)["cells"]
            for output in cell.get("outputs", [])
        ]
        errors = [out["evalue"] for out in outputs if out["output_type"] == "error"]
        assert errors == []
    assert got["04_aggregate", "mixed"] == (13, 25)
    assert not list(course.glob("autograded/*/*/runs"))
    back = [
        cell
        for cell in notebook_of(course, "autograded/mixed", "04_aggregate")["cells"]
        if about(cell).get("grade_id") in ("test_fedavg", "given_quiz")
    ]
    assert ["I am right" in source_of(cell) or not source_of(cell) for cell in back] == [False] * 2
    # fedkit's own grader reads the same pile, and comes to the same
    for anew in (False, True):
        where = course / ("submitted" if anew else "autograded")
        found = grade(where, anew=anew)
        right = {
            (row.learner, row.lesson, row.name)
            for row in found.rows
            if row.state == "right" and not row.quiz
        }
        names = ("sgd_epoch", "steps_in_a_round", "what_the_facts_tell")
        assert right == {("solved", "03_train", name) for name in names} | {
            ("solved", "04_aggregate", "mixing_weights"),
            ("solved", "04_aggregate", "fedavg"),
            ("mixed", "04_aggregate", "mixing_weights"),
        }
