"""Hostile participants in memory: what they send instead of what they trained, and labels that lie.

`simulate(..., on_the_way=poisoned(...))` changes updates on their way as the faults of lesson 05 change their files;
`flip_labels` poisons the data before training. Lesson 07 holds averaging rules against both.

What a fault makes of an update on its way: the tensors that arrive instead of those that were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.data.feature_shift import as_classes
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict
from fedkit.learning.update import Update
from fedkit.rounds.simulation import OnTheWay

__all__ = ["CHANGES", "changed", "flip_labels", "poisoned"]


def poisoned(who: Collection[str], kind: str = "sign-flipped", factor: float = 10.0) -> OnTheWay:
    """What `simulate` needs to make these participants (e-mails) hostile; the others' updates stay as they are.

    kind : "sign-flipped" sends w - Delta where training gave w + Delta; "scaled" sends w + factor * Delta, with a negative
    factor the other way and further. Raises FedkitError for another kind.
    """
    if kind not in ("sign-flipped", "scaled"):
        raise FedkitError(f"{kind!r} is unknown", field="kind", remedy="sign-flipped or scaled")
    hostile = frozenset(who)

    def on_the_way(model: StateDict, updates: list[Update]) -> Sequence[Update]:
        return [
            replace(update, state=changed(kind, model, dict(update.state), factor))
            if update.participant in hostile
            else update
            for update in updates
        ]

    return on_the_way


def flip_labels(shard: Shard, classes: int = 10) -> Shard:
    """The same images with every label c turned into classes - 1 - c: a 0 is called 9, a 4 is called 5.

    classes : of data of one's own, how many there are; 2 for yes or no. Raises FedkitError where labels are none of them.
    """
    images, labels = shard
    as_classes(labels, classes)
    return images, classes - 1 - labels


CHANGES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "NaN": lambda before, after, factor: torch.full_like(after, float("nan")),
    "wrong shape": lambda before, after, factor: torch.zeros([*after.shape, 2]),
    "sign-flipped": lambda before, after, factor: before - (after - before),
    "scaled": lambda before, after, factor: before + factor * (after - before),
}
"""(a tensor of the global model before the round, the same of the trained model, factor) -> what is sent."""


def changed(kind: str, before: StateDict, after: StateDict, factor: float) -> StateDict:
    """The model that is sent in place of `after`: each tensor as one of `CHANGES` makes it; a counter keeps its number."""
    return {
        name: CHANGES[kind](before[name], value, factor)
        if value.is_floating_point() or kind == "wrong shape"
        else value
        for name, value in after.items()
    }
