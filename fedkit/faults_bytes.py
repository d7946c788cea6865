"""What a fault makes of an update on its way: the tensors that arrive instead of those that were trained."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fedkit.learning.models import StateDict

__all__ = ["CHANGES"]

Change = Callable[[StateDict, StateDict, float], StateDict]
"""(global model before the round, trained model, factor) -> what is sent."""


def _nan(before: StateDict, after: StateDict, factor: float) -> StateDict:
    return {name: torch.full_like(value, float("nan")) for name, value in after.items()}


def _another_model(before: StateDict, after: StateDict, factor: float) -> StateDict:
    return {name: torch.zeros([*value.shape, 2]) for name, value in after.items()}


def _flipped(before: StateDict, after: StateDict, factor: float) -> StateDict:
    return {name: before[name] - (value - before[name]) for name, value in after.items()}


def _scaled(before: StateDict, after: StateDict, factor: float) -> StateDict:
    return {name: before[name] + factor * (value - before[name]) for name, value in after.items()}


CHANGES: dict[str, Change] = {
    "NaN": _nan,
    "wrong shape": _another_model,
    "sign-flipped": _flipped,
    "scaled": _scaled,
}
