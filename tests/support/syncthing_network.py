"""Syncthing itself, on loopback: an instance for each person, all of which share the folder `datasites`.

Nobody is looked for (no discovery, local or global), nothing is relayed, no port is opened at a router (no NAT, no STUN),
nothing is reported or upgraded: instances know each other's address on 127.0.0.1. Each has a home below the test's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.cli import free_port
from tests.support.processes import Processes

__all__ = ["SyncthingNetwork", "syncthing_program"]

_FOLDER = "datasites"
_OFF = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "stunKeepaliveStartS": "0",
    "urAccepted": "-1",
    "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0",
    "announceLANAddresses": "false",
    "startBrowser": "false",
    "reconnectionIntervalS": "1",
    "setLowPriority": "false",
}


def syncthing_program() -> str:
    """Where `syncthing` is. Skips where it is not installed; fails where it has to be."""
    found = shutil.which("syncthing")
    if found is None:
        why = "no syncthing: `make syncthing` installs Debian's where it may"
        pytest.fail(why) if os.environ.get("FEDKIT_REQUIRE_SYNCTHING") else pytest.skip(why)
    return str(found)


class SyncthingNetwork:
    """An instance for each e-mail: processes that end with the `with` block. dirs : each one's data dir."""

    def __init__(self, root: Path, emails: Iterable[str]) -> None:
        self.root, self.program = root, syncthing_program()
        self.dirs = {email: root / "people" / email for email in emails}
        self._homes = {email: root / "syncthing" / email for email in self.dirs}
        self._ports = {email: free_port() for email in self.dirs}
        self._pages = {email: free_port() for email in self.dirs}
        self._key = secrets.token_hex(16)
        (root / "home").mkdir(parents=True)
        self.processes = Processes(root, self._env())

    def __enter__(self) -> Self:
        try:
            ids = {email: self._generate(email) for email in self.dirs}
            for email in self.dirs:
                self._configure(email, ids)
            for email in self.dirs:
                self.start(email)
            self.processes.wait(self._connected, "all are connected")
        except BaseException:
            self.processes.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.end()

    def start(self, email: str) -> None:
        """Start one instance."""
        quiet = ("--no-browser", "--no-restart", "--no-upgrade")
        self.processes.start(email, self.program, "serve", "--home", self._homes[email], *quiet)

    def wait(self, true: Callable[[], bool], what: str, moves: Callable[[], object] = bool) -> None:
        """`Processes.wait`; instances look at once for what has changed, where their own watch would wait for a second."""

        def move_and_scan() -> None:
            moves()
            for email in self.dirs:
                with contextlib.suppress(OSError):  # one that was killed
                    self._ask(email, f"db/scan?folder={_FOLDER}", b"")

        self.processes.wait(true, what, move_and_scan)

    def kill(self, email: str) -> None:
        """End one instance at once."""
        self.processes.kill(email)

    def datasites(self, email: str) -> Path:
        """One person's copy of the shared folder."""
        return self.dirs[email] / _FOLDER

    def carried_bytes(self) -> int:
        """What all instances have sent to each other so far, in bytes, as they count it themselves."""
        told = [self._ask(email, "system/connections")["total"] for email in self.dirs]
        return sum(int(total["outBytesTotal"]) for total in told)

    def _env(self) -> dict[str, str]:
        # with STMONITORED it starts no second process, which would outlive the first one
        own = {"HOME": str(self.root / "home"), "STNOUPGRADE": "1", "STMONITORED": "yes"}
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "GOMAXPROCS": "1"} | own

    def _generate(self, email: str) -> str:
        """Make an instance's keys and config; returns its device's ID."""
        home = self._homes[email]
        home.mkdir(parents=True)
        self.datasites(email).mkdir(parents=True, exist_ok=True)
        how = ["--home", str(home), "--no-default-folder", "--skip-port-probing"]
        command = [self.program, "generate", *how]
        subprocess.run(command, env=self._env(), capture_output=True, check=True)
        device = ET.parse(home / "config.xml").getroot().find("device")
        assert device is not None
        return device.attrib["id"]

    def _configure(self, email: str, ids: dict[str, str]) -> None:
        path = self._homes[email] / "config.xml"
        tree = ET.parse(path)
        root = tree.getroot()
        for old in [*root.findall("device"), *root.findall("folder")]:
            root.remove(old)
        folder = ET.SubElement(
            root,
            "folder",
            id=_FOLDER,
            path=str(self.datasites(email)),
            type="sendreceive",
            rescanIntervalS="3600",
            fsWatcherEnabled="true",
            fsWatcherDelayS="1",
            ignorePerms="true",
        )
        for other, device in ids.items():
            entry = ET.SubElement(root, "device", id=device, name=other)
            address = f"tcp://127.0.0.1:{self._ports[other]}" if other != email else "dynamic"
            ET.SubElement(entry, "address").text = address
            ET.SubElement(folder, "device", id=device)
        _set(root, "gui", {"address": f"127.0.0.1:{self._pages[email]}", "apikey": self._key})
        options = root.find("options")
        assert options is not None
        for name in ("listenAddress", "globalAnnounceServer", "stunServer"):
            for old in options.findall(name):
                options.remove(old)
        listen = {"listenAddress": f"tcp://127.0.0.1:{self._ports[email]}"}
        _set(root, "options", _OFF | listen)
        tree.write(path)

    def _connected(self) -> bool:
        assert self.processes.alive(), self.processes.said()
        try:
            told = [self._ask(email, "system/connections")["connections"] for email in self.dirs]
        except (OSError, ValueError):
            return False
        others = len(self.dirs) - 1
        return all(sum(c["connected"] for c in one.values()) == others for one in told)

    def _ask(self, email: str, what: str, body: bytes | None = None) -> Any:
        url = f"http://127.0.0.1:{self._pages[email]}/rest/{what}"
        asked = urllib.request.Request(url, body, {"X-API-Key": self._key})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def _set(root: ET.Element, part: str, values: dict[str, str]) -> None:
    place = root.find(part)
    assert place is not None
    for name, value in values.items():
        found = place.find(name)
        (ET.SubElement(place, name) if found is None else found).text = value
