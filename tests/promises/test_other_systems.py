"""Nothing in the package takes the system for a POSIX one: read from the source, then run with Windows' ways simulated."""

from __future__ import annotations

import ast
import errno
import os
import re
import shutil
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
from fedkit.datasite.tree import set_aside
from fedkit.teaching import workspace

PACKAGE = Path(str(fk.__file__)).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

NOT_ON_WINDOWS = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty", "syslog"}
"""Modules of the standard library that Windows has not."""
ATTRIBUTES = {
    "os": "chown chroot fchdir fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp "
    "getpriority getresuid getsid getuid initgroups killpg lchown lockf mkfifo mknod nice openpty pread pwrite "
    "sched_getaffinity sendfile setegid seteuid setgid setpgid setpriority setsid setuid statvfs sync sysconf "
    "ttyname uname wait3 wait4 waitid WNOHANG O_NOFOLLOW O_NONBLOCK O_DIRECTORY O_SYNC",
    "signal": "SIGKILL SIGALRM SIGHUP SIGUSR1 SIGUSR2 SIGXFSZ SIGXCPU SIGCHLD SIGPIPE SIGSTOP SIGCONT SIGQUIT SIGTSTP "
    "setitimer alarm pause pthread_kill pthread_sigmask sigwait siginterrupt",
    "socket": "AF_UNIX SO_REUSEPORT send_fds recv_fds",
    "asyncio": "open_unix_connection start_unix_server",
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
        text = "str(" in line or re.search(r"\{[^{}]*relative_to\([^{}]*\}", line)
        if text and "relative_to(" in line and "as_posix" not in line:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{number} {line.strip()}"
        if '"/tmp' in line or "'/tmp" in line or '"/dev/' in line:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{number} {line.strip()}"


STARTS = {"run", "Popen", "call", "check_call", "check_output"}


def mode_of(call: ast.Call) -> str:
    """How a call of `open`, or of one like it, opens: its second argument, or the one called `mode`."""
    told = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return str(told[0].value) if told and isinstance(told[0], ast.Constant) else "r"


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
        said = {"read_text": 1, "write_text": 2}.get(name)  # how many arguments say it by place
        of_text = said is not None and not (words & {"encoding", None} or len(node.args) >= said)
        of_text |= (
            name in STARTS
            and bool(words & {"text", "universal_newlines"})
            and not words & {"encoding", None}
        )
        of_text |= (
            name == "open" and not isinstance(node.func, ast.Attribute) and "b" not in mode_of(node)
        )
        of_text |= name == "fdopen" and "b" not in mode_of(node) and "encoding" not in words
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


HOLDS = {"rename", "unlink", "rmtree", "move", "removedirs"}


def impatient(path: Path) -> Iterator[str]:
    """What Windows refuses while anybody has a file open waits for it (`patiently`), or does without."""
    if path.relative_to(PACKAGE).as_posix() == "base/scratch.py":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    up = parents(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        module, name = ast.unparse(node.func.value), node.func.attr
        away = name in HOLDS and (name != "move" or module == "shutil")
        away |= module == "os" and name in ("replace", "remove", "rmdir")
        # a path's own: with one argument, where a text's has two, and a config's has names
        away |= name == "replace" and len(node.args) == 1 and not node.keywords
        if "ignore_errors" in {word.arg for word in node.keywords}:
            continue
        around: ast.AST = node
        told = ""
        while around in up and not isinstance(around, ast.FunctionDef):
            around = up[around]
            told += ast.unparse(around.func) if isinstance(around, ast.Call) else ""
            told += ast.unparse(around.items[0]) if isinstance(around, ast.With) else ""
        if away and "patiently" not in told and "suppress(OSError" not in told:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno} {module}.{name}"


def signals(path: Path) -> Iterator[str]:
    """On Windows `os.kill` with a signal 0 is Ctrl-C, and with any other the end: whoever asks, asks the system first."""
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        asked = "os.name" in text or "getattr(signal" in line
        if "os.kill(" in line and not asked:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{number} {line.strip()}"
        if "shell=True" in line or "os.system(" in line or "os.popen(" in line:
            yield f"{path.relative_to(PACKAGE).as_posix()}:{number} {line.strip()}"


LOOKS = [strange, separators, texts_without_encoding, impatient, signals]


@pytest.mark.parametrize("look", LOOKS, ids=lambda f: f.__name__)
def test_no_source_takes_the_system_for_a_posix_one(look: Callable[[Path], Iterator[str]]) -> None:
    found = [problem for path in SOURCES for problem in look(path)]
    assert not found, "\n".join(found)


SEEN = {
    "import os, fcntl\nos.killpg(1, 2)": [strange] * 2,
    "def f():\n    if hasattr(os, 'killpg'):\n        os.killpg(1, 2)": [],
    "os.sysconf('SC_PAGESIZE')": [strange],
    "name = str(p.relative_to(q))": [separators],
    'name = f"{p.relative_to(q)}"': [separators],
    "p.read_text()\np.open('w')\np.write_text(x)\nopen(p)": [texts_without_encoding] * 4,
    "p.read_text('utf-8')\np.open('wb')\np.write_text(x, encoding='utf-8')\nopen(p, 'rb')": [],
    "os.fdopen(1, 'w')\nsubprocess.run(x, text=True)": [texts_without_encoding] * 2,
    "os.fdopen(1, 'w', encoding='utf-8')\nsubprocess.run(x, text=True, encoding='utf-8')": [],
    "p.unlink()\np.replace(q)\nos.replace(p, q)\nshutil.rmtree(p)\np.rename(q)": [impatient] * 5,
    "patiently(lambda: p.replace(q))\nshutil.rmtree(p, ignore_errors=True)": [],
    "with suppress(OSError):\n    p.unlink()\n'a'.replace('a', 'b')\nconfig.replace(rounds=1)": [],
    "os.kill(pid, 0)\nsubprocess.run('x', shell=True)": [signals] * 2,
}


@pytest.mark.parametrize("text", SEEN)
def test_the_looks_see_what_they_should(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    source = tmp_path / "x.py"
    source.write_text(text, encoding="utf-8")
    found = [look for look in LOOKS for _ in look(source)]
    assert found == SEEN[text], list(map(list, (look(source) for look in LOOKS)))


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
    monkeypatch.setattr(scratch, "WINDOWS", True)
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
def test_what_is_moved_aside_or_removed_waits_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused file of a sync, the files of a kernel's workspace: a scanner holds them for a moment."""
    (tmp_path / "x.json").write_bytes(b"1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refusing(2, os.replace))
        set_aside(tmp_path / "x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.syftrejected.json"]
    (tmp_path / "folder").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refusing(2, os.unlink))
        patch.setattr(shutil, "rmtree", refusing(2, shutil.rmtree))
        workspace._empty(tmp_path)
    assert list(tmp_path.iterdir()) == []


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

    monkeypatch.setattr(scratch, "WINDOWS", False)
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
