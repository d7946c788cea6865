"""Secure aggregation at a participant: five messages a round, each made once, kept, and shared until it has arrived.

A message that was made is never made again: a second one with other lists, or another vector under the same masks, would
give away what the first one hides. So a participant that was killed sends what it has, and what the aggregator changes
afterwards has no effect. Secrets lie under `private/` and go when their round is over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fedkit.base import files
from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, SecureStep, UpdateShared, Waiting
from fedkit.base.files import (
    is_file,
    read_bytes,
    read_own,
    same_content,
    write_bytes,
)
from fedkit.base.keys import KEY_BYTES
from fedkit.base.text import how_many
from fedkit.datasite.permissions import has_permission_file
from fedkit.privacy.secagg import bonawitz
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys, Secrets
from fedkit.privacy.secagg.fixedpoint import encode
from fedkit.protocol.approval import keys_name_model
from fedkit.protocol.client.local_round import trained_samples
from fedkit.protocol.client.secured import (
    KEPT,
    RESTORE,
    forget_others,
    mark,
    refuse_again,
    trained_by,
    trained_from,
    vault_of,
)
from fedkit.protocol.project import EVERYBODY, AtParticipant
from fedkit.protocol.signed_messages import (
    STEPS,
    Message,
    group_of,
    hexed,
    open_message,
    roster_digest,
    write_message,
)
from fedkit.protocol.signing_keys import identity, key_of, known_keys, remember
from fedkit.protocol.steps import Next

__all__ = ["secure_step"]


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
    this.refuse_what_was_not_approved(asked)
    if not is_file(this.vault / "masked.msg"):
        refuse_again(at, n, trained_from(at, n))
    over = forget_others(at, n)
    if over:
        return over
    if not has_permission_file(at.box.inbox(this.me)):
        return this.wait("open its folder for this participant's messages")
    for step in STEPS:
        own, there = this.vault / f"{step}.msg", at.box.message(this.me, n, step)
        if not is_file(own):
            name, awaited, make = _MAKE[step]
            given = this.from_aggregator(name) if name else {}
            if given is None:
                return this.wait(awaited.format(n))
            return _left_out(this, step, given) or partial(make, this, given)
        replaced = at.site.road.others_can_write and not same_content(own, there)
        if not is_file(there) or there.stat().st_size != own.stat().st_size or replaced:
            return partial(_share, this, step, own, there)
    return this.wait(f"aggregate round {n}")


def _share(this: ParticipantRound, step: str, own: Path, there: Path) -> list[Event]:
    if step == "masked":
        mark(this.at, this.n, trained_from(this.at, this.n))  # before it leaves
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
        unknown = next((who for who in others if this.identity_of(who) is None), None)
        if unknown is not None:
            return this.wait("publish the key that its messages are signed with", unknown)
    if step == "agreed" and this.me not in _survivors(given):
        return this.wait(f"end round {this.n}, in which this update is not")
    return None


def _survivors(given: Mapping[str, Any]) -> list[str]:
    names = given.get("survivors")
    return sorted(str(name) for name in names) if isinstance(names, list) else []


def _make_keys(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    return this.keep("keys", trained_by(this.at, this.n), hexed(asdict(this.secrets().public())))


def _make_shares(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    roster = this.checked_roster(given)
    dealt = bonawitz.deal(this.group, this.me, this.secrets(), roster)
    identities = {who: key for who in roster if (key := this.identity_of(who)) is not None}
    remember(this.at.site, identities)
    this.accept("identities", hexed(identities))
    this.accept("roster", given)
    return this.keep("shares", {"roster": roster_digest(roster)}, hexed(dealt))


def _make_masked(this: ParticipantRound, given: Mapping[str, Any]) -> list[Event]:
    at, me, roster = this.at, this.me, this.checked_roster(this.accepted("roster"))
    sealed = this.sealed(given, roster)
    dealers = sorted([*sealed, me])
    # what does not open now could not be revealed later
    bonawitz.open_shares(this.group, me, this.secrets(), roster, sealed)
    weight = trained_samples(at.place, this.n) if at.config.weighting == "samples" else 1
    # nobody else can see it, so it is cut here
    weight = min(weight, at.config.max_samples or weight)
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
    promised = min(this.at.config.quorum, len(this.group.numbers))
    if this.at.config.dp is not None and len(survivors) < promised:
        what = f"names {len(survivors)}, and the noise that was promised is the sum of {promised} shares"
        raise this.unlike("survivors", what)
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

    def refuse_what_was_not_approved(self, asked: Sequence[str]) -> None:
        """Raises FedkitError for a round larger than the config allows, one in which two halves could answer apart, or one
        too small for the shares of noise that make up what the config promises."""
        config, t, count = self.at.config, self.group.threshold, len(self.group.numbers)
        allowed = config.participants_per_round or len(config.participants)
        shares = config.dp is not None and config.dp.unit == "participant"
        least = config.quorum if shares else 0
        if not count < len(asked) and least <= count <= allowed and 2 * t > count:
            return
        why = f"With a threshold of {t}, two halves of them could be asked for the two masks of one"
        what = f"asks {how_many(len(asked), 'participant')} in round {self.n}, and the approved config allows {allowed}"
        if count < len(asked):
            what = f"asks somebody twice, or who is not in the config, in round {self.n}"
        elif count < least:
            what = f"asks {how_many(count, 'participant')} in round {self.n}, fewer than the quorum of {least}"
            why = "The noise that was promised is made of the shares of so many"
        raise FedkitError(
            f"is refused: {what}",
            file=self.at.place.config,
            why=why,
            remedy="ask the aggregator; nothing of this round is sent",
        )

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
        if not is_file(self.vault / "secrets.json"):
            self.accept("secrets", hexed(asdict(Secrets.new())))
        try:
            kept = {name: bytes.fromhex(v) for name, v in self.accepted("secrets").items()}
            if {len(value) for value in kept.values()} != {KEY_BYTES}:
                raise ValueError
            return Secrets(**kept)
        except (ValueError, TypeError) as error:
            raise self.lost(self.vault / "secrets.json") from error

    def said(self, step: str) -> Mapping[str, Any]:
        """What my own message of a step refers to: the lists that I have accepted."""
        path = self.vault / f"{step}.msg"
        try:
            return dict(json.loads(read_bytes(path).split(b"\n", 2)[1])["about"])
        except (LookupError, ValueError, TypeError, RecursionError) as error:
            raise self.lost(path) from error

    def accepted(self, name: str) -> dict[str, Any]:
        """A list of the aggregator's, as it was when I accepted it."""
        path = self.vault / f"{name}.json"
        values = read_own(path, KEPT, RESTORE)
        if not isinstance(values, dict):
            raise self.lost(path)
        return values

    def lost(self, path: Path) -> FedkitError:
        """An error for a file of this round that is no longer what this participant wrote."""
        return FedkitError(f"is no {KEPT}", file=path, remedy=RESTORE)

    def from_aggregator(self, name: str) -> dict[str, Any] | None:
        """A list of the aggregator's, None where it is not there (yet)."""
        path, whom = self.at.place.secure_list(self.n, name), self.at.config.aggregator
        return self.at.receive_object(path, whom, self.n, files.MAX_JSON_BYTES, EVERYBODY)

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
        self.refuse_other_starts(messages)
        try:
            return {who: PublicKeys(**message.values()) for who, message in messages.items()}
        except TypeError as error:
            raise self.unlike("roster", "has keys of an unknown kind") from error

    def refuse_other_starts(self, roster: Mapping[str, Message]) -> None:
        """Raises FedkitError where somebody of the roster has signed for another global model or other settings.

        From a model that is dead to their data (Pasquini, Francati, Ateniese 2022), or with steps of next to nothing, the
        others' updates are known beforehand, and the sum is one person's. Who names neither is an older version: good in a
        project that was approved by one.
        """
        own = self.said("keys")
        strict = keys_name_model(self.at.site, self.at.name)
        for who, message in roster.items() if own else ():
            if not message.about and strict:
                what = f"{who} does not say which global model it trained from: its fedkit is an older one"
                raise self.unlike("roster", what)
            other = [key for key in own if message.about.get(key) != own[key]]
            if message.about and other:
                how = (
                    "from another global model" if "model" in other else f"with another {other[0]}"
                )
                what = f"{who} has trained {how} than {self.me} in round {self.n}"
                raise self.unlike("roster", what)

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
        """The signing key that I know of somebody: as it was when I accepted the roster; before, by `key_of`.

        Looked up once in a look, so that what is kept is what messages were checked with.
        """
        if who not in self._signers:
            try:
                kept = self._identities.get(who)
                key = (
                    key_of(self.at.site, who, self._known) if kept is None else bytes.fromhex(kept)
                )
            except (ValueError, TypeError) as error:
                raise self.lost(self.vault / "identities.json") from error
            self._signers[who] = key
        return self._signers[who]

    @cached_property
    def _signers(self) -> dict[str, bytes | None]:
        return {}

    @cached_property
    def _identities(self) -> dict[str, Any]:
        there = is_file(self.vault / "identities.json")
        return self.accepted("identities") if there else {}

    @cached_property
    def _known(self) -> dict[str, bytes]:
        return known_keys(self.at.site)

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
