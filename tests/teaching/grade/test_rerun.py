"""Run anew, a notebook's own word counts for nothing: the course's checks judge what the learner wrote."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedkit.teaching.grade.exercises import Lesson, read_course
from fedkit.teaching.grade.own_word import Word
from fedkit.teaching.grade.pile import pile
from fedkit.teaching.grade.rerun import brief, rerun
from tests.support import ROOT
from tests.support.classroom import RIGHT, answered, cell_of, hand_in, said


@pytest.fixture(scope="module")
def course() -> dict[str, Lesson]:
    return read_course(ROOT / "notebooks")


def anew(
    course: dict[str, Lesson], folder: Path, notebook: dict[str, Any], **limits: float
) -> dict[str, Word]:
    hand_in(folder / "ann" / "nb.ipynb", notebook)
    (found,) = pile(folder, course)
    words, left = rerun(found, course[found.lesson or ""], **limits)
    assert left == []
    return words


def code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": "mine", "metadata": {}, "outputs": [], "source": source}


CHEATS = """def meddle():
    import fedkit.teaching.check.base as base
    for check in base.REGISTRY.values():
        object.__setattr__(check, "judge", lambda *answers: "bought")
    base.near = base.number = lambda *answers, **more: 0
    fk.check = type("Check", (), {"__getattr__": lambda self, name: print})()"""
LOUD = """import os
def changed(approved, contents):
    for number in range(20):
        try:
            os.write(number, b'\\n{"name": "changed_files", "state": "right", "reason": "forged"}\\n')
        except OSError:
            pass
    while True:
        os.fork()"""


def test_right_wrong_untouched_and_cheated(course: dict[str, Lesson], tmp_path: Path) -> None:
    # their own words, a helper in a cell of its own; a wrong answer with a forged output; an untouched one
    notebook = answered("02", {"model_size": "weights = 101_632\nsize = 4 * weights"})
    helper, answer = RIGHT["changed_files"].split("\n\n\n")
    notebook["cells"].insert(4, code(helper))
    cell = cell_of(notebook, "changed_files")
    cell["source"] = answer.replace("def changed", "def mine") + "\nfk.check.changed_files(mine)"
    for check in ("model_size", "valid_config"):
        said(notebook, check, "right")
    words = anew(course, tmp_path, notebook)
    assert {name: word.state for name, word in words.items()} == {
        "valid_config": "not yet",
        "model_size": "try again",
        "changed_files": "right",
    }
    assert words["valid_config"].reason == "untouched"
    assert "each of the 128 + 10 units has a bias too" in words["model_size"].reason
    assert "equal fingerprints mean equal bytes" in words["changed_files"].reason


@pytest.mark.slow
def test_what_does_not_end_and_what_escapes(course: dict[str, Lesson], tmp_path: Path) -> None:
    notebook = answered(
        "02", {"model_size": "while True:\n    weights = size = 1", "changed_files": LOUD}
    )
    # the course's own broken config counts, whatever is made of it here
    cell = cell_of(notebook, "valid_config")
    easy = (
        "".join(cell["source"])
        .replace('broken["rounds"] = "3"', "broken = {}")
        .replace("...", '"rounds": 3')
    )
    cell["source"] = easy
    notebook["cells"].insert(1, code(CHEATS))
    begun = time.monotonic()
    words = anew(course, tmp_path, notebook, patience_s=3)
    assert "is there a loop without an end?" in words["model_size"].reason
    assert "FLConfig still refuses it" in words["valid_config"].reason
    assert words["changed_files"].state == "try again"
    assert words["changed_files"].reason != "forged"
    assert time.monotonic() - begun < 250


def test_what_is_learners_is_picked_out_without_running_anything(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    notebook = answered("03", {"sgd_epoch": "from fedkit import sgd_epoch"}, "solutions")
    notebook["cells"].append(code("expensive = train_together(shards)\ntold = {'a', 'c'}"))
    notebook["cells"].append(code("def broken(:"))
    hand_in(tmp_path / "ann" / "nb.ipynb", notebook)
    (found,) = pile(tmp_path, course)
    told, gone = brief(found, course["03_train"])
    assert gone == {}
    assert {e["name"]: e["statements"] for e in told["exercises"]} == {
        "sgd_epoch": ["from fedkit import sgd_epoch"],
        "steps_in_a_round": [],
        "what_the_facts_tell": [*told["exercises"][2]["statements"][:1], "told = {'a', 'c'}"],
    }
    assert told["course"] == told["context"] == []


def test_a_deleted_exercise_is_missing_and_broken_python_is_named(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    notebook = answered("01", {"may_read": "def may_read(access, email):\nreturn True"})
    notebook["cells"].remove(cell_of(notebook, "open_folder"))
    hand_in(tmp_path / "ann" / "nb.ipynb", notebook)
    (found,) = pile(tmp_path, course)
    words, _ = rerun(found, course["01_datasite"])
    assert words["may_read"].state == "try again"
    assert "is no Python that can be read (expected an indented block" in words["may_read"].reason
    assert words["open_folder"].state in ("missing", "try again")


# ------------------------------------------------------------------------------------- all of the course
@pytest.mark.slow
@pytest.mark.parametrize(
    "lesson", ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "13", "14"]
)
def test_every_solution_is_right_and_every_stub_untouched(
    course: dict[str, Lesson], tmp_path: Path, lesson: str
) -> None:
    words = anew(course, tmp_path, answered(lesson, edition="solutions"), limit_s=900)
    assert {word.state for word in words.values()} == {"right"}, words
    words = anew(course, tmp_path, answered(lesson))
    assert {word.state for word in words.values()} == {"not yet"}, words


PEEK = """import sys
def may_read(access, email):
    frame = sys._getframe(1)
    while frame:
        for name in ("wanted", "answer", "may", "expected"):
            if isinstance(frame.f_locals.get(name), bool):
                return frame.f_locals[name]
        frame = frame.f_back
    return True"""
MEAN = """import numpy as np
def mixing_weights(updates, weighting="samples"):
    return np.ones(len(updates)) / len(updates)"""


def body(text: str, before: str = "") -> str:
    return f"{before}\ndef may_read(access, email):\n    {text}"


READING = [
    (RIGHT["may_read"], "right", "decides the same way"),
    ("may_read = lambda access, email: True", "try again", "Mallory"),
    ("may_read = 5", "try again", "int"),
    ("class may_read:\n    pass", "try again", ""),
    (body("..."), "not yet", "Replace the dots"),
    (body("raise NotImplementedError"), "not yet", "Replace the dots"),
    (body("pass"), "try again", "gives nothing back"),
    (body("return 1 / 0"), "try again", "line 2 of may_read: return 1 / 0"),
    (body("sys.exit()", "import sys"), "try again", "SystemExit"),
    (body("os._exit(0)", "import os"), "try again", "its process ended (exit code 0)"),
    (body("return [0] * 10**10"), "try again", "MemoryError"),
    (body("return bytes(10**8)"), "try again", "64 MB"),
    (body("return socket.socket()", "import socket"), "try again", "PermissionError"),
    (body("return True", "import subprocess\nx = subprocess.run(['ls'])"), "try again", "Mallory"),
    (
        body("return x", "import subprocess\nx = subprocess.run(['ls'])"),
        "try again",
        "PermissionError",
    ),
    (PEEK, "try again", ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lesson", "check", "answer", "state", "says"),
    [
        *(("01", "may_read", *row) for row in READING),
        ("03", "steps_in_a_round", "fk.check.steps_in_a_round(32)", "try again", "one epoch"),
        ("03", "steps_in_a_round", "n = 32\nfk.check.steps_in_a_round(10 * n)", "right", "320"),
        ("04", "mixing_weights", MEAN, "try again", "three quarters"),
    ],
)
def test_answers_of_all_kinds(
    course: dict[str, Lesson],
    tmp_path: Path,
    lesson: str,
    check: str,
    answer: str,
    state: str,
    says: str,
) -> None:
    word = anew(course, tmp_path, answered(lesson, {check: answer}), patience_s=20)[check]
    assert word.state == state, word
    assert says in word.reason


@pytest.mark.slow
def test_whoever_stops_the_grading_does_not_wait_for_it(
    course: dict[str, Lesson], tmp_path: Path
) -> None:
    loop = "import time\ndef may_read(access, email):\n    time.sleep(10**6)"
    hand_in(tmp_path / "ann" / "01.ipynb", answered("01", {"may_read": loop}))
    program = (
        "import sys; from pathlib import Path; from fedkit.teaching.grade import grade; "
        "grade(Path(sys.argv[1]), anew=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(5)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said_ = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said_
    assert time.monotonic() - begun < 30


@pytest.mark.slow
def test_a_limit_for_the_whole_notebook(course: dict[str, Lesson], tmp_path: Path) -> None:
    loop = "def may_read(access, email):\n    while True:\n        pass"
    words = anew(course, tmp_path, answered("01", {"may_read": loop}), patience_s=600, limit_s=30)
    assert words["may_read"] == Word("not judged", "stopped after 30 s, the limit of one notebook")
