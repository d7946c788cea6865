"""Notebooks in batch, in real kernels: results travel in the executed copy, and a failure stops no other."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import recorded, run
from fedkit.experiments.summary import write_summary
from tests.support.lessons import notebook


def test_recorded_says_what_is_no_notebook(tmp_path):
    for text in ["", "[]", "{}", '{"cells": 3}']:
        (tmp_path / "x.ipynb").write_text(text)
        with pytest.raises(FedkitError, match=r"x\.ipynb"):
            recorded(tmp_path / "x.ipynb")
    with pytest.raises(FedkitError):
        recorded(tmp_path / "none.ipynb")


ONE_CHECK = """\
from fedkit.teaching.check.answers import near
from fedkit.teaching.check.base import check
@check(hint="h")
def one(answer):
    near(answer, 1, within=0, wrong="It is not one.")
    return "yes"
"""
GOOD = [
    "import os, sys\nfrom pathlib import Path\nfrom fedkit import record, workspace",
    "record(python=sys.executable, threads=os.environ['OMP_NUM_THREADS'], rounds=rounds, rate=rate, who=who)",
    "record(folder=str(workspace('01')), here=str(Path.cwd()), home=os.environ['IPYTHONDIR'])\nrecord(rounds=[rounds])",
    "from matplotlib.figure import Figure\nfrom fedkit.teaching.notebook import show\nshow(Figure(), 'an empty page')",
    ONE_CHECK,
    "one(...)",
    "first = one(1)\nfirst",
    "first",
]


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Four notebooks in one go, on a machine whose user has another `python3` kernel, that doesn't work."""
    folder = tmp_path_factory.mktemp("batch")
    shadow = folder / "jupyter" / "kernels" / "python3"
    shadow.mkdir(parents=True)
    spec = {
        "argv": ["no-such-python", "{connection_file}"],
        "display_name": "old",
        "language": "python",
    }
    (shadow / "kernel.json").write_text(json.dumps(spec))
    paths = [
        notebook(folder, "01_good", *GOOD),
        notebook(
            folder,
            "02_fails",
            "from fedkit import record\nrecord(before=1)",
            "1 / 0",
            "record(after=1)",
        ),
        notebook(folder, "03_unsolved", ONE_CHECK, "one(2)", edition="solutions"),
        notebook(folder, "04_untagged", "1", tags="other"),
    ]
    done, cells = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
        results = run(
            paths,
            folder / "out",
            parameters={"rounds": 5, "rate": "2", "who": "7"},
            on_cell=lambda name, cell, total: cells.append((name, cell, total)),
            on_done=lambda result: done.append(result.name),
        )
    return {"folder": folder, "done": done, "cells": cells, **{r.name[:2]: r for r in results}}


def test_results_travel_in_the_executed_copy(batch):
    good = batch["01"]
    assert (good.status, good.error, good.over_budget) == ("done", None, True)
    assert recorded(good.output) == good.recorded
    assert good.recorded["rounds"] == [5]
    assert (good.recorded["rate"], good.recorded["who"]) == (2.0, "7")
    assert good.output == batch["folder"] / "out" / "01_good.ipynb"


def test_the_kernel_is_this_python_with_one_thread_and_places_of_its_own(batch):
    kept = batch["01"].recorded
    assert (kept["python"], kept["threads"]) == (sys.executable, "1")
    assert Path(kept["here"]) == batch["folder"]
    assert Path(kept["folder"]) == batch["folder"] / "out" / "01_good_files" / "01"
    assert not Path(kept["home"]).exists()


def test_outputs_are_shown_once_with_words_beside_them(batch):
    cells = nbformat.read(batch["01"].output, as_version=4).cells
    shown = {cell.source: cell.outputs for cell in cells if cell.cell_type == "code"}
    (picture,) = shown[GOOD[3]]
    assert 'alt="an empty page"' in picture.data["text/html"]
    assert picture.data["text/plain"] == "an empty page"
    for source, state in [("one(...)", "Not yet"), (GOOD[6], "Right"), ("first", "Right")]:
        (box,) = shown[source]
        assert state in box.data["text/html"]
        assert state in box.data["text/plain"]
    assert batch["01"].checks == {"one": "right"}


def test_a_notebook_that_fails_shows_the_cell_and_stops_no_other(batch):
    failed = batch["02"]
    assert (failed.status, failed.source) == ("failed", "1 / 0")
    assert "ZeroDivisionError" in failed.error
    assert failed.recorded == {"before": 1}
    assert (failed.name, failed.cell, 5) in batch["cells"]
    assert sorted(batch["done"]) == ["01_good", "02_fails", "03_unsolved", "04_untagged"]


def test_a_solution_that_its_check_rejects_is_a_failure(batch):
    assert batch["03"].status == "failed"
    assert "one: try again" in batch["03"].error


def test_a_notebook_without_parameters_is_refused(batch):
    assert (batch["04"].status, batch["04"].output) == ("refused", None)
    assert "parameters" in batch["04"].error


def test_the_summary_has_a_row_for_each_and_a_column_for_each_record(batch, tmp_path):
    write_summary([batch["01"], batch["02"]], tmp_path)
    rows = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert [(row["notebook"], row["status"]) for row in rows] == [
        ("01_good", "done"),
        ("02_fails", "failed"),
    ]
    assert rows[0]["recorded"] == batch["01"].recorded
    head, first, second = (tmp_path / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith(
        "notebook,edition,status,minutes,budget_minutes,cell,error,recorded.before"
    )
    assert first.startswith("01_good,learner,done")
    assert "ZeroDivisionError" in second


def test_the_limit_holds_for_the_whole_notebook(tmp_path):
    # each cell alone is well within the limit, and would never meet a limit for one cell
    path = notebook(
        tmp_path, "01_slow", *["import time; time.sleep(2)"] * 60, "open('end.txt', 'w')"
    )
    (result,) = run([path], tmp_path / "out", limit_s=6)
    assert result.status == "timed out"
    assert result.cell < 61
    assert "6 s" in result.error
    assert not (tmp_path / "end.txt").exists()
    assert result.output.is_file()
