"""Checks of notebook 10: masks that cancel, and a sum repaired after a drop-out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedkit.privacy.secagg import masks
from fedkit.teaching.check.answers import listed, plain
from fedkit.teaching.check.attempt import Wrong
from fedkit.teaching.check.base import check

_COUNT = 6


def _keys(people: int) -> dict[int, dict[int, bytes]]:
    """A key for each pair of participants 1 to `people`."""
    return {
        u: {v: bytes([min(u, v), max(u, v)] * 16) for v in range(1, people + 1) if v != u}
        for u in range(1, people + 1)
    }


def _vector(got: object) -> masks.Vector:
    form = f"The answer should be an array of {_COUNT} numbers, as many as were asked for."
    if not isinstance(got, np.ndarray):
        made = _array(listed(got))
        if not made.shape:
            raise Wrong(f"{form} Yours is of type {type(got).__name__}, and holds something else.")
        return _vector(made)
    if got.shape != (_COUNT,):
        raise Wrong(f"{form} Yours has the shape {list(got.shape)}.")
    if got.dtype != np.uint64:
        raise Wrong(
            f"The numbers are of type {got.dtype}; they should stay uint64, which wrap around at 2^64."
        )
    return got


def _array(got: object) -> masks.Vector:
    """Numbers of another kind, as an array; of no shape where they are none."""
    numbers = plain(got)
    if isinstance(numbers, list | tuple) and all(type(n) is int for n in numbers):
        if all(0 <= n < 2**64 for n in numbers):
            return np.array(numbers, dtype=np.uint64)
        raise Wrong("Some numbers are below 0 or above 2^64 - 1; uint64 would wrap around there.")
    return np.empty((), dtype=np.uint64)


@check(
    hint="For each other participant there is a mask: mask_stream(key, count). Of the two who have it, the one with the "
    "smaller number adds it to the total and the other one subtracts it. `me < other` says which one you are.",
    takes="me keys count",
)
def pairwise_masks(attempt: Callable[..., object]) -> str:
    """Masks that cancel."""
    keys = _keys(3)
    mine = [_vector(attempt(u, dict(keys[u]), _COUNT)) for u in keys]
    wanted = [masks.pairwise_masks(u, keys[u], _COUNT) for u in keys]
    pair = [_vector(attempt(u, {3 - u: keys[1][2]}, _COUNT)) for u in (1, 2)]
    if not any(mask.any() for mask in mine):
        raise Wrong(
            "The masks are all zero: nothing would be hidden. Add the streams to the total."
        )
    if np.array_equal(pair[0], pair[1]):
        raise Wrong(
            "Both of a pair do the same with their mask, so that it doubles. One should add, the other subtract."
        )
    if (pair[0] + pair[1]).any():
        raise Wrong("The masks of two participants should add up to zero; yours don't.")
    if sum(mine).any():  # type: ignore[union-attr]
        raise Wrong(
            "For two it works; for three, the masks don't add up to zero. Does every other participant count?"
        )
    if all(np.array_equal(a, np.zeros_like(b) - b) for a, b in zip(mine, wanted, strict=True)):
        raise Wrong("It cancels, but the other way round than agreed: the smaller number adds.")
    if any(not np.array_equal(a, b) for a, b in zip(mine, wanted, strict=True)):
        raise Wrong(
            "The masks cancel, but they aren't the streams of the keys that were agreed on."
        )
    return "Each mask occurs once with plus and once with minus, so the sum of all has none left."


@check(
    hint="Add up all masks of all three: zero. Two of the three are in the total. What is missing is what the third one "
    "would have added; a function that you know computes it from the third one's number and keys.",
    takes="total dropped keys",
)
def remove_masks(attempt: Callable[..., object]) -> str:
    """A sum without the masks of one who left."""
    keys = _keys(4)
    values = {u: np.arange(_COUNT, dtype=np.uint64) * np.uint64(u) for u in keys}
    for dropped in (4, 2):
        staying = [u for u in keys if u != dropped]
        clean = sum((values[u] for u in staying), start=np.zeros(_COUNT, dtype=np.uint64))
        total = clean.copy()
        for u in staying:
            total += masks.pairwise_masks(u, keys[u], _COUNT)
        known, before = {u: keys[dropped][u] for u in staying}, total.copy()
        got = _vector(attempt(total, dropped, dict(known)))
        if not np.array_equal(total, before):
            raise Wrong("The total that came in should stay as it is; give a new array back.")
        if np.array_equal(got, total):
            raise Wrong("Nothing has changed: the masks of the one who left are still in the sum.")
        alone = masks.pairwise_masks(dropped, known, _COUNT)
        if np.array_equal(got, alone):
            raise Wrong("Those are the masks alone. The sum of the others has to be in it.")
        twice = total - masks.pairwise_masks(dropped, known, _COUNT)
        if np.array_equal(got, twice):
            raise Wrong("The wrong sign: now every one of these masks is in the sum twice.")
        if not np.array_equal(got, clean) and dropped != 4:
            raise Wrong(
                f"Where the one with the largest number has left it is right; where {dropped} of 4 has it is not. Some "
                "of the missing masks are added, others subtracted."
            )
        if not np.array_equal(got, clean):
            raise Wrong(
                f"For a participant {dropped} of 4 who left, the sum of the other three is not what comes out."
            )
    return "All masks of a pair add up to zero, so what the one who left would have added is what was missing."
