"""A folder of its own for what a notebook writes, empty at each start."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from fedkit.base.errors import FedkitError

__all__ = ["workspace"]

ENVIRONMENT = "FEDKIT_WORKSPACE"  # `fedkit course run` gives every notebook a place of its own
MARKER = ".fedkit-workspace"


def workspace(name: str) -> Path:
    """An empty folder for a notebook's datasites: `runs/<name>` beside the notebook.

    Whatever an earlier run of the same notebook left there is removed, so that a second run starts as the first did.
    A folder that `workspace` has not made is never emptied: that raises FedkitError, as does a name with anything
    but letters, digits, `_` and `-`.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
        raise FedkitError(
            f"{name!r} can't name a workspace",
            field="name",
            remedy="use letters, digits, _ and - only, such as fk.workspace('04')",
        )
    folder = Path(os.environ.get(ENVIRONMENT, "runs")) / name
    if folder.is_symlink() or (folder.exists() and not _is_ours(folder)):
        raise FedkitError(
            "is not a workspace of fedkit, and won't be emptied",
            file=folder,
            remedy="move it away, or choose another name",
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    return folder


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARKER).is_file() or not any(folder.iterdir()))
