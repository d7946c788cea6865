"""A package as the registry of npm or pip sends it: one archive, of which no script is run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fedkit.base.errors import FedkitError

__all__ = ["by_npm", "by_pip"]


_PATIENCE_S = 300.0


def by_npm(what: str, folder: Path) -> Path:
    """Fetch the archive of `what`, a name@version, into `folder`, which is empty. Nobody has looked at its bytes yet.

    Raises FedkitError where npm is missing, takes longer than five minutes, or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FedkitError(
            f"npm is missing, and {what} comes from it",
            remedy="install Node.js (on Debian and Ubuntu: apt-get install npm)",
        )
    options = ("--silent", "--ignore-scripts", "--pack-destination", str(folder), what)
    return _brought("npm", [npm, "pack", *options], what, folder)


def by_pip(what: str, folder: Path) -> Path:
    """The same of `what`, a name==version, as a wheel. Raises FedkitError where pip takes longer, or fails."""
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), what)
    return _brought("pip", [sys.executable, "-m", "pip", "download", *options], what, folder)


def _brought(manager: str, command: Sequence[str], what: str, folder: Path) -> Path:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
        why = (done.stderr or done.stdout).strip()[-300:]
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"{type(error).__name__}: {error}"
    archives = [*folder.iterdir()]
    if len(archives) != 1:
        raise FedkitError(
            f"{manager} could not fetch {what}",
            why=why or "no answer",
            remedy=f"look at the network, and at {manager}'s own settings",
        )
    return archives[0]
