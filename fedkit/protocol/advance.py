"""One datasite as a whole: both apps, moved until nothing more can be done, one process at a time; and its status.

`advance()` is the only verb. Notebook 02 calls it after each file that a person puts in place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from fedkit.base.events import AGGREGATOR, PARTICIPANT, Event, Problem, Progress, Waiting
from fedkit.base.files import is_file
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.lock import locked
from fedkit.datasite.tree import folder_names
from fedkit.protocol.aggregator import phases as aggregator
from fedkit.protocol.aggregator.launch import launch_status
from fedkit.protocol.approval import declined_requests
from fedkit.protocol.client import phases as client
from fedkit.protocol.steps import Next, look

__all__ = ["ProjectStatus", "advance", "locked", "status"]


@dataclass(frozen=True)
class ProjectStatus:
    """Where a project stands at one datasite, in one role.

    state : "launch", "request", "declined", "running", "problem" or "done". waits_for : e-mails, "" if it can go on by
    itself. text : what is to be done, in words.
    """

    project: str
    role: str
    state: str
    waits_for: str
    text: str


def advance(
    site: Datasite,
    *,
    roles: Collection[str] = (AGGREGATOR, PARTICIPANT),
    on_epoch: Progress | None = None,
    on_event: Callable[[Event], None] | None = None,
    patient: bool = True,
    stop: Callable[[], bool] | None = None,
    until_round: int | None = None,
    timeout_s: float = 0.0,
) -> list[Event]:
    """Do everything that can be done now at this datasite, as aggregator and as participant.

    Returns what happened, then what each project waits for. Call it again at any time: nothing is done twice.
    roles : "aggregator", "participant" or both; one alone where another app plays the other one in this datasite.
    stop : asked before every batch and between steps; where it says yes, this returns soon, and nothing is lost.
    until_round : as aggregator, begin no round after this one.
    on_event : called with what happened while the rest is still to come.
    Raises Busy if another process is advancing the same datasite for longer than `timeout_s` seconds.
    """
    happened: list[Event] = []
    with locked(site, timeout_s):
        while True:
            events = aggregator.advance(site, patient, until_round) if AGGREGATOR in roles else []
            if PARTICIPANT in roles:
                events += client.advance(site, on_epoch, stop)
            moved = [e for e in events if not isinstance(e, Waiting | Problem)]
            happened += moved
            for event in moved if on_event is not None else ():
                on_event(event)  # type: ignore[misc]
            if not moved or (stop is not None and stop()):
                return happened + events


def status(site: Datasite) -> list[ProjectStatus]:
    """Where every project of this datasite stands and who must do what next; looks only."""
    machines: list[tuple[str, list[str], Callable[[str], Next]]] = [
        (AGGREGATOR, ["launch"], partial(launch_status, site)),
        (AGGREGATOR, aggregator.projects(site), partial(aggregator.next_step, site)),
        (PARTICIPANT, client.projects(site), partial(client.next_step, site)),
    ]
    rows = [
        _status(name, role, look(site.email, name, role, next_step))
        for role, names, next_step in machines
        for name in names
    ]
    for name, reason in declined_requests(site).items():
        text = f"declined: {reason}; `fedkit approve {name}` takes the no back"
        rows.append(ProjectStatus(name, PARTICIPANT, "declined", site.email, text))
    for role, folder in ((AGGREGATOR, site.aggregator().done), (PARTICIPANT, site.client().done)):
        for name in folder_names(folder):
            text = "nothing more to do"
            if role == AGGREGATOR and is_file(site.aggregator().project(name, "done").stopped):
                text += ": stopped before its last round, since too many left"
            rows.append(ProjectStatus(name, role, "done", "", text))
    return [row for row in rows if row is not None]


def _status(project: str, role: str, step: Next) -> ProjectStatus | None:
    if step is None:
        return None
    if isinstance(step, Problem):
        return ProjectStatus(project, role, "problem", step.email, str(step.error))
    if isinstance(step, Waiting):
        state = "request" if "approve the request of" in step.what else "running"
        text = f"{step.whom} must {step.what}" + (f" ({step.remedy})" if step.remedy else "")
        return ProjectStatus(
            step.project, role, "launch" if project == "launch" else state, step.whom, text
        )
    return ProjectStatus(project, role, "running", "", "can go on: run `fedkit client`")
