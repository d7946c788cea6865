"""Personalisation: a participant trains the finished global model a little further on its own data, and keeps the result.

(Wang, Mathews et al. 2019, "Federated evaluation of on-device personalization")

The model that comes out is better at home and worse abroad, the more so the more the participants differ. Nothing crosses:
it happens after the last round, at the participant alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.config.task import DIGITS, Task
from fedkit.config.validation import kept
from fedkit.data.shards import Shard
from fedkit.data.standardise import standardised
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import SAMPLE_MODEL, StateDict, fitting_model
from fedkit.learning.training import judged, train

__all__ = ["FineTuned", "fine_tune", "hold_out"]


@dataclass(frozen=True)
class FineTuned:
    """A participant's own model, and what fine-tuning did: accuracies in 0..1, or the task's first metric.

    own_before, own_after : on the participant's own test samples. common_before, common_after : on everybody's.
    """

    state: StateDict
    own_before: float
    own_after: float
    common_before: float
    common_after: float


def hold_out(
    shard: Shard, share: float = 0.2, *, generator: torch.Generator
) -> tuple[Shard, Shard]:
    """Split one participant's samples at random: (what it trains on, what it tests on), both in the shard's order.

    share : of the samples, rounded, that are tested on; at least one, and at least one stays. Raises FedkitError if `share`
    is not between 0 and 1, or there are fewer than two samples.
    """
    images, labels = shard
    if not 0 < share < 1 or len(labels) < 2:
        raise FedkitError(
            f"can't hold out {share!r} of {len(labels)} samples",
            field="share",
            remedy="choose a share between 0 and 1, and a shard of at least two samples",
        )
    count = kept(share, len(labels))
    tested = torch.zeros(len(labels), dtype=torch.bool)
    tested[torch.randperm(len(labels), generator=generator)[:count]] = True
    return (images[~tested], labels[~tested]), (images[tested], labels[tested])


def fine_tune(
    state: Mapping[str, Tensor],
    shard: Shard,
    own_test: Shard,
    common_test: Shard,
    *,
    epochs: int = 1,
    learning_rate: float = 0.05,
    batch_size: int = 64,
    generator: torch.Generator,
    model: str | None = None,
    task: Task = DIGITS,
    home: Mapping[str, Tensor] | None = None,
) -> FineTuned:
    """Train a global model on one participant's shard for `epochs` local epochs of plain SGD, and compare before and after.

    state : the global model; it stays as it is. shard, own_test (see `hold_out`), common_test : images float32 [N,1,28,28],
    labels int64 [N]. learning_rate : of these epochs, default 0.05. The same generator state gives the same bits.
    model : source of the model.py that the state belongs to, by default the tutorial's. task : what the data are; if it
    standardises them, "own" statistics are the shard's for both parts that are its participant's. home : what this
    participant has kept of its own (FedBN's memory), which takes the place of the global model's.
    Raises FedkitError if the state does not fit the model, no epoch is asked for, or the metric has no value here.
    """
    if epochs < 1:
        raise FedkitError(f"is {epochs}", field="epochs", remedy="ask for at least one")
    own_test, common_test = standardised(own_test, task, shard[0]), standardised(common_test, task)
    shard = standardised(shard, task)
    source = SAMPLE_MODEL if model is None else model
    state = {name: (home or {}).get(name, value) for name, value in state.items()}
    built = fitting_model(
        source, state, field="state", remedy="give the model it belongs to", task=task
    )
    tuned, _ = train(
        built,
        state,
        shard,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        generator=generator,
        loss_of=criterion_of(task),
    )

    def score(weights: Mapping[str, Tensor], test: Shard) -> float:
        found = judged(built, weights, *test, task)[0]
        if not found:
            raise FedkitError(
                f"gives no {' or '.join(task.metrics) or 'metric'}",
                field="task",
                remedy="name a metric first that has a value on each of the test sets",
            )
        return next(iter(found.values()))

    return FineTuned(
        tuned,
        own_before=score(state, own_test),
        own_after=score(tuned, own_test),
        common_before=score(state, common_test),
        common_after=score(tuned, common_test),
    )
