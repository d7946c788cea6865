"""The sync between data dirs: what SyftBox's server does on a real network, for several data dirs on one disk.

Each data dir has its own copy of all datasites that its person may read. A pass compares each copy with what was synced
last, offers local changes to the owner of the datasite, and brings what the owner's copy has to everybody who may read it.
The tables `LOOK`, `OFFER` and `BRING` say what is done when, and the code below does what they say. Every file that crosses
is written into the ledger before it crosses. Hidden files, `*.tmp`, links and empty folders do not travel, as on a real
network.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, FileRefused, Problem
from fedkit.base.files import (
    append_line,
    read_bytes,
    read_object,
    refuse_links,
    sha256_bytes,
    write_bytes,
    write_json,
)
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import READY_FILES, Permissions, Right
from fedkit.datasite.tree import REJECTED, Stamp, Tree, digest_of, remove_empty_folders, scan, stamp
from fedkit.federation.ledger import LedgerEntry, read_ledger

__all__ = ["BRING", "LOOK", "OFFER", "ROLE", "Copy", "Rule", "Sync", "decide", "read_synced"]


ROLE = "sync"


class Rule(NamedTuple):
    """One line of a table. when : fact -> what it must be. why : in words; of a refusal, its author reads them."""

    when: Mapping[str, bool]
    then: str
    why: str


def _table(text: str) -> tuple[Rule, ...]:
    head, *lines = ([c.strip() for c in line.split("|")] for line in text.strip().splitlines())
    facts = head[0].split()
    return tuple(
        Rule({f: a == "yes" for f, a in zip(facts, row.split(), strict=True) if a != "-"}, *rest)
        for row, *rest in lines
    )


LOOK = _table(
    """
    seen changed opening | then   | why
    no   -       -       | leave  | not seen is not gone: its folder is a link, or can't be looked into
    -    no      -       | leave  | nothing has changed since the last pass, and nothing was left undone
    -    -       yes     | leave  | its owner is rewriting a permission file, which is empty for a moment
    -    -       -       | go on  | what others have changed is offered, then everybody is brought what is new
    """
)
"""A datasite, as its owner's copy shows it. Another copy that is not seen takes no part in the pass."""

OFFER = _table(
    """
    here there placed same reads may newest | then   | why
    no   no    -      -    -     -   -      | settle | it is gone on both sides
    yes  -     yes    -    -     -   -      | settle | the sync put it there itself, in a pass that was cut off
    -    -     -      yes  yes   -   -      | settle | both have made the same change, and its author may see that
    -    -     -      -    -     no  -      | refuse | {who} may not {right} it
    -    -     -      -    -     -   no     | refuse | its owner has changed it too, and the owner's version wins
    yes  -     -      -    -     -   -      | carry  | its author may write it, and knew the owner's version
    no   -     -      -    -     -   -      | delete | its author may delete it, and knew the owner's version
    """
)
"""What somebody changed in a copy of another's datasite. here, there : the file is in the copy, at its owner. same : bytes.
reads, may : its author has the right to read it, to write it (where there is none: to create it). newest : what was changed
is the owner's newest version. A refused file is set aside as `name.syftrejected.ext`; the owner's, if any, comes back."""

BRING = _table(
    """
    same again reads here | then   | why
    yes  no    -     -    | leave  | this reader has it, and no right has changed
    yes  -     yes   -    | leave  | this reader has it, and may still read it
    -    -     yes   -    | carry  | it is new or has changed, and this reader may read it
    -    -     -     yes  | remove | its owner has deleted it, or closed it to this reader
    -    -     -     -    | leave  | it never came here, or is gone from here already
    """
)
"""A file of a datasite, and one reader. again : a right may have changed. reads : the owner has it, and the reader may read
it. here : the sync has brought it, and it is there. A change that could not be offered is none of it: it is not lost."""

_Facts = Mapping[str, Callable[[], bool]]


def decide(table: Sequence[Rule], facts: _Facts) -> Rule:
    """The first rule that holds; a fact is looked up when a rule asks for it. The last rule of a table asks for nothing."""
    return next(
        rule for rule in table if all(facts[fact]() is yes for fact, yes in rule.when.items())
    )


_HALF_WRITTEN_S = 10.0
_NO_FILE: Stamp = (-1, -1, -1)


@dataclass(eq=False)
class Copy:
    """One data dir's copy of one datasite: what is there, and what was synced last (path -> stamp, sha256)."""

    site: Datasite
    owner: str
    synced: dict[str, tuple[Stamp, str]]
    now: Tree = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    dirty: bool = False

    @property
    def root(self) -> Path:
        """The copy's folder."""
        return self.site.datasites / self.owner

    def look(self) -> None:
        """See what is there now. What lies in a folder that can't be looked into is as it was: not seen is not gone."""
        self.unseen = set()
        self.now = scan(self.root, self.unseen)
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


class Sync:
    """Carries files between the data dirs of `sites`.

    ledger : gets one JSON line for every file that crosses, before it crosses.
    """

    def __init__(self, sites: Sequence[Datasite], ledger: Path) -> None:
        self.sites = sorted(sites, key=lambda site: site.email)
        self.ledger_path = ledger
        self._owners = {site.email: site for site in self.sites}
        self._told: dict[str, Stamp | None] = {}  # the broken permission files that were named
        self._start_anew()

    def _start_anew(self) -> None:
        """Rely on nothing but what was written down, and look at everything again."""
        self._copies = {site.email: self._load(site) for site in self.sites}
        self._unfinished = set(self._owners)
        # a pass that was cut off left files that are in nobody's memory: they are no changes of the receivers'
        self._carried = {(e.receiver, e.path): e.sha256 for e in self.entries()}

    def __call__(self) -> list[Event]:
        """One pass over all data dirs; returns the refused changes, and as problems what can't be carried now."""
        events: list[Event] = []
        try:
            for email in self._owners:
                self._datasite(email, events)
            for site in self.sites:
                with self._going_on(site.email, events):
                    self._save(site)
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
        home, copies = self._copies[owner][owner], list[Copy]()
        for site in self.sites:
            copy = self._copies[site.email][owner]
            with self._going_on(site.email, events, owner):
                refuse_links(copy.root, site.data_dir)
                copy.look()
                copies.append(copy)
            for folder in sorted(copy.unseen):
                what = "can't be looked into, and what it held counts as unchanged"
                error = FedkitError(
                    what, file=copy.root / folder, remedy="make it readable for you again"
                )
                events.append(Problem(site.email, "", ROLE, error))
        again = owner in self._unfinished
        facts = {
            "seen": lambda: home in copies,
            "changed": lambda: again or any(copy.changed() for copy in copies),
            "opening": home.is_opening,
        }
        if decide(LOOK, facts).then == "leave":
            return
        self._unfinished.discard(owner)
        others = [copy for copy in copies if copy is not home]
        permissions = Permissions(home.site.datasites)
        for copy in others:
            for path in copy.changed():
                with self._going_on(copy.site.email, events, owner):
                    self._offer(copy, home, permissions, path, events)
        changed = home.changed()
        for path in changed:
            with self._going_on(owner, events, owner):
                home.remember(path, digest_of(home.root / path) if path in home.now else None)
        permissions = Permissions(home.site.datasites)  # the owner may have changed them
        again = again or any(path.casefold().endswith(READY_FILES) for path in changed)
        for copy in others:
            self._bring(home, copy, permissions, again, events)
        for path in permissions.broken:
            if self._told.get(path) != home.now.get(path.partition("/")[2]):
                self._told[path] = home.now.get(path.partition("/")[2])
                error = FedkitError(
                    "can't be read as plain YAML, so nobody but its owner may do anything below its folder",
                    file=home.site.datasites / path,
                    remedy="correct it, without tags and aliases, or remove it",
                )
                events.append(Problem(owner, "", ROLE, error))

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
            "reads": lambda: permissions.may(who, "read", place),
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
            full = copy.root / path
            with contextlib.suppress(FileNotFoundError):
                if here:
                    full.replace(full.with_name(f"{full.stem}{REJECTED}{full.suffix}"))
            events.append(FileRefused(who, "", place, why.format(who=who, right=right)))
            digest = None  # the owner's version, if any, comes back with the next step
        copy.remember(path, digest)

    def _bring(
        self, home: Copy, copy: Copy, permissions: Permissions, again: bool, events: list[Event]
    ) -> None:
        """The owner's files to one reader: what is gone or closed by now, then what is new or has changed."""
        who = copy.site.email

        def facts(path: str) -> _Facts:
            return {
                "same": lambda: copy.agrees(home, path),
                "again": lambda: again,
                "reads": lambda: (
                    path in home.synced and permissions.may(who, "read", f"{home.owner}/{path}")
                ),
                "here": lambda: path in copy.synced and path in copy.now,
            }

        paths = sorted((home.now.keys() | copy.now.keys()).difference(copy.changed()))
        does = {path: decide(BRING, facts(path)).then for path in paths}
        for path in (path for path in paths if does[path] == "remove"):
            with self._going_on(who, events, home.owner):
                copy.remove(path)
        remove_empty_folders(copy.root)  # a folder may have become a file
        for path in (path for path in paths if does[path] == "carry"):
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
        append_line(self.ledger_path, json.dumps(asdict(entry)))
        write_bytes(target.root / path, data, root=target.site.data_dir)
        target.arrived(path, digest)
        source.remember(path, digest)

    def _memory(self, site: Datasite) -> Path:
        return site.own / "sync.json"

    def _load(self, site: Datasite) -> dict[str, Copy]:
        values = read_object(self._memory(site))
        return {owner: Copy(site, owner, read_synced(values.get(owner))) for owner in self._owners}

    def _save(self, site: Datasite) -> None:
        copies = self._copies[site.email]
        if any(copy.dirty for copy in copies.values()):
            values = {o: {p: [*s, d] for p, (s, d) in c.synced.items()} for o, c in copies.items()}
            write_json(self._memory(site), values)
        for copy in copies.values():
            copy.dirty = False


def read_synced(values: object) -> dict[str, tuple[Stamp, str]]:
    """What was saved, or nothing: then every file is looked at again."""
    try:
        return {
            path: ((int(size), int(time_ns), int(number)), str(digest))
            for path, (size, time_ns, number, digest) in values.items()  # type: ignore[attr-defined]
        }
    except (AttributeError, TypeError, ValueError):
        return {}
