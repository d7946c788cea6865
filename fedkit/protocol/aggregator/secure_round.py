"""Secure aggregation at the aggregator: it collects each step's messages, says who is in, and unmasks the sum at the end.

What was decided once stays: a list is written beside the round's records before it is sent, so that an aggregator that was
killed goes on with the same one. A participant that does not come back is left out where `min_participants` allows it. From
the moment that its masked update is in, it counts, and any t of the others can take its masks away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, RoundAggregated, SecureStep, UpdateRefused, Waiting
from fedkit.base.files import (
    is_file,
    read_json,
    read_state,
    remove,
    sha256_bytes,
    write_bytes,
    write_json,
)
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.update import Update
from fedkit.privacy.secagg.bonawitz import Group, unmask
from fedkit.privacy.secagg.fixedpoint import decode
from fedkit.protocol.aggregator.secure_inbox import Inbox, Seen
from fedkit.protocol.project import AtAggregator
from fedkit.protocol.server_state import state_after, write_round
from fedkit.protocol.signed_messages import group_of, roster_digest
from fedkit.protocol.steps import Next
from fedkit.protocol.waiting import TOLD, started, step_may_end, step_needs, time_left
from fedkit.rounds.round import server_step

__all__ = ["AggregatorRound", "secure_round"]


def secure_round(at: AtAggregator, plan: RoundPlan, patient: bool) -> Next:
    """What the aggregator would do next in a round that has begun; looks only."""
    place, n = at.place, plan.round
    group = group_of(at.config, sha256_bytes(at.read(place.config)), n, plan.participants)
    this, inbox = AggregatorRound(at, plan, group, patient), Inbox(at, group, n)

    roster = this.decided("roster")
    if roster is None:
        seen = inbox.keys(plan.participants)
        return this.wait("keys", seen) or partial(_decide_roster, this, inbox, seen)
    pinned = this.decided("identities") or {}
    inbox = replace(inbox, identities={who: bytes.fromhex(key) for who, key in pinned.items()})
    known = inbox.roster(roster)
    sent = this.send("roster", _to_all(roster, roster))
    if sent is not None:
        return sent

    dealt = this.decided("dealt")
    if dealt is None:
        seen = inbox.shares(known)
        return this.wait("shares", seen) or partial(this.decide, "dealt", _by_dealer(seen))
    sent = this.send("dealt", {who: _for(who, dealt) for who in dealt})
    if sent is not None:
        return sent

    dealers = {"roster": roster_digest(known), "dealers": sorted(dealt)}
    before = read_state(place.global_model(n - 1))
    size = 1 + sum(value.numel() for value in before.values())
    arrived = inbox.masked(dealers, size)
    survivors = this.decided("survivors")
    if survivors is None:
        return this.wait("masked", arrived) or partial(_decide_survivors, this, inbox, arrived)
    about = {**dealers, "survivors": sorted(survivors)}
    sent = this.send("survivors", _to_all(survivors, {"survivors": sorted(survivors)}))
    if sent is not None:
        return sent

    agreement = this.decided("agreement")
    if agreement is None:
        seen = inbox.agreed(about)
        return this.wait("agreed", seen) or partial(this.decide, "agreement", seen.texts())
    sent = this.send("agreement", _to_all(survivors, agreement))
    if sent is not None:
        return sent
    answers = inbox.revealed(about)
    masked = inbox.masked(dealers, size, survivors)
    if masked.missing or masked.refused:
        raise FedkitError(
            "is not there any more, or was altered",
            file=inbox.kept((*masked.missing, *masked.refused)[0]),
            remedy=f"restore it, or rewind to round {n - 1}",
        )
    steps = inbox.keys(plan.participants), inbox.shares(known), arrived
    refused = _refused(plan, survivors, *steps)
    return this.wait("revealed", answers) or partial(_finish, this, known, masked, answers, refused)


def _decide_roster(this: AggregatorRound, inbox: Inbox, seen: Seen) -> list[Event]:
    """Who is in, with which keys; from now on, what they publish besides changes nothing in this round."""
    keys = {who: inbox.identity(who) or b"" for who in seen.messages}
    write_json(this.list_of("identities"), {who: key.hex() for who, key in keys.items()})
    return this.decide("roster", seen.texts())


def _decide_survivors(this: AggregatorRound, inbox: Inbox, seen: Seen) -> list[Event]:
    """Whose masked updates count; they are kept, since an inbox is its participant's to change."""
    for who, data in seen.bytes.items():
        write_bytes(inbox.kept(who), data)
    return this.decide("survivors", seen.hashes)


def _to_all(who: Iterable[str], value: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return dict.fromkeys(who, value)


def _for(who: str, dealt: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What the others have dealt to one participant."""
    return {dealer: shares[who] for dealer, shares in dealt.items() if dealer != who}


def _by_dealer(seen: Seen) -> dict[str, Any]:
    return {
        who: {other: sealed.hex() for other, sealed in message.values().items()}
        for who, message in seen.messages.items()
    }


def _refused(plan: RoundPlan, survivors: Mapping[str, str], *steps: Seen) -> dict[str, str]:
    """Who sent something that was refused, and is not in for that reason."""
    reasons = {who: why for seen in steps for who, why in seen.refused.items()}
    return {
        who: reasons[who] for who in plan.participants if who in reasons and who not in survivors
    }


def _finish(
    this: AggregatorRound, known: Any, masked: Seen, answers: Seen, refused: dict[str, str]
) -> list[Event]:
    """Unmask the sum, take the strategy's step with its mean; the record first, then the global model."""
    at, n = this.at, this.plan.round
    dealers = this.decided("dealt") or {}
    survivors = this.decided("survivors") or {}
    total = unmask(
        this.group,
        known,
        sorted(dealers),
        {w: np.frombuffer(masked.messages[w].body, dtype="<u8") for w in survivors},
        {who: message.values() for who, message in answers.messages.items()},
    )
    state = state_after(at.place, at.strategy, n - 1)
    mean, weight = decode(total, state.model)
    order = [who for who in this.plan.participants if who in survivors]
    after, record = server_step(
        at.strategy,
        this.plan,
        state,
        [Update(who, n, {}, sha256=survivors[who]) for who in order],
        mean=Update("sum", n, mean, weight),
        refused=refused,
        absent=[w for w in this.plan.participants if w not in survivors and w not in refused],
    )
    said = {"sum_of_weights": float(weight), "unmasked_for": float(len(dealers) - len(order))}
    write_round(at.place, after, replace(record, diagnostics={**record.diagnostics, **said}))
    for who in survivors:
        remove(Inbox(at, this.group, n).kept(who))
    email, name = at.site.email, at.name
    events: list[Event] = [UpdateRefused(email, name, who, n, why) for who, why in refused.items()]
    return [*events, RoundAggregated(email, name, n, tuple(order))]


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
_BEFORE = {"shares": "roster", "masked": "dealt", "agreed": "survivors", "revealed": "agreement"}


@dataclass(frozen=True)
class AggregatorRound:
    """One masked round at the aggregator: what was decided, who gets to see it, and for whom a step waits."""

    at: AtAggregator
    plan: RoundPlan
    group: Group
    patient: bool

    def list_of(self, name: str) -> Path:
        """Where a decision is kept."""
        return self.at.place.path / "rounds" / f"secagg_{self.plan.round}_{name}.json"

    def decided(self, name: str) -> dict[str, Any] | None:
        """What was decided, None if nothing was yet."""
        values = read_json(self.list_of(name))
        return values if isinstance(values, dict) else None

    def decide(self, name: str, values: Mapping[str, Any]) -> list[Event]:
        """From now on it is so: who is in, and what all of them get to see."""
        write_json(self.list_of(name), dict(values))
        text = _DECIDED[name].format(len(values))
        return [SecureStep(self.at.site.email, self.at.name, self.plan.round, text)]

    def send(self, name: str, values: Mapping[str, Mapping[str, Any]]) -> Next:
        """Put a list into the mailbox of everybody who is to get it and hasn't."""
        missing = {}
        for email, value in values.items():
            mailbox = self.at.mailbox(email)
            path = mailbox.secure_list(self.plan.round, name)
            if has_permission_file(mailbox.agg_weights) and not is_file(path):
                missing[path] = value
        return partial(self._write, missing) if missing else None

    def _write(self, lists: Mapping[Path, Mapping[str, Any]]) -> list[Event]:
        for path, value in lists.items():
            self.at.write_json(path, dict(value))
        return []

    def wait(self, step: str, seen: Seen) -> Waiting | None:
        """None if this step may end now, else for whom it waits."""
        config, t, there = self.at.config, self.group.threshold, len(seen.messages)
        late = [*seen.missing, *seen.refused]
        left = time_left(config, lambda: self._since(step))
        if step_may_end(config, step, t, there, len(late), left, self.patient):
            return None
        needed = t if step in TOLD else step_needs(config, t, there, len(late))
        remedies = [f"{email}: {reason}" for email, reason in seen.refused.items()]
        remedies += [
            f"{email}: its client has sent an update without a mask, and does not know secure aggregation"
            for email in seen.missing
            if is_file(self.at.place.update(email, self.plan.round))
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

    def _since(self, step: str) -> float:
        """When the participants could begin with this step."""
        if step == "keys":
            return started(self.at, self.plan.round)
        return self.list_of(_BEFORE[step]).stat().st_mtime
