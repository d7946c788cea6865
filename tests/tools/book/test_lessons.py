"""Lessons as pages: executed once for each state of what they depend on, exercises open with a solution folded away."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import lesson_paths
from tests.support import ROOT
from tools.book import lessons
from tools.book.lessons import executed, key_of, lesson_page, package_digest

COURSE = ROOT / "notebooks"
PARAMETERS = new_code_cell("seed: int = 0  # whose", metadata={"tags": ["parameters"]})
VIEW = "application/vnd.jupyter.widget-view+json"


# -------------------------------------------------------------------------------------------- pages
@pytest.mark.parametrize("path", lesson_paths(COURSE), ids=lambda path: path.stem)
def test_exercises_are_open_and_a_solution_is_folded(path: Path, tmp_path: Path) -> None:
    """On the built editions of the course, as they would be executed: with a cell of parameters that papermill adds."""
    solved = nbformat.read(COURSE / "solutions" / path.name, as_version=4)
    added = new_code_cell("interactive = False", metadata={"tags": ["injected-parameters"]})
    solved.cells.insert(3, added)
    copy = tmp_path / path.name
    nbformat.write(solved, copy)
    page = lesson_page(copy, path)
    learner = nbformat.read(path, as_version=4).cells
    cells = page["cells"]
    assert [c for c in cells if "injected-parameters" in c["metadata"]["tags"]] == []
    opened = [c["source"] for c in cells if "fk-exercise" in c["metadata"]["tags"]]
    assert opened == [c.source for c in learner if "exercise" in c.metadata.get("tags", [])]
    folded = [c for c in cells if "hide-cell" in c["metadata"]["tags"]]
    assert len(folded) == len(opened)
    assert all(c["metadata"]["mystnb"]["code_prompt_show"] == "Show a solution" for c in folded)
    prose = "\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")
    boxes = sum(c.source.count("> **Predict.**") for c in learner if c.cell_type == "markdown")
    assert prose.count(":::{admonition} Predict") == boxes > 0
    assert "> **Predict" not in prose
    assert "edition](" not in cells[0]["source"]
    assert f"path:../files/{path.name}" in cells[0]["source"]
    nbformat.validate(nbformat.from_dict(page))


def notebook(folder: Path, *cells: Any) -> Path:
    path = folder / "00_tiny.ipynb"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), path)
    return path


def cell_with(**data: Any) -> Any:
    output = new_output("display_data", {kind.replace("_", "/", 1): v for kind, v in data.items()})
    return new_code_cell("show()", outputs=[output])


def test_a_widget_gives_way_to_its_twin(tmp_path: Path) -> None:
    cell = cell_with(text_html="<table></table>", text_plain="a table")
    cell.outputs[0].data[VIEW] = {"model_id": "1"}
    path = notebook(tmp_path, new_markdown_cell("# Tiny"), cell)
    (shown,) = lesson_page(path, path)["cells"][1]["outputs"]
    assert set(shown["data"]) == {"text/html", "text/plain"}


def test_what_was_printed_in_pieces_is_one_text(tmp_path: Path) -> None:
    cell = new_code_cell("print(1, end=' ')")
    cell.outputs = [
        new_output("stream", name="stdout", text="round 1: 68%   "),
        new_output("stream", name="stderr", text="a bar"),
        new_output("stream", name="stdout", text="round 2: 79%"),
    ]
    path = notebook(tmp_path, new_markdown_cell("# A title"), cell)
    first, second = lesson_page(path, path)["cells"][1]["outputs"]
    assert first["text"] == "round 1: 68%   round 2: 79%"
    assert second["name"] == "stderr"


def test_a_widget_without_a_twin_is_refused(tmp_path: Path) -> None:
    cell = cell_with(text_plain="x")
    cell.outputs[0].data = {VIEW: {"model_id": "1"}}
    path = notebook(tmp_path, new_markdown_cell("# Tiny"), cell)
    with pytest.raises(FedkitError, match="a page can't show"):
        lesson_page(path, path)


# ------------------------------------------------------------------------------------------ executed
@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of one lesson in a clone of its own; how often it was executed is counted."""
    (tmp_path / "fedkit").mkdir()
    (tmp_path / "fedkit" / "part.py").write_text("A = 1\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits.npz").write_bytes(b"digits")
    folder = tmp_path / "notebooks"
    (folder / "solutions").mkdir(parents=True)
    source = "import os\nprint(os.environ['FEDKIT_WORKSPACE'], os.path.abspath('.'))"
    source += f"\nopen({str(tmp_path / 'count')!r}, 'a').write('x')"
    notebook(folder, new_markdown_cell("# Tiny"), PARAMETERS, new_code_cell(source))
    (folder / "00_tiny.ipynb").rename(folder / "solutions" / "00_tiny.ipynb")
    return folder


def times(course: Path) -> int:
    count = course.parent / "count"
    return len(count.read_text()) if count.exists() else 0


def test_a_lesson_is_executed_once_for_each_state(course: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = executed(course, cache)
    assert executed(course, cache) == first
    assert times(course) == 1
    outputs = json.loads(first["00_tiny"].read_text())["cells"][2]["outputs"]
    place = "".join(outputs[0]["text"])
    assert re.match(r"runs\b", place), "where this machine kept its files is nobody's business"
    assert sorted(p.name for p in cache.iterdir()) == sorted(
        ["executing.lock", first["00_tiny"].name]
    )
    (course.parent / "fedkit" / "part.py").write_text("A = 2\n")
    second = executed(course, cache)
    assert times(course) == 2
    assert second != first


def test_every_part_of_the_state_counts(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = course / "solutions" / "00_tiny.ipynb"
    root = course.parent

    def key() -> str:
        return key_of(path, package_digest(root))

    seen = [key()]
    (root / "data" / "digits.npz").write_bytes(b"others")
    seen.append(key())
    (root / "fedkit" / "new.yaml").write_text("a: 1\n")
    seen.append(key())
    path.write_text(path.read_text().replace("Tiny", "Small"))
    seen.append(key())
    monkeypatch.setattr(lessons.metadata, "version", lambda name: "another")
    seen.append(key())
    assert len(set(seen)) == 5
    (root / "fedkit" / "cli").mkdir()
    (root / "fedkit" / "cli" / "run.py").write_text("B = 2\n")
    (root / "fedkit" / "part.py").write_text("# a comment\nA = (\n    1\n)\n")
    (root / "fedkit" / "__pycache__").mkdir()
    (root / "fedkit" / "__pycache__" / "part.pyc").write_bytes(b"compiled")
    assert key() == seen[-1]


def test_no_lesson_uses_the_top_floor() -> None:
    """So that its changes need no lesson executed anew: nothing in the package imports it either (test_project)."""
    for path in (COURSE / "src").glob("*.py"):
        assert not re.search(
            r"^\s*(?:from|import) fedkit\.cli|-m.{1,5}fedkit\b", path.read_text("utf-8"), re.M
        )


def test_a_lesson_that_fails_is_named_and_not_kept(course: Path, tmp_path: Path) -> None:
    path = course / "solutions" / "00_tiny.ipynb"
    notebook(path.parent, new_markdown_cell("# Tiny"), PARAMETERS, new_code_cell("1 / 0"))
    with pytest.raises(FedkitError, match="00_tiny failed") as caught:
        executed(course, tmp_path / "cache")
    assert "ZeroDivisionError" in str(caught.value)
    assert list((tmp_path / "cache").glob("*.ipynb")) == []


def test_old_copies_go(course: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for n in range(4):
        (cache / f"00_tiny-{n}.ipynb").write_text("{}")
    kept = (
        cache
        / f"00_tiny-{key_of(course / 'solutions' / '00_tiny.ipynb', package_digest(course.parent))}.ipynb"
    )
    kept.write_text("{}")
    executed(course, cache)
    assert kept.is_file()
    assert len(list(cache.glob("*.ipynb"))) == lessons.KEPT
