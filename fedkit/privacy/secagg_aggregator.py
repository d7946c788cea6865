"""Secure aggregation at the aggregator: it collects each step's messages, says who is in, and unmasks the sum at the end.

What was decided once stays: a list is written beside the round's records before it is sent, so that an aggregator that was
killed goes on with the same one. A participant that does not come back is left out where `min_participants` allows it. From
the moment that its masked update is in, it counts, and any t of the others can take its masks away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from fedkit.averaging import next_model
from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, RoundAggregated, UpdateRefused
from fedkit.base.files import (
    read_bytes,
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
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.update import Update
from fedkit.machine import Next
from fedkit.privacy.secagg.bonawitz import unmask
from fedkit.privacy.secagg.fixedpoint import decode
from fedkit.privacy.secagg_decisions import AggregatorRound
from fedkit.privacy.secagg_inbox import Inbox, Seen
from fedkit.privacy.secagg_wire import group_of, roster_digest
from fedkit.records import Contribution, RoundRecord

__all__ = ["secure_round"]


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
