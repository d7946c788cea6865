"""SyftBox 0.4.0 itself, in an environment of its own: its interpreter, and its server and clients on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tests.support.cli import free_port
from tests.support.environments import own_python
from tests.support.processes import Processes

__all__ = ["SYFTBOX", "SyftBoxNetwork", "syftbox_python"]

SYFTBOX = "syftbox==0.4.0"

_WITH = ["wcmatch==10.0", "pydantic[email]==2.11.3", "pyyaml==6.0.2", "loguru==0.7.3"]
"""What its code of permissions imports, in the versions that it names; its client and server stay away."""

_STAGES = {
    "done": [["--no-deps", SYFTBOX], _WITH],
    "network": [[SYFTBOX, "click<8.2"]],  # with a newer click its client does not start
}


def syftbox_python(network: bool = False) -> Path:
    """The interpreter of SyftBox's environment, made on first use under `runs/`. network : its client and server too.

    Skips where it can't be made; fails where one has to be there.
    """
    stages = _STAGES if network else {"done": _STAGES["done"]}
    return own_python(SYFTBOX, stages, "FEDKIT_REQUIRE_SYFTBOX")


class SyftBoxNetwork:
    """A server and a client for each e-mail: processes that end with the `with` block. Nothing leaves loopback.

    configs : each client's config.json. dirs : each client's data dir.
    """

    def __init__(self, root: Path, emails: Iterable[str]) -> None:
        self.root, self.bin = root, syftbox_python(network=True).parent
        self.dirs = {email: root / "clients" / email for email in emails}
        self.configs = {email: root / "configs" / email / "config.json" for email in self.dirs}
        self.port = free_port()
        self.processes = Processes(root, self._env())
        self.wait, self.stop = self.processes.wait, self.processes.stop

    def __enter__(self) -> Self:
        try:
            (self.root / "home").mkdir()
            migrate = [self.bin / "syftbox", "server", "migrate"]
            subprocess.run(
                migrate, env=self.processes.env, cwd=self.root, capture_output=True, check=True
            )
            where = ["--host", "127.0.0.1", "--port", str(self.port)]
            self.processes.start(
                "server", self.bin / "uvicorn", "syftbox.server.server:app", *where
            )
            self.wait(self._answers, "the server answers")
            for email in self.dirs:
                self._start_client(email)
            for email, folder in self.dirs.items():
                root = folder / "datasites" / email
                self.wait((root / "syftperm.yaml").is_file, f"the datasite of {email}")
        except BaseException:
            self.processes.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.end()

    def _start_client(self, email: str) -> None:
        # without -s it would look for OpenMined's own server
        self.processes.start(
            email,
            *(self.bin / "syftbox", "client", "--no-open-dir", "-v", "-e", email),
            *("-s", f"http://127.0.0.1:{self.port}", "-p", str(free_port())),
            *("-c", self.configs[email], "-d", self.dirs[email]),
        )

    def _env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}{os.pathsep}/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root / "home"),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "SYFTBOX_AUTH_ENABLED": "false",
            "SYFTBOX_DATA_FOLDER": str(self.root / "server"),
            "SYFTBOX_DISABLE_ICONS": "true",
            "SYFTBOX_ENV": "DEV",
            "SYFTBOX_OTEL_ENABLED": "false",
        }

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
