"""PySyft's two messages, as little of them as is believed: what a datasite tells of its files, and what is proposed to it.

A message comes from a peer's folder of the drive, and from nobody else's key: it is always encrypted, and its signature is
verified. What it says of itself is not believed: whose datasite it tells of, and who sent it, must be that peer; paths stay
in the datasite; hashes are made here, from the bytes. Nothing is unpacked beyond what the largest file may need.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from syft.sync.events.file_change_event import (
    FileChangeEvent,
    FileChangeEventsMessage,
    FileChangeEventsMessageFileName,
)
from syft.sync.messages.proposed_filechange import (
    MessageFileName,
    ProposedFileChange,
    ProposedFileChangesMessage,
)
from syft.sync.peers.peer_store import PeerStore

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.base.names import unfit
from fedkit.datasite.road import ROADS
from fedkit.datasite.tree import travels

__all__ = [
    "MAX_FILE",
    "MAX_PACKED",
    "Change",
    "events",
    "in_batches",
    "misplaced",
    "open_message",
    "proposals",
    "sent_at",
]


MAX_FILE = ROADS["pysyft"].max_bytes or 0
"""The largest file that travels, in bytes."""
_MAX_TEXT = MAX_FILE * 4 // 3 + 2**20  # in base64, with what is said of it
MAX_PACKED = _MAX_TEXT + 2**16
"""The largest message that is looked at."""
_MAX_PATH = 1024
_MAX_CHANGES = 2_000
_MAX_PARTS = 2**20  # of its JSON: each takes up to a hundred bytes of memory
_TOGETHER = 4 * 2**20  # bytes of files in one message, unless one is larger
_MANY = 200  # files in one message
_MEMBER = "proposed_file_changes.json"


@dataclass(frozen=True)
class Change:
    """A file in a datasite, by its path there.

    data : None where it is gone. before : SHA-256 of the version that its author knew. number : of the proposal, which the
    answer bears too.
    """

    path: str
    data: bytes | None
    before: str | None = None
    number: UUID | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the file, None where it is gone."""
        return None if self.data is None else sha256_bytes(self.data)


def events(store: PeerStore, me: str, to: str, when: float, changes: Iterable[Change]) -> Any:
    """(file name, bytes) of the message with which a datasite tells a peer of its files."""
    told = [
        FileChangeEvent(
            id=change.number or uuid4(),
            path_in_datasite=change.path,
            datasite_email=me,
            content=change.data,
            old_hash=change.before,
            new_hash=change.digest,
            is_deleted=change.data is None,
            submitted_timestamp=when,
            timestamp=when,
        )
        for change in changes
    ]
    name = FileChangeEventsMessageFileName(timestamp=when)
    message = FileChangeEventsMessage(events=told, message_filepath=name)
    return name.as_string(), store.encrypt(to, message.as_compressed_data())


def proposals(store: PeerStore, me: str, to: str, when: float, changes: Iterable[Change]) -> Any:
    """(file name, bytes) of the message with which a peer proposes files to a datasite."""
    asked = [
        ProposedFileChange(
            id=change.number or uuid4(),
            path_in_datasite=change.path,
            datasite_email=to,
            content=change.data,
            old_hash=change.before,
            new_hash=change.digest,
            submitted_timestamp=when,
        )
        for change in changes
    ]
    name = MessageFileName(submitted_timestamp=when)
    message = ProposedFileChangesMessage(
        sender_email=me, message_filename=name, proposed_file_changes=asked
    )
    return name.as_string(), store.encrypt(to, message.as_compressed_data())


def sent_at(name: str, kind: str) -> float | None:
    """The time in a message's file name, by its sender's clock; None where it has no such name."""
    try:
        if kind == "events":
            when = FileChangeEventsMessageFileName.from_string(name).timestamp
        else:
            when = MessageFileName.from_string(name).submitted_timestamp
    except Exception:  # PySyft's parsers raise what they like
        return None
    return when if math.isfinite(when) else None


def open_message(
    store: PeerStore, sender: str, owner: str, kind: str, packed: bytes
) -> tuple[list[Change], dict[str, str]]:
    """What a message from `sender` about the datasite of `owner` holds; and what of it is dropped, path -> reason.

    Raises FedkitError where nothing of it is believed.
    """
    try:
        store.verify_message(sender, packed)
        text = store.decrypt(sender, packed)
    except Exception as error:  # the package's errors are its own
        raise FedkitError(f"is not encrypted and signed by {sender}") from error
    values = _json(_unpacked(text))
    listed = values.get("events" if kind == "events" else "proposed_file_changes")
    if not isinstance(listed, list) or len(listed) > _MAX_CHANGES:
        raise FedkitError(f"is no message of PySyft's with at most {_MAX_CHANGES:,} files")
    if kind == "proposals" and values.get("sender_email") != sender:
        said = str(values.get("sender_email"))[:80]
        raise FedkitError(f"says that {said!r} sent it, and it lies in the folder of {sender}")
    changes, dropped = list[Change](), dict[str, str]()
    shape = FileChangeEvent if kind == "events" else ProposedFileChange
    for one in listed:
        named = one.get("path_in_datasite") if isinstance(one, Mapping) else None
        path = named if isinstance(named, str) else "?"
        whose = one.get("datasite_email") if isinstance(one, Mapping) else None
        if whose != owner:
            said = str(whose)[:80]
            dropped[path[:200]] = f"is said to lie in the datasite of {said!r}, not of {owner}"
            continue
        why = misplaced(path)
        if why is not None:
            dropped[path[:200]] = why
            continue
        try:
            read = shape.model_validate(one)
        except Exception as error:
            dropped[path] = f"is no change of a file ({type(error).__name__})"
            continue
        data = read.content.encode() if isinstance(read.content, str) else read.content
        if read.is_deleted and kind == "proposals":
            dropped[path] = "is to be deleted, and only its owner may do that"
        elif (data is None) != read.is_deleted:
            dropped[path] = "has no content" if data is None else "is deleted, and has content"
        elif data is not None and len(data) > MAX_FILE:
            dropped[path] = f"has {len(data):,} bytes, more than the {MAX_FILE:,} that travel"
        else:
            changes.append(Change(path, data, read.old_hash, read.id))
    return changes, dropped


def in_batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """The files of each message, in order."""
    some, size = list[Change](), 0
    for change in changes:
        more = len(change.data or b"")
        if some and (size + more > _TOGETHER or len(some) >= _MANY):
            yield some
            some, size = [], 0
        some.append(change)
        size += more
    if some:
        yield some


def misplaced(path: str) -> str | None:
    """Why a file may not lie there in a datasite, as the end of a sentence; None where it may."""
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "leads out of the datasite, or is written so that it might"
    if len(path) > _MAX_PATH:
        return f"has a path of more than {_MAX_PATH} signs"
    if parts[0].casefold() == "private":
        return "lies in a private folder, which never travels"
    for part in parts:
        why = unfit(part)
        if why is not None:
            return f"has the name {part!r:.80}, which {why}"
        if not travels(part):
            return f"has the name {part!r:.80}, which does not travel"
    return None


def _json(text: bytes) -> Mapping[str, Any]:
    if sum(text.count(sign) for sign in (b",", b"[", b"{")) > _MAX_PARTS:
        raise FedkitError(f"is made of more than {_MAX_PARTS:,} parts")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FedkitError("is no JSON") from error
    return values if isinstance(values, dict) else {}


def _unpacked(packed: bytes) -> bytes:
    """The only file of a packed message. `PySyft` unpacks whatever comes, to any size."""
    try:
        opener = zlib.decompressobj(wbits=31)
        archive = opener.decompress(packed, _MAX_TEXT + 2**16)
        if not opener.eof:
            raise FedkitError(f"unpacks to more than {_MAX_TEXT:,} bytes, or is cut off")
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            member = tar.next()
            if member is None or member.name != _MEMBER or not member.isreg():
                raise FedkitError("is no packed message")
            if member.size > len(archive):  # a hole in it would be filled with zeros
                raise FedkitError("says that it is larger than it is")
            file = tar.extractfile(member)
            return file.read() if file is not None else b""
    except (zlib.error, tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise FedkitError(f"can't be unpacked ({type(error).__name__})") from error
