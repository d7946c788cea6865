"""Where each participant stands, and what the whole waits for: what a panel's table and its status line say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedkit.base.events import AGGREGATOR as AGGREGATOR
from fedkit.base.events import Event, Problem, Waiting
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.projects import find_project
from fedkit.datasite.round_plan import read_plan
from fedkit.federation.network import Network
from fedkit.protocol import advance as node
from fedkit.protocol.approval import why_declined
from fedkit.rounds.history import History

__all__ = ["Row", "standing", "standstill"]


@dataclass(frozen=True)
class Row:
    """One participant as the panel shows it; numbers of its last round, None where there are none.

    norm : L2 norm of its update. seconds : of local training. up, down : bytes that left and reached its data dir.
    declined : the reason with which it said no, "" where it did not.
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


def standing(network: Network, history: History) -> tuple[Row, ...]:
    """One row a participant, in the network's order."""
    up, down = dict.fromkeys(network.sites, 0), dict.fromkeys(network.sites, 0)
    for entry in network.ledger():
        up[entry.sender] = up.get(entry.sender, 0) + entry.size
        down[entry.receiver] = down.get(entry.receiver, 0) + entry.size
    last = {part.participant: part for record in history for part in record.contributions}
    rows = []
    for email in network.participants:
        site, part = network[email], last.get(email)
        approved = bool(history.project) and _approved(site, history.project)
        declined = None
        if history.project and not approved:
            declined = why_declined(site, history.project)
        rows.append(
            Row(
                email,
                approved,
                part.num_samples if part else None,
                part.loss if part else None,
                part.norm if part else None,
                part.seconds if part else None,
                up[email],
                down[email],
                declined or "",
            )
        )
    return tuple(rows)


def _approved(site: Datasite, project: str) -> bool:
    box = site.client()
    return (
        has_permission_file(box.project(project).agg_weights)
        or box.project(project, "done").path.is_dir()
    )


def standstill(
    network: Network, history: History, stops: Iterable[Event] = (), paused: bool = False
) -> str:
    """One line for a network in which nothing moves: done, paused, or whom it waits for and what that person must do.

    stops : what the last run ended with, where it ended by itself; without it, the files are asked. paused : a person has
    stopped it, so that nobody needs to be asked.
    """
    if history.done:
        return f"done: {_rounds(history.total_rounds)}"
    problems = [f"{e.email}: {e.error}" for e in stops if isinstance(e, Problem)]
    if problems:
        return problems[0]
    for event in stops:
        if isinstance(event, Waiting) and event.email == network.aggregator != event.whom:
            return f"waits for {event.whom} to {event.what}{_in_brackets(event.remedy)}"
    stuck = "" if paused else _stuck(network, history.project or "launch")
    if stuck:
        return stuck
    if not history.project:
        return "nothing launched yet"
    n, total = len(history), history.total_rounds
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


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _rounds(number: int) -> str:
    return f"{number} round{'' if number == 1 else 's'}"
