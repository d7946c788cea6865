"""The end of a round at the aggregator: for whom it waits, what is averaged, and how good the global model is then.

The step itself is `rounds/round.py`'s `server_step`. A round's record is written before its global model: killed in
between, the aggregator averages the same updates again.
"""

from __future__ import annotations

import math
import os

from fedkit.base.errors import FedkitError
from fedkit.base.events import (
    ClaimCapped,
    Event,
    RoundAggregated,
    RoundEvaluated,
    RoundMeasured,
    UpdateRefused,
    Waiting,
)
from fedkit.base.files import read_dataset, read_state, write_json
from fedkit.base.text import how_many
from fedkit.datasite.round_plan import RoundPlan
from fedkit.protocol.aggregator.inbox import Collected
from fedkit.protocol.project import AtAggregator
from fedkit.protocol.waiting import HALF_WRITTEN_S, quorum_of, round_may_end, time_left
from fedkit.rounds.history import RoundRecord

__all__ = ["end_round", "evaluate_round", "only_recorded", "waits_for"]


def waits_for(at: AtAggregator, plan: RoundPlan, found: Collected, patient: bool) -> Waiting | None:
    """None if the round may end now, else for whom it waits. Without patience, a reached quorum is enough."""
    config, n = at.config, plan.round
    quorum, left = quorum_of(config, plan), time_left(config, at.place.plan(n))
    awaited = [*found.missing, *found.forged]
    if round_may_end(len(found.updates), awaited, quorum, left, patient):
        return None
    told = {**found.refused, **found.forged}
    whom = [*found.missing, *told]
    theirs = "its update" if len(whom) == 1 else "their updates"
    what = f"send {'a sound update' if told else theirs} of round {n}"
    remedies = [f"{email}: {reason}" for email, reason in told.items()]
    blocked = {email: at.obstacle(email) for email in found.missing}
    remedies += [f"{email}: {reason}" for email, reason in blocked.items() if reason]
    if any(reason.endswith(("holds NaN", "holds infinite values")) for reason in told.values()):
        remedies.append(
            "weights grow without bound where a step is too large: launch anew with a smaller learning_rate"
        )
    seconds = left if left is not None and left > 0 else None
    if config.min_participants is None:
        remedies.append("without min_participants in the config, a round waits for everybody")
    elif seconds is not None:
        remedies.append(
            f"the round ends with {how_many(quorum, 'update')} in {seconds:.0f} s at the latest"
        )
    else:
        remedies.append(f"updates that are there: {len(found.updates)} of at least {quorum}")
    if any(os.path.lexists(at.place.update(email, n)) for email in found.missing):
        seconds = min(seconds or HALF_WRITTEN_S, HALF_WRITTEN_S)
    return at.wait(", ".join(whom), what, "; ".join(remedies), seconds)


def only_recorded(found: Collected, record: RoundRecord) -> Collected | None:
    """The updates that a record written before a crash names, or None if one of them is not the same any more."""
    named = {part.participant: part.sha256 for part in record.contributions}
    hashes = {update.participant: update.sha256 for update in found.updates}
    if any(hashes.get(email) != digest for email, digest in named.items()):
        return None
    updates = tuple(u for u in found.updates if u.participant in named)
    return Collected(updates, dict(record.refused), record.absent)


def end_round(at: AtAggregator, plan: RoundPlan, found: Collected) -> list[Event]:
    """Average what was collected, and write down what is carried on."""
    from fedkit.protocol.server_state import state_after, write_round
    from fedkit.rounds.round import server_step

    n, site = plan.round, at.site
    state = state_after(at, n - 1)
    after, record = server_step(
        at.strategy,
        plan,
        state,
        found.updates,
        refused={**found.refused, **found.forged},
        absent=found.missing,
        buffers=at.buffers,
    )
    averaged = tuple(part.participant for part in record.contributions)
    if len(averaged) < quorum_of(at.config, plan):
        turned_away = "; ".join(f"{who}: {why}" for who, why in record.refused.items())
        raise FedkitError(
            f"has {how_many(len(averaged), 'update')} that can be averaged, fewer than its quorum ({turned_away})",
            file=at.place.inbox(next(iter(record.refused))),
            field=f"round {n}",
            remedy="ask for smaller numbers, or rewind to the round before",
        )
    write_round(at, after, record)
    if at.config.signed:
        at.remember_signers(averaged)
    return [
        *(UpdateRefused(site.email, at.name, who, n, why) for who, why in record.refused.items()),
        *(
            ClaimCapped(site.email, at.name, who, n, claimed, at.config.max_samples or claimed)
            for who, claimed in record.capped.items()
        ),
        RoundAggregated(site.email, at.name, n, averaged),
    ]


def evaluate_round(at: AtAggregator, record: RoundRecord, source: bytes) -> list[Event]:
    """Metrics and loss of the round's global model on the aggregator's private test set, into the record."""
    from fedkit.data.shards import check_dataset
    from fedkit.data.standardise import standardised
    from fedkit.learning.device import find_device
    from fedkit.learning.models import load_model
    from fedkit.learning.training import judged

    place, config, n = at.place, at.config, record.round
    path = at.site.private_aggregator / config.test_dataset
    images, labels = read_dataset(path)
    check_dataset(images, labels, path, config.task)
    images, labels = standardised((images, labels), config.task)
    file, name = place.path / config.model_arch, config.model_class_name
    model = load_model(source, name, file=file, task=config.task).to(find_device(at.site.device))
    state = read_state(place.global_model(n))
    metrics, loss = judged(model, state, images, labels, config.task)
    if not math.isfinite(loss):
        raise FedkitError(
            f"gives a loss of {loss} after round {n}",
            file=place.global_model(n),
            why="The global model has diverged",
            remedy="launch again with a smaller learning_rate",
        )
    write_json(place.record(n), record.with_scores(metrics, loss).to_dict())
    about = (at.site.email, at.name, n, config.rounds)
    if metrics.keys() == {"accuracy"}:
        return [RoundEvaluated(*about, metrics["accuracy"], loss)]
    scores = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
    return [RoundMeasured(*about, scores or "no metric", loss)]
