"""What a datasite on PySyft's road remembers: which version of which file each peer was told of, and has told of its own.

It lies under `private/`, where nobody else writes. If it is lost, everything is told once more, and nothing is undone.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_link, read_object, write_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import Stamp, digest_of, scan
from fedkit.federation.roads.pysyft import own_folder

__all__ = ["Memory", "Peer"]


@dataclass
class Peer:
    """Versions are SHA-256, paths are relative to the datasite.

    told : of my files, the version that this peer was told of. known : of its files, the version that both have. answers :
    refused path -> the proposal's number, until it is told. asked : number of a proposal to it -> path and version.
    """

    email: str
    told: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    answers: dict[str, UUID] = field(default_factory=dict)
    asked: dict[UUID, tuple[str, str]] = field(default_factory=dict)


class Memory:
    """The memory of `site` about its peers on a drive. drive : of which drive; on another one, nobody was told anything."""

    def __init__(self, site: Datasite, drive: str) -> None:
        self.site, self.drive = site, drive
        self._path = own_folder(site) / "sync.json"
        self._hashes = dict[str, tuple[Stamp, str]]()
        self._written = ""
        self._peers = dict[str, Peer]()
        values = read_object(self._path)
        same = values.get("drive") == drive
        try:
            self._clock = float(values.get("clock", 0.0))
            for email, held in dict(values.get("peers", {})).items():
                told = dict(held["told"]) if same else {}
                self._peers[email] = Peer(email, told, dict(held["known"]))
        except (TypeError, ValueError, KeyError):  # edited by hand: as if it were lost
            self._clock = 0.0
            self._peers.clear()

    def peer(self, email: str) -> Peer:
        """What is known of a peer; of a new one, that the copy which lies here is its own."""
        if email not in self._peers:
            peer = self._peers[email] = Peer(email)
            copy = self.site.datasites / email
            now = {} if is_link(copy) else scan(copy)
            found = {path: self.digest(copy / path, seen) for path, seen in now.items()}
            peer.known = {path: digest for path, digest in found.items() if digest is not None}
        return self._peers[email]

    def digest(self, path: Path, seen: Stamp) -> str | None:
        """SHA-256 of a file as it was seen, read once for each version; None where it can't be read."""
        held = self._hashes.get(str(path))
        if held is not None and held[0] == seen:
            return held[1]
        try:
            digest = digest_of(path)
        except FedkitError:
            return None
        if digest is not None:
            self._hashes[str(path)] = seen, digest
        return digest

    def now(self) -> float:
        """The time for the next message's name: later than all before it, whatever becomes of the clock."""
        self._clock = max(time.time(), self._clock + 0.001)
        return self._clock

    def save(self) -> bool:
        """Write it down; has anything changed? Raises FedkitError."""
        peers = {who: {"told": peer.told, "known": peer.known} for who, peer in self._peers.items()}
        text = json.dumps({"drive": self.drive, "clock": self._clock, "peers": peers})
        if text == self._written:
            return False
        write_bytes(self._path, text.encode())
        self._written = text
        return True
