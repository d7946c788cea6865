"""When does a run reach a target? The measure of McMahan et al. 2017, section 3. Built by hand in notebook 11."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["rounds_to_reach"]


def rounds_to_reach(accuracies: Sequence[float], target: float) -> float | None:
    """Rounds until a run's accuracy crosses the target, None where it never does.

    The curve is first made monotone (each round has the best accuracy so far), then read by linear interpolation between
    rounds (McMahan et al. 2017, section 3). accuracies : 0..1 after rounds 1, 2, ...; one that starts above needs 1 round.
    """
    before = 0.0
    for n, accuracy in enumerate(accuracies, start=1):
        if accuracy >= target:
            return 1.0 if n == 1 else n - 1 + (target - before) / (accuracy - before)
        before = max(before, accuracy)
    return None
