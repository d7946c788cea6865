"""Secure aggregation at the aggregator: it collects each step's messages, says who is in, and unmasks the sum at the end.

What was decided once stays: a list is written beside the round's records before it is sent, so that an aggregator that was
killed goes on with the same one. A participant that does not come back is left out where `min_participants` allows it. From
the moment that its masked update is in, it counts, and any t of the others can take its masks away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from fedkit.base import files
from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, RoundAggregated, SecureStep, UpdateRefused, Waiting
from fedkit.base.keys import KEY_BYTES
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.update import Update
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys, unmask
from fedkit.privacy.secagg.fixedpoint import decode
from fedkit.privacy.secagg.shamir import SHARE_BYTES
from fedkit.protocol.aggregator.launch import keys_name_model
from fedkit.protocol.aggregator.secure_inbox import Form, Inbox, Seen
from fedkit.protocol.project import EVERYBODY, AtAggregator
from fedkit.protocol.server_state import state_after, write_round
from fedkit.protocol.signed_messages import group_of, hexed, roster_digest
from fedkit.protocol.signing_keys import remember
from fedkit.protocol.steps import Next
from fedkit.protocol.waiting import TOLD, step_may_end, step_needs, time_left
from fedkit.rounds.round import server_step

__all__ = ["AggregatorRound", "secure_round"]


_LISTS = {"roster": "keys", "dealt": "shares", "survivors": "masked", "agreement": "agreed"}
"""What is decided in a round, in this order, and from which step's messages. The last step, "revealed", decides nothing."""

_BEFORE = {"shares": "roster", "masked": "dealt", "agreed": "survivors", "revealed": "agreement"}
_SAID = {
    "keys": "publish {} keys",
    "shares": "deal {} shares",
    "masked": "send {} masked update",
    "agreed": "sign who is in",
    "revealed": "reveal {} shares",
}
_DECIDED = {
    "roster": "the keys of {} participants are in",
    "dealt": "the shares of {} participants are in",
    "survivors": "the masked updates of {} participants are in",
    "agreement": "{} participants have signed who is in",
}
_RESTORE = "restore it: it can't be decided a second time"
_KEYS = {"seal", "mask", "own"}
_SEAL_BYTES = 16


def secure_round(at: AtAggregator, plan: RoundPlan, patient: bool) -> Next:
    """What the aggregator would do next in a round that has begun; looks only."""
    digest = files.sha256_bytes(at.read(at.place.config))
    group = group_of(at.config, digest, plan.round, plan.participants)
    this = AggregatorRound(at, plan, group, patient)
    for name, step in _LISTS.items():
        if name not in this.lists:
            seen = this.see(step)
            return this.wait(step, seen) or partial(this.decide, name, seen)
        sent = this.send(name, this.told(name))
        if sent is not None:
            return sent
    answers, masked = this.see("revealed"), this.see("masked", kept=True)
    if masked.missing or masked.refused:
        raise FedkitError(
            "is not there any more, or was altered",
            file=this.kept((*masked.missing, *masked.refused)[0]),
            remedy=f"restore it, or rewind to round {plan.round - 1}",
        )
    return this.wait("revealed", answers) or partial(_finish, this, masked, answers)


@dataclass(frozen=True)
class AggregatorRound:
    """One masked round at the aggregator: what was decided, who gets to see it, and for whom a step waits."""

    at: AtAggregator
    plan: RoundPlan
    group: Group
    patient: bool

    @cached_property
    def lists(self) -> dict[str, dict[str, Any]]:
        """What was decided so far, by name."""
        found = {name: self._decided(name) for name in (*_LISTS, "identities")}
        return {name: values for name, values in found.items() if values is not None}

    def _decided(self, name: str) -> dict[str, Any] | None:
        """A decision, None where it has not been made. Raises FedkitError: what was decided is not decided again."""
        path = self.list_of(name)
        what, remedy = "decision of this round", _RESTORE
        values = files.read_own(path, what, remedy)
        if values is None:
            return None
        if not isinstance(values, dict) or not values.keys() <= self.group.numbers.keys():
            raise FedkitError(f"is no {what}", file=path, remedy=remedy)
        texts = list(values.values())
        if name == "dealt":  # by each, something for each of the others
            whole = [
                values.keys() - {who} <= set(given)
                for who, given in values.items()
                if isinstance(given, dict)
            ]
            if not all(whole) or len(whole) < len(values):
                raise FedkitError(f"is no {what}", file=path, remedy=remedy)
            texts = [text for given in values.values() for text in given.values()]
        if not all(map(_is_hex, texts)):
            raise FedkitError(f"is no {what}", file=path, remedy=remedy)
        return dict(values)

    @cached_property
    def inbox(self) -> Inbox:
        """All inboxes; once the roster is decided, what its people publish besides changes nothing in this round."""
        pinned = self.lists.get("identities", {}) if "roster" in self.lists else {}
        keys = {who: bytes.fromhex(key) for who, key in pinned.items()}
        return Inbox(self.at, self.group, self.plan.round, keys)

    @cached_property
    def roster(self) -> dict[str, PublicKeys]:
        """The keys of those in the roster. Raises FedkitError if they were altered since it was decided."""
        try:
            return self.inbox.roster(self.lists["roster"])
        except (FedkitError, TypeError) as error:
            what = "is not what was decided any more"
            raise FedkitError(what, file=self.list_of("roster"), remedy=_RESTORE) from error

    @cached_property
    def size(self) -> int:
        """How many numbers a masked update has."""
        before = files.read_state(self._before)
        return 1 + sum(value.numel() for value in before.values())

    @property
    def _before(self) -> Path:
        """The global model that this round starts from."""
        return self.at.place.global_model(self.plan.round - 1)

    def list_of(self, name: str) -> Path:
        """Where a decision is kept."""
        return self.at.place.path / "rounds" / f"secagg_{self.plan.round}_{name}.json"

    def kept(self, who: str) -> Path:
        """Where a masked update that counts is kept: what becomes of the inbox no longer matters."""
        return self.at.place.path / "rounds" / f"secagg_{self.plan.round}_masked_{who}.msg"

    def see(self, step: str, kept: bool = False) -> Seen:
        """What is there of a step. kept : of the masked updates, those that count, as they were kept."""
        asked, form = self._asked(step)
        n, place = self.plan.round, self.at.place
        paths = {who: place.message(who, n, step) for who in asked}
        if kept:
            paths = {who: self.kept(who) for who in self.lists["survivors"]}
        return self.inbox.look(step, paths, form)

    def _asked(self, step: str) -> tuple[Collection[str], Form]:
        """Who is asked for a message in a step, and what a sound one looks like."""
        about: dict[str, Any]
        if step == "keys":
            model = files.sha256_bytes(self.at.read(self._before))
            about = self.plan.started_from(model)
            older = not keys_name_model(self.at.place)
            return self.plan.participants, Form(about, lambda _: _KEYS, KEY_BYTES, older)
        about = {"roster": roster_digest(self.roster)}
        if step == "shares":
            length = 2 * SHARE_BYTES + _SEAL_BYTES
            return self.roster, Form(about, lambda who: self.roster.keys() - {who}, length)
        dealers = about["dealers"] = sorted(self.lists["dealt"])
        if step == "masked":
            return dealers, Form(about, length=8 * self.size)
        survivors = about["survivors"] = sorted(self.lists["survivors"])
        if step == "agreed":
            return survivors, Form(about)
        return survivors, Form(about, lambda _: dealers, SHARE_BYTES)

    def decide(self, name: str, seen: Seen) -> list[Event]:
        """From now on it is so: who is in, and what all of them get to see."""
        values: dict[str, Any] = hexed(seen.bytes)
        if name == "roster":
            files.write_json(self.list_of("identities"), hexed(seen.signers))
            remember(self.at.site, seen.signers)
        elif name == "dealt":
            values = {who: hexed(message.values()) for who, message in seen.messages.items()}
        elif name == "survivors":
            values = {who: files.sha256_bytes(data) for who, data in seen.bytes.items()}
            for who, data in seen.bytes.items():
                files.write_bytes(self.kept(who), data)
        files.write_json(self.list_of(name), values)
        text = _DECIDED[name].format(len(values))
        return [SecureStep(self.at.site.email, self.at.name, self.plan.round, text)]

    def told(self, name: str) -> dict[str, Mapping[str, Any]]:
        """What each participant gets to see of a decision."""
        values = self.lists[name]
        if name == "roster":
            return dict.fromkeys(self.roster, values)
        if name == "dealt":  # to each, what the others have dealt to it
            return {
                who: {dealer: shares[who] for dealer, shares in values.items() if dealer != who}
                for who in values
            }
        survivors = sorted(self.lists["survivors"])
        if name == "survivors":
            values = {"survivors": survivors}
        return dict.fromkeys(survivors, values)

    def send(self, name: str, values: Mapping[str, Mapping[str, Any]]) -> Next:
        """Put a list into the mailbox of everybody who is to get it and hasn't."""
        missing = {}
        for email, value in values.items():
            mailbox = self.at.mailbox(email)
            path = mailbox.secure_list(self.plan.round, name)
            if self.at.is_ready(email) and not self.at.is_sent(path, EVERYBODY, self.plan.round):
                missing[path] = dict(value)
        return partial(self.at.write_files, missing, self.plan.round) if missing else None

    def wait(self, step: str, seen: Seen) -> Waiting | None:
        """None if this step may end now, else for whom it waits."""
        config, t, there = self.at.config, self.group.threshold, len(seen.messages)
        late = [*seen.missing, *seen.refused]
        left = time_left(config, self._since(step))
        if step_may_end(config, step, t, there, len(late), left, self.patient):
            return None
        needed = t if step in TOLD else step_needs(config, t, there, len(late))
        remedies = [f"{email}: {reason}" for email, reason in seen.refused.items()]
        remedies += [
            f"{email}: its client has sent an update without a mask, and does not know secure aggregation"
            for email in seen.missing
            if files.is_file(self.at.place.update(email, self.plan.round))
        ]
        remedies.append(f"{there} of at least {needed} are there")
        if there < needed and step != "keys":
            remedies.append("until then, every update stays hidden")
        what = _SAID[step].format("its" if len(late) == 1 else "their")
        seconds = left if left is not None and left > 0 and there >= needed else None
        return self.at.wait(
            ", ".join(late) or self.at.site.email,
            f"{what} (round {self.plan.round}, secure aggregation)",
            "; ".join(remedies),
            seconds,
        )

    def _since(self, step: str) -> Path:
        """The aggregator's own file with which this step began."""
        return (
            self.at.place.plan(self.plan.round) if step == "keys" else self.list_of(_BEFORE[step])
        )


def _is_hex(text: object) -> bool:
    try:
        return bool(bytes.fromhex(text))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return False


def _finish(this: AggregatorRound, masked: Seen, answers: Seen) -> list[Event]:
    """Unmask the sum, take the strategy's step with its mean; the record first, then the global model."""
    at, n, asked = this.at, this.plan.round, this.plan.participants
    dealers, survivors = this.lists["dealt"], this.lists["survivors"]
    steps = [this.see(step) for step in ("keys", "shares", "masked")]
    reasons = {who: why for seen in steps for who, why in seen.refused.items()}
    refused = {w: reasons[w] for w in asked if w in reasons and w not in survivors}
    total = unmask(
        this.group,
        this.roster,
        sorted(dealers),
        {w: np.frombuffer(masked.messages[w].body, dtype="<u8") for w in survivors},
        {who: message.values() for who, message in answers.messages.items()},
    )
    state = state_after(at, n - 1)
    mean, weight = decode(total, state.model)
    order = [who for who in asked if who in survivors]
    after, record = server_step(
        at.strategy,
        this.plan,
        state,
        [Update(who, n, {}, sha256=survivors[who]) for who in order],
        mean=Update("sum", n, mean, weight),
        refused=refused,
        absent=[w for w in asked if w not in survivors and w not in refused],
        buffers=at.buffers,
    )
    said = {"sum_of_weights": float(weight), "unmasked_for": float(len(dealers) - len(order))}
    write_round(at, after, replace(record, diagnostics={**record.diagnostics, **said}))
    for who in survivors:
        files.remove(this.kept(who))
    email, name = at.site.email, at.name
    events: list[Event] = [UpdateRefused(email, name, who, n, why) for who, why in refused.items()]
    return [*events, RoundAggregated(email, name, n, tuple(order))]
