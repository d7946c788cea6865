"""PySyft 0.10 itself, in an environment of its own; and datasites on its road in one process, over its own mock drive."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from fedkit.base.events import Event, Problem, Waiting
from fedkit.base.files import write_dataset
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.federation.roads.pysyft import keep_people
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from tests.support import ROOT
from tests.support.cli import free_port
from tests.support.environments import own_python
from tests.support.helpers import AGGREGATOR, held_out, shard

__all__ = ["PYSYFT", "OverPySyft", "PySyftProcesses", "pysyft_python"]

PYSYFT = "syft==0.10.0"


@functools.cache
def pysyft_python() -> Path:
    """An interpreter with PySyft and all that is here: this one if it has it, else an environment's, made on first use."""
    try:
        if metadata.version("syft").startswith("0.10."):
            return Path(sys.executable)
    except metadata.PackageNotFoundError:
        pass
    return own_python(PYSYFT, {"done": [[PYSYFT]]}, "FEDKIT_REQUIRE_PYSYFT", lends=True)


class OverPySyft:
    """Datasites in data dirs of their own, on one mock drive of PySyft's; a star around the aggregator."""

    def __init__(self, root: Path, people: Iterable[str], aggregator: str = AGGREGATOR) -> None:
        from syft.sync.connections.drive.mock_drive_service import MockDriveBackingStore

        self.aggregator, self.people = aggregator, list(people)
        self.store = MockDriveBackingStore()
        self.sites: dict[str, Datasite] = {}
        self.syncs: dict[str, Any] = {}
        self.said: dict[str, list[Event]] = {}
        for email in dict.fromkeys([aggregator, *self.people]):
            write_road(root / email, "pysyft")
            self.sites[email] = Datasite.create(root / email, email)
            self.said[email] = []
            met = self.people if email == aggregator else [aggregator]
            keep_people(self[email], [who for who in met if who != email])
            self.start(email)
        for number, email in enumerate(self.people):
            write_shard(self[email].private_client, shard([2 * number, 2 * number + 1]))
        write_dataset(self[aggregator].private_aggregator / "mnist_test_dataset.pt", *held_out())

    def __getitem__(self, email: str) -> Datasite:
        return self.sites[email]

    def start(self, email: str) -> None:
        """Begin anew with what lies on the disk, as after a restart."""
        from fedkit.federation.roads.pysyft_sync import PySyftSync

        self.syncs[email] = PySyftSync(self[email], store=self.store)

    def sync(self, *who: str) -> list[Event]:
        """A pass of each of these, or of all; what they said."""
        events: list[Event] = []
        for email in who or self.sites:
            self.syncs[email].meeting.due = 0.0  # nobody waits in a test
            found = self.syncs[email]()
            self.said[email] += found
            events += found
        return events

    def run(self, looks: int = 60) -> list[Event]:
        """Everybody looks in turn, until all are done or nothing moves; what everybody said last."""
        last: dict[str, list[Event]] = {}
        still = 0
        for _ in range(looks):
            moved = False
            for email, site in self.sites.items():
                self.sync(email)
                last[email] = answer(site, approve_all) + node.advance(site)
                moved |= self.syncs[email].moved
                moved |= any(not isinstance(e, Waiting | Problem) for e in last[email])
            still = 0 if moved else still + 1
            if still == 2:
                break
        return [event for events in last.values() for event in events]


class PySyftProcesses:
    """A `fedkit client --transport pysyft` for each datasite, over a folder that plays the drive: processes of their own,
    which end with the `with` block."""

    def __init__(self, root: Path, people: Iterable[str], aggregator: str = AGGREGATOR) -> None:
        self.root, self.drive, self.aggregator = root, root / "drive", aggregator
        self.sites: dict[str, Datasite] = {}
        for email in dict.fromkeys([aggregator, *people]):
            write_road(root / email, "pysyft")
            self.sites[email] = Datasite.create(root / email, email)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for email in self.sites:
            self.start(email)
        return self

    def __exit__(self, *_: object) -> None:
        for email in self._processes:
            self.kill(email)

    def start(self, email: str) -> None:
        """Start a client, or start it again."""
        command = [pysyft_python(), "-m", "fedkit.cli.main", "client", "--email", email]
        command += ["--data-dir", self.root / email, "--port", str(free_port())]
        command += ["--config_path", self.root / email / "config.json"]
        command += ["--transport", "pysyft", "--drive", self.drive]
        command += ["--peer", self.aggregator] if email != self.aggregator else []
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with (self.root / f"{email}.log").open("ab") as log:
            self._processes[email] = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, email: str) -> None:
        """SIGKILL, at whatever it is doing."""
        self._processes[email].kill()
        self._processes[email].wait()

    def until_done(
        self, project: str, moves: Callable[[], object] = bool, patience_s: float = 240.0
    ) -> None:
        """Approve what is asked and call `moves`, again and again, until everybody is done. Fails with what was said."""
        end = time.monotonic() + patience_s
        boxes = [
            site.aggregator() if email == self.aggregator else site.client()
            for email, site in self.sites.items()
        ]
        while not all((box.done / project).is_dir() for box in boxes):
            assert time.monotonic() < end, self.said()
            for email, process in self._processes.items():
                assert process.poll() is None, f"{email} has ended: {self.said()}"
            moves()
            for site in self.sites.values():
                answer(site, approve_all)
            time.sleep(0.05)

    def said(self) -> str:
        """The last lines of every client."""
        return "\n".join(f"{p.name}: {p.read_text()[-1500:]}" for p in self.root.glob("*.log"))

    def crossed(self) -> int:
        """Bytes that lie on the drive: nothing there is ever deleted."""
        return sum(path.stat().st_size for path in self.drive.glob("*/content"))
