"""The bounds of every number of a config: a stranger writes them too, and whatever stands there costs bounded time.

Bounds are wide: they keep out what no experiment means, not what is unwise. Who needs a narrower one says so itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["LIMITS", "Limit", "within"]


@dataclass(frozen=True)
class Limit:
    """low <= number <= high; open : without the ends themselves. whole : a whole number."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    whole: bool = False

    def wrong(self, value: Any) -> str | None:
        """What is wrong with a value, as the end of a sentence; None if nothing is."""
        number = isinstance(value, int) if self.whole else isinstance(value, int | float)
        if number and not isinstance(value, bool):
            try:
                held = float(value)
            except OverflowError:
                held = math.inf
            above = held > self.low if self.open_low else held >= self.low
            below = held < self.high if self.open_high else held <= self.high
            if above and below:
                return None
        return f"is not {self}"

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low = f"above {self.low:g}" if self.open_low else f"from {self.low:,g}"
        high = f"below {self.high:g}" if self.open_high else f"to {self.high:,g}"
        return f"{kind} {low} {high}"


LIMITS: dict[str, Limit] = {
    # fl_config.json
    "participants": Limit(1, 10_000, whole=True),
    "rounds": Limit(1, 1_000_000, whole=True),
    "epoch": Limit(1, 1_000_000, whole=True),
    "batch_size": Limit(1, 1_000_000, whole=True),
    "min_participants": Limit(1, 1_000_000, whole=True),
    "participants_per_round": Limit(1, 1_000_000, whole=True),
    "max_samples": Limit(1, 10**9, whole=True),
    "max_update_norm": Limit(0, 1e12, open_low=True),
    "learning_rate": Limit(0, 3e38, open_low=True),
    "round_timeout_s": Limit(0, 10 * 365 * 86_400, open_low=True),
    "linger_s": Limit(0, 86_400),
    # "dp"
    "epsilon": Limit(0, 100, open_low=True),
    "delta": Limit(1e-30, 1, open_high=True),
    "noise_multiplier": Limit(1e-3, 1e5),
    "steps": Limit(0, 10_000_000, whole=True),
    "count_noise": Limit(0.01, 1e6),
    "dp.clip": Limit(1e-12, 1e12),
    "colluders": Limit(0, 10_000, whole=True),
    # "strategy"
    "mu": Limit(0, 1e6),
    "server_lr": Limit(0, 1e6),
    "momentum": Limit(0, 1, open_high=True),
    "beta1": Limit(0, 1, open_high=True),
    "beta2": Limit(0, 1, open_high=True),
    "tau": Limit(1e-12, 1e6),
    "beta": Limit(0, 0.5, open_high=True),
    "hostile": Limit(0, 1_000_000, whole=True),
    "keep": Limit(1, 1_000_000, whole=True),
    "iterations": Limit(1, 10_000, whole=True),
    "nu": Limit(1e-12, 1e6),
    "clip": Limit(1e-12, 1e12),
    # "optimizer", whose momentum has the bounds of the strategies'
    "dampening": Limit(0, 1),
    "betas": Limit(0, 1, open_high=True),
    "eps": Limit(1e-12, 1),
    "weight_decay": Limit(0, 1e6),
    "clip_norm": Limit(1e-12, 1e12),
    # "schedule"
    "factor": Limit(0, 1, open_low=True),
    "final": Limit(0, 1),
    "start": Limit(0, 1, open_low=True),
    # "validation"
    "share": Limit(0, 1, open_low=True, open_high=True),
    "patience": Limit(1, 1_000_000, whole=True),
}
"""Name in the config -> bounds."""


def within(name: str) -> Callable[[Any], Any]:
    """What looks whether a value keeps the bounds of `name`, and returns it. It raises ValueError ("what; remedy")."""
    limit = LIMITS[name]

    def look(value: Any) -> Any:
        if wrong := limit.wrong(value):
            raise ValueError(f"{value!r:.80} {wrong}; write one, without quotes")
        return value

    return look
