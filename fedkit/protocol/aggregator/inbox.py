"""An aggregator's inboxes: which updates of a round are there and sound, which are refused, and who has sent nothing.

Nothing that lies there is trusted: not its size, not what it claims to be, not its numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fedkit.base.errors import FedkitError, Forged, Unreadable
from fedkit.base.files import sha256_bytes
from fedkit.datasite.round_plan import RoundPlan
from fedkit.protocol.project import AtAggregator
from fedkit.protocol.waiting import may_be_half_written

if TYPE_CHECKING:
    from torch import Tensor

    from fedkit.learning.update import Update

__all__ = ["Collected", "collect"]


_REAL_BATCH = 64


@dataclass(frozen=True)
class Collected:
    """What lies in the inboxes for a round: sound updates, refusals with their reasons, and who has sent nothing.

    forged : where something lies that its sender has not signed, and why not; the genuine one is still waited for.
    """

    updates: tuple[Update, ...]
    refused: Mapping[str, str]
    missing: tuple[str, ...]
    forged: Mapping[str, str] = field(default_factory=dict)


def collect(at: AtAggregator, plan: RoundPlan, patient: bool = True) -> Collected:
    """Look at the inbox of everybody who trains in this round; nothing in it is trusted."""
    from fedkit.base.tensors import load_state

    inboxes = {email: at.place.update(email, plan.round) for email in plan.participants}
    if not any(map(os.path.lexists, inboxes.values())):
        return Collected((), {}, plan.participants)
    model = at.place.global_model(plan.round - 1)
    data = at.read(model)
    reference, start = load_state(data, model), sha256_bytes(data)
    sent: Mapping[str, Tensor] = {}
    if plan.max_update_norm is not None and at.strategy.two_sided:
        from fedkit.protocol.server_state import state_after

        sent = at.strategy.broadcast(state_after(at, plan.round - 1))
    updates, missing = [], []
    refused, forged = dict[str, str](), dict[str, str]()
    for email, path in inboxes.items():
        try:
            updates.append(_sound(at, plan, email, reference, sent, start))
        except FileNotFoundError:
            missing.append(email)
        except Forged as error:
            forged[email] = error.what
        except FedkitError as error:
            # what is signed has come whole
            late = patient and not at.signs(email)
            theirs = at.site.road.others_can_write
            if late and isinstance(error, Unreadable) and may_be_half_written(path, error, theirs):
                missing.append(email)
            else:
                refused[email] = error.what
    return Collected(tuple(updates), refused, tuple(missing), forged)


def _sound(
    at: AtAggregator,
    plan: RoundPlan,
    email: str,
    reference: Mapping[str, Tensor],
    sent: Mapping[str, Tensor],
    start: str,
) -> Update:
    """A participant's update, with what it says about itself.

    sent : what went to everybody beside the model. start : SHA-256 of the global model that it follows from.

    Raises FileNotFoundError, Unreadable.
    """
    from fedkit.base.tensors import load_state
    from fedkit.learning.models import check_state
    from fedkit.learning.training import local_steps
    from fedkit.learning.update import Update
    from fedkit.learning.validated import believed
    from fedkit.protocol.strategy_payload import most_bytes, read_extra
    from fedkit.rounds.round import too_far

    n, path = plan.round, at.place.update(email, plan.round)
    limit = most_bytes(reference)
    data = at.receive(path, email, n, limit, start=start)
    state = load_state(data, path, max_bytes=limit)
    wrong = check_state(reference, state)
    if wrong:
        raise Unreadable(wrong, file=path, remedy="send it anew")
    extra = read_extra(at, reference, email, n, start)
    said = _said(at, email, n, start)
    samples = _samples(at, email, said)
    steps = _count(said.get("steps"))
    if steps is None and samples:  # the real app: its epochs, in batches of 64
        steps = local_steps(samples, plan.epoch, _REAL_BATCH)
    update = Update(
        email,
        n,
        state,
        samples,
        _number(said.get("loss")),
        steps,
        extra,
        _number(said.get("seconds")),
        sha256_bytes(data),
        None if plan.validation is None else believed(said.get("validation"), plan.task),
    )
    wrong = too_far(update, reference, plan, at.strategy, sent)
    if wrong:
        raise Unreadable(
            wrong, file=path, remedy="train with a smaller learning rate, or fewer epochs"
        )
    return update


def _said(at: AtAggregator, email: str, n: int, start: str) -> Mapping[str, Any]:
    """What a participant says about its update; nothing where nothing is there, or is not JSON.

    Where files are signed, it always says something: this raises FileNotFoundError while that has not come, Forged where
    somebody else has said it, FedkitError where it is not JSON.
    """
    path = at.place.update_info(email, n)
    said = at.receive_object(path, email, n, start=start)
    if said is None and at.signs(email):
        raise FileNotFoundError(path)
    return said or {}


def _samples(at: AtAggregator, email: str, said: Mapping[str, Any]) -> int | None:
    """How many samples a participant says are behind its update; None where it doesn't or where that makes no sense."""
    if at.signs(email):
        return _count(said.get("num_samples"))
    stated = [
        said.get("num_samples"),
        at.read_object(at.mailbox(email).state).get("num_samples"),
        at.read_object(at.place.inbox(email) / "dataset_size.json").get("dataset_size"),
    ]
    return next((count for value in stated if (count := _count(value)) is not None), None)


def _count(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9
    return value if fits else None


def _number(value: Any) -> float | None:
    """A finite number, or None: JSON from elsewhere may hold NaN, and whole numbers beyond any float."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
