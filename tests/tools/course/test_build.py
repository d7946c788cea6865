"""Two editions of tiny lessons from one source: the same bytes twice, and drift that is found."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from tests.support.lessons import LESSON, write_lesson
from tools.course.build import build, drift

pytestmark = pytest.mark.usefixtures("two_checks")


def cells_of(path: Path) -> list:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook.cells


def test_two_editions_from_one_source(tmp_path):
    write_lesson(tmp_path / "src")
    build(tmp_path / "src", tmp_path)
    learner, solution = (
        cells_of(tmp_path / "01_one.ipynb"),
        cells_of(tmp_path / "solutions/01_one.ipynb"),
    )
    stubs = [cell.source for cell in learner if "exercise" in cell.metadata.get("tags", [])]
    assert stubs == ["fk.check._one(\n    ...\n)", "def double(x):\n    # twice as much\n    ..."]
    full = [cell.source for cell in solution if "exercise" in cell.metadata.get("tags", [])]
    assert full[1] == "def double(x):\n    # twice as much\n    y = x + x\n    return y"
    for ours, theirs in zip(learner, solution, strict=True):
        assert ours.id == theirs.id
        if "exercise" not in ours.metadata.get("tags", []) and ours is not learner[0]:
            assert ours == theirs
        if ours.cell_type == "code":
            ast.parse(ours.source)
    assert len({cell.id for cell in learner}) == len(learner)
    first = learner[0].source
    assert "20 minutes" in first
    assert "* the second point" in first
    assert "Next: [02 The next](02_next.ipynb)" in first
    assert "Previous: [01 A title](01_one.ipynb)" in cells_of(tmp_path / "02_next.ipynb")[0].source


def test_building_twice_gives_the_same_bytes(tmp_path):
    write_lesson(tmp_path / "a/src")
    write_lesson(tmp_path / "b/src", LESSON.replace("\n", "\r\n"))
    assert len(build(tmp_path / "a/src", tmp_path / "a")) == 6
    build(tmp_path / "b/src", tmp_path / "b")
    names = [
        f"{folder}{name}"
        for folder in ("", "solutions/", "colab/")
        for name in ("01_one.ipynb", "02_next.ipynb")
    ]
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == [
        (tmp_path / "b" / n).read_bytes() for n in names
    ]
    assert build(tmp_path / "a/src", tmp_path / "a") == []


def test_a_change_in_one_cell_changes_one_id(tmp_path):
    write_lesson(tmp_path / "src")
    build(tmp_path / "src", tmp_path)
    before = [cell.id for cell in cells_of(tmp_path / "01_one.ipynb")]
    write_lesson(tmp_path / "src", LESSON.replace("1 + rounds", "2 + rounds"))
    build(tmp_path / "src", tmp_path)
    after = [cell.id for cell in cells_of(tmp_path / "01_one.ipynb")]
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_drift_is_found(tmp_path):
    source = write_lesson(tmp_path / "src")
    assert len(drift(tmp_path / "src", tmp_path)) == 6
    build(tmp_path / "src", tmp_path)
    assert drift(tmp_path / "src", tmp_path) == []
    built = tmp_path / "01_one.ipynb"
    good = built.read_text(encoding="utf-8")

    built.write_text(good.replace('"    ..."', '"    return x * 3"'), encoding="utf-8")
    said = [str(problem) for problem in drift(tmp_path / "src", tmp_path)]
    assert any("`return x * 3` is neither a line of the solution" in text for text in said)
    built.write_text(good, encoding="utf-8")

    (tmp_path / "solutions/09_old.ipynb").write_text(good, encoding="utf-8")
    (problem,) = drift(tmp_path / "src", tmp_path)
    assert "no source" in problem.what
    (tmp_path / "solutions/09_old.ipynb").unlink()

    source.write_text(LESSON.replace("On we go.", "On we went."), encoding="utf-8")
    assert {p.path.name for p in drift(tmp_path / "src", tmp_path)} == {"01_one.ipynb"}
    source.write_text(LESSON.replace("    # solution end\n", ""), encoding="utf-8")
    (problem,) = drift(tmp_path / "src", tmp_path)
    assert "can't be built" in problem.what
