"""Does training at once mean the same for a model as one by one? Asked before a simulation stacks its participants.

What a graph does not show (hooks, an attribute that forward() changes, two weights in one place) is looked for; then both
ways are tried on a batch of two and a batch of one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fedkit.config.task import DIGITS, Task
from fedkit.learning.judging import criterion_of
from fedkit.learning.lasting import remembered
from fedkit.learning.models import StateDict
from fedkit.learning.randomness import draws
from fedkit.learning.stacked import NotStackable, StackedModel, train_stacked
from fedkit.learning.surroundings import surroundings_kept
from fedkit.learning.training import train

__all__ = ["stackable"]


@surroundings_kept()
def stackable(
    model: nn.Module,
    state: Mapping[str, Tensor],
    samples: tuple[Tensor, Tensor],
    task: Task = DIGITS,
) -> StackedModel:
    """The model, ready to be trained stacked. Raises NotStackable unless that means the same as one by one.

    Tried near `state` on a batch of two of the samples and a batch of one, with a step of SGD each: (samples, labels), both
    ways, must end in the same weights and loss but for rounding, and leave nothing else behind.
    """
    if draws(model, samples[0]):
        raise NotStackable("random numbers")
    stacked = StackedModel(model)
    three = torch.arange(3, device=samples[1].device) % len(samples[1])
    shard = (samples[0][three], samples[1][three])
    noise, one, other = (torch.Generator().manual_seed(0) for _ in range(3))
    near = {  # not at the weights themselves: where they are 0, every gradient is
        name: value + 0.05 * torch.randn(value.shape, generator=noise).to(value)
        for name, value in state.items()
    }
    step: dict[str, Any] = {"epochs": 1, "learning_rate": 0.5, "batch_size": 2}
    try:
        tried = copy.deepcopy(model).train()
        before = remembered(tried)
        alone = train(tried, near, shard, generator=one, loss_of=criterion_of(task), **step)
        same = remembered(tried.train()) == before
        (together,) = train_stacked(stacked, near, [shard], generators=[other], task=task, **step)
    except Exception as error:  # whatever does not fit, training one by one says it
        raise NotStackable(f"a batch that can't be stacked ({type(error).__name__})") from error
    if not same:
        raise NotStackable("a forward() that remembers")
    if not _alike(near, alone, together):
        raise NotStackable("another gradient when stacked")
    return stacked


Trained = tuple[StateDict, list[float]]


def _alike(start: Mapping[str, Tensor], one: Trained, other: Trained) -> bool:
    """Did both take the same step, but for rounding?"""
    for name, value in start.items():
        if not value.numel():
            continue
        step, apart = (
            (one[0][name] - value).abs().max(),
            (one[0][name] - other[0][name]).abs().max(),
        )
        if not bool(apart <= 1e-3 * step + 1e-6 * (1 + value.abs().max())):
            return False
    return all(abs(a - b) <= 1e-4 * (1 + abs(a)) for a, b in zip(one[1], other[1], strict=True))
