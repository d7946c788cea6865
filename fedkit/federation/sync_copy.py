"""One data dir's copy of one datasite, as the sync sees it: what lies there, and what was synced last."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fedkit.base.names import names_permission_file
from fedkit.base.scratch import patiently
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import Stamp, Tree, scan, stamp
from fedkit.federation.sync_names import as_known

__all__ = ["Copy", "is_permission_file", "read_synced"]


_HALF_WRITTEN_S = 10.0
_NO_FILE: Stamp = (-1, -1, -1)


@dataclass(eq=False)
class Copy:
    """One data dir's copy of one datasite: what is there, and what was synced last (path -> stamp, sha256).

    unseen : folders that can't be looked into. dirty : what was synced has changed since it was written down.
    fewer : a file was removed, so a folder may be empty.
    emptied : since when, by the steady clock, a permission file has been empty.
    """

    site: Datasite
    owner: str
    synced: dict[str, tuple[Stamp, str]]
    now: Tree = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    dirty: bool = False
    fewer: bool = True
    emptied: dict[tuple[str, Stamp], float] = field(default_factory=dict)

    @cached_property
    def root(self) -> Path:
        """The copy's folder."""
        return self.site.datasites / self.owner

    def look(self) -> None:
        """See what is there now. What lies in a folder that can't be looked into is as it was: not seen is not gone."""
        self.unseen = set()
        self.now = as_known(scan(self.root, self.unseen), self.synced.keys(), self.root)
        for path, (version, _) in self.synced.items() if self.unseen else ():
            if path.startswith(tuple(self.unseen)):
                self.now.setdefault(path, version)

    def changed(self) -> list[str]:
        """Paths whose file is not the one that was synced last (new, rewritten or gone), in order."""
        last = {path: seen for path, (seen, _) in self.synced.items()}
        if last == self.now:
            return []
        return sorted(p for p in last.keys() | self.now.keys() if last.get(p) != self.now.get(p))

    def agrees(self, other: Copy, path: str) -> bool:
        """Was the same version of the file at `path` synced last here and there?"""
        mine, theirs = self.synced.get(path), other.synced.get(path)
        return mine is not None and theirs is not None and mine[1] == theirs[1]

    def remember(self, path: str, digest: str | None) -> None:
        """Take the file that was seen at `path` as synced (`digest` None: it is gone).

        The stamp is the one from before the file was read: what is written meanwhile is a change for the next pass.
        """
        self.dirty = True
        if digest is None:
            self.fewer = True
            self.synced.pop(path, None)
            self.now.pop(path, None)
        else:
            self.synced[path] = (self.now[path], digest)

    def arrived(self, path: str, digest: str) -> None:
        """Take the file that was put at `path` as synced; where it is moved away already, that is a change."""
        try:
            self.now[path] = stamp((self.root / path).stat())
        except FileNotFoundError:
            self.now[path] = _NO_FILE
        self.remember(path, digest)

    def remove(self, path: str) -> None:
        """Remove the file at `path`."""
        with contextlib.suppress(FileNotFoundError):
            patiently((self.root / path).unlink)
        self.remember(path, None)

    def is_opening(self) -> bool:
        """Is a permission file empty that has only now changed? The real apps rewrite theirs in place on every pass;
        taken at its word, such a moment would close the folder, and refuse what was allowed before and after it."""
        paths = filter(is_permission_file, self.changed())
        found = {(p, self.now[p]) for p in paths if p in self.now and not self.now[p][0]}
        clock = time.monotonic()  # a file may be dated ahead, for ever
        self.emptied = {which: self.emptied.get(which, clock) for which in found}
        return any(
            clock - since < _HALF_WRITTEN_S and time.time() - ns / 1e9 < _HALF_WRITTEN_S
            for (_, (_, ns, _)), since in self.emptied.items()
        )


def is_permission_file(path: str) -> bool:
    """Would some engine take the file at this path for a permission file?"""
    return names_permission_file(path.rpartition("/")[2])


def read_synced(values: object) -> dict[str, tuple[Stamp, str]]:
    """What was saved, or nothing: then every file is looked at again."""
    try:
        return {
            path: ((int(size), int(time_ns), int(number)), str(digest))
            for path, (size, time_ns, number, digest) in values.items()  # type: ignore[attr-defined]
        }
    except (AttributeError, TypeError, ValueError, OverflowError):
        return {}
