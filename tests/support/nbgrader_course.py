"""nbgrader itself, in an environment of its own, and what learners hand in to it."""

from __future__ import annotations

import copy
import csv
import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.environments import own_python

__all__ = ["NBGRADER", "grades", "hand_in_to", "nbgrader", "notebook_of", "source_of"]

NBGRADER = "nbgrader==0.9.6"


@functools.cache
def nbgrader_python() -> Path:
    """An interpreter with nbgrader and all that is here, made on first use."""
    return own_python(NBGRADER, {"done": [[NBGRADER]]}, "FEDKIT_REQUIRE_NBGRADER", lends=True)


def nbgrader(course: Path, *words: str) -> str:
    """Run nbgrader's own command in the folder of a course; returns all that it said."""
    programs = nbgrader_python().parent  # nbgrader looks for alembic in PATH
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [programs / "nbgrader", *words],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    return said


def notebook_of(course: Path, step: str, lesson: str) -> dict[str, Any]:
    """A lesson's notebook in `source`, `release` or `autograded/NAME`."""
    path = course / step / lesson / f"{lesson}.ipynb"
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def source_of(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])


def hand_in_to(course: Path, who: str, lesson: str, written: Mapping[str, str]) -> None:
    """Hand in the released notebook with these texts in its cells, by nbgrader's id of the cell."""
    notebook = copy.deepcopy(notebook_of(course, "release", lesson))
    by_id = {
        cell["metadata"].get("nbgrader", {}).get("grade_id"): cell for cell in notebook["cells"]
    }
    for grade_id, text in written.items():
        by_id[grade_id]["source"] = text
    path = course / "submitted" / who / lesson / f"{lesson}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def grades(course: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """(lesson, learner) -> points and the most points, as `nbgrader export` writes them."""
    nbgrader(course, "export", "--to", "grades.csv")
    with (course / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["assignment"], row["student_id"]): (float(row["score"]), float(row["max_score"]))
            for row in csv.DictReader(file)
        }
