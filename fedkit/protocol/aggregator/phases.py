"""The aggregator's state machine: launch, request, wait for everybody, send, collect, average, evaluate, until done.

Its memory is `launch/` and `running/P`; what it publishes is derived from them. Notebook 04 builds the step that matters,
the average, by hand.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.events import AGGREGATOR as ROLE
from fedkit.base.events import Event, GlobalModelSent, ProjectDone, Waiting
from fedkit.base.files import is_file, read_bytes, refuse_links, write_bytes, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.projects import move_to_done
from fedkit.datasite.round_plan import RoundPlan, current_settings, read_plan
from fedkit.datasite.tree import folder_names
from fedkit.protocol.aggregator.aggregate import aggregate, evaluate_round, only_recorded, waits_for
from fedkit.protocol.aggregator.inbox import collect
from fedkit.protocol.aggregator.launch import (
    LAUNCHED,
    gate,
    launch_step,
    read_launched,
    request_step,
)
from fedkit.protocol.aggregator.publish import outdated, publish
from fedkit.protocol.aggregator.secure_round import secure_round
from fedkit.protocol.approval import why_declined
from fedkit.protocol.steps import Next, drive
from fedkit.protocol.strategy_payload import send_beside
from fedkit.rounds.history import RoundRecord, read_records
from fedkit.rounds.round import draw

__all__ = ["advance", "make_plan", "next_step", "projects"]


def advance(site: Datasite, patient: bool = True, until_round: int | None = None) -> list[Event]:
    """Do whatever this datasite's aggregator can do now; returns what happened and what each project waits for.

    until_round : begin no round after this one; its global model stays unsent, so that settings may still change.
    patient : without it, a round whose quorum is reached ends at once; for callers who know that nothing more comes.
    """
    events = drive(site.email, ROLE, ["launch"], lambda name: launch_step(site, name))
    return events + drive(
        site.email, ROLE, projects(site), lambda name: next_step(site, name, patient, until_round)
    )


def projects(site: Datasite) -> list[str]:
    """Projects under way here, in alphabetical order."""
    return folder_names(site.aggregator().running)


def next_step(
    site: Datasite, project: str, patient: bool = True, until_round: int | None = None
) -> Next:
    """What the aggregator would do next in this project; looks only."""
    place = site.aggregator().project(project)
    refuse_links(place.path, site.data_dir)
    if not is_file(place.path / LAUNCHED):
        what = "let the app that launched this project go on; fedkit's aggregator keeps out of it"
        return Waiting(site.email, project, ROLE, site.email, what)
    config = FLConfig.load(place.config)
    if config.project_name != project:
        raise FedkitError(
            f"names the project {config.project_name!r}, but lies in the folder of {project!r}",
            file=place.config,
            field="project_name",
            remedy="give the folder and the project the same name",
        )
    newest = max(n for n in range(config.rounds + 1) if n == 0 or is_file(place.global_model(n)))
    if not is_file(place.global_model(0)):
        raise FedkitError(
            "is not there", file=place.global_model(0), remedy="restore it from model_weight"
        )
    records = read_records(place, config.rounds)
    if len(records) < newest:
        raise FedkitError(
            "is not there, but the global model that it tells of is",
            file=place.record(len(records) + 1),
            why="Perhaps another aggregator is at work in this project too",
            remedy=f"stop that one, then remove agg_model_round_{len(records) + 1}.pt and later ones",
        )
    news = outdated(site, place, config, records)
    if news:
        return partial(_publish, site, news)
    ready = [
        e for e in config.participants if has_permission_file(_theirs(site, project, e).agg_weights)
    ]
    asked = request_step(site, config, ready)
    if asked is not None:
        return asked
    if newest == 0 and not records:
        wait = gate(site, config, ready)
        if wait is not None:
            return wait
    if newest and records[newest - 1].accuracy is None:
        source = read_launched(site, project, config.model_arch)
        return partial(evaluate_round, site, place, config, records[newest - 1], source)
    plan = read_plan(place, newest + 1)
    if until_round is not None and until_round <= newest < config.rounds and plan is None:
        return Waiting(site.email, project, ROLE, site.email, f"begin round {newest + 1}")
    if newest < config.rounds and plan is None:
        able = [e for e in config.participants if why_declined(site, project, e) is None]
        # below the quorum somebody is only out of sight: a round never begins without those it needs
        return partial(
            _begin, place, config, ready if len(ready) >= config.quorum else able, newest + 1
        )
    for email in ready:
        for n in range(newest + 1):
            if not is_file(_theirs(site, project, email).global_model(n)):
                return partial(_send, site, place, config, email, n, records)
    if plan is None:
        late = _owed_step(site, place, config, records, ready) if patient else None
        return late or partial(_finish, site, place, config)
    return _round_step(site, place, config, records, plan, patient)


def _theirs(site: Datasite, project: str, email: str) -> ClientProject:
    return site.client(email).project(project)


def _publish(site: Datasite, news: dict[Path, Any]) -> list[Event]:
    publish(site, news)
    return []


def _begin(place: AggregatorProject, config: FLConfig, able: list[str], n: int) -> list[Event]:
    make_plan(place, config, able, n)
    return []


def _send(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    email: str,
    n: int,
    records: list[RoundRecord],
) -> list[Event]:
    mailbox, plan = _theirs(site, config.project_name, email), read_plan(place, n + 1)
    settings = {} if plan is None else plan.on_the_wire(config)
    if settings:  # before the model that they belong to
        write_json(mailbox.round_settings(n + 1), settings, root=site.data_dir)
    if plan is not None and email in plan.participants:
        mine = (r.round for r in records[:n] if email in {p.participant for p in r.contributions})
        send_beside(site, place, config, mailbox, n + 1, counted=max(mine, default=0))
    target = mailbox.global_model(n)
    write_bytes(target, read_bytes(place.global_model(n)), root=site.data_dir)
    return [GlobalModelSent(site.email, config.project_name, email, n)]


def _round_step(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    records: list[RoundRecord],
    plan: RoundPlan,
    patient: bool,
) -> Next:
    if config.secure_aggregation is not None:
        return secure_round(site, place, config, plan, patient)
    found = collect(site, place, config, plan, patient)
    # a crash between the record and the model: the same updates again
    if len(records) >= plan.round:
        recorded = only_recorded(found, records[plan.round - 1])
        if recorded is not None:
            return partial(aggregate, site, place, config, recorded, plan)
    wait = waits_for(site, place, config, plan, found, patient)
    return wait or partial(aggregate, site, place, config, found, plan)


def _owed_step(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    records: list[RoundRecord],
    ready: list[str],
) -> Waiting | None:
    """Wait a while for a participant that trained but is out of sight now: the last global model is still owed to it."""
    trained = {part.participant for record in records for part in record.contributions}
    gone = [e for e in config.participants if e in trained and e not in ready]
    owed = [e for e in gone if not (site.client(e).done / config.project_name).is_dir()]
    left = place.global_model(config.rounds).stat().st_mtime + config.linger_s - time.time()
    if not owed or left <= 0:
        return None
    what = "open agg_weights/ again, so that the last global model can be sent"
    remedy = f"the project ends without that in {left:.0f} s"
    return Waiting(site.email, config.project_name, ROLE, ", ".join(owed), what, remedy, left)


def _finish(site: Datasite, place: AggregatorProject, config: FLConfig) -> list[Event]:
    move_to_done(site, site.aggregator(), place.path.name, map(place.inbox, config.participants))
    return [ProjectDone(site.email, config.project_name, ROLE)]


def make_plan(place: AggregatorProject, config: FLConfig, able: list[str], n: int) -> RoundPlan:
    """Fix round n. able : who can take part, in the config's order; a sample is drawn from them where the settings ask
    for fewer (McMahan et al. 2017: a random set S_t of max(C K, 1) clients)."""
    wished = current_settings(place, config)
    chosen = draw(wished, able, n)
    plan = RoundPlan(n, wished.learning_rate, wished.epoch, tuple(chosen))
    write_json(place.plan(n), asdict(plan))
    return plan
