"""Who holds which digits: rules that deal images out to participants.

A partition is a function (labels, ..., generator) -> list of index tensors, one a participant, that uses each index at
most once and depends on nothing but its arguments. `take` alone turns indices into shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fedkit.base.text import how_many
from fedkit.data.shards import Shard, as_float, wrong

__all__ = ["TUTORIAL_GROUPS", "by_digits", "iid", "split_by_digits", "split_iid", "take"]

TUTORIAL_GROUPS = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


def by_digits(
    images: Tensor,
    labels: Tensor,
    groups: Sequence[Sequence[int]] = TUTORIAL_GROUPS,
    per_digit: int | None = 800,
    *,
    generator: torch.Generator,
) -> list[Shard]:
    """One shard a group of digits: `take` of `split_by_digits`. The defaults are the tutorial's two participants."""
    return take(images, labels, split_by_digits(labels, groups, per_digit, generator=generator))


def iid(
    images: Tensor,
    labels: Tensor,
    participants: int = 2,
    per_participant: int | None = None,
    *,
    generator: torch.Generator,
) -> list[Shard]:
    """One shard a participant, all of the same mixture: `take` of `split_iid`."""
    return take(
        images, labels, split_iid(labels, participants, per_participant, generator=generator)
    )


def split_by_digits(
    labels: Tensor,
    groups: Sequence[Sequence[int]] = TUTORIAL_GROUPS,
    per_digit: int | None = 800,
    *,
    generator: torch.Generator,
) -> list[Tensor]:
    """For each group of digits, `per_digit` random indices of each of its digits (None: all that there are).

    labels int64 [N]; returns int64 tensors. Raises FedkitError if a digit is in two groups or in no label, a group is
    empty, or there are fewer images of a digit than asked for.
    """
    check_labels(labels)
    if not groups:
        remedy = "name at least one group of digits, such as [[0, 1], [2, 3]]"
        raise wrong("groups", "is empty", remedy)
    dealt = [_digits(position, group) for position, group in enumerate(groups)]
    owner: dict[int, int] = {}
    for position, group in enumerate(dealt):
        for digit in group:
            if digit in owner:
                twice = f"group {owner[digit]} and in group {position}"
                raise wrong(
                    "groups",
                    f"the digit {digit} is in {twice if owner[digit] != position else f'group {position} twice'}",
                    "give each digit to one group, once",
                )
            owner[digit] = position
    if per_digit is not None:
        check_count("per_digit", per_digit)
    return [
        torch.cat([some(labels, digit, per_digit, generator) for digit in group]) for group in dealt
    ]


def split_iid(
    labels: Tensor,
    participants: int = 2,
    per_participant: int | None = None,
    *,
    generator: torch.Generator,
) -> list[Tensor]:
    """`per_participant` random indices for each participant (None: all there are, sizes differ by one at most).

    labels int64 [N]; returns int64 tensors. Raises FedkitError if more are asked for than there are.
    """
    check_labels(labels)
    check_count("participants", participants)
    total = len(labels)
    if per_participant is not None:
        check_count("per_participant", per_participant)
        if participants * per_participant > total:
            each = total // participants
            raise wrong(
                "per_participant",
                f"{participants} participants can't have {per_participant} each of {total} images",
                f"ask for at most {each}"
                if each
                else f"use at most {how_many(total, 'participant')}",
            )
        total = participants * per_participant
    elif total < participants:
        what = f"{total} images can't be dealt out to {participants}"
        raise wrong("participants", what, f"use at most {total}")
    order = torch.randperm(len(labels), generator=generator)[:total]
    return list(order.tensor_split(participants))


def take(images: Tensor, labels: Tensor, parts: Sequence[Tensor]) -> list[Shard]:
    """Cut one shard for each tensor of indices.

    images uint8 [N,28,28] or float32 [N,1,28,28], labels int64 [N]. A shard has its digits in order (and in the order
    of the indices within a digit): exactly as it comes back from its files, so that both train to the same bits.
    Raises FedkitError if images and labels differ in number, or a part is empty or leads outside.
    """
    check_labels(labels)
    if len(images) != len(labels):
        what = f"{len(images)} images have {len(labels)} labels"
        raise wrong("labels", what, "give one label an image")
    shards = []
    for position, part in enumerate(parts):
        if not len(part):
            remedy = "give each participant at least one image"
            raise wrong("parts", f"part {position} is empty", remedy)
        if int(part.min()) < 0 or int(part.max()) >= len(labels):
            what = f"part {position} has an index outside 0..{len(labels) - 1}"
            raise wrong("parts", what, "cut from the same labels")
        sorted_part = part[torch.argsort(labels[part], stable=True)]
        cut = images[sorted_part]
        shards.append((as_float(cut) if cut.dtype == torch.uint8 else cut, labels[sorted_part]))
    return shards


def _digits(position: int, group: Iterable[int]) -> tuple[int, ...]:
    try:
        digits = tuple(group)
    except TypeError:
        what = f"group {position} is {group!r}, not a list"
        raise wrong("groups", what, "write a list of lists, such as [[0, 1], [2, 3]]") from None
    if not digits:
        raise wrong("groups", f"group {position} is empty", "give it at least one digit")
    for digit in digits:
        if isinstance(digit, bool) or not isinstance(digit, int) or not 0 <= digit <= 9:
            raise wrong("groups", f"{digit!r} is no digit", "use whole numbers from 0 to 9")
    return digits


def some(labels: Tensor, digit: int, count: int | None, generator: torch.Generator) -> Tensor:
    """Random indices of `count` images of one digit, of all that there are where it is None. Raises FedkitError."""
    found = torch.nonzero(labels == digit).flatten()
    if not len(found):
        raise wrong("groups", f"no image shows the digit {digit}", "leave this digit out")
    if count is not None and count > len(found):
        what = f"asks for {count} images of the digit {digit}, there are {len(found)}"
        raise wrong("per_digit", what, f"ask for at most {len(found)}")
    return found[torch.randperm(len(found), generator=generator)[:count]]


def check_labels(labels: Tensor) -> None:
    """Raises FedkitError unless labels are int64 in one dimension."""
    if labels.dtype != torch.int64 or labels.dim() != 1:
        what = f"are {labels.dtype} {list(labels.shape)}"
        raise wrong("labels", what, "give int64 labels in one dimension: labels.long()")


def check_count(field: str, value: int, least: int = 1, remedy: str = "ask for at least 1") -> None:
    """Raises FedkitError unless the value is a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise wrong(field, f"must be a whole number from {least}, not {value!r}", remedy)
