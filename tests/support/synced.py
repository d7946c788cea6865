"""A folder that every member writes to, as Syncthing or a network share makes one: the newest copy of a file wins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fedkit.base.events import Event, Problem, Waiting
from fedkit.base.files import write_dataset
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from tests.support.helpers import AGGREGATOR, held_out, shard

__all__ = ["Synced"]


class Synced:
    """Datasites in data dirs of their own, each on the road "synced"."""

    def __init__(self, root: Path, people: Iterable[str], aggregator: str = AGGREGATOR) -> None:
        self.aggregator, self.people = aggregator, list(people)
        self.sites = {}
        for email in dict.fromkeys([aggregator, *self.people]):
            write_road(root / email, "synced")
            self.sites[email] = Datasite.create(root / email, email)
        for number, email in enumerate(self.people):
            write_shard(self[email].private_client, shard([2 * number, 2 * number + 1], 3 + number))
        write_dataset(self[aggregator].private_aggregator / "mnist_test_dataset.pt", *held_out())

    def __getitem__(self, email: str) -> Datasite:
        return self.sites[email]

    def sync(self) -> None:
        """Every file under `datasites/` as its newest copy is, at everybody; nothing is ever deleted."""
        newest: dict[str, tuple[int, Path]] = {}
        for site in self.sites.values():
            for folder, _, names in os.walk(site.datasites):
                for name in names:
                    path = Path(folder) / name
                    key, when = path.relative_to(site.datasites).as_posix(), path.stat().st_mtime_ns
                    if not name.endswith(".tmp") and when > newest.get(key, (-1, path))[0]:
                        newest[key] = when, path
        for key, (when, source) in newest.items():
            for site in self.sites.values():
                path = site.datasites / key
                if not path.exists() or path.stat().st_mtime_ns < when:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, path)

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
