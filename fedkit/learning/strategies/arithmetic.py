"""Sums and means of state dicts, which every strategy is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from torch import Tensor

from fedkit.learning.models import StateDict
from fedkit.learning.update import Update

__all__ = [
    "claims",
    "delta",
    "deltas",
    "mean_delta",
    "mixing_weights",
    "move",
    "norm_of",
    "over_floats",
    "stack",
    "unstack",
    "weighted_sum",
]


def over_floats(model: Mapping[str, Tensor], change: Callable[[str, Tensor], Tensor]) -> StateDict:
    """A state dict in which every floating point tensor is `change(name, tensor)`; counters stay as they are."""
    return {
        name: change(name, value).to(value.dtype) if value.is_floating_point() else value.clone()
        for name, value in model.items()
    }


def delta(model: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> StateDict:
    """Delta = w_k - w in float64, of the floating point tensors."""
    return {n: state[n].double() - w.double() for n, w in model.items() if w.is_floating_point()}


def deltas(model: Mapping[str, Tensor], updates: Sequence[Update]) -> list[StateDict]:
    """Delta_k = w_k - w of each update, in float64."""
    return [delta(model, update.state) for update in updates]


def mean_delta(model: Mapping[str, Tensor], updates: Sequence[Update], weighting: str) -> StateDict:
    """sum_k p_k Delta_k in float64, with the shares p_k of `mixing_weights`."""
    return weighted_sum(mixing_weights(updates, weighting), deltas(model, updates))


def weighted_sum(shares: Sequence[float], changes: Sequence[StateDict]) -> StateDict:
    """sum_k p_k c_k in float64, in the order given."""
    return {
        name: sum(
            (p * c[name] for p, c in zip(shares, changes, strict=True)),
            torch.zeros((), dtype=torch.float64),
        )
        for name in changes[0]
    }


def norm_of(state: Mapping[str, Tensor]) -> float:
    """L2 norm over all tensors."""
    return float(torch.cat([value.flatten() for value in state.values()]).norm())


def move(model: Mapping[str, Tensor], by: Mapping[str, Tensor]) -> StateDict:
    """w + delta, rounded once to the model's dtype."""
    return over_floats(model, lambda name, value: value.double() + by[name])


def stack(changes: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """K changes as one matrix, float64 [K, D]."""
    return torch.stack([torch.cat([value.flatten() for value in c.values()]) for c in changes])


def unstack(row: Tensor, like: Mapping[str, Tensor]) -> StateDict:
    """One row of `stack` back in the shapes of `like`."""
    parts = row.split([value.numel() for value in like.values()])
    return {n: part.view(v.shape) for (n, v), part in zip(like.items(), parts, strict=True)}


def claims(told: Sequence[int | None]) -> list[float]:
    """What participants say of themselves (samples, steps); who says nothing counts as the median of the others.

    So silence changes nobody else's share. Where all are silent (the real apps), all count the same.
    """
    known = [claim for claim in told if claim]
    middle = median(known) if known else 1
    return [float(claim or middle) for claim in told]


def mixing_weights(updates: Sequence[Update], weighting: str = "samples") -> list[float]:
    """Each update's share of the average; the shares add up to 1.

    n_k / n   (McMahan et al. 2017, algorithm 1)   with weighting "samples"; an unknown n_k is the median of the known ones;
    1 / K     with weighting "equal", or where none is known (the real apps do not tell theirs).
    """
    known = [update.num_samples for update in updates if update.num_samples]
    if weighting == "equal" or not known:
        return [1 / len(updates)] * len(updates)
    counts = [update.num_samples or median(known) for update in updates]
    return [count / sum(counts) for count in counts]
