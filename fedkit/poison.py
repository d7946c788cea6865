"""Hostile participants in memory: what they send instead of what they trained, and labels that lie.

`simulate(..., on_the_way=poisoned(...))` changes updates on their way as the faults of lesson 05 change their files;
`flip_labels` poisons the data before training. Lesson 07 holds averaging rules against both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fedkit.base.errors import FedkitError
from fedkit.data.shards import Shard
from fedkit.faults_bytes import CHANGES
from fedkit.learning.models import StateDict
from fedkit.learning.update import Update
from fedkit.simulation import OnTheWay

__all__ = ["flip_labels", "poisoned"]


def poisoned(who: Collection[str], kind: str = "sign-flipped", factor: float = 10.0) -> OnTheWay:
    """What `simulate` needs to make these participants (e-mails) hostile; the others' updates stay as they are.

    kind : "sign-flipped" sends w - Delta where training gave w + Delta; "scaled" sends w + factor * Delta, with a negative
    factor the other way and further. Raises FedkitError for another kind.
    """
    if kind not in ("sign-flipped", "scaled"):
        raise FedkitError(f"{kind!r} is unknown", field="kind", remedy="sign-flipped or scaled")
    change, hostile = CHANGES[kind], frozenset(who)

    def on_the_way(model: StateDict, updates: list[Update]) -> Sequence[Update]:
        return [
            replace(update, state=change(model, dict(update.state), factor))
            if update.participant in hostile
            else update
            for update in updates
        ]

    return on_the_way


def flip_labels(shard: Shard, classes: int = 10) -> Shard:
    """The same images with every label c turned into classes - 1 - c: a 0 is called 9, a 4 is called 5."""
    images, labels = shard
    return images, classes - 1 - labels
