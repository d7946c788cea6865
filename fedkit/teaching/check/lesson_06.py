"""Checks of notebook 06: the Dirichlet split, and how much of the way is left after averaging."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fedkit.learning.update import Update
from fedkit.teaching.check.answers import listed, near, number, tensor
from fedkit.teaching.check.attempt import Wrong
from fedkit.teaching.check.base import check

_EACH = 400


@check(
    hint="`rng` has a method `dirichlet`, which takes a list with one alpha for each participant. The cuts are where the "
    "running sums of the shares end, times the number of images; the last end is no cut.",
    takes="labels participants alpha rng",
)
def deal_dirichlet(attempt: Callable[..., object]) -> str:
    """The Dirichlet split."""
    labels = torch.arange(10).repeat_interleave(_EACH)[
        torch.randperm(10 * _EACH, generator=torch.Generator().manual_seed(6))
    ]

    def dealt(alpha: float, participants: int, seed: int) -> list[Tensor]:
        got = attempt(labels.clone(), participants, alpha, np.random.default_rng(seed))
        return _indices(got, labels, participants)

    def shares(alpha: float, participants: int = 10, seed: int = 1) -> Tensor:
        """The share of each digit [10] that each participant [K] gets, float64 [K, 10]."""
        parts = dealt(alpha, participants, seed)
        return torch.stack([labels[part].bincount(minlength=10) for part in parts]).double() / _EACH

    once, again = dealt(0.5, 3, 1), dealt(0.5, 3, 1)
    large, small = shares(1e4), torch.cat([shares(0.1, seed=seed) for seed in (1, 2, 3)], 1)
    if float(large.amax(0).mean()) > float(small.amax(0).mean()) + 0.3:
        raise Wrong(
            "Alpha works the other way round: a large one should deal each digit out evenly, a small one unevenly."
        )
    _looks_at_labels(shares(0.05))
    _follows_alpha(large, small)
    if not all(map(torch.equal, once, again)):
        raise Wrong(
            "The same call with the same `rng` deals differently each time. Every draw should come from `rng`."
        )
    return "Every image is with one participant, each digit has shares of its own, and alpha says how even they are."


def _indices(got: object, labels: Tensor, participants: int) -> list[Tensor]:
    """Each participant's indices, if every image is with exactly one of them; else raises Wrong."""
    form = "The answer should be a list with the indices of each participant's images."
    got = listed(got)
    if not isinstance(got, Sequence | np.ndarray | Tensor) or isinstance(got, str):
        raise Wrong(form)
    if len(got) != participants:
        raise Wrong(f"{participants} participants should get a part each; yours are {len(got)}.")
    parts = [tensor(list(part) if isinstance(part, set) else part, wrong=form) for part in got]
    for part in parts:
        whole = not (part.is_floating_point() or part.is_complex() or part.dtype == torch.bool)
        if part.ndim != 1 or (len(part) and not whole):
            raise Wrong(form)
    dealt = torch.cat([part.long() for part in parts])
    if len(dealt) and not 0 <= int(dealt.min()) <= int(dealt.max()) < len(labels):
        raise Wrong(f"The indices should be 0 to {len(labels) - 1:,}; some of yours are not.")
    if len(dealt) > participants and len(dealt.unique()) <= int(labels.max()) + 1:
        raise Wrong("Yours are the labels of images; their places in `labels` are wanted.")
    if participants > 1 and all(len(part) and torch.equal(part, parts[0]) for part in parts):
        raise Wrong(
            "Everybody gets the same images: is it one list that stands there several times?"
        )
    if len(dealt) != len(dealt.unique()):
        raise Wrong("Some images are dealt out twice. Does each cut lie behind the one before it?")
    if len(dealt) != len(labels):
        raise Wrong(f"Of {len(labels):,} images only {len(dealt):,} are dealt out.")
    return [part.long() for part in parts]


def _looks_at_labels(shares: Tensor) -> None:
    """Raises Wrong unless digits differ in who gets them.

    The measure is the part of one digit's images that would have to move to be dealt out as another's, as a mean over all
    pairs of digits. At alpha 0.05 draws of their own give about 0.87; images cut at random, labels unseen, less than 0.12.
    """
    moved = (shares[:, :, None] - shares[:, None, :]).abs().sum(0) / 2
    if float(moved.max()) < 1.5 / _EACH:
        raise Wrong(
            "Every digit is dealt out in the same shares. Each should have a draw of its own."
        )
    pairs = shares.shape[1] * (shares.shape[1] - 1)
    if float(moved.sum()) / pairs < 0.25:
        raise Wrong(
            "Everybody has about the same mixture of digits, however many images: your split does not look at "
            "the labels. Take the images of one digit at a time, with shares drawn for that digit."
        )


def _follows_alpha(large: Tensor, small: Tensor) -> None:
    """Raises Wrong unless shares of digits [K, n] are even with alpha 10,000 and uneven with alpha 0.1.

    The measure is the largest share of a digit, in the mean: alpha 0.1 gives about 0.67, alpha 1 less than 0.35, and alpha
    0.01 more than 0.9.
    """
    off = (large - 1 / len(large)).abs().max()
    at_large, at_small = float(large.amax(0).mean()), float(small.amax(0).mean())
    if at_large > 0.99:
        raise Wrong(
            "With a very large alpha everybody should hold about the same number of each digit, and here one holds all of "
            "it. Are the cuts counted in the images of this digit?"
        )
    if off > 0.09 and float((large - large[:, :1]).abs().max()) < 0.02:
        raise Wrong(
            "With a very large alpha everybody should hold about the same number of each digit, and here always the same "
            "ones hold more. Does the first cut end the first share?"
        )
    if off > 0.09:
        raise Wrong(
            "With a very large alpha everybody should hold about the same number of each digit. Is alpha used?"
        )
    if at_small > 0.85:
        raise Wrong(
            "With alpha 0.1, one participant should hold about two thirds of a digit; here it is nearly all of it. Is each "
            "alpha the one that came in?"
        )
    if at_small < 0.4:
        raise Wrong(
            "With alpha 0.1, one participant should hold most of a digit; here nobody does."
        )


_STEPS = torch.tensor([[3.0, 0.0, 0.0, 4.0], [0.0, 5.0, 0.0, 0.0]])


@check(
    hint="Above the line: how long is the weighted sum of the rows? Below: the same sum of their lengths. "
    "`rows.norm(dim=1)` has the length of each row.",
    takes="model updates",
)
def agreement(attempt: Callable[..., object]) -> str:
    """How much of the way is left."""

    def left(rows: Tensor, counts: Sequence[int]) -> float:
        start = {"w": torch.tensor([1.0, 2.0, 3.0, 4.0])}
        updates = [
            Update(f"p{k}@example.org", 1, {"w": start["w"] + row}, count)
            for k, (row, count) in enumerate(zip(rows, counts, strict=True))
        ]
        return number(attempt(start, updates))

    same, opposite = torch.stack([_STEPS[0], _STEPS[0]]), torch.stack([_STEPS[0], -_STEPS[0]])
    fewer = "Three quarters of the images walk one way and a quarter the other: 0.5 is left. Do your shares count?"
    for rows, counts, wanted, wrong in (
        (same, [5, 5], 1.0, "Where all walk the same way, all of it is left: 1."),
        (_STEPS, [5, 5], math.sqrt(0.5), "Two steps at a right angle leave 0.71 of the way."),
        (opposite, [5, 5], 0.0, "Two opposite steps of one length leave 0."),
        (opposite, [30, 10], 0.5, fewer),
    ):
        got = left(rows, counts)
        if rows is _STEPS and abs(got - 1 / wanted) < 1e-3:
            raise Wrong("The quotient is upside down: what is left can't be more than was walked.")
        near(got, wanted, within=1e-5, wrong=f"{wrong} Yours is {got:.3g}.")
    return "1 means that all go one way, 0 that they cancel each other: the mean is as long as they agree."
