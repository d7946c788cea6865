"""A class: a room of seats, an invitation for each (`invitations.py`), who sits where, and what each seat waits for.

From its invitation on, the learner's datasite believes the teacher's key in it alone. In it lies a secret of the seat: the
learner publishes the seat's key with a proof that only who holds the invitation can make (HMAC, RFC 2104). So nobody else
takes a seat by writing into a shared folder, and a seat that is used twice shows as such.

What a seat waits for is dated by the aggregator's own clock, from its first look at it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import (
    MAX_STRANGERS_JSON_BYTES,
    read_object,
    read_own,
    write_json,
)
from fedkit.base.keys import signing_key
from fedkit.base.names import check_email, check_name
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.projects import launched_projects
from fedkit.datasite.round_plan import read_plan
from fedkit.federation.invitations import (
    FAR,
    MOST_SEATS,
    SECRET_BYTES,
    Invitation,
    new_code,
    publish_room,
    secret_of,
)
from fedkit.federation.roads.pysyft import keep_people
from fedkit.protocol.project import AtAggregator
from fedkit.protocol.signing_keys import (
    fingerprint,
    identity,
    key_of,
    known_keys,
    published_key,
    remember,
)
from fedkit.rounds.history import read_records

__all__ = [
    "STUCK_S",
    "Seat",
    "by_need",
    "codes_of",
    "look",
    "open_room",
    "take_seat",
]


STUCK_S = 180.0
"""A seat that must act and has not for so long is stuck: somebody should go there."""


def open_room(
    site: Datasite, room: str, project: str, emails: Sequence[str]
) -> list[tuple[Invitation, str]]:
    """Invitations of a room at this aggregator, with their texts; the same ones where it is open already.

    emails : whose seats they are, in order. Raises FedkitError.
    """
    try:
        check_name(room), check_name(project)
        for email in emails:
            check_email(email)
    except ValueError as error:
        raise FedkitError(str(error), field="room", remedy="choose another name") from error
    if site.road.name not in FAR:
        raise FedkitError(
            f"is on the road {site.road.name!r}, which reaches no other machine",
            file=site.data_dir,
            field="road",
            remedy="start its client with --synced, --syftbox or --transport pysyft first",
        )
    folded = Counter(email.casefold() for email in emails)  # some machines' folders know no case
    if twice := sorted(email for email, n in folded.items() if n > 1):
        what = f"has more than one seat for {', '.join(twice[:5])}"
        raise FedkitError(what, field=room, remedy="give each person an e-mail of their own")
    if not 1 <= len(emails) <= MOST_SEATS:
        what = f"has {how_many(len(emails), 'seat')}, and may have from 1 to {MOST_SEATS}"
        raise FedkitError(what, field=room, remedy="count again")
    path = _room(site, room)
    kept = read_own(path, "room of a class", "restore it, or open another room") or {}
    known = kept.get("seats", {})
    if kept and (kept.get("project") != project or list(known) != list(emails)):
        what = f"is open already, for {kept.get('project')} with {how_many(len(known), 'seat')}"
        raise FedkitError(what, file=path, field=room, remedy="take another name")
    teacher = identity(site)
    key = signing_key(teacher)
    codes = dict(kept.get("codes", {}))
    if not kept and site.road.name == "synced":  # whose folder brings the rest
        codes = {email: new_code(key, room, n) for n, email in enumerate(emails, start=1)}
    made = {email: secret_of(code, key, room, email) for email, code in codes.items() if not known}
    seats = known or {e: made.get(e) or secrets.token_hex(SECRET_BYTES) for e in emails}
    write_json(path, {"project": project, "seats": seats, "codes": codes})
    path.chmod(0o600)
    if codes:
        publish_room(site, teacher, room, project, emails)
    if site.road.name == "pysyft":
        keep_people(site, seats)  # they are met as soon as they sit, before any project names them
    invitations = [
        Invitation(room, n, email, project, site.email, site.road.name, key.hex(), secret)
        for n, (email, secret) in enumerate(seats.items(), start=1)
    ]
    return [(invitation, invitation.to_text(teacher)) for invitation in invitations]


def codes_of(site: Datasite, room: str) -> dict[str, str]:
    """E-mail -> the short code of its seat, in a room that is open here; empty on a road that has none."""
    return dict(read_object(_room(site, room)).get("codes", {}))


def take_seat(site: Datasite, invitation: Invitation) -> None:
    """Sit down: believe the teacher's key, and publish this datasite's own with a proof that the seat is its.

    Raises FedkitError where somebody else has taken the seat, or the teacher is known with another key.
    """
    if site.email != invitation.email:
        what = f"is the datasite of {site.email}, and the seat is that of {invitation.email}"
        raise FedkitError(what, file=site.data_dir, remedy="take another data dir for it")
    theirs, own = published_key(site, site.email), key_of(site, site.email)
    if theirs is not None and theirs != own:
        raise _taken(invitation.room, invitation.seat, site.email, fingerprint(theirs))
    teacher = bytes.fromhex(invitation.key)
    known = known_keys(site).get(invitation.aggregator)
    if known not in (None, teacher):
        raise FedkitError(
            f"brings another key of {invitation.aggregator} than the one that is known here",
            field=invitation.room,
            why=f"Known is {fingerprint(known or b'')}, it brings {invitation.fingerprint}",
            remedy="compare both with the board; ask the teacher",
        )
    remember(site, {invitation.aggregator: teacher})
    key = signing_key(identity(site))
    proof = _proof(invitation.secret, invitation.room, invitation.seat, site.email, key)
    claim = {"seat": invitation.seat, "ed25519": key.hex(), "proof": proof}
    write_json(_claim(site, site.email, invitation.room), claim, root=site.data_dir)


@dataclass(frozen=True)
class Seat:
    """A seat as the aggregator sees it now.

    whom : who must act. what : in words. since : seconds, by its own clock. problem : something is wrong there. led : it
    is the teacher who must act.
    """

    number: int
    email: str
    whom: str
    what: str
    since: float
    problem: bool = False
    led: bool = False

    @property
    def acts(self) -> bool:
        """Must this seat's own person act?"""
        return self.whom == self.email

    @property
    def stuck(self) -> bool:
        """Does it need help: something is wrong there, or it should have acted for `STUCK_S`?"""
        return self.problem or (self.acts and self.since >= STUCK_S)

    @property
    def state(self) -> str:
        """The same in a word: "needs help", "must act", "waits" or "done"."""
        if self.stuck:
            return "needs help"
        return "must act" if self.acts else "waits" if self.whom else "done"


def by_need(seats: Iterable[Seat]) -> list[Seat]:
    """Who needs help first: what is wrong, then who must act, then who waits, for the teacher and for others, then who
    is done; each the longest first.
    """
    order = ("needs help", "must act", "waits", "done")

    def need(seat: Seat) -> tuple[bool, int, bool, int, int]:
        moments = int(
            seat.since // 10
        )  # by ten seconds, so that rows keep their places while one looks
        return not seat.problem, order.index(seat.state), not seat.led, -moments, seat.number

    return sorted(seats, key=need)


def look(site: Datasite, room: str) -> list[Seat]:
    """Every seat of a room that was opened here: who waits for what, since when.

    Keys of seats that are taken for the first time are kept. Raises FedkitError if there is no such room.
    """
    kept = read_own(_room(site, room), "room of a class", "open it again") if _fits(room) else None
    if not isinstance(kept, dict) or not isinstance(kept.get("seats"), dict):
        raise FedkitError(
            f"no room {room!r} is open here", field="room", remedy="`fedkit class open`"
        )
    project, secret_of = str(kept["project"]), dict[str, str](kept["seats"])
    course, now = _Course.of(site, project), time.time()
    path = _room(site, room).with_name(f"{room}.since.json")
    before, after, seats = read_object(path), dict[str, Any](), list[Seat]()
    for number, (email, secret) in enumerate(secret_of.items(), start=1):
        problem = _claimed(site, room, number, email, secret)
        if problem is None:
            whom, what = course.waits_for(email)
        else:
            whom, what = email, problem
        said, since = before.get(email), now
        if isinstance(said, list) and said[:1] == [what] and isinstance(said[-1], int | float):
            since = said[-1]
        after[email] = [what, since]
        bad = problem is not None and problem != _JOIN
        led = whom == site.email != email
        seats.append(Seat(number, email, whom, what, max(0.0, now - since), bad, led))
    if after != before:
        write_json(path, after)
    return seats


_JOIN = "sit down: `fedkit class join` with its invitation"


def _claimed(site: Datasite, room: str, number: int, email: str, secret: str) -> str | None:
    """What is wrong with who sits there, or that nobody does; None where all is well. Keeps a key that is new."""
    values = read_object(
        _claim(site, email, room), root=site.data_dir, max_bytes=MAX_STRANGERS_JSON_BYTES
    )
    try:
        key, proof = bytes.fromhex(values["ed25519"]), str(values["proof"])
    except (KeyError, TypeError, ValueError):
        return _JOIN
    if not hmac.compare_digest(proof.encode(), _proof(secret, room, number, email, key).encode()):
        return "use its own invitation: somebody else has written that they sit there"
    known = known_keys(site).get(email)
    if known is None:
        remember(site, {email: key})
    elif known != key:
        told = _taken(room, number, email, fingerprint(known))
        return f"share its seat with nobody: {told.what}"
    return None


@dataclass(frozen=True)
class _Course:
    """How far a project is at this aggregator. at : None before it was launched."""

    at: AtAggregator | None
    site: Datasite
    done: bool
    next_round: int
    asked: Sequence[str]

    @classmethod
    def of(cls, site: Datasite, project: str) -> _Course:
        box = site.aggregator()
        if project not in launched_projects(site):
            return cls(None, site, False, 0, ())
        done = (box.done / project).is_dir()
        place = box.project(project, "done" if done else "running")
        at = AtAggregator(site, FLConfig.load(place.config))
        n = len(read_records(place, at.config.rounds)) + 1
        plan = None if done or n > at.config.rounds else read_plan(place, n, at.config)
        return cls(at, site, done, n, plan.participants if plan is not None else ())

    def waits_for(self, email: str) -> tuple[str, str]:
        """Who must act for this seat, and what they must do."""
        if self.at is None:
            return self.site.email, "launch the project"
        if self.done:
            return "", "nothing: the project is done"
        if email not in self.at.config.participants:
            return self.site.email, "name this seat among the participants"
        reason = self.at.why_declined(email)
        if reason is not None:
            return self.site.email, f"go on without it: it said no ({reason})"
        if not self.at.is_ready(email):
            asked = self.site.client(email).project(self.at.name, "request").config
            approve = "approve the request" if asked.is_file() else "open its mailbox"
            return email, approve
        if not self.at.read_object(self.at.mailbox(email).state).get("dataset_added"):
            return email, "put data into private/fl_client"
        if email in self.asked and not self.at.place.has_update(email, self.next_round):
            return email, f"send its update of round {self.next_round}"
        late = [who for who in self.at.config.participants if not self.at.is_ready(who)]
        if not self.asked and late:
            return ", ".join(late[:3]), f"approve, so that round {self.next_round} can begin"
        others = [who for who in self.asked if not self.at.place.has_update(who, self.next_round)]
        waits = f"round {self.next_round}: at work: {how_many(len(others), 'other')}"
        return (", ".join(others[:3]), waits) if others else (self.site.email, "go on")


def _taken(room: str, number: int, email: str, digits: str) -> FedkitError:
    return FedkitError(
        f"seat {number} of {room} ({email}) is taken: its key has the fingerprint {digits}",
        field=room,
        why="An invitation is for one machine; on another one, or without its private/, it has another key",
        remedy="go on in the data dir that took it, or ask the teacher for another seat",
    )


def _proof(secret: str, room: str, number: int, email: str, key: bytes) -> str:
    line = json.dumps([room, number, email, key.hex()]).encode()
    return hmac.new(bytes.fromhex(secret), line, hashlib.sha256).hexdigest()


def _claim(site: Datasite, email: str, room: str) -> Path:
    return site.datasites / email / "public" / "class" / f"{room}.json"


def _room(site: Datasite, room: str) -> Path:
    return site.private_aggregator / "class" / site.email / f"{room}.json"


def _fits(room: str) -> bool:
    try:
        check_name(room)
    except ValueError:
        return False
    return True
