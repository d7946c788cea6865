"""Packages that fedkit can't be tested beside: each lot in an environment of its own, made on first use under `runs/`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support import ROOT

__all__ = ["own_python"]


def own_python(
    name: str,
    stages: Mapping[str, Sequence[Sequence[str]]],
    required: str,
    *,
    lends: bool = False,
) -> Path:
    """The interpreter of the environment `name`, with what each stage installs, one pip after the other.

    required : a variable; where it is set, a failure fails the test instead of skipping it. lends : this interpreter's own
    packages can be imported too, behind the environment's.
    """
    home = ROOT / "runs" / "test-venvs" / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(home.with_name(f"{name}.lock")):  # several workers test with it
        if not any((home / stage).exists() for stage in stages):
            venv.create(home, clear=True, with_pip=True)
        for stage, wanted in stages.items():
            if not (home / stage).exists():
                for packages in wanted:
                    _install(python, packages, name, required)
                (home / stage).touch()
        if lends:
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            own = home / ("Lib" if os.name == "nt" else f"lib/{version}") / "site-packages"
            (own / "zz_lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _install(python: Path, packages: Iterable[str], name: str, required: str) -> None:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    answer = subprocess.run([*pip, *packages], capture_output=True, text=True, check=False)
    if answer.returncode:
        version = sys.version.split()[0]
        why = f"{name} can't be installed on Python {version}: {answer.stderr[-300:]}"
        pytest.fail(why) if os.environ.get(required) else pytest.skip(why)
