"""The process of its own in which a fault takes the process, or its disk, away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fedkit.datasite.datasite import Datasite

__all__ = ["run_child"]

_CHILD = Path(__file__).with_name("faults_child.py")
_LOOK_AGAIN_S = 0.1


def run_child(site: Datasite, kind: str, stop: Callable[[], bool]) -> str | None:
    """Let a process move this participant and meet its end ("killed" or "disk full").

    Returns the last thing it said, None where `stop` ended it before.
    """
    arguments = [str(site.data_dir), site.email, site.app_data, kind]
    with subprocess.Popen(
        [sys.executable, str(_CHILD), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        while True:
            try:
                said, _ = child.communicate(timeout=_LOOK_AGAIN_S)
                lines = said.strip().splitlines() or [f"ended with code {child.returncode}"]
                return lines[-1]
            except subprocess.TimeoutExpired:
                if stop():
                    child.kill()
                    return None
