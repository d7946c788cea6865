"""How an attack went, in a form that a report can state: what it looked at, its measure, its success with an interval."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.privacy.curves import roc

__all__ = ["AttackResult", "attack_result"]


@dataclass(frozen=True)
class AttackResult:
    """One attack. target : what it looked at. measure : in words. guessing : what a guess without looking would reach.

    low, high : of a 95 % interval around `success`.
    """

    name: str
    target: str
    measure: str
    success: float
    low: float
    high: float
    guessing: float

    @property
    def is_better_than_guessing(self) -> bool:
        """Does the whole interval lie above what guessing reaches?"""
        return self.low > self.guessing


def attack_result(name: str, target: str, inside: Tensor, outside: Tensor) -> AttackResult:
    """A membership attack from its scores of members [N] and of others [M]: AUC with a 95 % interval.

    The interval is that of `roc`. Raises FedkitError for fewer than two scores on a side.
    """
    if len(inside) < 2 or len(outside) < 2:
        raise FedkitError("are too few", field="scores", remedy="score two on each side at least")
    curve = roc(inside, outside)
    return AttackResult(
        name,
        target,
        "AUC: how often a member scores above another image",
        curve.auc,
        *curve.interval,
        0.5,
    )
