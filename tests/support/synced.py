"""A folder that every member writes to, as Syncthing or a network share makes one: the newest copy of a file wins."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fedkit.base.events import Event, Problem, Waiting
from fedkit.base.files import write_dataset
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.datasite.tree import stamp
from fedkit.federation.shared_folder import SharedFolder
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from tests.support.helpers import AGGREGATOR, held_out, shard

__all__ = ["Lagging", "Synced"]


class Synced:
    """Datasites in data dirs of their own, each on the road "synced"."""

    def __init__(self, root: Path, people: Iterable[str], aggregator: str = AGGREGATOR) -> None:
        self.aggregator, self.people = aggregator, list(people)
        self.sites = {}
        for email in dict.fromkeys([aggregator, *self.people]):
            write_road(root / email, "synced")
            self.sites[email] = Datasite.create(root / email, email)
        self._folder = SharedFolder(list(self.sites.values()), root / "ledger.jsonl")
        for number, email in enumerate(self.people):
            write_shard(self[email].private_client, shard([2 * number, 2 * number + 1], 3 + number))
        write_dataset(self[aggregator].private_aggregator / "mnist_test_dataset.pt", *held_out())

    def __getitem__(self, email: str) -> Datasite:
        return self.sites[email]

    def sync(self) -> None:
        """Every file under `datasites/` as its newest copy is, at everybody; nothing is ever deleted."""
        self._folder()

    def run(
        self,
        looks: int = 40,
        before: Callable[[Datasite], None] = lambda site: None,
        policy: Any = approve_all,
    ) -> list[Event]:
        """Everybody looks in turn, with a sync after each look, until nothing moves; what everybody said last."""
        last: dict[str, list[Event]] = {}
        for _ in range(looks):
            moved = False
            for email, site in self.sites.items():
                before(site)
                events = answer(site, policy) if policy is not None else []
                events += node.advance(site)
                moved |= any(not isinstance(e, Waiting | Problem) for e in events)
                last[email] = events
                self.sync()
            if not moved:
                break
        return [event for events in last.values() for event in events]


class Lagging(Synced):
    """The same, as a real sync is: each file reaches each member some day, in any order, and so does each deletion.

    Whoever changes a file that was changed elsewhere meanwhile makes a conflict: the later change wins, and the other one
    stays as a copy with a name of Syncthing's. Files come with the time that their writer's clock showed, a day wrong.
    """

    def __init__(self, root: Path, people: Iterable[str], seed: int, chance: float = 0.6) -> None:
        super().__init__(root, people)
        self.random, self.chance = random.Random(seed), chance
        self.newest: dict[str, tuple[int, bytes | None]] = {}
        self._has: dict[str, dict[str, tuple[int, object]]] = {email: {} for email in self.sites}
        self._clocks = {email: self.random.choice([-86400, 86400]) for email in self.sites}
        self._count = self._carried = 0

    def sync(self) -> None:
        """Notice what has changed, then carry some of what is on its way."""
        for email in self.sites:
            self._notice(email)
        for email in self.sites:
            behind = [
                k for k, (n, _) in self.newest.items() if self._has[email].get(k, (0, 0))[0] < n
            ]
            self.random.shuffle(behind)
            for key in behind:
                if self.random.random() < self.chance:
                    self._deliver(email, key)

    def settle(self) -> None:
        """Carry all that is on its way."""
        chance, self.chance = self.chance, 1.0
        self.sync()
        self.chance = chance

    def run(self, looks: int = 1000, **how: Any) -> list[Event]:
        """As `Synced.run`; it is quiet only where nothing is on its way any more."""
        events = list[Event]()
        for _ in range(looks):
            before = self._count, self._carried
            events = super().run(looks=5, **how)
            for email in self.sites:
                self._notice(email)
            behind = any(
                self._has[email].get(key, (0, 0))[0] < n
                for email in self.sites
                for key, (n, _) in self.newest.items()
            )
            if not behind and before == (self._count, self._carried):
                return events
            self.sync()
        return events

    def _notice(self, email: str) -> None:
        root, has = self[email].datasites, self._has[email]
        there = {}
        for folder, _, names in os.walk(root):
            for name in names:
                if not name.endswith(".tmp"):
                    path = Path(folder) / name
                    there[path.relative_to(root).as_posix()] = stamp(path.lstat())
        for key, version in there.items():
            known = has.get(key)
            if known is None or known[1] != version:
                self._changed(email, key, version, (root / key).read_bytes())
        for key in [key for key, (_, version) in has.items() if version and key not in there]:
            self._changed(email, key, None, None)

    def _changed(self, email: str, key: str, version: object, data: bytes | None) -> None:
        newest = self.newest.get(key, (0, None))
        if data == newest[1]:
            self._has[email][key] = newest[0], version
            return
        self._count += 1
        self.newest[key] = self._count, data
        self._has[email][key] = self._count, version

    def _deliver(self, email: str, key: str) -> None:
        number, data = self.newest[key]
        self._carried += 1
        path = self[email].datasites / key
        if data is None:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
            self._has[email][key] = number, None
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".syncthing.{path.name}.tmp")
        scratch.write_bytes(data)
        late = time.time() + self._clocks[email]
        os.utime(scratch, (late, late))
        if path.exists() and self.random.random() < 0.1:
            copy = f"{path.stem}.sync-conflict-20260101-120000-ABCDEF2{path.suffix}"
            path.replace(path.with_name(copy))
        scratch.replace(path)
        self._has[email][key] = number, stamp(path.lstat())
