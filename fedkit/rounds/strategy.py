"""The strategy as a project uses it: the rule that its config names, with the noise that its config promises around it.

A strategy is built here and nowhere else, so that no noise can be forgotten.
"""

from __future__ import annotations

from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies.base import Strategy
from fedkit.learning.strategies.registry import make_strategy
from fedkit.privacy.dp.banded import BandedMean
from fedkit.privacy.dp.noisy_mean import NoisyMean
from fedkit.privacy.dp.training import PrivateTraining

__all__ = ["strategy_of"]


def strategy_of(config: FLConfig) -> Strategy:
    """The config's strategy, already protected: its participants, or its aggregator, add the noise of the config's `dp`.

    Raises FedkitError where the config names no strategy, or gives it what it does not take.
    """
    strategy, dp = make_strategy(config), config.dp
    if dp is None:
        return strategy
    if dp.unit == "participant" and dp.noise_at == "aggregator":
        return (NoisyMean if dp.mechanism is None else BandedMean)(strategy, config)
    return PrivateTraining(strategy, config)
