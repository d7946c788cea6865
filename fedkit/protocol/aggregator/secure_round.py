"""Secure aggregation at the aggregator: it collects each step's messages, says who is in, and unmasks the sum at the end.

What was decided once stays: a list is written beside the round's records before it is sent, so that an aggregator that was
killed goes on with the same one. A participant that does not come back is left out where `min_participants` allows it. From
the moment that its masked update is in, it counts, and any t of the others can take its masks away.

One round of secure aggregation at the aggregator: what was decided, who gets to see it, and for whom a step waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, RoundAggregated, SecureStep, UpdateRefused, Waiting
from fedkit.base.files import (
    is_file,
    read_bytes,
    read_json,
    read_state,
    remove,
    sha256_bytes,
    write_bytes,
    write_json,
    write_state,
)
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.update import Update
from fedkit.privacy.secagg.bonawitz import Group, unmask
from fedkit.privacy.secagg.fixedpoint import decode
from fedkit.protocol.aggregator.aggregate import PATIENCE_S, started
from fedkit.protocol.aggregator.secure_inbox import Inbox, Seen
from fedkit.protocol.server_state import next_model
from fedkit.protocol.signed_messages import group_of, list_path, roster_digest
from fedkit.protocol.steps import Next
from fedkit.rounds.history import Contribution, RoundRecord

__all__ = ["AggregatorRound", "secure_round"]


def secure_round(
    site: Datasite, place: AggregatorProject, config: FLConfig, plan: RoundPlan, patient: bool
) -> Next:
    """What the aggregator would do next in a round that has begun; looks only."""
    digest, n = sha256_bytes(read_bytes(place.config, root=site.data_dir)), plan.round
    group = group_of(config, digest, n, plan.participants)
    this, inbox = (
        AggregatorRound(site, place, config, plan, group, patient),
        Inbox(site, place, group, n),
    )

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
    place, config, n = this.place, this.config, this.plan.round
    dealers = this.decided("dealt") or {}
    survivors = this.decided("survivors") or {}
    total = unmask(
        this.group,
        known,
        sorted(dealers),
        {w: np.frombuffer(masked.messages[w].body, dtype="<u8") for w in survivors},
        {who: message.values() for who, message in answers.messages.items()},
    )
    mean, weight = decode(total, read_state(place.global_model(n - 1)))
    model, diagnostics = next_model(place, config, [Update("sum", n, mean, weight)], n)
    order = [who for who in this.plan.participants if who in survivors]
    record = RoundRecord(
        n,
        tuple(Contribution(who, None, None, None, None, survivors[who]) for who in order),
        refused,
        tuple(w for w in this.plan.participants if w not in survivors and w not in refused),
        {
            **diagnostics,
            "sum_of_weights": float(weight),
            "unmasked_for": float(len(dealers) - len(order)),
        },
        this.plan.learning_rate,
        this.plan.epoch,
    )
    write_json(place.record(n), asdict(record))
    write_state(place.global_model(n), model)
    for who in survivors:
        remove(Inbox(this.site, place, this.group, n).kept(who))
    email, name = this.site.email, config.project_name
    events: list[Event] = [UpdateRefused(email, name, who, n, why) for who, why in refused.items()]
    return [*events, RoundAggregated(email, name, n, tuple(order))]


_ROLE = "aggregator"
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
    """One round at the aggregator."""

    site: Datasite
    place: AggregatorProject
    config: FLConfig
    plan: RoundPlan
    group: Group
    patient: bool

    def list_of(self, name: str) -> Path:
        """Where a decision is kept."""
        return self.place.path / "rounds" / f"secagg_{self.plan.round}_{name}.json"

    def decided(self, name: str) -> dict[str, Any] | None:
        """What was decided, None if nothing was yet."""
        values = read_json(self.list_of(name))
        return values if isinstance(values, dict) else None

    def decide(self, name: str, values: Mapping[str, Any]) -> list[Event]:
        """From now on it is so: who is in, and what all of them get to see."""
        write_json(self.list_of(name), dict(values))
        text = _DECIDED[name].format(len(values))
        return [SecureStep(self.site.email, self.config.project_name, self.plan.round, text)]

    def send(self, name: str, values: Mapping[str, Mapping[str, Any]]) -> Next:
        """Put a list into the mailbox of everybody who is to get it and hasn't."""
        missing = {}
        for email, value in values.items():
            mailbox = self.site.client(email).project(self.config.project_name)
            path = list_path(mailbox, self.plan.round, name)
            if has_permission_file(mailbox.agg_weights) and not is_file(path):
                missing[path] = value
        return partial(self._write, missing) if missing else None

    def _write(self, lists: Mapping[Path, Mapping[str, Any]]) -> list[Event]:
        for path, value in lists.items():
            write_json(path, dict(value), root=self.site.data_dir)
        return []

    def wait(self, step: str, seen: Seen) -> Waiting | None:
        """None if this step may end now, else for whom it waits."""
        config, t, there = self.config, self.group.threshold, len(seen.messages)
        late = [*seen.missing, *seen.refused]
        if there >= t and (not late or step in ("agreed", "revealed")):
            return None
        needed = max(t, min(config.quorum, there + len(late)))
        timeout = config.round_timeout_s or (PATIENCE_S if config.min_participants else None)
        left = None if timeout is None else self._since(step) + timeout - time.time()
        over = not self.patient or (left is not None and left <= 0)
        if there >= needed and over and config.min_participants is not None:
            return None
        if step in ("agreed", "revealed"):
            needed = t
        remedies = [f"{email}: {reason}" for email, reason in seen.refused.items()]
        remedies += [
            f"{email}: its client has sent an update without a mask, and does not know secure aggregation"
            for email in seen.missing
            if is_file(self.place.update(email, self.plan.round))
        ]
        remedies.append(f"{there} of at least {needed} are there")
        if there < needed and step != "keys":
            remedies.append("until then, every update stays hidden")
        what = _SAID[step].format("its" if len(late) == 1 else "their")
        seconds = left if left is not None and left > 0 and there >= needed else None
        return Waiting(
            self.site.email,
            config.project_name,
            _ROLE,
            ", ".join(late) or self.site.email,
            f"{what} (round {self.plan.round}, secure aggregation)",
            "; ".join(remedies),
            seconds,
        )

    def _since(self, step: str) -> float:
        """When the participants could begin with this step."""
        if step == "keys":
            return started(self.site, self.place, self.config, self.plan.round)
        return self.list_of(_BEFORE[step]).stat().st_mtime
