"""The edition for somebody else's machine, in simulated ones: nobody has run it in Colab or Kaggle.

A stand-in for `google.colab` notes what is asked of it; the wheel is a small one, and pip is the real one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from fedkit.base import distribution
from fedkit.base.distribution import WHEEL
from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import edition_dir, lesson_paths
from fedkit.teaching.workspace import ENVIRONMENT, workspace
from tests.support import ROOT
from tests.support.lessons import write_lesson
from tools.course import card
from tools.course.build import build
from tools.course.hosted import install_cell

AT_GITHUB = "https://github.com/somebody/fedkit"
COLAB = """
import sys, types
for name in ("google", "google.colab", "google.colab.output"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["google.colab"].output = sys.modules["google.colab.output"]
sys.modules["google.colab.output"].enable_custom_widget_manager = lambda: print("widgets on")
"""


def a_wheel(folder: Path) -> Path:
    """As small as one can be, with the name of ours and what the cell looks for."""
    info = f"fedkit_course-{distribution.VERSION}.dist-info"
    files = {
        "fedkit/__init__.py": "",
        "fedkit/federation/__init__.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: fedkit-course\\nVersion: {distribution.VERSION}\\n"
        "Provides-Extra: hosted\\nProvides-Extra: privacy\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/RECORD": "",
    }
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text.replace("\\n", "\n"))
    return path


def elsewhere(
    folder: Path, cell: str, *, before: str = "", after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the cell in `folder` by a Python that sees pip and nothing of this clone, and installs below `folder`."""
    site = folder / "installed"
    pip = folder / "pip-alone"
    if not pip.exists():
        pip.mkdir()
        (pip / "pip").symlink_to(Path(sysconfig.get_path("purelib")) / "pip")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))} | {
        "PYTHONPATH": os.pathsep.join(map(str, (pip, site))),
        "PIP_TARGET": str(site),
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HOME": os.devnull,  # a home that nobody can write in, whoever one is
    }
    return subprocess.run(
        [getattr(sys, "_base_executable", sys.executable), "-c", f"{before}\n{cell}\n{after}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_an_empty_folder_installs_the_wheel_that_lies_in_it_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    cell = install_cell()
    none = elsewhere(tmp_path, cell)
    assert none.returncode == 1
    assert (
        none.stderr
        == f"fedkit is missing: upload {WHEEL} beside this notebook, then run this cell again\n"
    )
    (tmp_path / "fedkit").mkdir()  # a stranger's package of the same name
    (tmp_path / "fedkit/__init__.py").write_text(
        "raise RuntimeError('a stranger')", encoding="utf-8"
    )
    assert elsewhere(tmp_path, cell).stderr == none.stderr
    (tmp_path / "fedkit/__init__.py").unlink()
    (tmp_path / "fedkit").rmdir()
    a_wheel(tmp_path)
    done = elsewhere(
        tmp_path, cell, before=COLAB, after="import fedkit.federation; print(fedkit.__file__)"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [
        "widgets on",
        str(tmp_path / "installed/fedkit/__init__.py"),
    ]
    (tmp_path / WHEEL).write_bytes(b"nothing that pip could read")
    again = elsewhere(tmp_path, cell)  # it is there by now: nothing is installed, nothing is said
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


@pytest.mark.slow
def test_what_stands_in_the_way_is_said_in_one_line(tmp_path: Path) -> None:
    """Widgets too old that are loaded already; then half of an upload."""
    a_wheel(tmp_path)
    old = "import types; sys.modules['ipywidgets'] = types.SimpleNamespace(__version__='7.7.1')"
    done = elsewhere(tmp_path, install_cell(), before=f"{COLAB}\n{old}")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("fedkit is installed. Restart the session (Colab: Runtime)")
    (tmp_path / "installed").rename(tmp_path / "not-there-yet")
    (tmp_path / WHEEL).write_bytes(b"half an upload")
    done = elsewhere(tmp_path, install_cell())
    assert done.returncode == 1
    assert "pip could not install fedkit: see above" in done.stderr.splitlines()[-1]


def test_the_cell_is_short_and_installs_no_stranger() -> None:
    cell = install_cell()
    assert len(cell.splitlines()) <= 15
    assert not re.search(r"^\s*[!%]", cell, re.MULTILINE)
    assert "fedkit-course[" in cell
    named = set(distribution.HOSTED_EXTRAS.split(","))
    offered = {
        m for line in distribution.requirements() for m in re.findall(r"extra == '(\w+)'", line)
    }
    assert named <= offered


def test_what_a_hosted_kernel_runs_on_is_left_alone() -> None:
    """In Colab IPython, ipykernel and their kin are the runtime's own; a newer one would break it."""
    extras = "|".join(distribution.HOSTED_EXTRAS.split(","))
    mine = [r for r in distribution.requirements() if re.search(f"extra == '({extras})'", r)]
    names = {re.split(r"[\[<>=;! ]", line)[0].lower() for line in mine}
    assert names
    assert not names & {"ipython", "ipykernel", "jupyterlab", "jupyter-client", "traitlets"}


def test_every_lesson_has_the_edition_with_the_cell_before_all_other_code() -> None:
    learner = lesson_paths(ROOT / "notebooks")
    hosted = lesson_paths(edition_dir(ROOT / "notebooks", "colab"))
    assert [path.name for path in learner] == [path.name for path in hosted]
    for theirs, ours in zip(learner, hosted, strict=True):
        plain, cells = (json.loads(p.read_bytes())["cells"] for p in (theirs, ours))
        first = next(cell for cell in cells if cell["cell_type"] == "code")
        assert first["metadata"]["tags"] == ["install"]
        cells.remove(first)
        assert [cell["id"] for cell in cells] == [cell["id"] for cell in plain]
        assert cells[1:] == plain[1:] or "ipynb" in str(cells)


@pytest.mark.usefixtures("two_checks")
def test_links_to_other_machines_stand_only_where_they_lead_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lesson(tmp_path / "notebooks/src")
    readme = tmp_path / "README.md"

    def built() -> str:
        readme.write_text("# x\n\n<!-- built: badges -->\n<!-- end -->\n", encoding="utf-8")
        build(tmp_path / "notebooks/src", tmp_path / "notebooks")
        found = [readme, *sorted((tmp_path / "notebooks").rglob("*.ipynb"))]
        return "\n".join(path.read_text("utf-8") for path in found)

    assert distribution.REPOSITORY == ""  # none is set today
    assert not re.search(r"colab\.research|mybinder|github\.com", built())
    monkeypatch.setattr(distribution, "REPOSITORY", AT_GITHUB)
    assert (
        built().count("mybinder.org/v2/gh/somebody/fedkit/main?urlpath=lab%2Ftree%2Fnotebooks%2F")
        == 3
    )
    at_colab = "https://colab.research.google.com/github/somebody/fedkit/blob/main/notebooks/colab/"
    text = readme.read_text("utf-8")
    assert (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({at_colab}01_one.ipynb)"
        in text
    )
    learner = (tmp_path / "notebooks/01_one.ipynb").read_text("utf-8")
    assert (
        f"Run it without an installation: [Colab]({at_colab}01_one.ipynb) · [Binder](https://mybinder.org"
        in learner
    )
    assert "![Open" not in learner  # no picture is fetched when a lesson is opened
    hosted = (tmp_path / "notebooks/colab/01_one.ipynb").read_text("utf-8")
    assert f"[02 The next]({at_colab}02_next.ipynb)" in hosted
    assert f"({AT_GITHUB}/blob/main/notebooks/solutions/01_one.ipynb)" in hosted
    assert f"{AT_GITHUB}/releases/download/v{distribution.VERSION}/{WHEEL}" in hosted
    monkeypatch.setattr(distribution, "REPOSITORY", "https://git.example.org/x/fedkit")
    assert card.badges("01_one") == ""  # neither Colab nor Binder would find it there
    assert f"git.example.org/x/fedkit/releases/download/v{distribution.VERSION}" in install_cell()


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="a folder that not even root may write in"
)
def test_a_folder_in_which_nobody_may_write_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir("/proc")
    with pytest.raises(FedkitError) as caught:
        workspace("00")
    assert re.fullmatch(
        r"runs.00: can't be made \(.+\) -> copy the notebook into a folder that you may write in, .+",
        str(caught.value),
    )


@pytest.mark.slow
def test_lesson_00_runs_from_an_empty_folder_without_a_home(tmp_path: Path) -> None:
    """Only the notebook lies there, and the home can't be written in; fedkit is there already."""
    (tmp_path / "lesson").mkdir()
    notebook = tmp_path / "lesson" / "00_start_here.ipynb"
    notebook.write_bytes((ROOT / "notebooks/colab/00_start_here.ipynb").read_bytes())
    where = {
        "HOME": "/proc/nobody",
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "server"),
        "PYTHONPATH": str(ROOT),
    }
    command = [
        sys.executable,
        "-m",
        "papermill",
        notebook.name,
        "../done.ipynb",
        "--no-progress-bar",
    ]
    done = subprocess.run(
        command,
        cwd=notebook.parent,
        env=os.environ | where,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in notebook.parent.iterdir()) == [notebook.name, "runs"]
    cells = json.loads((tmp_path / "done.ipynb").read_bytes())["cells"]
    assert next(cell for cell in cells if cell["cell_type"] == "code")["outputs"] == []
