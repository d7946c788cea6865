"""PySyft 0.10 as a road: a datasite's files to its peers and back, over the drive that PySyft's own peers use.

PySyft's peers, keys, messages and connection do the carrying. What is sent to whom, and what is taken, is decided here,
since PySyft's own syncer shows a new peer nothing that lay there before, stands still for ever after one proposal that it
can't take, writes the drive's old state over what was edited meanwhile, refuses in silence, and believes what a message
says of its sender. So a peer is told what it may read and has not been told, by the hashes in this datasite's own memory;
and whatever comes is believed only of the datasite, and from the key, of the peer in whose folder it lies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from syft.sync.messages.proposed_filechange import ProposedFileChangesMessage

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, FileRefused, Problem
from fedkit.base.files import (
    read_bytes,
    refuse_links,
    remove,
    write_bytes,
)
from fedkit.base.locks import exclusive
from fedkit.base.names import folded, names_permission_file
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import Permissions
from fedkit.datasite.tree import digest_of, remove_empty_folders, scan, set_aside
from fedkit.federation.roads.pysyft_drive import open_drive
from fedkit.federation.roads.pysyft_memory import Memory, Peer
from fedkit.federation.roads.pysyft_messages import (
    MAX_FILE,
    MAX_PACKED,
    Change,
    events,
    in_batches,
    misplaced,
    open_message,
    proposals,
    sent_at,
)
from fedkit.federation.roads.pysyft_peers import ROLE, Meeting, going_on

__all__ = ["PySyftSync"]


_MOST_MESSAGES = 100  # of one peer in one pass: whoever sends more waits for the others
_MOST_BYTES = 2 * MAX_PACKED  # of one peer's messages in one pass
_MOST_NAMED = 20  # of what is dropped from one message
_MOST_FILES = 10_000  # of one peer's datasite here
_A_MOMENT_S = 20.0
_PAUSE_S, _PAUSE_FOLDER_S = 5.0, 1.0


class PySyftSync:
    """Carries files between the datasite `site` and its peers, one pass a call.

    store, token : as for `open_drive`. Raises FedkitError where the drive can't be reached.
    moved : the last pass carried something. pause_s : how long there may be nothing to carry before it is looked again.
    """

    def __init__(self, site: Datasite, *, store: Any = None, token: Path | None = None) -> None:
        self.site = site
        self.manager = open_drive(site, store=store, token=token)
        self._drive = self.manager.connection_router.connections[0]
        self._keys = self.manager.peer_store
        self._memory = Memory(site, self._drive.get_personal_syftbox_folder_id())
        self.meeting = Meeting(site, self.manager, self._memory)
        self.moved, self.pause_s = False, _PAUSE_S if store is None else _PAUSE_FOLDER_S
        self._said = set[tuple[str, ...]]()

    def __call__(self) -> list[Event]:
        """One pass with every peer: what it sent, what I have for it. Returns what was refused or is wrong, once each.

        Raises Busy if another process is in the middle of a pass for longer than a moment.
        """
        found: list[Event] = []
        self.moved = False
        lock, place = self.site.own / "pysyft.lock", self.site.data_dir
        with exclusive(lock, "is being synced", at=place, timeout_s=_A_MOMENT_S):
            with going_on(self.site, "the drive", found):
                self.meeting(found)
            for email in sorted(self.meeting.met):
                with going_on(self.site, email, found):
                    self._exchange(self._memory.peer(email), found)
        once = {_gist(event): event for event in found}
        news = [event for gist, event in once.items() if gist not in self._said]
        kept = {gist for gist in self._said if gist[0] in ("FileRefused", "Notice")}
        self._said = kept if len(kept) < _MOST_FILES else set()
        self._said |= once.keys()
        return news

    # one peer

    def _exchange(self, peer: Peer, found: list[Event]) -> None:
        """Take what it told of its datasite and what it proposes to mine; then tell it, and propose to it."""
        drive = self._drive
        if not self.site.root.is_dir():
            raise FedkitError("is gone", file=self.site.root, remedy="start `fedkit client` again")
        # PySyft 0.10 has no public name for these two folders
        theirs = drive._get_peer_datasite_outbox_id(peer.email)
        mine = drive._get_own_datasite_inbox_id(peer.email)
        taken = {folded(path): path for path in peer.known}
        for change in self._received(peer, theirs, "events", found):
            with self._file(peer, f"{peer.email}/{change.path}", found):
                self._take(peer, change, taken, found)
        permissions, taken = Permissions(self.site.datasites), {}
        for change in self._received(peer, mine, "proposals", found):
            with self._file(peer, f"{self.site.email}/{change.path}", found):
                taken = taken or {folded(path): path for path in scan(self.site.root)}
                self._judge(peer, change, permissions, taken, found)
            if _is_rule(change.path):
                permissions = Permissions(self.site.datasites)
        self._tell(peer, found)
        self._propose(peer, found)
        self.moved |= self._memory.save()

    def _received(
        self, peer: Peer, folder: str | None, kind: str, found: list[Event]
    ) -> Iterator[Change]:
        """What a peer's messages hold, oldest first; each is put into the archive when it was dealt with, or dropped."""
        owner = peer.email if kind == "events" else self.site.email
        listed = self._drive.get_file_metadatas_from_folder(folder) if folder else []
        dated = [(sent_at(str(one["name"]), kind), one) for one in listed]
        dated.sort(key=lambda pair: (pair[0] or 0.0, str(pair[1]["name"])))
        size = 0
        for when, one in dated[:_MOST_MESSAGES]:
            if size > _MOST_BYTES:
                break
            name, dropped, changes = str(one["name"])[:200], dict[str, str](), list[Change]()
            try:
                if when is None:
                    raise FedkitError("is no message of PySyft's")
                if int(one.get("size") or 0) > MAX_PACKED:
                    raise FedkitError(f"has {one['size']} bytes; at most {MAX_PACKED:,} are read")
                packed = self._drive.download_file(one["id"])
                size += len(packed)
                changes, dropped = open_message(self._keys, peer.email, owner, kind, packed)
            except FedkitError as error:
                dropped[name] = error.what
            yield from changes
            for path, why in list(dropped.items())[:_MOST_NAMED]:
                if len(dropped) > _MOST_NAMED:
                    why += f" (and {len(dropped) - 1} more in this message)"
                found.append(FileRefused(peer.email, "", f"{owner}/{path}", why))
            # before it leaves the folder: whatever is cut off is done again
            self.moved |= self._memory.save()
            done = ProposedFileChangesMessage(
                sender_email=peer.email, proposed_file_changes=[], platform_id=one["id"]
            )
            self._drive.owner_remove_proposed_filechange_message_from_inbox(done)

    def _take(self, peer: Peer, change: Change, taken: dict[str, str], found: list[Event]) -> None:
        """A file of a peer's own datasite, into the copy of it that lies here."""
        target = self.site.datasites / peer.email / change.path
        asked = peer.asked.pop(change.number, None) if change.number is not None else None
        if asked is not None and asked != (change.path, change.digest):
            why = f"{peer.email} did not take it; the owner's version holds"
            found.append(FileRefused(self.site.email, "", f"{peer.email}/{change.path}", why))
        if change.data is None:
            remove(target, root=self.site.data_dir)
            peer.known.pop(change.path, None)
            taken.pop(folded(change.path), None)
            remove_empty_folders(self.site.datasites / peer.email)
            return
        if change.path not in peer.known and len(peer.known) >= _MOST_FILES:
            raise FedkitError(f"would be more than {_MOST_FILES:,} files of one datasite")
        _check_alike(change.path, taken)
        if digest_of(target) != change.digest:
            write_bytes(target, change.data, root=self.site.data_dir)
        peer.known[change.path] = str(change.digest)

    def _judge(
        self,
        peer: Peer,
        change: Change,
        permissions: Permissions,
        taken: dict[str, str],
        found: list[Event],
    ) -> None:
        """A file that a peer wants to put into my datasite: by my permissions, and never over what it does not know."""
        me, target = self.site.email, self.site.root / change.path
        refuse_links(target.parent, self.site.data_dir)
        here = digest_of(target)
        if here == change.digest:  # it comes again: after a restart, or by whoever repeats it
            peer.told[change.path] = str(here)
            return
        right = "create" if here is None else "write"
        why = None
        if not permissions.may(peer.email, right, f"{me}/{change.path}"):  # type: ignore[arg-type]
            why = f"{peer.email} may not {right} it"
        elif here is not None and change.before != here:
            why = "its owner has changed it too, and the owner's version wins"
        if why is not None:
            found.append(FileRefused(peer.email, "", f"{me}/{change.path}", why))
            peer.told.pop(change.path, None)
            if change.number is not None and len(peer.answers) < _MOST_MESSAGES:
                peer.answers[change.path] = change.number
            return
        if here is None:
            _check_alike(change.path, taken)
        assert change.data is not None
        write_bytes(target, change.data, root=self.site.data_dir)
        peer.told[change.path] = str(change.digest)

    def _tell(self, peer: Peer, found: list[Event]) -> None:
        """Send a peer whatever of my datasite it may read and has not been told, and what it may not any more."""
        unseen, me = set[str](), self.site.email
        now, permissions = scan(self.site.root, unseen), Permissions(self.site.datasites)
        due, seen = list[str](), set[str]()
        for path in sorted(now, key=lambda path: (not _is_rule(path), now[path][1], path)):
            if not permissions.reaches(peer.email, f"{me}/{path}") or self._stays(me, path, found):
                continue
            seen.add(path)
            digest = self._memory.digest(self.site.root / path, now[path])
            if digest is None or (peer.told.get(path) == digest and path not in peer.answers):
                continue
            due.append(path)
        gone = sorted((peer.told.keys() | peer.answers.keys()) - seen)
        due += [path for path in gone if not path.startswith(tuple(unseen))]  # not seen is not gone

        def changes() -> Iterator[Change]:
            for path in due:
                before, number = peer.told.get(path), peer.answers.get(path)
                with contextlib.suppress(FileNotFoundError):
                    here = self.site.root / path
                    data = read_bytes(here, root=self.site.data_dir) if path in seen else None
                    yield Change(path, data, before, number)

        for some in in_batches(changes()):
            name, data = events(self._keys, me, peer.email, self._memory.now(), some)
            self._drive.owner_write_raw_bytes_to_outbox(peer.email, name, data)
            for change in some:
                peer.answers.pop(change.path, None)
                if change.digest is None:
                    peer.told.pop(change.path, None)
                else:
                    peer.told[change.path] = change.digest
            self.moved |= self._memory.save()
        self._name_broken(permissions, found)

    def _propose(self, peer: Peer, found: list[Event]) -> None:
        """Send a peer what was written here into the copy of its datasite; what it would refuse is set aside at once."""
        if not peer.known:
            return  # nothing of it has come: nobody can know what may be written there
        copy, permissions = self.site.datasites / peer.email, Permissions(self.site.datasites)
        refuse_links(copy, self.site.data_dir)
        now, due = scan(copy), list[str]()
        ruled = any(map(_is_rule, peer.known))
        for path in sorted(now, key=lambda path: (now[path][1], path)):
            digest = self._memory.digest(copy / path, now[path])
            place, before = f"{peer.email}/{path}", peer.known.get(path)
            if digest in (None, before) or self._stays(peer.email, path, found):
                continue
            right = "create" if before is None else "write"
            # PySyft itself shows its rules to admins alone: then its owner's answer must do
            if ruled and not permissions.may(self.site.email, right, place):  # type: ignore[arg-type]
                with contextlib.suppress(FileNotFoundError):
                    set_aside(copy / path)
                why = f"{self.site.email} may not {right} it"
                found.append(FileRefused(self.site.email, "", place, why))
                peer.known.pop(path, None)
                continue
            due.append(path)

        def changes() -> Iterator[Change]:
            for path in due:
                with contextlib.suppress(FileNotFoundError):
                    data = read_bytes(copy / path, root=self.site.data_dir)
                    yield Change(path, data, peer.known.get(path), uuid4())

        for some in in_batches(changes()):
            name, data = proposals(
                self._keys, self.site.email, peer.email, self._memory.now(), some
            )
            self._drive.watcher_send_raw_bytes_to_inbox(peer.email, name, data)
            for change in some:
                peer.known[change.path] = str(change.digest)
                assert change.number is not None
                peer.asked[change.number] = change.path, str(change.digest)
            peer.asked = dict(list(peer.asked.items())[-_MOST_FILES:])
            self.moved |= self._memory.save()

    # what is said

    @contextlib.contextmanager
    def _file(self, peer: Peer, path: str, found: list[Event]) -> Iterator[None]:
        """One file that can't be taken is named, and the others are taken."""
        try:
            yield
        except (FedkitError, OSError) as error:
            why = error.what if isinstance(error, FedkitError) else str(error.strerror)
            found.append(FileRefused(peer.email, "", path, why))

    def _stays(self, owner: str, path: str, found: list[Event]) -> bool:
        """Does a file stay here, whoever may read it?"""
        why = misplaced(path)
        if why is None and self._size(owner, path) > MAX_FILE:
            why = f"has more than the {MAX_FILE:,} bytes that travel"
        if why is not None and path.partition("/")[0].casefold() != "private":
            found.append(FileRefused(self.site.email, "", f"{owner}/{path}", why))
        return why is not None

    def _size(self, owner: str, path: str) -> int:
        with contextlib.suppress(OSError):
            return (self.site.datasites / owner / path).lstat().st_size
        return 0

    def _name_broken(self, permissions: Permissions, found: list[Event]) -> None:
        for path in permissions.broken:
            if path.startswith(f"{self.site.email}/"):
                what = "can't be read as rules, so nobody but its owner may do anything below its folder"
                remedy = "correct it, without tags and aliases, or remove it"
                error = FedkitError(what, file=self.site.datasites / path, remedy=remedy)
                found.append(Problem(self.site.email, "", ROLE, error))


def _is_rule(path: str) -> bool:
    return names_permission_file(path.rpartition("/")[2])


def _check_alike(path: str, taken: dict[str, str]) -> None:
    """Raises FedkitError where, on some machine, a file would take another one's place. taken : folded -> path."""
    other = taken.setdefault(folded(path), path)
    if other != path:
        raise FedkitError(f"is, on many machines, one file with {other!r:.200}")


def _gist(event: Event) -> tuple[str, ...]:
    """What makes an event a new one."""
    said = str(event.error) if isinstance(event, Problem) else repr(event)
    return type(event).__name__, said
