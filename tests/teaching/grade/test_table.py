"""A pile becomes a table: the best of all attempts, in whose word, what to look at, and where a class stops."""

import csv
import io
from pathlib import Path

import pytest

from fedkit.experiments.notebooks import QUIZ_MIME
from fedkit.teaching.grade import grade, table, write_grades
from fedkit.teaching.grade.own_word import Word, own_word
from fedkit.teaching.grade.pile import Submission
from fedkit.teaching.quiz import read_quiz
from tests.support.classroom import answered, cell_of, hand_in, said
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
    rows = {(row.learner.lower(), row.name): row for row in found.rows if not row.quiz}
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
    assert [row.state for row in found.rows if row.quiz] == ["not run"] * 15
    assert [found.progress(who) for who in found.learners if who != "=cem"] == [(2, 2), (0, 5)]
    assert dict(found.stops()) == {("01_datasite", "may_read"): 1}
    assert title(found.picture()) == "Most stop at 01 may_read: 1 of 2 who handed it in"


def test_as_a_csv_that_no_spreadsheet_runs(pile: Path, tmp_path: Path) -> None:
    write_grades(grade(pile), tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 + 15  # with five questions for each lesson that was handed in
    assert rows[-1]["learner"] == "'=cem"
    assert rows[-1]["state"] == "unreadable"
    assert "is no notebook that can be read" in rows[-1]["reason"]
    assert rows[0]["state"] == "right"


def test_no_name_and_no_word_of_a_stranger_breaks_the_table(tmp_path: Path) -> None:
    notebook = answered("01")
    said(notebook, "may_read", "right", "=1+1")
    cell_of(notebook, "may_read")["outputs"][0]["data"]["text/plain"] = "\ud800 ;=cmd() ; +1\n@x"
    notebook["metadata"]["authors"] = [{"name": "\ud800\n=ann"}]
    hand_in(tmp_path / "01_datasite.ipynb", notebook)
    for name in ("a;=b", "＝wide", " @c", "d|-e", "f, g"):
        hand_in(tmp_path / name / "01_datasite.ipynb", answered("01"))
    out = tmp_path / "grades.csv"
    write_grades(grade(tmp_path), out)
    text = out.read_text("utf-8-sig")
    for parted in ("semicolon", "comma"):
        for row in csv.reader(
            io.StringIO(text), delimiter={"semicolon": ";", "comma": ","}[parted]
        ):
            assert not [cell for cell in row if cell.lstrip()[:1] in tuple("=+-@＝＋－＠")], row
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["learner"] for row in rows} >= {"a;'=b", "'＝wide", "'@c", "d|'-e", "f, g"}
    assert any(row["reason"].startswith("\\ud800 ;'=cmd()") for row in rows)


def test_a_notebook_that_can_not_be_graded_stops_no_other(
    pile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(submission: Submission, lesson: object) -> dict[str, Word]:
        if submission.learner == "bob":
            raise RecursionError("too deep")
        return own_word(submission, lesson)  # type: ignore[arg-type]

    monkeypatch.setattr(table, "own_word", broken)
    found = grade(pile)
    rows = {(row.learner.lower(), row.name): row for row in found.rows if not row.quiz}
    assert rows["ann", "may_read"].state == "right"
    assert rows["bob", "may_read"].state == "not judged"
    assert rows["bob", "may_read"].reason == "grading it stopped with RecursionError: too deep"


def test_the_picture_keeps_the_courses_order(tmp_path: Path) -> None:
    hand_in(tmp_path / "ann" / "02_configure.ipynb", answered("02"))
    hand_in(tmp_path / "bob" / "01_datasite.ipynb", answered("01"))
    (tmp_path / "bob" / "all.zip").write_bytes(b"PK")
    found = grade(tmp_path)
    names = [text.get_text() for text in found.picture().axes[0].get_yticklabels()]
    assert [name[:2] for name in names] == ["01"] * 2 + ["02"] * 3
    assert "1 file is no notebook by the name: all.zip" in found.remarks


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


def test_a_quiz_is_judged_by_the_courses_own_key(tmp_path: Path) -> None:
    """The notebook says what was chosen. What it says of itself, letters that are none, other quizzes: nothing."""
    key = [question.answer for question in read_quiz("01")]
    wrong = next(letter for letter in "abc" if letter != key[1])
    notebook = answered("01")
    said(notebook, "may_read", "right")
    states = dict.fromkeys("12345", "right")
    tries = {"1": key[0], "2": wrong, "3": wrong + key[2], "4": {key[3]: 1}, "5": "!z"}
    for name, kept in (("01", {}), ("02", tries), ("01", tries)):
        data = {QUIZ_MIME: {"name": name, "states": states, "tries": kept}, "text/plain": ""}
        output = {"output_type": "display_data", "metadata": {}, "data": data}
        notebook["cells"][-1].setdefault("outputs", []).append(output)
    hand_in(tmp_path / "ann" / "01.ipynb", notebook)
    found = grade(tmp_path)
    rows = [row for row in found.rows if row.quiz]
    assert [row.name for row in rows] == [f"quiz {n}" for n in range(1, 6)]
    last = "right" if key[2] == (wrong + key[2])[-1] else "try again"
    assert [row.state for row in rows] == ["right", "try again", last, "not yet", "not yet"]
    assert rows[2].reason.startswith(f"chose {wrong}, then {key[2]}. ")
    assert found.progress("ann") == (1, 2)
