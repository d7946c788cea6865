"""What `"secure_aggregation"` in `fl_config.json` may say, and why not everything goes with it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fedkit.config.part import Part

__all__ = ["SUM_IS_ENOUGH", "SecureAggregation"]


SUM_IS_ENOUGH = ("fedavg", "fedprox", "fedavgm", "fedadagrad", "fedadam", "fedyogi")
"""Strategies whose aggregator needs nothing but the weighted mean of a round's updates."""


class SecureAggregation(Part):
    """`"secure_aggregation": {"threshold": t}`: the aggregator gets the sum of a round's updates and no single one.

    threshold : so many participants of a round must answer to the end, or its sum stays hidden; more than half of those
    who are asked. Against an aggregator that lies, up to 2 t - n - 1 of the n may be on its side (Bonawitz et al. 2017,
    theorem 6.5).
    """

    threshold: Annotated[int, Field(strict=True, ge=2, le=1_000)]

    def misfit(self, config: Any) -> str | None:
        """Why the rest of its config, an `FLConfig`, does not go with it, as "field: what; remedy", or None."""
        participants = config.participants_per_round or len(config.participants)
        least, t = participants // 2 + 1, self.threshold
        if participants < 2:
            return (
                "secure_aggregation: hides updates in their sum, and a sum of one is that update; "
                "ask at least two participants in a round"
            )
        numbers = f"write a number from {least} to {participants}"
        if t > participants:
            return f"secure_aggregation.threshold: asks for {t} of {participants} participants in a round; {numbers}"
        if t < least:
            return (
                f"secure_aggregation.threshold: is {t} of {participants} participants in a round, and an aggregator that "
                f"lies could ask one half for the one mask of somebody and the other half for the other; {numbers}"
            )
        if config.min_participants is not None and config.min_participants < t:
            return (
                f"min_participants: lets a round end with {config.min_participants}, but {t} (the threshold) must "
                f"answer to unmask the sum; write at least {t}"
            )
        if config.max_update_norm is not None:
            return (
                "max_update_norm: bounds single updates, and secure_aggregation shows only their sum; "
                "leave one of the two out"
            )
        if "participants_per_round" in config.adjustable:
            return (
                "adjustable: lets participants_per_round change, but the threshold was approved for one number; "
                "leave participants_per_round out of it"
            )
        name = (config.strategy or {}).get("name", "fedavg")
        if name not in SUM_IS_ENOUGH:
            why = "looks at single updates, and secure_aggregation shows only their sum"
            if name == "fedbn":
                why = "keeps a part of each model at its participant, and what goes under masks is a whole one"
            return (
                f"strategy.name: {str(name)!r:.40} {why}; "
                f"choose {', '.join(SUM_IS_ENOUGH[:-1])} or {SUM_IS_ENOUGH[-1]}, or leave secure_aggregation out"
            )
        return None
