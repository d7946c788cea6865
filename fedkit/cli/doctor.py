"""`fedkit doctor`: what this machine has and lacks for fedkit, one finding a check, each with its remedy."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from fedkit.base.distribution import (
    DISTRIBUTION,
    EXTRAS,
    VERSION,
    clone,
    how_to_install,
    is_there,
    requirements,
)
from fedkit.base.errors import FedkitError
from fedkit.cli.doctor_roads import Finding, flower, road
from fedkit.cli.output import DONE, FAILED, say

__all__ = ["Finding", "check_requirement", "doctor", "examine"]


OLDEST_PYTHON = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
IMPORT_NAMES = {
    "ipython": "IPython",
    "pillow": "PIL",
    "python-dotenv": "dotenv",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
"""Where the name to import is not the package's own with `_` for `-`."""

NAMESAKE = "fedkit"
_PATIENCE_S = 300  # torch from a cold disk takes a minute
INSTALL = (
    f"install {DISTRIBUTION} again, into an environment of its own"
    if clone() is None
    else "run `make setup` in the clone, or `pip install -e .` there"
)


def doctor(
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="Is this one free?")
    ] = 8080,
) -> None:
    """Look for what fedkit needs on this machine: a line a check, with the remedy."""
    findings = examine(port)
    for finding in findings:
        sign = "ok     " if finding.ok else "MISSING" if finding.essential else "note   "
        style = None if finding.ok else "red" if finding.essential else "yellow"
        say(f"{sign} {finding.what}{' -> ' + finding.remedy if finding.remedy else ''}", style)
    missing = [finding for finding in findings if not finding.ok and finding.essential]
    say(f"{len(missing)} of {len(findings)} are missing." if missing else "fedkit can run here.")
    raise typer.Exit(FAILED if missing else DONE)


def examine(port: int) -> list[Finding]:
    """Every check in order; none of them changes anything. `port` is looked at for being free."""
    version = ".".join(map(str, sys.version_info[:3]))
    enough = sys.version_info >= OLDEST_PYTHON
    wanted = ".".join(map(str, OLDEST_PYTHON))
    python = Finding(f"Python {version}", enough, "" if enough else f"install {wanted} or newer")
    loaded = _apart([*_requirements(), *_QUESTIONS])
    browser = [_browser()] if clone() is not None else []  # the tests alone need it
    rest = [_folder(), _kernel(), *browser, _port(port), *_card(), *road(), *flower()]
    return [Finding(f"fedkit {VERSION}", True), python, *loaded, *_namesake(), *_extras(), *rest]


def check_requirement(line: str) -> Finding:
    """Is a package there as `name>=version` wants it, and can it be imported?"""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        return Finding(f"{line} (not understood)", False, INSTALL, essential=False)
    name = wanted.name
    try:
        there = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(f"{name} is not installed", False, INSTALL)
    if not wanted.specifier.contains(there, prereleases=True):
        least = str(wanted.specifier).removeprefix(">=")
        return Finding(f"{name} {there} is older than {least}", False, INSTALL)
    try:
        importlib.import_module(IMPORT_NAMES.get(name.lower(), name.lower().replace("-", "_")))
    except Exception as error:  # a package with a broken library raises anything
        what = f"{name} {there} can't be imported ({_short(error)})"
        return Finding(what, False, f"pip install --force-reinstall {name}")
    return Finding(f"{name} {there}", True)


def _requirements() -> list[str]:
    """What fedkit itself needs, and what is installed of what the lessons need beside it."""
    found = []
    for line in requirements():
        wanted, _, marker = line.partition(";")
        extra = marker.replace('"', "'").rpartition("extra == '")[2].rstrip("' ")
        if not extra or (extra in ("notebooks", "privacy") and _installed(wanted)):
            found.append(wanted.strip())
    return found


def _installed(line: str) -> bool:
    from packaging.requirements import Requirement

    return bool(list(metadata.distributions(name=Requirement(line).name)))


def _namesake() -> list[Finding]:
    """Another project's `fedkit`, which PyPI has: it writes over this one's files, or this one over its."""
    try:
        other = metadata.distribution(NAMESAKE)
    except metadata.PackageNotFoundError:
        return []
    commands = {entry.value for entry in other.entry_points}
    if "fedkit.cli.main:main" in commands:  # this project, as it was called up to 0.1.0
        what = f"this project is installed a second time, by its old name {NAMESAKE}"
        remedy = f"pip uninstall {NAMESAKE}, then install {DISTRIBUTION} again"
        return [Finding(what, False, remedy, essential=False)]
    what = f"another project called {NAMESAKE} is installed ({other.version}): both own the folder fedkit/"
    remedy = f"an environment of its own for each: here, pip uninstall {NAMESAKE}, then install {DISTRIBUTION} again"
    return [Finding(what, False, remedy)]


def _extras() -> list[Finding]:
    """Which extras are there, and what each gives; none is needed by everybody."""
    found = []
    for name, extra in EXTRAS.items():
        lacking = [module for module in extra.modules if not is_there(module)]
        what = f"extra [{name}]: {extra.gives}"
        if lacking:
            what += f" (not installed: {', '.join(lacking)})"
        found.append(Finding(what, not lacking, how_to_install(name) if lacking else "", False))
    return found


def _apart(asked: list[str]) -> list[Finding]:
    """What needs torch and the other packages, looked at in a Python of its own: a broken library may end its Python."""
    found: list[Finding] = []
    while len(found) < len(asked):
        command = [sys.executable, "-m", "fedkit.cli.doctor", *asked[len(found) :]]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE_S)
            told, how = done.stdout, f"ends Python (exit code {done.returncode})"
        except subprocess.TimeoutExpired as error:
            told, how = error.stdout or b"", f"has not ended after {_PATIENCE_S} s"
        found += [Finding(**json.loads(line)) for line in told.splitlines()]
        if len(found) < len(asked):
            found.append(Finding(f"{asked[len(found)]} {how}", False, INSTALL))
    return found


def _answer(asked: list[str]) -> None:
    """The other Python's side: a line of JSON for each question."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a package prints is no answer
    for line in asked:
        try:
            finding = _QUESTIONS[line]() if line in _QUESTIONS else check_requirement(line)
        except Exception as error:
            what = f"{line}: nothing can be said ({_short(error)})"
            finding = Finding(what, False, "put right what is missing above, and look again")
        answers.write(json.dumps(asdict(finding)) + "\n")
        answers.flush()


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _threads() -> Finding:
    import torch

    import fedkit.learning.training  # noqa: F401  (it is what sets the number)

    count = torch.get_num_threads()
    remedy = "set OMP_NUM_THREADS=1: models this small lose time to a second thread"
    return Finding(f"torch trains with {count} thread(s)", count == 1, "" if count == 1 else remedy)


def _data() -> Finding:
    from fedkit.data.mnist import load_mnist

    try:
        mnist = load_mnist()
    except FedkitError as error:
        return Finding(f"the digits: {error.file} {error.what}", False, error.remedy or "")
    return Finding(f"the digits: {len(mnist.train_images):,} and {len(mnist.test_images):,}", True)


_QUESTIONS = {"torch's threads": _threads, "the digits": _data}


def _card() -> list[Finding]:
    """An NVIDIA card, where the extra `gpu` can ask for it: its name, and whether this torch can train on it."""
    try:
        import pynvml

        pynvml.nvmlInit()
        names = [
            str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(number)))
            for number in range(pynvml.nvmlDeviceGetCount())
        ]
        driver = str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # no such package, no driver, no card: nothing to say
        return []
    what = f"{', '.join(names)}, driver {driver}"
    asked = "import torch; raise SystemExit(not torch.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False).returncode:
        remedy = "install the torch for it, by the selector on pytorch.org"
        return [Finding(f"{what}; this torch can't use it", False, remedy, essential=False)]
    return [Finding(f"{what}; --device cuda trains on it", True)]


def _folder() -> Finding:
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here):
            return Finding(f"{here} can be written to", True)
    except OSError as error:
        return Finding(f"{here} can't be written to ({error.strerror})", False, "work elsewhere")


def _kernel() -> Finding:
    what, remedy = "JupyterLab's kernel python3", "python -m ipykernel install --sys-prefix"
    if not is_there("ipykernel"):
        remedy = how_to_install("notebooks")
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        spec = KernelSpecManager().get_kernel_spec("python3")
        program = spec.argv[0]
    except Exception as error:
        return Finding(f"{what} is not there ({type(error).__name__})", False, remedy, False)
    same = program in ("python", "python3") or Path(program).absolute() == Path(sys.executable)
    if same:
        return Finding(f"{what} is this Python", True)
    remedy = "set JUPYTER_PREFER_ENV_PATH=1, or run `jupyter kernelspec remove python3`"
    return Finding(f"{what} is another Python ({program})", False, remedy, essential=False)


def _browser() -> Finding:
    named = os.environ.get("FEDKIT_CHROMIUM")
    found = (
        named
        if named and Path(named).exists()
        else next(filter(None, map(shutil.which, BROWSERS)), None)
    )
    if found:
        return Finding(f"Chromium: {found}", True, essential=False)
    remedy = "only the browser tests need it: `make browser`"
    return Finding("no Chromium", False, remedy, essential=False)


def _port(port: int) -> Finding:
    with socket.socket() as attempt:
        if os.name != "nt":
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = "choose another one with --port"
            return Finding(f"port {port} is taken ({error.strerror})", False, remedy, False)
    return Finding(f"port {port} is free", True)


if __name__ == "__main__":
    _answer(sys.argv[1:])
