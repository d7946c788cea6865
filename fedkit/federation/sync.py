"""The sync between data dirs: what SyftBox's server does on a real network, for several data dirs on one disk.

Each data dir has its own copy of each datasite of which its person may read something. A pass compares each copy with what
was synced last, offers local changes to the owner of the datasite, and brings what the owner's copy has to everybody who
may read it. Its work grows with the files that people may read, not with the pairs of people.

The tables of `sync_rules` say what is done when, and the code below does what they say. Every file that crosses
is written into the ledger before it crosses. Hidden files, `*.tmp`, links and empty folders do not travel, as on a real
network.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from itertools import chain
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, FileRefused, Notice, Problem
from fedkit.base.files import (
    line_before,
    read_bytes,
    read_object,
    refuse_links,
    sha256_bytes,
    write_bytes,
    write_json,
)
from fedkit.base.locks import exclusive
from fedkit.base.names import folded
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import Permissions, Right
from fedkit.datasite.tree import (
    Stamp,
    digest_of,
    entries,
    remove_empty_folders,
    set_aside,
    stamp,
)
from fedkit.federation.ledger import LedgerEntry, read_ledger
from fedkit.federation.sync_copy import Copy, is_permission_file, read_synced
from fedkit.federation.sync_names import kept_back
from fedkit.federation.sync_rules import BRING, LOOK, OFFER, Facts, decide

__all__ = ["ROLE", "Sync"]


ROLE = "sync"

_A_MOMENT_S = 20.0
"""A pass of another process is waited for this long; one takes less, even with a hundred datasites."""


class Sync:
    """Carries files between the data dirs of `sites`, for one process at a time.

    ledger : gets one JSON line for every file that crosses, before it crosses.
    """

    def __init__(self, sites: Sequence[Datasite], ledger: Path) -> None:
        self.sites = sorted(sites, key=lambda site: site.email)
        self.ledger_path = ledger
        self._owners = {site.email: site for site in self.sites}
        self._told: dict[str, Stamp | None] = {}  # the broken permission files that were named
        self._lock = ledger.with_name(f".{ledger.name}.lock")
        self._written = self._on_disk()
        self._start_anew()

    def _start_anew(self) -> None:
        """Rely on nothing but what was written down, and look at everything again."""
        self._copies = {site.email: {site.email: Copy(site, site.email, {})} for site in self.sites}
        for site in self.sites:
            for owner, synced in read_object(self._memory(site)).items():
                if owner in self._owners:
                    self._copy(site, owner).synced = read_synced(synced)
        self._unfinished = set(self._owners)
        # a pass that was cut off left files that are in nobody's memory: they are no changes of the receivers'
        self._carried = {(e.receiver, e.path): e.sha256 for e in self.entries()}

    def _copy(self, site: Datasite, owner: str) -> Copy:
        """This data dir's copy of a datasite; it begins where there is something for it, and most pairs have none."""
        copies = self._copies[owner]
        if site.email not in copies:
            copies[site.email] = Copy(site, owner, {})
        return copies[site.email]

    def __call__(self) -> list[Event]:
        """One pass over all data dirs; returns the refused changes, and as problems what can't be carried now.

        Raises Busy if another process is in the middle of a pass for longer than a moment.
        """
        place = self._lock.parent
        with exclusive(self._lock, "is being synced", at=place, timeout_s=_A_MOMENT_S):
            if self._on_disk() != self._written:
                self._start_anew()  # another process has carried something since
            try:
                return self._pass()
            finally:
                self._written = self._on_disk()

    def _pass(self) -> list[Event]:
        events: list[Event] = []
        try:
            for site in self.sites:
                for name in {path.name for path in entries(site.datasites)} & self._owners.keys():
                    self._copy(site, name)
            for email in self._owners:
                self._datasite(email, events)
            held: dict[str, dict[str, Copy]] = {email: {} for email in self._owners}
            for owner, copies in self._copies.items():
                for email, copy in copies.items():
                    held[email][owner] = copy
            for email, site in self._owners.items():
                with self._going_on(email, events):
                    self._save(site, held[email])
            self._carried = {}
        except BaseException:
            self._start_anew()
            raise
        return events

    def entries(self) -> list[LedgerEntry]:
        """Every file that crossed, oldest first."""
        return read_ledger(self.ledger_path)

    @contextlib.contextmanager
    def _going_on(self, email: str, events: list[Event], owner: str = "") -> Iterator[None]:
        """What one data dir refuses must not stop the others; it is tried again in the next pass."""
        try:
            yield
        except (FedkitError, OSError) as error:
            self._unfinished.add(owner)
            if isinstance(error, OSError):
                error = FedkitError(f"can't be synced ({error})", remedy="put that right")
            events.append(Problem(email, "", ROLE, error))

    def _datasite(self, owner: str, events: list[Event]) -> None:
        """Everybody's copy of one datasite."""
        home, again = self._copies[owner][owner], owner in self._unfinished
        self._unfinished.discard(owner)
        seen = self._look(owner, events)
        again = again or owner in self._unfinished
        self._keep_back(home, seen, events)
        facts = {
            "seen": lambda: home in seen,
            "changed": lambda: again or any(copy.changed() for copy in seen),
            "opening": home.is_opening,
        }
        if decide(LOOK, facts).then == "leave":
            if again:
                self._unfinished.add(owner)
            return
        permissions = Permissions(home.site.datasites)
        offered = {copy: copy.changed() for copy in seen if copy is not home}
        for copy, paths in offered.items():
            for path in paths:
                with self._going_on(copy.site.email, events, owner):
                    self._offer(copy, home, permissions, path, events)
        changed = home.changed()
        for path in changed:
            with self._going_on(owner, events, owner):
                home.remember(path, digest_of(home.root / path) if path in home.now else None)
        if any(map(is_permission_file, chain(changed, *offered.values()))):
            permissions = Permissions(home.site.datasites)
            again = True

        @cache
        def readers(path: str) -> set[str]:
            if path not in home.synced:
                return set()
            return permissions.readers(self._owners.keys(), f"{owner}/{path}")

        todo = {copy.site.email: {*copy.now, *paths} for copy, paths in offered.items()}
        blind = self._copies[owner].keys() - todo.keys()  # the owner; whose copy can't be looked at
        for path in set(home.now if again else changed).union(*offered.values()):
            for who in readers(path) - blind:
                todo.setdefault(who, set()).add(path)
        for who, mine in sorted(todo.items()):
            copy = self._copy(self._owners[who], owner)
            self._bring(home, copy, sorted(mine.difference(copy.changed())), readers, again, events)
        self._name_broken(home, permissions, events)

    def _look(self, owner: str, events: list[Event]) -> list[Copy]:
        """See what lies in each copy of a datasite; returns those that could be looked at, in order."""
        seen = list[Copy]()
        for email, copy in sorted(self._copies[owner].items()):
            with self._going_on(email, events, owner):
                refuse_links(copy.root, copy.site.data_dir)
                copy.look()
                seen.append(copy)
            for folder in sorted(copy.unseen):
                what = "can't be looked into, and what it held counts as unchanged"
                error = FedkitError(
                    what, file=copy.root / folder, remedy="make it readable for you again"
                )
                events.append(Problem(email, "", ROLE, error))
        return seen

    def _name_broken(self, home: Copy, permissions: Permissions, events: list[Event]) -> None:
        """Tell an owner of a permission file that can't be loaded, once for each version."""
        for path in permissions.broken:
            if self._told.get(path) != home.now.get(path.partition("/")[2]):
                self._told[path] = home.now.get(path.partition("/")[2])
                error = FedkitError(
                    "can't be read as rules in plain YAML, so nobody but its owner may do anything below its folder",
                    file=home.site.datasites / path,
                    remedy="correct it, without tags and aliases, or remove it",
                )
                events.append(Problem(home.owner, "", ROLE, error))

    def _keep_back(self, home: Copy, copies: list[Copy], events: list[Event]) -> None:
        """What has a name that not every system can hold, or tell from another one, stays where it is; said once."""
        at_home: dict[str, list[str]] = {}
        for copy in sorted(copies, key=lambda copy: copy is not home):
            new = copy.now.keys() - copy.synced.keys()
            if not new:
                continue
            mine = copy.now.keys() & copy.synced.keys()
            if copy is not home and not at_home:
                for path in home.now:
                    at_home.setdefault(folded(path), []).append(path)
            alike = {at for path in new for at in at_home.get(folded(path), ())}
            theirs = alike - (copy.synced.keys() - mine)
            for path, why in kept_back(new, sorted({*mine, *theirs})).items():
                version, full = copy.now.pop(path), str(copy.root / path)
                if self._told.get(full) != version:
                    self._told[full] = version
                    text = f"{full} is not carried: {why} -> rename it"
                    events.append(Notice(copy.site.email, "", text))

    def _offer(
        self, copy: Copy, home: Copy, permissions: Permissions, path: str, events: list[Event]
    ) -> None:
        """A change that somebody made in another's datasite: to the owner, or refused and set aside."""
        here, there = path in copy.now, path in home.now
        digest = digest_of(copy.root / path) if here else None
        who, place = copy.site.email, f"{home.owner}/{path}"
        right: Right = "write" if there else "create"
        facts = {
            "here": lambda: here,
            "there": lambda: there,
            "placed": lambda: digest == self._carried.get((who, place)),
            "same": lambda: here and there and digest == digest_of(home.root / path),
            "reads": lambda: permissions.reaches(who, place),
            "may": lambda: permissions.may(who, right, place),
            "newest": lambda: (
                home.now.get(path) == (home.synced.get(path) or (None,))[0]
                and (not there or copy.agrees(home, path))
            ),
        }
        _, then, why = decide(OFFER, facts)
        if then == "carry":
            self._carry(copy, home, path)
            return
        if then == "delete":
            home.remove(path)
        elif then == "refuse":
            if here:
                with contextlib.suppress(FileNotFoundError):
                    set_aside(copy.root / path)
            events.append(FileRefused(who, "", place, why.format(who=who, right=right)))
            digest = None  # the owner's version, if any, comes back with the next step
        copy.remember(path, digest)

    def _bring(
        self,
        home: Copy,
        copy: Copy,
        paths: list[str],
        readers: Callable[[str], set[str]],
        again: bool,
        events: list[Event],
    ) -> None:
        """The owner's files to one reader: what is gone or closed by now, then what is new or has changed."""
        who = copy.site.email

        def facts(path: str) -> Facts:
            return {
                "same": lambda: copy.agrees(home, path),
                "again": lambda: again,
                "reads": lambda: who in readers(path),
                "here": lambda: path in copy.synced and path in copy.now,
            }

        does = {path: decide(BRING, facts(path)).then for path in paths}
        carried = [path for path in paths if does[path] == "carry"]
        for path in (path for path in paths if does[path] == "remove"):
            with self._going_on(who, events, home.owner):
                copy.remove(path)
        if copy.fewer or any((copy.root / path).is_dir() for path in carried):
            remove_empty_folders(copy.root)  # a folder may have become a file
            copy.fewer = False
        for path in carried:
            with self._going_on(who, events, home.owner):
                self._carry(home, copy, path)

    def _carry(self, source: Copy, target: Copy, path: str) -> None:
        try:
            data = read_bytes(source.root / path, root=source.site.data_dir)
        except FileNotFoundError:
            return
        digest, place = sha256_bytes(data), f"{source.owner}/{path}"
        pair = source.site.email, target.site.email
        entry = LedgerEntry(*pair, place, len(data), digest, time.time())
        with line_before(self.ledger_path, json.dumps(asdict(entry))):
            write_bytes(target.root / path, data, root=target.site.data_dir)
        target.arrived(path, digest)
        source.remember(path, digest)

    def _on_disk(self) -> list[Stamp | None]:
        """Which versions of its memory and its ledger lie there."""
        paths = (self.ledger_path, *map(self._memory, self.sites))
        return [stamp(path.stat()) if path.is_file() else None for path in paths]

    def _memory(self, site: Datasite) -> Path:
        return site.own / "sync.json"

    def _save(self, site: Datasite, copies: dict[str, Copy]) -> None:
        if any(copy.dirty for copy in copies.values()):
            values = {
                owner: {path: [*seen, digest] for path, (seen, digest) in copy.synced.items()}
                for owner, copy in copies.items()
                if copy.synced
            }
            write_json(self._memory(site), values, indent=None)  # indented takes longer
        for copy in copies.values():
            copy.dirty = False
