"""Checks of notebook 06: the Dirichlet split, and how much of the way is left after averaging."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fedkit.learning.update import Update
from fedkit.teaching.check.base import Wrong, check, near, number

_EACH = 400


@check(
    hint="`rng` has a method `dirichlet`, which takes a list with one alpha for each participant. The cuts are where the "
    "running sums of the shares end, times the number of images; the last end is no cut."
)
def deal_dirichlet(attempt: Callable[..., object]) -> str:
    """The Dirichlet split."""
    labels = torch.arange(10).repeat_interleave(_EACH)[
        torch.randperm(10 * _EACH, generator=torch.Generator().manual_seed(6))
    ]
    for participants in (3, 10):
        _whole(_dealt(attempt, labels, participants, 0.5), labels, participants)
    even, skewed = (_dealt(attempt, labels, 10, alpha) for alpha in (1e4, 0.1))
    counts = torch.stack([labels[part].bincount(minlength=10) for part in even])
    if (counts - _EACH / 10).abs().max() > _EACH / 20:
        raise Wrong(
            "With a very large alpha everybody should hold about the same number of each digit."
        )
    first = torch.stack([labels[part].bincount(minlength=10) for part in skewed])
    most = first.double() / first.sum(0)
    if most.max(0).values.mean() < 0.45:
        raise Wrong(
            "With alpha 0.1, one participant should hold most of a digit; here nobody does."
        )
    if (most - most[:, :1]).abs().max() < 0.05:
        raise Wrong(
            "Every digit is dealt out in the same shares. Each should have a draw of its own."
        )
    return "Every image is with one participant, each digit has shares of its own, and alpha says how even they are."


def _dealt(
    attempt: Callable[..., object], labels: Tensor, participants: int, alpha: float
) -> list[Tensor]:
    got = attempt(labels, participants, alpha, np.random.default_rng(1))
    if not isinstance(got, Sequence) or not all(isinstance(part, Tensor) for part in got):
        raise Wrong("The answer should be a list with one tensor of indices for each participant.")
    return list(got)


def _whole(parts: list[Tensor], labels: Tensor, participants: int) -> None:
    if len(parts) != participants:
        raise Wrong(f"{participants} participants should get a part each; yours are {len(parts)}.")
    dealt = torch.cat(parts)
    if len(dealt) != len(dealt.unique()):
        raise Wrong("Some images are dealt out twice.")
    if len(dealt) != len(labels):
        raise Wrong(f"Of {len(labels):,} images only {len(dealt):,} are dealt out.")


_STEPS = torch.tensor([[3.0, 0.0, 0.0, 4.0], [0.0, 5.0, 0.0, 0.0]])


@check(
    hint="Above the line: how long is the weighted sum of the rows? Below: the same sum of their lengths. "
    "`rows.norm(dim=1)` has the length of each row."
)
def agreement(attempt: Callable[..., object]) -> str:
    """How much of the way is left."""
    start = {"w": torch.tensor([1.0, 2.0, 3.0, 4.0])}

    def left(rows: Tensor, counts: Sequence[int]) -> float:
        updates = [
            Update(f"p{k}@example.org", 1, {"w": start["w"] + row}, count)
            for k, (row, count) in enumerate(zip(rows, counts, strict=True))
        ]
        return number(attempt(start, updates))

    same, opposite = torch.stack([_STEPS[0], _STEPS[0]]), torch.stack([_STEPS[0], -_STEPS[0]])
    fewer = "Three quarters of the images walk one way and a quarter the other: 0.5 is left. Do your shares count?"
    for rows, counts, wanted, wrong in (
        (same, [5, 5], 1.0, "Where all walk the same way, all of it is left: 1."),
        (opposite, [5, 5], 0.0, "Two opposite steps of one length leave 0."),
        (_STEPS, [5, 5], math.sqrt(0.5), "Two steps at a right angle leave 0.71 of the way."),
        (opposite, [30, 10], 0.5, fewer),
    ):
        got = left(rows, counts)
        if rows is _STEPS and abs(got - 1 / wanted) < 1e-3:
            raise Wrong("The quotient is upside down: what is left can't be more than was walked.")
        near(got, wanted, within=1e-5, wrong=wrong)
    return "1 means that all go one way, 0 that they cancel each other: the mean is as long as they agree."
