"""From a config's promise to a mechanism: how often, at which rate, with how much noise. Nothing here looks at data."""

from __future__ import annotations

import math
from dataclasses import replace

from fedkit.base.errors import FedkitError
from fedkit.config.dp import DPSettings
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.account import Mechanism, epsilon_of, noise_for

__all__ = [
    "colluders",
    "count_noise",
    "example_mechanism",
    "participant_mechanism",
    "promised",
    "shares_of_noise",
    "steps_per_epoch",
]


def promised(config: FLConfig, unit: str | None = None) -> DPSettings:
    """The config's `dp`. Raises FedkitError if it promises nothing for this unit (None: for none)."""
    if config.dp is None or unit not in (None, config.dp.unit):
        raise FedkitError(
            f"promises nothing for the unit {unit!r}",
            field="dp",
            remedy=f'set "dp": {{"unit": "{unit}", ...}}',
        )
    return config.dp


def steps_per_epoch(config: FLConfig, num_samples: int) -> int:
    """Steps of DP-SGD in a local epoch: as many as an ordinary one has batches."""
    return math.ceil(num_samples / config.batch_size)


def example_mechanism(config: FLConfig, num_samples: int) -> Mechanism:
    """What a participant with `num_samples` images does over all rounds; it may take part in fewer.

    q = 1 / (steps in a local epoch), so an epoch sees every image once on average. Raises FedkitError where delta is not
    below 1 / num_samples.
    """
    dp = promised(config, "example")
    if dp.delta >= 1 / num_samples:
        raise FedkitError(
            f"of {dp.delta:g} is not below 1 / {num_samples:,} images",
            field="dp.delta",
            why="Showing everybody one image, picked at random, would pass for private",
            remedy="take a far smaller delta, or leave this participant out",
        )
    steps = steps_per_epoch(config, num_samples)
    return _with_noise(dp, 1 / steps, steps * config.epoch * config.rounds)


def participant_mechanism(config: FLConfig, sample_is_secret: bool = True) -> Mechanism:
    """What the aggregator does over all rounds.

    An epsilon in the config is kept without any credit for sampling (q = 1): the list of those asked goes to all.
    sample_is_secret : q of the mechanism as drawn, for somebody who does not see that list; else q = 1.
    """
    dp = promised(config, "participant")
    if dp.mechanism is not None:  # k turns, each a Gaussian: see `banded.py`
        return _with_noise(dp, 1.0, dp.mechanism.turns(config))
    chosen = config.participants_per_round or len(config.participants)
    mechanism = _with_noise(dp, chosen / len(config.participants), config.rounds, seen_at=1.0)
    return mechanism if sample_is_secret else replace(mechanism, sampling_rate=1.0)


def _with_noise(
    dp: DPSettings, rate: float, steps: int, *, seen_at: float | None = None
) -> Mechanism:
    """seen_at : the rate at which an epsilon is to hold; None for that of the mechanism."""
    noise = dp.noise_multiplier
    if dp.epsilon is not None:
        noise = noise_for(dp.epsilon, dp.delta, seen_at or rate, steps)
    assert noise is not None  # one of the two stands in the config
    mechanism = Mechanism(rate, noise, steps)
    if dp.noise_multiplier is not None and epsilon_of(mechanism, dp.delta, "RDP") > 1e4:
        raise FedkitError(
            f"of {noise:g} is too little noise for {steps:,} steps: epsilon is beyond 10,000",
            field="dp.noise_multiplier",
            remedy="take more noise, or promise nothing",
        )
    return mechanism


def count_noise(config: FLConfig, mechanism: Mechanism) -> float:
    """Adaptive clipping's sigma_b: what the config says, else max(m / 20, z) for m expected participants a round."""
    dp = promised(config, "participant")
    assert dp.adaptive_clip is not None
    if dp.adaptive_clip.count_noise is not None:
        return dp.adaptive_clip.count_noise
    expected = mechanism.sampling_rate * len(config.participants)
    return max(expected / 20, mechanism.noise_multiplier)


def colluders(config: FLConfig) -> int:
    """How many participants may put together what they know of their own shares of noise."""
    dp = promised(config, "participant")
    return min(1, len(config.participants) - 1) if dp.colluders is None else dp.colluders


def shares_of_noise(config: FLConfig) -> int:
    """How many shares make up the noise that is promised: those of the updates that a round is sure to have, less the
    colluders'. Where it is 1, each update carries all of the noise, and others may know what they like of theirs."""
    return max(1, config.quorum - colluders(config))
