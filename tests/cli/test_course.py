"""`fedkit course`: list and run on built notebooks, and what each says when something is missing."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fedkit.cli.course import app
from tests.support.classroom import answered, hand_in, said
from tests.support.lessons import notebook, write_lesson
from tools.course.build import build

pytestmark = pytest.mark.usefixtures("two_checks")


def course(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_running_and_listing_need_the_built_notebooks_alone(tmp_path):
    write_lesson(tmp_path / "elsewhere")
    alone = tmp_path / "alone"
    build(tmp_path / "elsewhere", alone)
    assert not (alone / "src").exists()
    where = ("--notebooks", str(alone))
    code, listed = course("list", *where)
    assert code == 0
    for words in ("The next", "say why", "in one sentence", "40 minutes in all"):
        assert words in listed
    course("run", "02", "--edition", "solutions", "--out", str(tmp_path / "out"), *where)
    (row,) = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (row["notebook"], row["edition"], row["budget_minutes"]) == ("02_next", "solutions", 1)


def test_a_notebook_from_elsewhere_is_listed_by_its_name(tmp_path):
    (tmp_path / "00_x.ipynb").write_text("{}", encoding="utf-8")
    code, said = course("list", "--notebooks", str(tmp_path))
    assert (code, "00_x" in said, "0 minutes in all" in said) == (0, True, True)


def test_run_on_the_command_line(tmp_path):
    notebook(tmp_path, "01_fails", "'[bold]'", "print(open('no [such] file'))")
    where = ("--notebooks", str(tmp_path), "--out", str(tmp_path / "runs"))
    code, said = course("run", "-p", "rounds", "-1", "01", "-p", "who=x", *where)
    assert code == 1
    assert "01_fails, cell 4: failed" in said
    assert "no [such] file" in said
    rows = json.loads((tmp_path / "runs" / "summary.json").read_text(encoding="utf-8"))
    assert rows[0]["cell"] == 4
    assert "rounds = -1" in (tmp_path / "runs" / "learner" / "01_fails.ipynb").read_text(
        encoding="utf-8"
    )

    code, said = course("run", "-p", "round", "3", *where)
    assert code == 1
    assert "did you mean rounds?" in said
    assert course("run", "7", *where)[0] == 1
    assert course("run", "--edition", "teacher", *where)[0] == 2
    assert course("run", "-p", *where)[0] != 0


def test_a_course_without_notebooks_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()  # an empty one is no course: the clone's is taken
    assert "Aggregate" in course("list")[1]
    for command in ("list", "run"):
        code, said = course(command, "--notebooks", "notebooks")
        assert code == 1
        assert "holds no lesson" in said
        assert "tools.course build" in said
        code, said = course(command, "--notebooks", "nowhere")
        assert code == 1
        assert "--notebooks" in said


def test_a_course_with_a_broken_lesson_is_listed_graded_and_mended(tmp_path, monkeypatch):
    """In a folder of `fedkit start`: a learner's copy of the course is no measure of what others hand in."""
    monkeypatch.setattr("fedkit.experiments.lessons.clone", lambda: None)
    lesson = answered("01")
    said(lesson, "may_read", "right", "Yes.")
    hand_in(tmp_path / "01_datasite.ipynb", lesson)
    (tmp_path / ".fedkit-course.json").write_text("{}", encoding="utf-8")
    (tmp_path / "03_train.ipynb").write_text("no notebook", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert "Train as a client" in course("list")[1]
    code, told = course("run", "03")
    assert code == 1
    assert "fedkit course copy 03" in told.replace("│ │ ", "")
    code, told = course("grade", ".")
    assert code == 0
    assert "03_train.ipynb" in told
    assert "is no JSON" in told or "no notebook" in told
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "03_train.ipynb").write_text("[]", encoding="utf-8")
    code, told = course("grade", ".", "--notebooks", ".")
    assert code == 1
    assert " -> " in told


def test_grade_on_the_command_line(tmp_path):
    lesson = answered("01")
    said(lesson, "may_read", "try again", "Mallory may read.")
    hand_in(tmp_path / "class" / "ann" / "01_datasite.ipynb", lesson)
    hand_in(tmp_path / "class" / "bob" / "01_datasite.ipynb", ["no notebook"])
    out, picture = tmp_path / "grades.csv", tmp_path / "class.png"
    where = (str(tmp_path / "class"), "--out", str(out), "--picture", str(picture))
    code, told = course("grade", *where)
    assert code == 0
    assert "ann 01 0/2 may_read: try again Mallory may read." in told.replace(" │", "").replace(
        "│ ", ""
    )
    assert "1 of 2 stop at 01 may_read." in told
    assert "01_datasite.ipynb (bob): is JSON, but no notebook: it has no cells" in told
    assert "the notebooks' own words" in told
    assert out.read_text("utf-8-sig").count("\n") == 4 + 5  # a quiz has five questions
    assert picture.read_bytes().startswith(b"\x89PNG")
    for option, place in (
        ("--out", tmp_path),
        ("--picture", tmp_path / "class" / "ann" / "01_datasite.ipynb"),
    ):
        code, told = course("grade", str(tmp_path / "class"), option, str(place))
        assert (code, "is no place for a file" in told, "ann" in told.split("->")[1]) == (
            1,
            True,
            False,
        )
    code, told = course("grade", str(tmp_path / "nobody"))
    assert (code, "is no folder" in told) == (1, True)
