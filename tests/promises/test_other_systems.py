"""Nothing in the package takes the system for a POSIX one: read from the source, then run with Windows' ways simulated."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fedkit as fk
from fedkit.base import files, scratch
from fedkit.base.errors import FedkitError
from fedkit.datasite.datasite import Datasite

PACKAGE = Path(str(fk.__file__)).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

NOT_ON_WINDOWS = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty", "syslog"}
"""Modules of the standard library that Windows has not."""
ATTRIBUTES = {
    "os": "chown fchmod fork forkpty getegid geteuid getgid getuid getpgid killpg lchown mkfifo mknod nice openpty "
    "sched_getaffinity setpgid setsid statvfs sync uname wait4 O_NOFOLLOW O_NONBLOCK O_DIRECTORY",
    "signal": "SIGKILL SIGALRM SIGHUP SIGUSR1 SIGUSR2 SIGXFSZ SIGXCPU SIGCHLD SIGPIPE setitimer alarm pause",
    "time": "tzset clock_settime",
}
GONE = {module: set(names.split()) for module, names in ATTRIBUTES.items()}


def parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def guarded(node: ast.AST, up: dict[ast.AST, ast.AST]) -> bool:
    """Inside of a `try`, or of a function that has asked for the system, or with a `suppress(AttributeError)` around it."""
    while node in up:
        node = up[node]
        if isinstance(node, ast.Try):
            return True
        if isinstance(node, ast.With) and "AttributeError" in ast.unparse(node.items[0]):
            return True
        if isinstance(node, ast.If) and "hasattr" in ast.unparse(node.test):
            return True
        if isinstance(node, ast.FunctionDef):
            text = ast.unparse(node)
            return any(
                sign in text
                for sign in ("hasattr(", "sys.platform", "os.name", "except ImportError")
            )
    return False


def strange(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    up = parents(tree)
    for node in ast.walk(tree):
        where = f"{path.relative_to(PACKAGE).as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            from_ = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in from_ or [alias.name for alias in node.names]:
                if name.split(".")[0] in NOT_ON_WINDOWS and not guarded(node, up):
                    yield f"{where} imports {name}"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in GONE.get(node.value.id, ())
            and not guarded(node, up)
        ):
            yield f"{where} uses {node.value.id}.{node.attr}"


def separators(path: Path) -> Iterator[str]:
    """`str(path.relative_to(...))` has Windows' backslashes in it, where a name between datasites has slashes."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "str(" in line and "relative_to(" in line and "as_posix" not in line:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{number} {line.strip()}"
        if '"/tmp' in line or "'/tmp" in line or '"/dev/' in line:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{number} {line.strip()}"


def texts_without_encoding(path: Path) -> Iterator[str]:
    """Windows' own encoding is not UTF-8, and its line ends are two signs: text is opened with a word about both."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        words = {keyword.arg for keyword in node.keywords}
        of_text = name in ("read_text", "write_text") and not (
            words & {"encoding", None} or node.args
        )
        mode = node.args[0] if isinstance(node.func, ast.Attribute) and node.args else None
        opens = (
            isinstance(node.func, ast.Attribute)
            and name == "open"
            and isinstance(mode, ast.Constant)
        )
        opened = opens and isinstance(mode, ast.Constant) and "b" not in str(mode.value)
        if of_text or (
            opened and str(getattr(mode, "value", "")) in "rwax+" and "encoding" not in words
        ):
            yield f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno} {name}"


@pytest.mark.parametrize(
    "look", [strange, separators, texts_without_encoding], ids=lambda f: f.__name__
)
def test_no_source_takes_the_system_for_a_posix_one(look: Callable[[Path], Iterator[str]]) -> None:
    found = [problem for path in SOURCES for problem in look(path)]
    assert not found, "\n".join(found)


def test_the_looks_see_what_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    source = tmp_path / "x.py"
    source.write_text(
        "import os, fcntl\nos.killpg(1, 2)\nname = str(p.relative_to(q))\np.read_text()\np.open('w')\n"
        "def f():\n    if hasattr(os, 'killpg'):\n        os.killpg(1, 2)\n",
        encoding="utf-8",
    )
    assert [found.split()[0] for found in strange(source)] == ["x.py:1", "x.py:2"]
    assert len(list(separators(source))) == 1
    assert len(list(texts_without_encoding(source))) == 2


WITHOUT = """
import importlib, importlib.abc, os, pkgutil, signal, sys, time
modules, attributes = {modules!r}, {attributes!r}
class No(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in modules:
            raise ModuleNotFoundError(name, name=name)
# libraries that know Windows by themselves
import torch, numpy, pandas, IPython, ipywidgets, matplotlib.figure, filelock
import tornado.ioloop, tornado.web, papermill, jupyter_client
filelock.FileLock = filelock.SoftFileLock  # its lock of POSIX would miss what goes away below
sys.meta_path.insert(0, No())
for name in modules:
    sys.modules.pop(name, None)
for module, names in attributes.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
import fedkit
from fedkit.cli.main import main
for found in pkgutil.walk_packages(fedkit.__path__, "fedkit."):
    try:
        if not any(part in found.name for part in ("__main__", "sample_models", "grade.judge")):
            importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {optional!r}:
            raise
sys.argv = ["fedkit", "run", "--participants", "2", "--out", sys.argv[1], "--set", "rounds=1"]
main()
"""
OPTIONAL = {
    "syft",
    "flwr",
    "flwr_datasets",
    "nvflare",
    "ray",
    "distributed",
    "dask",
    "voila",
    "nbgrader",
}


@pytest.mark.slow  # the looks above read the same of the source
def test_a_project_runs_where_posix_is_not(tmp_path: Path) -> None:
    """Every module is imported, and a network of two runs, with POSIX' modules and calls taken away."""
    attributes = {module: sorted(names) for module, names in GONE.items()}
    code = WITHOUT.format(modules=sorted(NOT_ON_WINDOWS), attributes=attributes, optional=OPTIONAL)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "history.json").is_file()


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows does to files that are open, as the package asks for it."""
    monkeypatch.setattr(scratch, "_WINDOWS", True)
    monkeypatch.setattr(files, "_WINDOWS", True)
    monkeypatch.setattr(scratch, "_PAUSES_S", (0.0, 0.0, 0.0))


def refusing(times: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """A sharing violation, `times` times; then the real thing."""
    left = [times]

    def call(*arguments: Any, **words: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return real(*arguments, **words)

    return call


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_somebody_has_open_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    files.write_bytes(tmp_path / "x", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refusing(times, os.replace))
        files.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refusing(times, os.unlink))
        files.remove(tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("windows")
def test_one_that_stays_open_is_an_error_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_bytes(tmp_path / "x", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refusing(99, os.replace))
        with pytest.raises(FedkitError, match="can't be written"):
            files.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_elsewhere_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On POSIX a refused rename is a folder without rights, and no moment mends that."""
    calls = []

    def refuse() -> None:
        calls.append(1)
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(scratch, "_WINDOWS", False)
    with pytest.raises(PermissionError):
        scratch.patiently(refuse)
    assert len(calls) == 1


@pytest.mark.usefixtures("windows")
def test_a_path_beyond_260_characters_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows answers with "no such file", in a folder that is there."""
    deep = tmp_path / ("d" * 120) / ("e" * 120) / "x"
    deep.parent.mkdir(parents=True)
    real = os.open

    def limited(path: Any, *arguments: Any, **words: Any) -> int:
        if len(os.fspath(path)) > 259:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return real(path, *arguments, **words)

    monkeypatch.setattr(os, "open", limited)
    with pytest.raises(FedkitError) as caught:
        files.write_bytes(deep, b"1")
    assert "259" in str(caught.value.why)
    assert "LongPathsEnabled" in str(caught.value.remedy)


def test_a_datasites_own_paths_leave_room_for_the_home_it_lies_in(tmp_path: Path) -> None:
    """The longest path of a usual project, counted from its data dir: a home's 100 characters fit before it."""
    email = "participant.number.01@hospital.example.org"
    site = Datasite.create(tmp_path / "d", email)
    place = (
        site.client().running / "MNIST_FL_ProjectName" / "agg_weights" / "agg_model_round_999.pt"
    )
    inside = place.relative_to(tmp_path / "d").as_posix()
    assert len(inside) < 159
