"""Datasites that differ: partitions with skewed labels, skewed sizes, or images that look different at each participant.

All of them use every index exactly once, leave nobody empty unless told that they may, and say so where that is impossible.
Lesson 06 shows what they do to training.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fedkit.base.text import how_many
from fedkit.data.partition import check_count, check_labels, some
from fedkit.data.shards import wrong

__all__ = [
    "deal_dirichlet",
    "split_dirichlet",
    "split_groups",
    "split_labels_each",
    "split_shards",
    "split_sizes",
]


_TRIES = 1000


def split_shards(
    labels: Tensor, participants: int, shards_each: int = 2, *, generator: torch.Generator
) -> list[Tensor]:
    """Sort by label, cut into participants x shards_each pieces, deal each participant `shards_each` of them at random.

    The pathological non-IID split of McMahan et al. 2017, section 3 (there 100 participants, two shards of 300 each).
    labels int64 [N]; returns int64 tensors. Raises FedkitError if there are fewer images than pieces.
    """
    check_labels(labels)
    check_count("participants", participants)
    check_count("shards_each", shards_each)
    pieces = participants * shards_each
    if pieces > len(labels):
        raise wrong(
            "shards_each",
            f"{len(labels)} images can't be cut into {pieces} shards",
            f"use at most {len(labels) // participants} a participant",
        )
    shuffled = torch.randperm(len(labels), generator=generator)
    ordered = shuffled[labels[shuffled].argsort(stable=True)]  # random order within a label
    cut = ordered.tensor_split(pieces)
    dealt = torch.randperm(pieces, generator=generator).view(participants, shards_each).tolist()
    return [torch.cat([cut[piece] for piece in mine]) for mine in dealt]


def split_dirichlet(
    labels: Tensor,
    participants: int,
    alpha: float,
    *,
    min_size: int = 1,
    generator: torch.Generator,
) -> list[Tensor]:
    """Deal the images of each label out in proportions drawn from Dirichlet(alpha, ..., alpha).

    Small alpha: each label sits with few participants; large alpha: everybody has the same mixture. (Hsu, Qi, Brown
    2019, and Li et al. 2022, "Federated learning on non-IID data silos", section 4.1.) Drawn anew until everybody has
    `min_size` images; 0 allows empty participants. Raises FedkitError if alpha <= 0 or that can't be reached.
    """
    check_labels(labels)
    check_count("participants", participants)
    _check_alpha(alpha)
    _check_room(labels, participants, min_size)
    rng = _numpy(generator)
    for _ in range(_TRIES):
        parts = deal_dirichlet(labels, participants, alpha, rng)
        if min(len(part) for part in parts) >= min_size:
            return parts
    raise wrong(
        "alpha",
        f"after {_TRIES} draws somebody still has fewer than {min_size} images",
        "use a larger alpha, fewer participants or a smaller min_size",
    )


def deal_dirichlet(
    labels: Tensor, participants: int, alpha: float, rng: np.random.Generator
) -> list[Tensor]:
    """One draw of `split_dirichlet`, whoever ends up with nothing: int64 tensors of indices, one a participant."""
    parts: list[list[Tensor]] = [[] for _ in range(participants)]
    for digit in labels.unique().tolist():
        mine = torch.from_numpy(rng.permutation((labels == digit).nonzero().flatten().numpy()))
        shares = rng.dirichlet([alpha] * participants)
        cuts = [round(end * len(mine)) for end in shares.cumsum().tolist()[:-1]]
        for part, piece in zip(parts, mine.tensor_split(cuts), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def split_sizes(
    labels: Tensor,
    participants: int,
    *,
    alpha: float | None = None,
    power: float | None = None,
    min_size: int = 1,
    generator: torch.Generator,
) -> list[Tensor]:
    """The same mixture for everybody, but sizes that differ.

    alpha : sizes in proportions of Dirichlet(alpha); power : sizes proportional to rank ** -power (the k-th participant
    is the k-th largest). Exactly one of them. Everybody gets `min_size` first. Raises FedkitError where impossible.
    """
    check_labels(labels)
    check_count("participants", participants)
    _check_room(labels, participants, min_size)
    if (alpha is None) == (power is None):
        what = "and power: exactly one of them is needed"
        raise wrong("alpha", what, "give the one that you want")
    rng = _numpy(generator)
    if alpha is not None:
        _check_alpha(alpha)
        shares = rng.dirichlet(np.full(participants, alpha))
    else:
        if power is None or not math.isfinite(power) or power < 0:
            raise wrong("power", f"must be a finite number of at least 0, not {power!r}", "try 1.0")
        shares = np.arange(1, participants + 1, dtype=float) ** -power
        shares /= shares.sum()
    order = torch.from_numpy(rng.permutation(len(labels)))
    spare = len(labels) - participants * min_size
    cuts = [round(end * spare) for end in shares.cumsum().tolist()[:-1]]
    return list(order.tensor_split([cut + k * min_size for k, cut in enumerate(cuts, start=1)]))


def split_labels_each(
    labels: Tensor, participants: int, labels_each: int, *, generator: torch.Generator
) -> list[Tensor]:
    """Each participant holds `labels_each` labels; the images of a label are shared equally among its holders.

    (Li et al. 2022, section 4.1, "#C = k".) Holders are drawn so that every label has one. Raises FedkitError if
    participants x labels_each is less than the number of labels, or more holders than images come together.
    """
    check_labels(labels)
    check_count("participants", participants)
    check_count("labels_each", labels_each)
    digits = labels.unique().tolist()
    if labels_each > len(digits) or participants * labels_each < len(digits):
        raise wrong(
            "labels_each",
            f"{how_many(participants, 'participant')} with {labels_each} labels each can't share {len(digits)} labels",
            f"use {max(1, -(-len(digits) // participants))} to {len(digits)} labels each",
        )
    holders: dict[int, list[int]] = {digit: [] for digit in digits}
    for k in range(participants):  # the least held labels first, ties at random
        noise = torch.rand(len(digits), generator=generator).tolist()
        wanted = sorted(range(len(digits)), key=lambda i: (len(holders[digits[i]]), noise[i]))
        for position in wanted[:labels_each]:
            holders[digits[position]].append(k)
    parts: list[list[Tensor]] = [[] for _ in range(participants)]
    for digit in digits:
        mine = some(labels, digit, None, generator)
        for k, piece in zip(holders[digit], mine.tensor_split(len(holders[digit])), strict=True):
            parts[k].append(piece)
    dealt = [torch.cat(part) for part in parts]
    if min(len(part) for part in dealt) == 0:
        what = "there are more holders of a label than images of it"
        raise wrong("participants", what, "use fewer")
    return dealt


def split_groups(groups: Tensor) -> list[Tensor]:
    """One participant for each value of `groups` int64 [N] (a writer, a hospital), in the order of the values."""
    check_labels(groups)
    return [(groups == value).nonzero().flatten() for value in groups.unique().tolist()]


def _check_alpha(alpha: float) -> None:
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    if not number or not math.isfinite(alpha) or alpha <= 0:
        raise wrong("alpha", f"must be a finite number above 0, not {alpha!r}", "try 0.1, 1 or 100")


def _check_room(labels: Tensor, participants: int, min_size: int) -> None:
    check_count("min_size", min_size, 0, "0 allows empty ones")
    if participants * min_size > len(labels):
        what = f"{participants} participants can't have {min_size} each of {len(labels)} images"
        raise wrong("min_size", what, f"use at most {len(labels) // participants}")


def _numpy(generator: torch.Generator) -> np.random.Generator:
    """numpy's generator, started by torch's: Dirichlet draws are there."""
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
