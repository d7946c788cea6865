"""Secure aggregation at a participant: five messages a round, each made once, kept, and shared until it has arrived.

A message that was made is never made again: a second one with other lists, or another vector under the same masks, would
give away what the first one hides. So a participant that was killed sends what it has, and what the aggregator changes
afterwards has no effect. Secrets lie under `private/` and go when their round is over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, SecureStep, UpdateShared, Waiting
from fedkit.base.files import is_file, read_bytes, read_json, write_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import entries
from fedkit.privacy.secagg import bonawitz
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys, Secrets
from fedkit.privacy.secagg.fixedpoint import encode
from fedkit.protocol.client.local_round import trained_samples
from fedkit.protocol.project import AtParticipant
from fedkit.protocol.signed_messages import (
    STEPS,
    Message,
    group_of,
    hexed,
    identity,
    open_message,
    published_key,
    roster_digest,
    write_message,
)
from fedkit.protocol.steps import Next

__all__ = ["forget", "secure_step"]


_SAID = {
    "keys": "published new keys",
    "shares": "dealt sealed shares of its secrets",
    "masked": "sent its masked update",
    "agreed": "signed who is in",
    "revealed": "revealed one share of each participant",
}


def secure_step(at: AtParticipant, n: int, asked: Sequence[str]) -> Next:
    """What this participant would do next in round n, whose update is trained; looks only."""
    group = group_of(at.config, at.hashes["fl_config.json"], n, tuple(asked))
    this = ParticipantRound(at, group, n)
    over = [path for path in entries(vault_of(at.site, at.name)) if path.name != str(n)]
    if over:
        return partial(_forget_rounds, over)
    if not at.box.inbox(this.me).is_dir():
        return this.wait("open its folder for this participant's messages")
    for step in STEPS:
        own, there = this.vault / f"{step}.msg", at.box.message(this.me, n, step)
        if not is_file(own):
            name, awaited, make = _MAKE[step]
            given = this.from_aggregator(name) if name else {}
            if given is None:
                return this.wait(awaited.format(n))
            return _left_out(this, step, given) or partial(make, this, given)
        if not is_file(there) or there.stat().st_size != own.stat().st_size:
            return partial(_share, this, step, own, there)
    return this.wait(f"aggregate round {n}")


def forget(site: Datasite, project: str) -> None:
    """Remove the secrets of a project: with them, its masked updates could be opened."""
    shutil.rmtree(vault_of(site, project), ignore_errors=True)


def _forget_rounds(vaults: list[Path]) -> list[Event]:
    for vault in vaults:
        shutil.rmtree(vault)
    return []


def _share(this: ParticipantRound, step: str, own: Path, there: Path) -> list[Event]:
    this.at.write(there, read_bytes(own))
    who, project, n = this.me, this.at.name, this.n
    shared = [UpdateShared(who, project, n)] if step == "masked" else []
    return [SecureStep(who, project, n, _SAID[step]), *shared]


def _left_out(this: ParticipantRound, step: str, given: Mapping[str, Any]) -> Waiting | None:
    """Is there no part for this participant in what was decided, or is a key missing?"""
    if step == "shares" and this.me not in given:
        return this.wait(f"end round {this.n}, which has begun without this participant")
    if step == "shares":
        others = (who for who in given if who in this.group.numbers)
        unknown = next((who for who in others if published_key(this.at.site, who) is None), None)
        if unknown is not None:
            return this.wait("publish the key that its messages are signed with", unknown)
    if step == "agreed" and this.me not in _survivors(given):
        return this.wait(f"end round {this.n}, in which this update is not")
    return None


def _survivors(given: Mapping[str, Any]) -> list[str]:
    names = given.get("survivors")
    return sorted(str(name) for name in names) if isinstance(names, list) else []


def _make_keys(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    return this.keep("keys", {}, hexed(asdict(this.secrets().public())))


def _make_shares(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    roster = this.checked_roster(given)
    dealt = bonawitz.deal(this.group, this.me, this.secrets(), roster)
    this.accept("identities", hexed({who: this.identity_of(who) or b"" for who in roster}))
    this.accept("roster", given)
    return this.keep("shares", {"roster": roster_digest(roster)}, hexed(dealt))


def _make_masked(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    at, me, roster = this.at, this.me, this.checked_roster(this.accepted("roster"))
    sealed = this.sealed(given, roster)
    dealers = sorted([*sealed, me])
    # what does not open now could not be revealed later
    bonawitz.open_shares(this.group, me, this.secrets(), roster, sealed)
    weight = trained_samples(at.place, this.n) if at.config.weighting == "samples" else 1
    weight = min(
        weight, at.config.max_samples or weight
    )  # nobody else can see it, so it is cut here
    vector = encode(at.read_state(at.place.trained(this.n)), weight, len(this.group.numbers))
    hidden = bonawitz.mask(this.group, me, this.secrets(), roster, dealers, vector)
    this.accept("dealt", given)
    about = {**this.said("shares"), "dealers": dealers}
    return this.keep("masked", about, hidden.astype("<u8").tobytes())


def _make_agreed(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    about, survivors = this.said("masked"), _survivors(given)
    if not set(survivors) <= set(about["dealers"]) or len(set(survivors)) < len(survivors):
        what = "names somebody who has dealt no shares, or one person twice"
        raise this.unlike("survivors", what)
    this.group.enough(survivors, "survivors")
    return this.keep("agreed", {**about, "survivors": survivors})


def _make_revealed(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    about = this.said("agreed")
    for who, message in this.messages("agreement", given, "agreed").items():
        if who not in about["survivors"] or message.about != about:
            raise this.unlike("agreement", f"{who} was shown another list than {this.me}")
    this.group.enough(given, "agreement")
    roster = this.checked_roster(this.accepted("roster"))
    sealed = this.sealed(this.accepted("dealt"), roster)
    shares = bonawitz.open_shares(this.group, this.me, this.secrets(), roster, sealed)
    return this.keep(
        "revealed", about, hexed(bonawitz.reveal(this.group, shares, about["survivors"]))
    )


_Make = Callable[["ParticipantRound", Mapping[str, Any]], list[Event]]

_MAKE: dict[str, tuple[str, str, _Make]] = {
    "keys": ("", "", _make_keys),
    "shares": ("roster", "send the roster of round {}", _make_shares),
    "masked": ("dealt", "pass on the shares of round {}", _make_masked),
    "agreed": ("survivors", "say whose updates of round {} have arrived", _make_agreed),
    "revealed": ("agreement", "show that all have the same list in round {}", _make_revealed),
}
"""A step's message: the aggregator's list that it answers, what that one must do first, and who makes it."""


@dataclass(frozen=True)
class ParticipantRound:
    """One round at one participant: its secrets, its own messages, and what it believes the aggregator."""

    at: AtParticipant
    group: Group
    n: int

    @property
    def me(self) -> str:
        """This participant."""
        return self.at.site.email

    @property
    def vault(self) -> Path:
        """Secrets and own messages of this round."""
        return vault_of(self.at.site, self.at.name) / str(self.n)

    def secrets(self) -> Secrets:
        """This round's secrets, drawn where there are none yet."""
        if read_json(self.vault / "secrets.json") is None:
            self.accept("secrets", hexed(asdict(Secrets.new())))
        values = self.accepted("secrets")
        return Secrets(**{name: bytes.fromhex(value) for name, value in values.items()})

    def said(self, step: str) -> Mapping[str, Any]:
        """What my own message of a step refers to: the lists that I have accepted."""
        data = read_bytes(self.vault / f"{step}.msg")
        return dict(json.loads(data.split(b"\n", 2)[1])["about"])

    def accepted(self, name: str) -> dict[str, Any]:
        """A list of the aggregator's, as it was when I accepted it."""
        return dict(read_json(self.vault / f"{name}.json"))

    def from_aggregator(self, name: str) -> dict[str, Any] | None:
        """A list of the aggregator's, None where it is not there (yet)."""
        values = self.at.read_json(self.at.place.secure_list(self.n, name))
        return values if isinstance(values, dict) else None

    def wait(self, what: str, whom: str = "") -> Waiting:
        """An event that says for what."""
        return self.at.wait(whom or self.at.config.aggregator, what)

    def keep(
        self, step: str, about: Mapping[str, Any], body: bytes | Mapping[str, str] = b""
    ) -> list[Event]:
        """Sign a message and keep it; from now on it is the one of this step."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        message = Message(self.me, about, content)
        data = write_message(identity(self.at.site), self.group, self.n, step, message)
        write_bytes(self.vault / f"{step}.msg", data, mode=0o600)
        return []

    def checked_roster(self, given: Mapping[str, Any]) -> dict[str, PublicKeys]:
        """The keys of all who take part, each signed by its owner. Raises FedkitError."""
        messages = self.messages("roster", given, "keys")
        try:
            return {who: PublicKeys(**message.values()) for who, message in messages.items()}
        except TypeError as error:
            raise self.unlike("roster", "has keys of an unknown kind") from error

    def messages(self, name: str, given: Mapping[str, Any], step: str) -> dict[str, Message]:
        """The messages of others in a list of the aggregator's, each signed by its sender. Raises FedkitError."""
        found = {}
        for who, text in given.items():
            key = self.identity_of(who) if who in self.group.numbers else None
            try:
                found[who] = open_message(
                    bytes.fromhex(text), key or b"", self.group, self.n, step, who
                )
            except (FedkitError, ValueError, TypeError) as error:
                what = error.what if isinstance(error, FedkitError) else "can't be read"
                raise self.unlike(name, f"the message of {who!r:.80} {what}") from error
        return found

    def identity_of(self, who: str) -> bytes | None:
        """The signing key that I know of somebody: as it was when I accepted the roster; before, what is published."""
        pinned = read_json(self.vault / "identities.json")
        if isinstance(pinned, dict) and who in pinned:
            return bytes.fromhex(pinned[who])
        return published_key(self.at.site, who)

    def sealed(
        self, given: Mapping[str, Any], roster: Mapping[str, PublicKeys]
    ) -> dict[str, bytes]:
        """The sealed shares that others dealt to me."""
        try:
            sealed = {who: bytes.fromhex(text) for who, text in given.items() if who != self.me}
        except (ValueError, TypeError) as error:
            raise self.unlike("dealt", "can't be read") from error
        if not sealed.keys() <= roster.keys():
            raise self.unlike("dealt", "has shares of somebody who is not in the roster")
        return sealed

    def accept(self, name: str, given: Mapping[str, Any]) -> None:
        """Keep a list of the aggregator's as it was when it was checked; or what I have drawn."""
        write_bytes(self.vault / f"{name}.json", json.dumps(given).encode(), mode=0o600)

    def unlike(self, name: str, what: str) -> FedkitError:
        """An error for a list of the aggregator's that can't be believed."""
        return FedkitError(
            f"is refused: {what}",
            file=self.at.place.secure_list(self.n, name),
            why="This participant sends nothing more in this round, so its update stays hidden",
            remedy="ask the aggregator; it may have been altered on its way",
        )


def vault_of(site: Datasite, project: str) -> Path:
    """The folder of a project's secrets, one folder a round."""
    return site.private_client / "secagg" / site.email / project
