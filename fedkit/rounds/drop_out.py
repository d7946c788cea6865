"""Participants in memory whose update never arrives: a flat battery, a closed lid, a lost connection."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.learning.models import StateDict
from fedkit.learning.update import Update
from fedkit.rounds.simulation import OnTheWay

__all__ = ["dropping_out", "one_after_another"]


def dropping_out(share: float, seed: int = 0, at_least: int = 1) -> OnTheWay:
    """What `simulate` needs to lose each update with probability `share`, drawn anew for each participant and round.

    at_least : the quorum. A round waits until so many updates are there: where the draw leaves fewer, those come through
    that were nearest to it. Raises FedkitError for a share outside of [0, 1).
    """
    if not (isinstance(share, int | float) and math.isfinite(share) and 0 <= share < 1):
        raise FedkitError(
            f"is {share!r}", field="share", remedy="give a probability from 0, below 1"
        )

    def on_the_way(model: StateDict, updates: list[Update]) -> Sequence[Update]:
        luck = [_luck(seed, update) for update in updates]
        quorum = sorted(luck, reverse=True)[min(at_least, len(luck)) - 1]
        return [u for u, own in zip(updates, luck, strict=True) if own >= min(share, quorum)]

    return on_the_way


def _luck(seed: int, update: Update) -> float:
    """A number in [0, 1) of this participant and round."""
    own = generator(seed, "drop out", update.participant, update.round)
    return float(torch.rand((), generator=own))


def one_after_another(*ways: OnTheWay) -> OnTheWay:
    """What happens on the way in this order, as one: first to the updates that were sent, then to what is left of them."""

    def on_the_way(model: StateDict, updates: list[Update]) -> Sequence[Update]:
        for way in ways:
            updates = list(way(model, updates))
        return updates

    return on_the_way
