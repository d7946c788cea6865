"""The distribution as others get it: built, and installed into environments of its own that see nothing of the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.support import ROOT
from tests.support.environments import own_python

__all__ = ["Installed", "build", "closure", "install", "run", "tool"]

TOOLS = ["build", "hatchling", "twine", "check-wheel-contents", "uv", "pipx"]
LIMIT_S = 570.0


def tool(name: str) -> Path:
    """A program of the packager's, in an environment of its own."""
    python = own_python("packager", {"tools": [TOOLS]}, "FEDKIT_REQUIRE_PACKAGER")
    return python.with_name(name + python.suffix)


def run(*command: object, cwd: Path | None = None, code: int = 0, **more: str) -> str:
    """Run a program outside the clone's reach; returns all that it said, and fails where it ends otherwise."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "FEDKIT_DATA")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment | {"OMP_NUM_THREADS": "1"} | more,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def build(source: Path, out: Path, *kinds: str) -> list[Path]:
    """Build "sdist", "wheel" from `source`, with hatchling; returns what lies in `out`."""
    wanted = [f"--{kind}" for kind in kinds]
    run(tool("python"), "-m", "build", "--no-isolation", *wanted, "--outdir", out, source)
    return sorted(out.iterdir())


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    python: Path

    def fedkit(self, *words: object, cwd: Path, code: int = 0, **more: str) -> str:
        """The command, as somebody types it there."""
        program = self.python.with_name("fedkit" + self.python.suffix)
        return run(program, *words, cwd=cwd, code=code, **more)


def install(wheel: Path, home: Path, lent: Iterable[str]) -> Installed:
    """A fresh environment with the wheel; of this Python's distributions it sees those named in `lent`, linked."""
    venv.create(home, with_pip=True)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    folder = home / "lent"
    folder.mkdir()
    for name in lent:
        for path in metadata.distribution(name).files or ():
            top = path.parts[0]
            link = folder / top
            if top not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(Path(str(path.locate())).parents[len(path.parts) - 1] / top)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (home / "lib" / version / "site-packages" / "zz_lent.pth").write_text(f"{folder}\n")
    seen = run(python, "-c", "import sys, fedkit; print(fedkit.__file__, *sys.path)", cwd=home)
    assert str(ROOT) not in seen
    assert str(home) in seen.split()[0]
    return Installed(python)


def closure(requirements: Iterable[str]) -> set[str]:
    """What is installed here of these requirements and of all that they require in turn."""
    found: set[str] = set()
    todo = list(requirements)
    while todo:
        wanted = Requirement(todo.pop())
        name = wanted.name.lower().replace("_", "-")
        extras = ["", *wanted.extras]
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for line in requires:
            marker = Requirement(line).marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(line.partition(";")[0])
    return found
