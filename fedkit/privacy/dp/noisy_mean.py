"""The aggregator's side of participant-level privacy: a rule whose input is the noisy mean instead of the updates.

What the inner rule (FedAvg, FedAdam, ...) does with the noisy mean needs no more noise: it sees nothing else. The
aggregator itself sees every update as it came. McMahan et al. 2018; adaptive clipping: Andrew et al. 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies.arithmetic import deltas, move, stack, unstack
from fedkit.learning.strategies.base import Around, ServerState, Step
from fedkit.learning.update import Update
from fedkit.privacy.dp.clip import next_clip, noisy_mean, split_noise
from fedkit.privacy.dp.grid import GRID, grid_mean, noise_in_steps
from fedkit.privacy.dp.mechanism import count_noise, participant_mechanism, promised
from fedkit.privacy.dp.noise import Noise, SystemNoise, noise_source

__all__ = ["NoisyMean", "chosen_in_private"]


_OWN = "dp"
"""The part of the memory that is not the inner rule's: the number of rounds so far, and the clipping norm."""


@dataclass(frozen=True)
class NoisyMean(Around):
    """A strategy around another one. inner : what moves the global model. config : says how much noise, and seeds it."""

    config: FLConfig

    @property
    def quiet(self) -> bool:
        """Yes: whoever carries an update's files reads them, and no noise covers loss and time."""
        return True

    @property
    def hides_counts(self) -> bool:
        """Yes: they are the participant's own."""
        return True

    @property
    def averages_buffers(self) -> bool:
        """No: all that leaves the aggregator has passed the noise."""
        return False

    @property
    def keeps_buffers(self) -> bool:
        """Yes: what passes through them passes by the noise."""
        return True

    def init(self, model: Mapping[str, Tensor]) -> ServerState:
        """The inner rule's memory, and the round and the clipping norm besides."""
        clip = promised(self.config, "participant").clip
        return self._with(self.inner.init(model), 0, clip)

    def apply(self, state: ServerState, updates: Sequence[Update]) -> Step:
        """Clip, sum, add noise, divide by the average number of participants; the inner rule does the rest."""
        dp = promised(self.config, "participant")
        mechanism = participant_mechanism(self.config)
        own = state.memory[_OWN]
        n, clip = int(own["round"]) + 1, float(own["clip"])
        noise = noise_source(
            dp.secure_noise, self.config.seed, self.config.aggregator, n, "dp noise"
        )
        expected = mechanism.sampling_rate * len(self.config.participants)
        spread = mechanism.noise_multiplier
        if dp.adaptive_clip is not None:
            spread = split_noise(spread, count_noise(self.config, mechanism))
        like = {k: v.double() for k, v in state.model.items() if v.is_floating_point()}
        changes = stack([like, *deltas(state.model, updates)])[1:]  # perhaps of nobody
        around = grid_mean if dp.secure_noise else noisy_mean
        mean = unstack(around(changes, clip, spread, expected, noise), like)
        seen = Update(self.config.aggregator, n, move(state.model, mean), 1)
        memory = {part: value for part, value in state.memory.items() if part != _OWN}
        after, said = self.inner.apply(ServerState(state.model, memory), [seen])
        said = said | {"clip": clip, "noise_std": spread * clip / expected}
        if dp.adaptive_clip is not None:
            within = int((changes.norm(dim=1) <= clip).sum())
            # sum_k (b_k - 1/2) + noise, and half of those expected: one more or less moves it by 1/2, whatever its b_k
            counted = (
                within
                + (expected - len(changes)) / 2
                + _on_count(noise, count_noise(self.config, mechanism))
            )
            said["unclipped"] = counted / expected
            rule = dp.adaptive_clip
            clip = next_clip(clip, counted, expected, rule.quantile, rule.learning_rate)
        return self._with(after, n, clip), said

    def _with(self, state: ServerState, n: int, clip: float) -> ServerState:
        own = {"round": torch.tensor(n), "clip": torch.tensor(clip, dtype=torch.float64)}
        return ServerState(state.model, {**state.memory, _OWN: own})


def _on_count(noise: Noise, std: float) -> float:
    """Gaussian noise on a count; where the noise is meant, on a grid that has the centred count's halves."""
    if not isinstance(noise, SystemNoise):
        return float(noise.normal((1,), std))
    return float(noise_in_steps((1,), std * (1 + 2.0**-20), noise)) / GRID


def chosen_in_private(config: FLConfig, able: Sequence[str], n: int) -> list[str] | None:
    """Who trains in round n where the accountant assumes Poisson sampling: each with the same probability, on its own.

    None where the config asks for no such thing. Nobody at all is a possible answer.
    """
    dp, count = config.dp, config.participants_per_round
    if dp is None or dp.unit != "participant" or count is None:
        return None
    noise = noise_source(dp.secure_noise, config.seed, "sample", n)
    rate = count / len(config.participants)
    drawn = dict(zip(config.participants, noise.uniform(len(config.participants)), strict=True))
    return [email for email in able if float(drawn[email]) < rate]
