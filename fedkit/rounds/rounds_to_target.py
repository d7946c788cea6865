"""When does a run reach a target, and which setting gets there first? The measure of McMahan et al. 2017, section 3.

Both functions are built by hand in notebook 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rounds_to_reach", "tuned"]


def rounds_to_reach(accuracies: Sequence[float], target: float) -> float | None:
    """Rounds until a run's accuracy crosses the target, None where it never does.

    The curve is first made monotone (each round has the best accuracy so far), then read by linear interpolation between
    rounds (McMahan et al. 2017, section 3). accuracies : 0..1 after rounds 1, 2, ...; one that starts above needs 1 round.
    """
    best = 0.0
    for n, accuracy in enumerate(accuracies, start=1):
        if accuracy >= target:
            return 1.0 if n == 1 else n - 1 + (target - best) / (accuracy - best)
        best = max(best, accuracy)
    return None


def tuned(
    frame: pd.DataFrame,
    row: str = "row",
    over: str = "learning_rate",
    measure: str = "rounds_to_target",
) -> dict[Any, Any]:
    """For each row of a table the setting with the smallest mean measure: {row: value of `over`}.

    frame : runs, as of `fk.results`. A setting of which a run has no measure can't win, as it did not always get there; a
    row in which no setting did is left out.
    """
    best = {}
    for name, runs in frame.groupby(row, sort=False):
        means = {}
        for setting, same in runs.groupby(over):
            if same[measure].notna().all():
                means[setting] = same[measure].mean()
        if means:
            best[name] = min(means, key=lambda setting: means[setting])
    return best
