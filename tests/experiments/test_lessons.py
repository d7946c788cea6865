"""The course as a folder of built notebooks: which lessons it has, and what each says of itself."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import About, about, lesson_paths
from tests.support.lessons import write_lesson
from tools.course.build import about as from_source
from tools.course.build import build
from tools.course.lesson import read_lesson, source_paths

pytestmark = pytest.mark.usefixtures("two_checks")


def test_lessons_are_chosen_by_number_or_name(tmp_path):
    write_lesson(tmp_path / "src")
    (tmp_path / "src" / "helper.py").touch()
    assert [p.stem for p in source_paths(tmp_path)] == ["01_one", "02_next"]
    assert [p.stem for p in source_paths(tmp_path, ["2"])] == ["02_next"]
    both = source_paths(tmp_path, ["02_next", "01"])
    assert [p.stem for p in both] == ["01_one", "02_next"]
    with pytest.raises(FedkitError, match="no lesson 7"):
        source_paths(tmp_path, ["7"])
    build(tmp_path / "src", tmp_path)
    (tmp_path / "helper.ipynb").touch()
    assert [p.stem for p in lesson_paths(tmp_path)] == ["01_one", "02_next"]
    assert [p.name for p in lesson_paths(tmp_path, ["02"])] == ["02_next.ipynb"]
    with pytest.raises(FedkitError, match="no lesson 7"):
        lesson_paths(tmp_path, ["7"])


@pytest.mark.parametrize("edition", ["learner", "solutions"])
def test_a_built_notebook_says_what_its_source_says(tmp_path, edition):
    path = write_lesson(tmp_path / "src")
    build(tmp_path / "src", tmp_path)
    built = tmp_path / ("" if edition == "learner" else edition) / "01_one.ipynb"
    assert about(built) == from_source(read_lesson(path), edition)
    assert about(built) == About(
        edition=edition,
        title="A title",
        promise="You will be able to add two numbers of `fl_config.json` and say why, in one sentence.",
        minutes=20,
        budget_s=60,
    )


@pytest.mark.parametrize("text", ['{"metadata": {"fedkit": {"budget_s": "soon"}}}', "{", "[]", ""])
def test_a_notebook_from_elsewhere_promises_nothing(tmp_path, text):
    (tmp_path / "00_x.ipynb").write_text(text, encoding="utf-8")
    assert about(tmp_path / "00_x.ipynb") == About()
    assert about(tmp_path / "none.ipynb") == About()
