"""Lessons are chosen by number or name."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import lesson_paths
from tests.support.lessons import write_lesson
from tools.course.lesson import read_lesson

pytestmark = pytest.mark.usefixtures("two_checks")


def test_lessons_are_chosen_by_number_or_name(tmp_path):
    write_lesson(tmp_path)
    (tmp_path / "helper.py").touch()
    assert [p.stem for p in lesson_paths(tmp_path)] == ["01_one", "02_next"]
    assert [p.stem for p in lesson_paths(tmp_path, ["2"])] == ["02_next"]
    assert [p.stem for p in lesson_paths(tmp_path, ["02_next", "01"])] == ["01_one", "02_next"]
    with pytest.raises(FedkitError, match="no lesson 7"):
        lesson_paths(tmp_path, ["7"])
    assert read_lesson(tmp_path / "02_next.py").title == "The next"
