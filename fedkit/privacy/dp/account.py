"""How much privacy a training spends: epsilon at a given delta. The calculation is left to two libraries, side by side.

A mechanism is what differential privacy sees of a training: T times, each record is taken with probability q (Poisson
sampling), what it adds is cut to norm C, and Gaussian noise of standard deviation sigma C goes on top. Then for all data
sets D, D' that are neighbours, and all sets S of outcomes,

    P[M(D) in S] <= e^epsilon P[M(D') in S] + delta      (Dwork and Roth 2014, definition 2.4)

Which are neighbours is part of the promise (Ponomareva et al. 2023, "How to DP-fy ML", section 2.1). Ours are "zero-out":
one record (a sample, or all that a participant has) is replaced by one that contributes nothing. So how many there are is
public, and it costs what add-or-remove does. "replace-one", by any other record, changes twice as much: its epsilon is
larger.

Google's dp-accounting knows RDP (Mironov 2017) and privacy loss distributions (PLD: Koskela et al. 2020); Opacus knows RDP
and PRV (Gopi et al. 2021). RDP is quick and a little too large. PLD is what fedkit states. Notebook 09 accounts by them.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from fedkit.base.distribution import need_privacy
from fedkit.base.errors import FedkitError
from fedkit.config.limits import LIMITS

__all__ = ["ACCOUNTANTS", "NEIGHBOURS", "Mechanism", "epsilon_of", "noise_for"]

NEIGHBOURS = ("zero-out", "replace-one")
"""Which data sets count as neighbours; the first is meant wherever an epsilon names none."""


_LEAST_NOISE = 1e-3
"""Below it, no accountant can hold the numbers, and epsilon is in the hundred thousands."""

_BEYOND = 1000.0
"""An epsilon beyond it promises nothing, and its exact size is not worth minutes: there, RDP's upper bound is told."""


@dataclass(frozen=True)
class Mechanism:
    """Gaussian noise on a sum over a random sample, step after step: what an accountant counts.

    sampling_rate : q in (0, 1]. noise_multiplier : sigma > 0, noise's deviation / clipping norm. steps : T >= 0.

    Raises FedkitError where one of them lies outside.
    """

    sampling_rate: float
    noise_multiplier: float
    steps: int

    def __post_init__(self) -> None:
        for field, fits, remedy in (
            ("sampling_rate", 0 < self.sampling_rate <= 1, "a probability above 0, at most 1"),
            (
                "noise_multiplier",
                0 < self.noise_multiplier < math.inf,
                "a number above 0: without noise, epsilon is infinite",
            ),
            ("noise_multiplier", self.noise_multiplier >= _LEAST_NOISE, "more noise"),
            ("steps", self.steps >= 0, "a number of at least 0"),
            ("steps", LIMITS["steps"].wrong(self.steps) is None, f"{LIMITS['steps']}"),
        ):
            if not fits:
                value = getattr(self, field)
                raise FedkitError(f"{value!r} is no {field}", field=field, remedy=f"take {remedy}")


def epsilon_of(
    mechanism: Mechanism,
    delta: float,
    accountant: str = "PLD",
    *,
    neighbours: str = "zero-out",
) -> float:
    """Epsilon at `delta` (0 < delta < 1), by one of `ACCOUNTANTS`. Raises FedkitError.

    neighbours : "zero-out", or "replace-one", which PLD knows; infinite there where zero-out's is beyond 1,000.
    """
    if neighbours not in NEIGHBOURS or (neighbours == "replace-one" and accountant != "PLD"):
        raise FedkitError(
            f"{neighbours!r} is no relation of neighbours that {accountant} knows",
            field="neighbours",
            remedy='take "zero-out", or "replace-one" with the accountant PLD',
        )
    if not 0 < delta < 1:
        raise FedkitError(f"{delta!r} is no delta", field="delta", remedy="take one such as 1e-5")
    if accountant not in ACCOUNTANTS:
        raise FedkitError(
            f"{accountant!r} is no accountant",
            field="accountant",
            remedy=f"one of {', '.join(ACCOUNTANTS)}",
        )
    if mechanism.steps == 0:
        return 0.0
    return _epsilon(mechanism, delta, accountant, neighbours == "replace-one")


def noise_for(epsilon: float, delta: float, sampling_rate: float = 1.0, steps: int = 1) -> float:
    """The smallest noise multiplier whose epsilon (PLD, zero-out neighbours) is at most `epsilon`, to within 0.1 %.

    Raises FedkitError if there is none between 0.01 and 100,000.
    """
    return _noise_for(float(epsilon), float(delta), float(sampling_rate), int(steps))


@lru_cache(maxsize=512)
def _epsilon(mechanism: Mechanism, delta: float, accountant: str, replaced: bool) -> float:
    with quiet():
        bound = _rdp(mechanism, delta)
        if replaced:
            return math.inf if bound > _BEYOND else _pld(mechanism, delta, "REPLACE_ONE")
        return bound if bound > _BEYOND else float(ACCOUNTANTS[accountant](mechanism, delta))


@lru_cache(maxsize=256)
def _noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    def spent(log_noise: float, accountant: str = "PLD") -> float:
        return epsilon_of(Mechanism(rate, math.exp(log_noise), steps), delta, accountant)

    low, high = math.log(0.01), math.log(1e5)
    if steps < 1 or not epsilon > 0 or spent(high, "RDP") > epsilon:
        raise FedkitError(
            f"no noise gives epsilon {epsilon:g} at delta {delta:g} in {steps:,} steps",
            field="epsilon",
            remedy="take a larger epsilon, fewer steps, or at least one step",
        )
    bottom = low
    while high - low > 0.3:  # RDP first: quick, and never below the truth
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle, "RDP") <= epsilon else (middle, high)
    return math.exp(_crossing(lambda x: math.log(spent(x) / epsilon), bottom, high))


def _crossing(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function that is nearly a line comes to 0: at most 0.001 to the right of that, never to the left."""
    at, value, slope = high, excess(high), -1.3
    while high - low > 1e-3:
        guess = at - value / slope
        aims = [x for x in (guess + 4e-4, guess - 4e-4) if low < x < high]
        for x in aims or [(low + high) / 2]:
            last, at, value = (at, value), x, excess(x)
            low, high = (low, x) if value <= 0 else (x, high)
            if value != last[1]:
                slope = min((value - last[1]) / (at - last[0]), -0.1)
    return high


def event_of(mechanism: Mechanism) -> Any:
    """The mechanism as dp-accounting writes it."""
    need_privacy()
    import dp_accounting  # a second's import, for those who account

    event: Any = dp_accounting.GaussianDpEvent(mechanism.noise_multiplier)
    if mechanism.sampling_rate < 1:
        event = dp_accounting.PoissonSampledDpEvent(mechanism.sampling_rate, event)
    return dp_accounting.SelfComposedDpEvent(event, mechanism.steps)


def _pld(mechanism: Mechanism, delta: float, neighbours: str = "ADD_OR_REMOVE_ONE") -> float:
    need_privacy()
    from dp_accounting import NeighboringRelation, pld

    relation = NeighboringRelation[neighbours]
    spent = math.inf
    for interval, enough in ((1e-2, 20), (1e-3, 1), (1e-4, 0)):  # rounded up; the small need finer
        accountant = pld.PLDAccountant(relation, value_discretization_interval=interval)
        spent = accountant.compose(event_of(mechanism)).get_epsilon(delta)
        if spent > enough:
            break
    return spent


def _rdp(mechanism: Mechanism, delta: float) -> float:
    need_privacy()
    from dp_accounting import rdp

    orders, step = _rdp_of_a_step(mechanism.sampling_rate, mechanism.noise_multiplier)
    epsilon, _ = rdp.compute_epsilon(orders, mechanism.steps * step, delta)
    return float(epsilon)


@lru_cache(maxsize=256)
def _rdp_of_a_step(rate: float, noise: float) -> tuple[Any, Any]:
    """(orders, RDP of one step at each), float64: T steps spend T times as much, as the accountant itself sums them."""
    from dp_accounting import rdp

    spent = rdp.RdpAccountant().compose(event_of(Mechanism(rate, noise, 1)))
    return spent.orders, spent.rdp


def _opacus(kind: str, mechanism: Mechanism, delta: float) -> float:
    need_privacy()
    from opacus.accountants import create_accountant  # a second's import too

    accountant = create_accountant(kind)
    accountant.history = [(mechanism.noise_multiplier, mechanism.sampling_rate, mechanism.steps)]
    if kind == "rdp":
        return float(accountant.get_epsilon(delta))
    # its own error bound is absolute, 0.01: for a small epsilon that is too coarse
    rough = accountant.get_epsilon(delta, eps_error=0.1, delta_error=delta / 100)
    fine = min(0.01, max(rough - 0.1, 0.02) / 200)
    return float(accountant.get_epsilon(delta, eps_error=fine, delta_error=delta / 1000))


ACCOUNTANTS: dict[str, Callable[[Mechanism, float], float]] = {
    "PLD": _pld,
    "RDP": _rdp,
    "Opacus PRV": partial(_opacus, "prv"),
    "Opacus RDP": partial(_opacus, "rdp"),
}
"""Name -> (mechanism, delta) -> epsilon; the first two by dp-accounting."""


@contextmanager
def quiet() -> Iterator[None]:
    """RDP leaves out orders at which its series does not converge, and says so; the result stays an upper bound."""
    logging.getLogger("absl").addFilter(
        _converged
    )  # once, and for good: participants account side by side
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _converged(record: logging.LogRecord) -> bool:
    return "failed to converge" not in record.getMessage()
