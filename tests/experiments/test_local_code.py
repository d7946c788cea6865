"""Which files an import statement reaches: without running them, through packages, and no further than one's own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.experiments import local_code
from fedkit.experiments.local_code import imported_digests, notebook_code


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    files = {
        "helpers.py": "import more\nraise SystemExit  # nobody runs it",
        "more.py": "import os, torch, helpers",
        "pkg/__init__.py": "from . import near\nfrom .deep.down import x",
        "pkg/near.py": "from .. import nothing",
        "pkg/deep/down.py": "from ..aside import y",
        "pkg/aside.py": "",
        "bare/only.py": "",
        "broken.py": "def",
        "fedkit/own.py": "",
        "unused.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import numpy, os.path", set()),
        ("import helpers", {"helpers", "more"}),
        ("def f():\n    from helpers import x as y", {"helpers", "more"}),
        ("import pkg.near", {"pkg", "pkg.near", "pkg.deep.down", "pkg.aside"}),
        ("from bare import only, other", {"bare.only"}),
        ("import broken", {"broken"}),
        ("import fedkit.own", set()),
        ("import (", set()),
        ("x = 'import helpers'", set()),
    ],
)
def test_what_is_imported_is_found(place: Path, code: str, found: set[str]) -> None:
    assert set(imported_digests([code], [place])) == found


def test_a_file_counts_by_what_it_holds(place: Path) -> None:
    before = imported_digests(["import helpers"], [place])
    assert before["more"] == sha256_bytes((place / "more.py").read_bytes())
    (place / "more.py").touch()
    (place / "unused.py").write_text("x = 1")
    assert imported_digests(["import helpers"], [place]) == before
    (place / "more.py").write_text("x = 1")
    assert imported_digests(["import helpers"], [place]) != before


def test_pythonpath_is_looked_through_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert imported_digests(["import helpers"], []) == {}
    monkeypatch.setenv("PYTHONPATH", str(place))
    assert set(imported_digests(["import helpers"], [])) == {"helpers", "more"}


def test_a_whole_tree_of_files_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_code, "MOST_FILES", 1)
    with pytest.raises(FedkitError, match="more than 1 files"):
        imported_digests(["import helpers"], [place])


def test_the_code_of_a_notebook_is_that_of_its_code_cells(tmp_path: Path) -> None:
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell("import pkg"),
        v4.new_code_cell("%matplotlib inline\nimport helpers\n!ls"),
        v4.new_code_cell("%%time\nimport more"),
    ]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "n.ipynb")
    assert notebook_code((tmp_path / "n.ipynb").read_bytes()) == ["import helpers", "import more"]
    assert notebook_code(b"{}") == notebook_code(b"\xff") == []
