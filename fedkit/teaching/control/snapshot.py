"""What panels show, at one moment: where each participant stands, and what all wait for.

It is read from the files, and nothing is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedkit.base.events import AGGREGATOR, Event, Problem, Waiting
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.projects import find_project
from fedkit.datasite.round_plan import current_settings, read_plan
from fedkit.federation.network import Network
from fedkit.protocol import advance as node
from fedkit.protocol.aggregator.inbox import Collected, collect
from fedkit.protocol.approval import why_declined
from fedkit.protocol.project import AtAggregator
from fedkit.rounds.history import Contribution, History
from fedkit.teaching.failures.fates import Fate, fates
from fedkit.teaching.failures.faults import Fault, Faults

__all__ = ["Row", "Snapshot", "look", "standing", "standstill"]


@dataclass(frozen=True)
class Row:
    """One participant as the panel shows it; numbers of its last round, None where there are none.

    round : of its last averaged update, whose numbers these are. norm : L2 norm of that update. seconds : of local
    training. up, down : bytes that left and reached its data dir.
    declined : the reason with which it said no, "" where it did not. kept_back : loss of its update on the samples that
    it keeps back.
    """

    participant: str
    approved: bool
    num_samples: int | None
    loss: float | None
    norm: float | None
    seconds: float | None
    up: int
    down: int
    declined: str = ""
    kept_back: float | None = None
    round: int | None = None


_NO_HISTORY = History("")


@dataclass(frozen=True)
class Snapshot:
    """Everything a panel shows, at one moment.

    status : one line, what is being done or for whom the project waits. who, epoch, epochs : the participant that
    finished a local epoch last. begun : the round that is under way, whose settings are fixed; 0 where none is.
    settings : what holds from the next round on. error : what went wrong, else "".
    fates : what became of every update. faults : what is set to go wrong, by participant.
    """

    busy: bool = False
    status: str = "nothing launched yet"
    error: str = ""
    rounds: int = 0
    who: str = ""
    epoch: int = 0
    epochs: int = 0
    begun: int = 0
    history: History = _NO_HISTORY
    rows: tuple[Row, ...] = ()
    fates: tuple[Fate, ...] = ()
    faults: Mapping[str, Fault] = field(default_factory=dict)
    settings: FLConfig | None = None
    events: tuple[Event, ...] = ()

    @property
    def next_round(self) -> int:
        """The first round in which a setting that is changed now holds."""
        return max(self.begun, len(self.history)) + 1


def look(
    network: Network, faults: Faults, stops: Iterable[Event], busy: bool, paused: bool
) -> dict[str, Any]:
    """What the files say, as changes to a snapshot; the status line too where nothing moves.

    stops : what the last run ended with, where it ended by itself. paused : a person has stopped it. Raises FedkitError.
    """
    home, history = network[network.aggregator], _NO_HISTORY
    found: dict[str, Any] = {"faults": faults.current(), "settings": None, "fates": (), "begun": 0}
    if network.projects():
        place, history = find_project(home), network.history()
        config = FLConfig.load(place.config)
        plan = read_plan(place, len(history) + 1)
        asked = plan.participants if plan is not None else ()
        found["begun"] = 0 if plan is None else plan.round
        inbox = None if plan is None else Collected((), {}, asked)  # while it moves, nobody knows
        if plan is not None and not busy:
            inbox = collect(AtAggregator(home, config), plan, patient=False)
        found["fates"] = fates(history, config.participants, faults.log, inbox, asked)
        found["settings"] = current_settings(place, config)
    found |= {"history": history, "rounds": history.total_rounds}
    found["rows"] = standing(network, history)
    return found if busy else found | {"status": standstill(network, history, stops, paused)}


def standing(network: Network, history: History) -> tuple[Row, ...]:
    """One row a participant, in the network's order."""
    up, down = Counter[str](), Counter[str]()
    for entry in network.ledger():
        up[entry.sender] += entry.size
        down[entry.receiver] += entry.size
    last = {p.participant: p for record in history for p in record.contributions}
    when = {p.participant: record.round for record in history for p in record.contributions}
    rows, project = [], history.project
    for email in network.participants:
        site = network[email]
        part = last.get(email, Contribution(email, None, None, None, None, ""))
        approved = bool(project) and _approved(site, project)
        declined = why_declined(site, project) if project and not approved else None
        numbers = part.num_samples, part.loss, part.norm, part.seconds
        told = None if part.validation is None else part.validation.trained.get("loss")
        sizes = up[email], down[email]
        rows.append(Row(email, approved, *numbers, *sizes, declined or "", told, when.get(email)))
    return tuple(rows)


def _approved(site: Datasite, project: str) -> bool:
    box = site.client()
    return has_permission_file(box.project(project).agg_weights) or (box.done / project).is_dir()


def standstill(
    network: Network, history: History, stops: Iterable[Event] = (), paused: bool = False
) -> str:
    """One line for a network in which nothing moves: done, paused, or whom it waits for and what that person must do.

    stops : what the last run ended with, where it ended by itself; without it, the files are asked. paused : a person has
    stopped it, so that nobody needs to be asked.
    """
    n, total = len(history), history.total_rounds
    if history.done:
        return f"done: {how_many(total, 'round')}"
    problems = [f"{e.email}: {e.error}" for e in stops if isinstance(e, Problem)]
    if problems:
        return problems[0]
    for event in stops:
        if isinstance(event, Waiting) and event.email == network.aggregator != event.whom:
            remedy = f" ({event.remedy})" if event.remedy else ""
            return f"waits for {event.whom} to {event.what}{remedy}"
    stuck = "" if paused else _stuck(network, history.project or "launch")
    if stuck:
        return stuck
    if not history.project:
        return "nothing launched yet"
    if read_plan(find_project(network[network.aggregator], history.project), n + 1) is not None:
        return f"paused in round {n + 1} of {total}"
    return f"paused after round {n} of {total}" if n else f"ready for round 1 of {total}"


def _stuck(network: Network, project: str) -> str:
    """What the aggregator waits for from people who can't go on by themselves, or ""."""
    at = {
        email: [row for row in node.status(site) if row.project == project]
        for email, site in network.sites.items()
    }
    able = {email for email, rows in at.items() if any(not row.waits_for for row in rows)}
    for row in at[network.aggregator]:
        if row.state == "problem":
            return f"{row.waits_for}: {row.text}"
        if row.role == AGGREGATOR and not able.issuperset(row.waits_for.split(", ")):
            return f"waits for {row.text.replace(' must ', ' to ', 1)}" if row.waits_for else ""
    return ""
