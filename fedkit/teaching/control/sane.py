"""The numbers that a person may type into a panel, or give to what its buttons call: what is out of range is refused.

`config/limits.py` keeps out what no experiment means, as a stranger may write it; these ranges keep out a slip of the
keyboard: 1 for 0.1, three zeros too many. Nothing is changed to fit: the reply says the range, and why it ends there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from fedkit.base.errors import FedkitError

__all__ = ["SANE", "Sane", "check_sane"]


@dataclass(frozen=True)
class Sane:
    """low <= number <= high; whole : a whole number. low_means, high_means : what happens beyond that end."""

    said: str
    low: float
    high: float
    low_means: str
    high_means: str
    whole: bool = False

    def __str__(self) -> str:
        kind = "a whole number " if self.whole else ""
        return f"{kind}from {_plain(self.low)} to {_plain(self.high)}"

    def wrong(self, value: Any) -> str:
        """Why a value is refused, with the range; "" where it is in range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (isinstance(value, float) and not math.isfinite(value)):
            return f"{value} is no number; give {self if self.whole else f'one {self}'}"
        if self.whole and value != int(value):
            return f"{value:g} is no whole number; give {self}"
        if value < self.low:
            return f"{value:,g} is too small: {self.low_means}; give {self.ended}"
        if value > self.high:
            return f"{value:,g} is too large: {self.high_means}; give {self.ended}"
        return ""

    @property
    def ended(self) -> str:
        """The range, as the end of "give ..."."""
        return str(self) if self.whole else f"a number {self}"


def _plain(number: float) -> str:
    """As people write it: 0.000001, not 1e-06."""
    return f"{number:.6f}".rstrip("0") if 0 < abs(number) < 1e-3 else f"{number:,.0f}"


SANE = {
    "learning_rate": Sane(
        "Learning rate",
        1e-6,
        10,
        "training would hardly move the model",
        "steps so long leave every slope, and the loss becomes NaN",
    ),
    "epoch": Sane(
        "Local epochs",
        1,
        10_000,
        "without an epoch nobody trains",
        "one round would take hours",
        whole=True,
    ),
    "participants_per_round": Sane(
        "Participants a round",
        1,
        10_000,
        "without a participant there is no round",
        "no project has so many",
        whole=True,
    ),
    "from_round": Sane(
        "From round",
        1,
        1_000_000,
        "the first round is round 1",
        "no project has so many rounds",
        whole=True,
    ),
    "seconds": Sane(
        "Seconds late", 0, 600, "nobody starts before the round", "you would wait for ten minutes"
    ),
    "factor": Sane(
        "Factor",
        -1e6,
        1e6,
        "float32 weights leave their range in a few rounds",
        "float32 weights leave their range in a few rounds",
    ),
}
"""Name of the setting -> its range."""


def check_sane(**values: Any) -> None:
    """Raises FedkitError for the first value that is out of its range; a name without a range is let pass."""
    for name, value in values.items():
        if name in SANE and (wrong := SANE[name].wrong(value)):
            what, _, remedy = wrong.partition("; ")
            raise FedkitError(what, field=name, remedy=remedy)
