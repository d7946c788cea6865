"""The key `"validation"` of `fl_config.json`: what each participant keeps back, to see how models do on its own data.

"validation": {"share": 0.2, "patience": 3}
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from fedkit.config.limits import within
from fedkit.config.part import Part

__all__ = ["Validation", "kept"]


class Validation(Part):
    """What each participant keeps back of its samples, the same ones in every round. Frozen.

    share : of its samples, rounded, default 0.2; at least one is kept back, and at least one is trained on.
    patience : training ends early when the loss on what was kept back has not fallen for so many local epochs, and what is
        sent are the weights of the local epoch in which it was lowest; None (the default) trains all local epochs.

    With its update a participant sends the task's loss and metrics on these samples, of the model it received and of its
    update. Samples and steps that an update claims are those behind its weights.
    """

    share: Annotated[float, BeforeValidator(within("share"))] = 0.2
    patience: Annotated[int, BeforeValidator(within("patience"))] | None = None

    def misfit(self, config: Any) -> str | None:
        """Why the rest of its config, an `FLConfig`, does not go with it, as "field: what; remedy", or None."""
        if config.secure_aggregation is not None:
            return (
                "validation: sends each participant's own numbers, which tell about its update what secure_aggregation "
                "hides; leave one of the two out"
            )
        if config.dp is not None:
            return (
                "validation: sends numbers, and with patience chooses weights, by looking at samples that no noise of dp "
                "covers; leave one of the two out"
            )
        return None


def kept(share: float, count: int) -> int:
    """How many of `count` samples are kept back: a share, rounded, at least one, and at least one is left."""
    return min(max(round(share * count), 1), count - 1)
