"""What a notebook says of itself, and what in it makes that doubtful."""

from pathlib import Path
from typing import Any

import pytest

from fedkit.teaching.grade.exercises import Lesson, read_course
from fedkit.teaching.grade.own_word import own_word, suspicions
from fedkit.teaching.grade.pile import pile
from tests.support import ROOT
from tests.support.classroom import answered, cell_of, hand_in, said


@pytest.fixture(scope="module")
def course() -> dict[str, Lesson]:
    return read_course(ROOT / "notebooks")


def read(
    course: dict[str, Lesson], folder: Path, notebook: dict[str, Any]
) -> tuple[dict[str, tuple[str, str]], dict[str, list[str]]]:
    hand_in(folder / "ann" / "nb.ipynb", notebook)
    (found,) = pile(folder, course)
    lesson = course[found.lesson or ""]
    words = {name: (word.state, word.reason) for name, word in own_word(found, lesson).items()}
    return words, suspicions(found, lesson)


def test_what_the_outputs_say(course: dict[str, Lesson], tmp_path: Path) -> None:
    notebook = answered("02")
    said(notebook, "valid_config", "right", "It loads.")
    said(notebook, "model_size", "try again", "Biases: all of them?")
    words, looks = read(course, tmp_path, notebook)
    assert words == {
        "valid_config": ("right", "It loads."),
        "model_size": ("try again", "Biases: all of them?"),
        "changed_files": ("not run", "its cell has no result"),
        **{f"quiz {n}": ("not run", "its cell has no result") for n in range(1, 6)},
    }
    assert looks == {}


def test_what_is_gone_is_named(course: dict[str, Lesson], tmp_path: Path) -> None:
    notebook = answered("01")
    cell = cell_of(notebook, "may_read")
    cell["source"] = "".join(cell["source"]).replace("fk.check.may_read(may_read)", "")
    notebook["cells"].remove(cell_of(notebook, "open_folder"))
    words, looks = read(course, tmp_path, notebook)
    assert words["may_read"] == ("not run", "its cell is there, and the check is gone from it")
    assert words["open_folder"] == ("missing", "its cell is not in the notebook")
    assert looks == {
        name: ["the cell with its check is gone"] for name in ("may_read", "open_folder")
    }


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("fk.check = type('C', (), {})", "gives fk.check another meaning"),
        ("fk.check.may_read.judge = print", "gives fk.check.may_read.judge another meaning"),
        ("fk = None", "gives fk another meaning"),
        ("setattr(fk.check, 'may_read', print)", "gives fk.check another meaning"),
        ("from fedkit.teaching.check import base", "reaches into the checks"),
        ("import fedkit.teaching.check.base as b; b.near = print", "reaches into the checks"),
        ("display({'application/vnd.fedkit.check+json': {}}, raw=True)", "reaches into the checks"),
    ],
)
def test_meddling_is_named(course: dict[str, Lesson], tmp_path: Path, code: str, told: str) -> None:
    notebook = answered("01")
    notebook["cells"].append(
        {"cell_type": "code", "id": "x", "metadata": {}, "outputs": [], "source": code}
    )
    assert f"cell {len(notebook['cells'])} {told}" in read(course, tmp_path, notebook)[1][""]


def test_a_record_in_another_cell_is_named(course: dict[str, Lesson], tmp_path: Path) -> None:
    notebook = answered("01")
    said(notebook, "may_read", "right")
    cell = cell_of(notebook, "may_read")
    forged = {"cell_type": "code", "id": "x", "metadata": {}, "source": "1"}
    notebook["cells"].insert(0, forged | {"outputs": cell["outputs"]})
    cell["outputs"] = []
    _, looks = read(course, tmp_path, notebook)
    assert looks == {"may_read": ["a record of it stands in cell 1, which does not call its check"]}


@pytest.mark.parametrize("lesson", ["00", "01", "03", "05", "11", "14"])
def test_a_shipped_lesson_gives_no_suspicion(
    course: dict[str, Lesson], tmp_path: Path, lesson: str
) -> None:
    for edition in ("learner", "solutions"):
        assert read(course, tmp_path, answered(lesson, edition=edition))[1] == {}
