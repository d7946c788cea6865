"""The aggregator's state machine: launch; publish, invite, gate, evaluate, stop, plan, send, collect, aggregate, finish.

Its memory is `launch/` and `running/P`; what it publishes is derived from them. Notebook 04 builds the step that matters,
the average, by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.events import (
    AGGREGATOR,
    Event,
    GlobalModelSent,
    Notice,
    ProjectDone,
    ProjectStopped,
    Waiting,
)
from fedkit.base.files import is_file, is_folder, is_writable, refuse_links, same_content
from fedkit.base.tensors import inspect_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.projects import follow_home, move_to_done
from fedkit.datasite.round_plan import RoundPlan, current_settings, read_plan, write_plan
from fedkit.datasite.tree import folder_names
from fedkit.protocol.aggregator import inbox, launch
from fedkit.protocol.aggregator.aggregate import (
    end_round,
    evaluate_round,
    only_recorded,
    waits_for,
)
from fedkit.protocol.aggregator.publish import outdated
from fedkit.protocol.project import AtAggregator, check_folder
from fedkit.protocol.steps import Next, Phase, drive, first_answer
from fedkit.protocol.waiting import lingers, quorum_of
from fedkit.rounds.history import RoundRecord, read_records

__all__ = ["PHASES", "advance", "next_step", "projects"]


def advance(site: Datasite, patient: bool = True, until_round: int | None = None) -> list[Event]:
    """Do whatever this datasite's aggregator can do now; returns what happened and what each project waits for.

    until_round : begin no round after this one; its global model stays unsent, so that settings may still change.
    patient : without it, a round whose quorum is reached ends at once; for callers who know that nothing more comes.
    """
    follow_home(site, site.aggregator())
    events = drive(site.email, AGGREGATOR, ["launch"], partial(launch.launch_step, site))
    following = partial(next_step, site, patient=patient, until_round=until_round)
    return events + drive(site.email, AGGREGATOR, projects(site), following)


def projects(site: Datasite) -> list[str]:
    """Projects under way here, in alphabetical order."""
    return folder_names(site.aggregator().running)


def next_step(
    site: Datasite, project: str, patient: bool = True, until_round: int | None = None
) -> Next:
    """What the aggregator would do next in this project; looks only."""
    place = site.aggregator().project(project)
    refuse_links(place.path, site.data_dir)
    if not is_file(place.path / launch.LAUNCHED):
        what = "let the app that launched this project go on; fedkit's aggregator keeps out of it"
        return Waiting(site.email, project, AGGREGATOR, site.email, what)
    config = FLConfig.load(place.config)
    check_folder(config, place.config, _COPY)
    return first_answer(PHASES, _stand(AtAggregator(site, config), patient, until_round))


@dataclass(frozen=True)
class Stand:
    """How a project stands: the rounds whose global model is there, and what was written down of them.

    newest : the last round that has ended; 0 before the first. patient, until_round : as for `advance`.
    """

    at: AtAggregator
    newest: int
    records: Sequence[RoundRecord]
    patient: bool
    until_round: int | None

    @cached_property
    def ready(self) -> list[str]:
        """Who takes part and can be reached, in the config's order."""
        at = self.at
        return [email for email in at.config.participants if at.is_ready(email)]

    @cached_property
    def plan(self) -> RoundPlan | None:
        """The plan of the round that is under way, None between rounds."""
        return read_plan(self.at.place, self.newest + 1, self.at.config)

    @cached_property
    def found(self) -> inbox.Collected:
        """What lies in the inboxes for the round under way."""
        assert self.plan is not None
        return inbox.collect(self.at, self.plan, self.patient)

    @cached_property
    def recorded(self) -> inbox.Collected | None:
        """After a crash between a round's record and its model: the updates that the record names, if all are there."""
        if len(self.records) <= self.newest:
            return None
        return only_recorded(self.found, self.records[self.newest])


def _stand(at: AtAggregator, patient: bool, until_round: int | None) -> Stand:
    """Raises FedkitError if a file is gone that a round left behind."""
    place, rounds = at.place, at.config.rounds
    newest = max(n for n in range(rounds + 1) if n == 0 or is_file(place.global_model(n)))
    if not is_file(place.global_model(0)):
        raise FedkitError(
            "is not there", file=place.global_model(0), remedy="restore it from model_weight"
        )
    records = read_records(place, rounds)
    if len(records) < newest:
        raise FedkitError(
            "is not there, but the global model that it tells of is",
            file=place.record(len(records) + 1),
            why="Perhaps another aggregator is at work in this project too",
            remedy=f"stop that one, then remove agg_model_round_{len(records) + 1}.pt and later ones",
        )
    return Stand(at, newest, records, patient, until_round)


def publish(now: Stand) -> Next:
    """What everybody may see follows from the files, after whatever has happened; so this comes first."""
    news = outdated(now.at, now.records)
    return partial(now.at.write_files, news) if news else None


def invite(now: Stand) -> Next:
    """A request to everybody who has none yet."""
    return launch.invite(now.at, now.ready)


def gate(now: Stand) -> Next:
    """Before the first round."""
    begun = now.newest or now.records or now.plan is not None
    return None if begun else launch.gate(now.at, now.ready)


def evaluate(now: Stand) -> Next:
    """How good the newest global model is."""
    if not now.newest or now.records[now.newest - 1].evaluated:
        return None
    source = now.at.launched(now.at.config.model_arch)
    return partial(evaluate_round, now.at, now.records[now.newest - 1], source)


def stop(now: Stand) -> Next:
    """People have left, and fewer than the quorum remain: the project ends as it is, with its last model."""
    at, place = now.at, now.at.place
    if is_file(place.stopped):
        return partial(_finish, at)
    if not now.records and now.plan is None:
        return None  # before the first round, the gate says so
    left = [e for e in at.config.participants if at.why_declined(e) is not None]
    if now.newest == at.config.rounds:
        return None
    asked = now.plan.participants if now.plan is not None else at.config.participants
    owed = [e for e in left if e in asked and not place.has_update(e, now.newest + 1)]
    if not owed:
        return None  # the round under way has all it needs from them
    enough = len(at.config.participants) - len(left) >= at.config.quorum
    # of those who were drawn for a round, too few may remain
    if enough and (now.plan is None or len(asked) - len(owed) >= quorum_of(at.config, now.plan)):
        return None
    return partial(_stop, now, left)


def plan(now: Stand) -> Next:
    """The next round begins: who takes part, and with which settings, is written down once."""
    at, n = now.at, now.newest + 1
    if now.plan is not None:
        return None
    if now.until_round is not None and now.until_round <= now.newest < at.config.rounds:
        return at.wait(at.site.email, f"begin round {n}")
    return partial(_begin, now, n) if now.newest < at.config.rounds else None


def send(now: Stand) -> Next:
    """Every global model so far, to everybody who can be reached and hasn't got it."""
    counted = cache(partial(_counted, now.records))
    return [
        partial(_send, now, email, n, counted)
        for email, model in ((e, now.at.mailbox(e).global_model) for e in now.ready)
        for n in range(now.newest + 1)
        if not is_file(model(n)) or _replaced(now, email, n)
    ] or None


def _replaced(now: Stand, email: str, n: int) -> bool:
    """On a road where others can write: does something else lie there than was sent, a model or what belongs to it?"""
    at = now.at
    if not at.site.road.others_can_write:
        return False
    mailbox, plan = at.mailbox(email), now.plan if n == now.newest else None
    sent = [(mailbox.global_model(n), n)]
    if plan is not None and plan.on_the_wire(at.config):
        sent.append((mailbox.round_settings(n + 1), n + 1))
    if plan is not None and email in plan.participants and at.strategy.two_sided:
        sent.append((mailbox.extra_for(n + 1), n + 1))
    whole = all(at.is_sent(path, email, of) for path, of in sent)
    return not whole or not same_content(at.place.global_model(n), mailbox.global_model(n))


def collect(now: Stand) -> Next:
    """In a round: for whom it waits."""
    if now.plan is None:
        return None
    if now.at.config.secure_aggregation is not None:
        from fedkit.protocol.aggregator.secure_round import secure_round

        return secure_round(now.at, now.plan, now.patient)
    return None if now.recorded is not None else waits_for(now.at, now.plan, now.found, now.patient)


def aggregate(now: Stand) -> Next:
    """The end of a round."""
    if now.plan is None:
        return None
    # it says what of a model is averaged; where it is gone, a look says so
    now.at.launched(now.at.config.model_arch)
    return partial(end_round, now.at, now.plan, now.recorded or now.found)


def finish(now: Stand) -> Next:
    """After the last round; who trained and is out of sight is still owed the last global model."""
    waits = _underway if now.at.site.road.name == "syftbox" else _owed
    late = waits(now) if now.patient else None
    return late or partial(_finish, now.at)


PHASES: tuple[Phase[Stand], ...] = (
    publish,
    invite,
    gate,
    evaluate,
    stop,
    plan,
    send,
    collect,
    aggregate,
    finish,
)
"""In this order; the first one that answers says what is next."""


_COPY = "remove it if it is a copy; else give the folder and the project the same name"


def _begin(now: Stand, n: int) -> list[Event]:
    from fedkit.rounds.round import plan_round

    at, config = now.at, now.at.config
    # below the quorum somebody is only out of sight: a round never begins without those it needs
    able = now.ready
    if len(able) < config.quorum:
        able = [e for e in config.participants if at.why_declined(e) is None]
    write_plan(at.place, plan_round(current_settings(at.place, config), able, n))
    return []


def _counted(records: Sequence[RoundRecord], n: int) -> dict[str, int]:
    """Of whom an update has counted up to round n: e-mail -> the last such round."""
    return {part.participant: r.round for r in records[:n] for part in r.contributions}


def _send(
    now: Stand, email: str, n: int, counted: Callable[[int], Mapping[str, int]]
) -> list[Event]:
    at, mailbox = now.at, now.at.mailbox(email)
    if not at.is_ready(email):
        return []  # it has left while others were served
    plan = now.plan if n == now.newest else read_plan(at.place, n + 1, at.config)
    settings = {} if plan is None else plan.on_the_wire(at.config)
    if settings:  # before the model that they belong to
        content = json.dumps(settings, indent=4).encode()
        at.send(mailbox.round_settings(n + 1), content, email, n + 1)
    if plan is not None and email in plan.participants:
        from fedkit.protocol.strategy_payload import send_beside

        send_beside(at, email, n + 1, counted(n).get(email, 0))
    model = at.place.global_model(n)
    data = at.read(model)
    try:
        inspect_state(data, model)
    except Unreadable as error:  # a disk that was full, a hand that slipped
        error.remedy = (
            "remove it: the round is then aggregated anew, from the same updates"
            if 0 < n == now.newest
            else f"restore it from {email}'s agg_weights/, where the same file lies"
        )
        raise
    at.send(mailbox.global_model(n), data, email, n)
    return [GlobalModelSent(at.site.email, at.name, email, n)]


def _stop(now: Stand, left: Sequence[str]) -> list[Event]:
    at = now.at
    at.write_json(at.place.stopped, {"round": now.newest, "left": list(left)})
    return [ProjectStopped(at.site.email, at.name, now.newest, tuple(left), at.config.quorum)]


def _owed(now: Stand) -> Waiting | None:
    """Wait a while for a participant that trained but is out of sight now."""
    at = now.at
    trained = {part.participant for record in now.records for part in record.contributions}
    gone = [e for e in at.config.participants if e in trained and e not in now.ready]
    owed = [e for e in gone if not is_folder(at.site.client(e).done / at.name)]
    left = lingers(at.config, at.place.global_model(at.config.rounds))
    if not owed or left <= 0:
        return None
    what = "open agg_weights/ again, so that the last global model can be sent"
    remedy = f"the project ends without that in {left:.0f} s"
    return at.wait(", ".join(owed), what, remedy, left)


def _underway(now: Stand) -> Waiting | None:
    """SyftBox sends a change after the other: the moves of finishing wait until the last global model is where it belongs.

    Who has it moves to `done/`, and is out of sight from then on.
    """
    at, left = now.at, lingers(now.at.config, now.at.place.global_model(now.at.config.rounds))
    if not now.ready or left <= 0:
        return None
    remedy = f"the project ends in {left:.0f} s in any case"
    return at.wait(", ".join(now.ready), "take the last global model", remedy, left)


def _finish(at: AtAggregator) -> list[Event]:
    inboxes = [*map(at.place.inbox, at.config.participants)]
    shut = [path for path in inboxes if is_folder(path) and not is_writable(path)]
    opened = [path for path in inboxes if path not in shut]
    move_to_done(at.site, at.site.aggregator(), at.name, opened)
    text = (
        "whoever might write there still may: its permission files can't be removed -> remove them"
    )
    told = [Notice(at.site.email, at.name, f"{path.name} in fl_clients/: {text}") for path in shut]
    return [*told, ProjectDone(at.site.email, at.name, AGGREGATOR)]
