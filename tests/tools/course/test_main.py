"""`python -m tools.course`: check, build and list, and what is said where there are no sources."""

from __future__ import annotations

import tempfile

import pytest
from typer.testing import CliRunner

from fedkit.cli.course import app as learners
from tests.support.lessons import write_lesson
from tools.course.__main__ import app

pytestmark = pytest.mark.usefixtures("two_checks")


def course(*words: str, by=app) -> tuple[int, str]:
    result = CliRunner().invoke(by, list(words))
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
    assert course("list", *where) == course("list", *where, by=learners)
    (tmp_path / "01_one.ipynb").unlink()
    assert course("check", "2", *where)[0] == 0
    assert course("check", "1", *where)[0] == 1
    code, said = course("list", *where)
    assert code == 0
    assert "add two numbers" in said
    assert "40 minutes" in said


def test_a_course_without_sources_says_what_to_do(tmp_path):
    code, said = course("build", "--notebooks", tempfile.mkdtemp(dir=tmp_path))
    assert code == 1
    assert "src/" in said


def test_a_language_is_begun_built_and_checked_on_the_command_line(tmp_path):
    write_lesson(tmp_path / "src")
    where = ("--notebooks", str(tmp_path))
    code, said = course("translate", "--lang", "de", *where)
    assert code == 1
    assert "has no catalogue in de -> name the lessons to begin with" in said
    code, said = course("translate", "--lang", "de", "1", *where)
    assert code == 0
    assert "01_one: 0 of 16 texts translated" in said
    assert "de: 0% of 28 texts translated" in said
    assert course("build", "--lang", "de", *where)[0] == 0
    built = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ipynb")}
    assert built == {"de/01_one.ipynb", "de/solutions/01_one.ipynb"}
    course("build", *where)
    (tmp_path / "locale/de/09_gone.po").write_text("", encoding="utf-8")
    code, said = course("check", *where)
    assert code == 1
    assert "is the catalogue of no lesson -> remove it" in said
