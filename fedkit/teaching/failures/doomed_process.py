"""The process of its own in which a fault takes the process, or its disk, away.

`run_child` starts this file as a program; arguments: data dir, e-mail, app_data, what happens ("killed" or "disk full").
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fedkit.base.events import Problem, Waiting, render
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import entries
from fedkit.protocol.advance import advance

__all__ = ["run_child"]


_SMALL_DISK = 2**16


def main(data_dir: str, email: str, app_data: str, fate: str) -> int:
    """Move the datasite until the fault happens; print the last thing that fedkit says about it."""
    site = Datasite(Path(data_dir), email, "api_data" if app_data == "api_data" else "app_data")
    asked, middle = 0, _middle(site) if fate == "killed" else 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if fate == "killed" and asked > middle:
            _say("killed in the middle of training")
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return False

    if fate == "disk full" and not _limit_file_size():
        _say("this system can't limit the size of a process's files")
        return 1
    events = [e for e in advance(site, stop=stop) if isinstance(e, Problem | Waiting)]
    problems = [e for e in events if isinstance(e, Problem)]
    for event in problems or events:
        _say(render(event))
    return 0


def _middle(site: Datasite) -> int:
    """Batches after which the first local epoch is half done."""
    (place, *_) = entries(site.client().running)
    _, labels = site.private.load()
    return len(labels) // (2 * FLConfig.load(place / "fl_config.json").batch_size)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _limit_file_size() -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_SMALL_DISK, _SMALL_DISK))
    return True


_LOOK_AGAIN_S = 0.1


def run_child(site: Datasite, kind: str, stop: Callable[[], bool]) -> str | None:
    """Let a process move this participant and meet its end ("killed" or "disk full").

    Returns the last thing it said, None where `stop` ended it before.
    """
    arguments = [str(site.data_dir), site.email, site.app_data, kind]
    with subprocess.Popen(
        [sys.executable, str(Path(__file__)), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
