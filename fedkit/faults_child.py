"""A participant's process that is about to meet its end; started by `fedkit.faults_process`, never imported.

Arguments: data dir, e-mail, app_data, and what happens ("killed" or "disk full").
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fedkit.base.events import Problem, Waiting, render
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import read_shard
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.advance import advance

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
    (place, *_) = sorted(site.client().running.iterdir())
    _, labels = read_shard(site.private_client)
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
