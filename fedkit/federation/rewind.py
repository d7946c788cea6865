"""Back to an earlier round: files of later rounds go away on every side, and the project is as it was after that round.

A teacher does this to try another setting from the same point. What crossed has crossed: the ledger keeps it.
"""

from __future__ import annotations

from fedkit.base.errors import FedkitError
from fedkit.base.files import remove
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.projects import back_to_running
from fedkit.federation.network import Network
from fedkit.protocol.approval import open_mailbox, pin, pinned, review
from fedkit.protocol.client.secure_round import forget
from fedkit.protocol.project import AtParticipant
from fedkit.protocol.signed_messages import remove_round

__all__ = ["rewind"]


def rewind(network: Network, to_round: int = 0, project: str | None = None) -> None:
    """Take a project (default: the one launched last) back to the moment after round `to_round`; 0 is before the first.

    Approvals stay. Settings changed in between are forgotten when going back to the start. Running on from there with
    the same settings gives the same bits. Raises FedkitError if there is no such project or round.
    """
    history = network.history(project)
    if not 0 <= to_round <= len(history):
        raise FedkitError(
            f"round {to_round} has not been reached; {len(history)} rounds are done",
            field="to_round",
            remedy=f"choose a round from 0 to {len(history)}",
        )
    home, name = network[network.aggregator], history.project
    back_to_running(home.aggregator(), name)
    place = home.aggregator().project(name)
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
    for email in config.participants:
        if email in network.sites:
            _rewind_participant(network[email], config, to_round)
    network.sync()


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
        for of in (place.round_settings, place.extra_for, place.trained, place.extra, place.memory):
            remove(of(n + 1))
        remove_round(place.agg_weights, n + 1)
    forget(site, name)  # secrets serve one update: the next one gets new ones
    open_mailbox(site, place, config)
    progress = f"Training Completed for Round {to_round}" if to_round else None
    AtParticipant(site, config).set_state(model_train_progress=progress)
