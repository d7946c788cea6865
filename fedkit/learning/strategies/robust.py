"""Robust rules: what a few hostile participants send must not decide the global model.

All of them ignore sample counts, except the geometric median: a count is a claim that a hostile participant makes itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.learning.strategies.arithmetic import deltas, mixing_weights, move, stack, unstack
from fedkit.learning.strategies.base import Diagnostics, ServerState, Step, Strategy
from fedkit.learning.update import Update

__all__ = ["GeometricMedian", "Krum", "Median", "MultiKrum", "NormClip", "TrimmedMean"]


@dataclass(frozen=True)
class _Robust(Strategy):
    """A rule without memory: K changes, float64 [K, D], become one, [D]."""

    @property
    def averages_buffers(self) -> bool:
        """No: a mean is what one hostile participant moves at will."""
        return False

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """The rule itself."""
        raise NotImplementedError

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """Move the global model by the combined change."""
        changes = deltas(state.model, updates)
        row, diagnostics = self.combine(stack(changes), updates)
        return ServerState(move(state.model, unstack(row, changes[0]))), diagnostics


@dataclass(frozen=True)
class Median(_Robust):
    """The median of every coordinate; for an even K the mean of the two middle values.

    (Yin et al. 2018, "Byzantine-robust distributed learning: towards optimal statistical rates", definition 1)
    """

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """Coordinate by coordinate."""
        ordered = changes.sort(0).values
        k = len(ordered)
        return (ordered[(k - 1) // 2] + ordered[k // 2]) / 2, {}


@dataclass(frozen=True)
class TrimmedMean(_Robust):
    """The mean of every coordinate without its floor(beta K) largest and smallest values.

    beta : fraction trimmed at each side, in [0, 0.5), default 0.2. (Yin et al. 2018, definition 2)
    """

    beta: float = 0.2

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """Coordinate by coordinate."""
        cut = min(int(self.beta * len(changes) + 1e-9), (len(changes) - 1) // 2)
        kept = changes.sort(0).values[cut : len(changes) - cut]
        return kept.mean(0), {"trimmed": 2.0 * cut}


def krum_scores(changes: Tensor, hostile: int) -> Tensor:
    """Score of each change: the sum of the squared distances to its K - f - 2 nearest others, float64 [K].

    (Blanchard et al. 2017, "Machine learning with adversaries: Byzantine tolerant gradient descent", section 4)
    Raises FedkitError where K < 2 f + 3, for which the paper proves nothing.
    """
    k = len(changes)
    if k < 2 * hostile + 3:
        raise FedkitError(
            f"Krum against {how_many(hostile, 'hostile participant')} needs {2 * hostile + 3} updates, {k} are there",
            field="strategy",
            remedy="lower `hostile`, or take more participants a round",
        )
    distances = torch.cdist(changes, changes, compute_mode="donot_use_mm_for_euclid_dist").square()
    distances.fill_diagonal_(float("inf"))
    return distances.sort(1).values[:, : k - hostile - 2].sum(1)


@dataclass(frozen=True)
class MultiKrum(_Robust):
    """The mean of the `keep` changes with the lowest Krum scores (Blanchard et al. 2017, section 4).

    hostile : f, how many it must stand, default 1. keep : m, default K - f.
    """

    hostile: int = 1
    keep: int | None = None

    @property
    def fewest_updates(self) -> int:
        """2 f + 3; below that the paper proves nothing."""
        return 2 * self.hostile + 3

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """The mean of the best."""
        scores = krum_scores(changes, self.hostile)
        count = self.keep or len(changes) - self.hostile
        best = scores.argsort(stable=True)[:count].sort().values
        return changes[best].mean(0), {"kept": float(len(best)), "best": float(scores.argmin())}


@dataclass(frozen=True)
class Krum(_Robust):
    """The one change with the lowest score (Blanchard et al. 2017, section 4).

    hostile : f, how many it must stand, default 1.
    """

    hostile: int = 1

    @property
    def fewest_updates(self) -> int:
        """2 f + 3, as for `MultiKrum`."""
        return 2 * self.hostile + 3

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """The best."""
        return MultiKrum(self.hostile, 1).combine(changes, updates)


@dataclass(frozen=True)
class GeometricMedian(_Robust):
    """The point with the smallest weighted sum of distances, by smoothed Weiszfeld steps.

    v <- sum_k b_k x_k / sum_k b_k,  b_k = a_k / max(nu, ||v - x_k||)

    (RFA: Pillutla, Kakade, Harchaoui 2022, "Robust aggregation for federated learning", algorithm 2)
    iterations : default 8. nu : smoothing, default 1e-6. weighting : the a_k, "samples" or "equal" (default).
    """

    iterations: int = 8
    nu: float = 1e-6
    weighting: str = "equal"

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """From the mean towards the median."""
        share = torch.tensor(mixing_weights(updates, self.weighting), dtype=changes.dtype)
        point = share @ changes
        for _ in range(self.iterations):
            pull = share / (changes - point).norm(dim=1).clamp(min=self.nu)
            point = (pull / pull.sum()) @ changes
        return point, {"distance": float(share @ (changes - point).norm(dim=1))}


@dataclass(frozen=True)
class NormClip(_Robust):
    """The mean of changes whose norm is cut to `clip`: no participant moves the model further than that.

    Delta_k <- Delta_k min(1, C / ||Delta_k||)   (Sun et al. 2019, "Can you really backdoor federated learning?")
    clip : C; None (the default) takes the median of this round's norms.
    """

    clip: float | None = None

    def combine(self, changes: Tensor, updates: Sequence[Update]) -> tuple[Tensor, Diagnostics]:
        """Clip, then average equally."""
        norms = changes.norm(dim=1)
        limit = norms.median() if self.clip is None else torch.tensor(self.clip, dtype=norms.dtype)
        scale = (limit / norms.clamp(min=1e-12)).clamp(max=1.0)
        cut = float((norms > limit).sum())
        return (scale.unsqueeze(1) * changes).mean(0), {"clip": float(limit), "clipped": cut}
