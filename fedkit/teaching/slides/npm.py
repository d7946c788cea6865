"""A package of npm as its registry sends it: one archive, of which no script is run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from fedkit.base.errors import FedkitError

__all__ = ["PATIENCE_S", "packed"]


PATIENCE_S = 300.0


def packed(what: str, folder: Path) -> Path:
    """Fetch the archive of `what`, a name@version, into `folder`, which is empty. Nobody has looked at its bytes yet.

    Raises FedkitError where npm is missing, takes longer than `PATIENCE_S`, or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FedkitError(
            f"npm is missing, and {what} comes from it",
            remedy="install Node.js (on Debian and Ubuntu: apt-get install npm)",
        )
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), what]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
        why = (done.stderr or done.stdout).strip()[-300:]
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"{type(error).__name__}: {error}"
    archives = [*folder.glob("*.tgz")]
    if len(archives) != 1:
        raise FedkitError(
            f"npm could not fetch {what}",
            why=why or "no answer",
            remedy="look at the network, and at npm's own settings",
        )
    return archives[0]
