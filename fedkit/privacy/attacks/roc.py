"""How well does a score tell members from others? The ROC curve, its area and its left end, with intervals; and an attack
in the form in which a report states it.

An attack that is right about a few people and knows it does more harm than one that is a little right about all, so the
true positive rate at a small false positive rate counts (Carlini et al. 2022, section III). Notebook 08.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError

__all__ = ["AttackResult", "Roc", "attack_result", "auc", "roc"]


_NORMAL = 1.959964
"""The 97.5 % quantile of the standard normal distribution."""
_FEW = 5
"""With fewer pairs than this in a wrong (or right) order, the normal distribution is no guide."""


@dataclass(frozen=True)
class Roc:
    """A ROC curve: false and true positive rates, float64 [T] rising from 0 to 1, one point a threshold.

    auc : P(a member scores higher than another), ties half. interval : 95 % (DeLong et al. 1988, "Comparing the areas
    under two or more correlated receiver operating characteristic curves", equation 3). Near 0 and 1 that one collapses,
    and it is Clopper and Pearson's instead, for as many pairs as need not share a score: min(members, others).
    members, others : counts.
    """

    false_positive_rate: Tensor
    true_positive_rate: Tensor
    auc: float
    interval: tuple[float, float]
    members: int
    others: int

    def tpr_at(self, false_positive_rate: float) -> tuple[float, float, float]:
        """(true positive rate, its 95 % interval's lower and upper end) at the largest threshold within this FPR.

        The interval is Clopper and Pearson's for the number of members found; that the threshold itself comes
        from a sample is not in it.
        """
        within = self.false_positive_rate <= false_positive_rate + 1e-12
        rate = float(self.true_positive_rate[within].max())
        return rate, *_exact(rate, self.members)


def roc(members: Tensor, others: Tensor) -> Roc:
    """The curve of a score [M] of members and [N] of others; higher says member. Raises FedkitError if one is empty."""
    if not len(members) or not len(others):
        raise FedkitError(
            "there is nobody to compare with",
            field="others" if len(members) else "members",
            remedy="give at least one score of each",
        )
    yes, no = members.double(), others.double()
    thresholds = torch.cat([yes, no]).unique().flip(0)
    # how many of each score at least so much
    rates = [
        (len(s) - torch.searchsorted(s.sort().values, thresholds)).double() / len(s)
        for s in (no, yes)
    ]
    false_rate, true_rate = (torch.cat([rate.new_zeros(1), rate]) for rate in rates)
    above, below = _placements(yes, no), 1 - _placements(no, yes)
    area = float(above.mean())
    spread = sum(
        float(part.var(correction=1)) / len(part) for part in (above, below) if len(part) > 1
    )
    wide, pairs = _NORMAL * spread**0.5, min(len(yes), len(no))
    interval = (max(0.0, area - wide), min(1.0, area + wide))
    if min(area, 1 - area) * pairs < _FEW:
        interval = _exact(area, pairs)
    return Roc(false_rate, true_rate, area, interval, len(yes), len(no))


def _exact(rate: float, count: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval for a rate among `count`; between whole numbers, from the lower to the upper."""
    from scipy.stats import binomtest  # slow to import

    hits = rate * count
    low = binomtest(math.floor(hits + 1e-9), count).proportion_ci(method="exact").low
    return float(low), float(
        binomtest(math.ceil(hits - 1e-9), count).proportion_ci(method="exact").high
    )


def auc(members: Tensor, others: Tensor) -> float:
    """How likely a score of a member is above one of the others, ties by half: 1 tells all apart, 0.5 is guessing."""
    return roc(members, others).auc


def _placements(scores: Tensor, against: Tensor) -> Tensor:
    """For each score the share of the others that it exceeds, ties half."""
    ordered = against.sort().values
    left = torch.searchsorted(ordered, scores, right=False)
    right = torch.searchsorted(ordered, scores, right=True)
    return (left + right).double() / (2 * len(ordered))


@dataclass(frozen=True)
class AttackResult:
    """How well one attack did, with an interval: a row of the privacy report.

    target : what it looked at. measure : in words. guessing : what a guess without looking would reach.
    low, high : of a 95 % interval around `success`. by : who sees what it looked at, as the privacy report names them.
    """

    name: str
    target: str
    measure: str
    success: float
    low: float
    high: float
    guessing: float
    by: str = "the aggregator"

    @property
    def is_better_than_guessing(self) -> bool:
        """Does the whole interval lie above what guessing reaches?"""
        return self.low > self.guessing


def attack_result(
    name: str, target: str, inside: Tensor, outside: Tensor, by: str = "the aggregator"
) -> AttackResult:
    """A membership attack from its scores of members [N] and of others [M]: AUC with a 95 % interval.

    by : whose row of the report it belongs to. The interval is that of `roc`. Raises FedkitError for fewer than two scores
    on a side.
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
        by,
    )
