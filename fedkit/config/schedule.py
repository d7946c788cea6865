"""The key `"schedule"` of `fl_config.json`: how the learning rate changes from round to round.

    "schedule": {"name": "cosine", "final": 0.01}

The rate of round n is learning_rate times `Schedule.share(n, rounds)`; where the config lets the aggregator adjust the
learning rate, the schedule scales what it has set. Everybody calculates it from the approved config, so nothing of it
crosses. A real client app, which does not know the key, trains with learning_rate as it stands.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from fedkit.config.limits import within
from fedkit.config.part import NamedPart

__all__ = ["Schedule"]


_OF: dict[str, tuple[str, ...]] = {
    "constant": (),
    "step": ("every", "factor"),
    "cosine": ("final",),
    "warmup": ("rounds", "start"),
}
"""Name -> its parameters."""
_NEEDED = {"step": "every", "warmup": "rounds"}

_NOTHING = 1e-30
"""A smaller rate moves no float32."""

Rounds = Annotated[int, BeforeValidator(within("rounds"))]


class Schedule(NamedPart):
    """By what the learning rate is multiplied in round n of R. Frozen.

    constant : 1.
    step : factor^floor((n - 1) / every); factor 0.1 by default   (torch's StepLR)
    cosine : final + (1 - final) (1 + cos(pi (n - 1) / R)) / 2; final 0 by default   (torch's CosineAnnealingLR;
        Loshchilov & Hutter 2017, equation 5)
    warmup : start + (1 - start) (n - 1) / rounds, 1 from round `rounds` + 1 on; start 0.1 by default   (torch's LinearLR)
    """

    example = "cosine"

    name: Literal["constant", "step", "cosine", "warmup"]
    every: Rounds | None = None
    factor: Annotated[float, BeforeValidator(within("factor"))] = 0.1
    final: Annotated[float, BeforeValidator(within("final"))] = 0.0
    rounds: Rounds | None = None
    start: Annotated[float, BeforeValidator(within("start"))] = 0.1

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known, needed = _OF[self.name], _NEEDED.get(self.name)
        for key in sorted(self.model_fields_set - {"name"}):
            if key not in known:
                raise ValueError(
                    f"{key}: {self.name} has none; it has {', '.join(known) or 'no parameter'}"
                )
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f'{needed}: is missing; write how many rounds, such as "{needed}": 5')
        return self

    def share(self, n: int, rounds: int) -> float:
        """By what the learning rate is multiplied in round n, from 1, of so many."""
        gone = n - 1
        if self.name == "step":
            return float(self.factor ** (gone // (self.every or 1)))
        if self.name == "cosine":
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * gone / rounds)) / 2
        if self.name == "warmup":
            return self.start + (1 - self.start) * min(1.0, gone / (self.rounds or 1))
        return 1.0

    def misfit(self, config: Any) -> str | None:
        """Why the rest of its config, an `FLConfig`, does not go with it, as "field: what; remedy", or None."""
        least = min(self.share(n, config.rounds) for n in (1, config.rounds))
        if config.learning_rate * least < _NOTHING:
            return (
                f"schedule: {self.name} ends at a learning rate of {config.learning_rate * least:.0g}, with which "
                "nothing is learned; take fewer or smaller steps"
            )
        return None
