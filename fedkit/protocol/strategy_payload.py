"""What a strategy sends beside the weights, file by file: to a participant before its round, and with its update.

These files are `extra_round_n.bin`, which the real apps ignore. What a participant's part of the strategy remembers stays
in its own folder, a file a round. Which round's memory counts is for the aggregator to say, since an update that came too
late or was refused changed nothing there; so both sides stay together, whatever is lost or cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import is_file, read_bytes, read_state, write_bytes, write_state
from fedkit.base.tensors import load_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.learning.models import StateDict, check_state
from fedkit.learning.strategies.base import LocalRun, pack, unpack
from fedkit.learning.strategies.registry import make_strategy
from fedkit.protocol.server_state import state_after

__all__ = ["Received", "keep_beside", "read_extra", "receive", "send_beside", "share_beside"]


_MARGIN = 2**20


@dataclass(frozen=True)
class Received:
    """At a participant: what came for a round, and what it remembers. Both are empty for most strategies."""

    sent: StateDict
    memory: StateDict


def send_beside(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    mailbox: ClientProject,
    n: int,
    counted: int,
) -> None:
    """Aggregator: what round n needs, into the participant's mailbox; to be called before the model that it belongs to.

    counted : the last round in which this participant's update counted, 0 for none.
    """
    strategy = make_strategy(config)
    if not strategy.two_sided:
        return
    sent = strategy.broadcast(state_after(place, strategy, n - 1))
    values = pack({"sent": sent, "round": {"counted": torch.tensor(counted)}})
    write_state(mailbox.extra_for(n), values, root=site.data_dir)


def receive(
    site: Datasite, place: ClientProject, config: FLConfig, start: Mapping[str, Tensor], n: int
) -> Received | None:
    """Participant: what came for round n, None while it is not there yet. Raises FedkitError if it does not fit."""
    strategy, path = make_strategy(config), place.extra_for(n)
    nothing = strategy.beside(start)
    if not nothing:
        return Received({}, {})
    try:
        values = read_state(path, root=site.data_dir)
    except (FileNotFoundError, Unreadable):
        return None
    form = pack({"sent": nothing, "round": {"counted": torch.tensor(0)}})
    wrong = check_state(form, values)
    parts = {} if wrong else unpack(values)
    counted = 0 if wrong else int(parts["round"]["counted"])
    if wrong or not 0 <= counted < n:
        raise FedkitError(
            f"is not what round {n} needs: {wrong or f'it counts round {counted}'}",
            file=path,
            remedy="ask the aggregator to send it again",
        )
    if counted == 0:
        return Received(parts["sent"], nothing)
    try:
        memory = read_state(place.memory(counted), root=site.data_dir)
    except FileNotFoundError:
        raise FedkitError(
            "is not there, but the aggregator has counted what goes with it",
            file=place.memory(counted),
            remedy="restore it, or leave the project",
        ) from None
    return Received(parts["sent"], memory)


def keep_beside(
    site: Datasite, place: ClientProject, config: FLConfig, n: int, run: LocalRun
) -> None:
    """Participant, after training and before the update is there: what it remembers, and what it will send."""
    strategy = make_strategy(config)
    if strategy.two_sided:
        extra, memory = strategy.report(run)
        write_state(place.memory(n), memory, root=site.data_dir)
        write_state(place.extra(n), extra, root=site.data_dir)


def share_beside(
    site: Datasite, place: ClientProject, box: AggregatorProject, email: str, n: int
) -> None:
    """Participant, before the update itself is shared: a copy into the aggregator's folder for this participant."""
    if is_file(place.extra(n)):
        data = read_bytes(place.extra(n), root=site.data_dir)
        write_bytes(box.extra(email, n), data, root=site.data_dir)


def read_extra(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    reference: Mapping[str, Tensor],
    email: str,
    n: int,
) -> StateDict:
    """Aggregator: what came beside an update; nothing in it is trusted.

    Raises Unreadable; where it may still be on its way, the text begins with "comes without" or "can't be read as tensors".
    """
    form, path = make_strategy(config).beside(reference), place.extra(email, n)
    if not form:
        return {}
    limit = 2 * sum(t.numel() * t.element_size() for t in form.values()) + _MARGIN
    try:
        data = read_bytes(path, root=site.data_dir, max_bytes=limit)
    except FileNotFoundError:
        raise Unreadable(
            f"comes without {path.name}", file=path, remedy="ask for a client with this strategy"
        ) from None
    extra = load_state(data, path, max_bytes=limit)
    wrong = check_state(form, extra)
    if wrong:
        raise Unreadable(f"has a bad {path.name}: {wrong}", file=path, remedy="send it anew")
    return extra
