"""Weights as whole numbers modulo 2^64, so that masks can hide them and a sum of them is exact, in any order.

A participant with n_k samples and weights w_k sends n_k, and n_k w_k rounded to a multiple of 2^-32; the sum of all is
n = sum_k n_k and n w, and FedAvg's mean is their quotient. Why 64 bits and not 32: the sum must not wrap around. With 32
bits, 10,000 samples and weights below 8 would leave 14 bits for the fraction; with 64 there are 32 bits, about as fine as
float32 itself, and room for more than two thousand million, in samples times weight, for two participants. The price is
twice the bytes of a float32 update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.learning.models import StateDict
from fedkit.learning.update import Update
from fedkit.privacy.secagg.masks import Vector

__all__ = ["FRACTION_BITS", "decode", "encode", "fixed_point_mean", "fixed_point_sum"]


FRACTION_BITS = 32
"""Weights are rounded to multiples of 2^-32; whole numbers, such as counters, stay whole."""

_ONE = float(2**FRACTION_BITS)


def encode(state: Mapping[str, Tensor], weight: int, participants: int) -> Vector:
    """What a participant hides and sends: its weight, then weight times state in fixed point, uint64 [1 + D].

    weight : its number of samples, or 1. participants : how many such vectors are added up at most.
    Raises FedkitError if a number is not finite, or so large that the sum could wrap around.
    """
    parts = [torch.tensor([float(weight)], dtype=torch.float64)]
    for name, value in state.items():
        scale = weight * (_ONE if value.is_floating_point() else 1.0)
        parts.append((value.detach().double().flatten() * scale).round())
        if not bool(torch.isfinite(parts[-1]).all()):
            raise FedkitError("is not finite", field=name, remedy="train with a smaller step")
    numbers = torch.cat(parts)
    largest, room = float(numbers.abs().max()), 2**63 / participants
    if largest >= room:
        raise FedkitError(
            f"holds {largest / _ONE:.3g} in samples times weight; {room / _ONE:.3g} is the limit",
            field="update",
            why=f"The sum of {participants} such updates could leave the numbers of 64 bits",
            remedy='train with a smaller step, or with "weighting": "equal"',
        )
    return numbers.numpy().astype(np.int64).view(np.uint64)


def decode(total: Vector, reference: Mapping[str, Tensor]) -> tuple[StateDict, int]:
    """The weighted mean behind a sum of encoded vectors, and the sum of the weights.

    The mean has the reference's names, shapes and dtypes, and is rounded once. Raises FedkitError if this can't be
    the sum of encoded updates.
    """
    expected = 1 + sum(value.numel() for value in reference.values())
    signed = total.view(np.int64)
    weight = int(signed[0]) if len(signed) == expected else 0
    if weight <= 0:
        raise FedkitError(
            "is no sum of updates in fixed point",
            field="sum",
            why="A mask is left in it, or somebody has sent numbers of another kind",
            remedy="look at who took part, and repeat the round without the one who did that",
        )
    numbers = torch.from_numpy(signed[1:].astype(np.float64))
    mean: StateDict = {}
    for name, value in reference.items():
        part, numbers = numbers[: value.numel()], numbers[value.numel() :]
        floating = value.is_floating_point()
        part = part / _ONE / weight if floating else (part / weight).round()
        mean[name] = part.reshape(value.shape).to(value.dtype)
    return mean, weight


def fixed_point_sum(vectors: Sequence[Vector]) -> Vector:
    """The sum modulo 2^64 of K vectors; in whole numbers, order changes nothing."""
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total += vector
    return total


def fixed_point_mean(
    updates: Sequence[Update],
    weighting: str,
    participants: int,
    like: Mapping[str, Tensor] | None = None,
) -> Update:
    """What a secure aggregation of these updates shows, without its masks: their weighted mean, as if it were one update.

    weighting : "samples" or "equal". participants : how many take part at most, as for `encode`. like : the global model,
    whose dtypes the mean has; default those of the updates.
    """
    weights = [(u.num_samples or 1) if weighting == "samples" else 1 for u in updates]
    pairs = zip(updates, weights, strict=True)
    total = fixed_point_sum([encode(u.state, weight, participants) for u, weight in pairs])
    mean, weight = decode(total, like or updates[0].state)
    return Update("sum", updates[0].round, mean, weight)
