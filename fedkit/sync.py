"""The sync between data dirs: what SyftBox's server does on a real network, for several data dirs on one disk.

Each data dir has its own copy of all datasites that its person may read. A pass compares each copy with what was synced
last, offers local changes to the owner of the datasite, and brings what the owner's copy has to everybody who may read it.
The owner's permission files decide, the owner's copy wins a conflict, and every file that crosses is written into the
ledger before it crosses. Hidden files, `*.tmp`, links and empty folders do not travel, as on a real network.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedkit.datasite import Datasite
from fedkit.events import Event, FileRefused
from fedkit.files import read_bytes, read_json, sha256_bytes, write_bytes, write_json
from fedkit.permissions import READY_FILES, Permissions, Right
from fedkit.records import LedgerEntry
from fedkit.tree import REJECTED, Stamp, Tree, digest_of, remove_empty_folders, scan, stamp

__all__ = ["Sync"]

_HALF_WRITTEN_S = 10.0


@dataclass
class _Copy:
    """One data dir's copy of one datasite: what is there, and what was synced last (path -> stamp, sha256)."""

    site: Datasite
    owner: str
    synced: dict[str, tuple[Stamp, str]]
    now: Tree = field(default_factory=dict)
    dirty: bool = False

    @property
    def root(self) -> Path:
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
        """Take the file that was just put at `path` as synced; where it is moved away already, that is a change."""
        try:
            self.now[path] = stamp((self.root / path).stat())
        except FileNotFoundError:
            self.now[path] = (-1, -1)
        self.remember(path, digest)


def _is_being_written(home: _Copy) -> bool:
    """Is a permission file empty that has only now changed? The real apps rewrite theirs in place on every pass; taken
    at its word, such a moment would close the folder, and refuse what was allowed before and after it."""
    files = [home.now.get(p, (1, 0)) for p in home.changed() if p.endswith(READY_FILES)]
    return any(size == 0 and time.time() - ns / 1e9 < _HALF_WRITTEN_S for size, ns in files)


class Sync:
    """Carries files between the data dirs of `sites`.

    ledger : a file that gets one JSON line for every file that crosses, before it crosses.
    """

    def __init__(self, sites: Sequence[Datasite], ledger: Path) -> None:
        self.sites = sorted(sites, key=lambda site: site.email)
        self.ledger_path = ledger
        if ledger.is_file() and not ledger.read_bytes().endswith(b"\n"):
            with ledger.open(
                "a", encoding="utf-8"
            ) as file:  # the last line was cut off: start a new one
                file.write("\n")
        self._owners = {site.email: site for site in self.sites}
        self._copies = {site.email: self._load(site) for site in self.sites}

    def __call__(self) -> list[Event]:
        """One pass over all data dirs; returns the refused changes. Cheap when nothing has changed."""
        events: list[Event] = []
        for email, owner in self._owners.items():
            copies = [self._copies[site.email][email] for site in self.sites]
            for copy in copies:
                copy.now = scan(copy.root)
            home = self._copies[email][email]
            if all(not copy.changed() for copy in copies) or _is_being_written(home):
                continue
            permissions = Permissions(owner.datasites)
            for copy in copies:
                if copy is not home:
                    events += self._offer(copy, home, permissions)
            opened = any(path.endswith(READY_FILES) for path in home.changed())
            for path in home.changed():
                home.remember(path, digest_of(home.root / path) if path in home.now else None)
            permissions = Permissions(owner.datasites)  # the owner may have changed them
            for copy in copies:
                if copy is not home:
                    self._bring(home, copy, permissions, opened)
        for site in self.sites:
            self._save(site)
        return events

    def entries(self) -> list[LedgerEntry]:
        """Every file that crossed, oldest first."""
        try:
            lines = self.ledger_path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        entries = []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # a line cut off by a crash
                entries.append(LedgerEntry(**json.loads(line)))
        return entries

    def _offer(self, copy: _Copy, home: _Copy, permissions: Permissions) -> list[Event]:
        """Changes that somebody made in another's datasite: to the owner, or refused and set aside."""
        events: list[Event] = []
        for path in copy.changed():
            here, there = path in copy.now, path in home.now
            if not here and not there:
                copy.remember(path, None)
                continue
            digest = digest_of(copy.root / path) if here else None
            if here and there and digest == digest_of(home.root / path):
                copy.remember(path, digest)  # a pass was cut off after it carried the file
                continue
            theirs = home.synced.get(path)
            mine = copy.synced.get(path)
            known = mine is not None and theirs is not None and mine[1] == theirs[1]
            owner_changed = home.now.get(path) != (theirs or (None,))[0] or (there and not known)
            right: Right = "write" if there else "create"
            if not permissions.may(copy.site.email, right, f"{home.owner}/{path}"):
                events.append(self._refuse(copy, path, f"{copy.site.email} may not {right} it"))
            elif owner_changed and there:
                events.append(
                    self._refuse(
                        copy, path, "its owner has changed it too, and the owner's version wins"
                    )
                )
            elif here:
                self._carry(copy, home, path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    (home.root / path).unlink()
                home.remember(path, None)
                copy.remember(path, None)
        return events

    def _refuse(self, copy: _Copy, path: str, reason: str) -> Event:
        full = copy.root / path
        if path in copy.now:
            aside = full.with_name(f"{full.stem}{REJECTED}{full.suffix}")
            with contextlib.suppress(FileNotFoundError):
                full.replace(aside)
        copy.remember(path, None)  # the owner's version, if any, comes back with the next step
        return FileRefused(copy.site.email, "", f"{copy.owner}/{path}", reason)

    def _bring(self, home: _Copy, copy: _Copy, permissions: Permissions, recheck: bool) -> None:
        """The owner's files to one reader: what is new, what has changed, and what is gone or closed by now."""
        for path in sorted(home.now.keys() | copy.now.keys()):
            theirs, mine = home.synced.get(path), copy.synced.get(path)
            same = theirs is not None and mine is not None and theirs[1] == mine[1]
            if same and not recheck:
                continue
            if theirs and permissions.may(copy.site.email, "read", f"{home.owner}/{path}"):
                if not same:
                    self._carry(home, copy, path)
            elif mine is not None and path in copy.now:
                with contextlib.suppress(FileNotFoundError):
                    (copy.root / path).unlink()
                copy.remember(path, None)
        remove_empty_folders(copy.root)

    def _carry(self, source: _Copy, target: _Copy, path: str) -> None:
        try:
            data = read_bytes(source.root / path, root=source.site.data_dir)
        except FileNotFoundError:
            return
        digest = sha256_bytes(data)
        entry = LedgerEntry(
            source.site.email,
            target.site.email,
            f"{source.owner}/{path}",
            len(data),
            digest,
            time.time(),
        )
        with self.ledger_path.open("a", encoding="utf-8") as ledger:
            ledger.write(json.dumps(asdict(entry)) + "\n")
        write_bytes(target.root / path, data, root=target.site.data_dir)
        target.arrived(path, digest)
        source.remember(path, digest)

    def _memory(self, site: Datasite) -> Path:
        return site.own / "sync.json"

    def _load(self, site: Datasite) -> dict[str, _Copy]:
        values = read_json(self._memory(site))
        values = values if isinstance(values, dict) else {}
        copies = {}
        for owner in self._owners:
            synced = {p: ((s[0], s[1]), s[2]) for p, s in values.get(owner, {}).items()}
            copies[owner] = _Copy(site, owner, synced)
        return copies

    def _save(self, site: Datasite) -> None:
        copies = self._copies[site.email]
        if any(copy.dirty for copy in copies.values()):
            values = {o: {p: [*s, d] for p, (s, d) in c.synced.items()} for o, c in copies.items()}
            write_json(self._memory(site), values)
            for copy in copies.values():
                copy.dirty = False
