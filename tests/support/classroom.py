"""Learners' notebooks: shipped lessons with answers written into them, and outputs as checks leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedkit.experiments.notebooks import CHECK_MIME
from tests.support import ROOT

RIGHT = {
    "may_read": 'def may_read(access, email):\n    """Mine."""\n'
    '    return any(email in names or "*" in names for names in access.values())',
    "changed_files": "def digest(data):\n    return hashlib.sha256(data).hexdigest()\n\n\n"
    "def changed(approved, contents):\n    return [n for n in approved if approved[n] != digest(contents[n])]",
}
"""Answers in a learner's own words, by the name of the check."""


def shipped(lesson: str, edition: str = "learner") -> dict[str, Any]:
    """A shipped lesson by the start of its name."""
    folder = ROOT / "notebooks" / ("" if edition == "learner" else edition)
    (path,) = folder.glob(f"{lesson}*.ipynb")
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def cell_of(notebook: Mapping[str, Any], check: str) -> dict[str, Any]:
    """The cell that calls a check."""
    return next(
        cell
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and f"fk.check.{check}(" in "".join(cell["source"])
    )


def answered(
    lesson: str, answers: Mapping[str, str] | None = None, edition: str = "learner"
) -> dict[str, Any]:
    """A lesson in which the cells of these checks hold these answers, each followed by its check as the course calls it."""
    notebook = shipped(lesson, edition)
    for check, text in (answers or {}).items():
        cell = cell_of(notebook, check)
        old = "".join(cell["source"])
        call = old[old.rindex(f"fk.check.{check}(") :]
        cell["source"] = f"{text}\n\n\n{call}" if "fk.check" not in text else text
    return notebook


def said(notebook: dict[str, Any], check: str, state: str, message: str = "Because.") -> None:
    """Write the output of a check below its cell, as `Result` shows it."""
    data = {
        CHECK_MIME: {"name": check, "state": state},
        "text/plain": f"✓ {state} · Title: {message}",
    }
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    cell_of(notebook, check)["outputs"] = [output]


def hand_in(path: Path, notebook: Mapping[str, Any]) -> Path:
    """Write a notebook to where a learner leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path
