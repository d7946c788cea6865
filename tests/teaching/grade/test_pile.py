"""Whose a notebook is and which lesson, and files that are none."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching.grade.exercises import Lesson, read_course
from fedkit.teaching.grade.pile import MAX_CODE, left_out, pile
from tests.support import ROOT
from tests.support.classroom import answered, cell_of, hand_in, said
from tests.support.helpers import posix


@pytest.fixture(scope="module")
def course() -> dict[str, Lesson]:
    return read_course(ROOT / "notebooks")


@pytest.mark.parametrize(
    ("path", "learner"),
    [
        ("alice/04_aggregate.ipynb", "alice"),
        ("alice/week 2/04_aggregate.ipynb", "alice"),
        ("submitted/alice/04/04_aggregate.ipynb", "alice"),
        ("04/alice.ipynb", "alice"),
        ("04_aggregate/bob/04_aggregate (1).ipynb", "bob"),
        ("04_aggregate_alice.ipynb", "alice"),
        ("Alice Smith 04_aggregate (2).ipynb", "Alice Smith"),
        ("alice-04_aggregate-Copy1.ipynb", "alice"),
        ("Alice Smith_12345_assignsubmission_file_04_aggregate.ipynb", "Alice Smith"),
        ("Zoë Ø_99_assignsubmission_file_/04_aggregate.ipynb", "Zoë Ø"),
        ("04_aggregate.ipynb", "Ada"),  # as its metadata say
    ],
)
def test_whose_it_is(course: dict[str, Lesson], tmp_path: Path, path: str, learner: str) -> None:
    notebook = answered("04")
    notebook["metadata"]["authors"] = [{"name": "Ada"}]
    hand_in(tmp_path / path, notebook)
    (found,) = pile(tmp_path, course)
    assert (found.learner, found.lesson, found.problem) == (learner, "04_aggregate", None)
    assert bool(found.notes) == (learner != "Ada")  # another author is told


def test_a_lesson_is_known_by_its_cells_whatever_its_name(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    hand_in(tmp_path / "alice" / "03_train.ipynb", answered("04"))
    (found,) = pile(tmp_path, course)
    assert found.lesson == "04_aggregate"
    assert found.notes == ("its file is named 03, its cells are those of 04",)
    for cell in (notebook := answered("04"))["cells"]:
        cell.pop("id")  # an old editor drops them
    for title, name, lesson in (("Aggregate", "x", "04_aggregate"), ("", "my 03", "03_train")):
        notebook["metadata"]["fedkit"]["title"] = title
        hand_in(tmp_path / "alice" / f"{name}.ipynb", notebook)
        assert {s.lesson for s in pile(tmp_path, course) if s.path.stem == name} == {lesson}


def test_files_that_are_no_notebook_are_named_and_stop_no_other(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    good = hand_in(tmp_path / "ok" / "01_datasite.ipynb", answered("01"))
    text = good.read_bytes()
    contents = {
        "half": text[: len(text) // 2],
        "empty": b"",
        "list": b"[]",
        "none": b'{"cells": []}',
        "deep": b"[" * 100_000,
        "nan": b'{"cells": [1, {"cell_type": 3, "source": [5], "outputs": {"a": 1}}]}',
        "many": json.dumps({"cells": [{}] * 6_000}).encode(),
    }
    for name, data in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "01_datasite.ipynb").write_bytes(data)
    (tmp_path / "huge").mkdir()
    with (tmp_path / "huge" / "01_datasite.ipynb").open("wb") as file:
        file.truncate(200 * 2**20)  # a hole on the disk, 200 MB to whoever reads it
    (tmp_path / "many" / "link.ipynb").symlink_to(good)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "01_datasite-checkpoint.ipynb").write_bytes(text)
    found = {(s.learner, s.path.stem): s for s in pile(tmp_path, course)}
    assert len(found) == len(contents) + 3
    problems = {who: s.problem for (who, stem), s in found.items() if stem == "01_datasite"}
    assert problems.pop("ok") is None
    assert problems.pop("nan") is None  # a notebook, with nothing in it that is a lesson's
    assert "has 200 MB" in str(problems["huge"])
    assert "6,000 cells" in str(problems["many"])
    assert all(
        "no notebook" in str(problems[who]) for who in ("half", "empty", "list", "none", "deep")
    )
    assert "is a link" in str(found["many", "link"].problem)


@posix
def test_a_pipe_and_a_device_are_no_notebooks_and_nobody_waits_for_them(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "01_pipe.ipynb")
    (tmp_path / "01_zero.ipynb").symlink_to("/dev/zero")
    assert [s.problem for s in pile(tmp_path, course)] == [
        "is not a regular file",
        "is a link, and links are not followed",
    ]


def test_files_of_other_kinds_are_named(course: dict[str, Lesson], tmp_path: Path) -> None:
    hand_in(tmp_path / "ann" / "01_DATASITE.IPYNB", answered("01"))
    assert left_out(tmp_path) is None
    for name in ("01_datasite.ipynb.txt", "all.zip", "photo.jpg"):
        (tmp_path / "bob").mkdir(exist_ok=True)
        (tmp_path / "bob" / name).write_text("")
    (found,) = pile(tmp_path, course)
    assert found.lesson == "01_datasite"
    told = left_out(tmp_path)
    assert told == "2 files are no notebooks by the name: 01_datasite.ipynb.txt, all.zip"
    (tmp_path / "ann" / "01_DATASITE.IPYNB").unlink()
    with pytest.raises(FedkitError, match="unpack archives first"):
        pile(tmp_path, course)


def test_a_name_that_a_mac_wrote_is_the_same_name(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "Jörg Müller")
        hand_in(tmp_path / form / "01" / f"{name}_01_datasite.ipynb", answered("01"))
        hand_in(tmp_path / name / f"{form}.ipynb", answered("01"))
    assert {s.learner for s in pile(tmp_path, course)} == {"Jörg Müller", "NFC", "NFD"}


def test_of_outputs_nothing_is_kept_but_what_checks_left(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    notebook = answered("01")
    said(notebook, "may_read", "right", "x" * 10**6)
    cell_of(notebook, "open_folder")["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "x" * 10**6}
    ]
    hand_in(tmp_path / "ann" / "01.ipynb", notebook)
    (found,) = pile(tmp_path, course)
    assert len(str(found.cells)) < 10**5
    assert [len(cell.outputs) for cell in found.cells if cell.outputs] == [1]


def test_more_code_than_anybody_writes_is_not_read(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    notebook = answered("01")
    notebook["cells"].append({"cell_type": "code", "source": "a\n" * MAX_CODE, "outputs": []})
    hand_in(tmp_path / "ann" / "01.ipynb", notebook)
    (found,) = pile(tmp_path, course)
    assert "characters of code" in str(found.problem)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_obstacle(
    course: dict[str, Lesson], tmp_path: Path, encoding: str
) -> None:
    path = hand_in(tmp_path / "ann" / "01_datasite.ipynb", answered("01"))
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    (found,) = pile(tmp_path, course)
    assert found.problem is None
    assert len(found.cells) == len(answered("01")["cells"])


def test_nbformat_3_is_read(course: dict[str, Lesson], tmp_path: Path) -> None:
    cells = [
        {
            "cell_type": c["cell_type"],
            "input" if c["cell_type"] == "code" else "source": c["source"],
        }
        for c in answered("01")["cells"]
    ]
    old = {"nbformat": 3, "metadata": {}, "worksheets": [{"cells": cells}]}
    hand_in(tmp_path / "ann" / "01_datasite.ipynb", old)
    (found,) = pile(tmp_path, course)
    assert (found.lesson, len(found.cells)) == ("01_datasite", len(cells))
    assert "nbformat 3" in found.notes[0]
    assert any("fk.check.may_read" in cell.source for cell in found.cells if cell.code)


def test_a_pile_without_notebooks_says_so(course: dict[str, Lesson], tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="holds no notebook"):
        pile(tmp_path, course)
    with pytest.raises(FedkitError, match="is no folder"):
        pile(tmp_path / "no", course)
