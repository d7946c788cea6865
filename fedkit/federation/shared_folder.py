"""A folder that is the same for everybody, as Syncthing, a cloud folder or a network share makes it.

No permission file is asked and nobody is in the middle: every member has every file, and whoever writes one last has it
everywhere. Deletions do not travel here (Syncthing carries them, late), so that what was there can be looked at afterwards.
Notebook 12 runs a project over it, and lets a member forge an update.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fedkit.base.events import Event
from fedkit.base.files import line_before, read_bytes, sha256_bytes, write_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import scan
from fedkit.federation.ledger import LedgerEntry, read_ledger

__all__ = ["SharedFolder"]


class SharedFolder:
    """Keeps `datasites/` of all sites alike. ledger : gets one JSON line for every file that crosses, before it does."""

    def __init__(self, sites: Sequence[Datasite], ledger: Path) -> None:
        self.sites, self.ledger_path = list(sites), ledger

    def __call__(self) -> list[Event]:
        """Every file, as its newest copy is, at everybody. It refuses nothing, so it has nothing to say."""
        trees = {site.email: scan(site.datasites) for site in self.sites}
        newest: dict[str, tuple[int, Datasite]] = {}
        for site in self.sites:
            for path, (_, when, _) in trees[site.email].items():
                if path not in newest or when > newest[path][0]:
                    newest[path] = when, site
        for path, (when, source) in newest.items():
            behind = [s for s in self.sites if trees[s.email].get(path, (0, -1, 0))[1] < when]
            if behind:
                self._carry(path, when, source, behind)
        return []

    def entries(self) -> list[LedgerEntry]:
        """Every file that crossed, oldest first. sender : who had the newest copy; nobody knows who wrote it."""
        return read_ledger(self.ledger_path)

    def _carry(self, path: str, when: int, source: Datasite, receivers: list[Datasite]) -> None:
        data = read_bytes(source.datasites / path, root=source.data_dir)
        for site in receivers:
            entry = LedgerEntry(
                source.email, site.email, path, len(data), sha256_bytes(data), time.time()
            )
            target = site.datasites / path
            with line_before(self.ledger_path, json.dumps(asdict(entry))):
                write_bytes(target, data, root=site.data_dir)
            os.utime(target, ns=(when, when))
