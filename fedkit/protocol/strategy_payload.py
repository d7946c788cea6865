"""What a strategy sends beside the weights, file by file: to a participant before its round, and with its update.

These files are `extra_round_n.bin`, which the real apps ignore. What a participant's part of the strategy remembers stays
in its own folder, a file a round. Which round's memory counts is for the aggregator to say, since an update that came too
late or was refused changed nothing there; so both sides stay together, whatever is lost or cut off.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.tensors import load_state, state_bytes
from fedkit.learning.models import StateDict, check_state
from fedkit.learning.strategies.base import pack, unpack
from fedkit.protocol.project import AtAggregator, AtParticipant
from fedkit.protocol.server_state import state_after

__all__ = [
    "keep_beside",
    "most_bytes",
    "read_extra",
    "receive",
    "send_beside",
]


MARGIN = 2**20
"""What a file of tensors may have beside their numbers, in bytes."""


def send_beside(at: AtAggregator, email: str, n: int, counted: int) -> None:
    """Aggregator: what round n needs, into the participant's mailbox; to be called before the model that it belongs to.

    counted : the last round in which this participant's update counted, 0 for none.
    """
    if not at.strategy.two_sided:
        return
    sent = at.strategy.broadcast(state_after(at, n - 1))
    values = pack({"sent": sent, "round": {"counted": torch.tensor(counted)}})
    at.send(at.mailbox(email).extra_for(n), state_bytes(values), email, n)


def receive(
    at: AtParticipant, start: Mapping[str, Tensor], n: int
) -> tuple[StateDict, StateDict] | None:
    """Participant: what came for round n, and what it remembers; None while that is not there yet.

    Both are empty for most strategies. Raises FedkitError if it does not fit.
    """
    path, nothing = at.place.extra_for(n), at.strategy.beside(start)
    if not nothing:
        return {}, {}
    try:
        values = load_state(at.receive(path, at.config.aggregator, n), path)
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
        return parts["sent"], nothing
    try:
        memory = at.read_state(at.place.memory(counted))
    except FileNotFoundError:
        raise FedkitError(
            "is not there, but the aggregator has counted what goes with it",
            file=at.place.memory(counted),
            remedy="restore it, or leave the project",
        ) from None
    return parts["sent"], memory


def keep_beside(
    at: AtParticipant, n: int, extra: Mapping[str, Tensor], memory: Mapping[str, Tensor]
) -> None:
    """Participant, after training and before the update is there: what it remembers, and what it will send."""
    if at.strategy.two_sided:
        at.write_state(at.place.memory(n), memory)
        at.write_state(at.place.extra(n), extra)


def read_extra(
    at: AtAggregator, reference: Mapping[str, Tensor], email: str, n: int, start: str
) -> StateDict:
    """Aggregator: what came beside an update; nothing in it is trusted. start : SHA-256 of what that was trained from.

    Raises FileNotFoundError while what is always signed has not come; Unreadable, whose text begins with "comes without" or
    "can't be read as tensors" where it may still be on its way.
    """
    form, path = at.strategy.beside(reference), at.place.extra(email, n)
    if not form:
        return {}
    limit = most_bytes(form)
    try:
        data = at.receive(path, email, n, limit, start=start)
    except FileNotFoundError:
        if at.signs(email):
            raise
        raise Unreadable(
            f"comes without {path.name}", file=path, remedy="ask for a client with this strategy"
        ) from None
    extra = load_state(data, path, max_bytes=limit)
    wrong = check_state(form, extra)
    if wrong:
        raise Unreadable(f"has a bad {path.name}: {wrong}", file=path, remedy="send it anew")
    return extra


def most_bytes(form: Mapping[str, Tensor]) -> int:
    """How large a file with tensors of this form may be."""
    return 2 * sum(t.numel() * t.element_size() for t in form.values()) + MARGIN
