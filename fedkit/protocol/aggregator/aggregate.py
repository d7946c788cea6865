"""One round at the aggregator: which updates are there and sound, when the round may end, and what is averaged.

A round's record is written before its global model. Killed in between, the aggregator averages the same updates again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, RoundAggregated, RoundEvaluated, UpdateRefused, Waiting
from fedkit.base.files import read_dataset, read_state, write_json, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import check_dataset
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.models import distance, load_model
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.training import evaluate
from fedkit.protocol.aggregator.inbox import HALF_WRITTEN_S, Collected, collect, stated_seconds
from fedkit.protocol.server_state import next_model
from fedkit.rounds.history import Contribution, RoundRecord

__all__ = [
    "PATIENCE_S",
    "Collected",
    "aggregate",
    "collect",
    "evaluate_round",
    "only_recorded",
    "started",
    "waits_for",
]


ROLE = "aggregator"
PATIENCE_S = 60.0
"""How long a round with a quorum waits for the others where the config sets no time-out."""


def waits_for(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    plan: RoundPlan,
    found: Collected,
    patient: bool,
) -> Waiting | None:
    """None if the round may end now, else for whom it waits. Without patience, a reached quorum is enough."""
    name, n = config.project_name, plan.round
    quorum = min(config.quorum, len(plan.participants))
    if not found.missing and len(found.updates) >= quorum:
        return None
    enough = bool(found.updates) and len(found.updates) >= quorum
    timeout = config.round_timeout_s or (PATIENCE_S if config.min_participants else None)
    left = None if timeout is None else started(site, place, config, n) + timeout - time.time()
    if enough and (not patient or (left is not None and left <= 0)):
        return None
    whom = [*found.missing, *found.refused]
    theirs = "its update" if len(whom) == 1 else "their updates"
    what = f"send {'a sound update' if found.refused else theirs} of round {n}"
    remedies = [f"{email}: {reason}" for email, reason in found.refused.items()]
    if config.min_participants is None:
        remedies.append("without min_participants in the config, a round waits for everybody")
    elif left is not None and left > 0:
        remedies.append(f"the round ends with {quorum} updates in {left:.0f} s at the latest")
    else:
        remedies.append(f"{len(found.updates)} of at least {quorum} updates are there")
    seconds = left if left is not None and left > 0 else None
    if any(place.update(email, n).exists() for email in found.missing):
        seconds = min(seconds or HALF_WRITTEN_S, HALF_WRITTEN_S)
    return Waiting(site.email, name, ROLE, ", ".join(whom), what, "; ".join(remedies), seconds)


def started(site: Datasite, place: AggregatorProject, config: FLConfig, n: int) -> float:
    """When the participants could start with round n: the latest moment at which its global model was sent."""
    times = [place.global_model(n - 1).stat().st_mtime]
    for email in config.participants:
        sent = site.client(email).project(config.project_name).global_model(n - 1)
        if sent.is_file():
            times.append(sent.stat().st_mtime)
    return max(times)


def aggregate(
    site: Datasite, place: AggregatorProject, config: FLConfig, found: Collected, plan: RoundPlan
) -> list[Event]:
    """Average what was collected; the record first, then the global model."""
    n = plan.round
    before = read_state(place.global_model(n - 1))
    shares = mixing_weights(found.updates, config.weighting) if found.updates else []
    contributions = tuple(
        Contribution(
            participant=update.participant,
            weight=share,
            num_samples=update.num_samples,
            loss=update.loss,
            norm=distance(update.state, before),
            seconds=stated_seconds(site, place, update.participant, n),
            sha256=found.hashes[update.participant],
        )
        for update, share in zip(found.updates, shares, strict=True)
    )
    model, diagnostics = next_model(place, config, found.updates, n)
    record = RoundRecord(
        n,
        contributions,
        dict(found.refused),
        found.missing,
        diagnostics,
        plan.learning_rate,
        plan.epoch,
    )
    write_json(place.record(n), asdict(record))
    write_state(place.global_model(n), model)
    name = config.project_name
    refused = [
        UpdateRefused(site.email, name, email, n, why) for email, why in found.refused.items()
    ]
    return [
        *refused,
        RoundAggregated(site.email, name, n, tuple(u.participant for u in found.updates)),
    ]


def only_recorded(found: Collected, record: RoundRecord) -> Collected | None:
    """The updates that a record written before a crash names, or None if one of them is not the same any more."""
    named = {part.participant: part.sha256 for part in record.contributions}
    if any(found.hashes.get(email) != digest for email, digest in named.items()):
        return None
    updates = tuple(u for u in found.updates if u.participant in named)
    return replace(found, updates=updates, refused=dict(record.refused), missing=record.absent)


def evaluate_round(
    site: Datasite, place: AggregatorProject, config: FLConfig, record: RoundRecord, source: bytes
) -> list[Event]:
    """Accuracy and loss of the round's global model on the aggregator's private test set, into the record."""
    images, labels = read_test_set(site, config)
    model = load_model(source, config.model_class_name, file=place.path / config.model_arch)
    state: Mapping[str, Tensor] = read_state(place.global_model(record.round))
    accuracy, loss = evaluate(model, state, images, labels)
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise FedkitError(
            f"gives a loss of {loss} after round {record.round}",
            file=place.global_model(record.round),
            why="The global model has diverged",
            remedy="launch again with a smaller learning_rate",
        )
    write_json(place.record(record.round), asdict(replace(record, accuracy=accuracy, loss=loss)))
    return [
        RoundEvaluated(site.email, config.project_name, record.round, config.rounds, accuracy, loss)
    ]


def read_test_set(site: Datasite, config: FLConfig) -> tuple[Tensor, Tensor]:
    """The aggregator's test set: images float32 [N,1,28,28], labels int64 [N]. Raises FedkitError."""
    path = site.private_aggregator / config.test_dataset
    images, labels = read_dataset(path)
    check_dataset(images, labels, path)
    return images, labels
