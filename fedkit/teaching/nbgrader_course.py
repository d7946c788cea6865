"""The course as nbgrader takes it: a folder that its `generate_assignment` and `autograde` accept.

Both editions of a lesson become one notebook of nbgrader's, with metadata of version 3 (nbgrader 0.8, 0.9). It is solved;
nbgrader itself cuts what stands between its marks, and what it leaves is the learner's edition. A check moves out of its
exercise's cell into a cell of its own behind it, read-only and worth points; the course's other cells are put back when a
submission is graded. `Result.credit` says how a check tells nbgrader its points, and `fedkit.teaching.grade` reads such
notebooks too.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.experiments.lessons import about, lesson_paths
from fedkit.teaching.grade.exercises import both_editions
from fedkit.teaching.grade.statements import calls_of
from fedkit.teaching.quiz import read_quiz

__all__ = ["BEGIN", "END", "SCHEMA", "assignment", "export_nbgrader"]


SCHEMA = 3
"""The version of nbgrader's cell metadata that is written: `nbgrader.nbgraderformat.SCHEMA_VERSION` of 0.8 and 0.9."""
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
POINTS, QUIZ_POINTS = 10.0, 1.0
"""Of an exercise, and of a question."""
TIMES_BUDGET, LEAST_S = 10, 300.0
"""Seconds for one cell: so many of the longest lesson's budgets, and at least so many."""

Cell = dict[str, Any]

_LINK = re.compile(r"\[([^\]]+)\]\((\d\d_[a-z0-9_]+)\.ipynb\)")
_OTHER_EDITION = re.compile(r" · \[[^\]]+ edition\]\([^)]+\)")
_QUIZ = re.compile(r'fk\.quiz\("(\d\d)"\)')


def export_nbgrader(
    out: Path,
    notebooks: Path,
    wanted: Sequence[str] = (),
    *,
    points: float = POINTS,
    quiz_points: float = QUIZ_POINTS,
) -> list[Path]:
    """Write `nbgrader_config.py`, `README.md` and `source/<lesson>/<lesson>.ipynb`; returns what was written.

    Parameters
    ----------
    out : a new or an empty folder.
    notebooks : the folder of the course, with both editions. wanted : lessons by number or name; all of them if none.
    points : of each exercise. quiz_points : of each question of a quiz; 0 leaves quizzes out of the points.

    Raises FedkitError where `out` holds something, or a lesson or its solved edition is not there or has been changed.
    """
    if not (0 <= points < math.inf and 0 <= quiz_points < math.inf):
        raise FedkitError("points are numbers from 0 up", remedy="give another number")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FedkitError("is not empty", file=out, remedy="name a new or an empty folder")
    paths = lesson_paths(notebooks, wanted)
    names = [path.stem for path in paths]
    made: dict[Path, bytes] = {}
    for path in paths:
        pair = both_editions(path)
        notebook = assignment(*pair, names=names, points=points, quiz_points=quiz_points)
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        made[out / "source" / path.stem / path.name] = text.encode()
    longest = max([about(path).budget_s or 0.0 for path in paths])
    seconds = round(max(LEAST_S, TIMES_BUDGET * longest))
    made[out / "nbgrader_config.py"] = _CONFIG.format(seconds=seconds).encode()
    made[out / "README.md"] = _README.format(
        first=names[0], points=points, quiz_points=quiz_points
    ).encode()
    for path, data in made.items():
        write_bytes(path, data)
    return list(made)


def assignment(
    open_: Mapping[str, Any],
    done: Mapping[str, Any],
    *,
    names: Collection[str] = (),
    points: float = POINTS,
    quiz_points: float = QUIZ_POINTS,
) -> dict[str, Any]:
    """The notebook for nbgrader of a lesson's learner's (`open_`) and solved (`done`) edition, all as in an .ipynb file.

    names : the lessons that lie beside it, to which its links lead; a link to any other becomes plain text.
    """
    cells: list[Cell] = []
    for theirs, ours in zip(open_["cells"], done["cells"], strict=True):
        source = "".join(ours["source"])
        if ours["cell_type"] != "code":
            cells.append(theirs | {"source": _prose("".join(theirs["source"]), names)})
        elif (quiz := _QUIZ.fullmatch(source.strip())) is not None:
            cells += _quiz(ours, quiz[1], quiz_points)
        else:
            cells += _code(ours, source, "".join(theirs["source"]), points)
    return {**open_, "cells": cells}


# -------------------------------------------------------------------------------------- cell by cell
def _prose(text: str, names: Collection[str]) -> str:
    """A learner's text; the lessons lie in folders of their own here, and nobody is led to the solutions."""

    def link(found: re.Match[str]) -> str:
        title, name = found.groups()
        return f"[{title}](../{name}/{name}.ipynb)" if name in names else title

    return _LINK.sub(link, _OTHER_EDITION.sub("", text))


def _code(ours: Cell, source: str, stub: str, points: float) -> Iterator[Cell]:
    """The cell without its check, then the check; a cell without any stays one cell."""
    body, call = _parted(source)
    open_body, open_call = _parted(stub)
    check = calls_of(call)[0][0] if call else ""
    exercise = "exercise" in ours["metadata"].get("tags", [])
    if call != open_call:  # what the learner writes stands between the check's brackets
        answer = f"my_{check}"
        several = len(calls_of(call)[0][1]) > 1
        opens, closes = "[]" if several else "()"
        written, left = (f"{answer} = {opens}{_inside(one)}{closes}" for one in (call, open_call))
        body, open_body = (f"{a}\n{b}".strip() for a, b in ((body, written), (open_body, left)))
        call = f"fk.check.{check}({'*' if several else ''}{answer})"
    if exercise:
        name = check or f"exercise_{ours['id']}"
        yield _cell(ours, _marked(body, open_body), name, solution=True)
    elif body or not call:
        yield _cell(ours, body, f"given_{ours['id']}", locked=True)
    if call:
        text = f"# The check of this exercise: read-only, and what the points are given for.\n{call}.credit"
        plain = _fresh(ours, f"{ours['id']}-check")
        yield _cell(plain, text, f"test_{check}", locked=True, points=points)


def _quiz(ours: Cell, name: str, points: float) -> Iterator[Cell]:
    """A quiz for which letters are written, since what is pressed in a page does not last until somebody grades it."""
    questions = read_quiz(name)
    key = "".join(question.answer for question in questions)
    if not points:
        yield _cell(ours, f'fk.quiz("{name}")', "given_quiz", locked=True)
        return
    number = ours["id"]
    said = _LETTERS.format(count=len(questions), open="-" * len(questions))
    yield _cell(_fresh(ours, f"{number}-how", "markdown"), said, "quiz_how", locked=True)
    answer = f'letters = (\n    {BEGIN}\n    "{key}"\n    {END}\n)'
    yield _cell(_fresh(ours, f"{number}-letters"), answer, "quiz", solution=True)
    yield _cell(ours, f'fk.quiz("{name}", letters)', "given_quiz", locked=True)
    for question in range(1, len(questions) + 1):
        text = f"# Question {question}: read-only, and what its points are given for.\n"
        text += f'fk.quiz("{name}", letters, interactive=False).credit({question})'
        plain = _fresh(ours, f"{number}-check-{question}")
        yield _cell(plain, text, f"test_quiz_{question}", locked=True, points=points)


def _cell(
    like: Cell,
    source: str,
    grade_id: str,
    *,
    solution: bool = False,
    locked: bool = False,
    points: float | None = None,
) -> Cell:
    """The cell with nbgrader's metadata: a solution, a cell that is put back, or (with points) a test."""
    about: dict[str, Any] = {"schema_version": SCHEMA, "grade_id": grade_id, "task": False}
    about |= {"grade": points is not None, "solution": solution, "locked": locked}
    if points is not None:
        about["points"] = points
    return like | {"source": source, "metadata": like["metadata"] | {"nbgrader": about}}


def _fresh(like: Cell, number: str, kind: str = "code") -> Cell:
    made: Cell = {"cell_type": kind, "id": number, "metadata": {}}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})


# ------------------------------------------------------------------------------------ text of a cell
def _parted(source: str) -> tuple[str, str]:
    """A cell's text without the check that it ends in, and the check's call; "" where there is none."""
    body = ast.parse(source).body
    last = body[-1] if body else None
    lines = source.splitlines()
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
        head, tail = lines[: last.lineno - 1], "\n".join(lines[last.lineno - 1 :])
        if re.match(r"fk\.check\.\w+\(", tail) and calls_of(tail):
            return "\n".join(head).rstrip(), tail
    return source, ""


def _inside(call: str) -> str:
    return call[call.index("(") + 1 : call.rindex(")")]


def _marked(solved: str, stub: str) -> str:
    """The solved text with nbgrader's marks around each part that is `...` in the stub, at its indentation."""
    lines = stub.splitlines()
    gap = r"((?:.*\n)+?)"
    shape = "".join(gap if line.strip() == "..." else f"{re.escape(line)}\n" for line in lines)
    found = re.fullmatch(shape, f"{solved}\n")
    if found is None:
        raise FedkitError(
            "an exercise's two editions don't belong together",
            why=f"The learner's begins with {lines[0] if lines else 'nothing'!r}",
            remedy="build them anew: python -m tools.course build",
        )
    parts, out = iter(found.groups()), []
    for line in lines:
        if line.strip() == "...":
            blank = line[: len(line) - len(line.lstrip())]
            out += [f"{blank}{BEGIN}", next(parts).rstrip("\n"), f"{blank}{END}"]
        else:
            out.append(line)
    return "\n".join(out)


# ------------------------------------------------------------------------------------- what it says
_LETTERS = """\
**To hand it in**, write your {count} letters as one word in place of the dots; `"{open}"` leaves all questions open.
They are what counts. What you choose in the page tells you why an answer is right or wrong, and stays with you."""

_CONFIG = '''"""What nbgrader has to know of this course. Run nbgrader in this folder, with fedkit installed beside it."""

import shutil
from pathlib import Path

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "fedkit"
# what a lesson's cells write, some 40 MB: nobody hands it in, and no graded copy keeps it
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "runs"]


def forget_runs(assignment, student, notebooks):
    for folder in Path("autograded").glob(f"{{student}}/{{assignment}}/runs"):  # either may be *
        shutil.rmtree(folder, ignore_errors=True)


c.Autograde.post_convert_hook = forget_runs
# what a learner finds in place of a solution, so that Run All passes with every exercise open
c.ClearSolutions.code_stub = {{"python": "..."}}
# learners may change the course's own cells and play; grading puts them back, and tests that are gone
c.LockCells.lock_readonly_cells = False
c.OverwriteCells.add_missing_cells = True
# seconds for one cell
c.Execute.timeout = {seconds}
'''

_README = """# The course for nbgrader

Made by `fedkit course export nbgrader`. It needs nbgrader 0.9 in the environment that has fedkit:
`pip install "nbgrader>=0.9.5,<0.10"`. In this folder:

```
nbgrader generate_assignment {first}     # release/{first}: solutions cut
nbgrader autograde {first}               # grades submitted/NAME/{first}/{first}.ipynb
nbgrader export                          # grades.csv
```

* Each lesson is an assignment. An exercise has {points:g} points, all or none: its check gives them, in a read-only cell
  behind it.
* A question of a quiz has {quiz_points:g}. The learner hands in letters. In the page a quiz says at once what is wrong
  with an option, so its points are for having done it.
* Other points: `--points` and `--quiz-points`, or nbgrader's own tools.
* Learners may change any cell but the checks. Grading puts the course's own cells back, and leaves theirs and what they
  added.
* nbgrader runs learners' cells and the checks in one kernel, on your machine and with your rights: run it where that does
  no harm. From there a learner can change a check. `fedkit course grade submitted --rerun` judges the same folder, and
  learners' code runs in a process that can't.
"""
