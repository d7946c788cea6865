"""What is installed and what is not: where the course lies, and the line that says which extra to install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import fedkit as fk
from fedkit.base import distribution
from fedkit.base.distribution import (
    DISTRIBUTION,
    EXTRAS,
    VERSION,
    clone,
    course_files,
    extra_of,
    how_to_install,
    missing_extra,
    need,
    requirements,
)
from fedkit.base.errors import FedkitError
from fedkit.config.client_config import ClientConfig
from fedkit.protocol.approval import pending_requests
from tests.support import ROOT
from tests.support.helpers import ALICE, launched


def test_the_clone_is_found_and_is_the_course() -> None:
    assert clone() == ROOT
    assert course_files() == ROOT
    assert fk.__version__ == VERSION


def test_without_a_clone_the_course_lies_in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "clone", lambda: None)
    assert course_files() == ROOT / "fedkit" / "course"


def test_requirements_of_extras_bear_their_marker() -> None:
    assert "torch>=2.6" in requirements()
    assert "opacus>=1.5; extra == 'privacy'" in requirements()
    assert f"{DISTRIBUTION}[pysyft]; (sys_platform != 'win32') and extra == 'network'" in (
        requirements()
    )


WHEEL = "file:///lessons/fedkit_course-0.2.0-py3-none-any.whl"
GIT = {"url": "https://example.org/fedkit", "vcs_info": {"vcs": "git", "commit_id": "0"}}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"url": WHEEL, "archive_info": {}}, f'pip install "fedkit-course[dask] @ {WHEEL}"'),
        (GIT, 'pip install "fedkit-course[dask] @ git+https://example.org/fedkit"'),
        (
            None,
            'pip install "./fedkit_course-0.2.0-py3-none-any.whl[dask]" (the wheel of the release)',
        ),
        (
            [],
            'pip install "./fedkit_course-0.2.0-py3-none-any.whl[dask]" (the wheel of the release)',
        ),
    ],
)
def test_an_extra_comes_from_where_fedkit_came(
    monkeypatch: pytest.MonkeyPatch, told: object, line: str
) -> None:
    note = SimpleNamespace(read_text=lambda name: None if told is None else json.dumps(told))
    monkeypatch.setattr(distribution, "clone", lambda: None)
    monkeypatch.setattr(distribution.metadata, "distribution", lambda name: note)
    assert how_to_install("dask") == line


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ("archive-v0/4KMln/pyvenv.cfg", f'uvx --from "fedkit-course[{{}}] @ {WHEEL}" fedkit ...'),
        ("tools/fedkit-course/uv-receipt.toml", f'uv tool install --force "fedkit-course[{{}}] @ {WHEEL}"'),
        ("venvs/fedkit-course/pipx_metadata.json", f'pipx install --force "fedkit-course[{{}}] @ {WHEEL}"'),
    ],
)  # fmt: skip
def test_an_environment_for_fedkit_alone_is_made_anew_with_all_extras(
    marker: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvx, uv and pipx have made it, without pip: the line names the extras that are there already, too."""
    (tmp_path / marker).parent.mkdir(parents=True)
    (tmp_path / marker).touch()
    note = SimpleNamespace(read_text=lambda name: json.dumps({"url": WHEEL}))
    monkeypatch.setattr(distribution, "clone", lambda: None)
    monkeypatch.setattr(distribution.metadata, "distribution", lambda name: note)
    monkeypatch.setattr(sys, "prefix", str((tmp_path / marker).parent))
    monkeypatch.setattr(distribution, "is_there", lambda module: module != "opacus")
    assert how_to_install("dask") == line.format("notebooks,dask")
    assert how_to_install("privacy") == line.format("notebooks,privacy")


def test_without_any_metadata_the_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise distribution.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(distribution, "clone", lambda: None)
    monkeypatch.setattr(distribution.metadata, "distribution", none)
    monkeypatch.setattr(distribution.metadata, "requires", none)
    assert requirements.__wrapped__() == ()
    assert how_to_install("all").startswith(f'pip install "./{distribution.WHEEL}[all]"')


@pytest.mark.parametrize(
    ("name", "module"), [(name, module) for name in EXTRAS for module in EXTRAS[name].modules]
)
def test_each_missing_module_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FedkitError) as error:
        need("a lesson", "json", module)
    assert error.value.what.startswith(f"a lesson needs the extra [{name}] (")
    assert error.value.what.endswith(f"{module} is not installed")
    assert error.value.remedy == f'pip install -e ".[{name}]" in the clone'
    found = missing_extra(ModuleNotFoundError("no", name=f"{module}.inner"), "a lesson")
    assert str(found) == str(error.value)


def test_what_no_extra_brings_is_no_extra() -> None:
    assert extra_of("torch") is None
    assert missing_extra(ModuleNotFoundError("no", name="pandas_plus")) is None
    assert missing_extra(ModuleNotFoundError("no")) is None
    need("a lesson", "json", "importlib.metadata")


BLOCKED = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from fedkit.cli.main import main
sys.argv[0] = "fedkit"
main()
"""
MODULES = ",".join(module for extra in EXTRAS.values() for module in extra.modules)
DP = {"unit": "example", "epsilon": 4, "delta": 1e-3, "clip": 1.0}


def blocked(*words: object, cwd: Path, modules: str = MODULES) -> subprocess.CompletedProcess[str]:
    """The command in a Python that can import nothing of any extra."""
    command = [sys.executable, "-c", BLOCKED, modules, *map(str, words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


SPEC = "run: {}\nseeds: [0]\n"
DOORS = {
    "notebooks": [
        "course run 00",
        "start here --no-browser",
        "sweep lesson.yaml --out s",
        "data import . --torchvision MNIST --out d",
        "course grade pile --picture class.png",
    ],
    "privacy": [f"run --out r --set rounds=1 --set dp={json.dumps(DP, separators=(',', ':'))}"],
    "teacher": ["course slides 00"],
    "playground": ["playground --no-browser"],
    "dask": ["sweep simulate.yaml --out s --engine dask"],
    "pysyft": [
        "client --email a@example.org --data-dir a --config_path a.json --port 8080 "
        "--transport pysyft --drive drive --peer b@example.org --once"
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "words"), [(extra, words) for extra, lines in DOORS.items() for words in lines]
)
def test_every_command_names_the_extra_that_it_lacks(
    extra: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "lesson.yaml").write_text(SPEC.format("00"))
    (tmp_path / "simulate.yaml").write_text(SPEC.format("simulate"))
    (tmp_path / "pile").mkdir()
    (tmp_path / "pile" / "ada.ipynb").write_bytes(
        (ROOT / "notebooks" / "03_train.ipynb").read_bytes()
    )
    done = blocked(*words.split(), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"needs the extra [{extra}] (" in done.stderr
    assert f'pip install -e ".[{extra}]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a").exists()


def test_a_command_at_the_door(tmp_path: Path) -> None:
    """One of them in the usual suite: it needs no torch."""
    done = blocked("start", "here", cwd=tmp_path)
    assert done.returncode == 1
    assert "needs the extra [notebooks] (" in done.stderr
    assert (tmp_path / "here" / "04_aggregate.ipynb").is_file()


FACES = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
import fedkit as fk
for name in ("plots", "quiz", "widgets"):
    try:
        getattr(fk, name)
    except fk.FedkitError as error:
        print(error)
"""


def test_a_notebook_without_the_extra_names_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FACES, MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert [line.partition(" needs the extra [notebooks] ")[0] for line in lines] == [
        "fk.plots",
        "fk.quiz",
        "fk.widgets",
    ]


@pytest.mark.slow
def test_who_can_not_train_with_noise_is_told_before_saying_yes(tmp_path: Path) -> None:
    network = launched(tmp_path / "network", dp=DP, rounds=1, participants=[ALICE])
    for _ in range(2):  # the request arrives
        network.advance()
    site = network[ALICE]
    settings = site.data_dir / "config.json"
    ClientConfig(site.data_dir, ALICE).save(settings)
    words = ("approve", network.projects()[0], "--config_path", settings, "--yes")
    done = blocked(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "needs the extra [privacy] (" in done.stderr
    assert "sha256" in done.stdout  # what was asked stands above it
    assert pending_requests(site) == network.projects()
    assert blocked(*words, cwd=tmp_path, modules="matplotlib,papermill").returncode == 0
    assert pending_requests(site) == []
