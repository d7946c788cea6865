"""`fedkit course`: check, build, list and run, and what each says when something is missing."""

from __future__ import annotations

import json
import tempfile

import pytest
from typer.testing import CliRunner

from fedkit.cli.course import app
from tests.support.lessons import notebook, write_lesson

pytestmark = pytest.mark.usefixtures("two_checks")


def course(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_check_build_and_list_on_the_command_line(tmp_path):
    write_lesson(tmp_path / "src")
    where = ("--notebooks", str(tmp_path))
    code, said = course("check", *where)
    assert code == 1
    assert "has not been built -> " in said
    assert course("build", *where)[0] == 0
    code, said = course("check", *where)
    assert (code, said) == (0, "2 lessons, 0 problems")
    (tmp_path / "01_one.ipynb").unlink()
    assert course("check", "2", *where)[0] == 0
    assert course("check", "1", *where)[0] == 1
    code, said = course("list", *where)
    assert code == 0
    assert "add two numbers" in said
    assert "40 minutes" in said


def test_run_on_the_command_line(tmp_path):
    (tmp_path / "src").mkdir()
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


def test_a_course_without_sources_says_what_to_do(tmp_path):
    code, said = course("build", "--notebooks", tempfile.mkdtemp(dir=tmp_path))
    assert code == 1
    assert "src/" in said
