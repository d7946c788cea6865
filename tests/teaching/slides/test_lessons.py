"""A lesson becomes a file of slides: what is run, what is taken, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedkit.base.files import sha256_bytes
from fedkit.cli.course import app
from fedkit.teaching.slides.reveal import FILES
from tests.support import ROOT
from tests.support.slides import executed

LESSON = "00_start_here"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files in place of reveal.js."""
    for name in FILES:
        file = tmp_path / "script" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"/* {name} */")
        monkeypatch.setitem(FILES, name, sha256_bytes(file.read_bytes()))
    return tmp_path / "script"


def course(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["slides", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_slides_of_an_executed_copy(tmp_path: Path, script: Path) -> None:
    copy = tmp_path / "runs" / f"{LESSON}.ipynb"
    copy.parent.mkdir()
    copy.write_text(json.dumps(executed()), encoding="utf-8")
    where = ("00", "--out", str(tmp_path / "out"), "--reveal", str(script))
    for given in (copy, copy.parent):
        code, said = course(*where, "--executed", str(given))
        assert code == 0, said
    page = (tmp_path / "out" / f"{LESSON}.slides.html").read_text("utf-8")
    assert "/* dist/reveal.js */" in page
    assert "How much is it?" in page


def test_what_can_not_be_made_is_told(tmp_path: Path, script: Path) -> None:
    notebooks = ROOT / "notebooks"
    out = ("--out", str(tmp_path), "--reveal", str(script))
    code, said = course("00", *out, "--executed", str(notebooks))
    assert (code, "has no outputs to show" in said) == (1, True)
    code, said = course("00", *out, "--executed", str(tmp_path / "nothing.ipynb"))
    assert (code, "nothing.ipynb" in said) == (1, True)
    for broken in ("text", "[]", "{}", json.dumps(executed() | {"cells": [{}]})):
        (tmp_path / "broken.ipynb").write_text(broken)
        code, said = course("00", *out, "--executed", str(tmp_path / "broken.ipynb"))
        assert (code, "is no notebook that can be read" in said) == (1, True), said
    code, said = course("99", *out)
    assert (code, "there is no lesson 99" in said) == (1, True)
    code, said = course("00", "--reveal", str(tmp_path / "nowhere"), "--out", str(tmp_path))
    assert (code, "npm pack" in said) == (1, True)
    mine = tmp_path / f"{LESSON}.slides.html"
    mine.write_text("mine")
    code, said = course("00", *out)
    assert (code, "no slides of fedkit" in said) == (1, True)
    assert mine.read_text() == "mine"


def test_a_lesson_that_fails_makes_no_slides(tmp_path: Path, script: Path) -> None:
    notebooks = tmp_path / "notebooks"
    (notebooks / "solutions").mkdir(parents=True)
    shutil.copy(ROOT / "notebooks" / f"{LESSON}.ipynb", notebooks)
    broken = json.loads((notebooks / f"{LESSON}.ipynb").read_text("utf-8"))
    code_cells = [cell for cell in broken["cells"] if cell["cell_type"] == "code"]
    code_cells[0]["source"] = "raise ValueError('broken')"
    (notebooks / "solutions" / f"{LESSON}.ipynb").write_text(json.dumps(broken), encoding="utf-8")
    where = ("--notebooks", str(notebooks), "--out", str(tmp_path / "out"), "--reveal", str(script))
    code, said = course("00", *where)
    assert code == 1
    assert "could not be run for its pictures: failed" in said
    assert "ValueError: broken" in said
    assert "--edition solutions" in said
    assert not (tmp_path / "out").exists()
