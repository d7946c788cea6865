"""SyftBox 0.4.0: what its client keeps in a data dir, and fedkit as an app that this client starts.

Its `config.json` belongs to the SyftBox client, and is only read here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file, write_bytes
from fedkit.base.scratch import move, patiently
from fedkit.config.client_config import ClientConfig

__all__ = ["APP", "has_started", "install", "read_config"]


APP = "fedkit"
"""The name of the app's folder."""

_RUN = """\
#!/bin/sh
# fedkit, started by the SyftBox client; remove this folder to uninstall it.
# The client runs its apps one after the other, again and again, and waits for each: so fedkit works behind this script,
# once, and ends when the client does.
read -r client worker 2>/dev/null <running
[ "$client" = "$PPID" ] && kill -0 "$worker" 2>/dev/null && exit 0
export OMP_NUM_THREADS=1{environment}
{python} -m fedkit client --syftbox "$SYFTBOX_CLIENT_CONFIG_PATH" --parent "$PPID" </dev/null >>fedkit.log 2>&1 &
echo "$PPID $!" >running
"""


def has_started(data_dir: Path) -> bool:
    """Has a SyftBox client been started in this data dir? Then it never offers to remove what lies there."""
    return is_file(data_dir / ".metadata.json")


def read_config(path: Path | None = None) -> ClientConfig:
    """E-mail and data dir of a SyftBox client. Raises FedkitError, also where it has never been started there.

    path : of its `config.json`; default as for `ClientConfig.load`.
    """
    config = ClientConfig.load(path, "start the SyftBox client once: it writes it")
    if not has_started(config.data_dir):
        raise FedkitError(
            "is no folder of SyftBox's yet",
            file=config.data_dir,
            why="At its first start, SyftBox offers to remove whatever lies there, private/ too",
            remedy="start the SyftBox client first, then this command again",
        )
    return config


def install(config: ClientConfig) -> Path:
    """Make fedkit an app of a SyftBox client, or renew it; returns its folder. Raises FedkitError.

    It runs with this very interpreter, and with the PYTHONPATH of now, since the client gives its apps neither.
    """
    if os.name == "nt":
        raise FedkitError(
            "can't be an app on Windows",
            field="fedkit",
            why="SyftBox starts its apps through sh",
            remedy="run `fedkit client --syftbox CONFIG` beside the SyftBox client",
        )
    paths = [
        str(Path(p).absolute()) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p
    ]
    environment = f"\nexport PYTHONPATH={shlex.quote(os.pathsep.join(paths))}" if paths else ""
    text = _RUN.format(python=shlex.quote(sys.executable), environment=environment)
    apps = config.data_dir / "apps"
    # aside: the client's scheduler must not meet half an app
    staged = config.data_dir / ".fedkit" / "app"
    shutil.rmtree(staged, ignore_errors=True)
    write_bytes(staged / "run.sh", text.encode(), mode=0o755)
    target = apps / APP
    try:
        if target.is_dir():  # one that is running goes on; the next start takes the new one
            patiently(lambda: (staged / "run.sh").replace(target / "run.sh"))
        else:
            apps.mkdir(exist_ok=True)
            move(staged, target)
    except OSError as error:
        remedy = "make apps/ a folder that you may write to"
        what = f"can't be installed ({error.strerror})"
        raise FedkitError(what, file=target, remedy=remedy) from error
    return target
