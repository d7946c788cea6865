"""What a panel shows, at one moment: read from the files, and nothing kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fedkit.base.events import Event
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.projects import find_project
from fedkit.datasite.round_plan import RoundPlan, current_settings, read_plan
from fedkit.fates import Fate, fates
from fedkit.faults import Fault, Faults
from fedkit.federation.network import Network
from fedkit.protocol.aggregator.inbox import Collected, collect
from fedkit.rounds.history import History
from fedkit.standing import Row, standing, standstill

__all__ = ["Snapshot", "look"]

_NO_HISTORY = History("")


@dataclass(frozen=True)
class Snapshot:
    """Everything a panel shows, at one moment.

    status : one line, what is being done or for whom the project waits. who, epoch, epochs : the participant that
    finished a local epoch last. settings : what holds from the next round on. error : what went wrong, else "".
    fates : what became of every update. faults : what is set to go wrong, by participant.
    """

    busy: bool = False
    status: str = "nothing launched yet"
    error: str = ""
    rounds: int = 0
    who: str = ""
    epoch: int = 0
    epochs: int = 0
    history: History = _NO_HISTORY
    rows: tuple[Row, ...] = ()
    fates: tuple[Fate, ...] = ()
    faults: Mapping[str, Fault] = field(default_factory=dict)
    settings: FLConfig | None = None
    events: tuple[Event, ...] = ()


def look(
    network: Network, faults: Faults, stops: Iterable[Event], busy: bool, paused: bool
) -> dict[str, Any]:
    """What the files say, as changes to a snapshot; the status line too where nothing moves.

    stops : what the last run ended with, where it ended by itself. paused : a person has stopped it. Raises FedkitError.
    """
    home, history = network[network.aggregator], _NO_HISTORY
    found: dict[str, Any] = {"faults": faults.current(), "settings": None, "fates": ()}
    if network.projects():
        place, history = find_project(home), network.history()
        config = FLConfig.load(place.config)
        plan = read_plan(place, len(history) + 1)
        inbox = _inbox(home, place, config, plan, busy) if plan else None
        asked = plan.participants if plan else ()
        found["fates"] = fates(history, config.participants, faults.log, inbox, asked)
        found["settings"] = current_settings(place, config)
    found |= {"history": history, "rounds": history.total_rounds}
    found["rows"] = standing(network, history)
    return found if busy else found | {"status": standstill(network, history, stops, paused)}


def _inbox(
    home: Datasite, place: AggregatorProject, config: FLConfig, plan: RoundPlan, busy: bool
) -> Collected:
    """What lies there for the round under way; while it moves, that is not known yet."""
    if busy:
        return Collected((), {}, {}, plan.participants)
    return collect(home, place, config, plan, patient=False)
