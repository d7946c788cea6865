"""FedNova: who takes more local steps does not pull the model further towards itself.

(Wang et al. 2020, "Tackling the objective inconsistency problem in heterogeneous federated optimization", section 4)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedkit.learning.strategies.arithmetic import claims, deltas, mixing_weights, move, weighted_sum
from fedkit.learning.strategies.base import ServerState, Step, Strategy
from fedkit.learning.update import Update

__all__ = ["FedNova"]


@dataclass(frozen=True)
class FedNova(Strategy):
    """Normalised averaging: the mean change of one step, times the mean number of steps   (Wang et al. 2020, section 4).

    d_k = Delta_k / tau_k,  w <- w + tau_eff sum_k p_k d_k,  tau_eff = sum_k p_k tau_k

    tau_k is the number of local steps behind update k: for plain SGD, what the paper calls ||a_k||_1. FedAvg weighs each
    gradient by p_k tau_k, so its fixed point is the minimum of another sum of losses. With equal tau_k this is FedAvg. An
    update that does not say its steps (`steps_unknown` in the diagnostics counts those) is taken to have the median.

    Like a sample count, tau_k is a claim of the participant's own. weighting : "samples" or "equal".
    """

    weighting: str = "samples"

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """One normalised step."""
        unknown = sum(not update.steps for update in updates)
        steps = claims([update.steps for update in updates])
        mixed = mixing_weights(updates, self.weighting)
        effective = sum(share * tau for share, tau in zip(mixed, steps, strict=True))
        changes = deltas(state.model, updates)
        scales = [share * effective / tau for share, tau in zip(mixed, steps, strict=True)]
        delta = weighted_sum(scales, changes)
        diagnostics = {"tau_eff": effective, "steps_unknown": float(unknown)}
        return ServerState(move(state.model, delta)), diagnostics
