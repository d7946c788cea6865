"""Noise that later rounds take back in part: participant-level privacy by a banded matrix, without any secret sampling.

DP-FedAvg adds fresh noise to each round's sum S_t, and all of it stays in the model. Here noise goes on a mixture of the
last rounds, and what is added to the model is solved from it:

    Y_t = sum_{j < p} c_j S_{t-j} + N(0, (sigma C ||c||)^2),     S~_t = (Y_t - sum_{0 < j < p} c_j S~_{t-j}) / c_0

so that the noise of S~_t holds that of earlier rounds with the other sign, and sums of it over rounds grow more slowly. The
matrix is Toeplitz with p bands, c_j = (2j choose j) / 4^j, the square root of all-ones, cut off (Kalinin and Lampert 2024,
"Banded square root matrix factorization"; Choquette-Choo et al. 2023, "(Amplified) banded matrix factorization"; the idea:
Kairouz et al. 2021, "Practical and private (deep) learning without sampling or shuffling"; Denisov et al. 2022). Here c are
whole numbers near 1,024 c_j, since any c is as private and these mix steps of a grid exactly.

Participants come in a fixed order, in turn, which all may know. Between two turns of one lie at least b rounds; with
p <= b no Y_t holds two turns of the same, so that k turns cost what k times a Gaussian of sigma does (Choquette-Choo et al.
2023, theorem 2). No turn comes twice, so there is no way back in a project like this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies.arithmetic import deltas, move, stack, unstack
from fedkit.learning.strategies.base import ServerState, Step
from fedkit.learning.update import Update
from fedkit.privacy.dp.clip import clip_rows
from fedkit.privacy.dp.grid import GRID, noise_in_steps, on_grid
from fedkit.privacy.dp.mechanism import participant_mechanism, promised
from fedkit.privacy.dp.noise import Noise, noise_source
from fedkit.privacy.dp.noisy_mean import NoisyMean

__all__ = ["BandedMean", "coefficients", "in_turn", "noised_sum"]


_OWN = "banded"
"""The part of the memory: the last p - 1 sums of clipped changes, and what was made of them with noise."""


def coefficients(bands: int) -> Tensor:
    """c_0, ..., c_{p-1}: round(1024 (2j choose j) / 4^j), float64 [p], whole numbers.   (Kalinin and Lampert 2024)"""
    return torch.tensor(
        [round(1024 * math.comb(2 * j, j) / 4**j) for j in range(bands)], dtype=torch.float64
    )


def noised_sum(total: Tensor, sums: Tensor, seen: Tensor, noise: Tensor) -> Tensor:
    """S~_t of the lines above, [D]. total : S_t. sums, seen : S and S~ of the last rounds, the latest first, [p - 1, D]."""
    c = coefficients(len(sums) + 1)
    mixed = c[0] * total + (c[1:, None] * sums).sum(0) + noise
    return (mixed - (c[1:, None] * seen).sum(0)) / c[0]


def in_turn(config: FLConfig, able: Sequence[str], n: int) -> list[str] | None:
    """Who trains in round n where everybody has turns in the config's order, of those that can; None where nobody has."""
    if config.dp is None or config.dp.mechanism is None:
        return None
    people, count = config.participants, config.participants_per_round or 1
    turns = {people[k % len(people)] for k in range((n - 1) * count, n * count)}
    return [email for email in able if email in turns]


@dataclass(frozen=True)
class BandedMean(NoisyMean):
    """A strategy whose mean has noise that is correlated over rounds. inner, config : as for `NoisyMean`."""

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """The inner rule's memory, the round, and sums of nobody."""
        state = super().init(model)
        numbers = sum(v.numel() for v in model.values() if v.is_floating_point())
        last = torch.zeros(self._bands - 1, numbers, dtype=torch.float64)
        return ServerState(model, {**state.memory, _OWN: {"sums": last, "seen": last.clone()}})

    @property
    def _bands(self) -> int:
        rule = promised(self.config, "participant").mechanism
        assert rule is not None
        return rule.bands_of(self.config)

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """Clip, sum, mix with the last rounds, add noise, solve; the inner rule does the rest."""
        dp, config = promised(self.config, "participant"), self.config
        own, last = state.memory["dp"], state.memory[_OWN]
        n, sigma = int(own["round"]) + 1, participant_mechanism(config).noise_multiplier
        like = {k: v.double() for k, v in state.model.items() if v.is_floating_point()}
        changes = stack([like, *deltas(state.model, updates)])[1:]  # perhaps of nobody
        source = noise_source(dp.secure_noise, config.seed, config.aggregator, n, "dp noise")
        total, noise, unit = self._drawn(changes, sigma, source)
        after = noised_sum(total, last["sums"], last["seen"], noise)
        expected = config.participants_per_round or len(config.participants)
        mean = unstack(after * unit / expected, like)
        seen = Update(config.aggregator, n, move(state.model, mean), 1)
        memory = {part: v for part, v in state.memory.items() if part not in ("dp", _OWN)}
        moved, said = self.inner.apply(ServerState(state.model, memory), [seen])
        kept = {
            name: torch.cat([new[None], last[name]])[: self._bands - 1]
            for name, new in (("sums", total), ("seen", after))
        }
        moved = self._with(moved, n, dp.clip)
        norm = float(coefficients(self._bands).norm()) / 1024
        said = said | {"clip": dp.clip, "noise_std": sigma * dp.clip * norm / expected}
        return ServerState(moved.model, {**moved.memory, _OWN: kept}), said

    def _drawn(self, changes: Tensor, sigma: float, source: Noise) -> tuple[Tensor, Tensor, float]:
        """(S_t, noise of Y_t, what one of their units is): on the grid where the noise is meant, else plain numbers."""
        dp, norm = promised(self.config, "participant"), float(coefficients(self._bands).norm())
        shape = tuple(changes.shape[1:])
        if dp.secure_noise:
            total = on_grid(changes.norm(dim=1), changes, dp.clip).sum(0)
            return total, noise_in_steps(shape, sigma, source, GRID * norm), dp.clip / GRID
        total = clip_rows(changes, dp.clip).sum(0)
        return total, source.normal(shape, sigma * dp.clip * norm), 1.0
