"""What the sync knows of one data dir's copy of one datasite: which files are there, and which were there last time."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import READY_FILES
from fedkit.datasite.tree import Stamp, Tree, stamp

__all__ = ["Copy", "read_synced"]

_HALF_WRITTEN_S = 10.0
_NO_FILE: Stamp = (-1, -1, -1)


@dataclass(eq=False)
class Copy:
    """One data dir's copy of one datasite: what is there, and what was synced last (path -> stamp, sha256)."""

    site: Datasite
    owner: str
    synced: dict[str, tuple[Stamp, str]]
    now: Tree = field(default_factory=dict)
    dirty: bool = False

    @property
    def root(self) -> Path:
        """The copy's folder."""
        return self.site.datasites / self.owner

    def changed(self) -> list[str]:
        """Paths whose file is not the one that was synced last (new, rewritten or gone), in order."""
        paths = self.now.keys() | self.synced.keys()
        return sorted(p for p in paths if (self.synced.get(p) or (None,))[0] != self.now.get(p))

    def remember(self, path: str, digest: str | None) -> None:
        """Take the file that was seen at `path` as synced (`digest` None: it is gone).

        The stamp is the one from before the file was read: what is written meanwhile is a change for the next pass.
        """
        self.dirty = True
        if digest is None:
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
            (self.root / path).unlink()
        self.remember(path, None)

    def is_opening(self) -> bool:
        """Is a permission file empty that has only now changed? The real apps rewrite theirs in place on every pass;
        taken at its word, such a moment would close the folder, and refuse what was allowed before and after it."""
        paths = (p for p in self.changed() if p.endswith(READY_FILES))
        found = [self.now[path] for path in paths if path in self.now]
        return any(not size and time.time() - ns / 1e9 < _HALF_WRITTEN_S for size, ns, _ in found)


def read_synced(values: object) -> dict[str, tuple[Stamp, str]]:
    """What was saved, or nothing: then every file is looked at again."""
    try:
        return {
            path: ((int(size), int(time_ns), int(number)), str(digest))
            for path, (size, time_ns, number, digest) in values.items()  # type: ignore[attr-defined]
        }
    except (AttributeError, TypeError, ValueError):
        return {}
