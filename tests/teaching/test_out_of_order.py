"""After a restart, and out of order: one line on what to do where a cell looks in vain for a name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from fedkit.teaching.out_of_order import STOPPED, _where_it_lies_now, missing_name
from tests.support import ROOT

LESSON = ROOT / "notebooks" / "02_configure.ipynb"
RUN_ABOVE = "choose Run All Above Selected Cell"


def cell_with(text: str) -> str:
    """The id of the cell of lesson 02 in which this stands."""
    cells = nbformat.read(LESSON, as_version=4).cells
    return str(next(cell.id for cell in cells if cell.cell_type == "code" and text in cell.source))


@pytest.mark.parametrize(
    ("name", "cell", "said"),
    [
        ("go", "fk.review(bob", "(def go(site): ...) has not run"),
        ("bob", "fk.review(bob", "(aggregator, alice, bob = network.sites.values())"),
        ("shutil", "fk.review(bob", "(import shutil)"),
        (
            "changed",
            "def changed",
            "this cell should make it (def changed(approved, contents): ...)",
        ),
        ("code", "fk.review(bob", "a cell further down makes it"),
        ("netwrk", "fk.review(bob", "do you mean network?"),
        ("qqq", "fk.review(bob", None),
    ],
)
def test_a_missing_name_is_told_by_the_notebook_itself(
    name: str, cell: str, said: str | None
) -> None:
    error = NameError(f"name {name!r} is not defined", name=name)
    line = missing_name(error, LESSON, cell_with(cell), ["network", "_"])
    if said is None:
        assert line is None
        return
    assert said in str(line)
    assert " -> " in str(line)
    assert "\n" not in str(line)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{" * 100_000, b'{"metadata": {}, "cells": []}', b"\xff", None]
)
def test_no_lesson_no_words(content: bytes | None, tmp_path: Path) -> None:
    notebook = tmp_path / "own.ipynb"
    if content is not None:
        notebook.write_bytes(content)
    assert missing_name(NameError(name="go"), notebook) is None
    assert missing_name(UnboundLocalError(name="go"), LESSON) is None
    assert missing_name(NameError("raised by hand"), LESSON) is None


def test_a_half_written_cell_does_not_hide_the_others(tmp_path: Path) -> None:
    content = json.loads(LESSON.read_text("utf-8"))
    content["cells"].insert(
        0, {"cell_type": "code", "id": "x", "source": "def half(:", "metadata": {}}
    )
    notebook = tmp_path / "02 (1).ipynb"
    notebook.write_text(json.dumps(content), "utf-8")
    assert RUN_ABOVE in str(missing_name(NameError(name="alice"), notebook))


def test_a_renamed_notebook_is_found_by_its_running_cell(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("no notebook", "utf-8")
    renamed = tmp_path / "my second lesson.ipynb"
    renamed.write_bytes(LESSON.read_bytes())
    told, cell = tmp_path / LESSON.name, cell_with("fk.review(bob")
    assert _where_it_lies_now(told, cell) == renamed
    assert _where_it_lies_now(told, "another") == told
    assert _where_it_lies_now(renamed, cell) == renamed


SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in ("import fedkit as fk", "go(alice)", "open('nowhere')", "raise KeyboardInterrupt", "1 / 0"):
    shell.run_cell(source)
"""


def test_the_shell_shows_the_line_and_keeps_its_own_words_elsewhere() -> None:
    environment = os.environ | {"JPY_SESSION_NAME": str(LESSON), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SHELL], env=environment, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert said.count("NameError") == 1, said
    assert "(def go(site): ...) has not run" in said
    assert "No such file or directory: 'nowhere'" in said
    assert said.count("KeyboardInterrupt") == said.count(STOPPED) == 1
    assert "division by zero" in said
