"""The messages of a secure aggregation in an aggregator's inboxes: which are there and sound, which are refused, and why.

Nothing that lies there is trusted: not its size, not who it says it is from, not what it refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.keys import KEY_BYTES, agree
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys
from fedkit.protocol.project import AtAggregator
from fedkit.protocol.signed_messages import Message, open_message
from fedkit.protocol.signing_keys import key_of, known_keys

__all__ = ["Form", "Inbox", "Seen"]


_MARGIN = 2**20

_UNLIKE = {
    "keys": (
        "has trained from another global model, or with other settings",
        "has keys of an unknown kind",
        "has keys of another length",
    ),
    "shares": (
        "refers to another roster",
        "deals shares to others",
        "deals shares of another length",
    ),
    "masked": ("refers to another list of participants", "", "has {:,} bytes, not {:,}"),
    "agreed": ("has signed another list of survivors", "", ""),
    "revealed": (
        "refers to another list of survivors",
        "reveals shares of others",
        "reveals something else",
    ),
}
"""What is said of a step's message that refers to something else, has values of other names, or of another length."""


@dataclass(frozen=True)
class Seen:
    """What is there of one step: sound messages, refusals with their reasons, and who has sent nothing.

    signers : the keys that sound messages are signed with. bytes : these messages as they lie there.
    """

    messages: dict[str, Message] = field(default_factory=dict)
    signers: dict[str, bytes] = field(default_factory=dict)
    bytes: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Form:
    """What a sound message of a step looks like.

    about : what it refers to; None where that is nothing yet. names : of the values in its body, from its sender; None
    where it has none. length : of each value in bytes, or of the body as a whole; None where it may be any.
    older : one that refers to nothing will do, as it did in older versions.
    """

    about: Mapping[str, Any] | None = None
    names: Callable[[str], Collection[str]] | None = None
    length: int | None = None
    older: bool = False

    def check(self, step: str, message: Message) -> None:
        """Raises FedkitError with what is wrong."""
        about, names, length = _UNLIKE[step]
        values = {"": message.body} if self.names is None else message.values()
        nothing = step == "keys" and not message.about
        _need(
            self.older or not nothing,
            "does not say what it trained from; its fedkit is an older one",
        )
        _need(self.about is None or nothing or message.about == self.about, about)
        if self.names is not None:
            _need(values.keys() == set(self.names(message.sender)), names)
        for value in values.values() if self.length is not None else ():
            _need(len(value) == self.length, length.format(len(value), self.length))


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
        """The key that this participant's messages are checked with, None where it is not there (yet).

        Raises FedkitError where it is another one than in earlier rounds.
        """
        return self.identities.get(who) or key_of(self.at.site, who, self._known)

    @cached_property
    def _known(self) -> dict[str, bytes]:
        return known_keys(self.at.site)

    def roster(self, texts: Mapping[str, str]) -> dict[str, PublicKeys]:
        """The keys in a roster that was decided on. Raises FedkitError if they were altered since."""
        found = {}
        for who, text in texts.items():
            key = self.identity(who) or b""
            message = open_message(bytes.fromhex(text), key, self.group, self.n, "keys", who)
            found[who] = PublicKeys(**message.values())
        return found

    def look(self, step: str, paths: Mapping[str, Path], form: Form) -> Seen:
        """What is there of a step. paths : who is asked for a message, and where it would lie."""
        seen, keys = Seen(), set[bytes]()
        most = _MARGIN + (0 if form.names else form.length or 0)
        for who, path in paths.items():
            try:
                key = self.identity(who)
                data = self.at.read(path, most)
                if key is None:
                    seen.missing.append(who)  # its key may still be on its way
                    continue
                message = open_message(data, key, self.group, self.n, step, who)
                form.check(step, message)
                if step == "keys":
                    _check_keys(message.values(), keys)
                seen.messages[who], seen.bytes[who], seen.signers[who] = message, data, key
            except FileNotFoundError:
                seen.missing.append(who)
            except FedkitError as error:
                seen.refused[who] = f"{step}: {error.what}"
        return seen


def _check_keys(given: Mapping[str, bytes], known: set[bytes]) -> None:
    """Raises FedkitError for a key that hides nothing, or is there already: the others then go on without its sender."""
    pair = [given["seal"], given["mask"]]
    for key in pair:
        agree(bytes(range(KEY_BYTES)), key, b"any")  # what can't be agreed with here can be nowhere
    _need(len({*pair} - known) == len(pair), "has one key twice, or somebody else's")
    known.update(pair)


def _need(fits: bool, otherwise: str) -> None:
    if not fits:
        raise FedkitError(otherwise)
