"""Whom a datasite meets on PySyft's road: it asks, accepts, and keeps the first key of each; nobody else becomes a peer."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from syft.sync.version.peer_manager import PeerManager

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Notice, Problem, Waiting
from fedkit.base.files import read_own, sha256_bytes, write_json
from fedkit.base.names import check_email
from fedkit.datasite.datasite import Datasite
from fedkit.federation.roads.pysyft import own_folder, people
from fedkit.federation.roads.pysyft_memory import Memory

__all__ = ["ROLE", "Meeting", "going_on"]


ROLE = "sync"
_MEET_S, _MET_S = 5.0, 15.0
"""How often it is looked who has become a peer, and once all are met: several questions to the drive each time."""


class Meeting:
    """met : those with whom files are exchanged. due : when it is looked next, by the steady clock."""

    def __init__(self, site: Datasite, manager: PeerManager, memory: Memory) -> None:
        self.site, self.manager, self._memory = site, manager, memory
        self._pins = own_folder(site) / "keys.json"
        self.met, self.due = set[str](), 0.0

    def __call__(self, found: list[Event]) -> None:
        """Look who has become a peer, ask whom I want to meet, accept whom I want to meet, nobody else."""
        wanted = people(self.site)
        if time.monotonic() < self.due and wanted <= self.met:
            return
        self.due = time.monotonic() + (_MET_S if wanted <= self.met else _MEET_S)
        manager, met = self.manager, set[str]()
        manager.load_peers()
        for email in sorted(wanted):
            with going_on(self.site, email, found):
                peer = manager.get_cached_peer(email)
                if peer is None:
                    manager.add_peer(email, verbose=False)
                elif peer.is_requested_by_peer:
                    manager.approve_peer_request(email, verbose=False)
                peer = manager.get_cached_peer(email)
                if not peer.is_approved or peer.public_encryption_bundle is None:
                    what = "accept this datasite as a peer"
                    remedy = f"`fedkit client --transport pysyft --peer {self.site.email}` there"
                    found.append(Waiting(self.site.email, "", ROLE, email, what, remedy))
                    continue
                self.manager.peer_store.set_peer_bundle(
                    email, self._pinned(email, peer.public_encryption_bundle)
                )
                manager.load_peer_version(email)
                if not manager.is_peer_version_compatible(email):
                    raise FedkitError(
                        f"{email} has another version of PySyft ({peer.version and peer.version.syft_client_version})",
                        remedy="take the same one on both sides, 0.10",
                    )
                met.add(email)
        self.met = met
        for peer in manager.requested_by_peer_peers:
            with contextlib.suppress(ValueError):
                who = check_email(peer.email)
                if who not in wanted:
                    text = f"{who} asks to become a peer; if it may: --peer {who}"
                    found.append(Notice(self.site.email, "", text))

    def _pinned(self, email: str, bundle: dict[str, Any]) -> dict[str, Any]:
        """A peer's key as it shows it now, if that is the one that was shown first. Raises FedkitError.

        bundle : as it is noted on the drive, where the peer shows none.
        """
        shown = self.manager.connection_router.read_peer_encryption_bundle(email)
        bundle = json.loads(shown)["public_encryption_bundle"] if shown else bundle
        pins = read_own(self._pins, "list of PySyft's keys", "restore it, or remove it") or {}
        digest = sha256_bytes(json.dumps(bundle, sort_keys=True).encode())
        if email not in pins:
            self._memory.peer(email).told.clear()  # with other keys, it has other folders
            write_json(self._pins, pins | {email: digest})
        elif pins[email] != digest:
            raise FedkitError(
                f"the drive has another key of {email} than before",
                file=self._pins,
                field=email,
                remedy=f"ask {email} by another way; if it is the right one, remove its line there",
            )
        return bundle


@contextlib.contextmanager
def going_on(site: Datasite, whom: str, found: list[Event]) -> Iterator[None]:
    """What one peer does, or the drive, must not stop the others; it is tried again in the next pass."""
    try:
        yield
    except Exception as error:  # PySyft and Google's packages raise anything
        if not isinstance(error, FedkitError):
            what = f"can't be synced with {whom} now ({type(error).__name__}: {str(error)[:300]})"
            error = FedkitError(what, remedy="it is tried again; check the drive if it stays so")
        found.append(Problem(site.email, "", ROLE, error))
