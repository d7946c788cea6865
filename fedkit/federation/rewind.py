"""Back to an earlier round: files of later rounds go away on every side, and the project is as it was after that round.

A teacher does this to try another setting from the same point. What crossed has crossed: the ledger keeps it. What is to
be done is written down first: where a rewind is cut off, whoever moves the network next does it again from its start.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event
from fedkit.base.files import is_file, read_object, remove, write_json
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.lock import locked
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.projects import back_to_running, find_project, launched_projects
from fedkit.protocol.approval import open_mailbox, pin, pinned, review
from fedkit.protocol.client.secured import forget
from fedkit.protocol.project import AtParticipant
from fedkit.protocol.signed_messages import remove_round
from fedkit.rounds.history import read_history

__all__ = ["Rewindable", "finish_rewind", "rewind"]


_MOMENT_S = 10.0


class Rewindable(Protocol):
    """What a rewind needs of a network."""

    root: Path
    aggregator: str
    sites: dict[str, Datasite]

    def sync(self) -> list[Event]:
        """Bring to everybody what has changed."""


def rewind(network: Rewindable, to_round: int = 0, project: str | None = None) -> None:
    """Take a project (default: the one launched last) back to the moment after round `to_round`; 0 is before the first.

    Approvals stay. Settings changed in between are forgotten when going back to the start. Running on from there with
    the same settings gives the same bits. Raises FedkitError if there is no such project or round, or if masks have hidden
    an update in it (the same update under other masks, from other people, is how an aggregator would take them off) or if
    its noise is meant and correlated over rounds. Raises
    Busy if another process moves one of the datasites.
    """
    home = network.sites[network.aggregator]
    history = read_history(home, project)
    if type(to_round) is not int or not 0 <= to_round <= len(history):
        raise FedkitError(
            f"round {to_round!r:.40} has not been reached; done: {how_many(len(history), 'round')}",
            field="to_round",
            remedy=f"choose a round from 0 to {len(history)}",
        )
    place = find_project(home, history.project)
    if _hidden(place):
        raise FedkitError(
            "has rounds that masks have secured, and can't go back",
            file=place.path,
            why="The same update under other masks, added up with other people's, would lie open",
            remedy="launch it again under another project name and with another seed: "
            "nobody trains from the same model twice under masks",
        )
    dp = FLConfig.load(place.config).dp
    if dp is not None and dp.secure_noise and dp.mechanism is not None:
        raise FedkitError(
            "mixes the noise of its rounds, and can't go back",
            file=place.path,
            why="Each participant's turns were counted once, and the same sums with other noise would tell more",
            remedy="launch it again under another project name: what it spends is added up",
        )
    write_json(_intent(network), {"project": history.project, "to_round": to_round})
    finish_rewind(network)


def finish_rewind(network: Rewindable) -> None:
    """Do what a rewind has written down, from its start, if there is any. Raises FedkitError."""
    if not is_file(_intent(network)):
        return
    home = network.sites[network.aggregator]
    with ExitStack() as stack:
        for site in network.sites.values():
            stack.enter_context(locked(site, _MOMENT_S))
        # read under the locks: while this one waited, another process may have done it, and gone on
        asked = read_object(_intent(network))
        project, to_round = asked.get("project"), asked.get("to_round")
        if not isinstance(project, str) or not isinstance(to_round, int):
            return
        known = project in launched_projects(home)  # else it was taken away since
        if known and not _hidden(find_project(home, project)):
            network.sync()  # what was cut off on its way would arrive after all, and be taken for a later round's
            config = _rewind_aggregator(home, project, to_round)
            for email in config.participants:
                if email in network.sites:
                    _rewind_participant(network.sites[email], config, to_round)
            network.sync()
        remove(_intent(network))


def _hidden(place: AggregatorProject) -> bool:
    """Has a round begun in which masks hide the updates?"""
    masked = FLConfig.load(place.config).secure_aggregation is not None
    return masked and any(map(is_file, (place.plan(1), place.record(1))))


def _intent(network: Rewindable) -> Path:
    return network.root / "rewinding.json"


def _rewind_aggregator(home: Datasite, project: str, to_round: int) -> FLConfig:
    back_to_running(home.aggregator(), project)
    place = find_project(home, project)
    config = FLConfig.load(place.config)
    for email in config.participants:
        write_permissions(place.inbox(email), home.email, write=[email])
        for n in range(to_round + 1, config.rounds + 1):
            for path in (
                place.update(email, n),
                place.update_info(email, n),
                place.extra(email, n),
            ):
                remove(path)
            remove_round(place.inbox(email), n)
    # the newest first: cut off, it is still a whole history
    for n in range(config.rounds, to_round, -1):
        for path in (place.global_model(n), place.record(n), place.memory(n), place.plan(n)):
            remove(path)
        remove_round(place.record(n).parent, n)
    remove(place.stopped)
    if to_round == 0:
        remove(place.settings)
    return config


def _rewind_participant(site: Datasite, config: FLConfig, to_round: int) -> None:
    box, name = site.client(), config.project_name
    back_to_running(box, name)
    place = box.project(name)
    if not place.path.is_dir():
        return  # it never approved
    if pinned(site, name) is None:
        pin(site, name, review(site, name, "running").hashes)
    # the aggregator sends global model `to_round` again
    for n in range(to_round, config.rounds + 1):
        remove(place.global_model(n))
        kept = (place.trained, place.extra, place.memory, place.start)
        for of in (place.round_settings, place.extra_for, *kept):
            remove(of(n + 1))
        remove_round(place.agg_weights, n + 1)
    forget(site, name)  # secrets serve one update: the next one gets new ones
    open_mailbox(site, place, config)
    progress = f"Training Completed for Round {to_round}" if to_round else None
    AtParticipant(site, config).set_state(model_train_progress=progress)
