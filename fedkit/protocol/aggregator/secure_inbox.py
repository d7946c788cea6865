"""The messages of a secure aggregation in an aggregator's inboxes: which are there and sound, which are refused, and why.

Nothing that lies there is trusted: not its size, not who it says it is from, not what it refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import sha256_bytes
from fedkit.base.keys import KEY_BYTES
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys
from fedkit.privacy.secagg.shamir import SHARE_BYTES
from fedkit.protocol.project import AtAggregator
from fedkit.protocol.signed_messages import (
    Message,
    open_message,
    published_key,
    roster_digest,
)

__all__ = ["Inbox", "Seen"]


_MARGIN = 2**20
_SEAL_BYTES = 16
_KEYS = {"seal", "mask", "own"}


@dataclass(frozen=True)
class Seen:
    """What is there of one step: sound messages, refusals with their reasons, and who has sent nothing.

    bytes : the sound messages as they lie there. hashes : their SHA-256.
    """

    messages: dict[str, Message] = field(default_factory=dict)
    bytes: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of each sound message."""
        return {who: sha256_bytes(data) for who, data in self.bytes.items()}

    def texts(self) -> dict[str, str]:
        """The sound messages in hex, to be passed on."""
        return {who: data.hex() for who, data in self.bytes.items()}


@dataclass(frozen=True)
class Inbox:
    """All participants' inboxes in one round.

    identities : the signing keys of those in the roster, as they were when it was decided; before, what is published.
    """

    at: AtAggregator
    group: Group
    n: int
    identities: Mapping[str, bytes] = field(default_factory=dict)

    def identity(self, who: str) -> bytes | None:
        """The key that this participant's messages are checked with, None where it is not there (yet)."""
        return self.identities.get(who) or published_key(self.at.site, who)

    def kept(self, who: str) -> Path:
        """Where the aggregator keeps a masked update that counts: what becomes of the inbox no longer matters."""
        return self.at.place.record(self.n).parent / f"secagg_{self.n}_masked_{who}.msg"

    def keys(self, asked: Sequence[str]) -> Seen:
        """Step 1."""

        def check(message: Message) -> None:
            values = message.values()
            _need(values.keys() == _KEYS, "has keys of an unknown kind")
            _need(all(len(v) == KEY_BYTES for v in values.values()), "has keys of another length")

        return self._look("keys", asked, check)

    def roster(self, texts: Mapping[str, str]) -> dict[str, PublicKeys]:
        """The keys in a roster that was decided on. Raises FedkitError if they were altered since."""
        found = {}
        for who, text in texts.items():
            key = self.identity(who) or b""
            message = open_message(bytes.fromhex(text), key, self.group, self.n, "keys", who)
            found[who] = PublicKeys(**message.values())
        return found

    def shares(self, roster: Mapping[str, PublicKeys]) -> Seen:
        """Step 2, of everybody in the roster."""
        about = {"roster": roster_digest(roster)}

        def check(message: Message) -> None:
            values = message.values()
            _need(message.about == about, "refers to another roster")
            _need(values.keys() == roster.keys() - {message.sender}, "deals shares to others")
            wanted = 2 * SHARE_BYTES + _SEAL_BYTES
            _need(all(len(v) == wanted for v in values.values()), "deals shares of another length")

        return self._look("shares", list(roster), check)

    def masked(
        self, about: Mapping[str, Any], size: int, survivors: Collection[str] | None = None
    ) -> Seen:
        """Step 3, of everybody who has dealt: `size` numbers each. survivors : only theirs, as they were kept."""

        def check(message: Message) -> None:
            _need(message.about == about, "refers to another list of participants")
            _need(
                len(message.body) == 8 * size, f"has {len(message.body):,} bytes, not {8 * size:,}"
            )

        return self._look("masked", survivors or about["dealers"], check, 8 * size, bool(survivors))

    def agreed(self, about: Mapping[str, Any]) -> Seen:
        """Step 4, of the survivors."""

        def check(message: Message) -> None:
            _need(message.about == about, "has signed another list of survivors")

        return self._look("agreed", about["survivors"], check)

    def revealed(self, about: Mapping[str, Any]) -> Seen:
        """Step 5, of the survivors."""

        def check(message: Message) -> None:
            values = message.values()
            _need(message.about == about, "refers to another list of survivors")
            _need(values.keys() == set(about["dealers"]), "reveals shares of others")
            _need(all(len(v) == SHARE_BYTES for v in values.values()), "reveals something else")

        return self._look("revealed", about["survivors"], check)

    def _look(
        self,
        step: str,
        expected: Collection[str],
        check: Callable[[Message], None],
        body_bytes: int = 0,
        kept: bool = False,
    ) -> Seen:
        seen, missing = Seen(), []
        for who in expected:
            path = self.kept(who) if kept else self.at.place.message(who, self.n, step)
            key = self.identity(who)
            try:
                data = self.at.read(path, body_bytes + _MARGIN)
            except FileNotFoundError:
                missing.append(who)
                continue
            except Unreadable as error:
                seen.refused[who] = f"{step}: {error.what}"
                continue
            if key is None:
                missing.append(who)  # its key may still be on its way
                continue
            try:
                message = open_message(data, key, self.group, self.n, step, who)
                check(message)
            except FedkitError as error:
                seen.refused[who] = f"{step}: {error.what}"
                continue
            seen.messages[who], seen.bytes[who] = message, data
        return Seen(seen.messages, seen.bytes, seen.refused, tuple(missing))


def _need(fits: bool, otherwise: str) -> None:
    if not fits:
        raise FedkitError(otherwise)
