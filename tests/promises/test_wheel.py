"""The wheel is the course: what is in it, and that an empty folder and a fresh environment are enough.

The environments see this Python's torch and what belongs to it by links, and nothing of the clone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.request
import zipfile
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.wheels import Installed, build, closure, install, run, tool
from tests.test_project import committed, course, project

NAME = "fedkit_course-0.2.0"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="links torch into fresh environments")


def test_what_travels_is_the_course_and_all_of_it() -> None:
    """Every committed notebook of all editions, the digits, glossary, pictures, teaching notes; no sources."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    patterns = targets["targets"]["wheel"]["hooks"]["custom"]["course"]
    travels = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    wanted = {
        path
        for path in committed()
        if path.relative_to(ROOT).parts[0] in ("data", "notebooks")
        and path.relative_to(ROOT).parts[1] not in ("src", "locale")
    }
    assert travels & set(committed()) == wanted
    assert {"mnist_12k.npz", "GLOSSARY.md", "tutorial.png"} <= {path.name for path in wanted}
    lost = [
        f"{path.name}: {link}"
        for path in travels
        if path.suffix in (".md", ".ipynb") and path.parent != ROOT / "data"
        for link in re.findall(r"\]\(([^)#\s:]+)[^):]*\)", prose(path))
        if (path.parent / link).resolve() not in travels
    ]
    assert lost == []


def prose(path: Path) -> str:
    """What is read of a file: all of it, or a notebook's text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    cells = json.loads(text)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def test_the_version_is_said_once() -> None:
    assert project()["dynamic"] == ["version"]
    assert project()["name"] == "fedkit-course"
    assert NAME == "fedkit_course-0.2.0"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel from the tree."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out, "sdist", "wheel")
    return out


@pytest.fixture(scope="session")
def whole(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with what the lessons need beside it."""
    home = tmp_path_factory.mktemp("whole") / "venv"
    return install(built / f"{NAME}-py3-none-any.whl", home, closure(course()))


@pytest.fixture(scope="session")
def core(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel with what it needs itself, and nothing else."""
    home = tmp_path_factory.mktemp("core") / "venv"
    lent = closure(project()["dependencies"])
    return install(built / f"{NAME}-py3-none-any.whl", home, lent)


@pytest.mark.slow
def test_sdist_and_wheel_are_whole_and_one(built: Path, tmp_path: Path) -> None:
    sdist, wheel = f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"
    assert [path.name for path in sorted(built.iterdir())] == [wheel, sdist]
    assert run(tool("twine"), "check", "--strict", *built.iterdir()).count("PASSED") == 2
    assert "OK" in run(tool("check-wheel-contents"), built / wheel)
    with tarfile.open(built / sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (again,) = build(tmp_path / NAME, tmp_path / "again", "wheel")
    assert again.read_bytes() == (built / wheel).read_bytes()
    with zipfile.ZipFile(built / wheel) as packed:
        names = set(packed.namelist())
        about = packed.read(f"{NAME}.dist-info/METADATA").decode()
    assert {name.split("/")[0] for name in names} == {"fedkit", f"{NAME}.dist-info"}
    assert "fedkit/course/data/mnist_12k.npz" in names
    assert not [
        name for name in names if "/src/" in name or "__pycache__" in name or "runs/" in name
    ]
    assert about.count("\nName: fedkit-course\nVersion: 0.2.0\n") == 1
    assert (built / wheel).stat().st_size < 2**23


@pytest.mark.slow
def test_lessons_run_from_an_empty_folder(whole: Installed, tmp_path: Path) -> None:
    assert whole.fedkit("--version", cwd=tmp_path) == "fedkit 0.2.0\n"
    assert run(whole.python, "-m", "fedkit", "--version", cwd=tmp_path) == "fedkit 0.2.0\n"
    said = whole.fedkit("course", "run", "00", "04", cwd=tmp_path)
    assert "00_start_here" in said
    assert sorted(path.name for path in (tmp_path / "runs" / "learner").glob("*.ipynb")) == [
        "00_start_here.ipynb",
        "04_aggregate.ipynb",
    ]
    for path in (tmp_path / "runs" / "learner").glob("*.ipynb"):
        assert str(ROOT) not in path.read_text(encoding="utf-8")
    shown = run(whole.python, "-c", "import fedkit as fk; print(len(fk.load_mnist().train_labels))")
    assert shown == "10000\n"
    assert "04" in whole.fedkit("course", "list", cwd=tmp_path)
    run(whole.python, "-c", "import fedkit as fk; fk.quiz('04')", cwd=tmp_path)


@pytest.mark.slow
def test_start_opens_lab_on_the_course(whole: Installed, tmp_path: Path) -> None:
    program = whole.python.with_name("fedkit")
    log = tmp_path / "lab.log"
    command = [program, "start", "course", "--no-browser", "--lab=--allow-root", "--lab=--port=0"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["JUPYTER_RUNTIME_DIR"] = str(tmp_path / "runtime")
    with log.open("w") as stream:
        lab = subprocess.Popen(command, cwd=tmp_path, stdout=stream, stderr=stream, env=environment)
    try:
        end = time.monotonic() + 120
        address = None
        while address is None and time.monotonic() < end:
            time.sleep(0.5)
            address = re.search(r"http://127\.0\.0\.1:(\d+)/lab\S*?token=(\w+)", log.read_text())
        assert address, log.read_text()
        port, token = address.groups()
        asked = f"http://127.0.0.1:{port}/api/contents/00_start_here.ipynb?token={token}"
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert b"Start here" in answer.read()
        pages = (tmp_path / "runtime").glob(
            "jpserver-*-open.html"
        )  # one of them is what a browser gets
        assert any("/lab/tree/00_start_here.ipynb?" in page.read_text() for page in pages)
    finally:
        lab.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            lab.wait(30)
        lab.kill()
    assert (tmp_path / "course" / "solutions" / "04_aggregate.ipynb").is_file()
    said = whole.fedkit("course", "update", "course", cwd=tmp_path)
    assert "nothing has changed" in said
    whole.fedkit("course", "run", "00", cwd=tmp_path / "course")
    assert (tmp_path / "course" / "runs" / "learner" / "00_start_here.ipynb").is_file()


ALICE = "alice@example.org"
CLIENT = ("client", "--email", ALICE, "--data-dir", "alice", "--config_path", "alice.json")


@pytest.mark.slow
def test_the_core_is_enough_for_a_datasite(core: Installed, tmp_path: Path) -> None:
    """One person in both roles, from the samples to the last round; then a network, and the doctor."""
    client = (*CLIENT, "--port", 8080, "--once")
    core.fedkit(*client, cwd=tmp_path)
    core.fedkit(
        "data",
        "samples",
        "--out",
        "samples",
        "--aggregator",
        ALICE,
        "--participant",
        ALICE,
        cwd=tmp_path,
    )
    box = tmp_path / "alice" / "datasites" / ALICE / "app_data"
    for name in (tmp_path / "samples").iterdir():
        to = {
            "mnist_test_dataset.pt": tmp_path / "alice" / "private" / "fl_aggregator",
        }.get(name.name, box / "fl_aggregator" / "launch")
        if name.name.startswith("mnist_label"):
            to = tmp_path / "alice" / "private" / "fl_client"
        (to / name.name).write_bytes(name.read_bytes())
    core.fedkit(*client, cwd=tmp_path, code=3)
    core.fedkit("approve", "MNIST_FL", "--config_path", "alice.json", "--yes", cwd=tmp_path)
    assert "round 3/3" in core.fedkit(*client, cwd=tmp_path)
    assert "done" in core.fedkit("status", "--config_path", "alice.json", cwd=tmp_path)
    said = core.fedkit("run", "--out", "out", "--set", "rounds=1", cwd=tmp_path)
    assert "No pictures: a picture needs the extra [notebooks]" in said
    assert (tmp_path / "out" / "history.json").is_file()
    masked = 'secure_aggregation={"threshold":2}'
    said = core.fedkit("run", "--out", "m", "--set", "rounds=1", "--set", masked, cwd=tmp_path)
    assert "round 1/1" in said
    doctor = core.fedkit("doctor", cwd=tmp_path)
    assert "fedkit can run here." in doctor
    assert "note    extra [notebooks]" in doctor
    wheel = f"{NAME}-py3-none-any.whl"
    assert re.search(rf'pip install "fedkit-course\[privacy\] @ file://\S+/{wheel}"', doctor)
    (about,) = core.python.parents[1].glob("lib/*/site-packages/fedkit_course-*.dist-info")
    other = about.with_name("fedkit-0.9.0.dist-info")  # as if the other one had come over this one
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: fedkit\nVersion: 0.9.0\n")
    face = about.with_name("fedkit") / "__init__.py"
    ours = face.read_text(encoding="utf-8")
    face.write_text('"""An app for Django."""\n')
    said = core.fedkit("doctor", cwd=tmp_path, code=1)
    assert "MISSING another project called fedkit is installed (0.9.0)" in said
    face.write_text(ours, encoding="utf-8")
    shutil.rmtree(other)
    lab = core.fedkit("start", "course", cwd=tmp_path, code=1)
    assert "needs the extra [notebooks]" in lab
    assert (tmp_path / "course" / "00_start_here.ipynb").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["uvx", "pipx"])
def test_started_without_an_install(starter: str, built: Path, tmp_path: Path) -> None:
    """By the programs themselves, with everything that the wheel requires: gigabytes, where PyTorch's are."""
    wheel = built / f"{NAME}-py3-none-any.whl"
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    words = {
        "uvx": (tool("uvx"), "--python", python, "--from", wheel, "fedkit"),
        "pipx": (tool("pipx"), "run", "--python", python, "--spec", wheel, "fedkit"),
    }[starter]
    home = {"UV_CACHE_DIR": str(tmp_path / "uv"), "PIPX_HOME": str(tmp_path / "pipx")}
    assert "fedkit 0.2.0" in run(*words, "--version", cwd=tmp_path, **home)
    said = run(*words, "start", "course", "--no-browser", cwd=tmp_path, code=1, **home)
    assert re.search(r"The course is in \S+course: \d+ new\.", said)
    assert "needs the extra [notebooks]" in said


# ------------------------------------------------------------------------ the name in every text
INSTALLER = re.compile(
    r"\b(pip[\d.]*(?: +-[^\s`]+)* +(?:install|download|wheel)|pipx (?:install|run|upgrade|inject \S+)|uvx|uv run|"
    r"uv tool (?:install|run|upgrade)|uv add|(?:conda|(?:micro)?mamba) (?:install|create|update)|easy_install|"
    r"(?:poetry|pdm|pixi|rye|pipenv) (?:add|install|global install))"
    r"((?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s`\"'])+)*)"
)
RUNS = ("pipx run", "uvx", "uv tool run", "uv run")
"""Programs whose first word is a package only where no `--from` or `--spec` names one; that of `uv run` is a program."""
NAMES = ("--from", "--spec", "--with")
TAKES = (
    "--python",
    "-p",
    "--prefix",
    "-n",
    "--name",
    "-c",
    "--channel",
    "--index-url",
    "-i",
    "--find-links",
    "-f",
)
"""Words of theirs whose next word is no package."""
ENDS = {"and", "or", "then", "&&", "||", ";", "#", "|"}
WORD = re.compile(r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'])+")
REQUIRED = re.compile(
    r"^\s*(?:- )?[\"']?fedkit(?:\[[\w, -]*\])?\s*(?:[<>=!~][^\"']*)?[\"']?,?$",
    re.M | re.I,
)
"""A line of a list of requirements."""
ADDRESS = re.compile(
    r"(?:pypi\.org/|shields\.io/|fury\.io/|pepy\.tech/|anaconda\.org/|pypistats\.org/)[^\s)\"'<>]*\bfedkit\b",
    re.I,
)


PYPI = "pypi." + "org"  # no registry is named in what is committed


def packages(program: str, told: list[str]) -> list[str]:
    """What a command asks a registry for."""
    words = [part for word in told for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    named = [word for flag, word in pairwise(words) if flag in NAMES]
    left = [
        word
        for before, word in pairwise(["", *words])
        if not word.startswith("-") and before not in (*TAKES, *NAMES)
    ]
    if program not in RUNS:
        return [*named, *left]
    runs = program != "uv run" and not {"--from", "--spec"} & set(words)
    return [*named, *(left[:1] if runs else [])]


def wrong_installs(text: str) -> list[str]:
    """What in a text installs or runs the bare name `fedkit`, or `fedkit-course` from a registry, or leads there."""
    found = [hit.group() for looked in (REQUIRED, ADDRESS) for hit in looked.finditer(text)]
    text = re.sub(
        r"\\\n\s*|[\"'],[ \t]*[\"']", " ", text
    )  # one line; a list of words, as a Dockerfile has it
    for hit in INSTALLER.finditer(text):
        words = [re.sub("[\"']", "", word) for word in WORD.findall(hit.group(2))]
        words = list(takewhile(lambda word: word not in ENDS, words))
        for word in packages(hit.group(1), words):
            name = re.match(r"[A-Za-z0-9_.-]*", word)
            bare = name is not None and name.group().rstrip(".,;:)").lower().replace("_", "-")
            if bare == "fedkit" or (bare == "fedkit-course" and not re.search(" ?@ ", word)):
                found.append(hit.group())
    return found


def test_no_text_installs_another_projects_name() -> None:
    found = {}
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture, or digits
            continue
        if path.suffix in (".ipynb", ".json", ".po"):
            text = text.replace("\\n", "\n").replace('\\"', '"')
        if path.suffix == ".py":  # a line of a list there is no requirement
            text = re.sub(r'^ *"fedkit",$', "", text, flags=re.MULTILINE)
            text = text.replace("{DISTRIBUTION}", "fedkit-course").replace("{NAME}", NAME)
        if path != Path(__file__) and (wrong := wrong_installs(text)):
            found[path.relative_to(ROOT).as_posix()] = wrong
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "pip install fedkit",
        'run `pip install "fedkit[dask]"` there',
        "pip install -U Fedkit==0.2",
        'pip install -U "fedkit[notebooks]"',
        "pip install torch fedkit.",
        "pip install torch \\\n    fedkit",
        "%pip install fedkit",
        "!pip3.12 install fedkit",
        "pip -q install fedkit",
        "python -m pip install --upgrade pip fedkit",
        '["pip", "install", "fedkit"]',
        "[sys.executable, '-m', 'pip', 'install', 'fedkit[notebooks]']",
        "pip download fedkit",
        "`uvx fedkit start`",
        "uvx fedkit@latest start",
        "uvx --python 3.12 fedkit start",
        "uvx --from fedkit fedkit start",
        "uvx --from='fedkit[notebooks]' fedkit start",
        "uvx --from jupyterlab --with fedkit jupyter lab",
        "uv run --with fedkit python",
        "uv tool install fedkit",
        "uv pip install fedkit",
        "uv add fedkit",
        "pipx run fedkit start",
        "pipx run --python 3.12 fedkit start",
        "pipx install 'fedkit'",
        "pipx inject jupyterlab fedkit",
        "conda install -c conda-forge fedkit",
        "conda create -n course fedkit",
        "micromamba install fedkit",
        "poetry add fedkit",
        "pixi add --pypi fedkit",
        "pip install fedkit-course",
        "pip install fedkit_course",
        "dependencies:\n  - pip:\n      - fedkit>=0.2\n",
        "torch\nfedkit[notebooks]==0.2\n",
        "dependencies = [\n    \"fedkit\",\n]",
        "![](https://img.shields.io/pypi/v/fedkit.svg)",
        f"https://{PYPI}/project/fedkit/",
        f"https://{PYPI}/project/fedkit-course/",
    ],
)  # fmt: skip
def test_wrong_installs_are_found(text: str) -> None:
    assert wrong_installs(text)


@pytest.mark.parametrize(
    "text",
    [
        'pip install "fedkit-course @ git+ADDRESS"',
        'pip install "fedkit-course[all] @ file:///x.whl"',
        "pip install ./fedkit_course-0.2.0-py3-none-any.whl",
        'uvx --from "./fedkit_course-0.2.0-py3-none-any.whl[all]" fedkit start',
        'uvx --from="fedkit-course[all] @ git+ADDRESS" fedkit start',
        "uvx --python 3.12 --from x.whl fedkit start",
        "pipx run --spec x.whl fedkit start",
        "uv run fedkit start",
        'pip install -e ".[dev]" and fedkit start',
        "pip install torch\nfedkit start",
        "pip install torch && fedkit start",
        "conda env create -f environment.yml\nconda activate fedkit",
        "conda create -n fedkit python",
        "name: fedkit\ndependencies:\n  - python>=3.11\n",
        "pip uninstall fedkit",
    ],
)
def test_right_ones_are_not(text: str) -> None:
    assert wrong_installs(text) == []
