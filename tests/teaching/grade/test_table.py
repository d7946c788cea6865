"""A pile becomes a table: the best of all attempts, in whose word, what to look at, and where a class stops."""

import csv
from pathlib import Path

import pytest

from fedkit.teaching.grade import grade, table, write_grades
from fedkit.teaching.grade.own_word import Word
from tests.support.classroom import answered, hand_in, said
from tests.support.pictures import title


@pytest.fixture
def pile(tmp_path: Path) -> Path:
    """Ann has tried lesson 01 twice, Bob once and 02, Cem handed in what nobody can read."""
    first, second, bobs, none = answered("01"), answered("01"), answered("01"), answered("02")
    said(first, "may_read", "right")
    said(first, "open_folder", "try again", "Bob may do too much.")
    said(second, "may_read", "not yet")
    said(second, "open_folder", "right")
    said(bobs, "may_read", "try again", "Mallory may read.")
    hand_in(tmp_path / "ann" / "01_datasite.ipynb", first)
    hand_in(tmp_path / "Ann" / "01_datasite (1).ipynb", second)
    hand_in(tmp_path / "bob" / "01_datasite.ipynb", bobs)
    hand_in(tmp_path / "bob" / "02_configure.ipynb", none)
    (tmp_path / "=cem").mkdir()
    (tmp_path / "=cem" / "01_datasite.ipynb").write_text("{")
    return tmp_path


def test_the_best_of_all_attempts_in_the_notebooks_own_word(pile: Path) -> None:
    found = grade(pile)
    rows = {(row.learner.lower(), row.name): row for row in found.rows}
    assert {key: row.state for key, row in rows.items()} == {
        ("ann", "may_read"): "right",
        ("ann", "open_folder"): "right",
        ("bob", "may_read"): "try again",
        ("bob", "open_folder"): "not run",
        ("bob", "valid_config"): "not run",
        ("bob", "model_size"): "not run",
        ("bob", "changed_files"): "not run",
    }
    assert rows["bob", "may_read"].reason == "Mallory may read."
    assert {row.attempts for (who, _), row in rows.items() if who == "ann"} == {2}
    assert {row.judged for row in found.rows} == {"its own word"}
    assert found.remarks[0] == table.OWN_WORD
    assert "The quizzes of 01, 02 record nothing" in found.remarks[1]
    assert [found.progress(who) for who in found.learners if who != "=cem"] == [(2, 2), (0, 5)]
    assert dict(found.stops()) == {("01_datasite", "may_read"): 1}
    assert title(found.picture()) == "Most stop at 01 may_read: 1 of 2 who handed it in"


def test_as_a_csv_that_no_spreadsheet_runs(pile: Path, tmp_path: Path) -> None:
    write_grades(grade(pile), tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert rows[-1]["learner"] == "'=cem"
    assert rows[-1]["state"] == "unreadable"
    assert "is no notebook that can be read" in rows[-1]["reason"]
    assert rows[0]["state"] == "right"


def test_what_disagrees_is_named(pile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(submission: object, lesson: object, **limits: float) -> object:
        return {"may_read": Word("try again", "Mallory"), "open_folder": Word("right", "")}, [
            "no walls"
        ]

    monkeypatch.setattr(table, "rerun", judged)
    (pile / "bob" / "02_configure.ipynb").unlink()
    found = grade(pile, anew=True)
    (row,) = [r for r in found.rows if r.learner.lower() == "ann" and r.name == "may_read"]
    assert (row.state, row.judged) == ("try again", "anew")
    assert row.look_at == "the notebook says right; run anew, it is try again"
    assert "no walls" in found.remarks
    assert table.OWN_WORD not in found.remarks


def test_a_quiz_that_a_notebook_recorded_is_a_row_of_its_own(tmp_path: Path) -> None:
    notebook = answered("01")
    said(notebook, "may_read", "right")
    output = notebook["cells"][-1].setdefault("outputs", [])
    cell = next(c for c in notebook["cells"] if "fk.check.may_read" in "".join(c["source"]))
    (shown,) = cell["outputs"]
    mime = next(name for name in shown["data"] if "check" in name)
    data = {
        mime: {"name": "quiz_01_2", "state": "try again"},
        "text/plain": "↻ Try again · Two: Why?",
    }
    output.append({"output_type": "display_data", "metadata": {}, "data": data})
    hand_in(tmp_path / "ann" / "01.ipynb", notebook)
    row = grade(tmp_path).rows[-1]
    assert (row.name, row.state, row.reason, row.quiz) == ("quiz_01_2", "try again", "Why?", True)
    assert grade(tmp_path).progress("ann") == (1, 2)
